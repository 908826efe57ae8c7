//! Engines: what runs lanes of a network through episodes, forward and back, step by step.
//!
//! An engine knows states, inputs, outputs and gradients, and nothing of tasks, losses and optimizers: those are the
//! [`Environment`] of the lanes. Lanes that go in step share one. Which lanes do, and how often states are kept, does not
//! change any number.

use super::BackendError;
use crate::ir::{Graph, StateSlot};
use crate::machine::kernel::KernelReport;
use std::ops::AddAssign;

/// Values of states by slot, lane by lane; `None` where a state is at its first values.
pub type States = Vec<Option<Vec<f64>>>;

/// The options of a batch of episodes.
#[derive(Clone, Copy, Debug)]
pub struct EpisodeRun<'a> {
    /// Steps; fewer are run where the environment is over before.
    pub steps: usize,
    /// True to go back through them.
    pub learn: bool,
    /// The states that enter the first step, of all lanes.
    pub states: &'a [Option<Vec<f64>>],
    /// The wish to get all states back, and not only those that outlive an episode.
    pub all_states: bool,
    /// The wish to get the adjoints of the first states.
    pub first_adjoints: bool,
}

/// The results of a batch of episodes.
#[derive(Clone, Debug, Default)]
pub struct EpisodesRan {
    /// The states that are given back, of all lanes; `None` for others.
    pub states: States,
    /// Gradients of trained parameters, by slot; empty unless the engine went back.
    pub gradients: Vec<Option<Vec<f64>>>,
    /// Adjoints of the first states, where they are wanted; empty unless the engine went back.
    pub first_adjoints: States,
    /// The time of each phase.
    pub times: Times,
}

/// Seconds of processors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// Steps forward.
    pub forward: f64,
    /// The environments.
    pub environment: f64,
    /// The way back.
    pub backward: f64,
}

impl AddAssign for Times {
    fn add_assign(&mut self, other: Times) {
        self.forward += other.forward;
        self.environment += other.environment;
        self.backward += other.backward;
    }
}

/// Runs episodes of lanes.
pub trait Engine: Send {
    /// The step, for its slots.
    fn graph(&self) -> &Graph;

    /// The number of lanes that go in step, group after group. Each group has an environment.
    fn groups(&self) -> Vec<usize>;

    /// Runs one episode in every lane with parameters by slot; the threads of the pool share the groups.
    ///
    /// # Errors
    /// Those of the engine and of the environments.
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        run: EpisodeRun<'_>,
        environments: &mut [&mut dyn Environment],
    ) -> Result<EpisodesRan, BackendError>;

    /// Takes the times of kernels in what is run from now on, or no longer.
    fn measure_kernels(&mut self, _on: bool) {}

    /// The work and time of each kernel since [`Engine::measure_kernels`]; empty where the engine has no kernels
    /// of its own.
    fn kernels(&self) -> Vec<KernelReport> {
        Vec::new()
    }
}

/// The world of a group of lanes: it gives the inputs of a step and sees its outputs before it gives those of the next.
pub trait Environment: Send {
    /// Begins an episode.
    ///
    /// # Errors
    /// Fails as the environment does.
    fn start(&mut self) -> Result<(), BackendError>;

    /// The values that a state of a lane begins the episode with, instead of those of the run; asked for after
    /// [`Environment::start`].
    fn first_state(&self, _lane: usize, _slot: usize) -> Option<&[f64]> {
        None
    }

    /// Gives inputs and noise of a step.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn before(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError>;

    /// Sees what a step gave.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn after(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError>;

    /// Returns true if nothing that later steps give would be used: then they are not run.
    fn is_over(&self) -> bool {
        false
    }

    /// Ends an episode: from now on there are adjoints.
    fn finish(&mut self);

    /// The slots of the outputs that it sees.
    fn reads(&self) -> Vec<usize>;

    /// The adjoint of a lane's output at a step; `None` where it is 0.
    fn adjoint(&self, lane: usize, step: usize, slot: usize) -> Option<&[f64]>;
}

/// Lanes between two steps, numbered from the first of their group. Values of all of them stand lane by lane.
pub trait Running {
    /// Sets an input of a lane.
    fn set_input(&mut self, lane: usize, slot: usize, values: &[f32]);

    /// Sets the noise of a lane.
    fn set_noise(&mut self, lane: usize, slot: usize, values: &[f64]);

    /// Sets the noise of all lanes.
    fn set_noises(&mut self, slot: usize, values: &[f64]);

    /// An output of a lane.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn output(&mut self, lane: usize, slot: usize, out: &mut Vec<f64>) -> Result<(), BackendError>;

    /// Sets an input of all lanes.
    fn set_inputs(&mut self, slot: usize, values: &[f64]);

    /// An output of all lanes.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn outputs(&mut self, slot: usize) -> Result<Vec<f64>, BackendError>;

    /// A state of all lanes: before a step that which enters it, after it that which left it.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn state(&mut self, slot: usize) -> Result<Vec<f64>, BackendError>;

    /// Changes a state of all lanes.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError>;

    /// A value of the last step by its name, of all lanes, where the engine still has it as it was computed.
    fn named(&self, name: &str) -> Option<Vec<f64>>;
}

impl EpisodeRun<'_> {
    /// Tells if the run gives a state back.
    pub(super) fn gives(&self, state: &StateSlot) -> bool {
        self.all_states || state.outlives()
    }
}

/// Adds the states of more lanes.
pub(super) fn extend(all: &mut States, more: States) {
    all.resize(all.len().max(more.len()), None);
    for (all, values) in all.iter_mut().zip(more) {
        if let Some(values) = values {
            all.get_or_insert_default().extend(values);
        }
    }
}

/// The part of states that belongs to `count` lanes from `first`, of `lanes`.
pub fn part(
    states: &[Option<Vec<f64>>],
    slot: usize,
    [first, count, lanes]: [usize; 3],
) -> Option<&[f64]> {
    let values = states.get(slot)?.as_ref()?;
    let width = values.len() / lanes.max(1);
    values.get(first * width..(first + count) * width)
}
