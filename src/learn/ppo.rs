//! The loss of proximal policy optimisation (Schulman et al. 2017), of one lane.
//!
//! Each batch of episodes is learned from several times. With `ρ(t) = π(a_t) / π_then(a_t)`, the probability of an action
//! now against that when it was taken, and the advantage `A` and return `R` as they were then:
//!
//! `loss = scale Σ_t [ -min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) + c_v (R - V)² + c_s Σ_a π_a² - c_e H(π) ]`.
//!
//! With `scale` one over the number of steps that count, the sum over lanes is the mean over these steps.

use super::a2c::{A2c, Episode, Parts};
use super::policy::{Policy, Step};
use crate::lang::settings::Settings;

/// The coefficients of the loss, and how often a batch is learned from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ppo {
    /// Discount, returns, and the coefficients of the other terms.
    pub a2c: A2c,
    /// The distance ε from 1 beyond which the ratio ρ has no effect.
    pub clip: f64,
    /// The number of times that each lane is learned from.
    pub epochs: usize,
    /// Parts of the batch with an optimizer step each.
    pub minibatches: usize,
    /// True if advantages are scaled to mean 0 and standard deviation 1.
    pub normalise: bool,
}

/// The record of a lane's steps at the time they were taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// The actions, `[T, width]`.
    pub actions: Vec<f64>,
    /// The logarithms of their probabilities, `[T]`.
    pub log_probabilities: Vec<f64>,
    /// The returns, `[T]`.
    pub returns: Vec<f64>,
    /// The advantages, `[T]`.
    pub advantages: Vec<f64>,
    /// The mark of steps that add to the loss, `[T]`.
    pub counts: Vec<bool>,
}

impl Taken {
    /// The record of an episode.
    pub fn new(a2c: &A2c, episode: Episode<'_>) -> Taken {
        let returns = a2c.returns(&episode);
        let steps = returns.values.len();
        let mut logs = Vec::new();
        let log_probabilities =
            (0..steps).map(|t| episode.policy.log_probability(episode.step(t), &mut logs));
        let pairs = returns.values.iter().zip(episode.values());
        Taken {
            actions: episode.actions.to_vec(),
            log_probabilities: log_probabilities.collect(),
            advantages: pairs.map(|(r, v)| r - v).collect(),
            returns: returns.values,
            counts: returns.counts,
        }
    }

    /// The number of steps that count.
    pub fn count(&self) -> usize {
        self.counts.iter().filter(|counts| **counts).count()
    }

    /// The number of steps to the last one that counts.
    pub fn needed(&self) -> usize {
        let last = self.counts.iter().rposition(|counts| *counts);
        last.map_or(0, |last| last + 1)
    }
}

/// Scales the advantages of all steps that count to mean 0 and standard deviation 1.
pub fn normalise(lanes: &mut [Taken]) {
    let counted = |lanes: &[Taken], f: &dyn Fn(f64) -> f64| -> f64 {
        let steps = lanes
            .iter()
            .flat_map(|lane| lane.advantages.iter().zip(&lane.counts));
        steps
            .filter(|(_, counts)| **counts)
            .map(|(a, _)| f(*a))
            .sum()
    };
    let count = lanes.iter().map(Taken::count).sum::<usize>().max(1) as f64;
    let mean = counted(lanes, &|a| a) / count;
    let variance = counted(lanes, &|a| (a - mean) * (a - mean)) / count;
    let scale = 1.0 / (variance.sqrt() + 1e-8);
    for advantage in lanes.iter_mut().flat_map(|lane| &mut lane.advantages) {
        *advantage = (*advantage - mean) * scale;
    }
}

impl Ppo {
    /// Reads the coefficients from the settings of the trainer `ppo`.
    pub fn new(settings: &Settings) -> Ppo {
        Ppo {
            a2c: A2c::new(settings),
            clip: settings.real("clip"),
            epochs: settings.int("epochs"),
            minibatches: settings.int("minibatches"),
            normalise: settings.bool("normalise"),
        }
    }

    /// A single step for all lanes: actor and critic with scaled advantages.
    pub fn once(settings: &Settings) -> Ppo {
        Ppo {
            a2c: A2c::new(settings),
            clip: f64::INFINITY,
            epochs: 1,
            minibatches: 1,
            normalise: true,
        }
    }

    /// The loss of one lane with the outputs it has now, at least those of the steps that count. Writes its derivatives to
    /// `adjoints`, which are 0 before and shaped as the outputs.
    pub fn lane(
        &self,
        taken: &Taken,
        (policy, outputs): (&Policy, &[Vec<f64>]),
        scale: f64,
        adjoints: &mut [Vec<f64>],
    ) -> Parts {
        let (mut parts, mut logs) = (Parts::default(), Vec::new());
        let values = outputs.last().map_or(&[][..], Vec::as_slice);
        let (steps, width) = (values.len().min(taken.counts.len()), policy.width());
        for t in (0..steps).filter(|t| taken.counts[*t]) {
            let step = Step {
                outputs,
                t,
                action: &taken.actions[t * width..(t + 1) * width],
            };
            let log_probability = policy.log_probability(step, &mut logs);
            let (advantage, error) = (taken.advantages[t], taken.returns[t] - values[t]);
            let ratio = (log_probability - taken.log_probabilities[t]).exp();
            let plain = ratio * advantage;
            let clipped = ratio.clamp(1.0 - self.clip, 1.0 + self.clip) * advantage;
            // Where the clipped term is the smaller one it is constant.
            let pull = if plain <= clipped { plain } else { 0.0 };
            parts.policy -= scale * plain.min(clipped);
            parts.value += scale * self.a2c.value * error * error;
            let with = self.a2c.of_policy(pull, scale);
            parts += policy.terms(step, &logs, with, adjoints);
            if let Some(values) = adjoints.last_mut() {
                values[t] = -2.0 * scale * self.a2c.value * error;
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::{normalise, Ppo, Taken};
    use crate::ir::rng::{Key, Stream};
    use crate::lang::catalog::Actions;
    use crate::learn::a2c::{A2c, Episode, Mark};
    use crate::learn::policy::Policy;

    const PPO: Ppo = Ppo {
        a2c: A2c {
            gamma: 0.9,
            lambda: 0.8,
            value: 0.3,
            concentration: 0.2,
            entropy: 0.1,
        },
        clip: 0.2,
        epochs: 2,
        minibatches: 1,
        normalise: true,
    };

    fn draws(seed: u64, count: u32) -> Vec<f64> {
        let place = Key::new(seed, Stream::Task).at(0, 0, 0);
        (0..count).map(|k| place.normal(k)).collect()
    }

    fn policy() -> Policy {
        Policy {
            actions: Actions::Choices(vec![3]),
        }
    }

    const ACTIONS: [f64; 8] = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 2.0, 1.0];

    /// Episodes that end in the middle, one of them cut off.
    const MARKS: [Mark; 8] = [
        Mark::On,
        Mark::Terminated,
        Mark::Idle,
        Mark::On,
        Mark::Truncated,
        Mark::Idle,
        Mark::On,
        Mark::On,
    ];

    /// A lane with such episodes.
    fn lane(seed: u64) -> Taken {
        let episode = Episode {
            policy: &policy(),
            outputs: &[draws(seed, 24), draws(seed + 1, 8)],
            actions: &ACTIONS,
            rewards: &draws(seed + 2, 8),
            marks: &MARKS,
        };
        Taken::new(&PPO.a2c, episode)
    }

    /// The loss by its definition.
    fn plain(taken: &Taken, [logits, values]: &[Vec<f64>; 2], scale: f64) -> f64 {
        let mut loss = 0.0;
        for t in (0..values.len()).filter(|t| taken.counts[*t]) {
            let exps: Vec<f64> = logits[3 * t..3 * t + 3].iter().map(|z| z.exp()).collect();
            let total: f64 = exps.iter().sum();
            let p: Vec<f64> = exps.iter().map(|e| e / total).collect();
            let ratio = p[taken.actions[t] as usize] / taken.log_probabilities[t].exp();
            let a = taken.advantages[t];
            loss -= (ratio * a).min(ratio.clamp(0.8, 1.2) * a);
            loss += 0.3 * (taken.returns[t] - values[t]).powi(2);
            loss += p
                .iter()
                .map(|p| 0.2 * p * p + 0.1 * p * p.ln())
                .sum::<f64>();
        }
        loss * scale
    }

    #[test]
    fn adjoints_of_all_lanes_are_the_derivatives() {
        let mut lanes: Vec<Taken> = (0..5).map(|k| lane(10 * k)).collect();
        normalise(&mut lanes);
        let count: usize = lanes.iter().map(Taken::count).sum();
        assert_eq!(count, 5 * 5);
        let scale = 1.0 / count as f64;
        let mut clipped = 0;
        for (k, taken) in lanes.iter().enumerate() {
            let mut outputs = [draws(k as u64 + 100, 24), draws(k as u64 + 200, 8)];
            let mut adjoints = [vec![0.0; 24], vec![0.0; 8]];
            let parts = PPO.lane(taken, (&policy(), &outputs), scale, &mut adjoints);
            let loss = plain(taken, &outputs, scale);
            assert!((parts.total() - loss).abs() < 1e-13, "{parts:?} {loss}");
            let h = 1e-6;
            for output in 0..2 {
                for j in 0..outputs[output].len() {
                    let kept = outputs[output][j];
                    outputs[output][j] = kept + h;
                    let above = plain(taken, &outputs, scale);
                    outputs[output][j] = kept - h;
                    let slope = (above - plain(taken, &outputs, scale)) / (2.0 * h);
                    outputs[output][j] = kept;
                    let found = adjoints[output][j];
                    assert!(
                        (slope - found).abs() < 1e-8,
                        "{output} {j}: {slope} {found}"
                    );
                    let counts = output == 0 && taken.counts[j / 3];
                    clipped += usize::from(counts && found.abs() < 1e-12);
                }
            }
        }
        assert_eq!(
            clipped, 0,
            "the other terms have gradients where the ratio is clipped"
        );
    }

    #[test]
    fn at_first_the_gradient_is_that_of_actor_and_critic() {
        let outputs = [draws(0, 24), draws(1, 8)];
        let mut found = [vec![0.0; 24], vec![0.0; 8]];
        PPO.lane(&lane(0), (&policy(), &outputs), 0.5, &mut found);
        let episode = Episode {
            policy: &policy(),
            outputs: &outputs,
            actions: &ACTIONS,
            rewards: &draws(2, 8),
            marks: &MARKS,
        };
        let mut wanted = [vec![0.0; 24], vec![0.0; 8]];
        PPO.a2c.lane(episode, 0.5, &mut wanted);
        for (a, b) in found.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((a - b).abs() < 1e-14, "{a} {b}");
        }
    }

    #[test]
    fn advantages_are_scaled_over_the_steps_that_count() {
        let mut lanes = [lane(3), lane(4)];
        normalise(&mut lanes);
        let counted: Vec<f64> = lanes
            .iter()
            .flat_map(|lane| lane.advantages.iter().zip(&lane.counts))
            .filter(|(_, counts)| **counts)
            .map(|(a, _)| *a)
            .collect();
        let n = counted.len() as f64;
        let mean = counted.iter().sum::<f64>() / n;
        let variance = counted.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / n;
        assert!(
            mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-6,
            "{mean} {variance}"
        );
        assert_eq!(lanes[0].needed(), 7);
    }
}
