//! The functions of the language, one row each: name, arguments, meaning.

use super::model::{Fold, Over, Side};
use crate::ir::{Binary, Unary};

/// The meaning of a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// An element function of one argument.
    Unary(Unary),
    /// An element function of two arguments.
    Binary(Binary),
    /// The function `select(c, a, b)`.
    Select,
    /// The function `surrogate(a > b, slope, shape = fast_sigmoid)`.
    Surrogate,
    /// The function `clip(x, lo, hi, boundary = inclusive)`.
    Clip,
    /// A reduction.
    Reduce(Fold, Over),
    /// The function `linear(x, size, bias = true, init = uniform(..))`.
    Linear,
    /// The function `fanout(m, size, bias = true, init = uniform(-1, 1))`.
    Fanout,
    /// The function `embedding(word, size, init = uniform(-0.1, 0.1))`.
    Embedding,
    /// The function `tied(y, x, bias = true, init = ..)`.
    Tied,
    /// The function `dropout(x, p)`.
    Dropout,
    /// The function `softmax(x)`.
    Softmax,
    /// The function `log_softmax(x)`.
    LogSoftmax,
    /// The condition `every(n)`.
    Every,
    /// The function `delay(x, steps)`.
    Delay,
    /// The function `index(x)`.
    Index,
    /// The function `topk(x, k)`.
    TopK,
    /// The function `concat(a, b, ..)`.
    Concat,
    /// The function `stop(x)`.
    Stop,
    /// The function `size(x)`.
    Size,
    /// The functions `per_pre(x)` and `per_post(x)`.
    Along(Side),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct FunctionInfo {
    /// The name.
    pub name: &'static str,
    /// The form of a call.
    pub usage: &'static str,
    /// A summary in one sentence.
    pub doc: &'static str,
    /// The smallest and largest number of positional arguments.
    pub arity: (usize, usize),
    /// The names of named arguments.
    pub named: &'static [&'static str],
    /// The meaning.
    pub function: Function,
}

const fn row(
    name: &'static str,
    usage: &'static str,
    doc: &'static str,
    arity: (usize, usize),
    function: Function,
) -> FunctionInfo {
    FunctionInfo {
        name,
        usage,
        doc,
        arity,
        named: &[],
        function,
    }
}

const fn unary(name: &'static str, doc: &'static str, function: Unary) -> FunctionInfo {
    row(name, "f(x)", doc, (1, 1), Function::Unary(function))
}

const fn fold(name: &'static str, doc: &'static str, fold: Fold, over: Over) -> FunctionInfo {
    row(name, "f(x)", doc, (1, 1), Function::Reduce(fold, over))
}

/// All functions.
pub static FUNCTIONS: &[FunctionInfo] = &[
    unary("tanh", "Hyperbolic tangent.", Unary::Tanh),
    unary("sigmoid", "1 / (1 + exp(-x)).", Unary::Sigmoid),
    unary("relu", "max(x, 0); derivative 0 at 0.", Unary::Relu),
    unary("softplus", "log(1 + exp(x)).", Unary::Softplus),
    unary("exp", "Exponential.", Unary::Exp),
    unary("log", "Natural logarithm.", Unary::Log),
    unary("sqrt", "Square root.", Unary::Sqrt),
    unary("abs", "Absolute value; derivative 0 at 0.", Unary::Abs),
    unary("sign", "-1, 0 or 1; derivative 0.", Unary::Sign),
    unary("square", "x * x.", Unary::Square),
    unary("sin", "Sine.", Unary::Sin),
    unary("cos", "Cosine.", Unary::Cos),
    row(
        "min",
        "min(a, b), min(x)",
        "The smaller of two, where equal each gets half the gradient, or the smallest element of a vector.",
        (1, 2),
        Function::Binary(Binary::Min),
    ),
    row(
        "max",
        "max(a, b), max(x)",
        "The larger of two, or the largest element of a vector.",
        (1, 2),
        Function::Binary(Binary::Max),
    ),
    row(
        "select",
        "select(condition, a, b)",
        "a where the condition is not 0, else b.",
        (3, 3),
        Function::Select,
    ),
    FunctionInfo {
        name: "clip",
        usage: "clip(x, lo, hi, boundary = inclusive)",
        doc: "min(max(x, lo), hi); `boundary` sets the derivative on the bounds: inclusive (1), \
              exclusive (0), half, or straight_through (1 everywhere).",
        arity: (3, 3),
        named: &["boundary"],
        function: Function::Clip,
    },
    FunctionInfo {
        name: "surrogate",
        usage: "surrogate(a > b, slope = 1, shape = fast_sigmoid)",
        doc: "1 where the comparison holds, else 0, with a derivative for spikes: at a distance x from the threshold \
              and a slope s it is 1 / (1 + s |x|)^2, or by `shape` triangle (max(0, 1 - s |x|)), arctan \
              (1 / (1 + (s x)^2)) or straight_through (1).",
        arity: (1, 2),
        named: &["shape"],
        function: Function::Surrogate,
    },
    fold("sum", "Sum of the elements of a vector.", Fold::Sum, Over::Vector),
    fold("mean", "Mean of the elements of a vector.", Fold::Mean, Over::Vector),
    fold("norm", "Euclidean norm of a vector.", Fold::Norm, Over::Vector),
    fold("sum_pre", "Sum over presynaptic neurons.", Fold::Sum, Over::Side(Side::Pre)),
    fold("sum_post", "Sum over postsynaptic neurons.", Fold::Sum, Over::Side(Side::Post)),
    fold("mean_pre", "Mean over presynaptic neurons.", Fold::Mean, Over::Side(Side::Pre)),
    fold("mean_post", "Mean over postsynaptic neurons.", Fold::Mean, Over::Side(Side::Post)),
    fold("max_pre", "Largest over presynaptic neurons.", Fold::Max, Over::Side(Side::Pre)),
    fold("max_post", "Largest over postsynaptic neurons.", Fold::Max, Over::Side(Side::Post)),
    fold("norm_pre", "Euclidean norm over presynaptic neurons.", Fold::Norm, Over::Side(Side::Pre)),
    fold("norm_post", "Euclidean norm over postsynaptic neurons.", Fold::Norm, Over::Side(Side::Post)),
    FunctionInfo {
        name: "linear",
        usage: "linear(x, size, bias = true, init = uniform(-k, k))",
        doc: "x W + b with trained W [from, to] and b; k = 1 / sqrt(from) unless `init` says otherwise; the \
              size may be omitted if the context determines it.",
        arity: (1, 2),
        named: &["bias", "init"],
        function: Function::Linear,
    },
    FunctionInfo {
        name: "fanout",
        usage: "fanout(m, size, bias = true, init = uniform(-1, 1))",
        doc: "gain_j * m + bias_j: a scalar spread over neurons by trained gains and biases (paper §3.2); the \
              size may be omitted if the context determines it.",
        arity: (1, 2),
        named: &["bias", "init"],
        function: Function::Fanout,
    },
    FunctionInfo {
        name: "embedding",
        usage: "embedding(word, size, init = uniform(-0.1, 0.1))",
        doc: "word W with trained W [words, size]: the row of W for the word; the size may be omitted if \
              the context determines it.",
        arity: (1, 2),
        named: &["init"],
        function: Function::Embedding,
    },
    FunctionInfo {
        name: "tied",
        usage: "tied(y, x, bias = true, init = uniform(-k, k))",
        doc: "y W' + b, a readout that shares the matrix W [words, size] of the value `x = embedding(..)` or \
              `x = linear(..)`; `init` is the distribution of the bias.",
        arity: (2, 2),
        named: &["bias", "init"],
        function: Function::Tied,
    },
    FunctionInfo {
        name: "dropout",
        usage: "dropout(x, p)",
        doc: "x with each element set to 0 with probability p, else multiplied by 1 / (1 - p); one mask lasts a \
              whole episode or chunk, and evaluation returns x itself.",
        arity: (2, 2),
        named: &[],
        function: Function::Dropout,
    },
    row("softmax", "softmax(x)", "exp(x_k) / Σ exp(x).", (1, 1), Function::Softmax),
    row(
        "log_softmax",
        "log_softmax(x)",
        "x_k - log Σ exp(x), finite for numbers of any size.",
        (1, 1),
        Function::LogSoftmax,
    ),
    row(
        "every",
        "every(n)",
        "1 in each n-th step of an episode, else 0.",
        (1, 1),
        Function::Every,
    ),
    FunctionInfo {
        name: "delay",
        usage: "delay(x, steps, reset = episode)",
        doc: "What x was so many steps ago, 0 before the episode began; `reset` is that of the states that keep it.",
        arity: (2, 2),
        named: &["reset"],
        function: Function::Delay,
    },
    row(
        "index",
        "index(x)",
        "The number of each element of a vector, from 0; of each neuron for `pre` and `post`.",
        (1, 1),
        Function::Index,
    ),
    row(
        "topk",
        "topk(x, k)",
        "1 for the k largest elements of x, where fewer than k are larger, else 0; k is a size.",
        (2, 2),
        Function::TopK,
    ),
    row(
        "concat",
        "concat(a, b, ..)",
        "Vectors and scalars one after another.",
        (1, 64),
        Function::Concat,
    ),
    row(
        "stop",
        "stop(x)",
        "x, through which no gradient flows.",
        (1, 1),
        Function::Stop,
    ),
    row(
        "size",
        "size(x)",
        "How many elements a vector has, or `pre` or `post`.",
        (1, 1),
        Function::Size,
    ),
    row(
        "per_pre",
        "per_pre(x)",
        "Inside a bundle, a vector taken along the presynaptic axis.",
        (1, 1),
        Function::Along(Side::Pre),
    ),
    row(
        "per_post",
        "per_post(x)",
        "Inside a bundle, a vector taken along the postsynaptic axis (as bare names are).",
        (1, 1),
        Function::Along(Side::Post),
    ),
];

/// Names of functions in other languages, each with what to write instead.
pub static ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["step", "heaviside"],
        "a comparison, as `x > 0`, which is 1 or 0",
    ),
    (
        &["where", "if", "ifelse", "cond"],
        "`select(condition, a, b)`",
    ),
    (&["clamp", "hardtanh"], "`clip(x, lo, hi)`"),
    (&["pow", "power"], "`a ^ b`"),
    (&["ln"], "`log(x)`"),
    (&["logistic", "expit"], "`sigmoid(x)`"),
    (&["sqr"], "`square(x)`"),
    (
        &["dot", "matmul", "einsum"],
        "`linear(x, size)`, or `sum(a * b)` of two vectors",
    ),
    (&["dense", "affine"], "`linear(x, size)`"),
    (&["outer"], "`pre * post` in a plastic bundle"),
    (&["cat"], "`concat(a, b)`"),
    (&["detach", "stop_gradient"], "`stop(x)`"),
    (&["len", "length"], "`size(x)`"),
    (&["arange", "iota", "range"], "`index(x)`"),
    (&["kth", "top_k", "kwta"], "`topk(x, k)`"),
    (&["prev", "previous", "lag", "shift"], "`delay(x, 1)`"),
    (&["leaky_relu"], "`max(x, 0.01 * x)`"),
    (&["silu", "swish"], "`x * sigmoid(x)`"),
    (&["tan"], "`sin(x) / cos(x)`"),
    (
        &["normal", "uniform", "randn", "rand"],
        "`noise xi ~ normal(0, 1)`, and `xi` here",
    ),
];

/// The function of this name.
pub fn find(name: &str) -> Option<&'static FunctionInfo> {
    FUNCTIONS.iter().find(|info| info.name == name)
}
