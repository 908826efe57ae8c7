//! The partition of a graph: values computed once, per step, or after the last step, and their levels.

use crate::ir::{Graph, Op, ValueId};
use std::collections::BTreeMap;
use std::collections::HashMap;

/// The time at which a value is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Once per iteration: parameters and values that depend only on them.
    Prologue,
    /// Every step, per lane.
    Step,
    /// A sum over lanes, added up over steps and lanes. Adjoints are linear in it, so values that depend on
    /// it are computed once from the total.
    Sum,
    /// Once per iteration, from sums.
    Epilogue,
}

/// The classes of all values.
pub(super) fn classes(graph: &Graph) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let of = |o: &ValueId| classes[o.index()];
        let late = value
            .operands
            .iter()
            .any(|o| matches!(of(o), Class::Sum | Class::Epilogue));
        let per_lane = value.operands.iter().any(|o| of(o) == Class::Step);
        classes.push(if late {
            Class::Epilogue
        } else if matches!(value.op, Op::LaneSum | Op::Outer) && per_lane {
            Class::Sum
        } else if value.shape.lane || per_lane {
            Class::Step
        } else {
            Class::Prologue
        });
    }
    classes
}

/// The same value of the step, for each value of an adjoint graph that does not depend on adjoints.
pub(super) fn forward_values(step: &Graph, adjoint: &Graph) -> BTreeMap<ValueId, ValueId> {
    let mut known: HashMap<(&Op, &[ValueId]), ValueId> = HashMap::new();
    for id in step.ids() {
        let value = step.value(id);
        known
            .entry((&value.op, value.operands.as_slice()))
            .or_insert(id);
    }
    let mut map: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for id in adjoint.ids() {
        let value = adjoint.value(id);
        let operands: Option<Vec<ValueId>> =
            value.operands.iter().map(|o| map.get(o).copied()).collect();
        let Some(operands) = operands else { continue };
        if let Some(found) = known.get(&(&value.op, operands.as_slice())) {
            map.insert(id, *found);
        }
    }
    map
}

/// The level of each value of class `Step`: the number of sweeps over connections that must come before.
/// `given` values exist from the start.
pub(super) fn levels(
    graph: &Graph,
    classes: &[Class],
    given: impl Fn(ValueId) -> bool,
) -> Vec<usize> {
    let mut levels = vec![0; graph.len()];
    for id in graph.ids() {
        if !matches!(classes[id.index()], Class::Step | Class::Sum) || given(id) {
            continue;
        }
        let value = graph.value(id);
        let sweep = |o: &ValueId| graph.dims(*o).len() == 2 && value.shape.dims.len() < 2;
        levels[id.index()] = value
            .operands
            .iter()
            .map(|o| {
                let after = matches!(value.op, Op::Reduce { .. }) && sweep(o);
                levels[o.index()] + usize::from(after)
            })
            .max()
            .unwrap_or(0);
    }
    levels
}
