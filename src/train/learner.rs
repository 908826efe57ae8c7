//! What a block that trains by itself is given, and what it gives back.

use super::a2c::Parts;
use super::block::EpisodeOptions;
use super::optim::Optimizer;
use super::params::ParamStore;
use super::trainer::NotFinite;

/// Parameters and their optimiser, for some iterations.
pub struct Learner<'a> {
    /// The parameters; those after the iterations when they are done.
    pub parameters: &'a mut ParamStore,
    /// The optimiser, likewise.
    pub optimizer: &'a mut dyn Optimizer,
    /// How the episodes of the first iteration are run; those after it count on.
    pub options: EpisodeOptions,
    /// How many iterations are wanted.
    pub iterations: u64,
    /// Of these the first so many without a step of the optimiser.
    pub burning_in: u64,
}

/// What an iteration gave.
#[derive(Clone, Copy, Debug)]
pub struct Learned {
    /// Terms of the loss.
    pub parts: Parts,
    /// Mean reward of an episode.
    pub reward: f64,
    /// Norm of the gradient before it is clipped.
    pub norm: f64,
}

/// Iterations that were done, fewer than were wanted where something was not finite; parameters, optimiser and states are
/// then as before the iteration that failed.
#[derive(Clone, Debug)]
pub struct Lesson {
    /// What each gave.
    pub done: Vec<Learned>,
    /// What was not finite in the one after them.
    pub stop: Option<NotFinite>,
}
