//! The calling convention of a sweep's machine code: the table of addresses, and the partial sums.

use crate::program::code::{Area, Gathered, Root, RootKind, Source, Sweep};
use crate::program::layout::{filled, PANEL};
use std::collections::BTreeSet;

/// The order of the addresses passed to a function.
pub(crate) mod address {
    use super::Area;

    pub const SUMS: usize = 5;
    /// The vectors that a sweep gathers, one after the other.
    pub const GATHERED: usize = 7;
    const BLOCKS: usize = 8;

    pub fn area(area: Area) -> usize {
        match area {
            Area::Lane => 0,
            Area::Before => 1,
            Area::Record => 2,
            Area::RecordBefore => 3,
            Area::Shared => 4,
        }
    }

    /// The address of a trace on entry to the step.
    pub fn state_in(k: usize) -> usize {
        BLOCKS + k
    }

    /// The address of a trace on exit from the step, with `blocks` blocks.
    pub fn state_out(k: usize, blocks: usize) -> usize {
        BLOCKS + blocks + k
    }

    /// The address of a trace's adjoint.
    pub fn adjoint(k: usize, blocks: usize) -> usize {
        BLOCKS + 2 * blocks + k
    }
}

/// The position of the address of the partial sums.
pub(crate) const PARTIAL: usize = 6;

/// The offset of a root's partial sums, and with the number of roots their size in elements. A sum over post
/// has a panel per row, a sum over both sides has one panel.
pub(crate) fn partial_offset(sweep: &Sweep, root: usize) -> usize {
    let rows = sweep.layout.rows;
    let posts = |roots: &[Root]| {
        roots
            .iter()
            .filter(|r| matches!(r.kind, RootKind::SumPost(..)))
            .count()
    };
    let both = |roots: &[Root]| {
        roots
            .iter()
            .filter(|r| matches!(r.kind, RootKind::SumBoth(..)))
            .count()
    };
    let before = &sweep.roots[..root];
    match sweep.roots.get(root).map(|r| r.kind) {
        Some(RootKind::SumPost(..)) => posts(before) * rows * PANEL,
        _ => (posts(&sweep.roots) * rows + both(before)) * PANEL,
    }
}

/// The vectors that a sweep gathers, in order.
pub(crate) fn gathers(sweep: &Sweep) -> BTreeSet<Gathered> {
    let operands = sweep.ops.iter().flat_map(|op| op.operands);
    let roots = sweep.roots.iter();
    let roots = roots.flat_map(|root| [Some(root.value), root.times]);
    let all = operands.chain(roots.flatten());
    all.filter_map(|source| match source {
        Source::Gathered(gathered) => Some(gathered),
        _ => None,
    })
    .collect()
}

/// The place of a gathered vector among those of its sweep.
pub(crate) fn gathered_at(sweep: &Sweep, gathered: Gathered) -> usize {
    gathers(sweep).range(..gathered).count() * filled(sweep.layout.cols)
}

/// Returns true if all offsets fit into the 32 bits that instructions have for them.
pub(crate) fn has_short_offsets(sweep: &Sweep) -> bool {
    let most = i32::MAX as usize / 16;
    let at = |source: Source| match source {
        Source::Matrix(_, at) => at,
        Source::Post(place) | Source::Pre(place) => place.at,
        Source::Gathered(g) => gathered_at(sweep, g),
        Source::Temporary(_) | Source::State(_) | Source::Adjoint(_) | Source::Number(_) => 0,
    };
    let of_root = |kind: RootKind| match kind {
        RootKind::SumPre(_, at)
        | RootKind::MaxPre(_, at)
        | RootKind::SumPost(_, at)
        | RootKind::MaxPost(_, at)
        | RootKind::SumBoth(_, at)
        | RootKind::MaxBoth(_, at)
        | RootKind::Gradient(at) => at,
        RootKind::State(_) | RootKind::Adjoint(_) => 0,
    };
    let operands = sweep.ops.iter().flat_map(|op| op.operands);
    let roots = sweep.roots.iter();
    sweep.layout.size() < most
        && partial_offset(sweep, sweep.roots.len()) < most
        && operands.map(at).all(|at| at < most)
        && roots.clone().all(|root| of_root(root.kind) < most)
        && roots
            .flat_map(|root| [Some(root.value), root.times])
            .flatten()
            .all(|source| at(source) < most)
}

/// A function that reads and writes the memories whose addresses are in the table.
pub(crate) type Function = unsafe extern "C" fn(*const *mut f32);
