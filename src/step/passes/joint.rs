//! A step and its adjoint as one graph, and their separation.

use crate::ir::{Graph, Op, ResultKind, ShapeError, ValueId};
use std::collections::{BTreeMap, HashSet};

/// Joins a step and its adjoint, if there is one, to one graph; structurally equal values become one value.
pub(super) fn join(step: &Graph, adjoint: Option<&Graph>) -> Result<Graph, ShapeError> {
    let mut joint = step.without_values();
    let mut names: HashSet<&str> = HashSet::new();
    for part in std::iter::once(step).chain(adjoint) {
        let mut moved: Vec<ValueId> = Vec::with_capacity(part.len());
        for id in part.ids() {
            let value = part.value(id);
            let operands: Vec<ValueId> = value.operands.iter().map(|o| moved[o.index()]).collect();
            let copy = joint.add_at(value.op.clone(), &operands, None, value.span)?;
            // A forward value occurs twice under the same name.
            if let Some(name) = value.name.as_deref().filter(|name| names.insert(name)) {
                joint.set_name(copy, name);
            }
            moved.push(copy);
        }
        for &(result, id) in part.results() {
            joint.set_result(result, moved[id.index()]);
        }
    }
    Ok(joint)
}

/// One of the two graphs in a joint graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Step,
    Adjoint,
}

impl Side {
    /// The graph that a result belongs to.
    fn of(result: ResultKind) -> Side {
        match result {
            ResultKind::Output(_) | ResultKind::Next(_) => Side::Step,
            ResultKind::Gradient(_) | ResultKind::AdjointOut(_) | ResultKind::InputAdjoint(_) => {
                Side::Adjoint
            }
        }
    }
}

/// The results of one graph and the values they need, operands before users; then dead values. Dead values
/// that depend on a seed or an incoming adjoint belong to the adjoint.
pub(super) fn part(joint: &Graph, side: Side) -> Result<Graph, ShapeError> {
    let mut live = joint.clone();
    live.clear_results();
    for &(result, id) in joint.results() {
        if Side::of(result) == side {
            live.set_result(result, id);
        }
    }
    let mut wanted = live.live_order();
    let mut seen = vec![false; joint.len()];
    for id in joint.live_order() {
        seen[id.index()] = true;
    }
    let mut backward: Vec<bool> = Vec::with_capacity(joint.len());
    let mut dead = Vec::new();
    for id in joint.ids() {
        let value = joint.value(id);
        let leaf = matches!(value.op, Op::Seed(_) | Op::AdjointIn(_));
        let from_adjoint = leaf || value.operands.iter().any(|o| backward[o.index()]);
        backward.push(from_adjoint);
        if !seen[id.index()] && from_adjoint == (side == Side::Adjoint) {
            dead.push(id);
        }
    }
    with_operands(joint, &mut wanted, dead);
    let mut out = joint.without_values();
    let mut moved: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for id in wanted {
        let value = joint.value(id);
        let operands: Vec<ValueId> = value.operands.iter().map(|o| moved[o]).collect();
        let name = value.name.as_deref();
        let copy = out.add_at(value.op.clone(), &operands, name, value.span)?;
        moved.insert(id, copy);
    }
    for &(result, id) in live.results() {
        out.set_result(result, moved[&id]);
    }
    Ok(out)
}

/// Appends `more` and their operands, unless present, in the order of ids.
fn with_operands(graph: &Graph, wanted: &mut Vec<ValueId>, more: Vec<ValueId>) {
    let mut there = vec![false; graph.len()];
    for id in &*wanted {
        there[id.index()] = true;
    }
    let mut added = Vec::new();
    let mut stack = more;
    while let Some(id) = stack.pop() {
        if !std::mem::replace(&mut there[id.index()], true) {
            added.push(id);
            stack.extend(&graph.value(id).operands);
        }
    }
    added.sort_unstable();
    wanted.extend(added);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, InputSlot, OutputId, OutputSlot, ParamSlot, Unary};
    use crate::step::autodiff::{differentiate, Options};

    /// A step `y = tanh(x w)` with a dead value.
    fn step() -> Graph {
        let mut graph = Graph::new();
        let x = graph.add_input(InputSlot::new("x", [3]));
        let w = graph.add_param(ParamSlot::new("w", [3, 2]));
        graph.add_output(OutputSlot::new("y", [2]));
        let x = graph.add(Op::Input(x), &[]).unwrap();
        let w = graph.add(Op::Param(w), &[]).unwrap();
        let sum = graph.mat_vec(x, w, false).unwrap();
        let y = graph
            .add_at(Op::Unary(Unary::Tanh), &[sum], Some("y"), None)
            .unwrap();
        graph.binary(Binary::Mul, x, x).unwrap();
        graph.set_result(ResultKind::Output(OutputId(0)), y);
        graph
    }

    #[test]
    fn joined_and_taken_apart_both_graphs_are_as_before() {
        let step = step();
        let adjoint = differentiate(&step, Options { inputs: true });
        let joint = join(&step, Some(&adjoint)).unwrap();
        // The common values are x, w, x w and y.
        assert_eq!(joint.len(), step.len() + adjoint.len() - 4);
        let part = |side| part(&joint, side).unwrap().to_string();
        assert_eq!(part(Side::Step), step.to_string());
        assert_eq!(part(Side::Adjoint), adjoint.to_string());
    }
}
