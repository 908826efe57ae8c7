//! The values of a stage that are stored in memory, with their places; others are computed where they are
//! read.

use super::Extent;
use crate::ir::{Binary, Graph, Op, ResultKind, Unary, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// The stored values of a graph.
pub(super) struct Layout {
    /// The number of elements before each stored value.
    at: BTreeMap<ValueId, usize>,
    /// The size of all stored values. Values stored once follow those stored per row.
    pub extent: Extent,
    /// The values that results depend on.
    pub needed: BTreeSet<ValueId>,
}

impl Layout {
    pub(super) fn new(graph: &Graph) -> Layout {
        let mut needed: BTreeSet<ValueId> = graph.results().iter().map(|(_, id)| *id).collect();
        let mut uses: BTreeMap<ValueId, usize> = BTreeMap::new();
        for id in graph.ids().rev() {
            if needed.contains(&id) {
                for operand in &graph.value(id).operands {
                    needed.insert(*operand);
                    *uses.entry(*operand).or_default() += 1;
                }
            }
        }
        for (_, id) in graph.results() {
            *uses.entry(*id).or_default() += 1;
        }
        let mut kept = BTreeSet::new();
        for id in graph.ids().filter(|id| needed.contains(id)) {
            let value = graph.value(id);
            match value.op {
                Op::MatVec { .. } => {
                    kept.insert(id);
                    let [v, m] = [value.operands[0], value.operands[1]];
                    if graph.shape(v).lane {
                        kept.insert(m);
                        if !is_hot(graph, v) {
                            kept.insert(v);
                        }
                    }
                }
                Op::Outer => {
                    kept.insert(id);
                    let [a, b] = [value.operands[0], value.operands[1]];
                    if value.operands.iter().all(|o| graph.shape(*o).lane) {
                        kept.insert(b);
                        if !is_hot(graph, a) {
                            kept.insert(a);
                        }
                    }
                }
                Op::LaneSum | Op::Reduce { .. } | Op::Softmax => {
                    kept.insert(id);
                }
                _ => {}
            }
            let often = uses.get(&id).is_some_and(|n| *n > 1);
            if often && !is_cheap(&value.op) && !is_hot(graph, id) {
                kept.insert(id);
            }
            if repeats(&value.op) {
                let operands = value.operands.iter();
                kept.extend(operands.filter(|o| !is_cheap(&graph.value(**o).op)));
            }
        }
        // Parameters and given rows have their own places.
        let mut layout = Layout {
            at: BTreeMap::new(),
            extent: Extent::default(),
            needed,
        };
        for id in kept {
            if stands_elsewhere(graph, id) {
                continue;
            }
            let shape = graph.shape(id);
            let end = match shape.lane {
                true => &mut layout.extent.of_row,
                false => &mut layout.extent.once,
            };
            layout.at.insert(id, *end);
            *end += shape.elements();
        }
        layout
    }

    /// The start of a stored value.
    pub(super) fn place(&self, id: ValueId) -> Option<usize> {
        self.at.get(&id).copied()
    }
}

/// Returns true if a value has its place outside the stage. Words have none: they are not vectors in memory.
fn stands_elsewhere(graph: &Graph, id: ValueId) -> bool {
    match graph.value(id).op {
        Op::Param(_) | Op::Seed(_) => true,
        Op::Input(_) => !is_hot(graph, id),
        _ => false,
    }
}

/// Returns true if an operation's expression contains its operands more than once.
fn repeats(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(Unary::Relu | Unary::Sign | Unary::Square)
            | Op::Binary(Binary::Min | Binary::Max)
            | Op::ClipMask { .. }
    )
}

/// Returns true if a value costs less to compute than to read.
fn is_cheap(op: &Op) -> bool {
    matches!(
        op,
        Op::Param(_)
            | Op::Input(_)
            | Op::Seed(_)
            | Op::Const(_)
            | Op::RangeMask { .. }
            | Op::Slice { .. }
            | Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::StopGradient
            | Op::Unary(Unary::Neg)
    )
}

/// Returns true if each row of a value has at most one nonzero element: the place of the word.
pub(super) fn is_hot(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    let operand = |k: usize| is_hot(graph, value.operands[k]);
    match value.op {
        // Values of earlier stages have such names.
        Op::Input(slot) => !graph.inputs[slot.index()].path.starts_with("value "),
        Op::Binary(Binary::Mul) => operand(0) || operand(1),
        Op::Binary(Binary::Div) => operand(0),
        Op::Unary(Unary::Neg) | Op::Reshape { .. } | Op::StopGradient => operand(0),
        _ => false,
    }
}

/// Returns true if a result is the gradient of a parameter.
pub(super) fn is_gradient(result: ResultKind) -> bool {
    matches!(result, ResultKind::Gradient(_))
}
