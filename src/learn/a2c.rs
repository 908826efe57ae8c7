//! The advantage actor-critic loss of one lane (Miconi et al. 2019, §4).
//!
//! With returns `R(t) = r(t) + γ R(t+1)`, zero after the end of an episode, advantage `A = stop(R - V)` and a
//! [policy](super::policy) π, such as `softmax(logits)`:
//!
//! `loss = scale Σ_t [ -log π(a_t) A + c_v (R - V)² + c_s Σ_a π_a² - c_e H(π) ]`, with `H = -Σ_a π_a log π_a`.
//!
//! With `scale = 1 / (lanes · steps)` the sum over lanes is the loss of the batch. `V` is the lane's own value.

use super::policy::{Coefficients, Policy, Step};
use crate::lang::settings::Settings;

/// The coefficients of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct A2c {
    /// The discount γ.
    pub gamma: f64,
    /// The share λ of what really followed in a return; the rest is the value of the next step.
    pub lambda: f64,
    /// The coefficient c_v of the squared value error.
    pub value: f64,
    /// The coefficient c_s of the sum of squared action probabilities.
    pub concentration: f64,
    /// The coefficient c_e of the entropy, which is subtracted from the loss.
    pub entropy: f64,
}

/// The episode of one lane, `T` steps.
#[derive(Clone, Copy, Debug)]
pub struct Episode<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The outputs of the policy, each `[T, size]`, and then the values, `[T]`.
    pub outputs: &'a [Vec<f64>],
    /// The actions taken, `[T, width]`.
    pub actions: &'a [f64],
    /// The rewards earned by the actions, `[T]`.
    pub rewards: &'a [f64],
    /// The place of each step in its episode, `[T]`.
    pub marks: &'a [Mark],
}

impl<'a> Episode<'a> {
    /// The values, `[T]`.
    pub fn values(&self) -> &'a [f64] {
        self.outputs.last().map_or(&[], Vec::as_slice)
    }

    /// A step with the action that was taken there.
    pub fn step(&self, t: usize) -> Step<'a> {
        let width = self.policy.width();
        Step {
            outputs: self.outputs,
            t,
            action: &self.actions[t * width..(t + 1) * width],
        }
    }
}

/// The place of a step in its episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The episode goes on.
    On,
    /// The episode is over after this step.
    Terminated,
    /// The episode is cut off after this step: what would have followed is worth the value of the next step.
    Truncated,
    /// A step of the network within a step of the task: its outputs are not read.
    Between,
    /// A step after the end of an episode. Its action does nothing, and it adds nothing to the loss.
    Idle,
}

impl Mark {
    /// The marks of an episode of so many steps that ends with the last.
    pub fn whole(steps: usize) -> Vec<Mark> {
        let mut marks = vec![Mark::On; steps];
        if let Some(last) = marks.last_mut() {
            *last = Mark::Terminated;
        }
        marks
    }
}

/// The return of each step, and whether the step counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Returns {
    /// The returns, `[T]`.
    pub values: Vec<f64>,
    /// The mark of steps that add to the loss, `[T]`. Steps after an end do not, nor does the last step where the episode
    /// goes on: its value stands for what follows the step before.
    pub counts: Vec<bool>,
}

/// The contribution of each term to the loss, including coefficient and scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    /// The policy term `-log π(a) A`.
    pub policy: f64,
    /// The value term `c_v (R - V)²`.
    pub value: f64,
    /// The concentration term `c_s Σ π²`.
    pub concentration: f64,
    /// The entropy term `-c_e H(π)`.
    pub entropy: f64,
}

impl Parts {
    /// All terms times a factor.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Parts {
        Parts {
            policy: factor * self.policy,
            value: factor * self.value,
            concentration: factor * self.concentration,
            entropy: factor * self.entropy,
        }
    }

    /// The loss.
    pub fn total(&self) -> f64 {
        self.policy + self.value + self.concentration + self.entropy
    }
}

impl std::ops::AddAssign for Parts {
    fn add_assign(&mut self, other: Parts) {
        self.policy += other.policy;
        self.value += other.value;
        self.concentration += other.concentration;
        self.entropy += other.entropy;
    }
}

impl A2c {
    /// Reads the coefficients from the settings of the trainer `a2c`.
    pub fn new(settings: &Settings) -> A2c {
        A2c {
            gamma: settings.real("gamma"),
            lambda: settings.real("lambda"),
            value: settings.real("value"),
            concentration: settings.real("concentration"),
            entropy: settings.real("entropy"),
        }
    }

    /// The returns of a lane: `R(t) = r(t) + γ ((1 - λ) V(t+1) + λ R(t+1))`, without the second term where the episode is
    /// over and with `V(t+1)` for both where it is cut off.
    pub fn returns(&self, episode: &Episode<'_>) -> Returns {
        let steps = episode.rewards.len();
        let mut returns = Returns {
            values: episode.rewards.to_vec(),
            counts: vec![true; steps],
        };
        // What follows a step: the return and the value of the next one.
        let mut next: Option<(f64, f64)> = None;
        for t in (0..steps).rev() {
            let value = episode.values()[t];
            if episode.marks[t] == Mark::Between {
                returns.counts[t] = false;
                continue;
            }
            let later = match (episode.marks[t], next) {
                (Mark::On, Some((later, value))) => {
                    Some((1.0 - self.lambda) * value + self.lambda * later)
                }
                (Mark::Truncated, Some((_, value))) => Some(value),
                (Mark::Terminated, _) => Some(0.0),
                (Mark::Idle | Mark::Between, _) | (Mark::On | Mark::Truncated, None) => None,
            };
            match later {
                Some(later) => returns.values[t] += self.gamma * later,
                None => {
                    returns.values[t] = value;
                    returns.counts[t] = false;
                }
            }
            next = Some((returns.values[t], value));
        }
        returns
    }

    /// The loss of one lane. Writes its derivatives to `adjoints`, shaped as the outputs.
    pub fn lane(&self, episode: Episode<'_>, scale: f64, adjoints: &mut [Vec<f64>]) -> Parts {
        let returns = self.returns(&episode);
        adjoints.iter_mut().for_each(|all| all.fill(0.0));
        let mut logs = Vec::new();
        let mut parts = Parts::default();
        for t in (0..returns.values.len()).filter(|t| returns.counts[*t]) {
            let step = episode.step(t);
            let log_probability = episode.policy.log_probability(step, &mut logs);
            let advantage = returns.values[t] - episode.values()[t];

            parts.policy -= scale * log_probability * advantage;
            parts.value += scale * self.value * advantage * advantage;
            let with = self.of_policy(advantage, scale);
            parts += episode.policy.terms(step, &logs, with, adjoints);
            if let Some(values) = adjoints.last_mut() {
                values[t] = -2.0 * scale * self.value * advantage;
            }
        }
        parts
    }

    /// The coefficients of the policy in a step. `pull` is how much the loss falls with `log π` of the action.
    pub(super) fn of_policy(&self, pull: f64, scale: f64) -> Coefficients {
        Coefficients {
            pull,
            concentration: self.concentration,
            entropy: self.entropy,
            scale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{A2c, Episode, Mark, Parts};
    use crate::ir::rng::{Key, Stream};
    use crate::lang::catalog::Actions;
    use crate::learn::policy::Policy;
    use serde_json::Value;

    /// A policy with a single head.
    fn head(actions: usize) -> Policy {
        Policy {
            actions: Actions::Choices(vec![actions]),
        }
    }

    /// The loss with the advantage fixed at its value for `frozen`, as `stop` requires.
    fn plain_loss(a2c: &A2c, episode: Episode<'_>, frozen: &[f64], scale: f64) -> f64 {
        let (logits, values) = (&episode.outputs[0], episode.values());
        let steps = values.len();
        let actions = logits.len() / steps;
        let mut loss = 0.0;
        for t in 0..steps {
            let exps: Vec<f64> = logits[t * actions..(t + 1) * actions]
                .iter()
                .map(|z| z.exp())
                .collect();
            let total: f64 = exps.iter().sum();
            let p: Vec<f64> = exps.iter().map(|e| e / total).collect();
            let mut ret = 0.0;
            for k in (t..steps).rev() {
                ret = episode.rewards[k] + a2c.gamma * ret;
            }
            let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
            loss += -p[episode.actions[t] as usize].ln() * (ret - frozen[t])
                + a2c.value * (ret - values[t]).powi(2)
                + a2c.concentration * p.iter().map(|p| p * p).sum::<f64>()
                - a2c.entropy * entropy;
        }
        loss * scale
    }

    /// The same steps with other outputs.
    fn of<'a>(
        outputs: &'a [Vec<f64>],
        (policy, actions, rewards, marks): (&'a Policy, &'a [f64], &'a [f64], &'a [Mark]),
    ) -> Episode<'a> {
        Episode {
            policy,
            outputs,
            actions,
            rewards,
            marks,
        }
    }

    #[test]
    fn adjoints_are_the_derivatives() {
        let (steps, actions, scale) = (5, 3, 0.07);
        let a2c = A2c {
            gamma: 0.8,
            lambda: 1.0,
            value: 0.3,
            concentration: 0.4,
            entropy: 0.25,
        };
        let place = Key::new(1, Stream::Task).at(0, 0, 0);
        let draw = |from: u32, to: u32| (from..to).map(|k| place.normal(k)).collect();
        let mut outputs: [Vec<f64>; 2] = [draw(0, 15), draw(15, 20)];
        let rewards: Vec<f64> = draw(20, 25);
        let taken = [0.0, 2.0, 1.0, 1.0, 0.0];
        let frozen = outputs[1].clone();
        let (marks, policy) = (Mark::whole(5), head(actions));
        let run = (&policy, &taken[..], &rewards[..], &marks[..]);
        let loss = |outputs: &[Vec<f64>; 2]| plain_loss(&a2c, of(outputs, run), &frozen, scale);
        let mut adjoints = [vec![f64::NAN; steps * actions], vec![f64::NAN; steps]];
        let parts = a2c.lane(of(&outputs, run), scale, &mut adjoints);
        assert!((parts.total() - loss(&outputs)).abs() < 1e-13);
        assert!(parts.entropy < 0.0 && parts.concentration > 0.0 && parts.value > 0.0);

        let h = 1e-5;
        for output in 0..2 {
            for k in 0..outputs[output].len() {
                let kept = outputs[output][k];
                outputs[output][k] = kept + h;
                let above = loss(&outputs);
                outputs[output][k] = kept - h;
                let slope = (above - loss(&outputs)) / (2.0 * h);
                outputs[output][k] = kept;
                let found = adjoints[output][k];
                assert!(
                    (slope - found).abs() < 1e-9,
                    "{output} {k}: {slope} {found}"
                );
            }
        }
    }

    /// Sums of temporal differences, by their definition, for episodes that end anywhere.
    #[test]
    fn returns_are_values_with_sums_of_later_differences() {
        let marks = [Mark::On, Mark::Terminated, Mark::Truncated, Mark::Idle];
        let a2c = A2c {
            gamma: 0.9,
            lambda: 0.7,
            value: 0.3,
            concentration: 0.0,
            entropy: 0.0,
        };
        for seed in 0..200 {
            let place = Key::new(seed, Stream::Task).at(0, 0, 0);
            let steps = 1 + place.below(0, 12);
            let mut drawn: Vec<Mark> = (0..steps as u32)
                .map(|k| marks[place.below(k + 1, 3)])
                .collect();
            // What follows an end is idle, once.
            for t in 1..steps {
                if matches!(drawn[t - 1], Mark::Terminated | Mark::Truncated) {
                    drawn[t] = Mark::Idle;
                }
            }
            let numbers = |from: u32| -> Vec<f64> {
                (0..steps as u32).map(|k| place.normal(from + k)).collect()
            };
            let (rewards, values) = (numbers(100), numbers(200));
            let episode = Episode {
                policy: &head(2),
                outputs: &[vec![0.0; 2 * steps], values.clone()],
                actions: &vec![0.0; steps],
                rewards: &rewards,
                marks: &drawn,
            };
            let found = a2c.returns(&episode);
            for t in 0..steps {
                let last = t + 1 == steps;
                let counts = drawn[t] == Mark::Terminated || (!last && drawn[t] != Mark::Idle);
                assert_eq!(found.counts[t], counts, "{drawn:?} {t}");
                if !counts {
                    continue;
                }
                let (mut advantage, mut share) = (0.0, 1.0);
                for k in t..steps {
                    let over = drawn[k] == Mark::Terminated;
                    if !over && k + 1 == steps {
                        break;
                    }
                    let next = if over { 0.0 } else { values[k + 1] };
                    advantage += share * (rewards[k] + 0.9 * next - values[k]);
                    share *= 0.9 * 0.7;
                    if drawn[k] != Mark::On {
                        break;
                    }
                }
                let error = found.values[t] - values[t] - advantage;
                assert!(error.abs() < 1e-12, "{drawn:?} {t}: {error}");
            }
        }
    }

    #[test]
    fn a_certain_policy_gives_finite_numbers() {
        let a2c = A2c {
            gamma: 0.9,
            lambda: 1.0,
            value: 0.1,
            concentration: 0.1,
            entropy: 0.1,
        };
        let episode = Episode {
            policy: &head(2),
            outputs: &[vec![1e4, -1e4], vec![0.0]],
            actions: &[0.0],
            rewards: &[1.0],
            marks: &[Mark::Terminated],
        };
        let mut adjoints = [vec![f64::NAN; 2], vec![f64::NAN]];
        let parts = a2c.lane(episode, 1.0, &mut adjoints);
        assert!((parts.total() - 0.2).abs() < 1e-12, "{parts:?}");
        assert!(adjoints[0].iter().all(|d| d.abs() < 1e-12));
    }

    fn numbers(value: &Value) -> Vec<f64> {
        match value {
            Value::Array(items) => items.iter().flat_map(numbers).collect(),
            _ => vec![value.as_f64().unwrap()],
        }
    }

    /// Takes lane `b` out of `[T, lanes, width]`.
    fn lane_of(all: &[f64], lanes: usize, width: usize, b: usize) -> Vec<f64> {
        all.chunks(lanes * width)
            .flat_map(|step| step[b * width..(b + 1) * width].to_vec())
            .collect()
    }

    #[test]
    fn the_fixture_of_another_framework() {
        let file = include_str!("../../tests/fixtures/rnn_retro_mod_a2c.json");
        let fixture: Value = serde_json::from_str(file).unwrap();
        let (lanes, steps, hidden, n) = (3, 6, 7, 4);
        let a2c = A2c {
            gamma: 0.9,
            lambda: 1.0,
            value: 0.1,
            concentration: 0.03,
            entropy: 0.0,
        };
        let outputs = &fixture["expected"]["outputs"];
        let [y, v, h] = ["y", "v", "h"].map(|name| numbers(&outputs[name]));
        let taken = numbers(&fixture["inputs"]["actions"]);
        let rewards = numbers(&fixture["inputs"]["rewards"]);
        let returns = numbers(&fixture["inputs"]["returns"]);
        let mut total = Parts::default();
        let (mut d_b_out, mut d_w_out) = (vec![0.0; n], vec![0.0; hidden * n]);
        let (mut d_b_val, mut d_w_val) = (0.0, vec![0.0; hidden]);
        for b in 0..lanes {
            let actions = lane_of(&taken, lanes, 1, b);
            let (values, rewards) = (lane_of(&v, lanes, 1, b), lane_of(&rewards, lanes, 1, b));
            let (logits, h) = (lane_of(&y, lanes, n, b), lane_of(&h, lanes, hidden, b));
            let episode = Episode {
                policy: &head(n),
                outputs: &[logits, values],
                actions: &actions,
                rewards: &rewards,
                marks: &Mark::whole(steps),
            };
            let ours = a2c.returns(&episode).values;
            for (ours, theirs) in ours.iter().zip(lane_of(&returns, lanes, 1, b)) {
                assert!((ours - theirs).abs() < 1e-12);
            }
            let mut adjoints = [vec![0.0; steps * n], vec![0.0; steps]];
            total += a2c.lane(episode, 1.0 / 18.0, &mut adjoints);
            let [d_logits, d_values] = adjoints;
            for t in 0..steps {
                d_b_val += d_values[t];
                for k in 0..n {
                    d_b_out[k] += d_logits[t * n + k];
                }
                for i in 0..hidden {
                    d_w_val[i] += h[t * hidden + i] * d_values[t];
                    for k in 0..n {
                        d_w_out[i * n + k] += h[t * hidden + i] * d_logits[t * n + k];
                    }
                }
            }
        }
        let expected = &fixture["expected"];
        let loss = expected["loss"].as_f64().unwrap();
        assert!((total.total() - loss).abs() < 1e-12 * loss);
        for (name, ours) in [
            ("b_out", d_b_out),
            ("w_out", d_w_out),
            ("b_val", vec![d_b_val]),
            ("w_val", d_w_val),
        ] {
            let theirs = numbers(&expected["grads"][name]);
            assert_eq!(ours.len(), theirs.len());
            for (a, b) in ours.iter().zip(theirs) {
                assert!((a - b).abs() < 1e-11, "{name}: {a} {b}");
            }
        }
    }
}
