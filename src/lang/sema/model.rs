//! The typed model: what a spec means, with every name resolved and every size known.

use super::sizes::SizeVar;
use crate::ir::{
    Binary, Boundary, InputId, InputSlot, NoiseId, NoiseSlot, ParamId, ParamSlot, StateId,
    StateSlot, Unary,
};
use crate::lang::catalog::{OptimizerInfo, TaskInfo, TaskPorts, TrainerInfo};
use crate::lang::diag::Span;
use crate::lang::settings::Settings;

/// Index of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefId(pub u32);

impl DefId {
    /// As an index into [`Model::definitions`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a plastic bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId(pub u32);

impl BundleId {
    /// As an index into [`Model::bundles`].
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
        /// Whether it differs between presynaptic neurons.
        pre: bool,
        /// Whether it differs between postsynaptic neurons.
        post: bool,
    },
    /// The type of an expression with an error that was already reported.
    Poison,
}

/// A side of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Presynaptic, index `i`.
    Pre,
    /// Postsynaptic, index `j`.
    Post,
}

/// What a reduction runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// One side of a bundle.
    Side(Side),
    /// The elements of a vector.
    Vector,
}

/// Reductions of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// `Σ x`
    Sum,
    /// `Σ x / n`
    Mean,
    /// The largest.
    Max,
    /// `sqrt(Σ x²)`
    Norm,
}

/// A typed expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its axes.
    pub ty: Type,
    /// Where it was written.
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
    /// The value of a state that entered the step.
    State(StateId),
    /// The value of a state that leaves the step.
    Next(StateId),
    /// A draw of noise.
    Noise(NoiseId),
    /// `f(x)`
    Unary(Unary, Box<Expr>),
    /// `f(a, b)`, operands broadcast to the axes of the whole.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `a` where the condition is not 0, else `b`.
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `clip(x, lo, hi)`
    Clip(Box<Expr>, f64, f64, Boundary),
    /// A reduction.
    Reduce(Fold, Over, Box<Expr>),
    /// `x W + b`, or `x Wᵀ + b`
    Linear {
        /// The operand, a vector.
        x: Box<Expr>,
        /// `[from, to]`, or `[to, from]` where it is used transposed.
        weight: ParamId,
        /// Whether it is.
        transposed: bool,
        /// `[to]`
        bias: Option<ParamId>,
    },
    /// Softmax of a vector.
    Softmax(Box<Expr>),
    /// Vectors one after another.
    Concat(Vec<Expr>),
    /// Part of a vector; the bounds are in [`Model::regions`].
    Slice(Box<Expr>, RegionId),
    /// 1 inside a region of one side of a bundle, else 0.
    InRegion(Side, RegionId),
    /// The operand, with no gradient.
    Stop(Box<Expr>),
    /// The operand with other axes: a vector of one element as a scalar, a vector as an element of one
    /// side, an element of one side as a vector, or stretched.
    Convert(Box<Expr>),
    /// Stands for an expression with an error.
    Poison,
}

/// Index of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionId(pub u32);

/// Indices `start..end` of something of size `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First index.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

/// What kind of statement made a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefKind {
    /// `name = expr`
    Value,
    /// `modulator name = expr`
    Modulator,
    /// `output name = expr`
    Output,
    /// What a plastic bundle delivers to its post neurons.
    Received,
}

/// A value of this step.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name; local values of a bundle are `BUNDLE.NAME`.
    pub path: String,
    /// What made it.
    pub kind: DefKind,
    /// Its value.
    pub expr: Expr,
    /// The name where it is defined.
    pub span: Span,
}

/// A plastic bundle.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its name.
    pub name: String,
    /// Number of presynaptic neurons.
    pub pre: SizeVar,
    /// Number of postsynaptic neurons.
    pub post: SizeVar,
    /// The rule it uses, if it names one.
    pub rule: Option<String>,
    /// Its name where it is declared.
    pub span: Span,
}

/// The task of an experiment.
pub struct TaskModel {
    /// The task.
    pub info: &'static TaskInfo,
    /// Its settings, defaults filled in.
    pub settings: Settings,
    /// What it gives and wants with these settings.
    pub ports: TaskPorts,
    /// The name in the spec.
    pub span: Span,
}

/// The trainer of an experiment.
#[derive(Clone)]
pub struct TrainModel {
    /// The trainer.
    pub trainer: &'static TrainerInfo,
    /// Its settings, defaults filled in.
    pub settings: Settings,
    /// The optimizer.
    pub optimizer: &'static OptimizerInfo,
    /// The optimizer's settings, defaults filled in.
    pub optimizer_settings: Settings,
    /// The name in the spec.
    pub span: Span,
}

/// A whole experiment.
pub struct Model {
    /// Name of the network.
    pub name: String,
    /// Parameters, trained and constant.
    pub params: Vec<ParamSlot>,
    /// Inputs and task signals.
    pub inputs: Vec<InputSlot>,
    /// States and traces.
    pub states: Vec<StateSlot>,
    /// Noise sources.
    pub noises: Vec<NoiseSlot>,
    /// Type of each parameter, state and noise source, in the order of the tables.
    pub param_types: Vec<Type>,
    /// See `param_types`.
    pub state_types: Vec<Type>,
    /// See `param_types`.
    pub noise_types: Vec<Type>,
    /// Values of this step and the leaving values of states, each after what it needs.
    pub order: Vec<Step>,
    /// Values of this step.
    pub definitions: Vec<Definition>,
    /// Leaving value of each state; `None` where nothing updates it.
    pub nexts: Vec<Option<Expr>>,
    /// Outputs, in the order of their declaration.
    pub outputs: Vec<DefId>,
    /// Plastic bundles.
    pub bundles: Vec<Bundle>,
    /// Regions with their bounds.
    pub regions: Vec<Region>,
    /// Solved sizes.
    pub sizes: Vec<usize>,
    /// The task, if the spec names one.
    pub task: Option<TaskModel>,
    /// The trainer, if the spec names one.
    pub train: Option<TrainModel>,
}

/// One thing to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A definition.
    Define(DefId),
    /// The leaving value of a state.
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
    /// Calls `visit` on this expression and all inside it, outermost first.
    /// The depth of expressions is bounded by the parser.
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
