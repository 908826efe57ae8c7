//! The errors that stop training.

use super::super::checkpoint::CheckpointError;
use crate::engine::experiment::CompileError;
use crate::engine::BackendError;
use crate::learn::language::LanguageError;
use crate::machine::device::DeviceError;
use crate::step::InternalFault;

/// The non-finite number of an iteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFinite {
    /// The loss.
    Loss,
    /// The norm of the gradient.
    Gradient,
    /// A parameter, after the step of the optimizer: its path.
    Parameter(String),
}

impl std::fmt::Display for NotFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotFinite::Loss => f.write_str("the loss"),
            NotFinite::Gradient => f.write_str("the gradient"),
            NotFinite::Parameter(path) => write!(f, "the parameter `{path}`"),
        }
    }
}

/// The reason why training could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The spec lacks a block.
    #[error("the spec has no `{0}` block, which `bpmc train` needs; {1}")]
    Missing(&'static str, &'static str),
    /// The machine has not enough memory.
    #[error("{0}")]
    Memory(String),
    /// Settings of the optimizer that do not go together.
    #[error("{message}; {help}")]
    Settings {
        /// The fault.
        message: String,
        /// The remedy.
        help: String,
    },
    /// A number of the run is not finite.
    #[error(
        "iteration {iteration}: {what} is not a finite number; lower the learning rate, bound the \
         traces or lower `clip_norm`"
    )]
    NotFinite {
        /// Counted from 1.
        iteration: u64,
        /// The number.
        what: NotFinite,
    },
    /// A text for a trainer that reads none.
    #[error("{} is data for `train language_model`, and the spec has another trainer", .0.display())]
    NoText(std::path::PathBuf),
    /// A text or a network that cannot read it.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The spec has no programs.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The device does not exist, or it failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// A checkpoint could not be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
