//! The graph itself: values on petgraph behind typed ids, slots, results.

use super::id::{InputId, OutputId, ParamId, StateId, ValueId};
use super::op::{Op, Shape};
use super::Span;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashMap;

/// One value: an operation, its operands in order, and the shape of the result.
#[derive(Clone, Debug)]
pub struct Value {
    /// What computes it.
    pub op: Op,
    /// The operands, in order.
    pub operands: Vec<ValueId>,
    /// Its shape.
    pub shape: Shape,
    /// The name the spec gives it, if it has one.
    pub name: Option<String>,
    /// The expression it came from.
    pub span: Option<Span>,
}

/// How a parameter gets its first value.
#[derive(Clone, Debug, PartialEq)]
pub enum Draw {
    /// The same number everywhere.
    Constant(f64),
    /// Uniform on `[lo, hi)`.
    Uniform(f64, f64),
    /// Normal with mean and standard deviation.
    Normal(f64, f64),
    /// 1 with probability `p`, else 0.
    Bernoulli(f64),
    /// The identity matrix times a number; square matrices only.
    Identity(f64),
}

impl Draw {
    /// The mean of what is drawn; of the identity, that of what is beside the diagonal.
    pub fn mean(&self) -> f64 {
        match *self {
            Draw::Constant(x) => x,
            Draw::Uniform(lo, hi) => (lo + hi) / 2.0,
            Draw::Normal(mean, _) => mean,
            Draw::Bernoulli(p) => p,
            Draw::Identity(_) => 0.0,
        }
    }
}

/// A parameter, trained or constant.
#[derive(Clone, Debug)]
pub struct ParamSlot {
    /// Its path in the spec, `rec.alpha`.
    pub path: String,
    /// Its dimensions, `[pre, post]` for a connection.
    pub dims: Vec<usize>,
    /// Whether the optimiser moves it.
    pub trained: bool,
    /// Its first value.
    pub init: Draw,
    /// Factor on its gradient before clipping.
    pub grad_scale: f64,
    /// Its declaration.
    pub span: Option<Span>,
}

/// An input of the step.
#[derive(Clone, Debug)]
pub struct InputSlot {
    /// Its name; signals of the task are called `external.NAME`.
    pub path: String,
    /// Its dimensions, per lane.
    pub dims: Vec<usize>,
    /// Its declaration.
    pub span: Option<Span>,
}

/// When a state goes back to its first value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// At the start of every episode.
    Episode,
    /// Also at the start of every trial.
    Trial,
    /// Never; its adjoint stops at the start of an episode.
    Never,
    /// Kept from one BPTT chunk to the next, detached; reset where the stream of data starts again.
    Carry,
}

/// A state or trace.
#[derive(Clone, Debug)]
pub struct StateSlot {
    /// Its path in the spec, `h` or `rec.hebb`.
    pub path: String,
    /// Its dimensions, per lane.
    pub dims: Vec<usize>,
    /// Its value at the start of an episode.
    pub init: f64,
    /// When it is reset.
    pub reset: Reset,
    /// Whether it is a trace of a plastic bundle.
    pub trace: bool,
    /// Its declaration.
    pub span: Option<Span>,
}

/// How often a noise source is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseKind {
    /// Anew at every step.
    Step,
    /// A dropout mask: one for all steps of an episode or chunk; its mean where nothing is learned.
    Mask,
}

/// A noise source, drawn per lane and element.
#[derive(Clone, Debug)]
pub struct NoiseSlot {
    /// Its path in the spec.
    pub path: String,
    /// Its dimensions, per lane.
    pub dims: Vec<usize>,
    /// Its distribution.
    pub draw: Draw,
    /// How often it is drawn.
    pub kind: NoiseKind,
}

/// An output of the step.
#[derive(Clone, Debug)]
pub struct OutputSlot {
    /// Its name.
    pub path: String,
    /// Its dimensions, per lane.
    pub dims: Vec<usize>,
    /// Its declaration.
    pub span: Option<Span>,
}

/// What a graph is evaluated for. A result per lane may be given by a shared value, which then
/// stands for the same in every lane: backends stretch it to all lanes when they hand it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResultKind {
    /// The value of an output; per lane.
    Output(OutputId),
    /// The value of a state that leaves the step; per lane.
    Next(StateId),
    /// What this step adds to the gradient of a parameter; shared.
    Gradient(ParamId),
    /// The adjoint of the state that entered the step; per lane.
    AdjointOut(StateId),
    /// The adjoint of an input; per lane.
    InputAdjoint(InputId),
}

/// One time step, or its adjoint.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    values: DiGraph<Value, ()>,
    /// Parameters, in the order of their declaration.
    pub params: Vec<ParamSlot>,
    /// Inputs.
    pub inputs: Vec<InputSlot>,
    /// States and traces.
    pub states: Vec<StateSlot>,
    /// Noise sources.
    pub noises: Vec<NoiseSlot>,
    /// Outputs.
    pub outputs: Vec<OutputSlot>,
    results: Vec<(ResultKind, ValueId)>,
    /// Which value an operation on given operands is; only ever looked up.
    known: HashMap<(Op, Vec<ValueId>), ValueId>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Adds a value. The builder (`ir/build.rs`) checks shapes; this does not.
    pub(super) fn push(&mut self, value: Value) -> ValueId {
        let operands = value.operands.clone();
        let key = (value.op.clone(), operands.clone());
        let node = self.values.add_node(value);
        for operand in operands {
            self.values
                .add_edge(NodeIndex::new(operand.index()), node, ());
        }
        let id = ValueId(node.index() as u32);
        self.known.entry(key).or_insert(id);
        id
    }

    /// The value that is `op` on `operands`, if there is one.
    pub fn find(&self, op: &Op, operands: &[ValueId]) -> Option<ValueId> {
        self.known.get(&(op.clone(), operands.to_vec())).copied()
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[NodeIndex::new(id.index())]
    }

    pub(super) fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[NodeIndex::new(id.index())]
    }

    /// Gives a value a name, unless it has one.
    pub fn set_name(&mut self, id: ValueId, name: &str) {
        self.value_mut(id)
            .name
            .get_or_insert_with(|| name.to_owned());
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All ids. Operands always come before their users.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = ValueId> {
        (0..self.len() as u32).map(ValueId)
    }

    /// The values that read `id`, without repeats, in order.
    pub fn users(&self, id: ValueId) -> Vec<ValueId> {
        let mut users: Vec<ValueId> = self
            .values
            .neighbors(NodeIndex::new(id.index()))
            .map(|n| ValueId(n.index() as u32))
            .collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Sets what a result is.
    pub fn set_result(&mut self, result: ResultKind, value: ValueId) {
        match self.results.binary_search_by_key(&result, |(r, _)| *r) {
            Ok(k) => self.results[k].1 = value,
            Err(k) => self.results.insert(k, (result, value)),
        }
    }

    /// Takes all results away.
    pub fn clear_results(&mut self) {
        self.results.clear();
    }

    /// The value of a result.
    pub fn result(&self, result: ResultKind) -> Option<ValueId> {
        self.results
            .binary_search_by_key(&result, |(r, _)| *r)
            .ok()
            .map(|k| self.results[k].1)
    }

    /// All results, ordered.
    pub fn results(&self) -> &[(ResultKind, ValueId)] {
        &self.results
    }

    /// The petgraph behind, for traversal and drawing.
    pub fn petgraph(&self) -> &DiGraph<Value, ()> {
        &self.values
    }
}
