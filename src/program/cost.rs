//! The cost of a sweep per connection.

use super::access::sources;
use super::code::{Element, RootKind, Source, Sweep};
use super::extent::Extent;
use std::collections::BTreeSet;

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
    let count = |f: Element| match f {
        Element::MulAdd | Element::MulSub | Element::NegMulAdd => 2,
        Element::Copy => 0,
        _ => 1,
    };
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
