//! The graph: values in petgraph behind typed ids, slots, results.

use super::id::{InputId, OutputId, ParamId, StateId, ValueId};
use super::op::{Op, Shape};
use super::Span;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashMap;
use std::sync::Arc;

/// One value: an operation, its operands in order, and the shape of the result.
#[derive(Clone, Debug)]
pub struct Value {
    /// The operation that computes it.
    pub op: Op,
    /// The operands, in order.
    pub operands: Vec<ValueId>,
    /// The shape.
    pub shape: Shape,
    /// The name in the spec, if it has one.
    pub name: Option<String>,
    /// The expression in the spec.
    pub span: Option<Span>,
}

/// An array from a file, or one that the spec writes out.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenArray {
    /// The file, if there is one, with its SHA-256.
    pub file: Option<(std::path::PathBuf, String)>,
    /// The dimensions.
    pub dims: Vec<usize>,
    /// The values, row by row; all finite.
    pub values: Vec<f64>,
}

impl GivenArray {
    /// The array as a spec writes it out: lists of rows.
    pub fn literal(&self) -> String {
        let row = |values: &[f64]| {
            let values: Vec<String> = values.iter().map(f64::to_string).collect();
            format!("[{}]", values.join(", "))
        };
        match self.dims.as_slice() {
            [_, columns] => {
                let rows: Vec<String> = self.values.chunks((*columns).max(1)).map(row).collect();
                format!("[{}]", rows.join(", "))
            }
            _ => row(&self.values),
        }
    }
}

/// The initial value of a parameter, or the distribution of a noise source.
#[derive(Clone, Debug, PartialEq)]
pub enum Draw {
    /// One number everywhere.
    Constant(f64),
    /// A uniform distribution on `[lo, hi)`.
    Uniform(f64, f64),
    /// A normal distribution with mean and standard deviation.
    Normal(f64, f64),
    /// A Bernoulli distribution: 1 with probability `p`, else 0.
    Bernoulli(f64),
    /// The identity matrix times a number; square matrices only.
    Identity(f64),
    /// The values of a file, for parameters only.
    Given(Arc<GivenArray>),
}

impl Draw {
    /// The mean of the distribution; for the identity, that of the elements off the diagonal.
    pub fn mean(&self) -> f64 {
        match *self {
            Draw::Given(ref given) => {
                given.values.iter().sum::<f64>() / given.values.len().max(1) as f64
            }
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
    /// The path in the spec, `rec.alpha`.
    pub path: String,
    /// The dimensions, `[pre, post]` for a connection.
    pub dims: Vec<usize>,
    /// True if the optimizer updates it.
    pub trained: bool,
    /// The initial value.
    pub init: Draw,
    /// The factor on its gradient before clipping.
    pub grad_scale: f64,
    /// The declaration.
    pub span: Option<Span>,
}

/// An input of the step.
#[derive(Clone, Debug)]
pub struct InputSlot {
    /// The name; signals of the task are called `external.NAME`.
    pub path: String,
    /// The dimensions per lane.
    pub dims: Vec<usize>,
    /// The declaration.
    pub span: Option<Span>,
}

/// The time at which a state returns to its initial value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The start of every episode.
    Episode,
    /// The start of every episode and every trial.
    Trial,
    /// Never; its adjoint stops at the start of an episode.
    Never,
    /// The restart of the data stream; from one BPTT chunk to the next the value is kept, but detached.
    Carry,
    /// The start of every episode, also within a run of a lane; from one run to the next the value is kept, but detached.
    Stream,
}

/// A state or trace.
#[derive(Clone, Debug)]
pub struct StateSlot {
    /// The path in the spec, `h` or `rec.hebb`.
    pub path: String,
    /// The dimensions per lane.
    pub dims: Vec<usize>,
    /// The value at the start of an episode.
    pub init: f64,
    /// The parameter of the network with the values at the start of an episode, in the place of `init`.
    pub first: Option<ParamId>,
    /// The time of its reset.
    pub reset: Reset,
    /// True if it is a trace of a plastic bundle.
    pub trace: bool,
    /// True if the task gives each episode other first values.
    pub given: bool,
    /// The declaration.
    pub span: Option<Span>,
}

/// The end of the path of the state that is 1 where another takes its computed first value, else 0.
pub const STARTS: &str = ".starts";

impl StateSlot {
    /// Tells if its value outlives an episode.
    pub fn outlives(&self) -> bool {
        matches!(self.reset, Reset::Never | Reset::Carry | Reset::Stream)
    }
}

/// The frequency at which a noise source is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseKind {
    /// One sample per step.
    Step,
    /// One dropout mask per episode or chunk; in evaluation its mean.
    Mask,
}

/// A noise source, sampled per lane and element.
#[derive(Clone, Debug)]
pub struct NoiseSlot {
    /// The path in the spec.
    pub path: String,
    /// The dimensions per lane.
    pub dims: Vec<usize>,
    /// The distribution.
    pub draw: Draw,
    /// The frequency of sampling.
    pub kind: NoiseKind,
    /// The place in the spec, if it has one.
    pub span: Option<Span>,
}

/// An output of the step.
#[derive(Clone, Debug)]
pub struct OutputSlot {
    /// The name.
    pub path: String,
    /// The dimensions per lane.
    pub dims: Vec<usize>,
    /// The declaration.
    pub span: Option<Span>,
}

/// A result of a graph. A shared value may be the result of a per-lane kind, with the same value for every
/// lane: backends broadcast it to all lanes when they return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResultKind {
    /// The value of an output; per lane.
    Output(OutputId),
    /// The next value of a state; per lane.
    Next(StateId),
    /// The contribution of this step to the gradient of a parameter; shared.
    Gradient(ParamId),
    /// The adjoint of the state on entry to the step; per lane.
    AdjointOut(StateId),
    /// The adjoint of an input; per lane.
    InputAdjoint(InputId),
}

/// One time step, or its adjoint.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    values: DiGraph<Value, ()>,
    /// The parameters, in the order of their declaration.
    pub params: Vec<ParamSlot>,
    /// The inputs.
    pub inputs: Vec<InputSlot>,
    /// The states and traces.
    pub states: Vec<StateSlot>,
    /// The noise sources.
    pub noises: Vec<NoiseSlot>,
    /// The outputs.
    pub outputs: Vec<OutputSlot>,
    results: Vec<(ResultKind, ValueId)>,
    /// The existing value for each operation on given operands; used for look-ups only.
    known: HashMap<(Op, Vec<ValueId>), ValueId>,
}

impl Graph {
    /// The state that tells where this one takes its computed first value, if it has one. Whoever sets the first value of
    /// the one sets the other to 0.
    pub fn starts_of(&self, state: usize) -> Option<usize> {
        let path = format!("{}{STARTS}", self.states[state].path);
        self.states.iter().position(|slot| slot.path == path)
    }

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

    /// The value of `op` on `operands`, if there is one.
    pub fn find(&self, op: &Op, operands: &[ValueId]) -> Option<ValueId> {
        self.known.get(&(op.clone(), operands.to_vec())).copied()
    }

    /// The value behind an id.
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

    /// The number of values.
    pub fn len(&self) -> usize {
        self.values.node_count()
    }

    /// Returns true if the graph has no values.
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

    /// Sets the value of a result.
    pub fn set_result(&mut self, result: ResultKind, value: ValueId) {
        match self.results.binary_search_by_key(&result, |(r, _)| *r) {
            Ok(k) => self.results[k].1 = value,
            Err(k) => self.results.insert(k, (result, value)),
        }
    }

    /// Removes all results.
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

    /// The underlying petgraph, for traversal and drawing.
    pub fn petgraph(&self) -> &DiGraph<Value, ()> {
        &self.values
    }
}
