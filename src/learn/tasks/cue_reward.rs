#![doc = include_str!("cue_reward.md")]

use super::SUBSTEPS;
use super::{ports, EpisodeKey, Lane, Task, TaskEntry};
use crate::ir::rng::Draws;
use crate::lang::catalog::{Port, TaskInfo};
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::machine::device::TaskSource;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
    name: "cue_reward",
    summary:
        "say whether this episode's rewarded cue was among those shown (Miconi et al. 2019, §4.1)",
    page: include_str!("cue_reward.md"),
    settings: SETTINGS,
        ports: |settings, _| Ok(ports(&CueReward::new(settings)?)),
    },
    build: |settings, _| Ok(Box::new(CueReward::new(settings)?)),
};

const ACTIONS: usize = 2;

const SETTINGS: &[Setting] = &[
    Setting::int("cues", (2, 64), 4, "Cues of an episode, one of them the target (paper: 4)."),
    Setting::int("shown", (1, 63), 2, "Different cues shown in a trial; fewer than `cues` (paper: 2)."),
    Setting::int("bits", (1, 4096), 20, "Bits of a cue (paper: 20; control: 4)."),
    Setting::int("steps", (4, 1_000_000), 200, "Steps of an episode (paper: 200; published runs: 120)."),
    Setting::choice(
        "patterns",
        &["random", "one_hot"],
        "Cues drawn anew every episode, bits of -1 or +1; or the fixed one-hot patterns (control, A.5).",
    ),
    Setting::int(
        "min_blanks",
        (0, 10_000),
        0,
        "Fewest blank steps among the cues of a trial, besides its first and last step (published runs: 0).",
    ),
    Setting::int(
        "max_blanks",
        (0, 10_000),
        3,
        "Most blank steps among the cues of a trial; every number between is equally likely (published runs: 3).",
    ),
    Setting::choice(
        "observation",
        &["run", "paper"],
        "The published runs' inputs, with go bit, bias and an unused 0 (`bits` + 7); or those the paper lists (`bits` + 4).",
    ),
    Setting::real("reward", (0.0, 1e6), 1.0, "Reward of a right answer; a wrong one earns its negative (paper: 1)."),
    Setting::real("flip", (0.0, 1.0), 0.0, "Probability that the sign of a reward is turned (paper: 0)."),
    SUBSTEPS,
];

/// The offsets of the observation's parts, counted from the end of the cue bits.
#[derive(Clone, Copy, Debug)]
struct Layout {
    width: usize,
    go: Option<usize>,
    bias: Option<usize>,
    time: usize,
    action: usize,
    reward: usize,
}

const RUN: Layout = Layout {
    width: 7,
    go: Some(0),
    bias: Some(1),
    time: 2,
    reward: 3,
    action: 5,
};

const PAPER: Layout = Layout {
    width: 4,
    go: None,
    bias: None,
    time: 0,
    action: 1,
    reward: 3,
};

/// The task with its settings.
#[derive(Clone, Debug)]
pub struct CueReward {
    cues: usize,
    shown: usize,
    bits: usize,
    steps: usize,
    one_hot: bool,
    min_blanks: usize,
    max_blanks: usize,
    layout: Layout,
    reward: f32,
    flip: f64,
}

impl CueReward {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// Where the target would be in every trial, the range of blanks is empty, no trial would reach its go
    /// step, or there are fewer patterns than cues.
    pub fn new(settings: &Settings) -> Result<CueReward, SettingConflict> {
        let paper = settings.word("observation") == "paper";
        let task = CueReward {
            cues: settings.int("cues"),
            shown: settings.int("shown"),
            bits: settings.int("bits"),
            steps: settings.int("steps"),
            one_hot: settings.word("patterns") == "one_hot",
            min_blanks: settings.int("min_blanks"),
            max_blanks: settings.int("max_blanks"),
            layout: if paper { PAPER } else { RUN },
            reward: settings.real("reward") as f32,
            flip: settings.real("flip"),
        };
        task.check()?;
        Ok(task)
    }

    fn check(&self) -> Result<(), SettingConflict> {
        let conflict = |setting, message: String, help: String| {
            Err(SettingConflict {
                setting,
                message,
                help,
            })
        };
        let (cues, shown, bits) = (self.cues, self.shown, self.bits);
        if shown >= cues {
            return conflict(
                "shown",
                format!(
                    "every trial would show the target: `shown` is {shown} and `cues` is {cues}"
                ),
                format!("set `shown` to {} or less", cues - 1),
            );
        }
        if self.min_blanks > self.max_blanks {
            return conflict(
                "min_blanks",
                format!(
                    "`min_blanks` is {}, more than `max_blanks`, {}",
                    self.min_blanks, self.max_blanks
                ),
                format!("set `max_blanks` to {} or more", self.min_blanks),
            );
        }
        let first_go = shown + self.min_blanks + 2;
        if first_go > self.steps {
            return conflict(
                "steps",
                format!(
                    "an episode of {} steps ends before its first answer",
                    self.steps
                ),
                format!("set `steps` to {first_go} or more"),
            );
        }
        if self.one_hot && bits < cues {
            return conflict(
                "bits",
                format!("{cues} one-hot cues do not fit in {bits} bits"),
                format!("set `bits` to {cues} or more"),
            );
        }
        let reserved = usize::from(self.layout.go.is_none());
        let patterns = if bits < 16 {
            (1 << bits) - reserved
        } else {
            usize::MAX
        };
        if !self.one_hot && patterns < cues {
            return conflict(
                "bits",
                format!("{bits} bits have fewer than {cues} different patterns for cues"),
                "set more `bits` or fewer `cues`".to_owned(),
            );
        }
        Ok(())
    }

    /// The cues of an episode, one after another.
    fn draw_patterns(&self, draws: &mut Draws) -> Vec<f32> {
        let mut patterns: Vec<f32> = Vec::with_capacity(self.cues * self.bits);
        for cue in 0..self.cues {
            if self.one_hot {
                patterns.extend((0..self.bits).map(|bit| if bit == cue { 1.0 } else { 0.0 }));
                continue;
            }
            // Redrawing one cue until it is new gives the same distribution as redrawing all of them.
            loop {
                let start = patterns.len();
                patterns.extend((0..self.bits).map(|_| [-1.0, 1.0][draws.below(2)]));
                let (earlier, new) = patterns.split_at(start);
                let repeats = earlier.chunks(self.bits).any(|pattern| pattern == new);
                let is_response_cue = self.layout.go.is_none() && new.iter().all(|bit| *bit == 1.0);
                if !repeats && !is_response_cue {
                    break;
                }
                patterns.truncate(start);
            }
        }
        patterns
    }

    fn draw_script(&self, target: usize, draws: &mut Draws) -> Vec<Moment> {
        let mut script = Vec::with_capacity(self.steps);
        let mut order: Vec<usize> = (0..self.cues).collect();
        while script.len() < self.steps {
            draws.shuffle(&mut order);
            let cues = &order[..self.shown];
            let blanks = self.min_blanks + draws.below(self.max_blanks - self.min_blanks + 1);
            let mut middle: Vec<Show> = cues.iter().map(|cue| Show::Cue(*cue)).collect();
            middle.resize(self.shown + blanks, Show::Blank);
            draws.shuffle(&mut middle);
            let go = Show::Go {
                answer: usize::from(cues.contains(&target)),
            };
            let shows = [Show::Blank]
                .into_iter()
                .chain(middle)
                .chain([go, Show::Blank]);
            script.extend(shows.enumerate().map(|(k, show)| Moment {
                show,
                trial_starts: k == 0,
            }));
        }
        script.truncate(self.steps);
        script
    }
}

impl Task for CueReward {
    fn steps(&self) -> usize {
        self.steps
    }

    fn sizes(&self) -> Vec<Port> {
        let size = Port::new;
        vec![
            size("obs", self.bits + self.layout.width),
            size("actions", ACTIONS),
            size("steps", self.steps),
            size("bits", self.bits),
            size("cues", self.cues),
        ]
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::new("obs", self.bits + self.layout.width)]
    }

    fn signals(&self) -> Vec<&str> {
        vec!["reward", "go"]
    }

    fn targets(&self) -> Vec<Port> {
        Vec::new()
    }

    fn device(&self) -> Option<TaskSource> {
        let at = |place: Option<usize>| place.map_or(-1, |at| at as i64);
        let middle = self.shown + self.max_blanks;
        Some(TaskSource {
            settings: TaskSource::settings(&[
                ("CUES", self.cues as i64),
                ("SHOWN", self.shown as i64),
                ("BITS", self.bits as i64),
                ("STEPS", self.steps as i64),
                ("ONE_HOT", i64::from(u8::from(self.one_hot))),
                ("MIN_BLANKS", self.min_blanks as i64),
                ("MAX_BLANKS", self.max_blanks as i64),
                ("GO", at(self.layout.go)),
                ("BIAS", at(self.layout.bias)),
                ("TIME", self.layout.time as i64),
                ("ACTION", self.layout.action as i64),
                ("REWARD_AT", self.layout.reward as i64),
            ]) + &TaskSource::reals(&[
                ("REWARD", f64::from(self.reward)),
                ("FLIP", self.flip),
            ]),
            source: include_str!("cue_reward.h"),
            words: 3 + 2 * self.steps + self.cues + middle + self.cues * self.bits,
        })
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(CueLane {
            task: self.clone(),
            key: EpisodeKey::default(),
            patterns: Vec::new(),
            script: Vec::new(),
            step: 0,
            last_action: None,
            last_reward: 0.0,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    Blank,
    Cue(usize),
    Go { answer: usize },
}

/// One step of an episode, as far as it does not depend on the agent.
#[derive(Clone, Copy, Debug)]
struct Moment {
    show: Show,
    trial_starts: bool,
}

struct CueLane {
    task: CueReward,
    key: EpisodeKey,
    patterns: Vec<f32>,
    script: Vec<Moment>,
    step: usize,
    last_action: Option<usize>,
    last_reward: f32,
}

impl CueLane {
    fn show(&self) -> Show {
        self.script
            .get(self.step)
            .map_or(Show::Blank, |moment| moment.show)
    }
}

impl Lane for CueLane {
    fn reset(&mut self, key: EpisodeKey) {
        let mut draws = key.episode().draws();
        self.key = key;
        self.patterns = self.task.draw_patterns(&mut draws);
        let target = draws.below(self.task.cues);
        self.script = self.task.draw_script(target, &mut draws);
        self.step = 0;
        self.last_action = None;
        self.last_reward = 0.0;
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        inputs.fill(0.0);
        let (bits, rest) = inputs.split_at_mut(self.task.bits);
        let layout = self.task.layout;
        match (self.show(), layout.go) {
            (Show::Blank, _) => {}
            (Show::Cue(cue), _) => {
                let width = self.task.bits;
                bits.copy_from_slice(&self.patterns[cue * width..(cue + 1) * width]);
            }
            (Show::Go { .. }, Some(slot)) => rest[slot] = 1.0,
            (Show::Go { .. }, None) => bits.fill(1.0),
        }
        if let Some(slot) = layout.bias {
            rest[slot] = 1.0;
        }
        rest[layout.time] = self.step as f32 / self.task.steps as f32;
        rest[layout.reward] = self.last_reward;
        if let Some(action) = self.last_action.filter(|action| *action < ACTIONS) {
            rest[layout.action + action] = 1.0;
        }
    }

    fn signals(&mut self, signals: &mut [f32]) {
        let go = matches!(self.show(), Show::Go { .. });
        signals.copy_from_slice(&[self.last_reward, f32::from(u8::from(go))]);
    }

    fn trial_starts(&self) -> bool {
        self.script
            .get(self.step)
            .is_some_and(|moment| moment.trial_starts)
    }

    fn act(&mut self, action: usize) -> f32 {
        let reward = match self.show() {
            Show::Blank | Show::Cue(_) => 0.0,
            Show::Go { answer } => {
                let flipped = self.key.step(self.step).bernoulli(0, self.task.flip);
                if (action == answer) != flipped {
                    self.task.reward
                } else {
                    -self.task.reward
                }
            }
        };
        self.step += 1;
        self.last_action = Some(action);
        self.last_reward = reward;
        reward
    }

    fn target(&mut self, _targets: &mut [f32], _weights: &mut [f32]) {}
}

#[cfg(test)]
mod tests;
