#![doc = include_str!("bandit.md")]

use super::SUBSTEPS;
use super::{ports, EpisodeKey, Lane, Task, TaskEntry};
use crate::ir::rng::Place;
use crate::lang::catalog::{Port, TaskInfo};
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::machine::device::TaskSource;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
        name: "bandit",
        summary: "find the arm that pays best, and notice when another one does",
        page: include_str!("bandit.md"),
        settings: SETTINGS,
        ports: |settings, _| Ok(ports(&Bandit::new(settings)?)),
    },
    build: |settings, _| Ok(Box::new(Bandit::new(settings)?)),
};

const SETTINGS: &[Setting] = &[
    Setting::int("arms", (2, 4096), 2, "Arms to choose from, an action each."),
    Setting::int("steps", (1, 1_000_000), 100, "Steps of an episode, a pull each."),
    Setting::choice(
        "chances",
        &["best", "uniform"],
        "One arm pays with probability `high` and all others with `low`; or each arm has a probability drawn uniformly from `low` to `high`.",
    ),
    Setting::real("high", (0.0, 1.0), 0.8, "Probability that the best arm pays."),
    Setting::real("low", (0.0, 1.0), 0.2, "Probability that another arm pays."),
    Setting::real(
        "reversal",
        (0.0, 1.0),
        0.05,
        "Probability of a reversal after each pull; 0 for none in an episode.",
    ),
    Setting::real("reward", (0.0, 1e6), 1.0, "Reward of an arm that pays."),
    SUBSTEPS,
];

/// Indices of the random numbers of a place.
const PAYS: u32 = 0;
const REVERSES: u32 = 1;
const BEST: u32 = 2;
const CHANCES: u32 = 3;

/// The task with its settings.
#[derive(Clone, Debug)]
pub struct Bandit {
    arms: usize,
    steps: usize,
    uniform: bool,
    high: f64,
    low: f64,
    reversal: f64,
    reward: f32,
}

impl Bandit {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// Where `low` is more than `high`.
    pub fn new(settings: &Settings) -> Result<Bandit, SettingConflict> {
        let (high, low) = (settings.real("high"), settings.real("low"));
        if low > high {
            return Err(SettingConflict {
                setting: "low",
                message: format!("`low` is {low}, more than `high`, {high}"),
                help: format!("set `low` to {high} or less"),
            });
        }
        Ok(Bandit {
            arms: settings.int("arms"),
            steps: settings.int("steps"),
            uniform: settings.word("chances") == "uniform",
            high,
            low,
            reversal: settings.real("reversal"),
            reward: settings.real("reward") as f32,
        })
    }

    fn width(&self) -> usize {
        self.arms + 3
    }

    /// Draws how likely each arm pays, with another best arm than `before`.
    fn draw(&self, place: Place, before: Option<usize>, chances: &mut Vec<f32>) {
        chances.clear();
        if self.uniform {
            let draw = |arm| self.low + (self.high - self.low) * place.uniform(CHANCES + arm);
            chances.extend((0..self.arms as u32).map(|arm| draw(arm) as f32));
            return;
        }
        let best = match before {
            None => place.below(BEST, self.arms),
            Some(before) => {
                let other = place.below(BEST, self.arms - 1);
                other + usize::from(other >= before)
            }
        };
        chances.resize(self.arms, self.low as f32);
        chances[best] = self.high as f32;
    }
}

impl Task for Bandit {
    fn steps(&self) -> usize {
        self.steps
    }

    fn sizes(&self) -> Vec<Port> {
        let size = Port::new;
        vec![
            size("obs", self.width()),
            size("actions", self.arms),
            size("steps", self.steps),
        ]
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::new("obs", self.width())]
    }

    fn signals(&self) -> Vec<&str> {
        vec!["reward"]
    }

    fn targets(&self) -> Vec<Port> {
        Vec::new()
    }

    fn device(&self) -> Option<TaskSource> {
        Some(TaskSource {
            settings: TaskSource::settings(&[
                ("ARMS", self.arms as i64),
                ("STEPS", self.steps as i64),
                ("UNIFORM", i64::from(u8::from(self.uniform))),
            ]) + &TaskSource::reals(&[
                ("HIGH", self.high),
                ("LOW", self.low),
                ("RANGE", self.high - self.low),
                ("REVERSAL", self.reversal),
                ("REWARD", f64::from(self.reward)),
            ]),
            source: include_str!("bandit.h"),
            words: 3 + self.arms,
        })
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(BanditLane {
            task: self.clone(),
            key: EpisodeKey::default(),
            chances: Vec::new(),
            step: 0,
            last_action: None,
            last_reward: 0.0,
        })
    }
}

struct BanditLane {
    task: Bandit,
    key: EpisodeKey,
    /// The probability of each arm to pay.
    chances: Vec<f32>,
    step: usize,
    last_action: Option<usize>,
    last_reward: f32,
}

impl BanditLane {
    /// The first of the arms that pay best.
    fn best(&self) -> usize {
        let mut best = 0;
        for (arm, chance) in self.chances.iter().enumerate() {
            if *chance > self.chances[best] {
                best = arm;
            }
        }
        best
    }
}

impl Lane for BanditLane {
    fn reset(&mut self, key: EpisodeKey) {
        self.task.draw(key.episode(), None, &mut self.chances);
        self.key = key;
        self.step = 0;
        self.last_action = None;
        self.last_reward = 0.0;
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        inputs.fill(0.0);
        let (arms, rest) = inputs.split_at_mut(self.task.arms);
        if let Some(action) = self.last_action.filter(|action| *action < arms.len()) {
            arms[action] = 1.0;
        }
        rest[0] = self.last_reward;
        rest[1] = self.step as f32 / self.task.steps as f32;
        rest[2] = 1.0;
    }

    fn signals(&mut self, signals: &mut [f32]) {
        signals.copy_from_slice(&[self.last_reward]);
    }

    fn trial_starts(&self) -> bool {
        self.step == 0
    }

    fn act(&mut self, action: usize) -> f32 {
        let place = self.key.step(self.step);
        let chance = self.chances.get(action).copied().unwrap_or(0.0);
        let pays = place.bernoulli(PAYS, f64::from(chance));
        let reward = if pays { self.task.reward } else { 0.0 };
        if place.bernoulli(REVERSES, self.task.reversal) {
            let best = self.best();
            self.task.draw(place, Some(best), &mut self.chances);
        }
        self.step += 1;
        self.last_action = Some(action);
        self.last_reward = reward;
        reward
    }

    fn target(&mut self, _targets: &mut [f32], _weights: &mut [f32]) {}
}

#[cfg(test)]
mod tests;
