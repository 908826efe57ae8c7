//! A graph prepared to run: values that do not change from step to step are computed once, and each value is
//! dropped after its last use.

use super::ops::Kernels;
use crate::engine::StepLeaves;
use crate::ir::{Graph, Op, ResultKind, ValueId};
use candle_core::{DType, Device, Result, Tensor};

/// The frequency at which a value is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rate {
    /// Once.
    Constant,
    /// After each change of the parameters.
    Parameters,
    /// At every step.
    Step,
}

/// All leaves except parameters.
pub(super) struct Leaves<'a> {
    pub step: StepLeaves<'a, Tensor>,
    pub seeds: &'a [Tensor],
    pub adjoint_in: &'a [Tensor],
}

pub(super) struct Program {
    graph: Graph,
    kernels: Kernels,
    rates: Vec<Rate>,
    /// The values that a step computes, in order, each with the values that are not needed after it.
    steps: Vec<(ValueId, Vec<ValueId>)>,
    /// The values that do not change from step to step.
    kept: Vec<Option<Tensor>>,
}

impl Program {
    pub fn new(graph: Graph, lanes: usize, dtype: DType, device: &Device) -> Result<Program> {
        let rates = rates(&graph);
        let steps = schedule(&graph, &rates);
        let mut program = Program {
            kernels: Kernels::new(lanes, dtype, device),
            kept: vec![None; graph.len()],
            graph,
            rates,
            steps,
        };
        program.refresh(Rate::Constant, &[])?;
        Ok(program)
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Recomputes the values that depend only on parameters.
    pub fn set_parameters(&mut self, params: &[Tensor]) -> Result<()> {
        self.refresh(Rate::Parameters, params)
    }

    fn refresh(&mut self, rate: Rate, params: &[Tensor]) -> Result<()> {
        for id in self.graph.ids() {
            if self.rates[id.index()] == rate {
                let tensor = match self.graph.value(id).op {
                    Op::Param(param) => params[param.index()].clone(),
                    _ => self.kernels.apply(&self.graph, id, &self.kept)?,
                };
                self.kept[id.index()] = Some(tensor);
            }
        }
        Ok(())
    }

    /// The results in order: gradients `[dims...]`, others `[lanes, dims...]`.
    pub fn run(&self, leaves: &Leaves<'_>) -> Result<Vec<Tensor>> {
        let mut values = self.kept.clone();
        for (id, done) in &self.steps {
            let tensor = match &self.graph.value(*id).op {
                Op::Input(input) => leaves.step.inputs[input.index()].clone(),
                Op::State(state) => leaves.step.states[state.index()].clone(),
                Op::Noise(noise) => leaves.step.noises[noise.index()].clone(),
                Op::Seed(output) => leaves.seeds[output.index()].clone(),
                Op::AdjointIn(state) => leaves.adjoint_in[state.index()].clone(),
                _ => self.kernels.apply(&self.graph, *id, &values)?,
            };
            values[id.index()] = Some(tensor);
            for id in done {
                values[id.index()] = None;
            }
        }
        let results = self.graph.results().iter().map(|&(result, id)| {
            let tensor = super::ops::operand(&values, id);
            match result {
                ResultKind::Gradient(_) => tensor.contiguous(),
                ResultKind::Output(_)
                | ResultKind::Next(_)
                | ResultKind::AdjointOut(_)
                | ResultKind::InputAdjoint(_) => {
                    let per_lane = self.kernels.per_lane(tensor, self.graph.shape(id))?;
                    per_lane.contiguous()
                }
            }
        });
        results.collect()
    }
}

fn rates(graph: &Graph) -> Vec<Rate> {
    let mut rates: Vec<Rate> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let own = match value.op {
            Op::Param(_) => Rate::Parameters,
            Op::Input(_) | Op::State(_) | Op::Noise(_) | Op::Seed(_) | Op::AdjointIn(_) => {
                Rate::Step
            }
            _ => Rate::Constant,
        };
        let operands = value.operands.iter().map(|operand| rates[operand.index()]);
        rates.push(operands.fold(own, Rate::max));
    }
    rates
}

/// The values that results need at every step, each with the values that it reads last.
fn schedule(graph: &Graph, rates: &[Rate]) -> Vec<(ValueId, Vec<ValueId>)> {
    let mut seen = vec![false; graph.len()];
    for &(_, id) in graph.results() {
        seen[id.index()] = true;
    }
    let mut steps = Vec::new();
    let every_step = |id: &ValueId| rates[id.index()] == Rate::Step;
    for id in graph.live_order().into_iter().rev().filter(every_step) {
        let mut done = Vec::new();
        for operand in &graph.value(id).operands {
            let first_from_the_end = !std::mem::replace(&mut seen[operand.index()], true);
            if first_from_the_end && every_step(operand) {
                done.push(*operand);
            }
        }
        steps.push((id, done));
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, OutputId, OutputSlot, ParamSlot, StateSlot, Unary};

    #[test]
    fn values_are_dropped_after_their_last_user_and_parameters_are_hoisted() {
        let mut graph = Graph::new();
        let w = graph.add_param(ParamSlot::new("w", [2]));
        let h = graph.add_state(StateSlot::new("h", [2], 0.0));
        graph.add_output(OutputSlot::new("y", [2]));
        let w = graph.add(Op::Param(w), &[]).unwrap();
        let h_in = graph.add(Op::State(h), &[]).unwrap();
        let one = graph.fill(1.0, &[2]).unwrap();
        let rest = graph.binary(Binary::Sub, one, w).unwrap();
        let product = graph.binary(Binary::Mul, rest, h_in).unwrap();
        let y = graph.unary(Unary::Tanh, product).unwrap();
        let next = graph.binary(Binary::Add, y, product).unwrap();
        graph.set_result(ResultKind::Output(OutputId(0)), y);
        graph.set_result(ResultKind::Next(h), next);

        let rates = rates(&graph);
        assert_eq!(rates[one.index()], Rate::Constant);
        assert_eq!(rates[rest.index()], Rate::Parameters);
        let steps = schedule(&graph, &rates);
        let expected = [
            (h_in, vec![]),
            (product, vec![h_in]),
            (y, vec![]),
            (next, vec![product]),
        ];
        assert_eq!(steps, expected);
    }
}
