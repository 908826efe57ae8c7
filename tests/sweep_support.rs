//! What the tests of sweeps share.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A spec that trains in no time.
pub const TINY: &str = "\
dim N = 5

network agent {
  input obs: [task.obs]
  state h: [N] = 0
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

/// The command, to be run in `directory`.
pub fn bpmc(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpmc"));
    command.args(arguments).current_dir(directory);
    command
}

/// Exit status, standard output and standard error.
pub fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = bpmc(directory, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Waits until something holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed().as_secs() < 120, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Sends a signal.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([name, &process.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill {name} {process}");
}
