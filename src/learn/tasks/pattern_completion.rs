#![doc = include_str!("pattern_completion.md")]

use super::SUBSTEPS;
use super::{ports, EpisodeKey, Lane, Score, Task, TaskEntry};
use crate::lang::catalog::{Port, TaskInfo};
use crate::lang::settings::{Setting, SettingConflict, Settings};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
        name: "pattern_completion",
        summary:
            "fill in the erased half of a pattern seen before (Miconi, Stanley, Clune 2018, §4.1)",
        page: include_str!("pattern_completion.md"),
        settings: SETTINGS,
        ports: |settings, _| Ok(ports(&PatternCompletion::new(settings)?)),
    },
    build: |settings, _| Ok(Box::new(PatternCompletion::new(settings)?)),
};

const SETTINGS: &[Setting] = &[
    Setting::int(
        "bits",
        (1, 20_000),
        1000,
        "Bits of a pattern (paper: 1000).",
    ),
    Setting::int(
        "patterns",
        (1, 200),
        5,
        "Patterns of an episode (paper: 5).",
    ),
    Setting::int(
        "presentations",
        (1, 1000),
        2,
        "How often each pattern is presented (paper: 2).",
    ),
    Setting::int("show", (1, 1000), 6, "Steps of a presentation (paper: 6)."),
    Setting::int(
        "gap",
        (0, 1000),
        4,
        "Steps of zeros after a presentation (paper: 4).",
    ),
    Setting::int("probe", (1, 1000), 6, "Steps of the probe (paper: 6)."),
    Setting::real(
        "erased",
        (0.0, 1.0),
        0.5,
        "Part of the probe's bits that is set to 0 (paper: 0.5).",
    ),
    SUBSTEPS,
];

const MAX_STEPS: usize = 1_000_000;

/// The task with its settings.
#[derive(Clone, Debug)]
pub struct PatternCompletion {
    bits: usize,
    patterns: usize,
    presentations: usize,
    show: usize,
    gap: usize,
    probe: usize,
    erased: usize,
}

impl PatternCompletion {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// Where an episode would have more than a million steps.
    pub fn new(settings: &Settings) -> Result<PatternCompletion, SettingConflict> {
        let bits = settings.int("bits");
        let task = PatternCompletion {
            bits,
            patterns: settings.int("patterns"),
            presentations: settings.int("presentations"),
            show: settings.int("show"),
            gap: settings.int("gap"),
            probe: settings.int("probe"),
            erased: (settings.real("erased") * bits as f64).round() as usize,
        };
        if task.steps() > MAX_STEPS {
            return Err(SettingConflict {
                setting: "presentations",
                message: format!("an episode would have {} steps", task.steps()),
                help: format!(
                    "keep it under {MAX_STEPS}: fewer `patterns`, `presentations` or shorter ones"
                ),
            });
        }
        Ok(task)
    }
}

impl Task for PatternCompletion {
    fn steps(&self) -> usize {
        self.patterns * self.presentations * (self.show + self.gap) + self.probe
    }

    fn sizes(&self) -> Vec<Port> {
        let size = Port::new;
        vec![
            size("obs", self.bits),
            size("recall", self.bits),
            size("steps", self.steps()),
        ]
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::new("obs", self.bits)]
    }

    fn signals(&self) -> Vec<&str> {
        vec![]
    }

    fn targets(&self) -> Vec<Port> {
        vec![Port::new("recall", self.bits)]
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(PatternLane {
            task: self.clone(),
            patterns: Vec::new(),
            order: Vec::new(),
            probed: 0,
            erased: Vec::new(),
            step: 0,
        })
    }
}

struct PatternLane {
    task: PatternCompletion,
    /// One after another.
    patterns: Vec<f32>,
    /// Pattern of each presentation.
    order: Vec<usize>,
    probed: usize,
    /// Bits that the probe does not show.
    erased: Vec<usize>,
    step: usize,
}

impl PatternLane {
    fn pattern(&self, number: usize) -> &[f32] {
        let bits = self.task.bits;
        self.patterns
            .get(number * bits..(number + 1) * bits)
            .unwrap_or_default()
    }
}

impl Lane for PatternLane {
    fn reset(&mut self, key: EpisodeKey) {
        let task = &self.task;
        let mut draws = key.episode().draws();
        self.patterns.clear();
        self.patterns
            .extend((0..task.patterns * task.bits).map(|_| [-1.0, 1.0][draws.below(2)]));
        let mut round: Vec<usize> = (0..task.patterns).collect();
        self.order.clear();
        for _ in 0..task.presentations {
            draws.shuffle(&mut round);
            self.order.extend(&round);
        }
        self.probed = draws.below(task.patterns);
        self.erased = (0..task.bits).collect();
        draws.shuffle(&mut self.erased);
        self.erased.truncate(task.erased);
        self.step = 0;
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        let task = &self.task;
        let presentation = self.step / (task.show + task.gap);
        let within = self.step % (task.show + task.gap);
        match self.order.get(presentation) {
            Some(number) if within < task.show => inputs.copy_from_slice(self.pattern(*number)),
            Some(_) => inputs.fill(0.0),
            None => {
                inputs.copy_from_slice(self.pattern(self.probed));
                for bit in &self.erased {
                    inputs[*bit] = 0.0;
                }
            }
        }
    }

    fn signals(&mut self, _signals: &mut [f32]) {}

    fn act(&mut self, _action: usize) -> f32 {
        self.step += 1;
        0.0
    }

    fn target(&mut self, targets: &mut [f32], weights: &mut [f32]) {
        targets.copy_from_slice(self.pattern(self.probed));
        self.step += 1;
        let last = self.step == self.task.steps();
        weights.fill(f32::from(u8::from(last)));
    }

    fn show_targets(&mut self, targets: &mut [f32]) {
        if self.step + 1 == self.task.steps() {
            targets.copy_from_slice(self.pattern(self.probed));
        } else {
            targets.fill(0.0);
        }
    }

    fn score(&self, outputs: &[f32]) -> Option<Score> {
        let pattern = self.pattern(self.probed);
        let wrong = self
            .erased
            .iter()
            .filter(|bit| {
                let product = outputs[**bit] * pattern[**bit];
                product.is_nan() || product <= 0.0
            })
            .count();
        Some(Score {
            name: "wrong_bits",
            value: wrong as f64 / self.erased.len().max(1) as f64,
        })
    }
}

#[cfg(test)]
mod tests;
