//! Scores: how right outputs are, in numbers that tell more than a loss.

use super::supervised::{Errors, SupervisedLoss};

/// The kind of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The share of steps, by their weights, whose largest output is that of the class.
    Accuracy,
    /// The share of outputs on the other side of 0 than their target is of 1/2, by the weights of the steps.
    WrongBits,
    /// The share of the variance of the targets that outputs explain, `1 - Σ (y - y*)² / Σ (y* - mean y*)²`: 1 where all
    /// are right, 0 where the mean of the targets would do as well.
    R2,
    /// A task's own measure, averaged over episodes.
    Own(&'static str),
}

impl Kind {
    /// The kind of score that fits a loss.
    pub fn of(loss: SupervisedLoss) -> Kind {
        match loss {
            SupervisedLoss::CrossEntropy => Kind::Accuracy,
            SupervisedLoss::BinaryCrossEntropy => Kind::WrongBits,
            SupervisedLoss::HalfSumSquares | SupervisedLoss::MeanSquares => Kind::R2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Accuracy => "accuracy",
            Kind::WrongBits => "wrong_bits",
            Kind::R2 => "r2",
            Kind::Own(name) => name,
        }
    }
}

/// A score over all episodes that were added to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Its name in the metrics: that of the kind, after it that of the output where there are several.
    pub name: String,
    kind: Kind,
    /// The sum of all weights.
    weight: f64,
    /// The sums over the steps; of `R2` the squared errors, then of each element the sum of the targets and of their
    /// squares.
    sums: Vec<f64>,
}

impl Tally {
    /// Of nothing yet.
    pub fn new(kind: Kind, output: Option<&str>) -> Tally {
        let name = match output {
            Some(output) => format!("{}.{output}", kind.name()),
            None => kind.name().to_owned(),
        };
        Tally {
            name,
            kind,
            weight: 0.0,
            sums: Vec::new(),
        }
    }

    /// A task's own measure of an episode, or of nothing yet.
    pub fn own(name: &'static str, value: Option<f64>) -> Tally {
        Tally {
            weight: f64::from(u8::from(value.is_some())),
            sums: value.into_iter().collect(),
            ..Tally::new(Kind::Own(name), None)
        }
    }

    /// Counts the outputs of a lane.
    pub fn count(&mut self, errors: Errors<'_>) {
        let width = errors.outputs.len() / errors.weights.len().max(1);
        if width == 0 {
            return;
        }
        let sums = if self.kind == Kind::R2 {
            1 + 2 * width
        } else {
            1
        };
        self.sums.resize(sums, 0.0);
        let rows = errors
            .outputs
            .chunks(width)
            .zip(errors.targets.chunks(width));
        for ((outputs, targets), weight) in rows.zip(errors.weights) {
            if *weight == 0.0 {
                continue;
            }
            self.weight += weight;
            match self.kind {
                Kind::Accuracy => {
                    self.sums[0] += weight * f64::from(u8::from(right(outputs, targets)))
                }
                Kind::WrongBits => {
                    let pairs = outputs.iter().zip(targets);
                    // An output that is no number is wrong.
                    let wrong = pairs
                        .filter(|(y, t)| !((**y > 0.0 && **t > 0.5) || (**y < 0.0 && **t < 0.5)));
                    self.sums[0] += weight * wrong.count() as f64 / width as f64;
                }
                Kind::R2 => {
                    for (k, (y, t)) in outputs.iter().zip(targets).enumerate() {
                        self.sums[0] += weight * (y - t) * (y - t);
                        self.sums[1 + 2 * k] += weight * t;
                        self.sums[2 + 2 * k] += weight * t * t;
                    }
                }
                Kind::Own(_) => {}
            }
        }
    }

    /// Adds what another one of the same name has counted.
    pub fn add(&mut self, other: &Tally) {
        self.weight += other.weight;
        self.sums.resize(self.sums.len().max(other.sums.len()), 0.0);
        for (sum, value) in self.sums.iter_mut().zip(&other.sums) {
            *sum += value;
        }
    }

    /// The score; NaN where nothing was counted, or where `R2` has targets that are all alike.
    pub fn value(&self) -> f64 {
        let Some((first, rest)) = self.sums.split_first().filter(|_| self.weight > 0.0) else {
            return f64::NAN;
        };
        if self.kind != Kind::R2 {
            return first / self.weight;
        }
        let variances = rest
            .chunks(2)
            .map(|pair| pair[1] - pair[0] * pair[0] / self.weight);
        let all: f64 = variances.sum();
        if all > 0.0 {
            1.0 - first / all
        } else {
            f64::NAN
        }
    }

    /// The score of a single episode, where one says something by itself.
    pub fn of_episode(&self) -> Option<f64> {
        (self.is_of_episode() && self.weight > 0.0).then(|| self.value())
    }

    /// Tells scores of single episodes from those that need many.
    pub fn is_of_episode(&self) -> bool {
        self.kind != Kind::R2
    }

    /// Tells if it is a task's own measure.
    pub fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own(_))
    }
}

/// Tells if the largest of the outputs is that of the largest target. Outputs that are equal, or no numbers, count as wrong.
fn right(outputs: &[f64], targets: &[f64]) -> bool {
    let largest = (0..targets.len()).max_by(|a, b| targets[*a].total_cmp(&targets[*b]));
    largest.is_some_and(|class| {
        let mut others = outputs.iter().enumerate().filter(|(k, _)| *k != class);
        others.all(|(_, x)| outputs[class] > *x)
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Tally};
    use crate::learn::supervised::Errors;

    fn value(kind: Kind, lanes: &[(&[f64], &[f64], &[f64])]) -> f64 {
        let mut all = Tally::new(kind, None);
        for (outputs, targets, weights) in lanes {
            let mut one = Tally::new(kind, None);
            one.count(Errors {
                outputs,
                targets,
                weights,
            });
            all.add(&one);
        }
        all.value()
    }

    #[test]
    fn scores_are_those_of_their_definitions() {
        let nan = f64::NAN;
        let accuracy = value(
            Kind::Accuracy,
            &[
                (&[0.0, 1.0, 2.0, 2.0], &[0.0, 1.0, 1.0, 0.0], &[1.0, 3.0]),
                (&[5.0, 1.0, nan, 2.0], &[1.0, 0.0, 1.0, 0.0], &[2.0, 0.0]),
            ],
        );
        assert_eq!(accuracy, 3.0 / 6.0);
        let wrong = value(
            Kind::WrongBits,
            &[(&[0.5, -0.5, 0.0, nan], &[1.0, 1.0, 0.0, 0.0], &[1.0, 1.0])],
        );
        assert_eq!(wrong, 3.0 / 4.0);
        // numpy: 1 - ((y - t)**2).sum() / ((t - t.mean(0))**2).sum() over t = [[1, 2], [3, 5], [8, 2]]
        let r2 = value(
            Kind::R2,
            &[
                (&[1.5, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 5.0], &[1.0, 1.0]),
                (&[7.0, 2.5, 9.0, 9.0], &[8.0, 2.0, nan, nan], &[1.0, 0.0]),
            ],
        );
        assert!((r2 - (1.0 - 2.5 / 32.0)).abs() < 1e-12, "{r2}");
        assert!(value(Kind::R2, &[(&[1.0, 2.0], &[3.0, 3.0], &[1.0, 1.0])]).is_nan());
        assert!(value(Kind::Accuracy, &[]).is_nan());
    }
}
