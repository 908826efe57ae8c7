//! The lifetime of states: episodes of known length, or a text in chunks.

use crate::lang::catalog::TrainerKind;
use crate::lang::sema::model::TrainModel;
use crate::lang::sema::Model;

/// The lifetime of a step's states, and their readers: a pass gives a step other states only where an episode's
/// length is known and nobody asks for those of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// Episodes of exactly so many steps, from first values of the states to the last step.
    Episode {
        /// The number.
        steps: usize,
    },
    /// Chunks of a text: states go on from each to the next.
    Chunks,
    /// Chunks of an episode: states go on from each to the next.
    Truncated,
    /// Episodes in which states are read and set by their names.
    Observed,
    /// The spec does not say.
    Unknown,
}

impl Horizon {
    /// The lifetime of a model's states in training.
    pub fn of(model: &Model) -> Horizon {
        if reads_text(model) {
            return Horizon::Chunks;
        }
        let of_trainer = || {
            let settings = &model.train.as_ref()?.settings;
            let known = settings.iter().any(|(name, _)| name == "steps");
            known.then(|| settings.int("steps"))
        };
        let of_task = model.task.as_ref().map(|task| task.ports.steps);
        match of_task.or_else(of_trainer) {
            Some(steps) if truncated(model.train.as_ref(), steps).is_some() => Horizon::Truncated,
            Some(steps) => Horizon::Episode { steps },
            None => Horizon::Unknown,
        }
    }
}

/// The steps of a chunk, where a trainer cuts episodes of so many steps into several.
pub fn truncated(train: Option<&TrainModel>, steps: usize) -> Option<usize> {
    let train = train.filter(|train| train.trainer.kind == TrainerKind::Supervised)?;
    let chunk = train.settings.int("chunk");
    (chunk > 0 && chunk < steps).then_some(chunk)
}

/// Returns true if a model learns from a text.
pub fn reads_text(model: &Model) -> bool {
    let trainer = model.train.as_ref().map(|train| train.trainer.kind);
    let text = model.task.as_ref().is_some_and(|task| task.ports.is_text);
    text && trainer == Some(TrainerKind::Language)
}
