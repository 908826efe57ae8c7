//! Runs in their directories: the same bytes whatever the threads and interruptions, and clear refusals.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::{shelf, table};
use crate::scratch::scratch;
use bpmc::driver::{compile, Compilation};
use bpmc::lab::run::{
    find_checkpoint, open, Ending, Manifest, OnNan, Run, RunError, RunLocation, RunOptions, Status,
    Which,
};
use bpmc::learn::checkpoint::Checkpoint;
use bpmc::learn::trainer::BackendKind;
use bpmc::machine::device::DeviceKind;
use bpmc::step::passes::Selection;
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Small, with a state that outlives the episode and noise, so that there is something to lose.
const SPEC: &str = "
network agent {
  input obs: [task.obs]
  state h: [N] = 0
  state slow: [N] = 0 reset never
  noise xi ~ normal(0, 0.1)
  plastic rec: h -> y using retroactive(m) {
    weight w ~ uniform(0, 0.1)
    coeff alpha ~ uniform(0, 0.1) per connection
  }
  y = tanh(linear(obs) + rec + 0.1 * slow + xi)
  modulator m = tanh(linear(y, 1))
  h <- y
  slow <- 0.9 * slow + 0.1 * y
  output policy = linear(y, task.actions)
  output value = linear(y, 1)
}
dim N = 5
task cue_reward { cues = 3, bits = 4, shown = 1, steps = 12 }
train a2c {
  batch = 7, iterations = 11, metrics_every = 4, checkpoint_every = 3
  optimizer adam { lr = 1e-3 }
}
";

fn compiled(spec: &str, set: &[&str]) -> (Compilation, Vec<String>) {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    let load = |_: &Path| -> std::io::Result<String> { panic!("nothing is imported") };
    let compilation = compile("agent.bpm", spec, &set, &load).unwrap();
    assert!(
        compilation.program.is_some(),
        "{:?}",
        compilation.diagnostics
    );
    (compilation, set)
}

struct Session<'a> {
    directory: &'a Path,
    spec: &'a str,
    set: &'a [&'a str],
    threads: usize,
    device: DeviceKind,
    resume: bool,
    change: bool,
    /// Asks to stop after this iteration.
    until: u64,
}

impl Session<'_> {
    fn prepare(&self) -> Result<Run, RunError> {
        let (compilation, overrides) = compiled(self.spec, self.set);
        let options = RunOptions {
            device: self.device.into(),
            spec: "agent.bpm".to_owned(),
            overrides,
            location: RunLocation::At(self.directory.to_owned()),
            resume: self.resume,
            change: self.change,
            threads: self.threads,
            backend: BackendKind::Fused,
            passes: Selection::default(),
            memory: None,
            on_nan: OnNan::Stop,
            tensorboard: false,
            init: None,
            data: None,
        };
        Run::prepare(&compilation, &options)
    }

    fn go(&self) -> Result<Ending, RunError> {
        let stop = AtomicBool::new(false);
        self.prepare()?.train(&stop, &mut |report, _| {
            if report.iteration >= self.until {
                stop.store(true, Ordering::Relaxed);
            }
        })
    }
}

fn whole(directory: &Path) -> Session<'_> {
    Session {
        directory,
        spec: SPEC,
        set: &[],
        threads: 1,
        device: DeviceKind::Cpu,
        resume: false,
        change: false,
        until: u64::MAX,
    }
}

fn on_device(directory: &Path) -> Session<'_> {
    Session {
        device: DeviceKind::Emulated,
        ..whole(directory)
    }
}

/// The records without their timing.
fn metrics(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let last = record
                .as_object()
                .unwrap()
                .keys()
                .next_back()
                .unwrap()
                .clone();
            assert_eq!(last, "timing");
            record.as_object_mut().unwrap().shift_remove("timing");
            record.to_string()
        })
        .collect()
}

fn checkpoint(directory: &Path) -> Vec<u8> {
    std::fs::read(find_checkpoint(directory, Which::Last).unwrap()).unwrap()
}

fn last(directory: &Path) -> Checkpoint {
    Checkpoint::read(&find_checkpoint(directory, Which::Last).unwrap()).unwrap()
}

#[test]
fn threads_change_no_bit() {
    let root = scratch("run-threads");
    let one = root.join("one");
    assert_eq!(whole(&one).go().unwrap(), Ending::Finished);
    let records = metrics(&one);
    assert_eq!(records.len(), 3, "iterations 4, 8 and the last, 11");
    assert!(records[2].starts_with("{\"iteration\":11,\"loss\":"));
    assert!(records[0].contains("\"reward\":") && records[0].contains("\"gradient_norm\":"));
    for threads in [2, 3] {
        let other = root.join(threads.to_string());
        let session = Session {
            threads,
            ..whole(&other)
        };
        session.go().unwrap();
        assert_eq!(metrics(&other), records);
        assert!(checkpoint(&other) == checkpoint(&one), "{threads} threads");
    }
    let seed = root.join("seed");
    let session = Session {
        set: &["train.seed=1"],
        ..whole(&seed)
    };
    session.go().unwrap();
    assert_ne!(metrics(&seed), records);
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let root = scratch("run-resume");
    let straight = root.join("straight");
    whole(&straight).go().unwrap();
    for until in 1..11 {
        let broken = root.join(format!("broken-{until}"));
        let mut session = Session {
            until,
            ..whole(&broken)
        };
        assert_eq!(session.go().unwrap(), Ending::Interrupted);
        let manifest = open(&broken).unwrap().manifest;
        assert_eq!(
            (manifest.status, manifest.iterations),
            (Status::Interrupted, until)
        );
        session = Session {
            resume: true,
            threads: 2,
            ..whole(&broken)
        };
        assert_eq!(session.go().unwrap(), Ending::Finished);
        assert_eq!(metrics(&broken), metrics(&straight), "stopped at {until}");
        assert_eq!(table(&broken), table(&straight), "stopped at {until}");
        assert!(shelf(&broken) == shelf(&straight), "stopped at {until}");
    }
}

/// A device may do several iterations before it is asked: where a run was stopped must not matter there either.
#[test]
fn an_interrupted_run_on_a_device_goes_on_to_the_same_bits() {
    let root = scratch("run-resume-device");
    let straight = root.join("straight");
    on_device(&straight).go().unwrap();
    let records = metrics(&straight);
    assert_eq!(records.len(), 3, "iterations 4, 8 and the last, 11");
    for until in [1, 2, 5, 7] {
        let broken = root.join(format!("broken-{until}"));
        let session = Session {
            until,
            ..on_device(&broken)
        };
        assert_eq!(session.go().unwrap(), Ending::Interrupted);
        // After the iterations under way, never beyond a record or a checkpoint.
        let done = open(&broken).unwrap().manifest.iterations;
        assert!((until..until + 3).contains(&done), "{until}: {done}");
        let session = Session {
            resume: true,
            ..on_device(&broken)
        };
        assert_eq!(session.go().unwrap(), Ending::Finished);
        assert_eq!(metrics(&broken), records, "stopped at {until}");
        assert!(shelf(&broken) == shelf(&straight), "stopped at {until}");
    }
}

#[test]
fn a_killed_run_goes_on_from_its_checkpoint() {
    let root = scratch("run-killed");
    let (straight, killed) = (root.join("straight"), root.join("killed"));
    whole(&straight).go().unwrap();
    // As after a crash at iteration 9: the checkpoint of iteration 6, records of 4 and 8, half a line.
    let until_6 = Session {
        until: 6,
        ..whole(&killed)
    };
    until_6.go().unwrap();
    let text = std::fs::read_to_string(straight.join("metrics.jsonl")).unwrap();
    let two: usize = text.lines().take(2).map(|line| line.len() + 1).sum();
    std::fs::write(killed.join("metrics.jsonl"), &text[..two + 20]).unwrap();
    let session = Session {
        resume: true,
        ..whole(&killed)
    };
    session.go().unwrap();
    assert_eq!(metrics(&killed), metrics(&straight));
    assert!(checkpoint(&killed) == checkpoint(&straight));
}

#[test]
fn a_directory_belongs_to_one_run() {
    let root = scratch("run-taken");
    let place = root.join("a");
    whole(&place).go().unwrap();
    let before = checkpoint(&place);
    let again = whole(&place).go().unwrap_err();
    assert!(matches!(again, RunError::Taken(_)), "{again}");
    assert!(checkpoint(&place) == before);

    // A finished run that is resumed has nothing left to do.
    let session = Session {
        resume: true,
        ..whole(&place)
    };
    assert_eq!(session.go().unwrap(), Ending::Finished);
    assert!(checkpoint(&place) == before);

    let nowhere = root.join("b");
    let session = Session {
        resume: true,
        ..whole(&nowhere)
    };
    let error = session.go().unwrap_err();
    assert!(matches!(error, RunError::NothingThere(_)), "{error}");
    assert!(!nowhere.exists());
}

#[test]
fn default_directories_are_numbered() {
    let root = scratch("run-numbered");
    let (compilation, overrides) = compiled(SPEC, &["train.seed=4"]);
    let mut options = RunOptions {
        device: bpmc::machine::device::DeviceChoice::CPU,
        spec: "agent.bpm".to_owned(),
        overrides,
        location: RunLocation::Under {
            parent: root.join("runs"),
            stem: "agent".to_owned(),
        },
        resume: false,
        change: false,
        threads: 1,
        backend: BackendKind::Reference,
        passes: Selection::default(),
        memory: None,
        on_nan: OnNan::Stop,
        tensorboard: false,
        init: None,
        data: None,
    };
    let mut names = Vec::new();
    for resume in [false, false, false, true] {
        options.resume = resume;
        let run = Run::prepare(&compilation, &options).unwrap();
        names.push(run.directory().file_name().unwrap().to_owned());
    }
    assert_eq!(names, ["agent-4", "agent-4-2", "agent-4-3", "agent-4-3"]);
}

#[test]
fn only_the_same_run_is_resumed() {
    let root = scratch("run-same");
    let place = root.join("a");
    let first = Session {
        until: 2,
        set: &["N=4"],
        ..whole(&place)
    };
    first.go().unwrap();
    let refused = |set: &'static [&'static str]| {
        let session = Session {
            resume: true,
            set,
            ..whole(&place)
        };
        session.go().unwrap_err().to_string()
    };
    let text = refused(&["N=4", "task.shown=2"]);
    assert!(text.contains("they were `--set N=4`"), "{text}");
    assert!(text.contains("\n  then  shown = 1"), "{text}");
    assert!(text.contains("\n  now   shown = 2"), "{text}");
    assert!(refused(&["N=4", "train.gamma=0.5"]).contains("`--change` goes on"));
    assert!(refused(&["N=4", "train.seed=9"]).contains("train.seed: 0 -> 9"));

    let file = place.join("run.yaml");
    let mut manifest = Manifest::read(&file).unwrap();
    manifest.version = "0.0.0".to_owned();
    std::fs::write(&file, manifest.to_yaml().unwrap()).unwrap();
    assert!(refused(&["N=4"]).contains("ran with bpmc 0.0.0"));
    std::fs::write(&file, "status: [").unwrap();
    let text = refused(&["N=4"]);
    assert!(
        text.contains("run.yaml") && text.contains("not the manifest"),
        "{text}"
    );
}

#[test]
fn a_run_that_breaks_keeps_its_last_checkpoint() {
    let root = scratch("run-broken");
    let place = root.join("a");
    // Twelve steps an iteration: the logarithm is that of 0 in the fifth.
    let spec = SPEC
        .replace(
            "output value = linear(y, 1)",
            "output value = linear(y, 1) + log(50 - count)\n  count <- count + 1",
        )
        .replace(
            "state slow",
            "state count: [1] = 0 reset never\n  state slow",
        );
    for resume in [false, true] {
        let session = Session {
            spec: &spec,
            resume,
            ..whole(&place)
        };
        let text = session.go().unwrap_err().to_string();
        assert!(
            text.starts_with(
                "iteration 5, step 2, lane 0: `value` is not finite: log of 0 at [0] is -inf"
            ),
            "{text}"
        );
        let manifest = Manifest::read(&place.join("run.yaml")).unwrap();
        assert_eq!((manifest.status, manifest.iterations), (Status::Failed, 4));
        let kept = last(&place);
        assert_eq!(kept.header.iteration, 3);
        assert_eq!(metrics(&place).len(), 1);
    }
}

#[test]
fn a_directory_that_goes_away_is_named() {
    let root = scratch("run-gone");
    let (place, gone) = (root.join("a"), root.join("moved"));
    let mut run = whole(&place).prepare().unwrap();
    let stop = AtomicBool::new(false);
    let moved = run.train(&stop, &mut |report, _| {
        if report.iteration == 5 {
            std::fs::rename(&place, &gone).unwrap();
        }
    });
    let text = moved.unwrap_err().to_string();
    assert!(text.contains("cannot write the checkpoint"), "{text}");
    assert!(
        text.contains("run-gone/a/checkpoints/0000000006.safetensors"),
        "{text}"
    );
    let kept = last(&gone);
    assert_eq!(kept.header.iteration, 3);
}

#[test]
fn what_cannot_be_written_is_named() {
    let root = scratch("run-unwritable");
    let file = root.join("file");
    std::fs::write(&file, "").unwrap();
    let text = whole(&file.join("run")).go().unwrap_err().to_string();
    assert!(
        text.contains("cannot create") && text.contains("file/run"),
        "{text}"
    );

    let place = root.join("a");
    let mut run = whole(&place).prepare().unwrap();
    std::fs::create_dir(place.join("metrics.jsonl")).unwrap();
    let stop = AtomicBool::new(false);
    let text = run.train(&stop, &mut |_, _| {}).unwrap_err().to_string();
    assert!(text.contains("metrics.jsonl"), "{text}");
    let manifest = Manifest::read(&place.join("run.yaml")).unwrap();
    assert_eq!(manifest.status, Status::Failed);
    assert_eq!(manifest.error.unwrap(), text);
}
