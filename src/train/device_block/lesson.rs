//! Whole iterations on a device: parameters and moments go there and come back.

use super::DeviceBlock;
use crate::backend::fused::device::{Start, Step, Stop, MOST};
use crate::backend::BackendError;
use crate::train::a2c::Parts;
use crate::train::learner::{Learned, Learner, Lesson};
use crate::train::params::ParamStore;
use crate::train::trainer::NotFinite;

impl DeviceBlock {
    /// Has the device do iterations; nothing where it cannot.
    pub(super) fn lesson(&mut self, learner: Learner<'_>) -> Result<Option<Lesson>, BackendError> {
        let Learner {
            parameters,
            optimizer,
            options,
            iterations,
            burning_in,
        } = learner;
        let taken = optimizer.state().steps;
        let steps: Vec<Step> = (0..iterations.min(MOST as u64))
            .map(|k| Step {
                burning_in: k < burning_in,
                rates: optimizer.rates(taken + (k + 1).saturating_sub(burning_in).max(1), 1.0),
            })
            .collect();
        let flat = |trained: bool| -> Vec<f32> {
            let chosen = parameters.iter().filter(|p| p.trained == trained);
            chosen.flat_map(|p| p.values.iter().copied()).collect()
        };
        let moments = optimizer.state().moments.iter();
        let moments: Vec<f32> = moments.flat_map(|m| m.values.concat()).collect();
        let (run, carried) = (self.episodes(&options), self.carried_in());
        let start = Start {
            parameters: &flat(true),
            fixed: &flat(false),
            moments: &moments,
            carried: &carried,
        };
        let Some(trained) = self.on.iterate(&run, start, &steps)? else {
            return Ok(None);
        };
        let mut values = trained.parameters.as_slice();
        for parameter in parameters.iter_mut().filter(|p| p.trained) {
            take(&mut values, &mut parameter.values);
        }
        let state = optimizer.state_mut();
        let mut values = trained.moments.as_slice();
        for own in state.moments.iter_mut().flat_map(|m| &mut m.values) {
            take(&mut values, own);
        }
        state.steps += (trained.done.len() as u64).saturating_sub(burning_in);
        self.keep_carried(&trained.carried);
        // Those of an iteration that failed were left behind.
        self.carried_before.clone_from(&self.carried);
        let stop = trained.stop.map(|stop| match stop {
            Stop::Loss => NotFinite::Loss,
            Stop::Gradient => NotFinite::Gradient,
            Stop::Parameter(values) => NotFinite::Parameter(not_finite(parameters, &values)),
        });
        let lanes = self.count.max(1) as f64;
        let done = trained.done.iter().map(|done| {
            let [policy, value, concentration, entropy] = done.parts;
            Learned {
                parts: Parts {
                    policy,
                    value,
                    concentration,
                    entropy,
                },
                reward: done.reward / lanes,
                norm: done.norm,
            }
        });
        Ok(Some(Lesson {
            done: done.collect(),
            stop,
        }))
    }
}

/// The next elements, as many as there is room for.
fn take(from: &mut &[f32], to: &mut [f32]) {
    let (own, rest) = from.split_at(to.len());
    to.copy_from_slice(own);
    *from = rest;
}

/// Path of the first parameter that has an element that is not finite among these.
fn not_finite(parameters: &ParamStore, values: &[f32]) -> String {
    let mut rest = values;
    let found = parameters.trained().find(|parameter| {
        let (own, others) = rest.split_at(parameter.values.len());
        rest = others;
        own.iter().any(|x| !x.is_finite())
    });
    found.map_or_else(String::new, |parameter| parameter.path.clone())
}
