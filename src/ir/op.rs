//! The operations of the IR: one closed enum, with their shape rules.

use super::id::{InputId, NoiseId, OutputId, ParamId, StateId};

/// A shape: a lane axis or none, and up to three further dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Whether the value exists once per lane.
    pub lane: bool,
    /// The other dimensions, outermost first; `[]` is a scalar.
    pub dims: Vec<usize>,
}

impl Shape {
    /// One value per lane.
    pub fn lane(dims: impl Into<Vec<usize>>) -> Shape {
        Shape {
            lane: true,
            dims: dims.into(),
        }
    }

    /// One value for all lanes.
    pub fn shared(dims: impl Into<Vec<usize>>) -> Shape {
        Shape {
            lane: false,
            dims: dims.into(),
        }
    }

    /// Elements per lane.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[")?;
        if self.lane {
            f.write_str("B")?;
        }
        for (k, dim) in self.dims.iter().enumerate() {
            if k > 0 || self.lane {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

/// A number that hashes and compares by its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bits(u64);

impl Bits {
    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl From<f64> for Bits {
    fn from(value: f64) -> Bits {
        Bits(value.to_bits())
    }
}

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

impl std::fmt::Display for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.get())
    }
}

/// What the derivative of `clip` is on its bounds (LANGUAGE §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boundary {
    /// 1 on the closed interval, 0 outside.
    Inclusive,
    /// 1 on the open interval, 0 elsewhere.
    Exclusive,
    /// 1 inside, one half on a bound, 0 outside.
    Half,
    /// 1 everywhere.
    StraightThrough,
}

/// Element functions of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x`
    Neg,
    /// `tanh x`
    Tanh,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `max(x, 0)`, derivative 0 at 0
    Relu,
    /// `log(1 + exp x)`
    Softplus,
    /// `exp x`
    Exp,
    /// natural logarithm; derivative `1 / x`, infinite at 0
    Log,
    /// square root; derivative 0 at 0, so that the norm of a trace that is still 0 has a gradient
    Sqrt,
    /// `|x|`, derivative 0 at 0
    Abs,
    /// -1, 0 or 1; derivative 0
    Sign,
    /// `x * x`
    Square,
    /// `1 / x`
    Recip,
    /// sine
    Sin,
    /// cosine
    Cos,
    /// 1 where `x` is 0, else 0; derivative 0
    Not,
}

impl Unary {
    /// All of them.
    pub const ALL: [Unary; 15] = [
        Unary::Neg,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Relu,
        Unary::Softplus,
        Unary::Exp,
        Unary::Log,
        Unary::Sqrt,
        Unary::Abs,
        Unary::Sign,
        Unary::Square,
        Unary::Recip,
        Unary::Sin,
        Unary::Cos,
        Unary::Not,
    ];

    /// Its name in printed graphs.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Unary::Neg => "neg",
            Unary::Tanh => "tanh",
            Unary::Sigmoid => "sigmoid",
            Unary::Relu => "relu",
            Unary::Softplus => "softplus",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Sqrt => "sqrt",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::Square => "square",
            Unary::Recip => "recip",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Not => "not",
        }
    }
}

/// Element functions of two operands of equal dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// smaller; where equal each gets half the adjoint
    Min,
    /// larger; where equal each gets half the adjoint
    Max,
    /// `a ^ b`; 0 ^ 0 is 1. The derivative by `a` is 0 where `a` is 0 and `b < 1`; the one by `b`
    /// is 0 where `a <= 0`.
    Pow,
    /// 1 where `a < b`, else 0; derivative 0, like all comparisons
    Less,
    /// 1 where `a <= b`
    LessEqual,
    /// 1 where `a == b`
    Equal,
    /// 1 where both are not 0
    And,
    /// 1 where either is not 0
    Or,
}

impl Binary {
    /// All of them.
    pub const ALL: [Binary; 12] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Min,
        Binary::Max,
        Binary::Pow,
        Binary::Less,
        Binary::LessEqual,
        Binary::Equal,
        Binary::And,
        Binary::Or,
    ];

    /// Its name in printed graphs.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Min => "min",
            Binary::Max => "max",
            Binary::Pow => "pow",
            Binary::Less => "less",
            Binary::LessEqual => "less_equal",
            Binary::Equal => "equal",
            Binary::And => "and",
            Binary::Or => "or",
        }
    }
}

/// How a dimension is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The largest; equal largest elements share the adjoint.
    Max,
}

/// An operation. Element operations take operands of equal dimensions; the result has a lane axis
/// where any operand has one, and operands without are the same for every lane.
/// Dimensions are only ever stretched by [`Op::Broadcast`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A parameter; shared.
    Param(ParamId),
    /// An input; per lane.
    Input(InputId),
    /// The value of a state that entered the step; per lane.
    State(StateId),
    /// A draw of a noise source, new every step and lane; per lane.
    Noise(NoiseId),
    /// A shared scalar.
    Const(Bits),
    /// The adjoint of an output, given from outside; per lane.
    Seed(OutputId),
    /// The adjoint of the state that leaves the step; per lane.
    AdjointIn(StateId),
    /// `f(x)` element by element.
    Unary(Unary),
    /// `f(a, b)` element by element.
    Binary(Binary),
    /// Operands `c, a, b`: `a` where `c` is not 0, else `b`.
    Select,
    /// `min(max(x, lo), hi)`.
    Clip {
        /// Lower bound.
        lo: Bits,
        /// Upper bound.
        hi: Bits,
        /// The derivative on the bounds.
        boundary: Boundary,
    },
    /// The derivative of [`Op::Clip`] at `x`.
    ClipMask {
        /// Lower bound.
        lo: Bits,
        /// Upper bound.
        hi: Bits,
        /// The derivative on the bounds.
        boundary: Boundary,
    },
    /// Stretches to `dims`: dimension `k` of the operand becomes dimension `from[k]`
    /// (strictly increasing), the others repeat. The lane axis stays as it is.
    Broadcast {
        /// Dimensions of the result.
        dims: Vec<usize>,
        /// Where the operand's dimensions go.
        from: Vec<usize>,
    },
    /// Reduces away the dimensions listed in `axes` (strictly increasing).
    Reduce {
        /// How.
        kind: Reduction,
        /// Which.
        axes: Vec<usize>,
    },
    /// Sum over lanes; the result is shared. A fixed order: lane 0 first.
    LaneSum,
    /// The same elements in other dimensions.
    Reshape {
        /// Dimensions of the result.
        dims: Vec<usize>,
    },
    /// Vectors one after another, matrices side by side: along the last dimension, the others equal.
    Concat,
    /// `start..end` of the last dimension.
    Slice {
        /// First.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// Zeros put before and after, along the last dimension.
    Pad {
        /// Zeros before.
        before: usize,
        /// Zeros after.
        after: usize,
    },
    /// A shared vector of `size`, 1 on `start..end`, else 0.
    RangeMask {
        /// Its size.
        size: usize,
        /// First.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// Operands `v: [B,n]`, `m: [n,k]` shared: `v m`, `[B,k]`; transposed `m: [k,n]`: `v mᵀ`.
    /// A shared `v: [n]` gives a shared `[k]`.
    MatVec {
        /// Whether the matrix is used transposed.
        transposed: bool,
    },
    /// Operands `a: [B,n]`, `b: [B,m]`: `Σ_lanes a bᵀ`, shared `[n,m]`.
    /// Shared operands count once per lane where the other has lanes.
    Outer,
    /// Softmax of a vector.
    Softmax,
    /// The operand; its adjoint stops here.
    StopGradient,
}

impl Op {
    /// Its name in printed graphs, without attributes.
    pub fn mnemonic(&self) -> &'static str {
        match self {
            Op::Param(_) => "param",
            Op::Input(_) => "input",
            Op::State(_) => "state",
            Op::Noise(_) => "noise",
            Op::Const(_) => "const",
            Op::Seed(_) => "seed",
            Op::AdjointIn(_) => "adjoint_in",
            Op::Unary(f) => f.mnemonic(),
            Op::Binary(f) => f.mnemonic(),
            Op::Select => "select",
            Op::Clip { .. } => "clip",
            Op::ClipMask { .. } => "clip_mask",
            Op::Broadcast { .. } => "broadcast",
            Op::Reduce {
                kind: Reduction::Sum,
                ..
            } => "reduce_sum",
            Op::Reduce {
                kind: Reduction::Max,
                ..
            } => "reduce_max",
            Op::LaneSum => "lane_sum",
            Op::Reshape { .. } => "reshape",
            Op::Concat => "concat",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::RangeMask { .. } => "range_mask",
            Op::MatVec { .. } => "mat_vec",
            Op::Outer => "outer",
            Op::Softmax => "softmax",
            Op::StopGradient => "stop_gradient",
        }
    }
}
