//! Tasks whose network takes several steps in each of their own.

use super::{Company, EpisodeKey, Lane, Outcome, Part, Score, Task, Text};
use crate::lang::catalog::{Actions, Port};

/// A task with so many steps of the network in each of its own.
pub(super) struct Substeps {
    task: Box<dyn Task>,
    count: usize,
}

impl Substeps {
    pub fn new(task: Box<dyn Task>, count: usize) -> Substeps {
        Substeps { task, count }
    }

    fn around(&self, lane: Box<dyn Lane>) -> Box<dyn Lane> {
        let sum = |ports: Vec<Port>| ports.iter().map(|port| port.size).sum();
        Box::new(SubstepLane {
            lane,
            count: self.count,
            done: 0,
            between: false,
            inputs: vec![0.0; sum(self.task.inputs())],
            signals: vec![0.0; self.task.signals().len()],
        })
    }
}

impl Task for Substeps {
    fn steps(&self) -> usize {
        self.count * self.task.steps()
    }

    fn sizes(&self) -> Vec<Port> {
        self.task.sizes()
    }

    fn inputs(&self) -> Vec<Port> {
        self.task.inputs()
    }

    fn signals(&self) -> Vec<&str> {
        self.task.signals()
    }

    fn actions(&self) -> Option<Actions> {
        self.task.actions()
    }

    fn targets(&self) -> Vec<Port> {
        self.task.targets()
    }

    fn sequences(&self, part: Part) -> Option<usize> {
        self.task.sequences(part)
    }

    fn outline(&self) -> Option<Vec<u8>> {
        self.task.outline()
    }

    fn text(&self) -> Option<&Text> {
        self.task.text()
    }

    fn lane(&self) -> Box<dyn Lane> {
        self.around(self.task.lane())
    }

    fn substeps(&self) -> usize {
        self.count
    }

    fn streams(&self) -> bool {
        self.task.streams()
    }

    fn longest(&self) -> usize {
        self.count * self.task.longest()
    }

    fn groups(&self) -> Option<usize> {
        self.task.groups()
    }

    fn companies(&self, sizes: &[usize]) -> Result<Vec<Company>, String> {
        let companies = self.task.companies(sizes)?.into_iter();
        let around = |company: Company| Company {
            lanes: company
                .lanes
                .into_iter()
                .map(|lane| self.around(lane))
                .collect(),
            together: company.together,
        };
        Ok(companies.map(around).collect())
    }
}

/// A lane of such a task.
struct SubstepLane {
    lane: Box<dyn Lane>,
    count: usize,
    /// Steps of the network in the present step of the task.
    done: usize,
    between: bool,
    /// The observation and the signals of the present step of the task.
    inputs: Vec<f32>,
    signals: Vec<f32>,
}

impl SubstepLane {
    /// Counts a step of the network; returns true if it was the last of a step of the task.
    fn ends(&mut self) -> bool {
        self.done = (self.done + 1) % self.count;
        self.between = self.done != 0;
        !self.between
    }
}

impl Lane for SubstepLane {
    fn reset(&mut self, key: EpisodeKey) {
        self.done = 0;
        self.between = false;
        self.lane.reset(key);
    }

    fn first_state(&mut self, path: &str, out: &mut [f32]) -> bool {
        self.lane.first_state(path, out)
    }

    fn seek(&mut self, step: usize) -> bool {
        step.is_multiple_of(self.count) && self.lane.seek(step / self.count)
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        if self.done == 0 {
            self.lane.observe(&mut self.inputs);
            self.lane.signals(&mut self.signals);
        }
        inputs.copy_from_slice(&self.inputs);
    }

    fn signals(&mut self, signals: &mut [f32]) {
        signals.copy_from_slice(&self.signals);
    }

    fn trial_starts(&self) -> bool {
        self.done == 0 && self.lane.trial_starts()
    }

    fn act(&mut self, action: usize) -> f32 {
        self.act_with(&[action as f32])
    }

    fn act_with(&mut self, action: &[f32]) -> f32 {
        if self.ends() {
            self.lane.act_with(action)
        } else {
            0.0
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        self.lane.outcome()
    }

    fn is_between(&self) -> bool {
        self.between
    }

    fn is_over(&self) -> bool {
        self.lane.is_over()
    }

    fn streams(&self) -> bool {
        self.lane.streams()
    }

    fn target(&mut self, targets: &mut [f32], weights: &mut [f32]) {
        if self.ends() {
            self.lane.target(targets, weights);
        } else {
            targets.fill(0.0);
            weights.fill(0.0);
        }
    }

    fn show_targets(&mut self, targets: &mut [f32]) {
        self.lane.show_targets(targets);
    }

    fn fault(&self) -> Option<&str> {
        self.lane.fault()
    }

    fn score(&self, outputs: &[f32]) -> Option<Score> {
        self.lane.score(outputs)
    }
}
