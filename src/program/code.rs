//! The instructions of a lane program.

use super::layout::Layout;
use crate::ir::{Binary, Bits, Boundary, Unary};

/// Which memory a scalar, a vector or a matrix lies in. *Before* is the step that ran before this one: the
/// earlier one on the way forward, the later one on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The lane's own, written anew every step.
    Lane,
    /// The same of the step that ran before.
    Before,
    /// What was kept of the forward step.
    Record,
    /// What was kept of the forward step of the step that ran before.
    RecordBefore,
    /// What depends on parameters alone, written once an iteration.
    Shared,
}

impl Area {
    /// The same memory as the step after it sees it.
    pub fn aged(self) -> Area {
        match self {
            Area::Lane | Area::Before => Area::Before,
            Area::Record | Area::RecordBefore => Area::RecordBefore,
            Area::Shared => Area::Shared,
        }
    }
}

/// Where the elements of a scalar or vector are; a stride of 0 is one number for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub area: Area,
    pub at: usize,
    pub stride: usize,
}

/// An element function with what it needs beside operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    Unary(Unary),
    Binary(Binary),
    Select,
    Copy,
    Clip(Bits, Bits),
    ClipMask(Bits, Bits, Boundary),
    /// `a b + c`, rounded once.
    MulAdd,
    /// `a b - c`, rounded once.
    MulSub,
    /// `c - a b`, rounded once.
    NegMulAdd,
    /// `2^a` for a whole `a` in the range of exponents.
    PowerOfTwo,
    /// `a` where `b` is inside the bounds, else 0: the adjoint of a clip at `b`.
    Keep(Bits, Bits, Boundary),
}

impl Element {
    /// How many operands it reads.
    pub fn arity(self) -> usize {
        match self {
            Element::Unary(_)
            | Element::Copy
            | Element::Clip(..)
            | Element::ClipMask(..)
            | Element::PowerOfTwo => 1,
            Element::Binary(_) | Element::Keep(..) => 2,
            Element::Select | Element::MulAdd | Element::MulSub | Element::NegMulAdd => 3,
        }
    }
}

/// Vector code. `to` is an offset in the lane's memory, `n` a number of elements.
#[derive(Clone, Debug)]
pub enum Instr {
    /// Up to three operands; those not used repeat the first.
    Element {
        f: Element,
        to: usize,
        operands: [Place; 3],
        n: usize,
    },
    Sum {
        to: usize,
        a: Place,
        n: usize,
    },
    Max {
        to: usize,
        a: Place,
        n: usize,
    },
    Copy {
        to: usize,
        a: Place,
        n: usize,
    },
    Zero {
        to: usize,
        n: usize,
    },
    Softmax {
        to: usize,
        a: Place,
        n: usize,
    },
    /// `Σ_k v[k] m[k]` over the rows of a shared `m` of `rows` × `cols`, or the product of each of
    /// its rows with `v`: whichever has the longer inner loop.
    MatVec {
        to: usize,
        v: Place,
        m: usize,
        rows: usize,
        cols: usize,
        form: Product,
    },
    /// Adds a vector to gradient sums.
    AddTo {
        sum: usize,
        a: Place,
        n: usize,
    },
    /// Adds an outer product to gradient sums.
    AddOuter {
        sum: usize,
        a: Place,
        b: Place,
        rows: usize,
        cols: usize,
    },
    /// Keeps the vectors of an outer product, which is added to gradient sums with those of other steps.
    KeepOuter {
        /// Which of the program's outer products.
        index: usize,
        a: Place,
        b: Place,
        rows: usize,
        cols: usize,
    },
    Sweep(usize),
}

/// How a vector and a matrix are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Rows scaled by the vector's elements and added up.
    ScaledRows,
    /// One sum of products a row.
    RowProducts,
}

/// An operand per connection, seen from one row of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A row computed in this sweep.
    Temporary(usize),
    /// A row of a trace that enters the step.
    State(usize),
    /// A row of the adjoint of a trace.
    Adjoint(usize),
    /// A row of a matrix in a memory.
    Matrix(Area, usize),
    /// A vector over post neurons, or a scalar.
    Post(Place),
    /// The element of a vector over pre neurons that belongs to the row.
    Pre(Place),
    /// The same f32 everywhere, by its bits.
    Number(u32),
}

/// One element operation of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOp {
    pub f: Element,
    pub to: usize,
    pub operands: [Source; 3],
}

/// What becomes of a value of a sweep. Vectors and scalars go to the lane's memory of this step or of the
/// one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootKind {
    /// Sum over pre, to a vector.
    SumPre(Area, usize),
    /// Largest over pre.
    MaxPre(Area, usize),
    /// Sum over post.
    SumPost(Area, usize),
    /// Largest over post.
    MaxPost(Area, usize),
    /// Sum over both.
    SumBoth(Area, usize),
    /// Largest over both.
    MaxBoth(Area, usize),
    /// Added to gradient sums.
    Gradient(usize),
    /// The leaving value of a trace.
    State(usize),
    /// The adjoint of an entering trace.
    Adjoint(usize),
}

impl RootKind {
    /// The same target as the step after sees it.
    pub fn aged(self) -> RootKind {
        match self {
            RootKind::SumPre(area, to) => RootKind::SumPre(area.aged(), to),
            RootKind::MaxPre(area, to) => RootKind::MaxPre(area.aged(), to),
            RootKind::SumPost(area, to) => RootKind::SumPost(area.aged(), to),
            RootKind::MaxPost(area, to) => RootKind::MaxPost(area.aged(), to),
            RootKind::SumBoth(area, to) => RootKind::SumBoth(area.aged(), to),
            RootKind::MaxBoth(area, to) => RootKind::MaxBoth(area.aged(), to),
            RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => self,
        }
    }
}

/// A root with its value: an operand, or the product of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    pub kind: RootKind,
    pub value: Source,
    pub times: Option<Source>,
}

/// One pass over the `[rows, cols]` block of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// What it does, for people.
    pub name: &'static str,
    pub layout: Layout,
    pub ops: Vec<RowOp>,
    pub temporaries: usize,
    pub roots: Vec<Root>,
}

/// An outer product `Σ_t a_t b_tᵀ` of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterSum {
    /// Offset in the gradient sums, where it lies row after row.
    pub sum: usize,
    /// Elements of `a`.
    pub rows: usize,
    /// Elements of `b`.
    pub cols: usize,
}

impl Instr {
    /// Whether it is a sweep.
    pub(crate) fn is_sweep(&self) -> bool {
        matches!(self, Instr::Sweep(_))
    }
}
