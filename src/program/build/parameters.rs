//! The values computed from parameters alone, before the first step and after the last.

use super::partition::Class;
use super::Assembly;
use crate::ir::{Graph, Op, ParamId, ParamSlot, ResultKind, ValueId};
use crate::program::parameters::{Epilogue, Origin, Placed, Prologue};
use std::collections::{BTreeMap, BTreeSet};

/// Copies a value and its dependencies into another graph.
fn copy(
    from: &Graph,
    to: &mut Graph,
    map: &mut BTreeMap<ValueId, ValueId>,
    roots: impl Iterator<Item = ValueId>,
) {
    let mut wanted = BTreeSet::new();
    let mut stack: Vec<ValueId> = roots.collect();
    while let Some(id) = stack.pop() {
        if !map.contains_key(&id) && wanted.insert(id) {
            stack.extend(&from.value(id).operands);
        }
    }
    for id in wanted {
        let value = from.value(id);
        let operands: Vec<ValueId> = value.operands.iter().map(|o| map[o]).collect();
        let copied = to
            .add(value.op.clone(), &operands)
            .expect("a value that fits in one graph fits in its copy");
        map.insert(id, copied);
    }
}

/// The value without reshapes.
fn reshaped(graph: &Graph, mut id: ValueId) -> ValueId {
    while let Op::Reshape { .. } = graph.value(id).op {
        id = graph.value(id).operands[0];
    }
    id
}

pub(super) fn prologue(graph: &Graph, assembly: &Assembly) -> Prologue {
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    let param = |id: ValueId| match graph.value(reshaped(graph, id)).op {
        Op::Param(param) => Some(param.index()),
        _ => None,
    };
    let joined = |id: ValueId| -> Option<Vec<usize>> {
        let value = graph.value(id);
        let matches = matches!(value.op, Op::Concat) && !graph.dims(id).is_empty();
        let parts = value.operands.iter().map(|part| param(*part));
        matches.then(|| parts.collect()).flatten()
    };
    let mut map = BTreeMap::new();
    let mut places = Vec::new();
    for (id, slot) in &assembly.prologue {
        let origin = if let Some(k) = param(*id) {
            Origin::Leaf(k)
        } else if let Some(parts) = joined(*id) {
            Origin::Concat(parts)
        } else {
            copy(graph, &mut out, &mut map, std::iter::once(*id));
            // Results are numbered, not named: only their order matters here.
            let k = out.results().len();
            out.set_result(ResultKind::Gradient(ParamId(k as u32)), map[id]);
            Origin::Result(k)
        };
        places.push(Placed {
            slot: *slot,
            dims: graph.dims(*id).to_vec(),
            origin,
        });
    }
    places.sort_by_key(|placed| placed.slot.at);
    Prologue { graph: out, places }
}

pub(super) fn epilogue(graph: &Graph, classes: &[Class], assembly: &Assembly) -> Epilogue {
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    let mut map = BTreeMap::new();
    let mut sums = Vec::new();
    let mut numbers = BTreeMap::new();
    for (id, at) in &assembly.sums {
        debug_assert!(classes[id.index()] == Class::Sum, "{id} is summed");
        let dims = graph.dims(*id).to_vec();
        let slot = out.add_param(ParamSlot::new(format!("sum g{}", sums.len()), dims));
        let leaf = out
            .add(Op::Param(slot), &[])
            .expect("a parameter has no operands");
        map.insert(*id, leaf);
        numbers.insert(*id, sums.len());
        sums.push(*at);
    }
    let mut gradients = Vec::new();
    for (result, id) in graph.results() {
        let ResultKind::Gradient(parameter) = result else {
            continue;
        };
        let from = reshaped(graph, *id);
        let value = graph.value(from);
        let cut = match value.op {
            Op::Slice { start, .. } => numbers.get(&value.operands[0]).map(|n| (*n, start)),
            _ => None,
        };
        let origin = match (numbers.get(&from), cut) {
            (Some(number), _) => Origin::Leaf(*number),
            (None, Some((sum, start))) => Origin::Slice {
                sum,
                start,
                width: graph.dims(from).last().copied().unwrap_or(1),
            },
            (None, None) => {
                copy(graph, &mut out, &mut map, std::iter::once(*id));
                let k = out.results().len();
                out.set_result(ResultKind::Gradient(ParamId(k as u32)), map[id]);
                Origin::Result(k)
            }
        };
        gradients.push((parameter.index(), origin));
    }
    Epilogue {
        graph: out,
        sums,
        parameters: graph.params.len(),
        gradients,
    }
}
