//! Sweeps as a user meets them: plans, faults in the file, runs that fail in part and are completed, statistics.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::scratch::scratch;
use crate::sweep_support::{bpmc, run, wait_for, TINY};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};

/// A sweep of two specs with two settings and two seeds, each cell done in no time.
const SWEEP: &str = "\
name: tiny
specs: { simple: simple.bpm, plain: plain.bpm }
set: { train.iterations: 6, train.metrics_every: 1 }
vary:
  grid:
    N: [4, 5]
seeds: 2
";

fn write_specs(directory: &Path) {
    std::fs::write(directory.join("simple.bpm"), TINY).unwrap();
    let plain = TINY.replace("simple(m)", "plain()");
    let plain = plain.replace("  modulator m = tanh(linear(y, 1))\n", "");
    std::fs::write(directory.join("plain.bpm"), plain).unwrap();
}

fn json(directory: &Path, arguments: &[&str]) -> Value {
    let (code, out, err) = run(directory, arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
    serde_json::from_str(&out).unwrap()
}

fn states(directory: &Path, sweep: &str) -> Vec<String> {
    let report = json(directory, &["sweep", "status", sweep, "--json"]);
    let cells = report["cells"].as_array().unwrap();
    cells
        .iter()
        .map(|cell| cell["state"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_shipped_sweep_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join("specs/sweeps")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.to_str().unwrap();
        let plan = json(root, &["sweep", "plan", file, "--json"]);
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(plan["name"], stem.as_str(), "a sweep is called as its file");
        let whole = plan["cells"].as_array().unwrap().len();
        let small = json(root, &["sweep", "plan", file, "--json", "--scale", "0.05"]);
        let iterations = |plan: &Value| plan["groups"][0]["iterations"].as_u64().unwrap();
        // A language model has 13 epochs, of which a twentieth is one.
        let times = if stem == "ptb_small" { 13 } else { 20 };
        assert_eq!(iterations(&small) * times, iterations(&plan), "{stem}");
        found.push((stem, whole));
    }
    for (name, cells) in [
        ("cue_reward", 40),
        ("cue_reward_control", 50),
        ("maze", 36),
        ("ptb_small", 64),
    ] {
        assert!(found.contains(&(name.to_owned(), cells)), "{found:?}");
    }
}

#[test]
fn a_sweep_fails_in_part_is_completed_and_collected() {
    let directory = scratch("sweep");
    write_specs(&directory);
    std::fs::write(directory.join("sweep.yaml"), SWEEP).unwrap();
    let plan = json(&directory, &["sweep", "plan", "sweep.yaml", "--json"]);
    let cells = plan["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 8);
    let broken = cells[3]["name"].as_str().unwrap();

    // A file stands where the directory of one cell has to be.
    let place = directory.join("runs/tiny/cells").join(broken);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "").unwrap();
    let (code, _, err) = run(&directory, &["sweep", "run", "sweep.yaml"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&format!("FAILED {broken}")), "{err}");
    assert!(err.contains("error: 1 of 8 cells failed, 7 done"), "{err}");
    assert!(err.ends_with("bpmc sweep run sweep.yaml\n"), "{err}");

    let collect = ["sweep", "collect", "runs/tiny", "-o", "out"];
    let (code, _, err) = run(&directory, &collect);
    assert_eq!(code, Some(0), "{err}");
    let warning = format!("warning: 1 of 8 cells are missing:\n  {broken} (waiting)");
    assert!(err.contains(&warning), "{err}");

    // Rerunning does what is missing, and nothing else.
    let done = cells[0]["name"].as_str().unwrap();
    let checkpoint = directory
        .join("runs/tiny/cells")
        .join(done)
        .join("checkpoints/manifest.yaml");
    let written = || std::fs::metadata(&checkpoint).unwrap().modified().unwrap();
    let before = written();
    std::fs::remove_file(&place).unwrap();
    let (code, out, err) = run(&directory, &["sweep", "run", "sweep.yaml"]);
    assert_eq!((code, written()), (Some(0), before), "{err}");
    assert!(out.starts_with("8 cells done\n"), "{out}");
    assert!(
        err.starts_with("tiny: 1 to do of 8 cells, 1 at a time"),
        "{err}"
    );
    assert_eq!(states(&directory, "runs/tiny"), vec!["done"; 8]);
    assert_eq!(states(&directory, "sweep.yaml"), vec!["done"; 8]);

    let (code, out, err) = run(&directory, &collect);
    assert_eq!((code, err.as_str()), (Some(0), "written to out\n"));
    assert!(out.contains("simple N=4") && out.contains("exact"), "{out}");
    check_collection(&directory, cells);

    // A sweep with more seeds keeps what is done.
    let more = SWEEP.replace("seeds: 2", "seeds: [1, 0, 7]");
    std::fs::write(directory.join("sweep.yaml"), more).unwrap();
    let (code, _, err) = run(&directory, &["sweep", "run", "sweep.yaml"]);
    assert_eq!((code, written()), (Some(0), before), "{err}");
    assert!(err.starts_with("tiny: 4 to do of 12 cells"), "{err}");

    // One whose specs mean something else is refused, and nothing is touched.
    let spec = directory.join("simple.bpm");
    std::fs::write(&spec, TINY.replace("0.1)", "0.2)")).unwrap();
    let (code, _, err) = run(&directory, &["sweep", "run", "sweep.yaml"]);
    assert_eq!((code, written()), (Some(1), before));
    assert!(
        err.starts_with("error: 6 cells of the sweep in runs/tiny were run with another spec"),
        "{err}"
    );
    assert!(err.contains("`--out`"), "{err}");
}

/// The numbers of the files are those of the metrics.
fn check_collection(directory: &Path, cells: &[Value]) {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let summary: Value = serde_json::from_str(&read("out/summary.json")).unwrap();
    assert_eq!(summary["missing"].as_array().unwrap().len(), 0);
    assert_eq!(summary["metric"], "reward");
    let last = |cell: &Value| {
        let name = cell["name"].as_str().unwrap();
        let metrics = read(&format!("runs/tiny/cells/{name}/metrics.jsonl"));
        let record: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
        assert_eq!(record["iteration"], 6);
        record["reward"].as_f64().unwrap()
    };
    let of_first: Vec<f64> = cells
        .iter()
        .filter(|cell| cell["group"] == 0)
        .map(last)
        .collect();
    let median = summary["groups"][0]["finals"]["reward"]["median"].as_f64();
    assert_eq!(median, Some((of_first[0] + of_first[1]) / 2.0));
    let curves = read("out/curves.csv");
    let mut lines = curves.lines();
    assert_eq!(
        lines.next().unwrap(),
        "group,label,N,iteration,metric,seeds,median,lower_quartile,upper_quartile"
    );
    let rewards: Vec<&str> = lines
        .filter(|line| line.starts_with("simple N=4,simple,4,") && line.contains(",reward,"))
        .collect();
    assert_eq!(rewards.len(), 6);
    assert!(rewards[5].starts_with("simple N=4,simple,4,6,reward,2,"));
    // Two against two values: at best 2 of 6 ways, so that p is a third or more.
    let tests = read("out/tests.csv");
    assert_eq!(tests.lines().count(), 1 + 6 + 6 * 6);
    for line in tests.lines().skip(1) {
        let p: f64 = line.split(',').nth(8).unwrap().parse().unwrap();
        assert!((1.0 / 3.0 - 1e-12..=1.0).contains(&p), "{line}");
    }
    assert_eq!(
        read("out/final.csv")
            .lines()
            .filter(|l| l.contains(",reward,"))
            .count(),
        8
    );
}

/// A sweep whose cells end only when they are stopped.
const ENDLESS: &str = "\
name: endless
specs: [simple.bpm]
set: { train.iterations: 4000000000, train.metrics_every: 1, train.checkpoint_every: 10 }
seeds: 3
";

/// A process that is ended where the test fails.
struct Guard(Child);

impl Guard {
    /// Waits for its end.
    fn end(mut self) -> Output {
        let mut stderr = Vec::new();
        let mut pipe = self.0.stderr.take().unwrap();
        pipe.read_to_end(&mut stderr).unwrap();
        let status = self.0.wait().unwrap();
        Output {
            status,
            stdout: Vec::new(),
            stderr,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_saves_and_goes_on() {
    let directory = scratch("sweep_interrupt");
    write_specs(&directory);
    std::fs::write(directory.join("sweep.yaml"), ENDLESS).unwrap();
    let start = |more: &[&str]| {
        bpmc(
            &directory,
            &["sweep", "run", "sweep.yaml", "--workers", "2"],
        )
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .map(Guard)
        .unwrap()
    };
    let child = start(&[]);
    let running = || {
        let states = states(&directory, "sweep.yaml");
        states.iter().filter(|state| *state == "running").count()
    };
    wait_for("two cells", || {
        directory.join("runs/endless/plan.json").exists() && running() == 2
    });

    // Nobody else may run it meanwhile.
    let (code, _, err) = run(&directory, &["sweep", "run", "sweep.yaml"]);
    assert_eq!(code, Some(1));
    let busy = format!("runs/endless is in use by process {} on ", child.0.id());
    assert!(err.contains(&busy), "{err}");

    let plan = json(&directory, &["sweep", "plan", "sweep.yaml", "--json"]);
    let name = |seed: usize| plan["cells"][seed]["name"].as_str().unwrap().to_owned();
    let cell = |seed: usize| directory.join("runs/endless/cells").join(name(seed));
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    wait_for("metrics", || {
        (0..2).all(|seed| text(&cell(seed).join("metrics.jsonl")).lines().count() > 2)
    });
    let (_, out, _) = run(&directory, &["sweep", "status", "runs/endless"]);
    assert!(
        out.contains("2 running") && out.contains("1 waiting"),
        "{out}"
    );
    crate::sweep_support::signal(child.0.id(), "-INT");
    let output = child.end();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    let again =
        "interrupted: 0 of 3 cells done; go on with\n  bpmc sweep run sweep.yaml --workers 2\n";
    assert!(err.ends_with(again), "{err}");
    let manifest = |seed| text(&cell(seed).join("run.yaml"));
    assert!(
        manifest(0).contains("status: interrupted"),
        "{}",
        manifest(0)
    );
    assert_eq!(
        states(&directory, "sweep.yaml"),
        ["interrupted", "interrupted", "waiting"]
    );

    // A sweep that is killed takes its cells with it, and they save; a cell that is killed alone is a failure that
    // does not stop the others.
    let mut child = start(&[]);
    wait_for("two cells", || running() == 2);
    let lock = cell(0).join(".lock");
    let process: u32 = text(&lock).split(' ').nth(1).unwrap().parse().unwrap();
    crate::sweep_support::signal(process, "-KILL");
    wait_for("the third cell", || {
        states(&directory, "sweep.yaml") == ["failed", "running", "running"]
    });
    let (_, out, _) = run(&directory, &["sweep", "status", "runs/endless"]);
    let failed = format!("{} failed: killed (signal 9", name(0));
    assert!(out.contains(&failed), "{out}");
    crate::sweep_support::signal(child.0.id(), "-KILL");
    child.0.wait().unwrap();
    wait_for("the cells to stop", || {
        states(&directory, "sweep.yaml") == ["failed", "interrupted", "interrupted"]
    });

    // The lock of the dead process is no hindrance.
    let child = start(&["--quiet"]);
    wait_for("two cells", || running() == 2);
    crate::sweep_support::signal(child.0.id(), "-TERM");
    let output = child.end();
    assert_eq!(output.status.code(), Some(130));
}

#[test]
fn a_cell_that_fails_is_told_with_what_it_said() {
    let directory = scratch("sweep_fails");
    write_specs(&directory);
    let sweep = "\
name: fails
specs: [simple.bpm]
set: { train.iterations: 3 }
vary:
  list:
    - { N: 5 }
    - { N: 500000 }
";
    std::fs::write(directory.join("sweep.yaml"), sweep).unwrap();
    let (code, _, err) = run(
        &directory,
        &["sweep", "run", "sweep.yaml", "--workers", "1"],
    );
    // The traces of the second have more bytes than any machine.
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("error: 1 of 2 cells failed, 1 done"), "{err}");
    assert!(
        err.contains(": exit status 1: the run needs ") && err.contains("stderr.log"),
        "{err}"
    );
    assert_eq!(states(&directory, "sweep.yaml"), ["done", "failed"]);
}

#[test]
fn faults_in_the_file_are_told_with_place_and_remedy() {
    let directory = scratch("sweep_faults");
    write_specs(&directory);
    std::fs::write(directory.join("bare.bpm"), "dim N = 3\n").unwrap();
    let told = |text: &str| {
        std::fs::write(directory.join("a.yaml"), text).unwrap();
        let (code, out, err) = run(&directory, &["sweep", "plan", "a.yaml"]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{text}\n{err}");
        let run = run(&directory, &["sweep", "run", "a.yaml"]);
        assert_eq!((run.0, run.2.as_str()), (Some(1), err.as_str()));
        assert!(!directory.join("runs").exists(), "{text}");
        err
    };
    let head = "name: a\nspecs: [simple.bpm]\n";
    for (text, wanted) in [
        ("", "error: a.yaml:1:1: a sweep must be a mapping with `name`, `specs`, `set`, `vary`, `seeds`, `engine`, `data` and `device`, and this is nothing\n"),
        ("name: a\n", "error: a.yaml:1:1: the sweep has no `specs`; add `specs: [agent.bpm]`, paths relative to this file\n"),
        ("specs: [simple.bpm]\n", "a.yaml:1:1: the sweep has no `name`"),
        ("name: [a\n", "a `[` before this place is never closed"),
        ("name: a\nspecs: []\n", "a.yaml:2:8: `specs` is empty"),
        ("name: a b\nspecs: [simple.bpm]\n", "a.yaml:1:7: `a b` cannot be used in names of directories"),
        ("name: a\nspecs: [nosuch.bpm]\n", "a.yaml:2:9: there is no spec nosuch.bpm; paths are relative to the folder of the sweep file\n"),
        ("name: a\nspecs: [simple.bpm, simple.bpm]\n", "a.yaml:2:21: two specs are called `simple`"),
        ("name: a\nspecs: { x: { path: simple.bpm, sett: 3 } }\n", "a spec has no `sett`; did you mean `set`?"),
        ("name: a\nspecs: [bare.bpm]\n", "this spec has no network"),
        (&format!("{head}seed: 3\n"), "error: a.yaml:3:1: a sweep has no `seed`; did you mean `seeds`?\n"),
        (&format!("{head}seeds: 3\nseeds: 4\n"), "a.yaml:4:1: `seeds` is there twice; keep one\n"),
        (&format!("{head}seeds: 0\n"), "a.yaml:3:8: `seeds` must be a whole number from 1 to 10000, and this is 0\n"),
        (&format!("{head}seeds: [1, 1]\n"), "a.yaml:3:12: the seed 1 is there already"),
        (&format!("{head}seeds: []\n"), "a.yaml:3:8: `seeds` is empty"),
        (&format!("{head}seeds: many\n"), "must be a whole number"),
        (&format!("{head}set: 3\n"), "a.yaml:3:6: `set` must be a mapping from names to values, and this is a number"),
        (&format!("{head}set: {{ N: [1, 2] }}\n"), "a.yaml:3:11: the value of `N` must be a number or text, and this is a list; values to try one after another go into `vary"),
        (&format!("{head}set: {{ N: }}\n"), "`N` has no value"),
        (&format!("{head}set: {{ train.seed: 1 }}\n"), "a sweep sets `train.seed` itself; use `seeds`"),
        (&format!("{head}set: {{ N: 3, N: 4 }}\n"), "a.yaml:3:14: `N` is there twice"),
        (&format!("{head}vary: {{ gird: {{ N: [1] }} }}\n"), "`vary` has no `gird`; did you mean `grid`?"),
        (&format!("{head}vary: {{ grid: {{ N: [] }} }}\n"), "a.yaml:3:20: what `N` is varied over is empty"),
        (&format!("{head}vary: {{ grid: {{ N: 4 }} }}\n"), "must be a list of values, and this is a number"),
        (&format!("{head}vary: {{ grid: {{ N: [4, 4] }} }}\n"), "`N` has the value 4 twice"),
        (&format!("{head}set: {{ N: 3 }}\nvary: {{ grid: {{ N: [4] }} }}\n"), "a.yaml:3:8: `N` is set here and varied by `vary`; keep one of the two"),
        (&format!("{head}vary: {{ list: [{{ N: 4 }}, {{ N: 4 }}] }}\n"), "this combination is there already"),
        (&format!("{head}vary: {{ random: {{ count: 3 }} }}\n"), "`random` has no `ranges`"),
        (&format!("{head}vary: {{ random: {{ count: 3, ranges: {{ N: {{ log_uniform: [0, 1] }} }} }} }}\n"), "the bounds must be above 0 in the logarithmic range of `N`"),
        (&format!("{head}vary: {{ random: {{ count: 3, ranges: {{ N: {{ uniform: [2, 1] }} }} }} }}\n"), "the lower bound is above the upper one in the range of `N`"),
        (&format!("{head}vary: {{ random: {{ count: 3, ranges: {{ N: {{ normal: [2, 1] }} }} }} }}\n"), "the range of `N` has no `normal`"),
        (&format!("{head}vary: {{ grid: {{ N: [1, 2, 3], train.batch: [1, 2, 3, 4] }} }}\nseeds: 1000\n"), "the sweep has 12000 cells, and 10000 are the most; vary less"),
        (&format!("{head}device: gpu\n"), "a.yaml:3:9: `gpu` is no device; write `cpu`, `cuda`, or `cuda:1` for the second GPU\n"),
        (&format!("{head}engine: {{ slurm: {{ partiton: x }} }}\n"), "`slurm` has no `partiton`; did you mean `partition`?"),
        (&format!("{head}engine: {{ slurm: {{ extra: [gres] }} }}\n"), "`gres` is no option of `sbatch`"),
        (&format!("{head}set: {{ train.bach: 3 }}\n"), "error: a.yaml:2:9: the spec `simple` with train.bach=3 has errors\nerror[E0701]"),
        (&format!("{head}vary: {{ grid: {{ train.batch: [1, -1] }} }}\n"), "the spec `simple` with train.batch=-1 has errors"),
        (&format!("{head}a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [{0}]\nc: &c [{1}]\nd: &d [{2}]\ne: &e [{3}]\nf: [{4}]\n", "*a, ".repeat(9), "*b, ".repeat(9), "*c, ".repeat(9), "*d, ".repeat(9), "*e, ".repeat(9)), "the aliases of the file repeat too much"),
    ] {
        let err = told(text);
        assert!(err.contains(wanted), "{text}\n{err}\n{wanted}");
    }
    // All that is wrong is told at once, in order.
    let err = told("name: a\nspecs: [x.bpm]\nseeds: 0\nset: { N: }\n");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    for (k, line) in lines.iter().enumerate() {
        assert!(
            line.starts_with(&format!("error: a.yaml:{}:", k + 2)),
            "{err}"
        );
    }
    // The same finding is shown once, not for every variant.
    let text = format!("{head}set: {{ train.bach: 3 }}\nvary: {{ grid: {{ N: [4, 5, 6] }} }}\n");
    assert_eq!(told(&text).matches("error[E0701]").count(), 1);

    // Larger than a sweep can be; it is not read to the end.
    let mut file = std::fs::File::create(directory.join("a.yaml")).unwrap();
    for _ in 0..2000 {
        file.write_all(&[b'#'; 1024]).unwrap();
    }
    let (code, _, err) = run(&directory, &["sweep", "plan", "a.yaml"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(1), "error: a.yaml: the file is larger than 1024 KiB\n")
    );
    let (code, _, err) = run(&directory, &["sweep", "plan", "nosuch.yaml"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("nosuch.yaml: cannot read the sweep: No such file"),
        "{err}"
    );
    let (code, _, err) = run(&directory, &["sweep", "status", "nosuch"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no sweep in nosuch"), "{err}");
}

#[test]
fn the_command_line_changes_cells_and_may_not_undo_the_sweep() {
    let directory = scratch("sweep_changes");
    write_specs(&directory);
    std::fs::write(directory.join("sweep.yaml"), SWEEP).unwrap();
    let plan = ["sweep", "plan", "sweep.yaml", "--json"];
    let names = |more: &[&str]| {
        let plan = json(&directory, &[&plan, more].concat());
        let cells = plan["cells"].as_array().unwrap();
        let names = cells.iter().map(|cell| cell["name"].to_string());
        names.collect::<Vec<String>>()
    };
    let whole = names(&[]);
    assert_eq!(whole, names(&[]));
    assert_eq!(whole, names(&["--set", "train.iterations=6"]));
    let small = names(&["--scale", "0.5"]);
    assert!(whole.iter().all(|name| !small.contains(name)));
    assert_eq!(small, names(&["--set", "train.iterations=3"]));
    for (set, message) in [
        (
            "N=3",
            "error: --set N=3: it is what the sweep varies; leave it out\n",
        ),
        (
            "train.seed=3",
            "error: --set train.seed=3: a sweep sets `train.seed` itself; use `seeds`\n",
        ),
    ] {
        let (code, _, err) = run(&directory, &[&plan, &["--set", set][..]].concat());
        assert_eq!((code, err.as_str()), (Some(1), message));
    }
    let (code, out, _) = run(
        &directory,
        &["sweep", "run", "sweep.yaml", "--dry-run", "--threads", "1"],
    );
    assert_eq!(code, Some(0));
    assert_eq!(out.lines().count(), 8);
    assert!(out.starts_with("bpmc train runs/tiny/specs/simple.bpm --out runs/tiny/cells/simple-"));
    assert!(!out.contains("--device"), "{out}");
    let on_gpu = [
        "sweep",
        "run",
        "sweep.yaml",
        "--dry-run",
        "--device",
        "cuda:1",
    ];
    let (code, out, _) = run(&directory, &on_gpu);
    assert_eq!(code, Some(0));
    assert_eq!(out.matches(" --device cuda:1").count(), 8, "{out}");
    let (code, out, _) = run(
        &directory,
        &[
            "sweep",
            "run",
            "sweep.yaml",
            "--dry-run",
            "--engine",
            "slurm",
        ],
    );
    assert_eq!(code, Some(0));
    assert!(
        out.contains("#SBATCH --array=0-7\n") && out.contains("#SBATCH --requeue\n"),
        "{out}"
    );
    assert!(!directory.join("runs").exists());
    let (code, _, err) = {
        let output = bpmc(
            &directory,
            &["sweep", "run", "sweep.yaml", "--engine", "slurm"],
        )
        .env("PATH", "")
        .output()
        .unwrap();
        (
            output.status.code(),
            (),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("error: cannot find `sbatch`: run this on a machine that submits to Slurm"),
        "{err}"
    );
}

/// Two language models, each read once in no time.
const TEXT: &str = "\
network model {
  input word: [task.words]
  x = embedding(word, 6)
  cell layer: lstm(x, 8)
  output next_word = linear(layer.h, task.words)
}
task text { words = 12, steps = 20 }
train language_model {
  batch = 10, epochs = 2
  optimizer adam { lr = 1e-2 }
}
";

#[test]
fn language_models_are_planned_in_epochs_and_collected_by_perplexity() {
    let directory = scratch("sweep-text");
    std::fs::write(directory.join("lstm.bpm"), TEXT).unwrap();
    let words: Vec<String> = (0..2000).map(|k| format!("w{}", k * k % 7)).collect();
    std::fs::create_dir(directory.join("texts")).unwrap();
    for part in ["train", "valid", "test"] {
        let path = directory.join(format!("texts/{part}.txt"));
        std::fs::write(path, words.join(" ")).unwrap();
    }
    let sweep = "name: text\nspecs: { small: lstm.bpm, large: { path: lstm.bpm, set: { train.batch: 20 } } }\n\
                 set: { train.metrics_every: 2 }\nseeds: 2\n";
    std::fs::write(directory.join("text.yaml"), sweep).unwrap();

    // 2001 tokens in 10 lanes of 201 steps are 11 chunks, and in 20 of 101 are 6.
    let plan = |more: &[&str]| {
        json(
            &directory,
            &[&["sweep", "plan", "text.yaml", "--json"], more].concat(),
        )
    };
    let iterations =
        |plan: &Value| [0, 1].map(|k| plan["groups"][k]["iterations"].as_u64().unwrap());
    let whole = plan(&["--data", "texts"]);
    assert_eq!(iterations(&whole), [22, 12]);
    let half = plan(&["--data", "texts", "--scale", "0.05"]);
    assert_eq!(iterations(&half), [11, 6]);
    let overrides = half["groups"][0]["overrides"].as_array().unwrap();
    assert!(
        overrides.contains(&"train.epochs=1".into()),
        "{overrides:?}"
    );
    // The generated text has 60 000 tokens.
    assert_eq!(iterations(&plan(&[])), [600, 300]);
    let (code, _, err) = run(
        &directory,
        &["sweep", "plan", "text.yaml", "--data", "none"],
    );
    assert_eq!(code, Some(1));
    assert!(
        err.contains("the spec `small` cannot read its text"),
        "{err}"
    );

    let go = ["sweep", "run", "text.yaml", "--data", "texts", "--quiet"];
    let (code, _, err) = run(&directory, &go);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(states(&directory, "runs/text"), vec!["done"; 4]);
    let (code, out, err) = run(&directory, &["sweep", "collect", "runs/text", "-o", "out"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with("test_perplexity, mean over the last 10% of each cell"),
        "{out}"
    );
    let read = |path: String| std::fs::read_to_string(directory.join(path)).unwrap();
    let summary: Value = serde_json::from_str(&read("out/summary.json".to_owned())).unwrap();
    assert_eq!(summary["metric"], "test_perplexity");
    assert_eq!(summary["tests"].as_array().unwrap().len(), 1);
    for group in summary["groups"].as_array().unwrap() {
        for cell in group["seeds"].as_array().unwrap() {
            let name = cell["name"].as_str().unwrap();
            let manifest = read(format!("runs/text/cells/{name}/run.yaml"));
            assert!(manifest.contains("texts"), "{manifest}");
            let line = manifest
                .lines()
                .find(|l| l.trim().starts_with("perplexity:"));
            let value: f64 = line.unwrap().split(": ").nth(1).unwrap().parse().unwrap();
            assert_eq!(cell["finals"]["test_perplexity"].as_f64(), Some(value));
            // Validation where epochs end, of which the last is in the last tenth.
            let records = read(format!("runs/text/cells/{name}/metrics.jsonl"));
            let last: Value = serde_json::from_str(records.lines().last().unwrap()).unwrap();
            assert_eq!(cell["finals"]["valid_perplexity"], last["valid_perplexity"]);
        }
        assert_eq!(
            group["curves"]["valid_perplexity"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
    let (code, _, err) = run(&directory, &["report", "runs/text", "-o", "out.html"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let page = std::fs::read_to_string(directory.join("out.html")).unwrap();
    for part in [
        "The perplexity of the test text, with the parameters of each cell",
        "Validation perplexity over the training",
        " --data ",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Another text is another sweep.
    let (code, _, err) = run(&directory, &["sweep", "run", "text.yaml", "--quiet"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("not that bpmc generates; choose another directory"),
        "{err}"
    );
}
