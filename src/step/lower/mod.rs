//! Lowering: from the typed model to the graph of one step.
//!
//! The graph is acyclic and has no fused operations. The builder has checked the shape of every value, and
//! every state has one next value. A bundle's connections become values `[lane, pre, post]`, whose sum over
//! `pre` reaches the post neurons; passes turn them into kernels.

mod connections;

use crate::ir::{
    Binary, Graph, InputSlot, Op, OutputSlot, Reduction, Reset, ResultKind, StateId, Unary, ValueId,
};
use crate::lang::diag::Span;
use crate::lang::sema::model::{DefId, Expr, ExprKind, First, Fold, Model, Over, Side, Step, Type};
use crate::step::reads_text;
use std::collections::{BTreeMap, BTreeSet};

/// The path of the input that is 1 on the first step of a trial, for states that reset there.
pub const TRIAL_START: &str = "external.trial_start";

/// The path prefix of inputs that replace computed values ([`Changes::given`]).
pub const GIVEN: &str = "given.";

/// The path prefix of outputs that are states on entry ([`Changes::entered`]).
pub const ENTERED: &str = "entered ";

/// Changes to a step for inspection or intervention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Values that become additional outputs, after those of the spec.
    pub shown: Vec<DefId>,
    /// Values that are not computed: an input named [`GIVEN`] and their path replaces each.
    pub given: Vec<DefId>,
    /// States whose values on entry become outputs, [`ENTERED`] and their paths: where one begins, that is its first value.
    pub entered: Vec<StateId>,
}

/// The graph of one step of the model.
pub fn lower(model: &Model) -> Graph {
    lower_with(model, &Changes::default())
}

/// The graph of one step with changes.
pub fn lower_with(model: &Model, changes: &Changes) -> Graph {
    let mut lowerer = Lowerer::new(model);
    lowerer.changes = changes.clone();
    for step in &model.order {
        match step {
            Step::Define(id) => lowerer.define(*id),
            Step::Next(id) => lowerer.next(*id),
        }
    }
    lowerer.outputs();
    lowerer.graph.compacted()
}

struct Lowerer<'a> {
    model: &'a Model,
    graph: Graph,
    definitions: BTreeMap<DefId, ValueId>,
    nexts: BTreeMap<StateId, ValueId>,
    /// The value of each state on entry, after its trial reset.
    entering: Vec<ValueId>,
    changes: Changes,
}

/// Sizes and axes were checked when the model was built.
const SOUND: &str = "the shapes of a model without errors fit";

impl<'a> Lowerer<'a> {
    fn new(model: &'a Model) -> Lowerer<'a> {
        let mut graph = Graph::new();
        for slot in &model.params {
            graph.add_param(slot.clone());
        }
        for slot in &model.inputs {
            graph.add_input(slot.clone());
        }
        for slot in &model.noises {
            graph.add_noise(slot.clone());
        }
        let mut trial_start = None;
        // A text is one trial from its beginning to its end.
        let trials = !reads_text(model);
        let streams = model.task.as_ref().is_some_and(|task| task.ports.streams);
        let restarts = |reset| reset == Reset::Trial || (streams && reset == Reset::Episode);
        if trials && model.states.iter().any(|slot| restarts(slot.reset)) {
            let known = model
                .inputs
                .iter()
                .position(|slot| slot.path == TRIAL_START);
            let id = match known {
                Some(k) => crate::ir::InputId(k as u32),
                None => graph.add_input(InputSlot {
                    path: TRIAL_START.to_owned(),
                    dims: Vec::new(),
                    span: None,
                }),
            };
            trial_start = Some(graph.add(Op::Input(id), &[]).expect(SOUND));
        }
        // Where a first value is computed, its own mark says when.
        let computed: BTreeSet<StateId> = model.firsts.iter().map(|first| first.state).collect();
        let mut entering = Vec::new();
        for (k, slot) in (0..).map(StateId).zip(&model.states) {
            let mut own = slot.clone();
            if streams && restarts(slot.reset) {
                own.reset = Reset::Stream;
            }
            let id = graph.add_state(own);
            let value = graph.add(Op::State(id), &[]).expect(SOUND);
            entering.push(match trial_start {
                Some(start) if restarts(slot.reset) && !computed.contains(&k) => {
                    let start = graph.broadcast_to(start, &slot.dims, &[]).expect(SOUND);
                    let first = match slot.first {
                        Some(first) => graph.add(Op::Param(first), &[]),
                        None => graph.fill(slot.init, &slot.dims),
                    };
                    let first = first.expect(SOUND);
                    graph.select(start, first, value).expect(SOUND)
                }
                Some(_) | None => value,
            });
        }
        let mut lowerer = Lowerer {
            model,
            graph,
            definitions: BTreeMap::new(),
            nexts: BTreeMap::new(),
            entering,
            changes: Changes::default(),
        };
        for first in &model.firsts {
            lowerer.first(first);
        }
        lowerer
    }

    /// Has a state enter the step with its computed first value where it begins.
    fn first(&mut self, first: &First) {
        let k = first.state.index();
        let dims = &self.model.states[k].dims;
        let starts = self.entering[first.starts.index()];
        let starts = self.graph.sum(starts, &[0]).expect(SOUND);
        let starts = self.graph.broadcast_to(starts, dims, &[]).expect(SOUND);
        let value = self.expr(&first.value);
        let value = self.stretch(value, first.value.ty, self.model.state_types[k]);
        let entered = self.entering[k];
        let selected = self.graph.select(starts, value, entered);
        self.entering[k] = selected.expect(SOUND);
    }

    fn define(&mut self, id: DefId) {
        let definition = &self.model.definitions[id.index()];
        if self.changes.given.contains(&id) {
            let input = self.graph.add_input(InputSlot {
                path: format!("{GIVEN}{}", definition.path),
                dims: self.model.dims(definition.expr.ty),
                span: Some(definition.span),
            });
            let value = self.graph.add(Op::Input(input), &[]).expect(SOUND);
            self.definitions.insert(id, value);
            return;
        }
        let value = self.expr(&definition.expr);
        self.name(value, &definition.path);
        self.definitions.insert(id, value);
    }

    /// Leaves keep their own names.
    fn name(&mut self, value: ValueId, path: &str) {
        if !self.graph.value(value).operands.is_empty() {
            self.graph.set_name(value, path);
        }
    }

    fn next(&mut self, id: StateId) {
        let value = match &self.model.nexts[id.index()] {
            Some(next) => {
                let value = self.expr(next);
                self.stretch(value, next.ty, self.model.state_types[id.index()])
            }
            None => self.entering[id.index()],
        };
        let path = format!("next {}", self.model.states[id.index()].path);
        self.name(value, &path);
        self.graph.set_result(ResultKind::Next(id), value);
        self.nexts.insert(id, value);
    }

    fn outputs(&mut self) {
        let shown = self.changes.shown.clone();
        let more = shown.iter().filter(|id| !self.model.outputs.contains(id));
        for id in self.model.outputs.iter().chain(more) {
            let definition = &self.model.definitions[id.index()];
            let value = self.definitions[id];
            let output = self.graph.add_output(OutputSlot {
                path: definition.path.clone(),
                dims: self.graph.dims(value).to_vec(),
                span: Some(definition.span),
            });
            self.graph.set_result(ResultKind::Output(output), value);
        }
        for id in std::mem::take(&mut self.changes.entered) {
            let slot = &self.model.states[id.index()];
            let output = self.graph.add_output(OutputSlot {
                path: format!("{ENTERED}{}", slot.path),
                dims: slot.dims.clone(),
                span: slot.span,
            });
            let value = self.entering[id.index()];
            self.graph.set_result(ResultKind::Output(output), value);
        }
    }

    fn add(&mut self, op: Op, operands: &[ValueId], span: Span) -> ValueId {
        self.graph
            .add_at(op, operands, None, Some(span))
            .expect(SOUND)
    }

    /// A value, broadcast to the dimensions of another type.
    fn stretch(&mut self, value: ValueId, from: Type, to: Type) -> ValueId {
        let dims = self.model.dims(to);
        if self.graph.dims(value) == dims && same_axes(from, to) {
            return value;
        }
        // A vector of one element becomes a scalar, or the reverse.
        if let (Type::Vector(_), Type::Scalar) = (from, to) {
            return self.graph.reshape(value, &dims).expect(SOUND);
        }
        if let Some((connections, side)) = self.gathered(from, to) {
            let op = Op::Gather(connections.side(side).clone());
            let vector = self.graph.add(op, &[value]).expect(SOUND);
            return self.graph.broadcast_to(vector, &dims, &[1]).expect(SOUND);
        }
        let map: Vec<usize> = match (from, to) {
            (
                Type::Element {
                    pre: true,
                    post: false,
                    ..
                },
                Type::Element {
                    pre: true,
                    post: true,
                    ..
                },
            ) => vec![0],
            (
                Type::Element {
                    pre: false,
                    post: true,
                    ..
                },
                Type::Element {
                    pre: true,
                    post: true,
                    ..
                },
            ) => vec![1],
            (Type::Scalar, _) => vec![],
            _ => (0..dims.len()).collect(),
        };
        self.graph.broadcast_to(value, &dims, &map).expect(SOUND)
    }

    fn expr(&mut self, e: &Expr) -> ValueId {
        let span = e.span;
        match &e.kind {
            ExprKind::Number(value) => self.graph.constant(*value),
            ExprKind::SizeOf(size) => {
                let size = self.model.size(*size) as f64;
                self.graph.constant(size)
            }
            ExprKind::Definition(id) => match self.definitions.get(id) {
                Some(value) => *value,
                // First values come before the step, and name values of parameters only.
                None => {
                    let model = self.model;
                    self.expr(&model.definitions[id.index()].expr)
                }
            },
            ExprKind::Param(id) => self.add(Op::Param(*id), &[], span),
            ExprKind::Input(id) => self.add(Op::Input(*id), &[], span),
            ExprKind::State(id) => self.entering[id.index()],
            ExprKind::Next(id) => self.nexts[id],
            ExprKind::Noise(id) => self.add(Op::Noise(*id), &[], span),
            ExprKind::Unary(function, x) => {
                let x = self.expr(x);
                self.add(Op::Unary(*function), &[x], span)
            }
            ExprKind::Binary(function, a, b) => {
                let a = self.operand(a, e.ty);
                let b = self.operand(b, e.ty);
                self.add(Op::Binary(*function), &[a, b], span)
            }
            ExprKind::Select(c, a, b) => {
                let c = self.operand(c, e.ty);
                let a = self.operand(a, e.ty);
                let b = self.operand(b, e.ty);
                self.add(Op::Select, &[c, a, b], span)
            }
            ExprKind::Clip(x, lo, hi, boundary) => {
                let x = self.expr(x);
                let op = Op::Clip {
                    lo: (*lo).into(),
                    hi: (*hi).into(),
                    boundary: *boundary,
                };
                self.add(op, &[x], span)
            }
            ExprKind::Reduce(fold, over, x) => self.reduce(*fold, *over, x, span),
            ExprKind::Linear {
                x,
                weight,
                transposed,
                bias,
            } => {
                let transposed = *transposed;
                let x = self.expr(x);
                let weight = self.add(Op::Param(*weight), &[], span);
                let product = self.add(Op::MatVec { transposed }, &[x, weight], span);
                match bias {
                    Some(bias) => {
                        let bias = self.add(Op::Param(*bias), &[], span);
                        self.add(Op::Binary(Binary::Add), &[product, bias], span)
                    }
                    None => product,
                }
            }
            ExprKind::Softmax(x) => {
                let ty = x.ty;
                let x = self.expr(x);
                // The softmax of a single number is 1.
                match ty {
                    Type::Scalar => self.graph.constant(1.0),
                    Type::Vector(_) | Type::Element { .. } | Type::Poison => {
                        self.add(Op::Softmax, &[x], span)
                    }
                }
            }
            ExprKind::LogSoftmax(x) => {
                let ty = x.ty;
                let x = self.expr(x);
                match ty {
                    Type::Scalar => self.graph.constant(0.0),
                    Type::Vector(_) | Type::Element { .. } | Type::Poison => {
                        self.log_softmax(x, span)
                    }
                }
            }
            ExprKind::TopK(x, k) => {
                let x = self.expr(x);
                self.topk(x, *k, span)
            }
            ExprKind::Concat(parts) => {
                let parts: Vec<ValueId> = parts.iter().map(|part| self.expr(part)).collect();
                self.graph.concat(&parts).expect(SOUND)
            }
            ExprKind::Slice(x, region) => {
                let x = self.expr(x);
                let region = self.model.regions[region.0 as usize];
                self.graph.slice(x, region.start, region.end).expect(SOUND)
            }
            ExprKind::InRegion(_, region) => {
                let region = self.model.regions[region.0 as usize];
                let op = Op::RangeMask {
                    size: self.model.dims(e.ty)[0],
                    start: region.start,
                    end: region.end,
                };
                self.add(op, &[], span)
            }
            ExprKind::Stop(x) => {
                let x = self.expr(x);
                self.add(Op::StopGradient, &[x], span)
            }
            ExprKind::Convert(x) => self.operand(x, e.ty),
            ExprKind::Poison => unreachable!("a model with errors is never lowered"),
        }
    }

    fn operand(&mut self, e: &Expr, to: Type) -> ValueId {
        let value = self.expr(e);
        self.stretch(value, e.ty, to)
    }

    /// The logarithm of the softmax of a vector: `s - log Σ exp(s)` with `s = x - max(x)`, whose sum is at least 1.
    fn log_softmax(&mut self, x: ValueId, span: Span) -> ValueId {
        let dims = self.graph.dims(x).to_vec();
        let op = Op::Reduce {
            kind: Reduction::Max,
            axes: vec![0],
        };
        let largest = self.add(op, &[x], span);
        // It cancels, and so does its gradient.
        let largest = self.add(Op::StopGradient, &[largest], span);
        let largest = self.graph.broadcast_to(largest, &dims, &[]).expect(SOUND);
        let shifted = self.add(Op::Binary(Binary::Sub), &[x, largest], span);
        let grown = self.add(Op::Unary(Unary::Exp), &[shifted], span);
        let total = self.graph.sum(grown, &[0]).expect(SOUND);
        let total = self.add(Op::Unary(Unary::Log), &[total], span);
        let total = self.graph.broadcast_to(total, &dims, &[]).expect(SOUND);
        self.add(Op::Binary(Binary::Sub), &[shifted, total], span)
    }

    /// 1 where fewer than k elements are larger.
    fn topk(&mut self, x: ValueId, k: usize, span: Span) -> ValueId {
        let n = self.graph.dims(x)[0];
        let x = self.add(Op::StopGradient, &[x], span);
        let other = self.graph.broadcast_to(x, &[n, n], &[0]).expect(SOUND);
        let own = self.graph.broadcast_to(x, &[n, n], &[1]).expect(SOUND);
        let larger = self.add(Op::Binary(Binary::Less), &[own, other], span);
        let count = self.graph.sum(larger, &[0]).expect(SOUND);
        let most = self.graph.fill(k as f64, &[n]).expect(SOUND);
        self.add(Op::Binary(Binary::Less), &[count, most], span)
    }

    fn reduce(&mut self, fold: Fold, over: Over, x: &Expr, span: Span) -> ValueId {
        let reached = self.scattered(over, x.ty);
        let axis = match (over, x.ty) {
            _ if reached.is_some() => 0,
            (Over::Side(Side::Post), Type::Element { pre: true, .. }) => 1,
            (Over::Side(_) | Over::Vector, _) => 0,
        };
        let mut value = self.expr(x);
        let count = self.graph.dims(value)[axis] as f64;
        let kind = match fold {
            Fold::Sum | Fold::Mean | Fold::Norm => Reduction::Sum,
            Fold::Max => Reduction::Max,
        };
        if fold == Fold::Norm {
            value = self.add(Op::Unary(Unary::Square), &[value], span);
        }
        let op = Op::Reduce {
            kind,
            axes: vec![axis],
        };
        let mut reduced = self.add(op, &[value], span);
        if let Some(reached) = reached {
            reduced = self.add(Op::Scatter(reached.clone()), &[reduced], span);
        }
        match fold {
            Fold::Sum | Fold::Max => reduced,
            Fold::Norm => self.add(Op::Unary(Unary::Sqrt), &[reduced], span),
            Fold::Mean if reached.is_some() => {
                let count = self.connections_of(reached);
                self.add(Op::Binary(Binary::Div), &[reduced, count], span)
            }
            Fold::Mean => {
                let dims = self.graph.dims(reduced).to_vec();
                let factor = self.graph.fill(1.0 / count, &dims).expect(SOUND);
                self.add(Op::Binary(Binary::Mul), &[reduced, factor], span)
            }
        }
    }
}

/// Returns true if two types of equal dimensions also have the same axes (`[pre]` and `[post]` may agree in size).
fn same_axes(a: Type, b: Type) -> bool {
    match (a, b) {
        (
            Type::Element { pre, post, .. },
            Type::Element {
                pre: p, post: q, ..
            },
        ) => (pre, post) == (p, q),
        _ => true,
    }
}
