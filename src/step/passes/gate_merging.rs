//! Linear maps of the same vector as one product: the gates of an LSTM, readout, value and modulator heads.
//!
//! - `v W1`, `v W2` ⇒ parts of `v [W1 W2]`
//! - `d1 W1ᵀ + d2 W2ᵀ` ⇒ `[d1 d2] [W1 W2]ᵀ`
//! - `outer(v, d1)`, `outer(v, d2)` ⇒ parts of `outer(v, [d1 d2])`
//!
//! Only matrices that are the same at every step are put side by side, so that this is done once for all of
//! them. Parts are ordered by their matrices: the adjoint then uses the product's own.

use super::rewrite::{fixed, live, uses, Budget, Rewriter};
use crate::ir::{Binary, Graph, Op, ShapeError, ValueId};
use std::collections::BTreeMap;

/// Merges linear maps of the same vector.
pub(super) fn run(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let graph = products(graph, budget)?;
    let graph = sums(&graph, budget)?;
    outers(&graph, budget)
}

/// Merges `v W1`, `v W2`.
fn products(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let (live, fixed) = (live(graph), fixed(graph));
    let groups = groups(graph, |id| {
        let value = graph.value(id);
        match (&value.op, value.operands.as_slice()) {
            (Op::MatVec { transposed: false }, &[v, m]) => {
                (live[id.index()] && value.shape.lane && fixed[m.index()]).then_some(v)
            }
            _ => None,
        }
    });
    // The matrices do not depend on any product.
    merged(graph, &groups, &fixed, budget)
}

/// Merges `outer(v, d1)`, `outer(v, d2)`.
fn outers(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let live = live(graph);
    let mut early: Vec<bool> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let sum = matches!(value.op, Op::Outer | Op::LaneSum);
        early.push(!sum && value.operands.iter().all(|o| early[o.index()]));
    }
    let groups = groups(graph, |id| {
        let value = graph.value(id);
        let joins = value.op == Op::Outer
            && live[id.index()]
            && value
                .operands
                .iter()
                .all(|o| early[o.index()] && graph.shape(*o).lane);
        joins.then(|| value.operands[0])
    });
    merged(graph, &groups, &early, budget)
}

/// The groups of values with the same first operand, at least two each, ordered by the second operand.
fn groups(graph: &Graph, first: impl Fn(ValueId) -> Option<ValueId>) -> Vec<Vec<ValueId>> {
    let mut groups: BTreeMap<ValueId, Vec<ValueId>> = BTreeMap::new();
    for id in graph.ids() {
        if let Some(v) = first(id) {
            groups.entry(v).or_default().push(id);
        }
    }
    let mut groups: Vec<Vec<ValueId>> = groups.into_values().filter(|g| g.len() > 1).collect();
    for group in &mut groups {
        group.sort_by_key(|id| graph.value(*id).operands[1]);
    }
    groups
}

/// Replaces each group by one value and its parts. `early` values come first; they contain all second
/// operands and depend only on early values.
fn merged(
    graph: &Graph,
    groups: &[Vec<ValueId>],
    early: &[bool],
    budget: &mut Budget,
) -> Result<Graph, ShapeError> {
    if groups.is_empty() || !budget.allows() {
        return Ok(graph.clone());
    }
    let group_of: BTreeMap<ValueId, &Vec<ValueId>> = groups
        .iter()
        .flat_map(|group| group.iter().map(move |id| (*id, group)))
        .collect();
    let mut rewriter = Rewriter::new(graph);
    let (first, rest): (Vec<ValueId>, Vec<ValueId>) = graph.ids().partition(|id| early[id.index()]);
    for id in first.into_iter().chain(rest) {
        if rewriter.is_done(id) {
            continue;
        }
        match group_of.get(&id) {
            Some(group) if budget.allows() => {
                budget.spend();
                let second = |id: &ValueId| rewriter.moved(graph.value(*id).operands[1]);
                let parts: Vec<ValueId> = group.iter().map(second).collect();
                let v = rewriter.moved(graph.value(id).operands[0]);
                let joined = rewriter.to.concat(&parts)?;
                let op = graph.value(id).op.clone();
                let whole = rewriter.to.add(op, &[v, joined])?;
                let mut start = 0;
                for member in group.iter() {
                    let end = start + last_dim(graph, *member);
                    let part = rewriter.to.slice(whole, start, end)?;
                    rewriter.replace(*member, part);
                    start = end;
                }
            }
            _ => rewriter.keep(id)?,
        }
    }
    Ok(rewriter.finish())
}

fn last_dim(graph: &Graph, id: ValueId) -> usize {
    graph.dims(id).last().copied().unwrap_or(1)
}

/// Merges `d1 W1ᵀ + d2 W2ᵀ`, anywhere among the terms of a sum.
fn sums(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let (live, fixed) = (live(graph), fixed(graph));
    let uses = uses(graph, &live);
    let is_add = |id: ValueId| graph.value(id).op == Op::Binary(Binary::Add);
    // A sum that only one other sum reads contributes its terms to that sum.
    let mut inner = vec![false; graph.len()];
    for id in graph.ids().filter(|id| live[id.index()] && is_add(*id)) {
        for operand in &graph.value(id).operands {
            inner[operand.index()] = is_add(*operand) && uses[operand.index()] == 1;
        }
    }
    let merges = |id: ValueId| {
        let value = graph.value(id);
        value.op == Op::MatVec { transposed: true }
            && value.shape.lane
            && uses[id.index()] == 1
            && fixed[value.operands[1].index()]
    };
    let carried = carried(graph);
    let mut rewriter = Rewriter::new(graph);
    for id in graph.ids() {
        if !live[id.index()] || !is_add(id) || inner[id.index()] {
            rewriter.keep(id)?;
            continue;
        }
        let mut terms: Vec<Term> = terms(graph, id, &inner);
        let before = budget.spent();
        for late in [false, true] {
            let maps: Vec<ValueId> = terms
                .iter()
                .filter_map(Term::old)
                .filter(|t| merges(*t) && carried[t.index()] == late)
                .collect();
            if maps.len() > 1 && budget.allows() {
                budget.spend();
                let whole = side_by_side(&mut rewriter, maps.clone())?;
                for term in &mut terms {
                    match term.old() {
                        Some(map) if map == maps[0] => *term = Term::New(whole),
                        Some(map) if maps.contains(&map) => *term = Term::Gone,
                        _ => {}
                    }
                }
            }
        }
        if budget.spent() == before {
            rewriter.keep(id)?;
            continue;
        }
        let mut sum: Option<ValueId> = None;
        for term in terms {
            let term = match term {
                Term::Old(id) => rewriter.moved(id),
                Term::New(id) => id,
                Term::Gone => continue,
            };
            sum = Some(match sum {
                Some(sum) => rewriter.to.binary(Binary::Add, sum, term)?,
                None => term,
            });
        }
        match sum {
            Some(sum) => rewriter.replace(id, sum),
            None => rewriter.keep(id)?,
        }
    }
    Ok(rewriter.finish())
}

/// A term of a sum that is being rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    /// The term is unchanged.
    Old(ValueId),
    /// The term is a merged product, in the new graph.
    New(ValueId),
    /// The term is part of a merged product.
    Gone,
}

impl Term {
    fn old(&self) -> Option<ValueId> {
        match self {
            Term::Old(id) => Some(*id),
            Term::New(_) | Term::Gone => None,
        }
    }
}

/// Builds `[d1 d2] [W1 W2]ᵀ` of maps `d Wᵀ`.
fn side_by_side(
    rewriter: &mut Rewriter<'_>,
    mut maps: Vec<ValueId>,
) -> Result<ValueId, ShapeError> {
    let graph = rewriter.from;
    maps.sort_by_key(|map| graph.value(*map).operands[1]);
    let operands = |k: usize| -> Vec<ValueId> {
        let operand = |map: &ValueId| rewriter.moved(graph.value(*map).operands[k]);
        maps.iter().map(operand).collect()
    };
    let (vectors, matrices) = (operands(0), operands(1));
    let d = rewriter.to.concat(&vectors)?;
    let m = rewriter.to.concat(&matrices)?;
    rewriter.to.mat_vec(d, m, true)
}

/// Returns true if a value depends on the incoming adjoints of states. Such values need the next step first; others
/// can be computed for all steps at once and are not merged with them.
fn carried(graph: &Graph) -> Vec<bool> {
    let mut carried: Vec<bool> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let leaf = matches!(value.op, Op::AdjointIn(_));
        carried.push(leaf || value.operands.iter().any(|o| carried[o.index()]));
    }
    carried
}

/// The terms of a sum, from left to right.
fn terms(graph: &Graph, root: ValueId, inner: &[bool]) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if id == root || inner[id.index()] {
            stack.extend(graph.value(id).operands.iter().rev());
        } else {
            terms.push(Term::Old(id));
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{
        OutputId, OutputSlot, ParamId, ParamSlot, ResultKind, StateId, StateSlot, Unary,
    };

    /// A step with three maps of a state; as an adjoint, the sum of their adjoints and the gradients.
    fn heads() -> Graph {
        let mut graph = Graph::new();
        graph.add_state(StateSlot::new("h", [4], 0.0));
        let h = graph.add(Op::State(StateId(0)), &[]).unwrap();
        let mut back = h;
        for (k, size) in [2, 1, 3].into_iter().enumerate() {
            let slot = graph.add_param(ParamSlot::new(format!("w{k}"), [4, size]));
            graph.add_output(OutputSlot::new(format!("y{k}"), [size]));
            let w = graph.add(Op::Param(slot), &[]).unwrap();
            let y = graph.mat_vec(h, w, false).unwrap();
            let y = graph.unary(Unary::Tanh, y).unwrap();
            graph.set_result(ResultKind::Output(OutputId(k as u32)), y);
            let seed = graph.add(Op::Seed(OutputId(k as u32)), &[]).unwrap();
            let gradient = graph.add(Op::Outer, &[h, seed]).unwrap();
            graph.set_result(ResultKind::Gradient(ParamId(k as u32)), gradient);
            let part = graph.mat_vec(seed, w, true).unwrap();
            back = graph.binary(Binary::Add, back, part).unwrap();
        }
        graph.set_result(ResultKind::AdjointOut(StateId(0)), back);
        graph
    }

    fn count(graph: &Graph, op: &Op) -> usize {
        let live = graph.live_order();
        live.iter().filter(|id| graph.value(**id).op == *op).count()
    }

    #[test]
    fn one_product_forward_one_back_and_one_gradient() {
        let mut budget = Budget::new(None);
        let out = run(&heads(), &mut budget).unwrap();
        assert_eq!(budget.spent(), 3);
        assert_eq!(count(&out, &Op::MatVec { transposed: false }), 1);
        assert_eq!(count(&out, &Op::MatVec { transposed: true }), 1);
        assert_eq!(count(&out, &Op::Outer), 1);
        // The weights are concatenated once, and so are the adjoints.
        assert_eq!(count(&out, &Op::Concat), 2);
        let text = out.compacted().to_string();
        assert!(
            text.contains("slice[0..2]") && text.contains("slice[3..6]"),
            "{text}"
        );
        let back = out.result(ResultKind::AdjointOut(StateId(0))).unwrap();
        let terms: Vec<&Op> = out
            .value(back)
            .operands
            .iter()
            .map(|o| &out.value(*o).op)
            .collect();
        assert_eq!(
            terms,
            [&Op::State(StateId(0)), &Op::MatVec { transposed: true }]
        );
    }

    #[test]
    fn rewrites_stop_where_the_budget_ends() {
        for (limit, outers) in [(0, 3), (1, 3), (2, 3), (3, 1)] {
            let mut budget = Budget::new(Some(limit));
            let out = run(&heads(), &mut budget).unwrap();
            assert_eq!(budget.spent(), limit);
            assert_eq!(count(&out, &Op::Outer), outers);
        }
    }

    #[test]
    fn what_waits_for_the_step_after_is_not_mixed_with_what_does_not() {
        let mut graph = heads();
        let back = graph.result(ResultKind::AdjointOut(StateId(0))).unwrap();
        let leaving = graph.add(Op::AdjointIn(StateId(0)), &[]).unwrap();
        let slot = graph.add_param(ParamSlot::new("u", [4, 4]));
        let w = graph.add(Op::Param(slot), &[]).unwrap();
        let part = graph.mat_vec(leaving, w, true).unwrap();
        let back = graph.binary(Binary::Add, part, back).unwrap();
        graph.set_result(ResultKind::AdjointOut(StateId(0)), back);
        let out = run(&graph, &mut Budget::new(None)).unwrap();
        assert_eq!(count(&out, &Op::MatVec { transposed: true }), 2);
    }

    #[test]
    fn a_product_that_something_else_reads_stays_in_the_sum() {
        let mut graph = heads();
        let seed = graph.find(&Op::Seed(OutputId(0)), &[]).unwrap();
        let w = graph.find(&Op::Param(ParamId(0)), &[]).unwrap();
        let part = graph.mat_vec(seed, w, true).unwrap();
        graph.set_result(ResultKind::Next(StateId(0)), part);
        let out = run(&graph, &mut Budget::new(None)).unwrap();
        assert_eq!(count(&out, &Op::MatVec { transposed: true }), 2);
    }
}
