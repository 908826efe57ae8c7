//! Environments in other processes: the one of the docs is trained, and each way to fail ends with an error that names it.
//!
//! They are Python programs. Without `python3` the tests say that they are skipped.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use crate::runs_support::{command, metrics, run};
use crate::scratch::scratch;
use bpmc::driver::compile;
use bpmc::lab::run::{find_checkpoint, Manifest, Which};
use bpmc::learn::trainer::{BackendKind, Probe, Trainer, TrainerOptions};
use bpmc::machine::device::DeviceChoice;
use bpmc::step::passes::Selection;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../docs/environments.md");

/// The first block of the page in a language.
fn block(language: &str) -> &'static str {
    let start = format!("```{language}\n");
    let from = PAGE.find(&start).unwrap() + start.len();
    let to = PAGE[from..].find("```").unwrap();
    &PAGE[from..from + to]
}

/// A folder with the spec and the environment of the page, changed; `None` without Python.
fn folder(name: &str, change: impl Fn(String) -> String) -> Option<std::path::PathBuf> {
    if !Command::new("python3")
        .arg("-c")
        .arg("")
        .status()
        .is_ok_and(|status| status.success())
    {
        assert!(std::env::var_os("BPMC_REQUIRE_PYTHON").is_none());
        eprintln!("skipped: there is no python3");
        return None;
    }
    let root = scratch(name);
    std::fs::write(root.join("agent.bpm"), block("bpm")).unwrap();
    let program = change(block("python").to_owned());
    std::fs::write(root.join("corridor.py"), program).unwrap();
    Some(root)
}

/// Checks that a command succeeded, and returns what it printed.
fn works(root: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = run(root, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

/// Number and command line of the processes with a marker in their command line.
fn alive(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(marker) && !line.contains("bpmc") {
            let id = entry.file_name().to_string_lossy().into_owned();
            found.push(format!("{id} {line}"));
        }
    }
    found
}

/// Waits until no process has a marker in its command line.
fn all_end(marker: &str) {
    let started = Instant::now();
    while !alive(marker).is_empty() {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            alive(marker)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_environment_of_the_page_is_learned() {
    let Some(root) = folder("environments", |text| text) else {
        return;
    };
    assert!(
        block("python")
            .lines()
            .filter(|line| !line.is_empty())
            .count()
            <= 42
    );
    works(&root, &["check", "agent.bpm"]);
    works(
        &root,
        &[
            "train",
            "agent.bpm",
            "-q",
            "--out",
            "a",
            "--set",
            "train.optimizer.lr=1e-2",
        ],
    );
    let records = metrics(&root.join("a"));
    let reward = |k: usize| records[k]["reward"].as_f64().unwrap();
    assert!(reward(records.len() - 1) > 0.8, "{:?}", records.last());
    let report = works(&root, &["eval", "a", "--episodes", "40", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["mean"].as_f64().unwrap() > 0.8, "{report}");
    let length = report["scores"]["length"].as_f64().unwrap();
    assert!((2.0..9.0).contains(&length), "{report}");
}

const SHORT: [&str; 7] = [
    "train",
    "agent.bpm",
    "--quiet",
    "--set",
    "train.metrics_every=1",
    "--iterations",
    "4",
];

#[test]
fn processes_and_threads_do_not_change_a_bit() {
    let Some(root) = folder("environments-bits", |text| text) else {
        return;
    };
    for (backend, all) in [
        ("fused", &[(1, 1), (1, 2), (2, 1), (3, 2), (5, 2)][..]),
        ("candle", &[(1, 1), (2, 2)][..]),
        ("reference", &[(1, 2), (3, 1)][..]),
    ] {
        let mut first = None;
        for (processes, threads) in all {
            let name = format!("{backend}-{processes}-{threads}");
            let set = format!("task.processes={processes}");
            let threads = threads.to_string();
            let more = [
                "--set",
                &set,
                "--threads",
                &threads,
                "--backend",
                backend,
                "--out",
                &name,
            ];
            works(&root, &[&SHORT[..], &more].concat());
            let checkpoint = find_checkpoint(&root.join(&name), Which::Last).unwrap();
            let (_, weights) = bytes_of_tensors(&std::fs::read(checkpoint).unwrap());
            let found = (metrics(&root.join(&name)), weights);
            match &first {
                None => first = Some(found),
                Some(first) => assert!(*first == found, "{name}"),
            }
        }
    }
}

/// Header and data of a file in the form of safetensors. The header has the hash of the spec.
fn bytes_of_tensors(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (bytes[8..8 + length].to_vec(), bytes[8 + length..].to_vec())
}

#[test]
fn a_run_goes_on_with_the_same_environment() {
    let Some(root) = folder("environments-resume", |text| text) else {
        return;
    };
    let more = ["--set", "train.checkpoint_every=1"];
    works(&root, &[&SHORT[..], &more, &["--out", "straight"]].concat());
    let half = [&SHORT[..6], &["2"], &more[..], &["--out", "runs/halves"]].concat();
    works(&root, &half);
    // The run remembers where its environment is, from any folder.
    std::fs::create_dir(root.join("elsewhere")).unwrap();
    works(
        &root.join("elsewhere"),
        &[
            "train",
            "--resume",
            "../runs/halves",
            "-q",
            "--iterations",
            "4",
        ],
    );
    assert_eq!(
        metrics(&root.join("straight")),
        metrics(&root.join("runs/halves"))
    );
    works(
        &root.join("elsewhere"),
        &["eval", "../runs/halves", "--episodes", "5"],
    );
}

#[test]
fn a_command_is_started_once_by_check() {
    let note = "open('started', 'a').write('x')\nimport json,";
    let Some(root) = folder("environments-check", |text| {
        text.replace("import json,", note)
    }) else {
        return;
    };
    works(&root, &["check", "agent.bpm"]);
    assert_eq!(std::fs::read_to_string(root.join("started")).unwrap(), "x");
    let bad = |set: &str| run(&root, &["check", "agent.bpm", "--set", set]).2;
    let err = bad("task.command=no_such_program world.py");
    assert!(
        err.contains("there is no program `no_such_program`"),
        "{err}"
    );
    let err = bad("task.command=python3 'corridor.py");
    assert!(err.contains("a ' that is not closed"), "{err}");
    let err = bad("task.command=python3 nothing_here.py");
    assert!(
        err.contains("ended with exit status 2") && err.contains("nothing_here.py"),
        "{err}"
    );
    let err = bad("task.directory=/no/such/folder");
    assert!(err.contains("there is no folder /no/such/folder"), "{err}");
}

/// The time that bpmc has from a fault on, as the page says, with the time-out of the tests.
const LIMIT: Duration = Duration::from_secs(5 + 3);

/// Trains two lanes a process with an environment that fails in its own way, and returns the error. The time from the fault on is
/// short in one of three tries: where all cores are busy, any one may take longer.
fn fails(root: &Path, marker: &str, processes: usize) -> String {
    for _ in 0..3 {
        let _ = std::fs::remove_dir_all(root.join("a"));
        let err = fails_once(root, marker, processes);
        let fault = std::fs::metadata(root.join("fault")).unwrap().modified();
        if fault.unwrap().elapsed().is_ok_and(|lasted| lasted < LIMIT) {
            return err;
        }
    }
    panic!("from the fault to the end of bpmc it took longer than {LIMIT:?}");
}

/// Trains once, and returns the error.
fn fails_once(root: &Path, marker: &str, processes: usize) -> String {
    let [batch, processes] = [
        ("train.batch", 2 * processes),
        ("task.processes", processes),
    ]
    .map(|(name, n)| format!("{name}={n}"));
    let more = [
        "--set",
        "task.timeout=3",
        "--set",
        &batch,
        "--set",
        &processes,
        "--out",
        "a",
    ];
    let (code, _, err) = run(root, &[&SHORT[..], &more].concat());
    assert_eq!(code, Some(1), "{err}");
    all_end(marker);
    err
}

/// Replaces the line that sends an answer from the fourth on by other lines, in the process of the first lanes.
fn at_the_fourth(lines: &str) -> impl Fn(String) -> String + '_ {
    move |text: String| {
        let send = "    sys.stdout.buffer.write(struct.pack(\"<I\", len(answer)) + answer)\n";
        assert!(text.contains(send));
        let whole = "struct.pack(\"<I\", len(answer)) + answer";
        let lines: String = lines
            .lines()
            .map(|line| format!("        {line}\n"))
            .collect();
        let lines = lines.replace("WHOLE", whole);
        let text = text.replace(
            send,
            &format!("    count += 1\n    if count == 4 and not os.path.exists('mended'):\n        open('fault', 'w').close()\n{lines}    else:\n    {send}"),
        );
        text.replace("import json,", "import os, time, json,")
            .replacen("while True:", "count = 0\nwhile True:", 1)
    }
}

#[test]
fn an_environment_that_dies_at_any_byte_stops_the_run() {
    // Of two lanes: 4 bytes of length, 16 of observations, 8 of rewards, 2 of ends.
    for bytes in [0, 1, 3, 4, 5, 19, 29] {
        let name = format!("environments-dies-{bytes}");
        let lines = format!(
            "sys.stdout.buffer.write(({})[:{bytes}])\nsys.stdout.flush()\nraise SystemExit('the roof fell in')",
            "WHOLE"
        );
        let Some(root) = folder(&name, at_the_fourth(&lines)) else {
            return;
        };
        let command = format!("python3 corridor.py {name}-mark");
        let spec = block("bpm").replace("python3 corridor.py", &command);
        std::fs::write(root.join("agent.bpm"), spec).unwrap();
        let err = fails(&root, &format!("{name}-mark"), 2);
        // Both processes fail; either may be the first.
        let [one, two] = [(1, "0 to 1"), (2, "2 to 3")].map(|(k, lanes)| {
            let clause =
                format!("(process {k} of 2) ended with exit status 1 instead of an answer");
            err.contains(&format!("lanes {lanes}, step 2: the environment"))
                && err.contains(&clause)
        });
        assert!(one || two, "{err}");
        assert!(err.contains("the roof fell in"), "{err}");
        assert_eq!(
            err.contains(&format!("{bytes} bytes into it")),
            bytes > 0,
            "{err}"
        );
        // The run goes on where the environment is mended.
        std::fs::write(root.join("mended"), "").unwrap();
        let manifest = Manifest::read(&root.join("a/run.yaml")).unwrap();
        assert_eq!(manifest.iterations, 0);
        works(&root, &["train", "--resume", "a", "-q"]);
        assert_eq!(metrics(&root.join("a")).len(), 4);
    }
}

#[test]
fn every_other_fault_of_an_environment_has_its_message() {
    let faults = [
        ("time.sleep(100)", "step 2: the environment", "did not answer within 3 s"),
        ("sys.stdout.buffer.write(b'x')\nsys.stdout.flush()\nwhile True: pass", "lanes 0 to 1", "within 3 s"),
        ("while True: sys.stdout.buffer.write(WHOLE)", "lanes 0 to 1", "bytes more than were due"),
        ("while True: print('hello')", "lanes 0 to 1", "wrote the text \"hell\" where a frame is due"),
        ("sys.stdout.buffer.write(struct.pack('<I', 7) + answer)", "step 2", "a frame of 7 bytes, and 26 are due"),
        ("os.close(1)\ntime.sleep(100)", "step 2", "closed its standard output"),
        ("observations[3] = float('nan')\nanswer = struct.pack('<6f', *observations, *rewards) + bytes(ended)\nsys.stdout.buffer.write(WHOLE)", "lane 1, step 2", "sent NaN as `obs[1]`"),
        ("rewards[0] = float('inf')\nanswer = struct.pack('<6f', *observations, *rewards) + bytes(ended)\nsys.stdout.buffer.write(WHOLE)", "lane 0, step 2", "sent inf as reward"),
        ("ended[1] = 9\nanswer = struct.pack('<6f', *observations, *rewards) + bytes(ended)\nsys.stdout.buffer.write(WHOLE)", "lane 1, step 2", "sent 9 for whether the episode is over"),
    ];
    for (k, (lines, place, clause)) in faults.iter().enumerate() {
        let name = format!("environments-fault-{k}");
        let Some(root) = folder(&name, at_the_fourth(lines)) else {
            return;
        };
        let command = format!("python3 corridor.py {name}-mark");
        let spec = block("bpm").replace("python3 corridor.py", &command);
        std::fs::write(root.join("agent.bpm"), spec).unwrap();
        let err = fails(&root, &format!("{name}-mark"), 1);
        assert!(
            err.contains(place) && err.contains(clause),
            "{lines}: {err}"
        );
    }
}

#[test]
fn an_environment_that_does_not_introduce_itself_is_refused() {
    let first = "print(json.dumps({\"version\": 1,";
    let faults = [
        ("import time; time.sleep(100); print(json.dumps({\"version\": 1,", "did not answer within 1 s"),
        ("while True: sys.stdout.write('x' * 1000)\nprint(json.dumps({\"version\": 1,", "without the end of its first line"),
        ("print('loading'); print(json.dumps({\"version\": 1,", "did not begin with a line of JSON, but with `loading`"),
        ("print(json.dumps({\"version\": 7,", "speaks version 7 of the protocol"),
        ("sys.exit('no such world'); print(json.dumps({\"version\": 1,", "no such world"),
        ("print(json.dumps({\"inputs\": {}, \"version\": 1, \"x\": 3,", "describes itself with `x`"),
        ("print('{\"version\": 1, \"inputs\": {\"obs\": 2}, \"actions\": 2}\\nmore'); print(json.dumps({\"version\": 1,", "before it was asked"),
    ];
    for (k, (lines, clause)) in faults.iter().enumerate() {
        let name = format!("environments-first-{k}");
        let change = |text: String| text.replace(first, lines);
        let Some(root) = folder(&name, change) else {
            return;
        };
        let mut check = vec!["check", "agent.bpm"];
        if clause.contains("within") {
            check.extend(["--set", "task.start_timeout=1"]);
        }
        let started = Instant::now();
        let (code, _, err) = run(&root, &check);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(clause), "{lines}: {err}");
        assert!(err.contains("error["), "{err}");
        assert!(started.elapsed() < Duration::from_secs(20), "{lines}");
    }
}

#[test]
fn no_environment_outlives_bpmc() {
    // It neither reads its input nor ends, and has a child of its own.
    let lines = "import subprocess\nsubprocess.Popen(['sleep', sys.argv[2]])\ntime.sleep(1000)";
    for (k, signals) in [["-INT", "-INT"], ["-KILL", "-KILL"], ["-TERM", "-TERM"]]
        .iter()
        .enumerate()
    {
        let name = format!("environments-orphan-{k}");
        let Some(root) = folder(&name, at_the_fourth(lines)) else {
            return;
        };
        let mark = format!("{name}-mark");
        let spec = block("bpm").replace("corridor.py", &format!("corridor.py {mark} 1000.{k}77"));
        std::fs::write(root.join("agent.bpm"), spec).unwrap();
        let mut child = command(&root, &[&SHORT[..], &["--out", "a"]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let sleeper = format!("sleep 1000.{k}77");
        while alive(&sleeper).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(20));
        }
        for signal in signals {
            Command::new("kill")
                .args([*signal, &child.id().to_string()])
                .status()
                .unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        child.wait().unwrap();
        all_end(&mark);
        if signals[0] == "-KILL" {
            // The kernel ends only the process that bpmc started; what that one started is its own to end.
            for id in alive(&sleeper) {
                Command::new("kill")
                    .arg(id.split(' ').next().unwrap())
                    .status()
                    .unwrap();
            }
        }
        all_end(&sleeper);
    }
}

#[test]
fn on_a_device_an_environment_is_refused() {
    let Some(root) = folder("environments-device", |text| text) else {
        return;
    };
    let (code, _, err) = run(
        &root,
        &[&SHORT[..], &["--device", "emulated", "--out", "a"]].concat(),
    );
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("`--device cpu`"), "{err}");
}

#[test]
fn on_a_device_other_trainers_are_refused() {
    let root = scratch("environments-device-trainers");
    let spec = block("bpm").replace("  input last_action: [task.actions]\n", "");
    let spec = spec.replace(" + linear(last_action)", "");
    let spec = spec.replace(
        "task process { command = \"python3 corridor.py\", steps = 20 }",
        "task bandit { steps = 9 }",
    );
    let train = "train a2c { batch = 16, iterations = 300 }";
    assert!(spec.contains(train) && spec.contains("steps = 9 }"));
    for (change, with, says) in [
        (
            "steps = 9 }",
            "steps = 9, substeps = 2 }",
            "one step of the network",
        ),
        (
            train,
            "train a2c { batch = 4, lambda = 0.9 }",
            "`lambda = 1`",
        ),
        (
            train,
            "train a2c { batch = 4, normalise = true }",
            "`normalise`",
        ),
        (train, "train ppo { batch = 4 }", "`ppo`"),
    ] {
        std::fs::write(root.join("agent.bpm"), spec.replace(change, with)).unwrap();
        let (code, _, err) = run(&root, &[&SHORT[..], &["--device", "emulated"]].concat());
        assert_eq!(code, Some(1), "{with}: {err}");
        let line = err.lines().collect::<Vec<_>>().join(" ");
        assert!(
            line.contains(says) && line.contains("`--device cpu`"),
            "{with}: {err}"
        );
        let on_cpu = [&SHORT[..], &["--set", "train.batch=8", "--out", says]].concat();
        assert_eq!(run(&root, &on_cpu).0, Some(0), "{with}");
    }
}

/// The spec of the page, learned from several times, with episodes that follow each other.
fn stream() -> String {
    let spec = block("bpm");
    let train = "train a2c { batch = 16, iterations = 300 }";
    assert!(spec.contains(train) && spec.contains("steps = 20 }"));
    spec.replace(
        train,
        "train ppo { batch = 16, iterations = 60, optimizer adam { lr = 1e-2 } }",
    )
    .replace(
        "steps = 20 }",
        "steps = 32, episodes = stream, longest = 40 }",
    )
}

#[test]
fn episodes_that_follow_each_other_are_learned_from_several_times() {
    let Some(root) = folder("environments-stream", |text| text) else {
        return;
    };
    std::fs::write(root.join("agent.bpm"), stream()).unwrap();
    works(&root, &["train", "agent.bpm", "-q", "--out", "a"]);
    let records = metrics(&root.join("a"));
    assert!(
        records[records.len() - 1]["reward"].as_f64().unwrap() > 0.8,
        "{records:?}"
    );
    let report = works(&root, &["eval", "a", "--episodes", "30", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["mean"].as_f64().unwrap() > 0.8, "{report}");
    assert_eq!(report["episodes"], 30);
    assert!(
        (2.0..9.0).contains(&report["scores"]["length"].as_f64().unwrap()),
        "{report}"
    );
    // A stopped run begins new episodes.
    works(
        &root,
        &["train", "--resume", "a", "-q", "--iterations", "62"],
    );
}

/// An iteration in which no episode ends has no reward, and the means of a record are over the others.
#[test]
fn records_are_means_over_the_iterations_in_which_an_episode_ended() {
    let Some(root) = folder("environments-no-end", |text| text) else {
        return;
    };
    std::fs::write(root.join("agent.bpm"), stream()).unwrap();
    let short = ["--set", "task.steps=2", "--set", "train.batch=4"];
    let train = [
        "train",
        "agent.bpm",
        "-q",
        "--out",
        "a",
        "--iterations",
        "40",
    ];
    let every = ["--set", "train.metrics_every=2"];
    works(&root, &[&train[..], &short, &every].concat());
    let records = metrics(&root.join("a"));
    let keys = |k: usize| -> Vec<&String> { records[k].as_object().unwrap().keys().collect() };
    let mut ended = 0;
    for (k, record) in records.iter().enumerate() {
        assert_eq!(keys(k), keys(0));
        assert!(record["gradient_norm"].as_f64().unwrap() >= 0.0, "{record}");
        match (record["reward"].as_f64(), record["length"].as_f64()) {
            (Some(reward), Some(length)) => {
                ended += 1;
                assert!(length >= 2.0 && reward <= 1.0, "{record}");
            }
            (reward, length) => assert_eq!((reward, length), (None, None), "{record}"),
        }
    }
    assert!(0 < ended && ended < records.len(), "{records:?}");
}

#[test]
fn streams_have_the_same_bits_for_all_processes_and_threads() {
    let Some(root) = folder("environments-stream-bits", |text| text) else {
        return;
    };
    std::fs::write(root.join("agent.bpm"), stream()).unwrap();
    let mut first = None;
    for (processes, threads) in [(1, "1"), (2, "2"), (5, "2")] {
        let name = format!("{processes}-{threads}");
        let set = format!("task.processes={processes}");
        let more = ["--set", &set, "--threads", threads, "--out", &name];
        works(&root, &[&SHORT[..], &more].concat());
        let checkpoint = find_checkpoint(&root.join(&name), Which::Last).unwrap();
        let (_, weights) = bytes_of_tensors(&std::fs::read(checkpoint).unwrap());
        let found = (metrics(&root.join(&name)), weights);
        match &first {
            None => first = Some(found),
            Some(first) => assert!(*first == found, "{name}"),
        }
    }
}

/// Losses and gradients of the first batch.
fn probe(text: &str, backend: BackendKind) -> Probe {
    let load = |_: &Path| -> std::io::Result<String> { panic!("nothing is imported") };
    let compilation = compile("agent.bpm", text, &[], &load).unwrap();
    let options = TrainerOptions {
        threads: 2,
        backend,
        device: DeviceChoice::CPU,
        passes: Selection::default(),
        memory: None,
    };
    let program = compilation.program.unwrap();
    Trainer::new(&program, options).unwrap().probe().unwrap()
}

#[test]
fn the_first_step_of_ppo_is_that_of_actor_and_critic() {
    let a2c = block("bpm").replace(
        "train a2c { batch = 16, iterations = 300 }",
        "train a2c { batch = 6, gamma = 0.9, lambda = 0.8, value = 0.3, entropy = 0.1 }",
    );
    let a2c = a2c.replace(
        "task process { command = \"python3 corridor.py\", steps = 20 }",
        "task bandit { steps = 9 }",
    );
    let a2c = a2c.replace("  input last_action: [task.actions]\n", "");
    let a2c = a2c.replace(" + linear(last_action)", "");
    let ppo = a2c.replace(
        "train a2c {",
        "train ppo { epochs = 1, minibatches = 1, normalise = false,",
    );
    for backend in BackendKind::ALL {
        let (one, other) = (probe(&a2c, backend), probe(&ppo, backend));
        assert_eq!(one.rewards, other.rewards);
        for (a, b) in one.gradients.iter().zip(&other.gradients) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            let scale = a.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= 1e-5 * scale, "{a} {b}");
            }
        }
    }
}

#[test]
fn an_environment_of_gymnasium_is_trained_in() {
    let name = "environments-gymnasium";
    if crate::python::python("numpy, gymnasium", "print(1)", Path::new(".")).is_none() {
        return;
    }
    let root = scratch(name);
    works(&root, &["new", "pole", "--env", "CartPole-v1"]);
    works(&root, &["check", "pole.bpm"]);
    works(&root, &["fmt", "--check", "pole.bpm"]);
    works(
        &root,
        &["train", "pole.bpm", "-q", "--out", "a", "--iterations", "3"],
    );
    let report = works(&root, &["eval", "a", "--episodes", "8", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    // A step earns 1.
    assert_eq!(report["mean"], report["scores"]["length"]);
    let spec = works(&root, &["env", "CartPole-v1", "--keep", "0,2"]);
    assert!(
        spec.contains("bpmc env CartPole-v1 --keep 0,2 --serve"),
        "{spec}"
    );
    // Observations of several kinds, and combinations of actions.
    let world = "
import gymnasium, numpy as np
from gymnasium import spaces
class World(gymnasium.Env):
    observation_space = spaces.Dict({
        'place': spaces.Discrete(3), 'eye': spaces.Box(-1, 1, (2, 2)),
        'arms': spaces.Tuple((spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2))),
    })
    action_space = spaces.MultiDiscrete([2, 3])
    def show(self):
        return {'place': 2, 'eye': np.ones((2, 2)), 'arms': (np.array([1, 0]), np.array([0, 1]))}
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.show(), {}
    def step(self, action):
        return self.show(), float(10 * action[0] + action[1]), False, self.np_random.random() < 0.5, {}
gymnasium.register('World-v0', World)
class Reach(World):
    action_space = spaces.Box(np.array([-1, -np.inf], 'f4'), np.array([3, np.inf], 'f4'))
    def step(self, action):
        return self.show(), float(action[0] + 10 * action[1]), False, self.np_random.random() < 0.3, {}
gymnasium.register('Reach-v0', Reach)
";
    std::fs::write(root.join("worlds.py"), world).unwrap();
    let in_folder = |arguments: &[&str]| {
        let mut command = command(&root, arguments);
        crate::runs_support::outcome(command.env("PYTHONPATH", &root).output().unwrap())
    };
    let (code, spec, err) = in_folder(&["env", "worlds:World-v0"]);
    assert_eq!(code, Some(0), "{err}");
    for input in ["place", "eye", "arms_0", "arms_1"] {
        assert!(
            spec.contains(&format!("input {input}: [task.{input}]")),
            "{spec}"
        );
    }
    assert!(spec.contains("with 2 choices a step"), "{spec}");
    assert!(
        spec.contains("output policy_1 = linear(y, task.actions_1)"),
        "{spec}"
    );
    std::fs::write(root.join("world.bpm"), spec).unwrap();
    let (code, _, err) = in_folder(&[
        "train",
        "world.bpm",
        "-q",
        "--out",
        "b",
        "--iterations",
        "2",
    ]);
    assert_eq!(code, Some(0), "{err}");

    let (code, spec, err) = in_folder(&["env", "worlds:Reach-v0"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(spec.contains("with 2 continuous actions"), "{spec}");
    std::fs::write(root.join("reach.bpm"), spec).unwrap();
    let reach = [
        "train",
        "reach.bpm",
        "-q",
        "--out",
        "reach",
        "--iterations",
        "2",
    ];
    assert_eq!(in_folder(&reach).0, Some(0));
    // What is taken is what was drawn: the reward tells all of it.
    for run in ["b", "reach"] {
        let file = format!("{run}.npz");
        let probe = "episode.action,episode.reward";
        let replay = [
            "replay",
            run,
            "--iteration",
            "1",
            "--probe",
            probe,
            "-o",
            &file,
        ];
        let (code, _, err) = in_folder(&replay);
        assert_eq!(code, Some(0), "{err}");
    }
    let program = "
import json, numpy as np
def off(file, wanted):
    all = np.load(file)
    rewards, wanted = all['episode.reward'], wanted(all['episode.action'])
    paid = rewards != 0
    return [int(paid.sum()), float(np.abs(rewards - wanted)[paid].max()), float(wanted.min()), float(wanted.max())]
print(json.dumps([off('b.npz', lambda a: 10 * a[..., 0] + a[..., 1]),
    off('reach.npz', lambda a: np.clip(1 + 2 * a[..., 0], -1, 3) + 10 * a[..., 1])]))
";
    let found = crate::python::python("numpy", program, &root).unwrap();
    for (k, most) in [(0, 0.0), (1, 1e-4)] {
        assert!(found[k][0].as_u64().unwrap() > 500, "{found}");
        assert!(found[k][1].as_f64().unwrap() <= most, "{found}");
    }
    assert_eq!((&found[0][2], &found[0][3]), (&0.0.into(), &12.0.into()));
    let (code, spec, err) = in_folder(&["env", "Pendulum-v1"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(spec.contains("one continuous action") && spec.contains("output log_std = spread"));
    std::fs::write(root.join("pendulum.bpm"), spec).unwrap();
    works(&root, &["fmt", "--check", "pendulum.bpm"]);
    works(
        &root,
        &[
            "train",
            "pendulum.bpm",
            "-q",
            "--out",
            "c",
            "--iterations",
            "2",
        ],
    );
    works(&root, &["eval", "c", "--episodes", "2", "--greedy"]);
    for (change, says) in [
        (
            "output log_std = spread",
            "needs an output called `log_std`",
        ),
        ("spread: [task.actions]", "size 3"),
        ("entropy = ", "`concentration`"),
    ] {
        let text = std::fs::read_to_string(root.join("pendulum.bpm")).unwrap();
        let with = match change {
            "entropy = " => "concentration = 0.1, entropy = ",
            "spread: [task.actions]" => "spread: [3]",
            _ => "output other = spread",
        };
        assert!(text.contains(change));
        std::fs::write(root.join("bad.bpm"), text.replace(change, with)).unwrap();
        let (code, _, err) = run(&root, &["check", "bad.bpm"]);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(says), "{err}");
    }
}

/// A world of the tests with actions in parts; episodes of some length by chance. Its rewards tell its actions, and its seeds.
const PARTS: &str = "
import gymnasium, numpy as np
from gymnasium import spaces
class Parts(gymnasium.Env):
    observation_space = spaces.Dict({'place': spaces.Discrete(3), 'eye': spaces.Box(-1, 1, (2,))})
    action_space = spaces.Dict({'arm': spaces.Discrete(3, start=5), 'legs': spaces.Tuple((spaces.MultiBinary(2), spaces.MultiDiscrete([2, 4])))})
    def show(self):
        return {'place': int(self.np_random.integers(3)), 'eye': self.np_random.random(2, dtype='f4')}
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.show(), {}
    def step(self, action):
        legs = action['legs']
        numbers = [action['arm'] - 5, *legs[0], *legs[1]]
        number = sum(int(k) * weight for k, weight in zip(numbers, [1000, 100, 50, 10, 1])) + 1
        return self.show(), float(number), self.np_random.random() < 0.1, self.np_random.random() < 0.1, {}
gymnasium.register('Parts-v0', Parts)
class Numbers(Parts):
    action_space = spaces.Tuple((spaces.Box(-1, 3, (2,)), spaces.Dict({'b': spaces.Box(-np.inf, np.inf, ())})))
    def step(self, action):
        return self.show(), float(action[0].sum() + 10 * action[1]['b']), self.np_random.random() < 0.1, False, {}
gymnasium.register('Numbers-v0', Numbers)
class Mixed(Parts):
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2,))))
gymnasium.register('Mixed-v0', Mixed)
";

#[test]
fn actions_in_parts_and_vector_environments() {
    if crate::python::python("numpy, gymnasium", "print(1)", Path::new(".")).is_none() {
        return;
    }
    let root = scratch("environments-vectors");
    std::fs::write(root.join("parts.py"), PARTS).unwrap();
    let in_folder = |arguments: &[&str]| {
        let mut command = command(&root, arguments);
        crate::runs_support::outcome(command.env("PYTHONPATH", &root).output().unwrap())
    };
    let (code, spec, err) = in_folder(&["env", "parts:Parts-v0"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(spec.contains("with 5 choices a step"), "{spec}");
    std::fs::write(root.join("parts.bpm"), &spec).unwrap();
    let (code, spec, err) = in_folder(&["env", "parts:Numbers-v0"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(spec.contains("with 3 continuous actions"), "{spec}");
    std::fs::write(root.join("numbers.bpm"), &spec).unwrap();
    let (code, _, err) = in_folder(&["env", "parts:Mixed-v0"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("partly choices and partly real numbers"),
        "{err}"
    );

    // Vector environments have the bits of separate ones where each episode begins with its own seed.
    for (spec, episodes, changes) in [
        (
            "parts",
            "stream",
            &["", "--vector sync", "--vector async"][..],
        ),
        ("parts", "whole", &["", "--vector sync", "--vector async"]),
        ("numbers", "stream", &["", "--vector sync"]),
    ] {
        let text = std::fs::read_to_string(root.join(format!("{spec}.bpm"))).unwrap();
        let mut first = None;
        for (k, change) in changes.iter().enumerate() {
            let name = format!("{spec}-{episodes}-{k}");
            let file = format!("{name}.bpm");
            let set = format!("task.episodes={episodes}");
            let processes = format!("task.processes={}", 1 + k % 2);
            std::fs::write(
                root.join(&file),
                text.replace(" --serve", &format!(" {change} --serve")),
            )
            .unwrap();
            let train = [
                "train",
                &file,
                "-q",
                "--out",
                &name,
                "--iterations",
                "3",
                "--set",
                "train.metrics_every=1",
            ];
            let more = [
                "--set",
                &set,
                "--set",
                "train.batch=4",
                "--set",
                "task.steps=40",
                "--set",
                &processes,
            ];
            let (code, _, err) = in_folder(&[&train[..], &more].concat());
            assert_eq!(code, Some(0), "{name}: {err}");
            let checkpoint = find_checkpoint(&root.join(&name), Which::Last).unwrap();
            let (_, weights) = bytes_of_tensors(&std::fs::read(checkpoint).unwrap());
            let found = (metrics(&root.join(&name)), weights);
            match &first {
                None => first = Some(found),
                Some(first) => assert!(*first == found, "{name}"),
            }
            let file = format!("{name}.npz");
            let replay = [
                "replay",
                &name,
                "--iteration",
                "2",
                "--probe",
                "episode.action,episode.reward",
                "-o",
                &file,
            ];
            let (code, _, err) = in_folder(&replay);
            assert_eq!(code, Some(0), "{err}");
        }
    }
    // What is taken is what was drawn.
    let program = "
import json, numpy as np
def off(file, wanted):
    all = np.load(file)
    rewards, wanted = all['episode.reward'], wanted(all['episode.action'])
    paid = rewards != 0
    return [int(paid.sum()), float(np.abs(rewards - wanted)[paid].max())]
print(json.dumps([off('parts-stream-1.npz', lambda a: a @ [1000, 100, 50, 10, 1] + 1),
    off('numbers-stream-1.npz', lambda a: np.clip(1 + 2 * a[..., :2], -1, 3).sum(-1) + 10 * a[..., 2])]))
";
    let found = crate::python::python("numpy", program, &root).unwrap();
    for (k, most) in [(0, 0.0), (1, 1e-4)] {
        assert!(found[k][0].as_u64().unwrap() > 100, "{found}");
        assert!(found[k][1].as_f64().unwrap() <= most, "{found}");
    }

    // A vector environment of its own begins episodes itself, in the step after the end.
    let (code, spec, err) = in_folder(&["env", "CartPole-v1", "--vector", "vector_entry_point"]);
    assert_eq!(code, Some(0), "{err}");
    std::fs::write(root.join("pole.bpm"), spec).unwrap();
    let train = [
        "train",
        "pole.bpm",
        "-q",
        "--iterations",
        "5",
        "--set",
        "train.metrics_every=1",
        "--out",
    ];
    for out in ["a", "b"] {
        assert_eq!(in_folder(&[&train[..], &[out]].concat()).0, Some(0));
    }
    assert_eq!(metrics(&root.join("a")), metrics(&root.join("b")));
    let report = works(&root, &["eval", "a", "--episodes", "8", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["mean"], report["scores"]["length"]);
    assert!(report["mean"].as_f64().unwrap() > 9.0, "{report}");
}

/// Trains the spec that `bpmc env` writes until one of five seeds has a mean return over 100 episodes with the most probable
/// actions. So short a training does not succeed with every seed, nor with the same one on every CPU.
fn balances(name: &str, more: &[&str], iterations: &str, changes: &[&str], wanted: f64) {
    if crate::python::python("numpy, gymnasium", "print(1)", Path::new(".")).is_none() {
        return;
    }
    let root = scratch(name);
    let spec = works(&root, &[&["env", "CartPole-v1"], more].concat());
    std::fs::write(root.join("pole.bpm"), spec).unwrap();
    // Fewer and more frequent steps of learning than the spec has to begin with.
    let mut train = vec!["train", "pole.bpm", "-q", "--iterations", iterations];
    let all = [
        "train.epochs=8",
        "train.gamma=0.98",
        "train.value=0.005",
        "train.decay=0.05",
    ];
    for change in all.iter().chain(changes) {
        train.extend(["--set", change]);
    }
    let mut returns = Vec::new();
    for seed in ["1", "2", "3", "4", "5"] {
        let run = [&train[..], &["--out", seed, "--seed", seed]].concat();
        works(&root, &run);
        let eval = ["eval", seed, "--episodes", "100", "--greedy", "--json"];
        let report: serde_json::Value = serde_json::from_str(&works(&root, &eval)).unwrap();
        let mean = report["mean"].as_f64().unwrap();
        if mean >= wanted {
            return;
        }
        returns.push(mean);
    }
    panic!("mean returns of {returns:?}");
}

/// A plastic agent in the real CartPole.
#[test]
fn cartpole_is_balanced() {
    let changes = [
        "task.steps=32",
        "train.lambda=0.8",
        "train.optimizer.lr=2e-3",
    ];
    balances("environments-cartpole", &[], "150", &changes, 475.0);
}

/// A plastic agent that sees no velocities, and must remember.
#[test]
fn cartpole_without_velocities_is_balanced() {
    let changes = [
        "task.steps=64",
        "train.lambda=0.9",
        "train.optimizer.lr=3e-3",
    ];
    let hidden = ["--keep", "0,2"];
    balances("environments-hidden", &hidden, "300", &changes, 450.0);
}
