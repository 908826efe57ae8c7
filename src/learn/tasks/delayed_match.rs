#![doc = include_str!("delayed_match.md")]

use super::SUBSTEPS;
use super::{ports, EpisodeKey, Lane, Task, TaskEntry};
use crate::ir::rng::Place;
use crate::lang::catalog::{Port, TaskInfo};
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::machine::device::TaskSource;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
        name: "delayed_match",
        summary: "say whether a stimulus is the same as one seen some steps ago",
        page: include_str!("delayed_match.md"),
        settings: SETTINGS,
        ports: |settings, _| Ok(ports(&DelayedMatch::new(settings)?)),
    },
    build: |settings, _| Ok(Box::new(DelayedMatch::new(settings)?)),
};

const ACTIONS: usize = 2;

const SETTINGS: &[Setting] = &[
    Setting::int("stimuli", (2, 4096), 4, "Different stimuli, an input each."),
    Setting::int("steps", (3, 1_000_000), 60, "Steps of an episode."),
    Setting::int(
        "min_delay",
        (0, 100_000),
        2,
        "Fewest steps between sample and test.",
    ),
    Setting::int(
        "max_delay",
        (0, 100_000),
        6,
        "Most steps between sample and test; every number between is equally likely.",
    ),
    Setting::real(
        "distractors",
        (0.0, 1.0),
        0.0,
        "Probability that a step of the delay shows another stimulus than the sample.",
    ),
    Setting::real(
        "reward",
        (0.0, 1e6),
        1.0,
        "Reward of a right answer; a wrong one earns its negative.",
    ),
    SUBSTEPS,
];

/// Indices of the random numbers of a place.
const SAMPLE: u32 = 0;
const DELAY: u32 = 1;
const MATCHES: u32 = 2;
const OTHER: u32 = 3;
const DISTRACTS: u32 = 4;
const DISTRACTOR: u32 = 5;

/// The task with its settings.
#[derive(Clone, Debug)]
pub struct DelayedMatch {
    stimuli: usize,
    steps: usize,
    min_delay: usize,
    max_delay: usize,
    distractors: f64,
    reward: f32,
}

impl DelayedMatch {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// Where the range of delays is empty, or no trial would reach its test.
    pub fn new(settings: &Settings) -> Result<DelayedMatch, SettingConflict> {
        let task = DelayedMatch {
            stimuli: settings.int("stimuli"),
            steps: settings.int("steps"),
            min_delay: settings.int("min_delay"),
            max_delay: settings.int("max_delay"),
            distractors: settings.real("distractors"),
            reward: settings.real("reward") as f32,
        };
        if task.min_delay > task.max_delay {
            return Err(SettingConflict {
                setting: "min_delay",
                message: format!(
                    "`min_delay` is {}, more than `max_delay`, {}",
                    task.min_delay, task.max_delay
                ),
                help: format!("set `max_delay` to {} or more", task.min_delay),
            });
        }
        let first_test = task.max_delay + 2;
        if first_test > task.steps {
            return Err(SettingConflict {
                setting: "steps",
                message: format!(
                    "an episode of {} steps can end before its first test",
                    task.steps
                ),
                help: format!("set `steps` to {first_test} or more"),
            });
        }
        Ok(task)
    }

    fn width(&self) -> usize {
        self.stimuli + 5
    }

    fn draw(&self, place: Place) -> Trial {
        let sample = place.below(SAMPLE, self.stimuli);
        let matches = place.below(MATCHES, 2) == 1;
        let other = place.below(OTHER, self.stimuli - 1);
        Trial {
            sample,
            delay: self.min_delay + place.below(DELAY, self.max_delay - self.min_delay + 1),
            test: if matches {
                sample
            } else {
                other + usize::from(other >= sample)
            },
            phase: 0,
            shown: Some(sample),
        }
    }
}

impl Task for DelayedMatch {
    fn steps(&self) -> usize {
        self.steps
    }

    fn sizes(&self) -> Vec<Port> {
        let size = Port::new;
        vec![
            size("obs", self.width()),
            size("actions", ACTIONS),
            size("steps", self.steps),
            size("stimuli", self.stimuli),
        ]
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::new("obs", self.width())]
    }

    fn signals(&self) -> Vec<&str> {
        vec!["reward", "go"]
    }

    fn targets(&self) -> Vec<Port> {
        Vec::new()
    }

    fn device(&self) -> Option<TaskSource> {
        Some(TaskSource {
            settings: TaskSource::settings(&[
                ("STIMULI", self.stimuli as i64),
                ("MIN_DELAY", self.min_delay as i64),
                ("MAX_DELAY", self.max_delay as i64),
            ]) + &TaskSource::reals(&[
                ("DISTRACTORS", self.distractors),
                ("REWARD", f64::from(self.reward)),
            ]),
            source: include_str!("delayed_match.h"),
            words: 7,
        })
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(MatchLane {
            task: self.clone(),
            key: EpisodeKey::default(),
            trial: Trial::default(),
            step: 0,
            last_action: None,
            last_reward: 0.0,
        })
    }
}

/// A trial: the sample in phase 0, then the delay, the test in phase `delay + 1`, and a blank.
#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    sample: usize,
    delay: usize,
    test: usize,
    phase: usize,
    /// The stimulus of the current step.
    shown: Option<usize>,
}

impl Trial {
    fn is_test(&self) -> bool {
        self.phase == self.delay + 1
    }
}

struct MatchLane {
    task: DelayedMatch,
    key: EpisodeKey,
    trial: Trial,
    step: usize,
    last_action: Option<usize>,
    last_reward: f32,
}

impl Lane for MatchLane {
    fn reset(&mut self, key: EpisodeKey) {
        self.trial = self.task.draw(key.episode());
        self.key = key;
        self.step = 0;
        self.last_action = None;
        self.last_reward = 0.0;
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        inputs.fill(0.0);
        let (stimuli, rest) = inputs.split_at_mut(self.task.stimuli);
        if let Some(shown) = self.trial.shown {
            stimuli[shown] = 1.0;
        }
        rest[0] = f32::from(u8::from(self.trial.is_test()));
        rest[1] = self.last_reward;
        if let Some(action) = self.last_action.filter(|action| *action < ACTIONS) {
            rest[2 + action] = 1.0;
        }
        rest[4] = 1.0;
    }

    fn signals(&mut self, signals: &mut [f32]) {
        let go = f32::from(u8::from(self.trial.is_test()));
        signals.copy_from_slice(&[self.last_reward, go]);
    }

    fn trial_starts(&self) -> bool {
        self.trial.phase == 0
    }

    fn act(&mut self, action: usize) -> f32 {
        let place = self.key.step(self.step);
        let trial = &mut self.trial;
        let right = action == usize::from(trial.test == trial.sample);
        let reward = match (trial.is_test(), right) {
            (false, _) => 0.0,
            (true, true) => self.task.reward,
            (true, false) => -self.task.reward,
        };
        trial.phase += 1;
        if trial.phase > trial.delay + 2 {
            *trial = self.task.draw(place);
        } else if trial.is_test() {
            trial.shown = Some(trial.test);
        } else if trial.phase <= trial.delay && place.bernoulli(DISTRACTS, self.task.distractors) {
            let other = place.below(DISTRACTOR, self.task.stimuli - 1);
            trial.shown = Some(other + usize::from(other >= trial.sample));
        } else {
            trial.shown = None;
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
