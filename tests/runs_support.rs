//! What tests of runs share: a small spec, sessions of the library and of the command, and what a run left.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bpmc::driver::{compile, Compilation};
use bpmc::lab::run::{Ending, OnNan, Run, RunError, RunLocation, RunOptions};
use bpmc::learn::trainer::BackendKind;
use bpmc::step::passes::Selection;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

/// Small, with traces, a state that outlives the episode, and noise, so that there is something to lose.
pub const SPEC: &str = "
dim N = 5
network agent {
  input obs: [task.obs]
  state h: [N] = 0
  state slow: [N] = 0 reset never
  noise xi ~ normal(0, 1)
  plastic rec: h -> y using retroactive(m) {
    weight w ~ uniform(0, 0.1)
    coeff alpha ~ uniform(0, 0.1) per connection
  }
  y = tanh(linear(obs) + rec + 0.1 * slow + 0.1 * xi)
  modulator m = tanh(linear(y, 1))
  h <- y
  slow <- 0.9 * slow + 0.1 * y
  output policy = linear(y, task.actions)
  output value = linear(y, 1)
}
task cue_reward { cues = 3, bits = 4, shown = 1, steps = 12 }
train a2c {
  batch = 7, iterations = 11, metrics_every = 1, checkpoint_every = 3
  optimizer adam { lr = 1e-3 }
}
";

pub fn compiled(spec: &str) -> Compilation {
    let load = |_: &Path| -> std::io::Result<String> { panic!("nothing is imported") };
    let compilation = compile("agent.bpm", spec, &[], &load).unwrap();
    assert!(
        compilation.program.is_some(),
        "{:?}",
        compilation.diagnostics
    );
    compilation
}

/// One start of a run.
pub struct Session<'a> {
    pub directory: &'a Path,
    pub spec: &'a str,
    pub backend: BackendKind,
    pub resume: bool,
    pub on_nan: OnNan,
    /// Asks to stop after this iteration.
    pub until: u64,
}

impl<'a> Session<'a> {
    pub fn new(directory: &'a Path, spec: &'a str) -> Session<'a> {
        Session {
            directory,
            spec,
            backend: BackendKind::Fused,
            resume: false,
            on_nan: OnNan::Stop,
            until: u64::MAX,
        }
    }

    pub fn go(&self) -> Result<Ending, RunError> {
        let options = RunOptions {
            device: bpmc::machine::device::DeviceChoice::CPU,
            spec: "agent.bpm".to_owned(),
            overrides: Vec::new(),
            location: RunLocation::At(self.directory.to_owned()),
            resume: self.resume,
            change: false,
            threads: 2,
            backend: self.backend,
            passes: Selection::default(),
            memory: None,
            on_nan: self.on_nan,
            tensorboard: false,
            init: None,
            data: None,
        };
        let stop = AtomicBool::new(false);
        let mut run = Run::prepare(&compiled(self.spec), &options)?;
        run.train(&stop, &mut |report, _| {
            if report.iteration >= self.until {
                stop.store(true, Ordering::Relaxed);
            }
        })
    }
}

/// The records without their timing.
pub fn metrics(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record.as_object_mut().unwrap().shift_remove("timing");
            record
        })
        .collect()
}

/// The table without its columns of timing.
pub fn table(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("metrics.csv")).unwrap();
    let header = text.lines().next().unwrap();
    assert!(header.ends_with(",seconds,seconds_per_iteration"));
    let untimed = |line: &str| line.rsplitn(3, ',').last().unwrap().to_owned();
    text.lines().map(untimed).collect()
}

/// All files of the checkpoints with their bytes.
pub fn shelf(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory.join("checkpoints")).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The command, in a directory.
pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpmc"));
    command
        .args(arguments)
        .current_dir(directory)
        .env_remove("NO_COLOR");
    command
}

/// Exit status, standard output and standard error.
pub fn outcome(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

pub fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    outcome(command(directory, arguments).output().unwrap())
}
