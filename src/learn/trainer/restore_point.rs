//! A copy of parameters and optimizer before each step. A step that produces a non-finite value is undone with it.

use crate::engine::params::ParamStore;
use crate::learn::gradient::PIECE;
use crate::learn::optim::{Moment, Optimizer};
use rayon::prelude::*;

/// Copies of the trained parameters and the optimizer's memory. The buffers stay from step to step.
#[derive(Debug, Default)]
pub struct RestorePoint {
    parameters: Vec<Vec<f32>>,
    steps: u64,
    moments: Vec<Moment>,
}

impl RestorePoint {
    /// Copies the current values.
    pub fn save(&mut self, parameters: &ParamStore, optimizer: &dyn Optimizer) {
        self.parameters
            .resize_with(parameters.trained().count(), Vec::new);
        for (saved, parameter) in self.parameters.iter_mut().zip(parameters.trained()) {
            copy(saved, &parameter.values);
        }
        let state = optimizer.state();
        self.steps = state.steps;
        if self.moments.len() != state.moments.len() {
            self.moments.clone_from(&state.moments);
            return;
        }
        for (saved, moment) in self.moments.iter_mut().zip(&state.moments) {
            for (saved, values) in saved.values.iter_mut().zip(&moment.values) {
                copy(saved, values);
            }
        }
    }

    /// Writes the values of the last copy back.
    pub fn restore(&self, parameters: &mut ParamStore, optimizer: &mut dyn Optimizer) {
        let values = parameters.trained_values_mut();
        for (values, saved) in values.into_iter().zip(&self.parameters) {
            values.copy_from_slice(saved);
        }
        let state = optimizer.state_mut();
        state.steps = self.steps;
        state.moments.clone_from(&self.moments);
    }
}

/// Copies on all threads.
fn copy(to: &mut Vec<f32>, from: &[f32]) {
    to.resize(from.len(), 0.0);
    to.par_chunks_mut(PIECE)
        .zip(from.par_chunks(PIECE))
        .for_each(|(to, from)| to.copy_from_slice(from));
}

/// The path of the first trained parameter with a non-finite value.
pub fn first_not_finite(parameters: &ParamStore) -> Option<&str> {
    parameters
        .trained()
        .find(|parameter| !parameter.values.par_chunks(PIECE).all(all_finite))
        .map(|parameter| parameter.path.as_str())
}

/// Tells if all values are finite. It reads all of them, because the CPU then takes many at a time.
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
