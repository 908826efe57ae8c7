//! The watch over every iteration: whether parameters are still finite, and what a step of the optimizer started
//! from, so that one that leads to no numbers can be taken back.

use crate::engine::params::ParamStore;
use crate::learn::gradient::PIECE;
use crate::learn::optim::{Moment, Optimizer};
use rayon::prelude::*;

/// Copies of the trained parameters and the optimizer's memory. The buffers stay from step to step.
#[derive(Debug, Default)]
pub struct Kept {
    parameters: Vec<Vec<f32>>,
    steps: u64,
    moments: Vec<Moment>,
}

impl Kept {
    /// Copies what is now.
    pub fn keep(&mut self, parameters: &ParamStore, optimizer: &dyn Optimizer) {
        self.parameters
            .resize_with(parameters.trained().count(), Vec::new);
        for (kept, parameter) in self.parameters.iter_mut().zip(parameters.trained()) {
            copy(kept, &parameter.values);
        }
        let state = optimizer.state();
        self.steps = state.steps;
        if self.moments.len() != state.moments.len() {
            self.moments.clone_from(&state.moments);
            return;
        }
        for (kept, moment) in self.moments.iter_mut().zip(&state.moments) {
            for (kept, values) in kept.values.iter_mut().zip(&moment.values) {
                copy(kept, values);
            }
        }
    }

    /// Puts back what was copied last.
    pub fn put_back(&self, parameters: &mut ParamStore, optimizer: &mut dyn Optimizer) {
        let values = parameters.trained_values_mut();
        for (values, kept) in values.into_iter().zip(&self.parameters) {
            values.copy_from_slice(kept);
        }
        let state = optimizer.state_mut();
        state.steps = self.steps;
        state.moments.clone_from(&self.moments);
    }
}

/// Copies, shared by threads.
fn copy(to: &mut Vec<f32>, from: &[f32]) {
    to.resize(from.len(), 0.0);
    to.par_chunks_mut(PIECE)
        .zip(from.par_chunks(PIECE))
        .for_each(|(to, from)| to.copy_from_slice(from));
}

/// Path of the first trained parameter with a value that is not finite.
pub fn first_not_finite(parameters: &ParamStore) -> Option<&str> {
    parameters
        .trained()
        .find(|parameter| !parameter.values.par_chunks(PIECE).all(all_finite))
        .map(|parameter| parameter.path.as_str())
}

/// Whether all values are finite. Looks at all of them, which the processor does many at a time.
fn all_finite(values: &[f32]) -> bool {
    const MAGNITUDE: u32 = 0x7fff_ffff;
    let largest = values
        .iter()
        .fold(0, |largest, x| (x.to_bits() & MAGNITUDE).max(largest));
    largest < f32::INFINITY.to_bits()
}

#[cfg(test)]
mod tests {
    use super::all_finite;

    #[test]
    fn only_numbers_are_finite() {
        assert!(all_finite(&[]));
        assert!(all_finite(&[0.0, -0.0, f32::MAX, f32::MIN, 1e-45]));
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = [1.0; 37];
            values[23] = bad;
            assert!(!all_finite(&values), "{bad}");
        }
    }
}
