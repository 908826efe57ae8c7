//! The command as a user meets it: what it prints where, and its exit status.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::scratch::scratch;
use std::process::{Command, Output, Stdio};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpmc"));
    command.args(arguments).env_remove("NO_COLOR");
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_and_version_are_fine() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Exit status:") && err.is_empty());
    let (code, out, _) = run(&["--version"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), concat!("bpmc ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
fn wrong_usage_is_told_on_standard_error() {
    for arguments in [
        &["nosuch"][..],
        &["new"],
        &["doctor", "--nosuch"],
        &["explain", "E9999"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(
            out.is_empty() && err.starts_with("error: "),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn explain_prints_a_page_in_plain_text() {
    let (code, out, err) = run(&["explain", "e0205"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("# error E0205: a setting that does not exist\n"));
    let (_, list, _) = run(&["explain"]);
    assert!(list.contains("W0104  a trace that can grow without bound\n"));
}

#[test]
fn new_writes_once() {
    let name = scratch("new").join("agent");
    let name = name.to_str().unwrap();
    let (code, out, _) = run(&["new", name]);
    assert_eq!((code, out), (Some(0), format!("wrote {name}.bpm\n")));
    let (code, out, err) = run(&["new", name]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("already there"), "{err}");
}

#[test]
fn doctor_speaks_json() {
    let (code, out, _) = run(&["doctor", "--json"]);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["candle"]["works"], true);
    assert!(report["threads"].as_u64().unwrap() >= 1);
}

#[test]
fn colour_is_a_matter_of_the_flag_where_there_is_no_terminal() {
    let (_, plain, _) = run(&["doctor"]);
    assert!(!plain.contains('\u{1b}'));
    let (_, color, _) = run(&["--color", "always", "doctor"]);
    assert!(color.contains("\u{1b}[1m"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command(&["explain"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
}

/// A spec that trains in no time.
const TINY: &str = "\
network agent {
  input obs: [task.obs]
  state h: [5] = 0
  plastic rec: h -> y using simple(m) {
    weight w ~ uniform(0, 0.1)
    coeff alpha ~ uniform(0, 0.1) per connection
  }
  y = tanh(linear(obs) + rec)
  modulator m = tanh(linear(y, 1))
  h <- y
  output policy = linear(y, task.actions)
  output value = linear(y, 1)
}

task maze { steps = 10 }

train a2c { batch = 4, iterations = 6 }
";

#[test]
fn a_run_is_trained_evaluated_and_not_overwritten() {
    let directory = scratch("train");
    let spec = directory.join("tiny.bpm");
    std::fs::write(&spec, TINY).unwrap();
    let (spec, out) = (spec.to_str().unwrap(), directory.join("run"));
    let out = out.to_str().unwrap();
    let train = ["train", spec, "--out", out, "--quiet", "--seed", "3"];
    let (code, shown, err) = run(&train);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(shown.starts_with("6 iterations done, reward "), "{shown}");
    for file in [
        "spec.bpm",
        "run.yaml",
        "metrics.jsonl",
        "metrics.csv",
        "log.txt",
        "checkpoints/0000000006.safetensors",
        "checkpoints/best.safetensors",
        "checkpoints/manifest.yaml",
    ] {
        assert!(directory.join("run").join(file).is_file(), "{file}");
    }
    assert!(shown.contains(&format!("{out}/metrics.jsonl")), "{shown}");

    let (code, _, err) = run(&train);
    assert_eq!(code, Some(1));
    assert!(err.contains("already holds a run"), "{err}");

    // The run needs the spec no more.
    std::fs::remove_file(spec).unwrap();
    let evaluate = |more: &[&str]| {
        let (code, out, err) = run(&[&["eval", out, "--episodes", "9", "--json"], more].concat());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let report = evaluate(&["--threads", "1"]);
    assert_eq!(report, evaluate(&["--threads", "2"]));
    assert_eq!(
        (&report["iteration"], &report["episodes"]),
        (&6.into(), &9.into())
    );
    assert_eq!(report["measure"], "reward");
    let number = |name: &str| report[name].as_f64().unwrap();
    assert!(number("minimum") <= number("median") && number("median") <= number("maximum"));
    assert_ne!(report["loss"], evaluate(&["--greedy"])["loss"]);
}

#[test]
fn bench_measures_and_keeps_nothing() {
    let directory = scratch("bench");
    let spec = directory.join("tiny.bpm");
    std::fs::write(&spec, TINY).unwrap();
    let bench = |more: &[&str]| {
        let output = command(&[&["bench", "tiny.bpm"], more].concat())
            .current_dir(&directory)
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = |more: &[&str]| {
        serde_json::from_str::<serde_json::Value>(&bench(&[&["--json"], more].concat())).unwrap()
    };
    let document = json(&["--iterations", "3", "--threads", "1"]);
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["machine"]["threads"], 1);
    let spec = &document["specs"][0];
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    for (name, value) in [
        ("lanes", 4),
        ("steps", 10),
        ("threads", 1),
        ("iterations", 3),
    ] {
        assert_eq!(spec[name], value, "{name}");
    }
    // w and alpha, the input's weights and bias, modulator, policy, value.
    let trained = 25 + 25 + (17 * 5 + 5) + (5 + 1) + (5 * 4 + 4) + (5 + 1);
    assert_eq!(spec["parameters"], trained);
    let seconds = &spec["seconds"];
    assert!(number(&seconds["minimum"]) > 0.0);
    assert!(number(&seconds["minimum"]) <= number(&seconds["lower_quartile"]));
    assert!(number(&seconds["lower_quartile"]) <= number(&seconds["median"]));
    assert!(number(&seconds["median"]) <= number(&seconds["upper_quartile"]));
    let rate = number(&spec["iterations_per_second"]);
    assert!((rate * number(&seconds["median"]) - 1.0).abs() < 1e-9);
    assert_eq!(
        number(&spec["environment_steps_per_second"]).round(),
        (40.0 * rate).round()
    );
    assert!(number(&spec["compile_ms"]) > 0.0);
    assert!(number(&spec["work"]["bytes"]) > 0.0);
    assert!(number(&spec["floor"]["reached"]) > 0.0);
    if cfg!(target_os = "linux") {
        assert!(number(&spec["peak_memory_bytes"]) > 1e6);
    }

    // The time decides, but five iterations are measured in any case; floors only where they are wanted.
    let document = json(&["--seconds", "1e-6", "--no-floors", "--set", "train.batch=2"]);
    assert!(document["machine"].is_null() && document["specs"][0]["floor"].is_null());
    assert_eq!(document["specs"][0]["iterations"], 5);
    assert_eq!(document["specs"][0]["lanes"], 2);

    // The plain executors tell where the time goes, and the shares are of all of it.
    let document = json(&["--backend", "reference", "--iterations", "2", "--no-floors"]);
    let phases = document["specs"][0]["phases"].as_object().unwrap();
    let shares: Vec<f64> = phases.values().map(number).collect();
    assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(number(&phases["forward"]) > 0.0 && number(&phases["backward"]) > 0.0);

    // A device tells how long its kernels take. There is no use for floors of the one that is not there.
    let document = json(&["--device", "emulated", "--iterations", "2"]);
    assert_eq!(document["specs"][0]["device"], "emulated");
    assert!(document["machine"].is_null() && document["specs"][0]["floor"].is_null());
    let kernels = document["specs"][0]["kernels"].as_array().unwrap();
    for name in ["share", "forward", "backward", "product", "update"] {
        let kernel = kernels.iter().find(|kernel| kernel["name"] == name);
        assert!(number(&kernel.unwrap()["seconds"]) > 0.0, "{name}");
    }

    // Several specs: one table, in their order.
    std::fs::copy(directory.join("tiny.bpm"), directory.join("other.bpm")).unwrap();
    let table = bench(&["other.bpm", "--iterations", "1", "--threads", "1"]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows[0], "fused on 1 thread");
    assert!(rows[2].starts_with("Speed "), "{table}");
    assert!(rows[3].starts_with("tiny.bpm ") && rows[4].starts_with("other.bpm "));
    assert!(table.contains("\nFloors of an iteration ") && table.contains("\nThis machine"));
    let mut left: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["other.bpm", "tiny.bpm"]);
}

#[test]
fn bench_shows_all_faults_before_it_measures() {
    let directory = scratch("bench_faults");
    for (name, text) in [
        ("good.bpm", TINY.to_owned()),
        (
            "bad.bpm",
            TINY.replace("tanh(linear(obs)", "tanh(linear(odbs)"),
        ),
        ("parts.bpm", "dim N = 3\n".to_owned()),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let output = command(&["bench", "good.bpm", "bad.bpm", "parts.bpm", "none.bpm"])
        .current_dir(&directory)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(err.contains("`odbs`") && err.contains("bad.bpm"), "{err}");
    assert!(err.contains("this spec has no network"), "{err}");
    assert!(err.contains("cannot read the spec none.bpm"), "{err}");
}

#[test]
fn progress_is_plain_lines_where_there_is_no_terminal() {
    let directory = scratch("lines");
    let spec = directory.join("tiny.bpm");
    std::fs::write(&spec, TINY).unwrap();
    let output = command(&["train", "tiny.bpm", "--threads", "1"])
        .current_dir(&directory)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines[0].starts_with("training: agent, "), "{err}");
    assert_eq!(lines[1], "in runs/tiny-0");
    assert!(lines[2].starts_with("1/6  reward "), "{err}");
    assert!(lines.last().unwrap().starts_with("6/6  reward "), "{err}");
    assert!(
        err.contains("/s  0s left") && !err.contains('\u{1b}'),
        "{err}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_iteration_and_tells_how_to_go_on() {
    let directory = scratch("interrupt");
    std::fs::write(directory.join("tiny.bpm"), TINY).unwrap();
    let train = [
        "train",
        "tiny.bpm",
        "--set",
        "train.iterations=4000000000",
        "--quiet",
    ];
    let child = command(&train)
        .current_dir(&directory)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = directory.join("runs/tiny-0/metrics.jsonl");
    for _ in 0..600 {
        if begun.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    let line =
        "\n  bpmc train tiny.bpm --resume --out runs/tiny-0 --set train.iterations=4000000000\n";
    assert!(
        err.contains("interrupted after ") && err.ends_with(line),
        "{err}"
    );
    let manifest = std::fs::read_to_string(directory.join("runs/tiny-0/run.yaml")).unwrap();
    assert!(manifest.contains("status: interrupted\n"), "{manifest}");
    assert!(directory.join("runs/tiny-0/checkpoints").is_dir());
}

#[test]
fn fmt_rewrites_what_is_loose_and_leaves_what_is_broken() {
    let directory = scratch("fmt");
    let path = directory.join("a.bpm");
    let file = path.to_str().unwrap();
    std::fs::write(&path, "dim N=3 // three\n").unwrap();
    let (code, out, _) = run(&["fmt", file, "--check"]);
    assert_eq!((code, out), (Some(1), format!("{file}\n")));
    assert_eq!(run(&["fmt", file]), (Some(0), String::new(), String::new()));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("dim N = 3") && text.contains("// three"),
        "{text}"
    );
    assert_eq!(run(&["fmt", file, "--check"]).0, Some(0));

    std::fs::write(&path, "dim = 3\nnetwork{").unwrap();
    let (code, out, err) = run(&["fmt", file]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("error[E"), "{err}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dim = 3\nnetwork{");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn fmt_upgrades_what_an_older_bpmc_accepted() {
    let directory = scratch("fmt_upgrade");
    let path = directory.join("a.bpm");
    let file = path.to_str().unwrap();
    // A spec of 0.1: states and traces began at 0 without saying so.
    let old = "\
//! An old spec.

rule own(bound = 1) {
  trace hebb, e = 0.5, slow per post reset episode // three
  transmit w + hebb + e + slow
  hebb <- clip(hebb + pre * post, -bound, bound)
}

network a {
  input x: [3]
  state h: [(2 + 1)] reset episode, g: [3]
  for k in 0 .. 2 { state m[k]: [3 /* no comment */] }
  plastic rec: h -> y using own { weight w ~ uniform(0, 0.1) }
  y = tanh(linear(x) + rec + m[0])
  h <- y
  g <- y
  m[0] <- g
  m[1] <- y
  output out = linear(y, 2) + sum(m[1])
}

train supervised { batch = 2, steps = 3 }
"
    .replace(" /* no comment */", " // a ]\n");
    std::fs::write(&path, &old).unwrap();
    let (code, _, err) = run(&["check", file]);
    assert_eq!(code, Some(1));
    assert!(err.matches("error[E0308]").count() >= 5, "{err}");

    let (code, out, _) = run(&["fmt", file, "--upgrade", "--check"]);
    assert_eq!(code, Some(1), "{out}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), old);

    let (code, out, err) = run(&["fmt", file, "--upgrade"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let told: Vec<&str> = out
        .lines()
        .map(|line| line.strip_prefix(file).unwrap())
        .collect();
    assert_eq!(
        told,
        [
            ":1: the file names the version of its language, `bpm 1`",
            ":4: `hebb` begins at 0, which is written out",
            ":4: `slow` begins at 0, which is written out",
            ":11: `h` begins at 0, which is written out",
            ":11: `g` begins at 0, which is written out",
            ":13: `m` begins at 0, which is written out",
        ]
    );
    let new = std::fs::read_to_string(&path).unwrap();
    for wanted in [
        "//! An old spec.\n\nbpm 1\n\nrule own(",
        "trace hebb = 0, e = 0.5, slow = 0 per post reset episode  // three\n",
        "state h: [2 + 1] = 0 reset episode, g: [3] = 0\n",
        "// a ]\n",
        "state m[k]: [3] = 0",
    ] {
        assert!(new.contains(wanted), "{wanted}\n{new}");
    }
    let (code, _, err) = run(&["check", file]);
    assert_eq!((code, err.matches("error").count()), (Some(0), 0), "{err}");
    assert_eq!(
        run(&["fmt", file, "--upgrade"]),
        (Some(0), String::new(), String::new())
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), new);

    // A file without items, and one without a comment at its head.
    for (old, new) in [
        ("", "bpm 1\n"),
        ("// sizes\ndim N = 3\n", "bpm 1\n\n// sizes\ndim N = 3\n"),
        ("bpm   1 dim N = 3", "bpm 1\ndim N = 3\n"),
        ("//! Only this.\n", "//! Only this.\n\nbpm 1\n"),
    ] {
        std::fs::write(&path, old).unwrap();
        assert_eq!(run(&["fmt", file, "--upgrade"]).0, Some(0));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), new);
    }
}

#[test]
fn gradients_for_given_values_agree_between_backends() {
    let directory = scratch("grad");
    let (spec, values) = (directory.join("a.bpm"), directory.join("values.json"));
    let text =
        "network a { input x: [2] output out = tanh(linear(x, 1)) } train supervised { batch = 1 }";
    std::fs::write(&spec, text).unwrap();
    let (spec, values) = (spec.to_str().unwrap(), values.to_str().unwrap());
    assert_eq!(run(&["grad", spec, "--template", "-o", values]).0, Some(0));
    std::fs::write(
        values,
        r#"{ "inputs": { "x": [[[1.0, -2.0]]] },
             "parameters": { "out.linear.weight": [[0.5], [0.25]], "out.linear.bias": [0.1] },
             "targets": { "out": [[[1.0]]] } }"#,
    )
    .unwrap();
    // out = tanh(0.1), loss = (out - 1)^2 / 2.
    let out = 0.1f64.tanh();
    let slope = (out - 1.0) * (1.0 - out * out);
    for (more, tolerance) in [
        (&[][..], 1e-15),
        (&["--backend", "candle"], 1e-15),
        (&["--dtype", "f32"], 1e-6),
    ] {
        let (code, text, err) = run(&[&["grad", spec, "--values", values], more].concat());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let close = |found: &serde_json::Value, wanted: f64| {
            assert!(
                (found.as_f64().unwrap() - wanted).abs() < tolerance,
                "{found} {wanted}"
            );
        };
        close(&json["loss"], (out - 1.0).powi(2) / 2.0);
        let gradients = &json["gradients"];
        close(&gradients["out.linear.weight"][1][0], -2.0 * slope);
        close(&gradients["out.linear.bias"][0], slope);
    }
    std::fs::write(values, r#"{ "inputs": { "y": [[[1.0, -2.0]]] } }"#).unwrap();
    let (code, _, err) = run(&["grad", spec, "--values", values]);
    assert_eq!(code, Some(1));
    assert!(err.contains("values.json: inputs.y: "), "{err}");
}

#[test]
fn what_was_nearly_right_is_told() {
    let directory = scratch("nearly");
    std::fs::write(directory.join("agent.bpm"), TINY).unwrap();
    let name = directory.join("agent").display().to_string();
    for command in ["check", "train"] {
        let (code, _, err) = run(&[command, &name]);
        assert_eq!(code, Some(1));
        let wanted = format!("error: there is no spec {name}; did you mean {name}.bpm?\n");
        assert_eq!(err, wanted);
    }
    for arguments in [
        ["eval", "nowhere", "--episodes", "0"],
        ["train", "agent.bpm", "--threads", "0"],
        ["replay", "nowhere", "--every", "none"],
    ] {
        let (code, _, err) = run(&arguments);
        assert_eq!(code, Some(2));
        assert!(err.contains("a whole number from 1 on is needed"), "{err}");
    }
}

#[test]
fn a_picture_is_written_to_a_file() {
    let directory = scratch("svg");
    let (spec, picture) = (directory.join("a.bpm"), directory.join("a.svg"));
    std::fs::write(&spec, TINY).unwrap();
    let (spec, file) = (spec.to_str().unwrap(), picture.to_str().unwrap());
    let (code, out, err) = run(&["compile", spec, "--emit", "svg", "-o", file]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.contains("<svg") && svg.contains("state rec.hebb"));
    let (_, dot, _) = run(&["compile", spec, "--emit", "dot"]);
    assert!(dot.starts_with("digraph step {"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let output = command(&["explain"])
        .stdout(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err.starts_with("error: cannot write the output: No space left"),
        "{err}"
    );
}
