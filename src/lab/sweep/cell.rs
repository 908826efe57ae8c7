//! One cell, trained by its own process.

use super::directory::Directory;
use super::plan::Cell;
use super::SweepError;
use crate::lab::run::{checkpoints, Manifest, LOG, MANIFEST, METRICS, METRICS_TABLE, SPEC};
use crate::learn::replace::replace;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// The name of the file with the standard error of a cell's process.
const STDERR: &str = "stderr.log";
/// The name of the file that records why a cell failed.
const FAILURE: &str = "failure.json";
/// The number of lines of `stderr.log` that a failure keeps.
const TAIL_LINES: usize = 20;
/// The number of bytes searched for these lines.
const TAIL_BYTES: u64 = 1 << 14;
/// The exit status of `bpmc train` after an interruption.
const INTERRUPTED: i32 = 130;

/// The failure of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The end of its process, in words.
    pub reason: String,
    /// True if the process was killed, so that another try may succeed.
    #[serde(default)]
    pub killed: bool,
    /// The last lines of its standard error.
    #[serde(default)]
    pub tail: Vec<String>,
}

impl Failure {
    /// Reads the failure recorded in the directory of a cell.
    pub fn read(cell: &Path) -> Option<Failure> {
        let bytes = std::fs::read(cell.join(FAILURE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The failure in one sentence.
    pub fn sentence(&self) -> String {
        let last = self.tail.iter().rev().find(|line| !line.trim().is_empty());
        let told = self.tail.iter().rev().find_map(|line| {
            let error = line.trim().strip_prefix("error: ");
            error.map(str::to_owned)
        });
        match told.or_else(|| last.cloned()) {
            Some(line) => format!("{}: {line}", self.reason),
            None => self.reason.clone(),
        }
    }

    fn write(&self, cell: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        replace(&cell.join(FAILURE), &text)
    }
}

/// The end of a cell's training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All iterations are done.
    Done,
    /// The cell was stopped, and can continue.
    Interrupted,
    /// The cell failed; the failure is recorded in its directory.
    Failed(Failure),
}

/// A process that trains a cell. It saves and stops when it is told to, or when the process that started it
/// is gone.
#[derive(Debug)]
pub struct Training {
    child: Child,
    /// The standard input of the process; closing it tells the process to stop.
    input: Option<ChildStdin>,
    path: PathBuf,
    /// True if [`Training::kill`] ended the process.
    ended: bool,
}

impl Training {
    /// Starts `program train` on a cell, from its checkpoint if there is one.
    ///
    /// # Errors
    /// Fails if its directory or process cannot be created.
    pub fn start(
        program: &Path,
        directory: &Directory,
        cell: &Cell,
        threads: usize,
    ) -> Result<Training, SweepError> {
        let path = directory.cell(cell);
        std::fs::create_dir_all(&path).map_err(|e| SweepError::file("create", &path, e))?;
        let resume = clear(&path)?;
        let log = path.join(STDERR);
        let log = File::create(&log).map_err(|e| SweepError::file("write", &log, e))?;
        let mut command = Command::new(program);
        command
            .args(arguments(directory, cell, threads, resume))
            .arg("--stop-on-end-of-input")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        #[cfg(unix)]
        {
            // Ctrl-C on a terminal reaches the whole process group; the sweep alone decides how to react.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        let mut child = command
            .spawn()
            .map_err(|e| SweepError::file("start", program, e))?;
        Ok(Training {
            input: child.stdin.take(),
            child,
            path,
            ended: false,
        })
    }

    /// Tells the process to stop after the current iteration.
    pub fn stop(&mut self) {
        self.input = None;
    }

    /// Ends the process at once. The last checkpoint is whole.
    pub fn kill(&mut self) {
        // Killing fails only if the process has ended.
        self.ended |= self.child.kill().is_ok();
    }

    /// The process number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The end of the process, if it has ended.
    ///
    /// # Errors
    /// Fails if the system does not report it, or the failure cannot be recorded.
    pub fn poll(&mut self) -> Result<Option<Outcome>, SweepError> {
        let status = self
            .child
            .try_wait()
            .map_err(|e| SweepError::file("watch", &self.path, e))?;
        status.map(|status| self.outcome(status)).transpose()
    }

    fn outcome(&self, status: ExitStatus) -> Result<Outcome, SweepError> {
        match status.code() {
            Some(0) => return Ok(Outcome::Done),
            Some(INTERRUPTED) => return Ok(Outcome::Interrupted),
            None if self.ended => return Ok(Outcome::Interrupted),
            Some(_) | None => {}
        }
        let failure = Failure {
            reason: reason(status),
            killed: status.code().is_none(),
            tail: tail(&self.path.join(STDERR)),
        };
        let file = self.path.join(FAILURE);
        failure
            .write(&self.path)
            .map_err(|e| SweepError::file("write", &file, e))?;
        Ok(Outcome::Failed(failure))
    }
}

impl Drop for Training {
    /// Tells a process that is no longer waited for to stop; it records its end itself.
    fn drop(&mut self) {
        self.stop();
    }
}

/// The arguments of `bpmc` that train a cell.
pub fn arguments(directory: &Directory, cell: &Cell, threads: usize, resume: bool) -> Vec<String> {
    let group = directory.plan.group(cell);
    let mut words = vec![
        "train".to_owned(),
        directory.spec(&group.label).display().to_string(),
        "--out".to_owned(),
        directory.cell(cell).display().to_string(),
        "--seed".to_owned(),
        cell.seed.to_string(),
        "--threads".to_owned(),
        threads.to_string(),
        "--quiet".to_owned(),
    ];
    for set in &group.overrides {
        words.extend(["--set".to_owned(), set.clone()]);
    }
    if let Some(data) = &group.data {
        words.extend(["--data".to_owned(), data.display().to_string()]);
    }
    if let Some(device) = &directory.plan.device {
        words.extend(["--device".to_owned(), device.clone()]);
    }
    if resume {
        words.push("--resume".to_owned());
    }
    words
}

/// Returns true if there is a run to continue. A run without a checkpoint is removed, so that a run killed while its
/// files were made starts again.
fn clear(path: &Path) -> Result<bool, SweepError> {
    let manifest = path.join(MANIFEST);
    let failure = path.join(FAILURE);
    let has_checkpoint = checkpoints(path).is_ok_and(|all| !all.is_empty());
    if has_checkpoint {
        Manifest::read(&manifest).map_err(|e| SweepError::file("read", &manifest, e))?;
    } else {
        for name in [MANIFEST, METRICS, METRICS_TABLE, LOG, SPEC] {
            remove(&path.join(name))?;
        }
    }
    remove(&failure)?;
    Ok(has_checkpoint)
}

fn remove(path: &Path) -> Result<(), SweepError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SweepError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn reason(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            9 => "killed (signal 9; often there was not enough memory)".to_owned(),
            signal => format!("killed by signal {signal}"),
        };
    }
    match status.code() {
        Some(101) => "bpmc itself failed".to_owned(),
        Some(code) => format!("exit status {code}"),
        None => "killed".to_owned(),
    }
}

/// The last lines of a file.
fn tail(path: &Path) -> Vec<String> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_error_line() {
        let failure = |tail: &[&str]| Failure {
            reason: "exit status 1".to_owned(),
            killed: false,
            tail: tail.iter().map(|line| (*line).to_owned()).collect(),
        };
        for (tail, sentence) in [
            (
                &["error: no room", "more", ""][..],
                "exit status 1: no room",
            ),
            (&["what", " "], "exit status 1: what"),
            (&[], "exit status 1"),
        ] {
            assert_eq!(failure(tail).sentence(), sentence);
        }
    }

    #[test]
    fn the_tail_of_a_long_log_is_short() {
        let path = std::env::temp_dir().join(format!("bpmc-tail-{}", std::process::id()));
        let text: String = (0..5000).map(|k| format!("line {k}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let lines = tail(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines[TAIL_LINES - 1], "line 4999");
        assert!(tail(&path).is_empty());
    }
}
