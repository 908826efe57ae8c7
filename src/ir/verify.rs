//! The verifier: the invariants of every graph, checked after lowering, autodiff and each pass.
//!
//! Values
//! 1. Operands exist and come before their users; the edges in petgraph are exactly the operands.
//! 2. The stored shape is the one its rule computes ([`infer`]), which includes the number of
//!    operands, that named slots exist, ordered clip bounds, increasing axes and broadcast maps,
//!    at most [`super::MAX_RANK`] dimensions and none of size 0.
//! 3. No two values have the same name.
//!
//! Slots
//!
//! 4. Paths are unique among slots of a kind; dimensions are as in 2.
//! 5. Initial values and distributions are valid: ordered bounds, a probability in `[0, 1]`, no negative
//!    deviation, an identity only for square matrices.
//!
//! Results
//!
//! 6. Each result names an existing slot and an existing value with the dimensions of the slot.
//! 7. A step has one value for each output and one next value for each state, no other result, and
//!    no seed or incoming adjoint among its values.
//! 8. An adjoint has one gradient for each trained parameter and none for others, one adjoint for
//!    each state, input adjoints for all inputs or none, and no other result.
//! 9. A gradient is shared. Other results have a lane axis or are the same for every lane.

use super::graph::{Draw, Graph, ResultKind};
use super::id::{InputId, OutputId, ParamId, StateId, ValueId};
use super::op::{Op, Shape};
use super::shape::{infer, MAX_RANK};
use std::collections::HashSet;

/// The kind of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphKind {
    /// One time step.
    Step,
    /// The adjoint of a time step.
    Adjoint,
}

/// All violations in `graph`, as text for the compiler's developers; empty if it is valid.
pub fn verify(graph: &Graph, kind: GraphKind) -> Vec<String> {
    let mut verifier = Verifier {
        graph,
        kind,
        faults: Vec::new(),
    };
    verifier.values();
    verifier.slots();
    verifier.results();
    verifier.faults
}

struct Verifier<'a> {
    graph: &'a Graph,
    kind: GraphKind,
    faults: Vec<String>,
}

impl Verifier<'_> {
    fn check(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    fn values(&mut self) {
        let mut names = HashSet::new();
        for id in self.graph.ids() {
            let value = self.graph.value(id);
            let before = value.operands.iter().all(|operand| *operand < id);
            self.check(before, || {
                format!("{id}: an operand does not come before it")
            });
            self.edges(id);
            if before {
                self.shape(id);
            }
            if let Some(name) = &value.name {
                self.check(names.insert(name), || {
                    format!("{id}: a second value is called `{name}`")
                });
            }
            let adjoint_leaf = matches!(value.op, Op::Seed(_) | Op::AdjointIn(_));
            self.check(!adjoint_leaf || self.kind == GraphKind::Adjoint, || {
                format!("{id}: {} in a step", value.op.mnemonic())
            });
        }
    }

    fn edges(&mut self, id: ValueId) {
        let node = petgraph::graph::NodeIndex::new(id.index());
        let sources = self
            .graph
            .petgraph()
            .neighbors_directed(node, petgraph::Direction::Incoming);
        let mut sources: Vec<usize> = sources.map(|source| source.index()).collect();
        let mut operands: Vec<usize> = self
            .graph
            .value(id)
            .operands
            .iter()
            .map(|o| o.index())
            .collect();
        sources.sort_unstable();
        operands.sort_unstable();
        self.check(sources == operands, || {
            format!("{id}: edges from {sources:?} for operands {operands:?}")
        });
    }

    fn shape(&mut self, id: ValueId) {
        let value = self.graph.value(id);
        let operands: Vec<&Shape> = value
            .operands
            .iter()
            .map(|operand| &self.graph.value(*operand).shape)
            .collect();
        match infer(&value.op, &operands, self.graph) {
            Ok(shape) => self.check(shape == value.shape, || {
                format!("{id}: shape {} is stored for {shape}", value.shape)
            }),
            Err(error) => self.faults.push(format!("{id}: {error}")),
        }
    }

    fn slots(&mut self) {
        let graph = self.graph;
        let params = graph.params.iter().map(|slot| (&slot.path, &slot.dims));
        self.slot_table("parameter", params);
        let inputs = graph.inputs.iter().map(|slot| (&slot.path, &slot.dims));
        self.slot_table("input", inputs);
        let states = graph.states.iter().map(|slot| (&slot.path, &slot.dims));
        self.slot_table("state", states);
        let noises = graph.noises.iter().map(|slot| (&slot.path, &slot.dims));
        self.slot_table("noise", noises);
        let outputs = graph.outputs.iter().map(|slot| (&slot.path, &slot.dims));
        self.slot_table("output", outputs);
        for slot in &graph.params {
            self.draw(&slot.path, &slot.init, &slot.dims);
            self.check(slot.grad_scale.is_finite(), || {
                format!(
                    "parameter `{}`: gradient factor {}",
                    slot.path, slot.grad_scale
                )
            });
        }
        for slot in &graph.noises {
            self.draw(&slot.path, &slot.draw, &slot.dims);
        }
        for slot in &graph.states {
            self.check(slot.init.is_finite(), || {
                format!("state `{}`: first value {}", slot.path, slot.init)
            });
        }
    }

    fn slot_table<'s>(
        &mut self,
        kind: &str,
        slots: impl Iterator<Item = (&'s String, &'s Vec<usize>)>,
    ) {
        let mut paths = HashSet::new();
        for (path, dims) in slots {
            self.check(paths.insert(path), || {
                format!("{kind} `{path}`: a second one of this path")
            });
            self.check(dims.len() <= MAX_RANK && !dims.contains(&0), || {
                format!("{kind} `{path}`: dimensions {dims:?}")
            });
        }
    }

    fn draw(&mut self, path: &str, draw: &Draw, dims: &[usize]) {
        let sound = match *draw {
            Draw::Given(ref given) => given.values.len() == dims.iter().product::<usize>(),
            Draw::Constant(value) => value.is_finite(),
            Draw::Uniform(lo, hi) => lo.is_finite() && hi.is_finite() && lo <= hi,
            Draw::Normal(mean, deviation) => {
                mean.is_finite() && deviation.is_finite() && deviation >= 0.0
            }
            Draw::Bernoulli(p) => (0.0..=1.0).contains(&p),
            Draw::Identity(scale) => scale.is_finite() && dims.len() == 2 && dims[0] == dims[1],
        };
        self.check(sound, || format!("`{path}`: draw {draw} for {dims:?}"));
    }

    fn results(&mut self) {
        for &(result, id) in self.graph.results() {
            self.result(result, id);
        }
        match self.kind {
            GraphKind::Step => {
                for k in 0..self.graph.outputs.len() as u32 {
                    self.present(ResultKind::Output(OutputId(k)));
                }
                for k in 0..self.graph.states.len() as u32 {
                    self.present(ResultKind::Next(StateId(k)));
                }
            }
            GraphKind::Adjoint => {
                for (k, slot) in self.graph.params.iter().enumerate() {
                    if slot.trained {
                        self.present(ResultKind::Gradient(ParamId(k as u32)));
                    }
                }
                for k in 0..self.graph.states.len() as u32 {
                    self.present(ResultKind::AdjointOut(StateId(k)));
                }
                let inputs: Vec<ResultKind> = (0..self.graph.inputs.len() as u32)
                    .map(|k| ResultKind::InputAdjoint(InputId(k)))
                    .collect();
                if inputs.iter().any(|k| self.graph.result(*k).is_some()) {
                    for input in inputs {
                        self.present(input);
                    }
                }
            }
        }
    }

    fn present(&mut self, result: ResultKind) {
        self.check(self.graph.result(result).is_some(), || {
            format!("no {}", self.graph.result_text(result))
        });
    }

    fn result(&mut self, result: ResultKind, id: ValueId) {
        let graph = self.graph;
        let text = graph.result_text(result);
        let (dims, of_step) = match result {
            ResultKind::Output(k) => (graph.outputs.get(k.index()).map(|s| &s.dims), true),
            ResultKind::Next(k) => (graph.states.get(k.index()).map(|s| &s.dims), true),
            ResultKind::Gradient(k) => (graph.params.get(k.index()).map(|s| &s.dims), false),
            ResultKind::AdjointOut(k) => (graph.states.get(k.index()).map(|s| &s.dims), false),
            ResultKind::InputAdjoint(k) => (graph.inputs.get(k.index()).map(|s| &s.dims), false),
        };
        self.check(of_step == (self.kind == GraphKind::Step), || {
            format!("{text} is not a result of this kind of graph")
        });
        let Some(dims) = dims else {
            self.faults.push(format!("{text} names no slot"));
            return;
        };
        if id.index() >= graph.len() {
            self.faults
                .push(format!("{text} is {id}, which does not exist"));
            return;
        }
        let shape = graph.shape(id);
        self.check(shape.dims == *dims, || {
            format!("{text} has shape {shape} for dimensions {dims:?}")
        });
        if let ResultKind::Gradient(k) = result {
            self.check(!shape.lane, || format!("{text} has a lane axis"));
            self.check(graph.params[k.index()].trained, || {
                format!("{text} of a constant")
            });
        }
    }
}

#[cfg(test)]
mod tests;
