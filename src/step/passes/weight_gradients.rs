//! Weight gradients as outer products: `Σ_lanes a_i b_j = outer(a, b)`.
//!
//! Autodiff gives the gradient of a per-connection parameter as the lane sum of a per-connection value, which
//! a loop over all connections adds up at every step. If that value is a product of factors that depend on
//! one side each, or a sum of such products, it is an outer product of two vectors. It then leaves the loop,
//! and over many steps it becomes one matrix product.
//!
//! - `Σ_lanes a_i b_j = outer(a, b)`; factors of one side, of none, and with a minus, in any order
//! - `Σ_lanes (x + y) = Σ_lanes x + Σ_lanes y`, if both are outer products
//! - `Σ_lanes m_ij x_ij = m_ij Σ_lanes x_ij`, if `m` is the same at every step
//! - `Σ_lanes a_i = broadcast Σ_lanes a`
//! - `Σ_ij Σ_lanes x_ij = Σ_lanes Σ_ij x_ij`: no per-connection value is added up for a scalar

use super::factors::{Factors, Sides};
use super::rewrite::{fixed, live, uses, Budget, Rewriter};
use crate::ir::{Binary, Graph, Op, Reduction, ShapeError, Unary, ValueId};

/// The largest number of outer products for one sum over lanes: if steps are not gathered, each is read and
/// written once per step.
const TERMS: usize = 4;

/// Turns gradients into outer products if possible.
pub(super) fn run(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let live = live(graph);
    let uses = uses(graph, &live);
    let sides = Sides::new(graph);
    let fixed = fixed(graph);
    let mut rewriter = Rewriter::new(graph);
    for id in graph.ids() {
        if live[id.index()] && budget.allows() {
            let found = match &graph.value(id).op {
                Op::LaneSum => sum_of_lanes(&mut rewriter, &sides, &fixed, id)?,
                Op::Reduce {
                    kind: Reduction::Sum,
                    axes,
                } => sum_inside(&mut rewriter, &uses, id, axes)?,
                _ => None,
            };
            if let Some(by) = found {
                budget.spend();
                rewriter.replace(id, by);
                continue;
            }
        }
        rewriter.keep(id)?;
    }
    Ok(rewriter.finish())
}

/// A lane sum of a matrix as outer products; `None` if any part is not one.
fn sum_of_lanes(
    rewriter: &mut Rewriter<'_>,
    sides: &Sides,
    fixed: &[bool],
    id: ValueId,
) -> Result<Option<ValueId>, ShapeError> {
    let graph = rewriter.from;
    if graph.dims(id).len() != 2 {
        return Ok(None);
    }
    let Some(terms) = terms(graph, graph.value(id).operands[0]) else {
        return Ok(None);
    };
    let mut products = Vec::with_capacity(terms.len());
    for (negative, term) in terms {
        match Factors::of(graph, sides, fixed, term) {
            Some(factors) => products.push((negative, factors)),
            None => return Ok(None),
        }
    }
    let mut sum: Option<ValueId> = None;
    for (negative, factors) in products {
        let negative = negative != factors.is_negative();
        let product = factors.lane_sum(rewriter)?;
        sum = Some(match (sum, negative) {
            (None, false) => product,
            (None, true) => rewriter.to.unary(Unary::Neg, product)?,
            (Some(sum), false) => rewriter.to.binary(Binary::Add, sum, product)?,
            (Some(sum), true) => rewriter.to.binary(Binary::Sub, sum, product)?,
        });
    }
    Ok(sum)
}

/// The terms of a sum of per-lane matrices, each with whether it is subtracted; `None` if there are too many.
fn terms(graph: &Graph, root: ValueId) -> Option<Vec<(bool, ValueId)>> {
    let mut terms = Vec::new();
    let mut stack = vec![(false, root)];
    while let Some((negative, id)) = stack.pop() {
        let value = graph.value(id);
        // If an operand has no lanes, the sum over lanes is not the sum of the operands' lane sums.
        let per_lane = value.operands.iter().all(|o| graph.shape(*o).lane);
        match (&value.op, value.operands.as_slice()) {
            (Op::Binary(Binary::Add), &[a, b]) if per_lane => {
                stack.extend([(negative, b), (negative, a)]);
            }
            (Op::Binary(Binary::Sub), &[a, b]) if per_lane => {
                stack.extend([(!negative, b), (negative, a)]);
            }
            (Op::Unary(Unary::Neg), &[x]) => stack.push((!negative, x)),
            _ => terms.push((negative, id)),
        }
        if terms.len() + stack.len() > TERMS {
            return None;
        }
    }
    Some(terms)
}

/// Rewrites `Σ_ij Σ_lanes x_ij = Σ_lanes Σ_ij x_ij`, if nothing else reads the sum over lanes.
fn sum_inside(
    rewriter: &mut Rewriter<'_>,
    uses: &[usize],
    id: ValueId,
    axes: &[usize],
) -> Result<Option<ValueId>, ShapeError> {
    let lane_sum = rewriter.from.value(id).operands[0];
    if uses[lane_sum.index()] != 1 || rewriter.from.dims(lane_sum).len() != 2 {
        return Ok(None);
    }
    let moved = rewriter.to.value(rewriter.moved(lane_sum)).clone();
    if moved.op != Op::LaneSum {
        return Ok(None);
    }
    let sum = rewriter.to.sum(moved.operands[0], axes)?;
    rewriter.to.lane_sum(sum).map(Some)
}

#[cfg(test)]
mod tests;
