//! Dead code: `y = f(x)`, `y` unused ⇒ nothing.

use super::rewrite::{live, Budget};
use crate::ir::{Graph, ShapeError, ValueId};

/// Drops values that no result needs, users before operands.
pub(super) fn run(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let live = live(graph);
    let mut dropped = vec![false; graph.len()];
    for id in graph.ids().rev().filter(|id| !live[id.index()]) {
        if budget.allows() {
            dropped[id.index()] = true;
            budget.spend();
        }
    }
    let mut out = graph.without_values();
    let mut moved: Vec<Option<ValueId>> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        // A dropped value has only dropped users: they come later, and were dropped first.
        let operands: Option<Vec<ValueId>> =
            value.operands.iter().map(|o| moved[o.index()]).collect();
        moved.push(match operands {
            Some(operands) if !dropped[id.index()] => {
                let name = value.name.as_deref();
                Some(out.add_at(value.op.clone(), &operands, name, value.span)?)
            }
            _ => None,
        });
    }
    for &(result, id) in graph.results() {
        if let Some(id) = moved[id.index()] {
            out.set_result(result, id);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, Op, ResultKind, StateSlot, Unary};

    #[test]
    fn unused_chains_go_from_their_end() {
        let mut graph = Graph::new();
        let state = graph.add_state(StateSlot::new("h", [2], 0.0));
        let h = graph.add(Op::State(state), &[]).unwrap();
        let square = graph.unary(Unary::Square, h).unwrap();
        graph.unary(Unary::Exp, square).unwrap();
        let next = graph.binary(Binary::Add, h, h).unwrap();
        graph.set_result(ResultKind::Next(state), next);

        let left = |limit| {
            let mut budget = Budget::new(limit);
            let out = run(&graph, &mut budget).unwrap();
            assert!(out.results().len() == 1 && out.find(&Op::State(state), &[]).is_some());
            (out.len(), budget.spent())
        };
        assert_eq!(left(None), (2, 2));
        assert_eq!(left(Some(1)), (3, 1));
        assert_eq!(left(Some(0)), (4, 0));
    }
}
