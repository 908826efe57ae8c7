//! Where the time of an iteration goes.

use std::ops::AddAssign;

/// Seconds of one iteration by what was done in them. The first three are processor seconds, added over the
/// blocks of lanes that ran side by side; so with several threads they may add up to more than the
/// iteration took. A phase that was not measured is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// The network forwards, what is replayed for the way back not included.
    pub forward: f64,
    /// The task: observations, sampled actions, rewards, noise; and the loss with its adjoints.
    pub task: f64,
    /// The adjoint, with what is replayed for it.
    pub backward: f64,
    /// Gradients of all blocks added up and clipped, and the step of the optimiser.
    pub update: f64,
}

impl Phases {
    /// All of them together.
    pub fn total(&self) -> f64 {
        self.forward + self.task + self.backward + self.update
    }
}

impl AddAssign for Phases {
    fn add_assign(&mut self, other: Phases) {
        self.forward += other.forward;
        self.task += other.task;
        self.backward += other.backward;
        self.update += other.update;
    }
}
