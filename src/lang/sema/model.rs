//! The typed model: the meaning of a spec, with every name resolved and every size known.

use super::sizes::SizeVar;
use crate::ir::{
    Binary, Boundary, Indices, InputId, InputSlot, NoiseId, NoiseSlot, ParamId, ParamSlot, StateId,
    StateSlot, Unary,
};
use crate::lang::catalog::{OptimizerInfo, TaskInfo, TaskPorts, TrainerInfo};
use crate::lang::diag::Span;
use crate::lang::settings::Settings;
use sha2::{Digest, Sha256};

/// The id of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefId(pub u32);

impl DefId {
    /// The index into [`Model::definitions`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The id of a plastic bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId(pub u32);

impl BundleId {
    /// The index into [`Model::bundles`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The axes of a value, apart from the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// One number per lane.
    Scalar,
    /// A vector of the network.
    Vector(SizeVar),
    /// An element of a bundle: `[i]`, `[j]` or `[i, j]`, by the axes present.
    Element {
        /// The bundle.
        bundle: BundleId,
        /// True if it varies over presynaptic neurons.
        pre: bool,
        /// True if it varies over postsynaptic neurons.
        post: bool,
    },
    /// The type of an expression with an error that was already reported.
    Poison,
}

/// A side of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The presynaptic side, index `i`.
    Pre,
    /// The postsynaptic side, index `j`.
    Post,
}

/// The axis of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// One side of a bundle.
    Side(Side),
    /// The elements of a vector.
    Vector,
}

/// The reductions of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The sum `Σ x`.
    Sum,
    /// The mean `Σ x / n`.
    Mean,
    /// The maximum.
    Max,
    /// The norm `sqrt(Σ x²)`.
    Norm,
}

/// A typed expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// The kind.
    pub kind: ExprKind,
    /// The axes.
    pub ty: Type,
    /// The place in the spec.
    pub span: Span,
}

/// The kinds of typed expression.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A number.
    Number(f64),
    /// The size of a vector, as a number.
    SizeOf(SizeVar),
    /// A value of this step.
    Definition(DefId),
    /// A parameter.
    Param(ParamId),
    /// An input.
    Input(InputId),
    /// The value of a state on entry to the step.
    State(StateId),
    /// The value of a state on exit from the step.
    Next(StateId),
    /// A draw of noise.
    Noise(NoiseId),
    /// A function of one operand.
    Unary(Unary, Box<Expr>),
    /// A function `f(a, b)`; operands are broadcast to the common axes.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// A choice: `a` where the condition is not 0, else `b`.
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A clip `clip(x, lo, hi)`.
    Clip(Box<Expr>, f64, f64, Boundary),
    /// A reduction.
    Reduce(Fold, Over, Box<Expr>),
    /// A linear map `x W + b`, or `x Wᵀ + b`.
    Linear {
        /// The operand, a vector.
        x: Box<Expr>,
        /// The matrix `[from, to]`, or `[to, from]` if it is transposed.
        weight: ParamId,
        /// True if the matrix is transposed.
        transposed: bool,
        /// The bias `[to]`.
        bias: Option<ParamId>,
    },
    /// The softmax of a vector.
    Softmax(Box<Expr>),
    /// The logarithm of the softmax of a vector.
    LogSoftmax(Box<Expr>),
    /// 1 where an element of a vector is one of its k largest, else 0.
    TopK(Box<Expr>, usize),
    /// A concatenation of vectors.
    Concat(Vec<Expr>),
    /// A slice of a vector; the bounds are in [`Model::regions`].
    Slice(Box<Expr>, RegionId),
    /// An indicator: 1 inside a region of one side of a bundle, else 0.
    InRegion(Side, RegionId),
    /// The operand without gradient.
    Stop(Box<Expr>),
    /// The operand with other axes: a vector of one element as a scalar, a vector as an element of one side,
    /// an element of one side as a vector, or a broadcast.
    Convert(Box<Expr>),
    /// A placeholder for an expression with an error.
    Poison,
}

/// The id of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionId(pub u32);

/// A range of indices `start..end` on an axis of size `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The first index.
    pub start: usize,
    /// One past the last index.
    pub end: usize,
}

/// The kind of statement that made a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefKind {
    /// A value `name = expr`.
    Value,
    /// A modulator `modulator name = expr`.
    Modulator,
    /// An output `output name = expr`.
    Output,
    /// The input that a plastic bundle delivers to its post neurons.
    Received,
}

/// A value of this step.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The name; local values of a bundle are `BUNDLE.NAME`.
    pub path: String,
    /// The kind of statement.
    pub kind: DefKind,
    /// The expression.
    pub expr: Expr,
    /// The name where it is defined.
    pub span: Span,
}

/// The connections of a sparse bundle: those of the first post neuron by their pre neurons, then those of the second, and so on.
#[derive(Clone, Debug)]
pub struct Connections {
    /// The pre neuron of each.
    pub pre: Indices,
    /// The post neuron of each.
    pub post: Indices,
}

impl Connections {
    /// The number of connections.
    pub fn count(&self) -> usize {
        self.pre.at().len()
    }

    /// A digest of which connections exist, the same on all machines.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for at in self.pre.at().iter().chain(self.post.at()) {
            hash.update(at.to_le_bytes());
        }
        let bytes = hash.finalize();
        bytes
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The neurons of one side.
    pub fn side(&self, side: Side) -> &Indices {
        match side {
            Side::Pre => &self.pre,
            Side::Post => &self.post,
        }
    }

    /// The elements of a matrix `[pre, post]` that exist, row by row.
    pub fn of(&self, matrix: &[f64]) -> Vec<f64> {
        let pairs = self.pre.at().iter().zip(self.post.at());
        let place = |(i, j): (&u32, &u32)| *i as usize * self.post.size() + *j as usize;
        pairs.map(|pair| matrix[place(pair)]).collect()
    }
}

/// A plastic bundle.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The name.
    pub name: String,
    /// The number of presynaptic neurons.
    pub pre: SizeVar,
    /// The number of postsynaptic neurons.
    pub post: SizeVar,
    /// The rule, if it names one.
    pub rule: Option<String>,
    /// The connections that exist, where it is sparse.
    pub connections: Option<Connections>,
    /// The place of the postsynaptic side, where both sides are the same state.
    pub same_state: Option<Span>,
    /// The name at its declaration.
    pub span: Span,
}

/// The task of an experiment.
pub struct TaskModel {
    /// The entry of the catalog.
    pub info: &'static TaskInfo,
    /// The settings, with defaults.
    pub settings: Settings,
    /// The ports with these settings.
    pub ports: TaskPorts,
    /// The name in the spec.
    pub span: Span,
}

/// The trainer of an experiment.
#[derive(Clone)]
pub struct TrainModel {
    /// The entry of the catalog.
    pub trainer: &'static TrainerInfo,
    /// The settings, with defaults.
    pub settings: Settings,
    /// The losses of outputs; if there are none, the setting `loss` is that of all.
    pub losses: Vec<OutputLoss>,
    /// The entry of the catalog for the optimizer.
    pub optimizer: &'static OptimizerInfo,
    /// The settings of the optimizer, with defaults.
    pub optimizer_settings: Settings,
    /// The name in the spec.
    pub span: Span,
}

impl TrainModel {
    /// The loss in one line.
    pub fn loss_in_a_line(&self) -> String {
        if self.losses.is_empty() {
            return self.trainer.loss(&self.settings).in_a_line();
        }
        let losses = self.losses.iter().map(|loss| {
            let formula = self.trainer.formula(loss.function).in_a_line();
            format!("{}: {} * {formula}", loss.output, loss.factor)
        });
        losses.collect::<Vec<_>>().join(", plus for ")
    }
}

/// The loss of one output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputLoss {
    /// The output.
    pub output: String,
    /// The name of the loss.
    pub function: &'static str,
    /// The factor on it.
    pub factor: f64,
    /// The place in the spec.
    pub span: Span,
}

/// A first value that the step computes, of parameters or of a draw.
#[derive(Clone, Debug)]
pub struct First {
    /// The state.
    pub state: StateId,
    /// The state that is 1 where the first value is taken, else 0.
    pub starts: StateId,
    /// The first value.
    pub value: Expr,
}

/// A whole experiment.
pub struct Model {
    /// The name of the network.
    pub name: String,
    /// The parameters, trained and constant.
    pub params: Vec<ParamSlot>,
    /// The inputs and task signals.
    pub inputs: Vec<InputSlot>,
    /// The states and traces.
    pub states: Vec<StateSlot>,
    /// The noise sources.
    pub noises: Vec<NoiseSlot>,
    /// The type of each parameter, in the order of `params`.
    pub param_types: Vec<Type>,
    /// The type of each state, in the order of `states`.
    pub state_types: Vec<Type>,
    /// The type of each noise source, in the order of `noises`.
    pub noise_types: Vec<Type>,
    /// The order of computation: values of this step and next values of states, each after its dependencies.
    pub order: Vec<Step>,
    /// The values of this step.
    pub definitions: Vec<Definition>,
    /// The next value of each state; `None` if nothing updates it.
    pub nexts: Vec<Option<Expr>>,
    /// The computed first values.
    pub firsts: Vec<First>,
    /// The outputs, in the order of their declaration.
    pub outputs: Vec<DefId>,
    /// The plastic bundles.
    pub bundles: Vec<Bundle>,
    /// The regions with their bounds.
    pub regions: Vec<Region>,
    /// The solved sizes.
    pub sizes: Vec<usize>,
    /// The task, if the spec names one.
    pub task: Option<TaskModel>,
    /// The trainer, if the spec names one.
    pub train: Option<TrainModel>,
}

/// One computation of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A definition.
    Define(DefId),
    /// The next value of a state.
    Next(StateId),
}

impl Model {
    /// The solved value of a size.
    pub fn size(&self, var: SizeVar) -> usize {
        self.sizes[var.index()]
    }

    /// The dimensions of a type, outermost first, without the lane.
    pub fn dims(&self, ty: Type) -> Vec<usize> {
        match ty {
            Type::Scalar | Type::Poison => vec![],
            Type::Vector(size) => vec![self.size(size)],
            Type::Element { bundle, pre, post } => {
                let bundle = &self.bundles[bundle.index()];
                if let (Some(connections), true, true) = (&bundle.connections, pre, post) {
                    return vec![1, connections.count()];
                }
                let mut dims = Vec::new();
                if pre {
                    dims.push(self.size(bundle.pre));
                }
                if post {
                    dims.push(self.size(bundle.post));
                }
                dims
            }
        }
    }
}

impl Expr {
    /// Calls `visit` on this expression and all subexpressions, outermost first. The parser bounds the depth
    /// of expressions.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        match &self.kind {
            ExprKind::Number(_)
            | ExprKind::SizeOf(_)
            | ExprKind::Definition(_)
            | ExprKind::Param(_)
            | ExprKind::Input(_)
            | ExprKind::State(_)
            | ExprKind::Next(_)
            | ExprKind::Noise(_)
            | ExprKind::InRegion(..)
            | ExprKind::Poison => {}
            ExprKind::Unary(_, x)
            | ExprKind::Clip(x, ..)
            | ExprKind::Reduce(_, _, x)
            | ExprKind::Linear { x, .. }
            | ExprKind::Softmax(x)
            | ExprKind::LogSoftmax(x)
            | ExprKind::TopK(x, _)
            | ExprKind::Slice(x, _)
            | ExprKind::Stop(x)
            | ExprKind::Convert(x) => x.walk(visit),
            ExprKind::Binary(_, a, b) => {
                a.walk(visit);
                b.walk(visit);
            }
            ExprKind::Select(c, a, b) => {
                c.walk(visit);
                a.walk(visit);
                b.walk(visit);
            }
            ExprKind::Concat(parts) => {
                for part in parts {
                    part.walk(visit);
                }
            }
        }
    }
}
