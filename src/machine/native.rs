//! Which numbers have code that was generated, or written for the vectors of the processor.

use super::jit::Machine;
use super::lane::Memory;
use super::mat_vec::together;
use super::math::Real;
use crate::program::code::{Product, Sweep};

/// A number in which lanes can run.
pub trait Native: Real {
    /// Runs a sweep as it was prepared for this precision; returns whether it was.
    #[doc(hidden)]
    fn compiled(machine: &Machine, k: usize, sweep: &Sweep, memory: &mut Memory<'_, Self>) -> bool {
        let _ = (machine, k, sweep, memory);
        false
    }
    /// Products of up to [`LANES`](together::LANES) vectors with one matrix, as `mat_vec` makes each; returns whether
    /// there is code for it.
    #[doc(hidden)]
    fn products(
        form: Product,
        parts: &mut [(&mut [Self], &[Self])],
        matrix: &[Self],
        sizes: [usize; 2],
    ) -> bool {
        let _ = (form, parts, matrix, sizes);
        false
    }
}

impl Native for f64 {}

impl Native for f32 {
    fn compiled(machine: &Machine, k: usize, sweep: &Sweep, memory: &mut Memory<'_, f32>) -> bool {
        machine.run(k, sweep, memory);
        true
    }

    fn products(
        form: Product,
        parts: &mut [(&mut [f32], &[f32])],
        matrix: &[f32],
        sizes: [usize; 2],
    ) -> bool {
        together::products(form, parts, matrix, sizes)
    }
}
