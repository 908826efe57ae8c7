//! Tasks: where observations, rewards and targets come from. One task a file, one line in [`TASKS`].

use crate::settings::{Setting, SettingConflict, Settings};

/// A task as the compiler sees it: its name, its settings and how to build it.
pub struct TaskInfo {
    /// The word after `task`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
    /// Builds it from checked settings.
    pub build: fn(&Settings) -> Result<Box<dyn Task>, SettingConflict>,
}

/// All tasks, by name.
pub static TASKS: &[TaskInfo] = &[];

/// A named vector that a task gives or takes each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub size: usize,
}

/// A task with fixed settings. Shared by all lanes; holds no episode state.
pub trait Task: Send + Sync {
    /// Steps of an episode.
    fn steps(&self) -> usize;

    /// Sizes a spec can name as `task.NAME`, in a fixed order.
    fn sizes(&self) -> Vec<Port>;

    /// Vectors it gives as inputs each step, in the order [`Lane::observe`] writes them.
    fn inputs(&self) -> Vec<Port>;

    /// Scalars it gives as `external NAME`, in the order [`Lane::signals`] writes them.
    fn signals(&self) -> &'static [&'static str];

    /// Outputs for which it has targets; empty for a reward task.
    fn targets(&self) -> Vec<Port>;

    /// A fresh lane. [`Lane::reset`] must be called before anything else.
    fn lane(&self) -> Box<dyn Lane>;
}

/// What an episode is drawn from: with the same key, the same episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeKey {
    /// Seed of the run.
    pub seed: u64,
    /// Iteration of the trainer.
    pub iteration: u32,
    /// Lane in the batch.
    pub lane: u32,
}

/// One lane of a task: one episode at a time.
pub trait Lane: Send {
    /// Starts the episode of `key` at step 0.
    fn reset(&mut self, key: EpisodeKey);

    /// Writes the inputs of the current step, one after another, into `inputs`.
    fn observe(&mut self, inputs: &mut [f32]);

    /// Writes the signals of the current step.
    fn signals(&mut self, signals: &mut [f32]);

    /// Whether the current step is the first of a trial.
    fn trial_starts(&self) -> bool {
        false
    }

    /// Ends the current step of a reward task with `action`; returns the reward it earned.
    fn act(&mut self, action: usize) -> f32;

    /// Writes the targets of the current step of a supervised task, ends the step, and returns the
    /// weight of its loss (0 where the output does not matter).
    fn target(&mut self, targets: &mut [f32]) -> f32;
}
