//! Pieces of vector code, with the step whose memory they are written for.

use super::super::vectors::of_step;
use crate::program::access::{reads, writes, Access};
use crate::program::code::{Area, Instr, Place};

/// A piece of vector code.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// An instruction other than a sweep.
    Instr(Instr),
    /// A vector whose element `i` is an expression without other vectors of the unit.
    Given {
        to: (Area, usize),
        n: usize,
        value: String,
    },
    /// A vector whose element `i` is an expression of the sums that an exchange brings.
    Arrived {
        to: (Area, usize),
        n: usize,
        value: String,
    },
    /// An addition to the adjoint of an input, the table of which begins at `to`.
    InputAdjoint { from: Place, n: usize, to: usize },
    /// A copy into the memory of another step.
    Move {
        to: (Area, usize),
        from: Place,
        n: usize,
    },
}

/// Vector code with the step whose memory it is written for.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub work: Work,
    /// True if it belongs to the step that ran before.
    pub before: bool,
}

impl Op {
    pub(super) fn new(work: Work) -> Op {
        Op {
            work,
            before: false,
        }
    }

    pub(super) fn place(&self, place: Place) -> Place {
        match self.before {
            true => place.aged(),
            false => place,
        }
    }

    fn target(&self) -> Area {
        match self.before {
            true => Area::Before,
            false => Area::Lane,
        }
    }

    /// The ranges that it reads and the one that it writes.
    pub(super) fn accesses(&self) -> (Vec<Access>, Option<Access>) {
        match &self.work {
            Work::Instr(instr) => {
                let of_sums = matches!(
                    instr,
                    Instr::AddTo { .. } | Instr::AddOuter { .. } | Instr::KeepOuter { .. }
                );
                let read = reads(instr).into_iter().map(|access| {
                    let place = Place {
                        area: access.area,
                        at: access.at,
                        stride: 1,
                    };
                    let place = if of_sums { of_step(place) } else { place };
                    Access {
                        area: self.place(place).area,
                        ..access
                    }
                });
                let written = writes(instr).map(|access| Access {
                    area: self.target(),
                    ..access
                });
                (read.collect(), written)
            }
            Work::InputAdjoint { from, n, .. } => (vec![Access::of(self.place(*from), *n)], None),
            Work::Given { to, n, .. } | Work::Arrived { to, n, .. } => {
                let (area, at) = *to;
                (Vec::new(), Some(Access { area, at, n: *n }))
            }
            Work::Move { to, from, n } => {
                let (area, at) = *to;
                (
                    vec![Access::of(*from, *n)],
                    Some(Access { area, at, n: *n }),
                )
            }
        }
    }
}
