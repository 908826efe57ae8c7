//! The blocks a spec must have to be trained.

use super::trainer::TrainError;
use crate::sema::model::{Model, TaskModel, TrainModel};

/// The `train` and the `task` block of `model`.
///
/// # Errors
/// [`TrainError::Missing`] names the block that the spec has not, and what to add.
pub(crate) fn experiment(model: &Model) -> Result<(&TrainModel, &TaskModel), TrainError> {
    let train = model.train.as_ref().ok_or(TrainError::Missing(
        "train",
        "add for instance `train a2c { }`",
    ))?;
    let task = model.task.as_ref().ok_or(TrainError::Missing(
        "task",
        "add for instance `task maze { }`; for given values there is `bpmc grad`",
    ))?;
    Ok((train, task))
}
