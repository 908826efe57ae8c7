//! One lane: one sequence at a time.

use super::layout::{Value, When, START};
use super::order::shuffled;
use super::split::Split;
use super::Data;
use crate::learn::data::Array;
use crate::learn::tasks::{EpisodeKey, Lane, Part};
use std::sync::Arc;

/// A lane and the sequence that it shows.
pub(super) struct SequenceLane {
    data: Arc<Data>,
    part: Part,
    sequence: usize,
    length: usize,
    step: usize,
    fault: Option<String>,
}

impl SequenceLane {
    pub(super) fn new(data: Arc<Data>) -> SequenceLane {
        SequenceLane {
            data,
            part: Part::Train,
            sequence: 0,
            length: 0,
            step: 0,
            fault: None,
        }
    }

    fn split(&self) -> &Split {
        self.data.part(self.part)
    }

    /// Keeps the first fault that was seen.
    fn tell(&mut self, array: &str, step: Option<usize>, what: &str) {
        if self.fault.is_none() {
            let (path, sequence) = (self.split().path.display(), self.sequence);
            let step = step.map_or(String::new(), |step| format!(", step {step}"));
            self.fault = Some(format!(
                "{path}, array `{array}`, sequence {sequence}{step} (counted from 0): {what}"
            ));
        }
    }

    /// Steps of the sequence, all where no array says.
    fn read_length(&mut self) -> usize {
        let steps = self.data.layout.steps;
        let Some(lengths) = &self.split().lengths else {
            return steps;
        };
        let told = lengths.real(self.sequence);
        if told.fract() == 0.0 && (1.0..=steps as f64).contains(&told) {
            return told as usize;
        }
        self.tell(
            "length",
            None,
            &format!("{told} is no length from 1 to {steps}"),
        );
        steps
    }

    /// The weight of the current step for an output with a target.
    fn weight(&mut self, k: usize, when: When) -> f32 {
        let there = match when {
            When::EveryStep => self.step < self.length,
            When::LastStep => self.step + 1 == self.length,
        };
        if !there {
            return 0.0;
        }
        let at = self.sequence * self.data.layout.steps + self.step;
        let Some((name, weights)) = &self.split().weights[k] else {
            return 1.0;
        };
        let weight = weights.real(at);
        if weight >= 0.0 && weight.is_finite() {
            return weight as f32;
        }
        let name = name.clone();
        self.tell(&name, Some(self.step), &format!("{weight} is no weight"));
        0.0
    }

    /// Writes the value of an array at the current step.
    fn read(&mut self, value: &Value, array: &Array, out: &mut [f32]) {
        let row = match value.when {
            When::EveryStep => self.sequence * self.data.layout.steps + self.step,
            When::LastStep => self.sequence,
        };
        if value.port.classes {
            out.fill(0.0);
            let label = array.whole(row);
            let place = label.and_then(|label| usize::try_from(label).ok());
            match place.and_then(|place| out.get_mut(place)) {
                Some(out) => *out = 1.0,
                None => {
                    let label = label.unwrap_or(i64::MAX);
                    let what = format!("{label} is none of the classes 0 to {}", out.len() - 1);
                    self.tell(&value.port.name, Some(self.step), &what);
                }
            }
            return;
        }
        array.fill(row * out.len(), out);
        if let Some(bad) = out.iter().copied().find(|x| !x.is_finite()) {
            let what = format!("{bad} is no finite number of single precision");
            self.tell(&value.port.name, Some(self.step), &what);
            out.fill(0.0);
        }
    }

    /// Targets and weights of the current step.
    fn read_targets(&mut self, targets: &mut [f32], weights: &mut [f32]) {
        let data = Arc::clone(&self.data);
        let split = data.part(self.part);
        let mut rest = targets;
        for (k, (value, array)) in data.layout.targets.iter().zip(&split.targets).enumerate() {
            let (own, others) = rest.split_at_mut(value.port.size);
            weights[k] = self.weight(k, value.when);
            if weights[k] == 0.0 {
                // What stands in the file where nothing is wanted may be no number.
                own.fill(0.0);
            } else {
                self.read(value, array, own);
            }
            rest = others;
        }
    }
}

impl Lane for SequenceLane {
    fn reset(&mut self, key: EpisodeKey) {
        self.fault = None;
        self.step = 0;
        self.part = key.part;
        let (count, index) = (self.split().sequences, key.index());
        if key.part != Part::Train && index >= count as u64 {
            // The last batch of a part that is looked at once may have lanes left over.
            (self.sequence, self.length) = (0, 0);
            return;
        }
        self.sequence = if self.data.shuffled && key.part == Part::Train {
            shuffled(key.seed, index, count)
        } else {
            (index % count as u64) as usize
        };
        self.length = self.read_length();
    }

    fn first_state(&mut self, path: &str, out: &mut [f32]) -> bool {
        let data = Arc::clone(&self.data);
        let Some(k) = data
            .layout
            .starts
            .iter()
            .position(|start| start.path == path)
        else {
            return false;
        };
        data.part(self.part).starts[k].fill(self.sequence * out.len(), out);
        if let Some(bad) = out.iter().position(|x| !x.is_finite()) {
            let what = format!(
                "element {bad} is {}, which is no finite number of single precision",
                out[bad]
            );
            self.tell(&format!("{START}{path}"), None, &what);
            out.fill(0.0);
        }
        true
    }

    fn seek(&mut self, step: usize) -> bool {
        self.step = step;
        true
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        if self.step >= self.length {
            inputs.fill(0.0);
            return;
        }
        let data = Arc::clone(&self.data);
        let split = data.part(self.part);
        let mut rest = inputs;
        for (value, array) in data.layout.inputs.iter().zip(&split.inputs) {
            let (own, others) = rest.split_at_mut(value.port.size);
            self.read(value, array, own);
            rest = others;
        }
    }

    fn signals(&mut self, signals: &mut [f32]) {
        signals.fill(0.0);
        if self.step >= self.length {
            return;
        }
        let data = Arc::clone(&self.data);
        let split = data.part(self.part);
        let at = self.sequence * data.layout.steps + self.step;
        for ((name, array), out) in data.layout.signals.iter().zip(&split.signals).zip(signals) {
            *out = array.real(at) as f32;
            if !out.is_finite() {
                self.tell(
                    name,
                    Some(self.step),
                    &format!("{out} is no finite number of single precision"),
                );
                *out = 0.0;
            }
        }
    }

    fn trial_starts(&self) -> bool {
        let at = self.sequence * self.data.layout.steps + self.step;
        let trials = self.split().trials.as_ref();
        self.step < self.length && trials.is_some_and(|trials| trials.real(at) != 0.0)
    }

    fn act(&mut self, _action: usize) -> f32 {
        self.step += 1;
        0.0
    }

    fn target(&mut self, targets: &mut [f32], weights: &mut [f32]) {
        self.read_targets(targets, weights);
        self.step += 1;
    }

    fn show_targets(&mut self, targets: &mut [f32]) {
        let mut weights = vec![0.0; self.data.layout.targets.len()];
        self.read_targets(targets, &mut weights);
    }

    fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}
