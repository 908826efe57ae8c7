//! How machine code of a sweep is called: the table of addresses it is given, and its partial sums.

use crate::program::code::{Area, Root, RootKind, Source, Sweep};
use crate::program::layout::PANEL;

/// Order of the addresses a function is given.
pub(crate) mod address {
    use super::Area;

    pub const SUMS: usize = 5;
    const BLOCKS: usize = 7;

    pub fn area(area: Area) -> usize {
        match area {
            Area::Lane => 0,
            Area::Before => 1,
            Area::Record => 2,
            Area::RecordBefore => 3,
            Area::Shared => 4,
        }
    }

    /// A trace that enters the step.
    pub fn state_in(k: usize) -> usize {
        BLOCKS + k
    }

    /// A trace that leaves it, of `blocks`.
    pub fn state_out(k: usize, blocks: usize) -> usize {
        BLOCKS + blocks + k
    }

    /// The adjoint of a trace.
    pub fn adjoint(k: usize, blocks: usize) -> usize {
        BLOCKS + 2 * blocks + k
    }
}

/// Where the address of the partial sums is.
pub(crate) const PARTIAL: usize = 6;

/// Elements of the partial sums of a sweep, and where those of a root begin: sums over post have a panel for every
/// row, sums over both one.
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

/// Whether all offsets fit the instructions, which have 32 bits for them.
pub(crate) fn has_short_offsets(sweep: &Sweep) -> bool {
    let most = i32::MAX as usize / 16;
    let at = |source: Source| match source {
        Source::Matrix(_, at) => at,
        Source::Post(place) | Source::Pre(place) => place.at,
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

/// Reads and writes the memories whose addresses are in the table.
pub(crate) type Function = unsafe extern "C" fn(*const *mut f32);
