//! The phases of an iteration and their times.

use crate::engine::episode::Times;
use std::ops::AddAssign;

/// The seconds of one iteration by phase. The first three are CPU seconds, added over the blocks of lanes
/// that ran in parallel, so with several threads their sum may exceed the time of the iteration. A phase that
/// was not measured is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// The forward pass, without steps recomputed for the backward pass.
    pub forward: f64,
    /// The task: observations, sampled actions, rewards, noise; and the loss with its adjoints.
    pub task: f64,
    /// The backward pass, with the steps recomputed for it.
    pub backward: f64,
    /// Summing the gradients of all blocks, clipping, and the optimizer step.
    pub update: f64,
}

impl Phases {
    /// The sum of all phases.
    pub fn total(&self) -> f64 {
        self.forward + self.task + self.backward + self.update
    }
}

impl From<Times> for Phases {
    fn from(times: Times) -> Phases {
        Phases {
            forward: times.forward,
            task: times.environment,
            backward: times.backward,
            update: 0.0,
        }
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
