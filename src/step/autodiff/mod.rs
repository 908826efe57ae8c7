//! The adjoint of a step: reverse-mode differentiation of the step graph, before any fusion.
//!
//! Backpropagation through time is the step T times forward and this graph T times backward; the
//! steps are never unrolled. For one step, with `ȳ` the seeds of the outputs and `s̄'` the adjoints of
//! the states that leave it, the adjoint graph gives `θ̄`, the step's share of the gradient of each
//! trained parameter, and `s̄`, the adjoints of the states that entered it.

mod ranges;
mod reach;
mod vjp;

pub use reach::reached_parameters;

use crate::ir::{Binary, Graph, InputId, Op, ParamId, ResultKind, ShapeError, StateId, ValueId};
use ranges::Ranges;
use vjp::{passes_gradient, Vjp};

/// The variables of differentiation, beside trained parameters and states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Also the inputs.
    pub inputs: bool,
}

/// The adjoint graph of a step.
///
/// Its leaves are those of the step with a [`Op::Seed`] for each output and an [`Op::AdjointIn`] for
/// each state. Its results are a gradient for every trained parameter, an adjoint for every state
/// and, where asked, for every input: zero where nothing reaches them. Forward values that are
/// needed are computed again from the leaves, others are left out; ids are the printed numbers.
///
/// A zero adjoint stays zero (`vjp.rs`): what a branch that is not taken computes, infinite numbers among it, adds nothing.
pub fn differentiate(step: &Graph, options: Options) -> Graph {
    Reverse::new(step, options)
        .run()
        .expect("adjoints have the shapes of the values of a verified step")
        .compacted()
}

struct Reverse {
    graph: Graph,
    /// The ranges of its values.
    ranges: Ranges,
    options: Options,
    /// The forward values come first in `graph`; how many there are.
    forward: usize,
    outputs: Vec<(ResultKind, ValueId)>,
    /// True if a value depends on something differentiated by.
    active: Vec<bool>,
    /// The adjoint of each forward value, as far as its users were visited.
    adjoints: Vec<Option<ValueId>>,
}

impl Reverse {
    fn new(step: &Graph, options: Options) -> Reverse {
        let mut graph = step.clone();
        graph.clear_results();
        let mut active = vec![false; graph.len()];
        for id in graph.ids() {
            let value = graph.value(id);
            let from_operands = value
                .operands
                .iter()
                .enumerate()
                .any(|(k, operand)| active[operand.index()] && passes_gradient(&value.op, k));
            let leaf = match value.op {
                Op::Param(param) => graph.params[param.index()].trained,
                Op::State(_) => true,
                Op::Input(_) => options.inputs,
                _ => false,
            };
            active[id.index()] = leaf || from_operands;
        }
        Reverse {
            ranges: Ranges::of_step(step),
            options,
            forward: graph.len(),
            outputs: step.results().to_vec(),
            adjoints: vec![None; graph.len()],
            active,
            graph,
        }
    }

    fn run(mut self) -> Result<Graph, ShapeError> {
        self.seed()?;
        let forward: Vec<ValueId> = self.graph.ids().take(self.forward).collect();
        for id in forward.into_iter().rev() {
            let Some(adjoint) = self.adjoints[id.index()] else {
                continue;
            };
            if let Some(name) = self.graph.value(id).name.clone() {
                self.name_adjoint(adjoint, &name);
            }
            let operands = self.graph.value(id).operands.clone();
            let before = self.graph.len();
            let mut vjp = Vjp {
                graph: &mut self.graph,
                ranges: &mut self.ranges,
            };
            let parts = vjp.of(id, adjoint)?;
            // A derivative is found where what it is the derivative of is written.
            if let Some(span) = self.graph.value(id).span {
                for k in before..self.graph.len() {
                    self.graph.set_span(ValueId(k as u32), span);
                }
            }
            for (operand, part) in operands.into_iter().zip(parts) {
                if let Some(part) = part {
                    self.accumulate(operand, part)?;
                }
            }
        }
        self.finish()?;
        Ok(self.graph)
    }

    /// The adjoints that come from outside.
    fn seed(&mut self) -> Result<(), ShapeError> {
        for (result, id) in std::mem::take(&mut self.outputs) {
            let leaf = match result {
                ResultKind::Output(output) => Op::Seed(output),
                ResultKind::Next(state) => Op::AdjointIn(state),
                ResultKind::Gradient(_)
                | ResultKind::AdjointOut(_)
                | ResultKind::InputAdjoint(_) => continue,
            };
            if self.active[id.index()] {
                let leaf = self.graph.add(leaf, &[])?;
                self.accumulate(id, leaf)?;
            }
        }
        Ok(())
    }

    fn accumulate(&mut self, id: ValueId, part: ValueId) -> Result<(), ShapeError> {
        if !self.active[id.index()] {
            return Ok(());
        }
        let part = self.fit_lanes(id, part)?;
        let sum = match self.adjoints[id.index()] {
            Some(sum) => self.graph.binary(Binary::Add, sum, part)?,
            None => part,
        };
        self.adjoints[id.index()] = Some(sum);
        Ok(())
    }

    /// Gives `part` the lane axis of `id`. The adjoint of a value per lane always has lanes, so that
    /// a sum over them counts each one.
    fn fit_lanes(&mut self, id: ValueId, part: ValueId) -> Result<ValueId, ShapeError> {
        match (self.graph.shape(id).lane, self.graph.shape(part).lane) {
            (false, true) => self.graph.lane_sum(part),
            // The same in every lane: `part` whatever the condition.
            (true, false) => self.graph.select(id, part, part),
            (true, true) | (false, false) => Ok(part),
        }
    }

    /// Names an adjoint after its value, unless it already is the adjoint of another named one.
    fn name_adjoint(&mut self, adjoint: ValueId, name: &str) {
        if adjoint.index() >= self.forward {
            self.graph.set_name(adjoint, &format!("adjoint of {name}"));
        }
    }

    fn finish(&mut self) -> Result<(), ShapeError> {
        for k in 0..self.graph.params.len() as u32 {
            let param = ParamId(k);
            if self.graph.params[param.index()].trained {
                let dims = self.graph.params[param.index()].dims.clone();
                self.finish_leaf(Op::Param(param), ResultKind::Gradient(param), &dims)?;
            }
        }
        for k in 0..self.graph.states.len() as u32 {
            let state = StateId(k);
            let dims = self.graph.states[state.index()].dims.clone();
            self.finish_leaf(Op::State(state), ResultKind::AdjointOut(state), &dims)?;
        }
        if self.options.inputs {
            for k in 0..self.graph.inputs.len() as u32 {
                let input = InputId(k);
                let dims = self.graph.inputs[input.index()].dims.clone();
                self.finish_leaf(Op::Input(input), ResultKind::InputAdjoint(input), &dims)?;
            }
        }
        Ok(())
    }

    fn finish_leaf(
        &mut self,
        leaf: Op,
        result: ResultKind,
        dims: &[usize],
    ) -> Result<(), ShapeError> {
        let adjoint = self
            .graph
            .find(&leaf, &[])
            .and_then(|id| self.adjoints.get(id.index()).copied().flatten());
        let adjoint = match adjoint {
            Some(adjoint) => adjoint,
            None => self.graph.fill(0.0, dims)?,
        };
        self.graph.set_result(result, adjoint);
        Ok(())
    }
}
