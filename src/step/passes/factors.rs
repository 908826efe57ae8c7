//! Factors of per-connection products, by the sides they depend on.

use super::rewrite::Rewriter;
use crate::ir::{Binary, Graph, Op, ShapeError, Unary, ValueId};

/// The deepest nesting of operations that is followed.
const DEPTH: usize = 64;

/// The side of a bundle that a matrix depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Neither side: one number everywhere.
    None,
    /// The row.
    Pre,
    /// The column.
    Post,
}

impl Side {
    /// The side of a combination of two values; `None` if it depends on both sides.
    fn with(self, other: Side) -> Option<Side> {
        match (self, other) {
            (Side::None, side) | (side, Side::None) => Some(side),
            (a, b) => (a == b).then_some(a),
        }
    }
}

/// The side of every matrix that depends on at most one side, and the depth of its operations other than
/// broadcasts.
pub(super) struct Sides(Vec<Option<(Side, usize)>>);

impl Sides {
    pub fn new(graph: &Graph) -> Sides {
        let mut sides: Vec<Option<(Side, usize)>> = Vec::with_capacity(graph.len());
        for id in graph.ids() {
            let value = graph.value(id);
            let side = match &value.op {
                _ if value.shape.dims.len() != 2 => None,
                // The connections of a sparse bundle are a single row, and what they gather is one number each.
                Op::Broadcast { .. } if is_gathered(graph, value.operands[0]) => None,
                Op::Broadcast { from, .. } => match from.as_slice() {
                    [] => Some((Side::None, 0)),
                    [0] => Some((Side::Pre, 0)),
                    [1] => Some((Side::Post, 0)),
                    _ => None,
                },
                Op::Unary(_)
                | Op::Binary(_)
                | Op::Select
                | Op::Clip { .. }
                | Op::ClipMask { .. } => {
                    let start = Some((Side::None, 0));
                    let operands = value.operands.iter().map(|o| sides[o.index()]);
                    let all = operands.fold(start, |all, operand| {
                        let ((side, depth), (other, more)) = (all?, operand?);
                        Some((side.with(other)?, depth.max(more)))
                    });
                    all.map(|(side, depth)| (side, depth + 1))
                        .filter(|(_, depth)| *depth <= DEPTH)
                }
                _ => None,
            };
            sides.push(side);
        }
        Sides(sides)
    }

    /// The side that a matrix depends on; `None` if it depends on both.
    pub fn of(&self, id: ValueId) -> Option<Side> {
        self.0[id.index()].map(|(side, _)| side)
    }
}

/// Returns true if a vector has an element for each connection of a sparse bundle.
fn is_gathered(graph: &Graph, id: ValueId) -> bool {
    matches!(graph.value(id).op, Op::Gather(_))
}

/// A factor, or its reciprocal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Factor {
    pub id: ValueId,
    pub inverse: bool,
}

/// A product per connection and lane.
#[derive(Debug)]
pub(super) struct Factors {
    dims: [usize; 2],
    pre: Vec<Factor>,
    post: Vec<Factor>,
    scalar: Vec<Factor>,
    /// The factors that are the same at every step, on any side.
    fixed: Vec<Factor>,
    negative: bool,
}

impl Factors {
    /// Factorizes a matrix; `None` if a factor that varies by step depends on both sides.
    pub fn of(graph: &Graph, sides: &Sides, fixed: &[bool], root: ValueId) -> Option<Factors> {
        let &[rows, columns] = graph.dims(root) else {
            return None;
        };
        let mut factors = Factors {
            dims: [rows, columns],
            pre: Vec::new(),
            post: Vec::new(),
            scalar: Vec::new(),
            fixed: Vec::new(),
            negative: false,
        };
        let mut stack = vec![(root, false)];
        let mut steps = 0;
        while let Some((id, inverse)) = stack.pop() {
            steps += 1;
            if steps > DEPTH {
                return None;
            }
            let factor = Factor { id, inverse };
            match sides.of(id) {
                Some(Side::Pre) => factors.pre.push(factor),
                Some(Side::Post) => factors.post.push(factor),
                Some(Side::None) => factors.scalar.push(factor),
                None if fixed[id.index()] => factors.fixed.push(factor),
                None => {
                    let value = graph.value(id);
                    match (&value.op, value.operands.as_slice()) {
                        (Op::Binary(Binary::Mul), &[a, b]) => {
                            stack.extend([(b, inverse), (a, inverse)]);
                        }
                        (Op::Binary(Binary::Div), &[a, b]) => {
                            stack.extend([(b, !inverse), (a, inverse)]);
                        }
                        (Op::Unary(Unary::Neg), &[x]) => {
                            factors.negative = !factors.negative;
                            stack.push((x, inverse));
                        }
                        (Op::Unary(Unary::Square), &[x]) => {
                            stack.extend([(x, inverse), (x, inverse)]);
                        }
                        (Op::Unary(Unary::Recip), &[x]) => stack.push((x, !inverse)),
                        _ => return None,
                    }
                }
            }
        }
        Some(factors)
    }

    /// Returns true if the product is negated; [`Factors::lane_sum`] leaves the sign out.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The sum of the product over one side, as a vector over the other side. It is a matrix–vector product
    /// if the product of the factors that are the same at every step is a matrix. `axis` is the summed side.
    pub fn mat_vec(
        self,
        rewriter: &mut Rewriter<'_>,
        axis: usize,
    ) -> Result<Option<ValueId>, ShapeError> {
        let dims = self.dims;
        let (gone, left) = match axis {
            0 => (self.pre, self.post),
            _ => (self.post, self.pre),
        };
        if gone.is_empty() || self.fixed.is_empty() {
            return Ok(None);
        }
        let mut matrix: Option<ValueId> = None;
        for factor in &self.fixed {
            let value = rewriter.moved(factor.id);
            matrix = Some(match (matrix, factor.inverse) {
                (None, false) => value,
                (None, true) => rewriter.to.unary(Unary::Recip, value)?,
                (Some(matrix), false) => rewriter.to.binary(Binary::Mul, matrix, value)?,
                (Some(matrix), true) => rewriter.to.binary(Binary::Div, matrix, value)?,
            });
        }
        let Some(matrix) = matrix else {
            return Ok(None);
        };
        let vector = multiply(rewriter, &gone, &dims[axis..=axis])?;
        let mut sum = rewriter.to.mat_vec(vector, matrix, axis == 1)?;
        let rest = [left, self.scalar].concat();
        if !rest.is_empty() {
            let by = multiply(rewriter, &rest, &dims[1 - axis..=1 - axis])?;
            sum = rewriter.to.binary(Binary::Mul, sum, by)?;
        }
        if self.negative {
            sum = rewriter.to.unary(Unary::Neg, sum)?;
        }
        Ok(Some(sum))
    }

    /// The sum of the product over lanes.
    pub fn lane_sum(self, rewriter: &mut Rewriter<'_>) -> Result<ValueId, ShapeError> {
        let dims = self.dims;
        let mut product = match (self.pre.is_empty(), self.post.is_empty()) {
            (false, false) => {
                // Scalars join the shorter side.
                let (mut pre, mut post) = (self.pre, self.post);
                if dims[0] <= dims[1] {
                    pre.extend(&self.scalar);
                } else {
                    post.extend(&self.scalar);
                }
                let a = multiply(rewriter, &pre, &dims[..1])?;
                let b = multiply(rewriter, &post, &dims[1..])?;
                rewriter.to.add(Op::Outer, &[a, b])?
            }
            (false, true) => {
                let factors = [self.pre, self.scalar].concat();
                let a = multiply(rewriter, &factors, &dims[..1])?;
                let sum = rewriter.to.lane_sum(a)?;
                rewriter.to.broadcast_to(sum, &dims, &[0])?
            }
            (true, false) => {
                let factors = [self.post, self.scalar].concat();
                let b = multiply(rewriter, &factors, &dims[1..])?;
                let sum = rewriter.to.lane_sum(b)?;
                rewriter.to.broadcast_to(sum, &dims, &[1])?
            }
            (true, true) => {
                let number = multiply(rewriter, &self.scalar, &[])?;
                let sum = rewriter.to.lane_sum(number)?;
                rewriter.to.broadcast_to(sum, &dims, &[])?
            }
        };
        for factor in self.fixed {
            let id = rewriter.moved(factor.id);
            let f = if factor.inverse {
                Binary::Div
            } else {
                Binary::Mul
            };
            product = rewriter.to.binary(f, product, id)?;
        }
        Ok(product)
    }
}

/// The product of one-sided factors as a vector of these dimensions (a scalar for none).
pub(super) fn multiply(
    rewriter: &mut Rewriter<'_>,
    factors: &[Factor],
    dims: &[usize],
) -> Result<ValueId, ShapeError> {
    let mut product: Option<ValueId> = None;
    for factor in factors {
        let value = narrow(rewriter, factor.id, dims)?;
        product = Some(match (product, factor.inverse) {
            (None, false) => value,
            (None, true) => rewriter.to.unary(Unary::Recip, value)?,
            (Some(product), false) => rewriter.to.binary(Binary::Mul, product, value)?,
            (Some(product), true) => rewriter.to.binary(Binary::Div, product, value)?,
        });
    }
    match product {
        Some(product) => Ok(product),
        None => rewriter.to.fill(1.0, dims),
    }
}

/// A one-sided matrix as the vector that it broadcasts.
fn narrow(rewriter: &mut Rewriter<'_>, id: ValueId, dims: &[usize]) -> Result<ValueId, ShapeError> {
    let value = rewriter.from.value(id);
    if let Op::Broadcast { .. } = value.op {
        let inner = rewriter.moved(value.operands[0]);
        return match rewriter.to.dims(inner) {
            [] => rewriter.to.broadcast_to(inner, dims, &[]),
            _ => Ok(inner),
        };
    }
    let mut operands = Vec::with_capacity(value.operands.len());
    for operand in &value.operands {
        operands.push(narrow(rewriter, *operand, dims)?);
    }
    rewriter.to.add(value.op.clone(), &operands)
}
