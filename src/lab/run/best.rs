//! The smoothed reward or loss of a run, which decides on the best checkpoint.

use crate::learn::checkpoint::{BestSoFar, BestTracker};
use crate::learn::trainer::{IterationReport, Trainer};

/// The weight of an iteration relative to the next one: a memory of a hundred iterations.
const FADING: f64 = 0.99;

impl BestTracker {
    /// A tracker without any iteration.
    pub(super) fn new() -> BestTracker {
        BestTracker {
            sum: 0.0,
            weight: 0.0,
            best: None,
            lowest: None,
            since: 0,
        }
    }

    /// The name of the measure that decides which checkpoint is best.
    pub(super) fn measure(trainer: &Trainer) -> &'static str {
        if validates(trainer) {
            "validation loss"
        } else if trainer.has_rewards() {
            "smoothed reward"
        } else {
            "smoothed loss"
        }
    }

    /// Adds an iteration: its mean reward, or its loss if there are no rewards. Where there are validation data only
    /// their loss counts, because the training loss is lower and says nothing about other data.
    pub(super) fn add(&mut self, report: &IterationReport, validates: bool) {
        if validates {
            let validation = report.validation.as_ref();
            (self.sum, self.weight) = validation.map_or((0.0, 0.0), |found| (found.loss, 1.0));
            if let Some(found) = validation {
                if self.lowest.is_none_or(|lowest| found.loss < lowest) {
                    (self.lowest, self.since) = (Some(found.loss), 0);
                } else {
                    self.since += 1;
                }
            }
            return;
        }
        let value = report.reward.unwrap_or(report.loss);
        if value.is_nan() {
            // A chunk without targets.
            return;
        }
        self.sum = FADING * self.sum + value;
        self.weight = FADING * self.weight + 1.0;
    }

    /// Updates the best value at a scheduled checkpoint; among equal values the first is best. With `only` the
    /// checkpoint counts if there is no other: a run with more iterations would not have written it.
    pub(super) fn note(&mut self, iteration: u64, reward: bool, only: bool) {
        if self.weight <= 0.0 || (only && self.best.is_some()) {
            return;
        }
        let value = self.sum / self.weight;
        let better = |best: &BestSoFar| {
            if reward {
                value > best.value
            } else {
                value < best.value
            }
        };
        if self.best.as_ref().is_none_or(better) {
            self.best = Some(BestSoFar { iteration, value });
        }
    }
}

/// Tells if validation data decide on the best checkpoint.
pub(super) fn validates(trainer: &Trainer) -> bool {
    let epochs = trainer.epochs();
    trainer.chunks().is_some() || epochs.is_some_and(|epochs| epochs.has_validation())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::phases::Phases;
    use crate::learn::trainer::Validation;

    fn report(reward: Option<f64>, loss: f64) -> IterationReport {
        IterationReport {
            iteration: 1,
            loss,
            parts: None,
            reward,
            scores: Vec::new(),
            epoch: None,
            reads_text: false,
            validation: None,
            gradient_norm: 0.0,
            phases: Phases::default(),
            seconds: 0.0,
        }
    }

    #[test]
    fn rewards_are_to_be_high_and_losses_low() {
        let mut tracker = BestTracker::new();
        tracker.note(0, true, false);
        assert_eq!(tracker.best, None);
        for (iteration, reward) in [(1, 1.0), (2, 4.0), (3, 0.0)] {
            tracker.add(&report(Some(reward), f64::NAN), false);
            tracker.note(iteration, true, false);
        }
        let best = tracker.best.clone().unwrap();
        assert_eq!(best.iteration, 2);
        assert!((best.value - (0.99 + 4.0) / 1.99).abs() < 1e-12);

        let mut tracker = BestTracker::new();
        for (iteration, loss) in [(1, 3.0), (2, 3.0), (3, 1.0), (4, 5.0)] {
            tracker.add(&report(None, loss), false);
            tracker.note(iteration, false, false);
        }
        tracker.add(&report(None, 0.0), false);
        tracker.note(5, false, true);
        assert_eq!(tracker.best.unwrap().iteration, 3);
    }

    #[test]
    fn of_a_text_only_validation_counts() {
        let read = |loss, validation: Option<f64>| IterationReport {
            epoch: Some(1),
            validation: validation.map(|loss| Validation {
                loss,
                perplexity: None,
                scores: Vec::new(),
            }),
            ..report(None, loss)
        };
        let mut tracker = BestTracker::new();
        for (iteration, loss, validation) in [
            (1, 3.0, None),
            (2, 3.0, Some(5.0)),
            (3, 1.0, None),
            (4, 1.0, Some(4.5)),
            (5, 0.5, None),
            (6, 0.5, Some(4.75)),
        ] {
            tracker.add(&read(loss, validation), true);
            tracker.note(iteration, false, false);
        }
        let best = tracker.best.unwrap();
        assert_eq!((best.iteration, best.value), (4, 4.5));
    }
}
