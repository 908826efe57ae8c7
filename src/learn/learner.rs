//! What a block or a reader that trains by itself is given, and what it gives back.

use super::a2c::Parts;
use super::block::EpisodeOptions;
use super::optim::Optimizer;
use super::trainer::NotFinite;
use crate::engine::params::ParamStore;
use crate::machine::c::{Held, Step, Stop, MOST};

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

impl Learner<'_> {
    /// The steps of its iterations, at most [`MOST`], with a factor on the learning rate by their number from 0. Means of the
    /// parameters go on from those of so many steps; there are none without.
    pub fn steps(&self, rate: impl Fn(u64) -> f64, averaged: Option<u64>) -> Vec<Step> {
        let taken = self.optimizer.state().steps;
        let steps = (0..self.iterations.min(MOST as u64)).map(|k| {
            let number = taken + (k + 1).saturating_sub(self.burning_in).max(1);
            Step {
                burning_in: k < self.burning_in,
                rates: self.optimizer.rates(number, rate(k)),
                average: averaged.map_or(0.0, |before| 1.0 / (before + k + 1) as f32),
            }
        });
        steps.collect()
    }

    /// What a device starts from and changes.
    pub fn held(&mut self) -> Held<'_> {
        let mut held = Held::default();
        for parameter in self.parameters.iter_mut() {
            if parameter.trained {
                held.parameters.push(&mut parameter.values);
            } else {
                held.fixed.push(&parameter.values);
            }
        }
        let moments = self.optimizer.state_mut().moments.iter_mut();
        let arrays = moments.flat_map(|moment| &mut moment.values);
        held.moments = arrays.map(Vec::as_mut_slice).collect();
        held
    }

    /// Counts the steps of so many iterations that were done.
    pub fn count(&mut self, done: usize) {
        self.optimizer.state_mut().steps += (done as u64).saturating_sub(self.burning_in);
    }

    /// What was not finite, by its name.
    pub fn not_finite(&self, stop: Stop) -> NotFinite {
        match stop {
            Stop::Loss => NotFinite::Loss,
            Stop::Gradient => NotFinite::Gradient,
            Stop::Parameter(element) => {
                let mut end = 0;
                let mut parameters = self.parameters.trained();
                let found = parameters.find(|parameter| {
                    end += parameter.values.len();
                    element < end
                });
                NotFinite::Parameter(found.map_or_else(String::new, |p| p.path.clone()))
            }
        }
    }
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
pub struct Lesson<T> {
    /// What each gave.
    pub done: Vec<T>,
    /// What was not finite in the one after them.
    pub stop: Option<NotFinite>,
}
