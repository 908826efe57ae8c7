//! Graph rewriting: a new graph is built value by value, with some values replaced.

use crate::ir::{Graph, Op, ShapeError, ValueId};

/// The number of rewrites still allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// The remaining rewrites; `None` without a limit.
    left: Option<usize>,
    spent: usize,
}

impl Budget {
    /// A budget of `limit` rewrites, or any number.
    pub fn new(limit: Option<usize>) -> Budget {
        Budget {
            left: limit,
            spent: 0,
        }
    }

    /// Returns true if another rewrite is allowed.
    pub fn allows(&self) -> bool {
        self.left != Some(0)
    }

    /// Counts a rewrite.
    pub fn spend(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.spent += 1;
    }

    /// The number of counted rewrites.
    pub fn spent(&self) -> usize {
        self.spent
    }
}

/// A graph under construction from another graph.
pub(super) struct Rewriter<'a> {
    /// The old graph.
    pub from: &'a Graph,
    /// The new graph.
    pub to: Graph,
    /// The new value by old id.
    moved: Vec<Option<ValueId>>,
}

impl<'a> Rewriter<'a> {
    pub fn new(from: &'a Graph) -> Rewriter<'a> {
        Rewriter {
            to: from.without_values(),
            moved: vec![None; from.len()],
            from,
        }
    }

    /// The new value of a rewritten value.
    pub fn moved(&self, id: ValueId) -> ValueId {
        self.moved[id.index()].expect("a value is rewritten before those that read it")
    }

    /// Returns true if a value was rewritten.
    pub fn is_done(&self, id: ValueId) -> bool {
        self.moved[id.index()].is_some()
    }

    /// The new operands of a value.
    pub fn operands(&self, id: ValueId) -> Vec<ValueId> {
        let operands = &self.from.value(id).operands;
        operands.iter().map(|o| self.moved(*o)).collect()
    }

    /// Copies a value unchanged.
    pub fn keep(&mut self, id: ValueId) -> Result<(), ShapeError> {
        let value = self.from.value(id);
        let operands = self.operands(id);
        let name = value.name.as_deref();
        let copy = self
            .to
            .add_at(value.op.clone(), &operands, name, value.span)?;
        self.moved[id.index()] = Some(copy);
        Ok(())
    }

    /// Replaces a value; the new value takes its name.
    pub fn replace(&mut self, id: ValueId, by: ValueId) {
        if let Some(name) = &self.from.value(id).name {
            self.to.set_name(by, name);
        }
        self.moved[id.index()] = Some(by);
    }

    /// The new graph with the results of the old one.
    pub fn finish(mut self) -> Graph {
        for &(result, id) in self.from.results() {
            let id = self.moved(id);
            self.to.set_result(result, id);
        }
        self.to
    }
}

/// Offers every live value to `rule`, which may return a replacement in the new graph. The rule gets the
/// operation and the new operands. A replacement with another shape is ignored.
pub(super) fn rewrite_each(
    graph: &Graph,
    budget: &mut Budget,
    mut rule: impl FnMut(&mut Graph, &Op, &[ValueId]) -> Result<Option<ValueId>, ShapeError>,
) -> Result<Graph, ShapeError> {
    let live = live(graph);
    let mut rewriter = Rewriter::new(graph);
    for id in graph.ids() {
        if live[id.index()] && budget.allows() {
            let value = graph.value(id);
            let operands = rewriter.operands(id);
            let found = rule(&mut rewriter.to, &value.op, &operands)?;
            let same = rewriter.to.find(&value.op, &operands);
            if let Some(by) = found.filter(|by| Some(*by) != same) {
                if *rewriter.to.shape(by) == value.shape {
                    budget.spend();
                    rewriter.replace(id, by);
                    continue;
                }
            }
        }
        rewriter.keep(id)?;
    }
    Ok(rewriter.finish())
}

/// Returns true if results need each value.
pub(super) fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.len()];
    for id in graph.live_order() {
        live[id.index()] = true;
    }
    live
}

/// The number of times that each value is an operand of a live value, or a result.
pub(super) fn uses(graph: &Graph, live: &[bool]) -> Vec<usize> {
    let mut uses = vec![0; graph.len()];
    for id in graph.ids().filter(|id| live[id.index()]) {
        for operand in &graph.value(id).operands {
            uses[operand.index()] += 1;
        }
    }
    for (_, id) in graph.results() {
        uses[id.index()] += 1;
    }
    uses
}

/// Returns true if each value depends only on parameters and constants, and on no sum over lanes.
pub(super) fn fixed(graph: &Graph) -> Vec<bool> {
    let mut fixed: Vec<bool> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let operands = value.operands.iter().all(|o| fixed[o.index()]);
        fixed.push(operands && !value.shape.lane);
    }
    fixed
}
