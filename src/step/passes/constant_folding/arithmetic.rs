//! Sums, products and powers with constant operands, or with operations that cancel.

use crate::ir::{Binary, Graph, Op, ShapeError, Unary, ValueId};

/// The operand of a value that is `f` of it.
fn inside(graph: &Graph, f: Unary, id: ValueId) -> Option<ValueId> {
    let value = graph.value(id);
    (value.op == Op::Unary(f)).then(|| value.operands[0])
}

/// `-(-x) = x`, `-(a - b) = b - a`, and even functions of `-x`.
pub(super) fn unary(
    graph: &mut Graph,
    f: Unary,
    x: ValueId,
) -> Result<Option<ValueId>, ShapeError> {
    let negated = inside(graph, Unary::Neg, x);
    match f {
        Unary::Neg => {
            if negated.is_some() {
                return Ok(negated);
            }
            let value = graph.value(x).clone();
            match value.op {
                Op::Binary(Binary::Sub) => {
                    let [a, b] = [value.operands[0], value.operands[1]];
                    graph.binary(Binary::Sub, b, a).map(Some)
                }
                _ => Ok(None),
            }
        }
        Unary::Square | Unary::Abs | Unary::Cos => match negated {
            Some(x) => graph.unary(f, x).map(Some),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Folds operations with one constant or negated operand.
pub(super) fn binary(
    graph: &mut Graph,
    f: Binary,
    [a, b]: [ValueId; 2],
    known: [Option<f64>; 2],
) -> Result<Option<ValueId>, ShapeError> {
    let negated = [a, b].map(|id| inside(graph, Unary::Neg, id));
    let is = |number: f64| known.map(|known| known == Some(number));
    let found = match f {
        // x + 0 = x, a + -b = a - b
        Binary::Add => match (is(0.0), negated) {
            ([true, _], _) => b,
            ([_, true], _) => a,
            (_, [_, Some(b)]) => graph.binary(Binary::Sub, a, b)?,
            (_, [Some(a), _]) => graph.binary(Binary::Sub, b, a)?,
            _ => return Ok(None),
        },
        // x - 0 = x, 0 - x = -x, a - -b = a + b
        Binary::Sub => match (is(0.0), negated) {
            ([_, true], _) => a,
            ([true, _], _) => graph.unary(Unary::Neg, b)?,
            (_, [_, Some(b)]) => graph.binary(Binary::Add, a, b)?,
            _ => return Ok(None),
        },
        // x * 1 = x, x * -1 = -x, -a * -b = a * b
        Binary::Mul => match (is(1.0), is(-1.0), negated) {
            ([true, _], ..) => b,
            ([_, true], ..) => a,
            (_, [true, _], _) => graph.unary(Unary::Neg, b)?,
            (_, [_, true], _) => graph.unary(Unary::Neg, a)?,
            (.., [Some(a), Some(b)]) => graph.binary(Binary::Mul, a, b)?,
            _ => return Ok(None),
        },
        // x / 1 = x, x / c = x * (1 / c)
        Binary::Div => match known[1] {
            Some(1.0) => a,
            Some(divisor) if divisor.is_normal() && (1.0 / divisor).is_normal() => {
                let dims = graph.dims(b).to_vec();
                let factor = graph.fill(1.0 / divisor, &dims)?;
                graph.binary(Binary::Mul, a, factor)?
            }
            _ => return Ok(None),
        },
        Binary::Pow => match known[1] {
            Some(1.0) => a,
            Some(2.0) => graph.unary(Unary::Square, a)?,
            Some(-1.0) => graph.unary(Unary::Recip, a)?,
            _ => return Ok(None),
        },
        Binary::Min | Binary::Max if a == b => a,
        Binary::Min
        | Binary::Max
        | Binary::Less
        | Binary::LessEqual
        | Binary::Equal
        | Binary::And
        | Binary::Or => return Ok(None),
    };
    Ok(Some(found))
}
