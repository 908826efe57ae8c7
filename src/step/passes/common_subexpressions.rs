//! Common subexpressions: `y1 = f(a, b)`, `y2 = f(a, b)` or `f(b, a)` ⇒ `y2 = y1`.
//!
//! The builder already finds equal operations on equal operands; this pass finds exchanged operands. Minimum
//! and maximum are not exchanged, because their order matters if an operand is NaN.

use super::rewrite::{rewrite_each, Budget};
use crate::ir::{Binary, Graph, Op, ShapeError};

/// Computes equal values once.
pub(super) fn run(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    rewrite_each(graph, budget, |graph, op, operands| {
        Ok(match (op, operands) {
            (Op::Binary(f), &[a, b]) if commutes(*f) => graph.find(op, &[b, a]),
            _ => None,
        })
    })
}

fn commutes(f: Binary) -> bool {
    match f {
        Binary::Add | Binary::Mul | Binary::Equal | Binary::And | Binary::Or => true,
        Binary::Sub
        | Binary::Div
        | Binary::Min
        | Binary::Max
        | Binary::Pow
        | Binary::Less
        | Binary::LessEqual => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{OutputId, OutputSlot, ResultKind, StateSlot};

    fn sum_of_both_orders(f: Binary) -> Graph {
        let mut graph = Graph::new();
        let state = graph.add_state(StateSlot::new("h", [2], 0.0));
        let other = graph.add_state(StateSlot::new("g", [2], 0.0));
        graph.add_output(OutputSlot::new("y", [2]));
        let h = graph.add(Op::State(state), &[]).unwrap();
        let g = graph.add(Op::State(other), &[]).unwrap();
        let first = graph.binary(f, h, g).unwrap();
        let second = graph.binary(f, g, h).unwrap();
        let y = graph.binary(Binary::Sub, first, second).unwrap();
        graph.set_result(ResultKind::Output(OutputId(0)), y);
        graph.set_result(ResultKind::Next(state), second);
        graph.set_result(ResultKind::Next(other), g);
        graph
    }

    #[test]
    fn exchanged_operands_are_one_value_where_that_is_the_same() {
        for f in Binary::ALL {
            let graph = sum_of_both_orders(f);
            let mut budget = Budget::new(None);
            let out = run(&graph, &mut budget).unwrap();
            let y = out.result(ResultKind::Output(OutputId(0))).unwrap();
            let operands = &out.value(y).operands;
            assert_eq!(operands[0] == operands[1], commutes(f), "{f:?}");
            assert_eq!(budget.spent(), usize::from(commutes(f)), "{f:?}");
        }
    }
}
