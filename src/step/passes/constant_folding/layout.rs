//! Operations that only move elements, and reductions of broadcast values.

use super::uniform;
use crate::ir::{Binary, Graph, Op, Reduction, ShapeError, Value, ValueId};

/// The same elements with fewer moves.
pub(super) fn fold(
    graph: &mut Graph,
    op: &Op,
    operands: &[ValueId],
    known: &[Option<f64>],
) -> Result<Option<ValueId>, ShapeError> {
    let Some(&x) = operands.first() else {
        return Ok(None);
    };
    let inner = graph.value(x).clone();
    let found = match op {
        Op::Broadcast { dims, from } => match &inner.op {
            // Dimension k became from[k], and that became from[from[k]].
            Op::Broadcast { from: first, .. } => {
                let from: Vec<usize> = first.iter().map(|axis| from[*axis]).collect();
                graph.broadcast_to(inner.operands[0], dims, &from)?
            }
            _ if graph.dims(x) == dims => x,
            _ => return Ok(None),
        },
        Op::Reshape { dims } => match (&inner.op, known[0]) {
            (_, Some(number)) => graph.fill(number, dims)?,
            (Op::Reshape { .. }, _) => graph.reshape(inner.operands[0], dims)?,
            (Op::Broadcast { from, .. }, _) if from.is_empty() => {
                graph.broadcast_to(inner.operands[0], dims, &[])?
            }
            _ if graph.dims(x) == dims => x,
            _ => return Ok(None),
        },
        Op::Reduce { kind, axes } => return reduce(graph, *kind, axes, x, known[0]),
        Op::Slice { start, end } => return slice(graph, *start, *end, x, &inner, known[0]),
        Op::Pad {
            before: 0,
            after: 0,
        } => x,
        Op::Concat => return concat(graph, operands),
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// Folds the reduction of a broadcast dimension: a sum counts the repeats, a maximum sees one.
fn reduce(
    graph: &mut Graph,
    kind: Reduction,
    axes: &[usize],
    x: ValueId,
    known: Option<f64>,
) -> Result<Option<ValueId>, ShapeError> {
    let all = graph.dims(x).to_vec();
    let dims: Vec<usize> = (0..all.len())
        .filter(|axis| !axes.contains(axis))
        .map(|axis| all[axis])
        .collect();
    let count = |axes: &[usize]| axes.iter().map(|axis| all[*axis] as f64).product::<f64>();
    if let Some(number) = known {
        let number = match kind {
            Reduction::Sum => number * count(axes),
            Reduction::Max => number,
        };
        return graph.fill(number, &dims).map(Some);
    }
    let inner = graph.value(x).clone();
    let Op::Broadcast { from, .. } = inner.op else {
        return Ok(None);
    };
    let (own, repeated): (Vec<usize>, Vec<usize>) =
        axes.iter().partition(|axis| from.contains(axis));
    if repeated.is_empty() {
        return Ok(None);
    }
    // The reduced dimensions of the operand, and the new positions of the others.
    let inside: Vec<usize> = (0..from.len())
        .filter(|k| own.contains(&from[*k]))
        .collect();
    let kept_before = |axis: usize| (0..axis).filter(|other| !axes.contains(other)).count();
    let places: Vec<usize> = from
        .iter()
        .filter(|axis| !own.contains(axis))
        .map(|axis| kept_before(*axis))
        .collect();
    let reduced = graph.reduce(kind, inner.operands[0], &inside)?;
    let scaled = match kind {
        Reduction::Sum => {
            let dims = graph.dims(reduced).to_vec();
            let factor = graph.fill(count(&repeated), &dims)?;
            graph.binary(Binary::Mul, reduced, factor)?
        }
        Reduction::Max => reduced,
    };
    graph.broadcast_to(scaled, &dims, &places).map(Some)
}

/// Folds a slice of a slice, of a concatenation or of padding.
fn slice(
    graph: &mut Graph,
    start: usize,
    end: usize,
    x: ValueId,
    inner: &Value,
    known: Option<f64>,
) -> Result<Option<ValueId>, ShapeError> {
    let last = |graph: &Graph, id: ValueId| graph.dims(id).last().copied().unwrap_or(1);
    if let Some(number) = known {
        let mut dims = graph.dims(x).to_vec();
        if let Some(last) = dims.last_mut() {
            *last = end - start;
        }
        return graph.fill(number, &dims).map(Some);
    }
    match inner.op {
        Op::Slice { start: first, .. } => graph
            .slice(inner.operands[0], first + start, first + end)
            .map(Some),
        Op::Concat => {
            let mut before = 0;
            for part in &inner.operands {
                let after = before + last(graph, *part);
                if start >= before && end <= after {
                    return graph.slice(*part, start - before, end - before).map(Some);
                }
                before = after;
            }
            Ok(None)
        }
        Op::Pad { before, .. } => {
            let after = before + last(graph, inner.operands[0]);
            if start < before || end > after {
                return Ok(None);
            }
            graph
                .slice(inner.operands[0], start - before, end - before)
                .map(Some)
        }
        _ if start == 0 && end == last(graph, x) => Ok(Some(x)),
        _ => Ok(None),
    }
}

/// Folds a concatenation of a single part, of neighbouring slices of one value, or of one constant.
fn concat(graph: &mut Graph, parts: &[ValueId]) -> Result<Option<ValueId>, ShapeError> {
    if let [only] = parts {
        return Ok(Some(*only));
    }
    let mut joined: Vec<ValueId> = Vec::with_capacity(parts.len());
    for part in parts {
        let together = match joined.last() {
            Some(before) => neighbours(graph, *before, *part)?,
            None => None,
        };
        match together {
            Some(together) => {
                joined.pop();
                joined.push(together);
            }
            None => joined.push(*part),
        }
    }
    if joined.len() == parts.len() {
        return Ok(None);
    }
    graph.concat(&joined).map(Some)
}

/// Two neighbouring values as one: adjacent slices of one value, or one constant.
fn neighbours(graph: &mut Graph, a: ValueId, b: ValueId) -> Result<Option<ValueId>, ShapeError> {
    let (left, right) = (graph.value(a).clone(), graph.value(b).clone());
    if let (
        Op::Slice { start, end },
        Op::Slice {
            start: next,
            end: last,
        },
    ) = (&left.op, &right.op)
    {
        if left.operands == right.operands && end == next {
            return graph.slice(left.operands[0], *start, *last).map(Some);
        }
    }
    match (uniform(graph, a), uniform(graph, b)) {
        (Some(x), Some(y)) if x.to_bits() == y.to_bits() => {
            let mut dims = left.shape.dims;
            if let (Some(size), Some(more)) = (dims.last_mut(), right.shape.dims.last()) {
                *size += more;
            }
            graph.fill(x, &dims).map(Some)
        }
        _ => Ok(None),
    }
}
