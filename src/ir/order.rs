//! The order of values for printing and evaluation, and the removal of dead values.

use super::graph::{Graph, Value};
use super::id::ValueId;
use std::collections::HashMap;

impl Graph {
    /// The values that results need, operands before users: depth first from the results in their order,
    /// through the operands in theirs. The order depends on the computation, not on the order of
    /// construction.
    pub fn live_order(&self) -> Vec<ValueId> {
        let mut order = Vec::with_capacity(self.len());
        let mut entered = vec![false; self.len()];
        // A value and the number of its visited operands. The stack is explicit, because the depth of a graph
        // is unbounded.
        let mut path: Vec<(ValueId, usize)> = Vec::new();
        for &(_, root) in self.results() {
            if !std::mem::replace(&mut entered[root.index()], true) {
                path.push((root, 0));
            }
            while let Some((id, visited)) = path.last_mut() {
                match self.value(*id).operands.get(*visited) {
                    Some(&operand) => {
                        *visited += 1;
                        if !std::mem::replace(&mut entered[operand.index()], true) {
                            path.push((operand, 0));
                        }
                    }
                    None => {
                        order.push(*id);
                        path.pop();
                    }
                }
            }
        }
        order
    }

    /// The same graph without dead values, its ids in [`Graph::live_order`]. The ids then equal the numbers
    /// in printed graphs.
    pub fn compacted(&self) -> Graph {
        let mut compact = self.without_values();
        let mut moved: HashMap<ValueId, ValueId> = HashMap::new();
        for id in self.live_order() {
            let value = self.value(id);
            let operands = value.operands.iter().map(|operand| moved[operand]);
            let copy = compact.push(Value {
                operands: operands.collect(),
                ..value.clone()
            });
            moved.insert(id, copy);
        }
        for &(result, id) in self.results() {
            compact.set_result(result, moved[&id]);
        }
        compact
    }

    /// The same graph with slots only.
    pub fn without_values(&self) -> Graph {
        let mut slots = Graph::new();
        slots.params.clone_from(&self.params);
        slots.inputs.clone_from(&self.inputs);
        slots.states.clone_from(&self.states);
        slots.noises.clone_from(&self.noises);
        slots.outputs.clone_from(&self.outputs);
        slots
    }
}
