//! The blocks a spec must have to be trained.

use super::optim::{self, Optimizer};
use super::tasks::{self, Task};
use super::trainer::TrainError;
use crate::lang::sema::model::{Model, TaskModel, TrainModel};

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
        "add for instance `task maze { }`, or `task process { command = \"python3 world.py\" }` for an environment of your own; for given values there is `bpmc grad`",
    ))?;
    Ok((train, task))
}

/// The task of a model, built.
///
/// # Errors
/// [`TrainError::Settings`], where its files are not there any more, or not what they were.
pub(crate) fn built(task: &TaskModel) -> Result<Box<dyn Task>, TrainError> {
    tasks::of_model(task).map_err(|conflict| TrainError::Settings {
        message: conflict.message,
        help: conflict.help,
    })
}

/// The optimizer of a `train` block, for parameters of these lengths.
///
/// # Errors
/// [`TrainError::Settings`], where its settings contradict each other.
pub(crate) fn optimizer(
    train: &TrainModel,
    lengths: &[usize],
) -> Result<Box<dyn Optimizer>, TrainError> {
    let entry = optim::find(train.optimizer.name);
    let entry = entry.expect("the catalog holds no other optimizers than these");
    (entry.build)(&train.optimizer_settings, lengths).map_err(|conflict| TrainError::Settings {
        message: conflict.message,
        help: conflict.help,
    })
}
