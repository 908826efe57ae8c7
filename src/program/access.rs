//! The memory accesses of an instruction.

use super::code::{Area, Gathered, Instr, Place, Product, Root, RootKind, Source, Sweep};
use super::layout::{filled, Layout};

/// A range of elements of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub area: Area,
    /// The first element.
    pub at: usize,
    /// The number of elements.
    pub n: usize,
}

impl Access {
    /// The access of reading `n` elements at a place.
    pub(crate) fn of(place: Place, n: usize) -> Access {
        Access {
            area: place.area,
            at: place.at,
            n: if place.stride == 0 { 1 } else { n },
        }
    }

    /// Returns true if the two share elements.
    pub(crate) fn meets(self, other: Access) -> bool {
        self.area == other.area && self.at < other.at + other.n && other.at < self.at + self.n
    }

    /// An access to the lane's memory.
    pub(crate) fn lane(at: usize, n: usize) -> Access {
        Access {
            area: Area::Lane,
            at,
            n,
        }
    }
}

/// The reads of an instruction that is not a sweep.
pub(crate) fn reads(instr: &Instr) -> Vec<Access> {
    match *instr {
        Instr::Element { f, operands, n, .. } => operands[..f.arity()]
            .iter()
            .map(|place| Access::of(*place, n))
            .collect(),
        Instr::Sum { a, n, .. }
        | Instr::Max { a, n, .. }
        | Instr::Copy { a, n, .. }
        | Instr::Softmax { a, n, .. }
        | Instr::AddTo { a, n, .. } => vec![Access::of(a, n)],
        Instr::Gather { a, from, .. } | Instr::Scatter { a, from, .. } => vec![Access::of(a, from)],
        Instr::MatVec {
            v,
            m,
            rows,
            cols,
            form,
            ..
        } => {
            let (_, ins) = form.sizes(rows, cols);
            let n = match form {
                Product::ScaledRows => Layout { rows, cols }.size(),
                Product::RowProducts => rows * filled(cols),
            };
            let area = Area::Shared;
            vec![Access::of(v, ins), Access { area, at: m, n }]
        }
        Instr::AddOuter {
            a, b, rows, cols, ..
        }
        | Instr::KeepOuter {
            a, b, rows, cols, ..
        } => vec![Access::of(a, rows), Access::of(b, cols)],
        Instr::Zero { .. } | Instr::Sweep(_) => Vec::new(),
    }
}

/// The writes of an instruction that is not a sweep, without gradient sums.
pub(crate) fn writes(instr: &Instr) -> Option<Access> {
    match *instr {
        Instr::Element { to, n, .. }
        | Instr::Copy { to, n, .. }
        | Instr::Zero { to, n }
        | Instr::Gather { to, n, .. }
        | Instr::Scatter { to, n, .. }
        | Instr::Softmax { to, n, .. } => Some(Access::lane(to, n)),
        Instr::Sum { to, .. } | Instr::Max { to, .. } => Some(Access::lane(to, 1)),
        Instr::MatVec {
            to,
            rows,
            cols,
            form,
            ..
        } => Some(Access::lane(to, form.sizes(rows, cols).0)),
        Instr::AddTo { .. }
        | Instr::AddOuter { .. }
        | Instr::KeepOuter { .. }
        | Instr::Sweep(_) => None,
    }
}

/// All operands of a sweep.
pub(crate) fn sources(sweep: &Sweep) -> impl Iterator<Item = Source> + Clone + '_ {
    let operands = sweep
        .ops
        .iter()
        .flat_map(|op| op.operands[..op.f.arity()].iter().copied());
    let roots = sweep
        .roots
        .iter()
        .flat_map(|root| [Some(root.value), root.times])
        .flatten();
    operands.chain(roots)
}

/// The reads of a sweep, without blocks.
pub(crate) fn sweep_reads(sweep: &Sweep) -> impl Iterator<Item = Access> + '_ {
    let layout = sweep.layout;
    sources(sweep).filter_map(move |source| match source {
        Source::Post(place) => Some(Access::of(place, layout.cols)),
        Source::Gathered(Gathered { from, n, .. }) => Some(Access::of(from, n)),
        Source::Pre(place) => Some(Access::of(place, layout.rows)),
        Source::Matrix(area, at) => Some(Access {
            area,
            at,
            n: layout.size(),
        }),
        Source::Temporary(_) | Source::State(_) | Source::Adjoint(_) | Source::Number(_) => None,
    })
}

/// The writes of a sweep, without blocks and gradient sums.
pub(crate) fn sweep_writes(sweep: &Sweep) -> impl Iterator<Item = Access> + '_ {
    let layout = sweep.layout;
    sweep
        .roots
        .iter()
        .filter_map(move |root| root_writes(root, layout))
}

fn root_writes(root: &Root, layout: Layout) -> Option<Access> {
    match root.kind {
        RootKind::SumPre(area, at) | RootKind::MaxPre(area, at) => Some(Access {
            area,
            at,
            n: layout.cols,
        }),
        RootKind::SumPost(area, at) | RootKind::MaxPost(area, at) => Some(Access {
            area,
            at,
            n: layout.rows,
        }),
        RootKind::SumBoth(area, at) | RootKind::MaxBoth(area, at) => {
            Some(Access { area, at, n: 1 })
        }
        RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => None,
    }
}
