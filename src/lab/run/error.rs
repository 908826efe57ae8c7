//! The errors of starting, resuming and training a run.

use super::Which;
use crate::lab::lock::LockError;
use crate::lab::metrics::MetricsError;
use crate::lab::watchdog::Located;
use crate::learn::checkpoint::CheckpointError;
use crate::learn::data::DataError;
use crate::learn::trainer::TrainError;
use crate::step::InternalFault;
use std::path::{Path, PathBuf};

/// The reason why a run could not start or continue.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The trainer failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The metrics could not be written.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The file of first parameters cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The last checkpoint is damaged, and an earlier one is whole.
    #[error("{source}; the checkpoint before it, {}, is whole: delete the damaged file and `--resume` goes on from iteration {iteration}", before.display())]
    Damaged {
        /// The error in the last checkpoint.
        source: CheckpointError,
        /// The path of the last whole checkpoint.
        before: PathBuf,
        /// The iteration of that checkpoint.
        iteration: u64,
    },
    /// The run has no such checkpoint.
    #[error("{} {}", path.display(), no_checkpoint(*which, there))]
    NoCheckpoint {
        /// The run directory.
        path: PathBuf,
        /// The checkpoint asked for.
        which: Which,
        /// The iterations of the existing checkpoints.
        there: Vec<u64>,
    },
    /// The run has no such iteration.
    #[error("{} has no iteration {iteration}; they are 1 to {most}", path.display())]
    NoIteration {
        /// The run directory.
        path: PathBuf,
        /// The iteration asked for.
        iteration: u64,
        /// The last iteration of the run.
        most: u64,
    },
    /// A number in the run is not finite.
    #[error("{}", .0.sentence)]
    NotFinite(Box<Located>),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// A file or directory of the run could not be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// The verb for the operation that failed.
        verb: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The directory holds another run.
    #[error("{} already holds a run; choose another directory, or go on with that run with `--resume`", .0.display())]
    Taken(PathBuf),
    /// Another process trains this run, or its lock cannot be created.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The directory has no run to resume.
    #[error("there is no run in {}: it has no `run.yaml`", .0.display())]
    NothingThere(PathBuf),
    /// The run in the directory is not the one to resume.
    #[error("{} is another run: {difference}", path.display())]
    Different {
        /// The run directory.
        path: PathBuf,
        /// The difference between the two.
        difference: String,
    },
    /// The settings of `train` have changed.
    #[error("{} ran with other settings of `train`; `--change` goes on with the new ones:{lines}", path.display())]
    Changed {
        /// The run directory.
        path: PathBuf,
        /// The settings, one a line.
        lines: String,
    },
    /// A setting of `train` has changed that a run cannot change.
    #[error("{} cannot go on with another `{setting}`, because {reason}:{lines}", path.display())]
    Fixed {
        /// The run directory.
        path: PathBuf,
        /// The setting.
        setting: String,
        /// The reason, as a clause.
        reason: &'static str,
        /// The setting before and now.
        lines: String,
    },
    /// The run has done more iterations than are asked for.
    #[error("{} has done {done} iterations, more than the {planned} that are planned now", path.display())]
    Done {
        /// The run directory.
        path: PathBuf,
        /// The iterations done.
        done: u64,
        /// The iterations planned.
        planned: u64,
    },
    /// The spec of a run no longer compiles.
    #[error("{} has errors; `bpmc check` shows them", .0.display())]
    Broken(PathBuf),
}

fn no_checkpoint(which: Which, there: &[u64]) -> String {
    let numbers: Vec<String> = there.iter().map(u64::to_string).collect();
    match (which, numbers.as_slice()) {
        (Which::Last, _) | (_, []) => "has no checkpoint yet".to_owned(),
        (Which::Best, _) => "has no best checkpoint yet".to_owned(),
        (Which::At(iteration), numbers) => format!(
            "has no checkpoint of iteration {iteration}; there are those of {}",
            numbers.join(", ")
        ),
    }
}

impl RunError {
    pub(super) fn file(verb: &'static str, path: &Path, source: std::io::Error) -> RunError {
        RunError::File {
            verb,
            path: path.to_owned(),
            source,
        }
    }
}
