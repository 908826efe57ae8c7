//! The number types with generated code, or code for the CPU's vectors.

use super::jit::Machine;
use super::lane::Memory;
use super::mat_vec::together;
use super::vectors::VectorCode;
use crate::ir::Real;
use crate::program::code::{OuterSum, Product, Sweep};

/// A number type that lanes can run in.
pub trait Native: Real {
    /// Runs a sweep with code prepared for this precision; returns whether there is some.
    #[doc(hidden)]
    fn compiled(machine: &Machine, k: usize, sweep: &Sweep, memory: &mut Memory<'_, Self>) -> bool {
        let _ = (machine, k, sweep, memory);
        false
    }
    /// Runs the machine code of vector code that begins with instruction `k`; returns the instruction after it, or `None`
    /// without code for this precision.
    #[doc(hidden)]
    fn straight(
        code: &VectorCode,
        k: usize,
        outers: &[OuterSum],
        memory: &mut Memory<'_, Self>,
    ) -> Option<usize> {
        let _ = (code, k, outers, memory);
        None
    }
    /// Computes products of up to [`LANES`](together::LANES) vectors with one matrix, each as `mat_vec` does;
    /// returns whether there is code for it.
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

    fn straight(
        code: &VectorCode,
        k: usize,
        outers: &[OuterSum],
        memory: &mut Memory<'_, f32>,
    ) -> Option<usize> {
        code.run(k, outers, memory)
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
