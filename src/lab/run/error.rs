//! Why a run could not start or go on.

use super::Which;
use crate::lab::lock::LockError;
use crate::lab::metrics::MetricsError;
use crate::lab::watchdog::Located;
use crate::learn::checkpoint::CheckpointError;
use crate::learn::trainer::TrainError;
use crate::step::InternalFault;
use std::path::{Path, PathBuf};

/// Why a run could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The trainer failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The metrics could not be written.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The last checkpoint is damaged, and one before it is whole.
    #[error("{source}; the checkpoint before it, {}, is whole: delete the damaged file and `--resume` goes on from iteration {iteration}", before.display())]
    Damaged {
        /// What is wrong with the last one.
        source: CheckpointError,
        /// The last one that is whole.
        before: PathBuf,
        /// Its iteration.
        iteration: u64,
    },
    /// The run has no such checkpoint.
    #[error("{} {}", path.display(), no_checkpoint(*which, there))]
    NoCheckpoint {
        /// Its directory.
        path: PathBuf,
        /// Which one was wanted.
        which: Which,
        /// Iterations of those it has.
        there: Vec<u64>,
    },
    /// The run has no such iteration.
    #[error("{} has no iteration {iteration}; they are 1 to {most}", path.display())]
    NoIteration {
        /// Its directory.
        path: PathBuf,
        /// The one that was wanted.
        iteration: u64,
        /// The last there is.
        most: u64,
    },
    /// A number of the run is not finite.
    #[error("{}", .0.sentence)]
    NotFinite(Box<Located>),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// A file or directory of the run.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The directory is that of another run.
    #[error("{} already holds a run; choose another directory, or go on with that run with `--resume`", .0.display())]
    Taken(PathBuf),
    /// Another process trains it, or its lock cannot be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no run to go on with.
    #[error("there is no run in {}: it has no `run.yaml`", .0.display())]
    NothingThere(PathBuf),
    /// The run to go on with is another one.
    #[error("{} is another run: {difference}", path.display())]
    Different {
        /// Its directory.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// The spec of a run does not compile any more.
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
