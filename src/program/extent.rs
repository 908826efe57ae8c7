//! What the values of a sweep vary with: the extent of a value is that of its operands together.

use super::code::{RowOp, Source};

/// The dimensions of a block over which a value varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// One number for the block.
    One,
    /// A number for each post neuron.
    Column,
    /// A number for each pre neuron.
    Row,
    /// A number for each connection.
    Connection,
}

impl Extent {
    /// The extent of a value computed of two.
    pub(crate) fn with(self, other: Extent) -> Extent {
        match (self, other) {
            (Extent::One, extent) | (extent, Extent::One) => extent,
            (a, b) if a == b => a,
            _ => Extent::Connection,
        }
    }

    /// The extent of an operand, where `temporaries` holds those of values computed before.
    pub(crate) fn of(source: Source, temporaries: &[Extent]) -> Extent {
        match source {
            Source::Temporary(k) => temporaries[k],
            Source::Number(_) => Extent::One,
            Source::Post(place) | Source::Pre(place) if place.stride == 0 => Extent::One,
            Source::Post(_) | Source::Gathered(_) => Extent::Column,
            Source::Pre(_) => Extent::Row,
            Source::State(_) | Source::Adjoint(_) | Source::Matrix(..) => Extent::Connection,
        }
    }

    /// The extent of an operation's value.
    pub(crate) fn of_op(op: &RowOp, temporaries: &[Extent]) -> Extent {
        let operands = op.operands[..op.f.arity()].iter();
        operands.fold(Extent::One, |all, source| {
            all.with(Extent::of(*source, temporaries))
        })
    }

    /// The extents of all temporaries.
    pub(crate) fn all(ops: &[RowOp]) -> Vec<Extent> {
        let mut extents = Vec::with_capacity(ops.len());
        for op in ops {
            extents.push(Extent::of_op(op, &extents));
        }
        extents
    }
}
