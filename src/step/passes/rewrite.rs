//! Rewriting a graph: built anew value by value, with some of them replaced.

use crate::ir::{Graph, Op, ShapeError, ValueId};

/// How many rewrites are still allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// Nothing where there is no limit.
    left: Option<usize>,
    spent: usize,
}

impl Budget {
    /// No more than `limit` rewrites, or any number.
    pub fn new(limit: Option<usize>) -> Budget {
        Budget {
            left: limit,
            spent: 0,
        }
    }

    /// Whether another rewrite is allowed.
    pub fn allows(&self) -> bool {
        self.left != Some(0)
    }

    /// Counts a rewrite.
    pub fn spend(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.spent += 1;
    }

    /// How many rewrites were counted.
    pub fn spent(&self) -> usize {
        self.spent
    }
}

/// A graph being built from another one.
pub(super) struct Rewriter<'a> {
    /// The graph as it was.
    pub from: &'a Graph,
    /// The new one.
    pub to: Graph,
    /// By old id, what the value is now.
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

    /// What a value, already rewritten, is now.
    pub fn moved(&self, id: ValueId) -> ValueId {
        self.moved[id.index()].expect("a value is rewritten before those that read it")
    }

    /// Whether a value was rewritten.
    pub fn is_done(&self, id: ValueId) -> bool {
        self.moved[id.index()].is_some()
    }

    /// The operands of a value, as they are now.
    pub fn operands(&self, id: ValueId) -> Vec<ValueId> {
        let operands = &self.from.value(id).operands;
        operands.iter().map(|o| self.moved(*o)).collect()
    }

    /// Takes a value over as it is.
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

    /// Replaces a value, which keeps its name.
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

/// Offers every value that results need to `rule`, which may give another one in the new graph. It is told
/// the operation and the new operands. What it gives must have the shape of the old value, or is not taken.
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

/// Which values results need.
pub(super) fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.len()];
    for id in graph.live_order() {
        live[id.index()] = true;
    }
    live
}

/// How often each value is an operand of a live one, or a result.
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

/// Which values depend on parameters and constants alone, and on no sum over lanes.
pub(super) fn fixed(graph: &Graph) -> Vec<bool> {
    let mut fixed: Vec<bool> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let operands = value.operands.iter().all(|o| fixed[o.index()]);
        fixed.push(operands && !value.shape.lane);
    }
    fixed
}
