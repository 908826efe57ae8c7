#![doc = include_str!("text.md")]

use super::{ports, EpisodeKey, Lane, Task, TaskEntry};
use crate::lang::catalog::{Port, TaskInfo};
use crate::lang::settings::{Setting, Settings};
use crate::learn::text::generate::Associations;
use crate::learn::text::Unknown;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
        name: "text",
        summary: "predict the next word of a text (Miconi et al. 2019, §4.3)",
        page: include_str!("text.md"),
        settings: SETTINGS,
        ports: |settings, _| Ok(ports(&Text::new(settings))),
    },
    build: |settings, _| Ok(Box::new(Text::new(settings))),
};

const SETTINGS: &[Setting] = &[
    Setting::int(
        "words",
        (8, 1_000_000),
        52,
        "Words of the vocabulary (Penn Treebank: 10 000).",
    ),
    Setting::int(
        "steps",
        (1, 100_000),
        20,
        "Steps through which gradients flow (paper: 20 small, 70 large).",
    ),
    Setting::choice(
        "lengths",
        &["fixed", "random"],
        "Whether all chunks of a text are equally long.",
    ),
    Setting::choice(
        "unknown",
        &["replace", "refuse"],
        "What becomes of words outside the vocabulary.",
    ),
];

/// The task with its settings.
#[derive(Clone, Debug)]
pub struct Text {
    /// Words of the vocabulary.
    pub words: usize,
    /// Steps of an episode or chunk.
    pub steps: usize,
    /// True if lengths of chunks vary.
    pub random_lengths: bool,
    /// The treatment of words outside the vocabulary.
    pub unknown: Unknown,
}

impl Text {
    /// From checked settings.
    pub fn new(settings: &Settings) -> Text {
        Text {
            words: settings.int("words"),
            steps: settings.int("steps"),
            random_lengths: settings.word("lengths") == "random",
            unknown: if settings.word("unknown") == "refuse" {
                Unknown::Refuse
            } else {
                Unknown::Replace
            },
        }
    }
}

impl Task for Text {
    fn steps(&self) -> usize {
        self.steps
    }

    fn sizes(&self) -> Vec<Port> {
        [
            ("obs", self.words),
            ("words", self.words),
            ("steps", self.steps),
        ]
        .map(|(name, size)| Port::new(name, size))
        .to_vec()
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::new("word", self.words)]
    }

    fn signals(&self) -> Vec<&str> {
        vec![]
    }

    fn targets(&self) -> Vec<Port> {
        vec![Port::new("next_word", self.words)]
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(TextLane {
            generator: Associations::new(self.words),
            steps: self.steps,
            text: Vec::new(),
            step: 0,
        })
    }

    fn text(&self) -> Option<&Text> {
        Some(self)
    }
}

struct TextLane {
    generator: Associations,
    steps: usize,
    text: Vec<u32>,
    step: usize,
}

impl TextLane {
    fn put(&self, at: usize, out: &mut [f32]) {
        out.fill(0.0);
        if let Some(to) = self
            .text
            .get(at)
            .and_then(|word| out.get_mut(*word as usize))
        {
            *to = 1.0;
        }
    }
}

impl Lane for TextLane {
    fn reset(&mut self, key: EpisodeKey) {
        let mut draws = key.episode().draws();
        self.text.clear();
        while self.text.len() <= self.steps {
            self.generator.document(&mut draws, &mut self.text);
        }
        self.step = 0;
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        self.put(self.step, inputs);
    }

    fn signals(&mut self, _signals: &mut [f32]) {}

    fn act(&mut self, _action: usize) -> f32 {
        self.step += 1;
        0.0
    }

    fn target(&mut self, targets: &mut [f32], weights: &mut [f32]) {
        self.step += 1;
        self.put(self.step, targets);
        weights.fill(1.0);
    }

    fn show_targets(&mut self, targets: &mut [f32]) {
        self.put(self.step + 1, targets);
    }
}
