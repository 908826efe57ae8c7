//! Policies: how outputs of the network choose an action, and how probable an action is.
//!
//! An action is a number for each head, counted from 0, with the softmax of the head's logits as probabilities; or it is so many
//! real numbers, each from a normal distribution with its own mean and logarithm of the standard deviation. The outputs of
//! an episode are tables `[T, size]`, in the order of [`Actions::outputs`].

use super::a2c::Parts;
use super::action::{greedy, sample};
use super::softmax::log_softmax;
use crate::ir::rng::Place;
use crate::lang::catalog::Actions;

/// Half the logarithm of 2π, a part of the density of a normal distribution.
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// The policy of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The actions to choose from.
    pub actions: Actions,
}

/// The coefficients of the terms of a loss that depend on the policy alone.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients {
    /// The factor on the gradient of `-log π` of the action.
    pub pull: f64,
    /// The coefficient of the sum of squared probabilities.
    pub concentration: f64,
    /// The coefficient of the entropy, which is subtracted.
    pub entropy: f64,
    /// The factor on all of them.
    pub scale: f64,
}

/// A step of an episode, with the action that was taken there.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The outputs of the episode, each `[T, size]`.
    pub outputs: &'a [Vec<f64>],
    /// The number of the step.
    pub t: usize,
    /// The action.
    pub action: &'a [f64],
}

impl Step<'_> {
    /// The elements of an output in this step.
    fn of(&self, output: usize, size: usize) -> &[f64] {
        &self.outputs[output][self.t * size..(self.t + 1) * size]
    }
}

impl Policy {
    /// The policy of a network that learns from targets, which takes no actions.
    pub fn none() -> Policy {
        Policy {
            actions: Actions::Choices(Vec::new()),
        }
    }

    /// The outputs that a trainer reads: those of the policy, and then the value.
    pub fn reads(&self) -> Vec<String> {
        let outputs = self.actions.outputs().into_iter().map(|(name, _)| name);
        outputs.chain(["value".to_owned()]).collect()
    }

    /// The numbers of one action.
    pub fn width(&self) -> usize {
        self.actions.width()
    }

    /// The action of step `t`, drawn at `place`; the most probable one without a place. Numbers are rounded to the 32 bits
    /// that an environment sees.
    pub fn choose(
        &self,
        outputs: &[Vec<f64>],
        t: usize,
        place: Option<Place>,
        action: &mut Vec<f64>,
    ) {
        let step = Step {
            outputs,
            t,
            action: &[],
        };
        action.clear();
        match &self.actions {
            Actions::Choices(sizes) => {
                action.extend(sizes.iter().zip(0..).map(|(size, head)| {
                    let logits = step.of(head as usize, *size);
                    let choice = match place {
                        Some(place) => sample(logits, place, head),
                        None => greedy(logits),
                    };
                    choice as f64
                }));
            }
            Actions::Numbers(size) => {
                let both = step.of(0, *size).iter().zip(step.of(1, *size));
                action.extend(both.zip(0..).map(|((mean, log_std), k)| {
                    let noise = place.map_or(0.0, |place| log_std.exp() * place.normal(k));
                    f64::from((mean + noise) as f32)
                }));
            }
        }
    }

    /// The logarithm of the probability of the step's action, or of its density. Writes to `logs` what [`Policy::terms`] needs.
    pub fn log_probability(&self, step: Step<'_>, logs: &mut Vec<f64>) -> f64 {
        logs.clear();
        let mut total = 0.0;
        match &self.actions {
            Actions::Choices(sizes) => {
                for (head, size) in sizes.iter().enumerate() {
                    let own = logs.len();
                    logs.resize(own + size, 0.0);
                    log_softmax(step.of(head, *size), &mut logs[own..]);
                    total += logs[own + step.action[head] as usize];
                }
            }
            Actions::Numbers(size) => {
                let both = step.of(0, *size).iter().zip(step.of(1, *size));
                for ((mean, log_std), number) in both.zip(step.action) {
                    let deviation = (number - mean) * (-log_std).exp();
                    total -= 0.5 * deviation * deviation + log_std + HALF_LOG_TAU;
                    logs.push(deviation);
                }
            }
        }
        total
    }

    /// The terms of the policy alone in a step, after [`Policy::log_probability`] wrote `logs`; writes the derivatives of all
    /// terms to `adjoints`, shaped as the outputs.
    pub fn terms(
        &self,
        step: Step<'_>,
        logs: &[f64],
        with: Coefficients,
        adjoints: &mut [Vec<f64>],
    ) -> Parts {
        let mut parts = Parts::default();
        match &self.actions {
            Actions::Choices(sizes) => {
                let mut rest = logs;
                for (head, size) in sizes.iter().enumerate() {
                    let (own, others) = rest.split_at(*size);
                    rest = others;
                    let adjoints = &mut adjoints[head][step.t * size..(step.t + 1) * size];
                    parts += of_head(own, step.action[head] as usize, with, adjoints);
                }
            }
            Actions::Numbers(size) => {
                let [means, spreads, ..] = adjoints else {
                    return parts;
                };
                let at = step.t * size..(step.t + 1) * size;
                let own = means[at.clone()].iter_mut().zip(&mut spreads[at]);
                let of = step.of(1, *size).iter().zip(logs);
                // With z = (a - μ) / σ:  d(-log π)/dμ = -z / σ,  d(-log π)/d(log σ) = 1 - z²,  d(-H)/d(log σ) = -1.
                for ((mean, spread), (log_std, z)) in own.zip(of) {
                    *mean = -with.scale * with.pull * z * (-log_std).exp();
                    *spread = with.scale * (with.pull * (1.0 - z * z) - with.entropy);
                    parts.entropy -= with.scale * with.entropy * (log_std + HALF_LOG_TAU + 0.5);
                }
            }
        }
        parts
    }
}

/// The terms of one head, from the logarithms of its probabilities, and the derivatives by its logits.
fn of_head(
    log_probabilities: &[f64],
    action: usize,
    with: Coefficients,
    adjoints: &mut [f64],
) -> Parts {
    let mut squares = 0.0;
    let mut negative_entropy = 0.0;
    for log_probability in log_probabilities {
        let probability = log_probability.exp();
        squares += probability * probability;
        negative_entropy += probability * log_probability;
    }
    // With log π_k = z_k - log Σ exp z:  d(-log π_a)/dz_k = π_k - δ_ka,
    // d(Σ π²)/dz_k = 2 π_k (π_k - Σ π²),  d(-H)/dz_k = π_k (log π_k + H).
    for (k, (adjoint, log_probability)) in adjoints.iter_mut().zip(log_probabilities).enumerate() {
        let probability = log_probability.exp();
        let chosen = if k == action { 1.0 } else { 0.0 };
        let policy = with.pull * (probability - chosen);
        let concentration = 2.0 * probability * (probability - squares);
        let entropy = probability * (log_probability - negative_entropy);
        *adjoint =
            with.scale * (policy + with.concentration * concentration + with.entropy * entropy);
    }
    Parts {
        concentration: with.scale * with.concentration * squares,
        entropy: with.scale * with.entropy * negative_entropy,
        ..Parts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Coefficients, Policy, Step};
    use crate::ir::rng::{Key, Stream};
    use crate::lang::catalog::Actions;

    fn policy(actions: Actions) -> Policy {
        Policy { actions }
    }

    #[test]
    fn numbers_have_the_mean_and_the_deviation_of_the_outputs() {
        let policy = policy(Actions::Numbers(2));
        let outputs = vec![vec![0.0, 0.0, 1.5, -2.0], vec![0.0, 0.0, -1.0, 0.5]];
        let key = Key::new(3, Stream::Action);
        let (mut sums, mut squares, mut action) = ([0.0; 2], [0.0; 2], Vec::new());
        for lane in 0..20_000 {
            policy.choose(&outputs, 1, Some(key.at(0, 1, lane)), &mut action);
            for k in 0..2 {
                assert_eq!(action[k], f64::from(action[k] as f32));
                sums[k] += action[k];
                squares[k] += action[k] * action[k];
            }
        }
        for (k, (mean, log_std)) in [(1.5, -1.0f64), (-2.0, 0.5)].into_iter().enumerate() {
            let found = sums[k] / 20_000.0;
            let std = (squares[k] / 20_000.0 - found * found).sqrt();
            assert!((found - mean).abs() < 0.03 * log_std.exp(), "{found}");
            assert!((std / log_std.exp() - 1.0).abs() < 0.02, "{std}");
        }
        policy.choose(&outputs, 1, None, &mut action);
        assert_eq!(action, [1.5, -2.0]);
    }

    #[test]
    fn heads_choose_by_themselves() {
        let policy = policy(Actions::Choices(vec![2, 3]));
        let outputs = vec![vec![0.0, 3f64.ln()], vec![0.0, 0.0, 2f64.ln()]];
        let key = Key::new(3, Stream::Action);
        let (mut counts, mut action) = ([[0.0f64; 3]; 2], Vec::new());
        for lane in 0..20_000 {
            policy.choose(&outputs, 0, Some(key.at(0, 0, lane)), &mut action);
            counts[action[0] as usize][action[1] as usize] += 1.0 / 20_000.0;
        }
        let mut logs = Vec::new();
        for (first, row) in counts.iter().enumerate() {
            for (second, found) in row.iter().enumerate() {
                let action = &[first as f64, second as f64];
                let step = Step {
                    outputs: &outputs,
                    t: 0,
                    action,
                };
                let wanted = [0.25, 0.75][first] * [0.25, 0.25, 0.5][second];
                let log = policy.log_probability(step, &mut logs);
                assert!((log - f64::ln(wanted)).abs() < 1e-12);
                assert!((found - wanted).abs() < 0.012, "{counts:?}");
            }
        }
    }

    #[test]
    fn entropy_is_that_of_the_distribution() {
        // A normal distribution has the mean of -log π by definition; here by a fine sum.
        let policy = policy(Actions::Numbers(1));
        let outputs = vec![vec![0.3], vec![-0.7]];
        let (mut entropy, mut logs, h) = (0.0, Vec::new(), 1e-3);
        for k in -10_000..10_000 {
            let action = &[f64::from(k) * h];
            let step = Step {
                outputs: &outputs,
                t: 0,
                action,
            };
            let log = policy.log_probability(step, &mut logs);
            entropy -= h * log.exp() * log;
        }
        let with = Coefficients {
            pull: 0.0,
            concentration: 0.0,
            entropy: 2.0,
            scale: 0.5,
        };
        let step = Step {
            outputs: &outputs,
            t: 0,
            action: &[0.0],
        };
        policy.log_probability(step, &mut logs);
        let mut adjoints = vec![vec![f64::NAN], vec![f64::NAN]];
        let parts = policy.terms(step, &logs, with, &mut adjoints);
        assert!(
            (parts.entropy + entropy).abs() < 1e-9,
            "{parts:?} {entropy}"
        );
        assert_eq!(adjoints, [[0.0], [-1.0]]);
    }
}
