//! The loss of given values, as the trainer computes it in training.

use super::a2c::{Episode, Mark};
use super::block::Objective;
use super::given::GivenValues;
use super::losses::Losses;
use super::policy::Policy;
use super::ppo::{normalise, Taken};
use super::supervised::{Errors, SupervisedLoss};
use crate::lang::catalog::{Actions, TrainerKind};
use crate::lang::sema::model::TrainModel;

/// The loss, and its derivatives by the outputs, shaped as these.
pub(super) fn loss_and_seeds(
    train: &TrainModel,
    given: &GivenValues,
    output_names: &[String],
    outputs: &[Vec<f64>],
) -> (f64, Vec<Vec<f64>>) {
    let mut seeds: Vec<Vec<f64>> = outputs.iter().map(|o| vec![0.0; o.len()]).collect();
    let slot = |name: &str| output_names.iter().position(|path| path == name);
    let loss = match train.trainer.kind {
        TrainerKind::Reward => {
            let actions = Actions::of_outputs(|name| {
                Some(outputs[slot(name)?].len() / (given.steps * given.lanes))
            });
            let policy = Policy { actions };
            let slot = |name: String| slot(&name).expect("specs have the outputs that are read");
            let slots: Vec<usize> = policy.reads().into_iter().map(slot).collect();
            rewards(train, given, (&policy, &slots), outputs, &mut seeds)
        }
        TrainerKind::Supervised => {
            let losses = Losses::new(train);
            let of = |slot: usize| losses.of(&output_names[slot]);
            targets(of, given, outputs, &mut seeds, |_, _| 1.0)
        }
        TrainerKind::Language => {
            // The mean over the words of all lanes, not over lanes of the mean over words.
            let share = |weights: &[f64], lane: usize| {
                let all: f64 = weights.iter().sum();
                let mine: f64 = weights.iter().skip(lane).step_by(given.lanes).sum();
                let part = given.lanes as f64 * mine / all;
                if all > 0.0 {
                    part
                } else {
                    0.0
                }
            };
            let of = |_| (SupervisedLoss::CrossEntropy, 1.0);
            let mut loss = targets(of, given, outputs, &mut seeds, share);
            if let Some(slot) = slot("dropped") {
                let coefficient = train.settings.real("activity");
                loss += mean_square(coefficient, &outputs[slot], 0, &mut seeds[slot]);
            }
            if let Some(slot) = slot("activity") {
                let coefficient = train.settings.real("change");
                let step = outputs[slot].len() / given.steps;
                loss += mean_square(coefficient, &outputs[slot], step, &mut seeds[slot]);
            }
            loss
        }
    };
    (loss, seeds)
}

/// The loss of episodes with rewards.
fn rewards(
    train: &TrainModel,
    given: &GivenValues,
    (policy, slots): (&Policy, &[usize]),
    outputs: &[Vec<f64>],
    seeds: &mut [Vec<f64>],
) -> f64 {
    let (steps, lanes) = (given.steps, given.lanes);
    let marks = Mark::whole(steps);
    let of = |lane: usize| {
        let of = |values: &[f64]| lane_of(values, lane, steps, lanes);
        Lane {
            outputs: slots.iter().map(|slot| of(&outputs[*slot])).collect(),
            actions: of(&given.actions),
            rewards: of(&given.rewards),
        }
    };
    let all: Vec<Lane> = (0..lanes).map(of).collect();
    let scale = 1.0 / (lanes * steps) as f64;
    let objective = Objective::new(train);
    let mut taken = Vec::new();
    if let Objective::Ppo(ppo) = &objective {
        let episodes = all.iter().map(|lane| lane.episode(policy, &marks));
        taken.extend(episodes.map(|episode| Taken::new(&ppo.a2c, episode)));
        if ppo.normalise {
            normalise(&mut taken);
        }
    }
    let mut loss = 0.0;
    for (k, lane) in all.iter().enumerate() {
        let zero = |all: &Vec<f64>| vec![0.0; all.len()];
        let mut adjoints: Vec<Vec<f64>> = lane.outputs.iter().map(zero).collect();
        let parts = match &objective {
            Objective::A2c(a2c) => a2c.lane(lane.episode(policy, &marks), scale, &mut adjoints),
            Objective::Ppo(ppo) => {
                ppo.lane(&taken[k], (policy, &lane.outputs), scale, &mut adjoints)
            }
            Objective::Supervised(_) => continue,
        };
        loss += parts.total();
        for (slot, adjoints) in slots.iter().zip(&adjoints) {
            put_lane(&mut seeds[*slot], adjoints, k, steps, lanes);
        }
    }
    loss
}

/// The episode of a lane.
struct Lane {
    outputs: Vec<Vec<f64>>,
    actions: Vec<f64>,
    rewards: Vec<f64>,
}

impl Lane {
    fn episode<'a>(&'a self, policy: &'a Policy, marks: &'a [Mark]) -> Episode<'a> {
        Episode {
            policy,
            outputs: &self.outputs,
            actions: &self.actions,
            rewards: &self.rewards,
            marks,
        }
    }
}

/// The loss of outputs against their targets; `share` is a factor on what a lane adds, from the weights of all lanes.
fn targets(
    function: impl Fn(usize) -> (SupervisedLoss, f64),
    given: &GivenValues,
    outputs: &[Vec<f64>],
    seeds: &mut [Vec<f64>],
    share: impl Fn(&[f64], usize) -> f64,
) -> f64 {
    let (steps, lanes) = (given.steps, given.lanes);
    let ones = vec![1.0; steps * lanes];
    let mut loss = 0.0;
    for lane in 0..lanes {
        for (slot, targets) in given.targets.iter().enumerate() {
            if targets.is_empty() {
                continue;
            }
            let weights = given
                .weights
                .get(slot)
                .filter(|weights| !weights.is_empty());
            let weights = weights.unwrap_or(&ones);
            let predicted = lane_of(&outputs[slot], lane, steps, lanes);
            let mut adjoints = vec![0.0; predicted.len()];
            let errors = Errors {
                outputs: &predicted,
                targets: &lane_of(targets, lane, steps, lanes),
                weights: &lane_of(weights, lane, steps, lanes),
            };
            let (function, factor) = function(slot);
            let share = factor * share(weights, lane);
            loss += share * function.lane(errors, lanes, &mut adjoints);
            adjoints.iter_mut().for_each(|adjoint| *adjoint *= share);
            put_lane(&mut seeds[slot], &adjoints, lane, steps, lanes);
        }
    }
    loss
}

/// `coefficient` times the mean square of the values, or of their change over `back` places; adds its derivatives.
fn mean_square(coefficient: f64, values: &[f64], back: usize, seeds: &mut [f64]) -> f64 {
    let scale = coefficient / (values.len() - back).max(1) as f64;
    let mut cost = 0.0;
    for k in back..values.len() {
        let before = if back > 0 { values[k - back] } else { 0.0 };
        let change = values[k] - before;
        cost += scale * change * change;
        seeds[k] += 2.0 * scale * change;
        if back > 0 {
            seeds[k - back] -= 2.0 * scale * change;
        }
    }
    cost
}

/// `[T, ..]` of one lane from `[T, B, ..]`.
fn lane_of(values: &[f64], lane: usize, steps: usize, lanes: usize) -> Vec<f64> {
    let width = values.len() / (steps * lanes);
    (0..steps)
        .flat_map(|t| {
            let start = (t * lanes + lane) * width;
            values[start..start + width].iter().copied()
        })
        .collect()
}

fn put_lane(into: &mut [f64], values: &[f64], lane: usize, steps: usize, lanes: usize) {
    let width = into.len() / (steps * lanes);
    for t in 0..steps {
        let start = (t * lanes + lane) * width;
        into[start..start + width].copy_from_slice(&values[t * width..(t + 1) * width]);
    }
}
