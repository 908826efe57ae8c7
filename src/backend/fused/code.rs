//! The instructions of a lane program.

use crate::ir::{Binary, Boundary, Unary};

/// Which memory a vector lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The lane's own, written anew every step.
    Lane,
    /// What depends on parameters alone, written once an iteration.
    Shared,
}

/// Where the elements of a scalar or vector are; a stride of 0 is one number for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub area: Area,
    pub at: usize,
    pub stride: usize,
}

/// An element function with what it needs beside operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    Unary(Unary),
    Binary(Binary),
    Select,
    Copy,
    Clip(f64, f64),
    ClipMask(f64, f64, Boundary),
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
    /// `v m` or `v mᵀ` for a shared `m` of `rows` × `cols` at `m`.
    MatVec {
        to: usize,
        v: Place,
        m: usize,
        rows: usize,
        cols: usize,
        transposed: bool,
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
    Sweep(usize),
}

/// An operand per connection, seen from one row of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// One element operation of a sweep.
#[derive(Clone, Debug)]
pub struct RowOp {
    pub f: Element,
    pub to: usize,
    pub operands: [Source; 3],
}

/// What becomes of a value of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// Sum over pre, to a vector.
    SumPre(usize),
    /// Largest over pre.
    MaxPre(usize),
    /// Sum over post.
    SumPost(usize),
    /// Largest over post.
    MaxPost(usize),
    /// Sum over both.
    SumBoth(usize),
    /// Largest over both.
    MaxBoth(usize),
    /// Added to gradient sums.
    Gradient(usize),
    /// The leaving value of a trace.
    State(usize),
    /// The adjoint of an entering trace.
    Adjoint(usize),
}

/// One pass over a `[rows, cols]` block.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub rows: usize,
    pub cols: usize,
    pub ops: Vec<RowOp>,
    pub temporaries: usize,
    /// What becomes of which temporary.
    pub roots: Vec<(RootKind, usize)>,
}

/// A program for one lane and one step.
#[derive(Clone, Debug, Default)]
pub struct Code {
    pub instrs: Vec<Instr>,
    pub sweeps: Vec<Sweep>,
    /// Elements of the lane's memory.
    pub lane_size: usize,
    /// Elements of the shared memory.
    pub shared_size: usize,
    /// Elements of the gradient sums.
    pub sums_size: usize,
}
