//! Epochs over the sequences of a file, and what the validation file costs at their ends.

use super::{TrainError, Trainer};
use crate::engine::BackendError;
use crate::lang::catalog::TrainerKind;
use crate::lang::sema::model::{TaskModel, TrainModel};
use crate::learn::block::EpisodeOptions;
use crate::learn::chunks::Chunks;
use crate::learn::score::Tally;
use crate::learn::tasks::{Part, Task};

/// The loss on data that are not learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// The loss, on the scale of that of a batch.
    pub loss: f64,
    /// `exp` of the loss, where it is that of words.
    pub perplexity: Option<f64>,
    /// The scores of all sequences, by name.
    pub scores: Vec<(String, f64)>,
}

/// The scores by name.
pub(super) fn values_of(scores: &[Tally]) -> Vec<(String, f64)> {
    let values = scores
        .iter()
        .map(|score| (score.name.clone(), score.value()));
    values.collect()
}

/// The ends of epochs over the sequences of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// Sequences of an epoch.
    sequences: u64,
    /// Sequences of a batch.
    batch: u64,
    /// Iterations of a batch: one for each of its chunks.
    chunks: u64,
    /// Sequences of the validation file, if there is one.
    valid: Option<u64>,
    /// Epochs from one validation to the next.
    every: u64,
    /// Validations in a row without a lower loss that end the run; 0 for any number.
    patience: u64,
}

/// Iterations of a whole run; 0 where a text is read, which tells them itself.
pub fn planned(train: &TrainModel, task: &TaskModel) -> u64 {
    let setting = |name| train.settings.int(name) as u64;
    match (train.trainer.kind, task.ports.sequences) {
        (TrainerKind::Language, _) => 0,
        (TrainerKind::Supervised, Some(sequences)) if setting("epochs") > 0 => {
            let all = setting("epochs").saturating_mul(sequences as u64);
            let chunks = Chunks::new(train, task.ports.steps).count();
            all.div_ceil(setting("batch"))
                .saturating_mul(chunks)
                .min(u64::from(u32::MAX))
        }
        (TrainerKind::Reward | TrainerKind::Supervised, _) => setting("iterations"),
    }
}

impl Epochs {
    /// The epochs of a task; `None` where its episodes are not those of a file.
    pub(super) fn new(task: &dyn Task, train: &TrainModel) -> Option<Epochs> {
        let setting = |name| train.settings.int(name) as u64;
        let sequences = task.sequences(Part::Train)? as u64;
        (train.trainer.kind == TrainerKind::Supervised).then(|| Epochs {
            sequences,
            batch: setting("batch"),
            chunks: Chunks::new(train, task.steps()).count(),
            valid: task.sequences(Part::Valid).map(|count| count as u64),
            every: setting("valid_every"),
            patience: setting("patience"),
        })
    }

    /// The epoch, from 1, of the first sequence of an iteration, from 1.
    fn of(&self, iteration: u64) -> u64 {
        let batches = iteration.saturating_sub(1) / self.chunks;
        batches.saturating_mul(self.batch) / self.sequences + 1
    }

    /// Tells if the validation file is looked at after so many iterations.
    pub fn validates(&self, done: u64) -> bool {
        let length = self.sequences * self.every;
        if !done.is_multiple_of(self.chunks) {
            return false;
        }
        let done = done / self.chunks;
        let ends = |done: u64| done.saturating_mul(self.batch) / length;
        self.valid.is_some() && done > 0 && ends(done) > ends(done - 1)
    }

    /// Tells if there is a validation file.
    pub fn has_validation(&self) -> bool {
        self.valid.is_some()
    }

    /// Validations in a row without a lower loss that end the run; 0 for any number.
    pub fn patience(&self) -> u64 {
        self.patience
    }
}

impl Trainer {
    /// Iterations of the whole run.
    pub fn planned(&self) -> u64 {
        self.chunks().unwrap_or(self.planned)
    }

    /// The ends of epochs, if each episode is one of a file.
    pub fn epochs(&self) -> Option<Epochs> {
        self.epochs
    }

    /// The epoch of the iterations done by now.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.epochs.map(|epochs| epochs.of(self.iteration))
    }

    /// The loss of the validation file with the parameters as they are, if it is to be looked at now. Every sequence is run
    /// once, from first values of all states.
    pub(super) fn validate_episodes(&mut self) -> Result<Option<Validation>, TrainError> {
        let Some(epochs) = self
            .epochs
            .filter(|epochs| epochs.validates(self.iteration))
        else {
            return Ok(None);
        };
        let count = epochs.valid.unwrap_or(0);
        let values = self.parameters.wide();
        let (mut loss, mut scores) = (0.0, Vec::new());
        for k in 0..count.div_ceil(epochs.batch) {
            let options = EpisodeOptions {
                seed: self.seed,
                iteration: u32::MAX - k as u32,
                learn: false,
                greedy: false,
                batch: self.batch,
                part: Part::Valid,
                chunk: None,
            };
            let Some(block) = &mut self.block else {
                return Ok(None);
            };
            let report = self
                .pool
                .install(|| block.run(&values, options, &Vec::new()))?;
            if let Some(fault) = report.fault {
                return Err(BackendError::Environment(fault).into());
            }
            loss += report.loss;
            if scores.is_empty() {
                scores = report.scores;
            } else {
                for (all, own) in scores.iter_mut().zip(&report.scores) {
                    all.add(own);
                }
            }
        }
        Ok(Some(Validation {
            loss: loss * epochs.batch as f64 / count as f64,
            perplexity: None,
            scores: values_of(&scores),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::Epochs;

    #[test]
    fn epochs_end_where_their_last_sequence_is_shown() {
        let epochs = |sequences, batch, every| Epochs {
            sequences,
            batch,
            chunks: 1,
            valid: Some(1),
            every,
            patience: 0,
        };
        let ends = |epochs: Epochs, iterations: u64| -> Vec<u64> {
            (0..=iterations).filter(|k| epochs.validates(*k)).collect()
        };
        assert_eq!(ends(epochs(10, 4, 1), 10), [3, 5, 8, 10]);
        assert_eq!(ends(epochs(10, 4, 2), 10), [5, 10]);
        assert_eq!(ends(epochs(3, 4, 1), 3), [1, 2, 3]);
        let of = |k| epochs(10, 4, 1).of(k);
        assert_eq!([1, 2, 3, 4, 5, 6].map(of), [1, 1, 1, 2, 2, 3]);
        let cut = Epochs {
            chunks: 2,
            ..epochs(10, 4, 1)
        };
        assert_eq!(ends(cut, 12), [6, 10]);
        assert_eq!([5, 6, 7, 8].map(|k| cut.of(k)), [1, 1, 2, 2]);
    }
}
