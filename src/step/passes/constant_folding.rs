//! `f(c1, c2) = c`, `x * 1 = x`, `x + 0 = x`, `-(-x) = x` and their like.
//!
//! Numbers are computed by the definitions of the element functions. Everything else holds exactly for finite numbers, up
//! to the sign of a zero, or to rounding (`x / c = x * (1 / c)`, a sum of equal numbers). `x * 0` stays: it
//! would hide that `x` is not a number.
//!
//! | file | equations of |
//! |---|---|
//! | this | operations on numbers; select, clip, masks |
//! | `arithmetic` | sums, products and powers |
//! | `layout` | broadcast, reduce, reshape, concat, slice and pad |

mod arithmetic;
mod layout;

use super::rewrite::{rewrite_each, Budget};
use crate::ir::element::{binary, clip, clip_mask, unary};
use crate::ir::{Graph, Op, ShapeError, Unary, ValueId};

/// Rounds of rewriting: one opens the way for the next, but none of the equations does so for long.
const ROUNDS: usize = 8;

/// Computes what is known and drops what changes nothing.
pub(super) fn run(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let mut graph = graph.clone();
    for _ in 0..ROUNDS {
        let before = budget.spent();
        graph = rewrite_each(&graph, budget, fold)?;
        if budget.spent() == before {
            break;
        }
    }
    Ok(graph)
}

/// The number that a value has everywhere, where that is known.
fn uniform(graph: &Graph, mut id: ValueId) -> Option<f64> {
    loop {
        let value = graph.value(id);
        match value.op {
            Op::Const(number) => return Some(number.get()),
            Op::Broadcast { .. } | Op::Reshape { .. } => id = value.operands[0],
            _ => return None,
        }
    }
}

fn fold(graph: &mut Graph, op: &Op, operands: &[ValueId]) -> Result<Option<ValueId>, ShapeError> {
    let known: Vec<Option<f64>> = operands.iter().map(|id| uniform(graph, *id)).collect();
    if let Some(number) = number(op, &known) {
        let dims = graph.dims(operands[0]).to_vec();
        return graph.fill(number, &dims).map(Some);
    }
    match (op, operands) {
        (Op::Unary(f), &[x]) => arithmetic::unary(graph, *f, x),
        (Op::Binary(f), &[a, b]) => arithmetic::binary(graph, *f, [a, b], [known[0], known[1]]),
        (Op::Select, &[condition, a, b]) => select(graph, known[0], condition, a, b),
        (Op::Clip { lo, hi, .. }, &[x]) => clip_of_clip(graph, op, lo.get(), hi.get(), x),
        (Op::StopGradient, &[x]) => Ok(Some(x)),
        (Op::RangeMask { size, start, end }, _) if start == end => {
            graph.fill(0.0, &[*size]).map(Some)
        }
        (
            Op::RangeMask {
                size,
                start: 0,
                end,
            },
            _,
        ) if size == end => graph.fill(1.0, &[*size]).map(Some),
        _ => layout::fold(graph, op, operands, &known),
    }
}

/// `f` of numbers.
fn number(op: &Op, known: &[Option<f64>]) -> Option<f64> {
    Some(match (op, known) {
        (Op::Unary(f), [Some(x)]) => unary(*f, *x),
        (Op::Binary(f), [Some(a), Some(b)]) => binary(*f, *a, *b),
        (Op::Clip { lo, hi, .. }, [Some(x)]) => clip(*x, lo.get(), hi.get()),
        (Op::ClipMask { lo, hi, boundary }, [Some(x)]) => {
            clip_mask(*x, lo.get(), hi.get(), *boundary)
        }
        _ => return None,
    })
}

/// A choice that is known, or between equal values; `select(not c, a, b) = select(c, b, a)`.
fn select(
    graph: &mut Graph,
    known: Option<f64>,
    condition: ValueId,
    a: ValueId,
    b: ValueId,
) -> Result<Option<ValueId>, ShapeError> {
    if let Some(number) = known {
        return Ok(Some(if number != 0.0 { a } else { b }));
    }
    if a == b {
        return Ok(Some(a));
    }
    let value = graph.value(condition);
    if value.op == Op::Unary(Unary::Not) {
        let condition = value.operands[0];
        return graph.select(condition, b, a).map(Some);
    }
    Ok(None)
}

/// Clipping twice to ranges that overlap is clipping to what they have in common.
fn clip_of_clip(
    graph: &mut Graph,
    op: &Op,
    lo: f64,
    hi: f64,
    x: ValueId,
) -> Result<Option<ValueId>, ShapeError> {
    let value = graph.value(x).clone();
    let (
        Op::Clip { boundary, .. },
        Op::Clip {
            lo: inner_lo,
            hi: inner_hi,
            ..
        },
    ) = (op, value.op)
    else {
        return Ok(None);
    };
    let (lo, hi) = (lo.max(inner_lo.get()), hi.min(inner_hi.get()));
    if lo > hi {
        return Ok(None);
    }
    graph.clip(value.operands[0], lo, hi, *boundary).map(Some)
}

#[cfg(test)]
mod tests;
