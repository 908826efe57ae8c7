//! Stages without states: a graph evaluated for all rows (steps of all lanes) at once, in f32.
//!
//! A product with a shared matrix is one matrix product, and so is its gradient. A one-hot input is never
//! expanded: its product with a matrix selects rows, and the gradient is added to those rows. Results do not
//! depend on the number of threads: the division of work follows from sizes alone.

mod apply;
mod product;
mod table;

pub use apply::Scratch;
pub use product::{product, Matrix};
pub use table::{Hot, Table};

use crate::ir::{Graph, ResultKind};
use apply::Evaluation;

/// The leaves of a graph, by slot. Tables have as many rows as are evaluated.
#[derive(Clone, Debug, Default)]
pub struct Leaves<'a> {
    /// The parameters, row-major.
    pub params: Vec<&'a [f32]>,
    /// Inputs.
    pub inputs: Vec<Table<'a>>,
    /// The samples of noise.
    pub noises: Vec<Table<'a>>,
    /// The adjoints of outputs.
    pub seeds: Vec<Table<'a>>,
}

/// Evaluates the results of a graph without states for `rows` rows. Shared results have one row.
///
/// The graph is a step or an adjoint of values that [`crate::step::split`] gives to rows, and there is a leaf for every slot that it reads.
pub fn evaluate<'a>(
    graph: &'a Graph,
    rows: usize,
    leaves: &Leaves<'a>,
    scratch: &mut Scratch,
) -> Vec<(ResultKind, Table<'a>)> {
    Evaluation::new(graph, rows, leaves, scratch).run()
}

#[cfg(test)]
mod tests;
