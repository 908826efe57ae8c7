//! The instructions of a lane program.

use super::layout::Layout;
use crate::ir::{Binary, Bits, Boundary, Unary};

/// The memory of a scalar, a vector or a matrix. *Before* is the step that ran before this one: the earlier
/// one in the forward pass, the later one in the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The lane's memory, written anew at every step.
    Lane,
    /// The lane's memory of the step that ran before.
    Before,
    /// The record of the forward step.
    Record,
    /// The record of the forward step, of the step that ran before.
    RecordBefore,
    /// The values that depend only on parameters, written once per iteration.
    Shared,
}

impl Area {
    /// The same memory as the next step sees it.
    pub fn aged(self) -> Area {
        match self {
            Area::Lane | Area::Before => Area::Before,
            Area::Record | Area::RecordBefore => Area::RecordBefore,
            Area::Shared => Area::Shared,
        }
    }
}

/// The place of a scalar or vector; a stride of 0 means one number for all elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub area: Area,
    pub at: usize,
    pub stride: usize,
}

impl Place {
    /// The same place as the next step sees it.
    pub fn aged(self) -> Place {
        Place {
            area: self.area.aged(),
            ..self
        }
    }
}

/// An elementwise function, with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    Unary(Unary),
    Binary(Binary),
    Select,
    Copy,
    Clip(Bits, Bits),
    ClipMask(Bits, Bits, Boundary),
    /// The fused `a b + c`, rounded once.
    MulAdd,
    /// The fused `a b - c`, rounded once.
    MulSub,
    /// The fused `c - a b`, rounded once.
    NegMulAdd,
    /// The power `2^a` of a whole `a` in the range of exponents.
    PowerOfTwo,
    /// A gate: `a` where `b` is not 0, else 0. The adjoint of a clip passes one.
    Gate,
}

impl Element {
    /// Returns true if every value is 0 or 1.
    pub fn is_truth(self) -> bool {
        match self {
            Element::Unary(f) => f == Unary::Not,
            Element::Binary(f) => matches!(
                f,
                Binary::Less | Binary::LessEqual | Binary::Equal | Binary::And | Binary::Or
            ),
            Element::ClipMask(_, _, boundary) => {
                matches!(boundary, Boundary::Inclusive | Boundary::Exclusive)
            }
            Element::Select
            | Element::Copy
            | Element::Clip(..)
            | Element::MulAdd
            | Element::MulSub
            | Element::NegMulAdd
            | Element::PowerOfTwo
            | Element::Gate => false,
        }
    }

    /// The number of operands.
    pub fn arity(self) -> usize {
        match self {
            Element::Unary(_)
            | Element::Copy
            | Element::Clip(..)
            | Element::ClipMask(..)
            | Element::PowerOfTwo => 1,
            Element::Binary(_) | Element::Gate => 2,
            Element::Select | Element::MulAdd | Element::MulSub | Element::NegMulAdd => 3,
        }
    }
}

/// Vector code. `to` is an offset in the lane's memory, `n` a number of elements.
#[derive(Clone, Debug)]
pub enum Instr {
    /// An elementwise function of up to three operands; unused ones repeat the first.
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
    /// The elements of a vector at some positions.
    Gather {
        to: usize,
        a: Place,
        /// The number of the positions in the program.
        indices: usize,
        /// The number of elements of `a`.
        from: usize,
        n: usize,
    },
    /// For each position the sum of the elements that belong to it.
    Scatter {
        to: usize,
        a: Place,
        indices: usize,
        from: usize,
        n: usize,
    },
    /// The product `Σ_k v[k] m[k]` over the rows of a shared `m` of `rows` × `cols`, or the product of each
    /// of its rows with `v`: whichever has the longer inner loop.
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
    /// Stores the vectors of an outer product, which is added to gradient sums with those of other steps.
    KeepOuter {
        /// The index of the outer product in the program.
        index: usize,
        a: Place,
        b: Place,
        rows: usize,
        cols: usize,
    },
    Sweep(usize),
}

/// The way in which a vector and a matrix are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// A sum of rows scaled by the vector's elements.
    ScaledRows,
    /// One scalar product per row.
    RowProducts,
}

/// A per-connection operand, seen from one row of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A row computed in this sweep.
    Temporary(usize),
    /// A row of a trace on entry to the step.
    State(usize),
    /// A row of the adjoint of a trace.
    Adjoint(usize),
    /// A row of a matrix in a memory.
    Matrix(Area, usize),
    /// A vector over post neurons, or a scalar.
    Post(Place),
    /// The element of a vector over pre neurons that belongs to the row.
    Pre(Place),
    /// The elements of a vector that belong to the connections of a sparse bundle, which are the columns of a single row.
    Gathered(Gathered),
    /// A constant f32, by its bits.
    Number(u32),
}

/// The elements of a vector at some positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gathered {
    pub from: Place,
    /// The number of elements of the vector.
    pub n: usize,
    /// The number of the positions in the program.
    pub indices: usize,
}

/// One elementwise operation of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOp {
    pub f: Element,
    pub to: usize,
    pub operands: [Source; 3],
}

/// The use of a sweep's value. Vectors and scalars go to the lane's memory of this step or of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootKind {
    /// A sum over pre, into a vector.
    SumPre(Area, usize),
    /// A maximum over pre.
    MaxPre(Area, usize),
    /// A sum over post.
    SumPost(Area, usize),
    /// A maximum over post.
    MaxPost(Area, usize),
    /// A sum over both sides.
    SumBoth(Area, usize),
    /// A maximum over both sides.
    MaxBoth(Area, usize),
    /// An addition to gradient sums.
    Gradient(usize),
    /// The next value of a trace.
    State(usize),
    /// The adjoint of a trace on entry.
    Adjoint(usize),
}

impl RootKind {
    /// Returns true if it is a sum or maximum over pre.
    pub fn is_over_pre(self) -> bool {
        matches!(self, RootKind::SumPre(..) | RootKind::MaxPre(..))
    }

    /// Returns true if it is a sum or maximum over post.
    pub fn is_over_post(self) -> bool {
        matches!(self, RootKind::SumPost(..) | RootKind::MaxPost(..))
    }

    /// Returns true if it is a sum or maximum over both sides.
    pub fn is_over_both(self) -> bool {
        matches!(self, RootKind::SumBoth(..) | RootKind::MaxBoth(..))
    }

    /// Returns true if it is a maximum.
    pub fn is_max(self) -> bool {
        matches!(
            self,
            RootKind::MaxPre(..) | RootKind::MaxPost(..) | RootKind::MaxBoth(..)
        )
    }

    /// The place that a sum or maximum goes to.
    pub fn target(self) -> Option<(Area, usize)> {
        match self {
            RootKind::SumPre(area, to)
            | RootKind::MaxPre(area, to)
            | RootKind::SumPost(area, to)
            | RootKind::MaxPost(area, to)
            | RootKind::SumBoth(area, to)
            | RootKind::MaxBoth(area, to) => Some((area, to)),
            RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => None,
        }
    }

    /// The same target as the next step sees it.
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
    /// The name, from its operations.
    pub name: &'static str,
    pub layout: Layout,
    pub ops: Vec<RowOp>,
    pub temporaries: usize,
    pub roots: Vec<Root>,
}

/// An outer product `Σ_t a_t b_tᵀ` of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterSum {
    /// The offset in the gradient sums, where it lies row-major.
    pub sum: usize,
    /// The number of elements of `a`.
    pub rows: usize,
    /// The number of elements of `b`.
    pub cols: usize,
}

impl Instr {
    /// Returns true if it is a sweep.
    pub(crate) fn is_sweep(&self) -> bool {
        matches!(self, Instr::Sweep(_))
    }
}
