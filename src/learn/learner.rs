//! The interface to blocks and readers that train by themselves: their inputs and results.

use super::a2c::Parts;
use super::block::EpisodeOptions;
use super::optim::Optimizer;
use super::rate::Rate;
use super::trainer::NotFinite;
use crate::engine::device::{HostArrays, Step, Stop, MOST};
use crate::engine::params::ParamStore;

/// The parameters and their optimizer, for some iterations.
pub struct Learner<'a> {
    /// The parameters; updated when the iterations are done.
    pub parameters: &'a mut ParamStore,
    /// The optimizer; updated when the iterations are done.
    pub optimizer: &'a mut dyn Optimizer,
    /// The options of the first iteration's episodes; later iterations count on.
    pub options: EpisodeOptions,
    /// The number of wanted iterations.
    pub iterations: u64,
    /// The number of iterations, from the first on, without an optimizer step.
    pub burning_in: u64,
    /// The factor on the learning rate of each iteration of episodes.
    pub rate: Rate,
}

impl Learner<'_> {
    /// The optimizer steps of the iterations, at most [`MOST`]; `rate` is the factor on the learning rate by
    /// number, from 0. `averaged` is the number of steps in the running means of the parameters; `None`
    /// without means.
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

    /// The arrays that a device starts from and updates.
    pub fn host_arrays(&mut self) -> HostArrays<'_> {
        let mut host = HostArrays::default();
        for parameter in self.parameters.iter_mut() {
            if parameter.trained {
                host.parameters.push(&mut parameter.values);
            } else {
                host.fixed.push(&parameter.values);
            }
        }
        let moments = self.optimizer.state_mut().moments.iter_mut();
        let arrays = moments.flat_map(|moment| &mut moment.values);
        host.moments = arrays.map(Vec::as_mut_slice).collect();
        host
    }

    /// Counts the optimizer steps of `done` iterations.
    pub fn count(&mut self, done: usize) {
        self.optimizer.state_mut().steps += (done as u64).saturating_sub(self.burning_in);
    }

    /// The non-finite value, with its name.
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

/// The results of an iteration.
#[derive(Clone, Copy, Debug)]
pub struct IterationResult {
    /// The terms of the loss.
    pub parts: Parts,
    /// The mean reward per episode.
    pub reward: f64,
    /// The norm of the gradient before clipping.
    pub norm: f64,
}

/// The results of several iterations. There are fewer than wanted if a value was not finite; parameters,
/// optimizer and states are then as before the failed iteration.
#[derive(Clone, Debug)]
pub struct IterationResults<T> {
    /// The results of each iteration.
    pub done: Vec<T>,
    /// The non-finite value in the iteration after them.
    pub stop: Option<NotFinite>,
}
