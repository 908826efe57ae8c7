//! The cost of a sweep per connection, and of vector code.

use super::access::{reads, sources, writes};
use super::code::{Element, Instr, RootKind, Source, Sweep};
use super::extent::Extent;
use std::collections::BTreeSet;

/// The operations of an element function; one that needs a series counts as one.
fn count(f: Element) -> u64 {
    match f {
        Element::MulAdd | Element::MulSub | Element::NegMulAdd => 2,
        Element::Copy => 0,
        _ => 1,
    }
}

/// The operations and bytes of an instruction outside sweeps. Every operand is read and every result is written; an
/// outer product that is kept counts with its share of the product over many steps.
pub(crate) fn of_vectors(instr: &Instr) -> (u64, u64) {
    let elements = |n: usize| n as u64;
    let (operations, sums) = match *instr {
        Instr::Element { f, n, .. } => (count(f) * elements(n), 0),
        Instr::Sum { n, .. } | Instr::Max { n, .. } => (elements(n), 0),
        Instr::Copy { .. } | Instr::Zero { .. } | Instr::Gather { .. } | Instr::Sweep(_) => (0, 0),
        Instr::Scatter { from, .. } => (elements(from), 0),
        // The largest, a difference, an exponential, a sum, a product.
        Instr::Softmax { n, .. } => (5 * elements(n), 0),
        Instr::MatVec { rows, cols, .. } => (2 * elements(rows * cols), 0),
        Instr::AddTo { n, .. } => (elements(n), 2 * elements(n)),
        Instr::AddOuter { rows, cols, .. } => {
            (2 * elements(rows * cols), 2 * elements(rows * cols))
        }
        Instr::KeepOuter { rows, cols, .. } => (2 * elements(rows * cols), elements(rows + cols)),
    };
    let moved = reads(instr).into_iter().chain(writes(instr));
    let moved: u64 = moved.map(|access| elements(access.n)).sum();
    (operations, 4 * (moved + sums))
}

/// The operations and bytes of a sweep per element of its block. Each block and matrix is read once, each
/// stored value is written once, and gradient sums are both. A multiply-add counts as two operations.
pub(crate) fn per_element(sweep: &Sweep) -> (u64, u64) {
    let read: BTreeSet<Source> = sources(sweep)
        .filter(|source| {
            matches!(
                source,
                Source::State(_) | Source::Adjoint(_) | Source::Matrix(..)
            )
        })
        .collect();
    // What is the same in a whole row or column is computed once for all its connections.
    let extents = Extent::all(&sweep.ops);
    let ops = sweep.ops.iter().zip(extents);
    let ops = ops.filter(|(_, extent)| *extent == Extent::Connection);
    let mut operations: u64 = ops.map(|(op, _)| count(op.f)).sum();
    let mut streams = read.len() as u64;
    for root in &sweep.roots {
        operations += u64::from(root.times.is_some());
        match root.kind {
            RootKind::State(_) | RootKind::Adjoint(_) => streams += 1,
            RootKind::Gradient(_) => {
                streams += 2;
                operations += 1;
            }
            RootKind::SumPre(..)
            | RootKind::MaxPre(..)
            | RootKind::SumPost(..)
            | RootKind::MaxPost(..)
            | RootKind::SumBoth(..)
            | RootKind::MaxBoth(..) => operations += 1,
        }
    }
    (operations, streams * 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::code::{Area, Place, Product};

    #[test]
    fn a_product_reads_its_matrix_and_a_kept_outer_product_has_its_share() {
        let v = Place {
            area: Area::Lane,
            at: 0,
            stride: 1,
        };
        let product = Instr::MatVec {
            to: 64,
            v,
            m: 0,
            rows: 14,
            cols: 100,
            form: Product::ScaledRows,
        };
        // The matrix is stored with 112 columns.
        let moved = 4 * (14 + 14 * 112 + 100);
        assert_eq!(of_vectors(&product), (2 * 14 * 100, moved));
        let outer = Instr::KeepOuter {
            index: 0,
            a: v,
            b: v,
            rows: 14,
            cols: 100,
        };
        assert_eq!(of_vectors(&outer), (2 * 14 * 100, 4 * 2 * 114));
    }
}
