//! The values that a register can hold.

use crate::ir::{Binary, Boundary, Unary};
use crate::program::code::{Element, Source};
use crate::program::extent::Extent;

/// A vector of a row: its positions in a block and in a vector over post, and whether part of it is padding.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    pub block: usize,
    pub column: usize,
    pub masked: bool,
    /// The offset in a panel.
    pub part: usize,
}

/// A value of one vector of the row, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A value computed for each connection.
    Temporary(usize, usize),
    /// A value computed once a row, for all vectors.
    Row(usize),
    /// A value computed before the first row, of one vector.
    Column(usize, usize),
    /// A scalar computed before the first row, for all vectors.
    Scalar(usize),
    /// A value read from a block, a matrix or a vector over post.
    Vector(usize, Source),
    /// A number read for all vectors.
    Number(Source),
    /// A constant, by its bits.
    Constant(u32),
    /// The running sum of a root over post.
    Partial(usize),
    /// The running sum of a root over pre, of one vector.
    Sum(usize, usize),
}

impl Value {
    /// The operand of vector `unit`.
    pub fn of(source: Source, unit: usize, extents: &[Extent]) -> Value {
        match source {
            Source::Temporary(k) => match extents[k] {
                Extent::One => Value::Scalar(k),
                Extent::Column => Value::Column(unit, k),
                Extent::Row => Value::Row(k),
                Extent::Connection => Value::Temporary(unit, k),
            },
            Source::Number(bits) => Value::Constant(bits),
            Source::Pre(_) => Value::Number(source),
            Source::Post(place) if place.stride == 0 => Value::Number(source),
            Source::Post(_)
            | Source::Gathered(_)
            | Source::State(_)
            | Source::Adjoint(_)
            | Source::Matrix(..) => Value::Vector(unit, source),
        }
    }

    /// Returns true if the value is the same in all rows.
    pub fn is_fixed(self) -> bool {
        match self {
            Value::Vector(_, Source::Post(_) | Source::Gathered(_))
            | Value::Constant(_)
            | Value::Column(..)
            | Value::Scalar(_)
            | Value::Number(Source::Post(_)) => true,
            Value::Number(Source::Pre(place)) => place.stride == 0,
            Value::Vector(..)
            | Value::Number(_)
            | Value::Temporary(..)
            | Value::Row(_)
            | Value::Partial(_)
            | Value::Sum(..) => false,
        }
    }

    /// Returns true if the value is computed in the row, so that memory has it only if it is spilled.
    pub fn is_computed(self) -> bool {
        matches!(self, Value::Temporary(..) | Value::Row(_))
    }
}

pub const ONE: u32 = 0x3f80_0000;
pub const MINUS_ONE: u32 = 0xbf80_0000;
pub const HALF: u32 = 0x3f00_0000;
pub const ZERO: u32 = 0;
/// The bias of exponents.
pub const BIAS: u32 = 127;
pub const SIGN: u32 = 0x8000_0000;
pub const SIZE: u32 = 0x7fff_ffff;

/// The constants that an operation needs.
pub fn constants(f: Element) -> Vec<u32> {
    let bits = |x: crate::ir::Bits| (x.get() as f32).to_bits();
    match f {
        Element::Unary(f) => match f {
            Unary::Neg => vec![SIGN],
            Unary::Relu => vec![ZERO],
            Unary::Abs => vec![SIZE],
            Unary::Sign => vec![ZERO, ONE, MINUS_ONE],
            Unary::Recip => vec![ONE],
            Unary::Not => vec![ZERO, ONE],
            _ => Vec::new(),
        },
        Element::Binary(f) => match f {
            Binary::Less | Binary::LessEqual | Binary::Equal => vec![ONE],
            Binary::And | Binary::Or => vec![ZERO, ONE],
            Binary::Add
            | Binary::Sub
            | Binary::Mul
            | Binary::Div
            | Binary::Min
            | Binary::Max
            | Binary::Pow => Vec::new(),
        },
        Element::Select | Element::Gate => vec![ZERO],
        Element::Clip(lo, hi) => vec![bits(lo), bits(hi)],
        Element::ClipMask(lo, hi, boundary) => match boundary {
            Boundary::Inclusive | Boundary::Exclusive => vec![bits(lo), bits(hi), ONE],
            Boundary::Half => vec![bits(lo), bits(hi), HALF],
            Boundary::StraightThrough => vec![ONE],
        },
        Element::PowerOfTwo => vec![BIAS],
        Element::Copy | Element::MulAdd | Element::MulSub | Element::NegMulAdd => Vec::new(),
    }
}
