//! The parameters that can get a gradient at all, through any number of steps.

use super::vjp::passes_gradient;
use crate::ir::{Graph, Op, ResultKind, ValueId};

/// Returns true if adjoints can reach each parameter from an output, at the same step or, through the states, at an
/// earlier one. Constants are treated like trained parameters.
pub fn reached_parameters(step: &Graph) -> Vec<bool> {
    let mut reached = vec![false; step.len()];
    let mut waiting: Vec<ValueId> = step
        .results()
        .iter()
        .filter(|(result, _)| matches!(result, ResultKind::Output(_)))
        .map(|&(_, id)| id)
        .collect();
    let mut parameters = vec![false; step.params.len()];
    while let Some(id) = waiting.pop() {
        if std::mem::replace(&mut reached[id.index()], true) {
            continue;
        }
        let value = step.value(id);
        match value.op {
            Op::Param(param) => parameters[param.index()] = true,
            // The adjoint continues at the step before, from the state's next value.
            Op::State(state) => waiting.extend(step.result(ResultKind::Next(state))),
            _ => {}
        }
        for (k, operand) in value.operands.iter().enumerate() {
            if passes_gradient(&value.op, k) {
                waiting.push(*operand);
            }
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, OutputId, OutputSlot, ParamSlot, StateSlot};

    #[test]
    fn paths_through_states_count_and_stopped_ones_do_not() {
        let mut graph = Graph::new();
        let names = ["direct", "through_two_states", "stopped", "unread_state"];
        let params = names.map(|name| {
            let param = graph.add_param(ParamSlot::new(name, []));
            graph.add(Op::Param(param), &[]).unwrap()
        });
        let states = ["first", "second", "unread"].map(|name| {
            let state = graph.add_state(StateSlot::new(name, [], 0.0));
            graph.add(Op::State(state), &[]).unwrap()
        });
        graph.add_output(OutputSlot::new("y", []));

        let stopped = graph.add(Op::StopGradient, &[params[2]]).unwrap();
        let y = graph.binary(Binary::Mul, params[0], states[0]).unwrap();
        let y = graph.binary(Binary::Add, y, stopped).unwrap();
        graph.set_result(ResultKind::Output(OutputId(0)), y);
        let next = [states[1], params[1], params[3]];
        for (k, next) in next.into_iter().enumerate() {
            graph.set_result(ResultKind::Next(crate::ir::StateId(k as u32)), next);
        }
        assert_eq!(reached_parameters(&graph), [true, true, false, false]);
    }
}
