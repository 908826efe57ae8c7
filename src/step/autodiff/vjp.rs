//! The vector–Jacobian product of every operation: from the adjoint of a value, what it adds to the
//! adjoints of its operands. Two exhaustive matches over [`Op`], and nothing else knows derivatives.
//!
//! **A zero adjoint stays zero.** If the adjoint of a value is 0, its operands get exactly 0, even where the derivative is
//! infinite or NaN. So a branch of a choice that is not taken adds nothing to any gradient, although the step computed it:
//! [`Op::Select`] gives 0 to the operand that it did not take, and every operation before it passes zeros on.
//!
//! Each operation keeps this rule in one of three ways:
//!
//! - Its derivative is finite for all operands ([`Ranges`] decides): 0 times that is 0, and nothing is added.
//! - It is an element function, a softmax or a maximum: `select(adjoint, product, adjoint)` takes the place of the product
//!   ([`Vjp::unless_zero`]).
//! - It multiplies by a matrix, where one adjoint meets many numbers: see [`Vjp::mat_vec`].
//!
//! Passes cannot break the rule. They take no choice apart. They reorder the factors of other products only, and those are
//! all finite.

use super::ranges::Ranges;
use crate::ir::{Binary, Boundary, Graph, Op, Reduction, ShapeError, Unary, ValueId};

/// Returns true if an adjoint passes from a value to its operand number `operand` at all.
///
/// Says the same as whether [`Vjp::of`] gives that operand something.
pub(super) fn passes_gradient(op: &Op, operand: usize) -> bool {
    match op {
        Op::Param(_)
        | Op::Input(_)
        | Op::State(_)
        | Op::Noise(_)
        | Op::Const(_)
        | Op::Seed(_)
        | Op::AdjointIn(_)
        | Op::RangeMask { .. }
        | Op::ClipMask { .. }
        | Op::StopGradient => false,
        Op::Unary(f) => !matches!(f, Unary::Sign | Unary::Not),
        Op::Binary(f) => match f {
            Binary::Add
            | Binary::Sub
            | Binary::Mul
            | Binary::Div
            | Binary::Min
            | Binary::Max
            | Binary::Pow => true,
            Binary::Less | Binary::LessEqual | Binary::Equal | Binary::And | Binary::Or => false,
        },
        Op::Select => operand > 0,
        Op::Clip { .. }
        | Op::Broadcast { .. }
        | Op::Reduce { .. }
        | Op::LaneSum
        | Op::Reshape { .. }
        | Op::Concat
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Gather(_)
        | Op::Scatter(_)
        | Op::MatVec { .. }
        | Op::Outer
        | Op::Softmax => true,
    }
}

/// A graph that gets adjoints.
pub(super) struct Vjp<'g> {
    pub graph: &'g mut Graph,
    /// The ranges of its values.
    pub ranges: &'g mut Ranges,
}

impl Vjp<'_> {
    /// The contributions of the adjoint of `result` to the adjoint of each of its operands, with the dimensions of
    /// that operand; the lane axis may still differ, the caller fits it.
    pub fn of(
        &mut self,
        result: ValueId,
        adjoint: ValueId,
    ) -> Result<Vec<Option<ValueId>>, ShapeError> {
        self.ranges.follow(self.graph);
        // An adjoint that is not finite stays visible: a choice by it takes the product.
        self.ranges.assume_finite(adjoint);
        let value = self.graph.value(result).clone();
        let operands = &value.operands;
        Ok(match value.op {
            Op::Param(_)
            | Op::Input(_)
            | Op::State(_)
            | Op::Noise(_)
            | Op::Const(_)
            | Op::Seed(_)
            | Op::AdjointIn(_)
            | Op::RangeMask { .. } => Vec::new(),
            // Piecewise constant.
            Op::ClipMask { .. } | Op::StopGradient => vec![None],
            Op::Unary(f) => match unary(self.graph, f, operands[0], result, adjoint)? {
                Some(part) => vec![Some(self.unless_zero(adjoint, part)?)],
                None => vec![None],
            },
            Op::Binary(f) => {
                let both = [operands[0], operands[1]];
                match binary(self.graph, f, both, result, adjoint)? {
                    Some([a, b]) => vec![
                        Some(self.unless_zero(adjoint, a)?),
                        Some(self.unless_zero(adjoint, b)?),
                    ],
                    None => vec![None, None],
                }
            }
            Op::Select => {
                let zero = self.graph.fill(0.0, &value.shape.dims)?;
                let a = self.graph.select(operands[0], adjoint, zero)?;
                let b = self.graph.select(operands[0], zero, adjoint)?;
                vec![None, Some(a), Some(b)]
            }
            Op::Clip { lo, hi, boundary } => {
                if boundary == Boundary::StraightThrough {
                    vec![Some(adjoint)]
                } else {
                    let mask = Op::ClipMask { lo, hi, boundary };
                    let mask = self.graph.add(mask, operands)?;
                    vec![Some(self.graph.binary(Binary::Mul, adjoint, mask)?)]
                }
            }
            Op::Broadcast { dims, from } => {
                let repeated: Vec<usize> = (0..dims.len()).filter(|k| !from.contains(k)).collect();
                vec![Some(self.graph.sum(adjoint, &repeated)?)]
            }
            Op::Reduce { kind, axes } => {
                vec![Some(self.reduce(
                    kind,
                    &axes,
                    operands[0],
                    result,
                    adjoint,
                )?)]
            }
            // Every lane of the operand gets the same; fitting the lane axis does it.
            Op::LaneSum => vec![Some(adjoint)],
            Op::Reshape { .. } => {
                let dims = self.graph.dims(operands[0]).to_vec();
                vec![Some(self.graph.reshape(adjoint, &dims)?)]
            }
            Op::Concat => {
                let mut parts = Vec::with_capacity(operands.len());
                let mut start = 0;
                for part in operands {
                    let end = start + last_dim(self.graph, *part);
                    parts.push(Some(self.graph.slice(adjoint, start, end)?));
                    start = end;
                }
                parts
            }
            Op::Slice { start, end } => {
                let size = last_dim(self.graph, operands[0]);
                vec![Some(self.graph.pad(adjoint, start, size - end)?)]
            }
            Op::Pad { before, .. } => {
                let size = last_dim(self.graph, operands[0]);
                vec![Some(self.graph.slice(adjoint, before, before + size)?)]
            }
            Op::Gather(indices) => vec![Some(self.graph.add(Op::Scatter(indices), &[adjoint])?)],
            Op::Scatter(indices) => vec![Some(self.graph.add(Op::Gather(indices), &[adjoint])?)],
            Op::MatVec { transposed } => {
                let both = self.mat_vec(operands[0], operands[1], transposed, adjoint)?;
                both.map(Some).to_vec()
            }
            // Only adjoint graphs have outer products, and those are not differentiated again.
            Op::Outer => {
                let (a, b) = (operands[0], operands[1]);
                let to_a = self.graph.mat_vec(b, adjoint, true)?;
                let to_b = self.graph.mat_vec(a, adjoint, false)?;
                vec![Some(to_a), Some(to_b)]
            }
            // s (ā - Σ ā s)
            Op::Softmax => {
                let weighted = self.graph.binary(Binary::Mul, adjoint, result)?;
                let weighted = self.unless_zero(adjoint, weighted)?;
                let total = self.graph.sum(weighted, &[0])?;
                let total = self.graph.broadcast_to(total, &value.shape.dims, &[])?;
                let centred = self.graph.binary(Binary::Sub, adjoint, total)?;
                let part = self.graph.binary(Binary::Mul, centred, result)?;
                self.ranges.follow(self.graph);
                match self.ranges.of(result).is_finite() {
                    true => vec![Some(part)],
                    false => vec![Some(self.graph.select(centred, part, centred)?)],
                }
            }
        })
    }

    /// Gives `part`, a multiple of the adjoint, but 0 wherever the adjoint is 0, even if `part` is infinite or NaN there.
    fn unless_zero(&mut self, adjoint: ValueId, part: ValueId) -> Result<ValueId, ShapeError> {
        self.ranges.follow(self.graph);
        if self.ranges.of(part).is_finite() {
            Ok(part)
        } else {
            self.graph.select(adjoint, part, adjoint)
        }
    }

    /// The adjoints of both operands of `v m`, or of `v mᵀ` where `transposed`.
    ///
    /// The gradient of `m` is the outer product of `v` and `ā`. If an element of `v` is infinite, so is every element of the
    /// result, and one element of `ā` that is not 0 makes the gradient infinite rightly. So `v` counts as 0 only where all
    /// of `ā` is 0. A matrix that can be infinite is multiplied element by element, each product with its own choice.
    fn mat_vec(
        &mut self,
        v: ValueId,
        m: ValueId,
        transposed: bool,
        adjoint: ValueId,
    ) -> Result<[ValueId; 2], ShapeError> {
        let graph = &mut *self.graph;
        let to_vector = if self.ranges.of(m).is_finite() {
            graph.mat_vec(adjoint, m, !transposed)?
        } else {
            let dims = graph.dims(m).to_vec();
            let axis = usize::from(!transposed);
            let along = graph.broadcast_to(adjoint, &dims, &[axis])?;
            let product = graph.binary(Binary::Mul, along, m)?;
            let product = graph.select(along, product, along)?;
            graph.sum(product, &[axis])?
        };
        let mut reached = v;
        if !self.ranges.of(v).is_finite() {
            let dims = graph.dims(v).to_vec();
            let size = graph.unary(Unary::Abs, adjoint)?;
            let largest = graph.reduce(Reduction::Max, size, &[0])?;
            let any = graph.broadcast_to(largest, &dims, &[])?;
            let zero = graph.fill(0.0, &dims)?;
            reached = graph.select(any, v, zero)?;
        }
        let factors = if transposed {
            [adjoint, reached]
        } else {
            [reached, adjoint]
        };
        Ok([to_vector, graph.add(Op::Outer, &factors)?])
    }

    fn reduce(
        &mut self,
        kind: Reduction,
        axes: &[usize],
        x: ValueId,
        y: ValueId,
        adjoint: ValueId,
    ) -> Result<ValueId, ShapeError> {
        let graph = &mut *self.graph;
        let dims = graph.dims(x).to_vec();
        let kept: Vec<usize> = (0..dims.len())
            .filter(|axis| !axes.contains(axis))
            .collect();
        match kind {
            Reduction::Sum => graph.broadcast_to(adjoint, &dims, &kept),
            Reduction::Max => {
                let largest = graph.broadcast_to(y, &dims, &kept)?;
                let mask = graph.binary(Binary::Equal, x, largest)?;
                let count = graph.sum(mask, axes)?;
                let mut part = graph.binary(Binary::Div, adjoint, count)?;
                // At least one element equals the largest, unless there is a NaN.
                if self.ranges.of(x).nan {
                    part = graph.select(adjoint, part, adjoint)?;
                }
                let part = graph.broadcast_to(part, &dims, &kept)?;
                graph.binary(Binary::Mul, part, mask)
            }
        }
    }
}

/// The last dimension, of which what joins and cuts has one.
fn last_dim(graph: &Graph, id: ValueId) -> usize {
    graph.dims(id).last().copied().unwrap_or(1)
}

fn unary(
    graph: &mut Graph,
    f: Unary,
    x: ValueId,
    y: ValueId,
    adjoint: ValueId,
) -> Result<Option<ValueId>, ShapeError> {
    let dims = graph.dims(x).to_vec();
    let factor = match f {
        Unary::Sign | Unary::Not => return Ok(None),
        Unary::Neg => return graph.unary(Unary::Neg, adjoint).map(Some),
        Unary::Log => return graph.binary(Binary::Div, adjoint, x).map(Some),
        // 1 / (2 y), and 0 where y is 0
        Unary::Sqrt => {
            let half = graph.fill(0.5, &dims)?;
            let zero = graph.fill(0.0, &dims)?;
            let halved = graph.binary(Binary::Mul, adjoint, half)?;
            let slope = graph.binary(Binary::Div, halved, y)?;
            return graph.select(y, slope, zero).map(Some);
        }
        // 1 - y²
        Unary::Tanh => {
            let one = graph.fill(1.0, &dims)?;
            let square = graph.unary(Unary::Square, y)?;
            graph.binary(Binary::Sub, one, square)?
        }
        // y (1 - y)
        Unary::Sigmoid => {
            let one = graph.fill(1.0, &dims)?;
            let rest = graph.binary(Binary::Sub, one, y)?;
            graph.binary(Binary::Mul, y, rest)?
        }
        Unary::Relu => {
            let zero = graph.fill(0.0, &dims)?;
            graph.binary(Binary::Less, zero, x)?
        }
        Unary::Softplus => graph.unary(Unary::Sigmoid, x)?,
        Unary::Exp => y,
        Unary::Abs => graph.unary(Unary::Sign, x)?,
        Unary::Square => {
            let two = graph.fill(2.0, &dims)?;
            graph.binary(Binary::Mul, two, x)?
        }
        // -y²
        Unary::Recip => {
            let square = graph.unary(Unary::Square, y)?;
            graph.unary(Unary::Neg, square)?
        }
        Unary::Sin => graph.unary(Unary::Cos, x)?,
        Unary::Cos => {
            let sine = graph.unary(Unary::Sin, x)?;
            graph.unary(Unary::Neg, sine)?
        }
    };
    graph.binary(Binary::Mul, adjoint, factor).map(Some)
}

fn binary(
    graph: &mut Graph,
    f: Binary,
    [a, b]: [ValueId; 2],
    y: ValueId,
    adjoint: ValueId,
) -> Result<Option<[ValueId; 2]>, ShapeError> {
    let both = match f {
        Binary::Add => [adjoint, adjoint],
        Binary::Sub => [adjoint, graph.unary(Unary::Neg, adjoint)?],
        Binary::Mul => [
            graph.binary(Binary::Mul, adjoint, b)?,
            graph.binary(Binary::Mul, adjoint, a)?,
        ],
        // ā / b and -(ā / b) y
        Binary::Div => {
            let to_a = graph.binary(Binary::Div, adjoint, b)?;
            let product = graph.binary(Binary::Mul, to_a, y)?;
            [to_a, graph.unary(Unary::Neg, product)?]
        }
        Binary::Min => {
            let to_a = share(graph, a, b, adjoint)?;
            [to_a, share(graph, b, a, adjoint)?]
        }
        Binary::Max => {
            let to_a = share(graph, b, a, adjoint)?;
            [to_a, share(graph, a, b, adjoint)?]
        }
        Binary::Pow => power(graph, a, b, y, adjoint)?,
        Binary::Less | Binary::LessEqual | Binary::Equal | Binary::And | Binary::Or => {
            return Ok(None)
        }
    };
    Ok(Some(both))
}

/// The adjoint where `smaller < larger`, half of it where they are equal, else 0.
fn share(
    graph: &mut Graph,
    smaller: ValueId,
    larger: ValueId,
    adjoint: ValueId,
) -> Result<ValueId, ShapeError> {
    // [s < l] / 2 + [s <= l] / 2
    let dims = graph.dims(adjoint).to_vec();
    let half = graph.fill(0.5, &dims)?;
    let strict = graph.binary(Binary::Less, smaller, larger)?;
    let weak = graph.binary(Binary::LessEqual, smaller, larger)?;
    let sum = graph.binary(Binary::Add, strict, weak)?;
    let part = graph.binary(Binary::Mul, sum, half)?;
    graph.binary(Binary::Mul, adjoint, part)
}

/// `b a^(b-1)`, 0 where `a = 0` and `b < 1`; and `y log a`, 0 where `a <= 0`.
fn power(
    graph: &mut Graph,
    a: ValueId,
    b: ValueId,
    y: ValueId,
    adjoint: ValueId,
) -> Result<[ValueId; 2], ShapeError> {
    let dims = graph.dims(a).to_vec();
    let zero = graph.fill(0.0, &dims)?;
    let one = graph.fill(1.0, &dims)?;

    let steep = graph.binary(Binary::LessEqual, one, b)?;
    let defined = graph.binary(Binary::Or, a, steep)?;
    let exponent = graph.binary(Binary::Sub, b, one)?;
    let lower = graph.binary(Binary::Pow, a, exponent)?;
    let slope = graph.binary(Binary::Mul, b, lower)?;
    let slope = graph.select(defined, slope, zero)?;
    let to_base = graph.binary(Binary::Mul, adjoint, slope)?;

    let positive = graph.binary(Binary::Less, zero, a)?;
    let logarithm = graph.unary(Unary::Log, a)?;
    let slope = graph.binary(Binary::Mul, y, logarithm)?;
    let slope = graph.select(positive, slope, zero)?;
    let to_exponent = graph.binary(Binary::Mul, adjoint, slope)?;
    Ok([to_base, to_exponent])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{InputSlot, ResultKind};

    /// The two tables of this file agree on every element function.
    #[test]
    fn an_operand_gets_something_where_gradient_passes() {
        let mut graph = Graph::new();
        let slot = graph.add_input(InputSlot::new("x", [2]));
        let x = graph.add(Op::Input(slot), &[]).unwrap();
        let two = graph.fill(2.0, &[2]).unwrap();
        let unary = Unary::ALL.map(|f| (Op::Unary(f), vec![x]));
        let binary = Binary::ALL.map(|f| (Op::Binary(f), vec![x, two]));
        let others = [
            (Op::Select, vec![x, x, two]),
            (Op::StopGradient, vec![x]),
            (Op::Softmax, vec![x]),
            (Op::Concat, vec![x, two, x]),
            (Op::LaneSum, vec![x]),
            (Op::Outer, vec![x, x]),
        ];
        for (op, operands) in unary.into_iter().chain(binary).chain(others) {
            let result = graph.add(op.clone(), &operands).unwrap();
            let adjoint = graph.add(Op::StopGradient, &[result]).unwrap();
            let mut ranges = Ranges::of_step(&graph);
            let mut vjp = Vjp {
                graph: &mut graph,
                ranges: &mut ranges,
            };
            let given = vjp.of(result, adjoint).unwrap();
            let given: Vec<bool> = given.iter().map(Option::is_some).collect();
            let passes: Vec<bool> = (0..operands.len())
                .map(|k| passes_gradient(&op, k))
                .collect();
            assert_eq!(given, passes, "{op:?}");
        }
        assert_eq!(graph.result(ResultKind::InputAdjoint(slot)), None);
    }
}
