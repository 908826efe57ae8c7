//! The operations of the IR: one closed enum, with their shape rules.

use super::id::{InputId, NoiseId, OutputId, ParamId, StateId};
use super::indices::Indices;

/// A shape: an optional lane axis and up to three further dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// True if the value exists once per lane.
    pub lane: bool,
    /// The dimensions without the lane axis, outermost first; `[]` is a scalar.
    pub dims: Vec<usize>,
}

impl Shape {
    /// The shape of one value per lane.
    pub fn lane(dims: impl Into<Vec<usize>>) -> Shape {
        Shape {
            lane: true,
            dims: dims.into(),
        }
    }

    /// The shape of one value for all lanes.
    pub fn shared(dims: impl Into<Vec<usize>>) -> Shape {
        Shape {
            lane: false,
            dims: dims.into(),
        }
    }

    /// The number of elements per lane.
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

/// The derivative of `clip` on its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boundary {
    /// Derivative 1 on the closed interval, 0 outside.
    Inclusive,
    /// Derivative 1 on the open interval, 0 elsewhere.
    Exclusive,
    /// Derivative 1 inside, one half on a bound, 0 outside.
    Half,
    /// Derivative 1 everywhere.
    StraightThrough,
}

/// Elementwise functions, each with its name in printed graphs.
macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $function:ident $mnemonic:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $function,)*
        }

        impl $name {
            /// All functions.
            pub const ALL: [$name; [$($mnemonic),*].len()] = [$($name::$function),*];

            /// The name in printed graphs.
            pub fn mnemonic(self) -> &'static str {
                match self {
                    $($name::$function => $mnemonic,)*
                }
            }
        }
    };
}

functions! {
    /// Elementwise functions of one operand.
    Unary {
        /// `-x`
        Neg "neg",
        /// `tanh x`
        Tanh "tanh",
        /// `1 / (1 + exp(-x))`
        Sigmoid "sigmoid",
        /// `max(x, 0)`, derivative 0 at 0
        Relu "relu",
        /// `log(1 + exp x)`
        Softplus "softplus",
        /// `exp x`
        Exp "exp",
        /// The natural logarithm; derivative `1 / x`, infinite at 0
        Log "log",
        /// The square root; derivative 0 at 0, so that the norm of a trace that is still 0 has a gradient
        Sqrt "sqrt",
        /// `|x|`, derivative 0 at 0
        Abs "abs",
        /// The sign -1, 0 or 1; derivative 0
        Sign "sign",
        /// `x * x`
        Square "square",
        /// `1 / x`
        Recip "recip",
        /// The sine
        Sin "sin",
        /// The cosine
        Cos "cos",
        /// The negation: 1 where `x` is 0, else 0; derivative 0
        Not "not",
    }
}

functions! {
    /// Elementwise functions of two operands of equal dimensions.
    Binary {
        /// `a + b`
        Add "add",
        /// `a - b`
        Sub "sub",
        /// `a * b`
        Mul "mul",
        /// `a / b`
        Div "div",
        /// The minimum; equal operands get half the adjoint each
        Min "min",
        /// The maximum; equal operands get half the adjoint each
        Max "max",
        /// The power `a ^ b`; 0 ^ 0 is 1. The derivative by `a` is 0 where `a` is 0 and `b < 1`; the derivative
        /// by `b` is 0 where `a <= 0`.
        Pow "pow",
        /// The comparison 1 where `a < b`, else 0; derivative 0, like all comparisons
        Less "less",
        /// The comparison 1 where `a <= b`
        LessEqual "less_equal",
        /// The comparison 1 where `a == b`
        Equal "equal",
        /// The conjunction: 1 where both are not 0
        And "and",
        /// The disjunction: 1 where either is not 0
        Or "or",
    }
}

/// The reduction of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The maximum; equal largest elements share the adjoint.
    Max,
}

/// An operation. Elementwise operations take operands of equal dimensions. The result has a lane axis if any
/// operand has one; operands without it are the same for every lane. Only [`Op::Broadcast`] stretches
/// dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A parameter; shared.
    Param(ParamId),
    /// An input; per lane.
    Input(InputId),
    /// The value of a state on entry to the step; per lane.
    State(StateId),
    /// A sample of a noise source, new for every step; per lane.
    Noise(NoiseId),
    /// A shared scalar.
    Const(Bits),
    /// The incoming adjoint of an output; per lane.
    Seed(OutputId),
    /// The adjoint of the state on exit from the step; per lane.
    AdjointIn(StateId),
    /// A function `f(x)`, elementwise.
    Unary(Unary),
    /// A function `f(a, b)`, elementwise.
    Binary(Binary),
    /// A choice with operands `c, a, b`: `a` where `c` is not 0, else `b`.
    Select,
    /// A clip to `min(max(x, lo), hi)`.
    Clip {
        /// The lower bound.
        lo: Bits,
        /// The upper bound.
        hi: Bits,
        /// The derivative on the bounds.
        boundary: Boundary,
    },
    /// The derivative of [`Op::Clip`] at `x`.
    ClipMask {
        /// The lower bound.
        lo: Bits,
        /// The upper bound.
        hi: Bits,
        /// The derivative on the bounds.
        boundary: Boundary,
    },
    /// A broadcast to `dims`: dimension `k` of the operand becomes dimension `from[k]` (strictly increasing),
    /// and the others repeat. The lane axis is unchanged.
    Broadcast {
        /// The dimensions of the result.
        dims: Vec<usize>,
        /// The position of each dimension of the operand in the result.
        from: Vec<usize>,
    },
    /// A reduction over the dimensions listed in `axes` (strictly increasing), which disappear.
    Reduce {
        /// The kind of reduction.
        kind: Reduction,
        /// The dimensions.
        axes: Vec<usize>,
    },
    /// The sum over lanes, in a fixed order: lane 0 first. The result is shared.
    LaneSum,
    /// The same elements with other dimensions.
    Reshape {
        /// The dimensions of the result.
        dims: Vec<usize>,
    },
    /// A concatenation along the last dimension; the other dimensions are equal.
    Concat,
    /// The slice `start..end` of the last dimension.
    Slice {
        /// The first index.
        start: usize,
        /// One past the last index.
        end: usize,
    },
    /// Padding with zeros along the last dimension.
    Pad {
        /// The number of zeros before.
        before: usize,
        /// The number of zeros after.
        after: usize,
    },
    /// A shared vector of `size`, 1 on `start..end`, else 0.
    RangeMask {
        /// The number of elements.
        size: usize,
        /// The first index.
        start: usize,
        /// One past the last index.
        end: usize,
    },
    /// The elements of a vector at some positions: a vector with one element for each.
    Gather(Indices),
    /// The reverse of [`Op::Gather`]: for each position the sum of the elements of a vector that belong to it.
    Scatter(Indices),
    /// A product of vectors and a matrix. Operands `v: [B,n]`, `m: [n,k]` shared: `v m`, `[B,k]`; transposed
    /// `m: [k,n]`: `v mᵀ`. A shared `v: [n]` gives a shared `[k]`.
    MatVec {
        /// True if the matrix is transposed.
        transposed: bool,
    },
    /// A sum of outer products. Operands `a: [B,n]`, `b: [B,m]`: `Σ_lanes a bᵀ`, shared `[n,m]`. A shared
    /// operand counts once per lane if the other has lanes.
    Outer,
    /// The softmax of a vector.
    Softmax,
    /// The operand; its adjoint stops here.
    StopGradient,
}

impl Op {
    /// The name in printed graphs, without attributes.
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
            Op::Gather(_) => "gather",
            Op::Scatter(_) => "scatter",
            Op::MatVec { .. } => "mat_vec",
            Op::Outer => "outer",
            Op::Softmax => "softmax",
            Op::StopGradient => "stop_gradient",
        }
    }
}
