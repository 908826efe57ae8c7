//! Losses of one lane against targets, with a weight for every step.

use super::softmax::log_softmax;

/// A loss on outputs `y` with targets `y*` of `K` elements and step weights `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupervisedLoss {
    /// The loss `½ Σ_t w_t Σ_k (y - y*)²`: a sum over lanes, steps and elements, without any mean.
    HalfSumSquares,
    /// The loss `Σ_t w_t Σ_k (y - y*)² / (K Σ_t w_t)`, averaged over lanes.
    MeanSquares,
    /// The loss `-Σ_t w_t Σ_k y*_k log softmax(y)_k / Σ_t w_t`, averaged over lanes; targets are class
    /// probabilities.
    CrossEntropy,
    /// The loss `-Σ_t w_t Σ_k [y* log σ(y) + (1 - y*) log(1 - σ(y))] / (K Σ_t w_t)`, averaged over lanes.
    BinaryCrossEntropy,
}

/// The outputs and targets of one lane, over `T` steps.
#[derive(Clone, Copy, Debug)]
pub struct Errors<'a> {
    /// The outputs, `[T, K]`.
    pub outputs: &'a [f64],
    /// The targets, `[T, K]`; read only if the weight is not 0.
    pub targets: &'a [f64],
    /// The weights of the steps, `[T]`.
    pub weights: &'a [f64],
}

impl SupervisedLoss {
    /// The loss with this name.
    pub fn parse(word: &str) -> Option<SupervisedLoss> {
        match word {
            "half_sum_squares" => Some(SupervisedLoss::HalfSumSquares),
            "mean_squares" => Some(SupervisedLoss::MeanSquares),
            "cross_entropy" => Some(SupervisedLoss::CrossEntropy),
            "binary_cross_entropy" => Some(SupervisedLoss::BinaryCrossEntropy),
            _ => None,
        }
    }

    /// The contribution of one of `lanes` lanes to the loss. Writes its derivatives to `adjoints`, `[T, K]`;
    /// they are 0 where the weight is 0.
    pub fn lane(self, errors: Errors<'_>, lanes: usize, adjoints: &mut [f64]) -> f64 {
        let steps = errors.weights.len();
        let width = errors.outputs.len() / steps.max(1);
        let scale = self.scale(errors.weights, width, lanes);
        adjoints.fill(0.0);
        let mut loss = 0.0;
        for (t, weight) in errors.weights.iter().enumerate() {
            if *weight == 0.0 {
                continue;
            }
            let range = t * width..(t + 1) * width;
            let adjoints = &mut adjoints[range.clone()];
            let outputs = &errors.outputs[range.clone()];
            let targets = &errors.targets[range];
            let factor = scale * weight;
            loss += factor
                * match self {
                    SupervisedLoss::HalfSumSquares => {
                        0.5 * squares(outputs, targets, adjoints, 1.0)
                    }
                    SupervisedLoss::MeanSquares => squares(outputs, targets, adjoints, 2.0),
                    SupervisedLoss::CrossEntropy => cross_entropy(outputs, targets, adjoints),
                    SupervisedLoss::BinaryCrossEntropy => {
                        binary_cross_entropy(outputs, targets, adjoints)
                    }
                };
            for adjoint in adjoints {
                *adjoint *= factor;
            }
        }
        loss
    }

    fn scale(self, weights: &[f64], width: usize, lanes: usize) -> f64 {
        let total: f64 = weights.iter().sum();
        match self {
            SupervisedLoss::HalfSumSquares => 1.0,
            _ if total == 0.0 => 0.0,
            SupervisedLoss::CrossEntropy => 1.0 / (total * lanes as f64),
            SupervisedLoss::MeanSquares | SupervisedLoss::BinaryCrossEntropy => {
                1.0 / (total * (lanes * width) as f64)
            }
        }
    }
}

/// The sum of squared errors; `adjoints` are `slope` times the errors.
fn squares(outputs: &[f64], targets: &[f64], adjoints: &mut [f64], slope: f64) -> f64 {
    let mut sum = 0.0;
    for ((adjoint, output), target) in adjoints.iter_mut().zip(outputs).zip(targets) {
        let error = output - target;
        sum += error * error;
        *adjoint = slope * error;
    }
    sum
}

fn cross_entropy(outputs: &[f64], targets: &[f64], adjoints: &mut [f64]) -> f64 {
    log_softmax(outputs, adjoints);
    let mass: f64 = targets.iter().sum();
    let mut sum = 0.0;
    for (adjoint, target) in adjoints.iter_mut().zip(targets) {
        let log_probability = *adjoint;
        if *target != 0.0 {
            sum -= target * log_probability;
        }
        *adjoint = mass * log_probability.exp() - target;
    }
    sum
}

fn binary_cross_entropy(outputs: &[f64], targets: &[f64], adjoints: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for ((adjoint, output), target) in adjoints.iter_mut().zip(outputs).zip(targets) {
        // -y* log σ(y) - (1 - y*) log(1 - σ(y)) = max(y, 0) - y y* + log(1 + exp(-|y|))
        let decay = (-output.abs()).exp();
        sum += output.max(0.0) - output * target + decay.ln_1p();
        let logistic = if *output >= 0.0 {
            1.0 / (1.0 + decay)
        } else {
            decay / (1.0 + decay)
        };
        *adjoint = logistic - target;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{Errors, SupervisedLoss};

    const ALL: [SupervisedLoss; 4] = [
        SupervisedLoss::HalfSumSquares,
        SupervisedLoss::MeanSquares,
        SupervisedLoss::CrossEntropy,
        SupervisedLoss::BinaryCrossEntropy,
    ];
    const OUTPUTS: [f64; 6] = [0.3, -1.2, 2.0, 0.7, 0.1, -0.4];
    const TARGETS: [f64; 6] = [0.2, 0.8, 1.0, 0.0, 0.5, 0.5];

    fn loss(kind: SupervisedLoss, outputs: &[f64], weights: &[f64]) -> (f64, Vec<f64>) {
        let mut adjoints = vec![f64::NAN; outputs.len()];
        let errors = Errors {
            outputs,
            targets: &TARGETS,
            weights,
        };
        let loss = kind.lane(errors, 2, &mut adjoints);
        (loss, adjoints)
    }

    #[test]
    fn values_by_their_definitions() {
        let squares: Vec<f64> = OUTPUTS
            .iter()
            .zip(TARGETS)
            .map(|(y, t)| (y - t) * (y - t))
            .collect();
        let weighted = squares[0] + squares[1] + 3.0 * (squares[4] + squares[5]);
        let log_sigmoid = |y: f64| -(1.0 + (-y).exp()).ln();
        let log_softmax = |k: usize| {
            let pair = &OUTPUTS[k / 2 * 2..k / 2 * 2 + 2];
            OUTPUTS[k] - (pair[0].exp() + pair[1].exp()).ln()
        };
        let sum = |term: &dyn Fn(usize) -> f64| {
            [(0, 1.0), (1, 1.0), (4, 3.0), (5, 3.0)]
                .iter()
                .map(|(k, w)| w * term(*k))
                .sum::<f64>()
        };
        let expected = [
            0.5 * weighted,
            weighted / (4.0 * 2.0 * 2.0),
            sum(&|k| -TARGETS[k] * log_softmax(k)) / (4.0 * 2.0),
            sum(&|k| {
                -TARGETS[k] * log_sigmoid(OUTPUTS[k])
                    - (1.0 - TARGETS[k]) * log_sigmoid(-OUTPUTS[k])
            }) / (4.0 * 2.0 * 2.0),
        ];
        for (kind, expected) in ALL.iter().zip(expected) {
            let (loss, adjoints) = loss(*kind, &OUTPUTS, &[1.0, 0.0, 3.0]);
            assert!(
                (loss - expected).abs() < 1e-13,
                "{kind:?}: {loss} {expected}"
            );
            assert_eq!(adjoints[2..4], [0.0, 0.0]);
        }
    }

    #[test]
    fn adjoints_are_the_derivatives() {
        let h = 1e-5;
        for kind in ALL {
            let weights = [1.0, 0.5, 2.0];
            let (_, adjoints) = loss(kind, &OUTPUTS, &weights);
            for k in 0..6 {
                let (mut above, mut below) = (OUTPUTS, OUTPUTS);
                above[k] += h;
                below[k] -= h;
                let slope =
                    (loss(kind, &above, &weights).0 - loss(kind, &below, &weights).0) / (2.0 * h);
                assert!((slope - adjoints[k]).abs() < 1e-9, "{kind:?} {k}");
            }
        }
    }

    #[test]
    fn nothing_weighted_is_no_loss() {
        for kind in ALL {
            assert_eq!(loss(kind, &OUTPUTS, &[0.0; 3]), (0.0, vec![0.0; 6]));
        }
    }

    #[test]
    fn large_logits_stay_finite() {
        for kind in [
            SupervisedLoss::CrossEntropy,
            SupervisedLoss::BinaryCrossEntropy,
        ] {
            let (loss, adjoints) = loss(kind, &[900.0, -900.0, -900.0, 900.0, 0.0, 0.0], &[1.0; 3]);
            assert!(loss.is_finite() && adjoints.iter().all(|a| a.is_finite()));
        }
    }
}
