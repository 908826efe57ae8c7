//! The shape rule of every operation, in one exhaustive function.
//!
//! The builder computes shapes with it, and the verifier compares the stored shapes with it.

use super::graph::Graph;
use super::op::{Op, Shape};

/// The largest number of dimensions of a value without its lane axis.
pub const MAX_RANK: usize = 3;

/// Operands that violate the shape rule of their operation. This is an error of the compiler, not of the
/// user: semantic analysis checks every shape of a spec before the graph is built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {reason}")]
pub struct ShapeError {
    /// The name of the operation in printed graphs.
    pub op: &'static str,
    /// The violated rule.
    pub reason: String,
}

/// The shape of `op` applied to operands of the given shapes.
///
/// `slots` is the graph whose slots the leaves name; its values are ignored.
///
/// # Errors
/// Names the violated rule: number of operands, dimensions, lane axis, attributes, or a missing slot.
pub fn infer(op: &Op, operands: &[&Shape], slots: &Graph) -> Result<Shape, ShapeError> {
    let rule = Rule { op, operands };
    let shape = rule.shape(slots)?;
    rule.check_size(&shape.dims)?;
    Ok(shape)
}

struct Rule<'a> {
    op: &'a Op,
    operands: &'a [&'a Shape],
}

impl Rule<'_> {
    fn shape(&self, slots: &Graph) -> Result<Shape, ShapeError> {
        match self.op {
            Op::Param(id) => {
                let slot = self.slot(slots.params.get(id.index()), id)?;
                self.leaf(Shape::shared(slot.dims.clone()))
            }
            Op::Input(id) => {
                let slot = self.slot(slots.inputs.get(id.index()), id)?;
                self.leaf(Shape::lane(slot.dims.clone()))
            }
            Op::State(id) | Op::AdjointIn(id) => {
                let slot = self.slot(slots.states.get(id.index()), id)?;
                self.leaf(Shape::lane(slot.dims.clone()))
            }
            Op::Noise(id) => {
                let slot = self.slot(slots.noises.get(id.index()), id)?;
                self.leaf(Shape::lane(slot.dims.clone()))
            }
            Op::Seed(id) => {
                let slot = self.slot(slots.outputs.get(id.index()), id)?;
                self.leaf(Shape::lane(slot.dims.clone()))
            }
            Op::Const(_) => self.leaf(Shape::shared([])),
            Op::Unary(_) | Op::StopGradient => {
                let [x] = self.take()?;
                Ok(x.clone())
            }
            Op::Binary(_) => {
                let [a, b] = self.take()?;
                self.same_dims(a, b)?;
                Ok(Shape {
                    lane: a.lane || b.lane,
                    dims: a.dims.clone(),
                })
            }
            Op::Select => {
                let [condition, a, b] = self.take()?;
                self.same_dims(condition, a)?;
                self.same_dims(a, b)?;
                Ok(Shape {
                    lane: condition.lane || a.lane || b.lane,
                    dims: a.dims.clone(),
                })
            }
            Op::Clip { lo, hi, .. } | Op::ClipMask { lo, hi, .. } => {
                let [x] = self.take()?;
                // This form also rejects a bound that is NaN.
                let ordered = lo.get() <= hi.get();
                self.check(ordered, || format!("bounds {lo} and {hi} are not ordered"))?;
                Ok(x.clone())
            }
            Op::Broadcast { dims, from } => {
                let [x] = self.take()?;
                self.broadcast(x, dims, from)
            }
            Op::Reduce { axes, .. } => {
                let [x] = self.take()?;
                self.check(!axes.is_empty(), || "no dimension to reduce".to_owned())?;
                self.axes(axes, x.dims.len())?;
                let kept = (0..x.dims.len()).filter(|axis| !axes.contains(axis));
                Ok(Shape {
                    lane: x.lane,
                    dims: kept.map(|axis| x.dims[axis]).collect(),
                })
            }
            Op::LaneSum => {
                let [x] = self.take()?;
                self.check(x.lane, || format!("operand {x} has no lane axis"))?;
                Ok(Shape::shared(x.dims.clone()))
            }
            Op::Reshape { dims } => {
                let [x] = self.take()?;
                self.check(element_count(dims) == Some(x.elements()), || {
                    format!("{x} does not have the elements of {dims:?}")
                })?;
                Ok(Shape {
                    lane: x.lane,
                    dims: dims.clone(),
                })
            }
            Op::Concat => {
                let [first, ..] = self.operands else {
                    return Err(self.error("no operands".to_owned()));
                };
                let (before, _) = self.last_axis(first)?;
                let mut size = 0_usize;
                for part in self.operands {
                    let (other, last) = self.last_axis(part)?;
                    self.check(before == other, || {
                        format!("dimensions of {first} and {part} differ before the last")
                    })?;
                    size = size
                        .checked_add(last)
                        .ok_or_else(|| self.error("size overflows".to_owned()))?;
                }
                Ok(Shape {
                    lane: self.operands.iter().any(|part| part.lane),
                    dims: [before, &[size]].concat(),
                })
            }
            Op::Slice { start, end } => {
                let [x] = self.take()?;
                let (before, size) = self.last_axis(x)?;
                self.check(start < end && *end <= size, || {
                    format!("{start}..{end} is not a range of {x}")
                })?;
                Ok(Shape {
                    lane: x.lane,
                    dims: [before, &[end - start]].concat(),
                })
            }
            Op::Pad { before, after } => {
                let [x] = self.take()?;
                let (leading, size) = self.last_axis(x)?;
                let padded = size
                    .checked_add(*before)
                    .and_then(|size| size.checked_add(*after))
                    .ok_or_else(|| self.error("size overflows".to_owned()))?;
                Ok(Shape {
                    lane: x.lane,
                    dims: [leading, &[padded]].concat(),
                })
            }
            Op::RangeMask { size, start, end } => {
                self.check(start <= end && end <= size, || {
                    format!("{start}..{end} is not a range of [{size}]")
                })?;
                self.leaf(Shape::shared([*size]))
            }
            Op::Gather(indices) => {
                let [x] = self.take()?;
                self.positions(x, indices.size(), indices.at().len())
            }
            Op::Scatter(indices) => {
                let [x] = self.take()?;
                self.positions(x, indices.at().len(), indices.size())
            }
            Op::MatVec { transposed } => {
                let [v, m] = self.take()?;
                self.mat_vec(v, m, *transposed)
            }
            Op::Outer => {
                let [a, b] = self.take()?;
                Ok(Shape::shared([self.vector(a)?, self.vector(b)?]))
            }
            Op::Softmax => {
                let [x] = self.take()?;
                self.vector(x)?;
                Ok(x.clone())
            }
        }
    }

    fn broadcast(&self, x: &Shape, dims: &[usize], from: &[usize]) -> Result<Shape, ShapeError> {
        self.check(from.len() == x.dims.len(), || {
            format!("{} places for the dimensions of {x}", from.len())
        })?;
        self.axes(from, dims.len())?;
        for (size, &axis) in x.dims.iter().zip(from) {
            self.check(*size == dims[axis], || {
                format!("size {size} of {x} does not fit dimension {axis} of {dims:?}")
            })?;
        }
        Ok(Shape {
            lane: x.lane,
            dims: dims.to_vec(),
        })
    }

    fn mat_vec(&self, v: &Shape, m: &Shape, transposed: bool) -> Result<Shape, ShapeError> {
        let size = self.vector(v)?;
        self.check(!m.lane, || format!("matrix {m} has a lane axis"))?;
        let [rows, columns] = m.dims[..] else {
            return Err(self.error(format!("{m} is not a matrix")));
        };
        let (inner, outer) = if transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        self.check(size == inner, || format!("{v} does not fit {m}"))?;
        Ok(Shape {
            lane: v.lane,
            dims: vec![outer],
        })
    }

    /// A vector of `from` elements becomes one of `to`.
    fn positions(&self, x: &Shape, from: usize, to: usize) -> Result<Shape, ShapeError> {
        self.check(x.dims == [from], || {
            format!("{x} is not a vector of {from} elements")
        })?;
        Ok(Shape {
            lane: x.lane,
            dims: vec![to],
        })
    }

    fn take<const N: usize>(&self) -> Result<[&Shape; N], ShapeError> {
        <[&Shape; N]>::try_from(self.operands)
            .map_err(|_| self.error(format!("{} operands instead of {N}", self.operands.len())))
    }

    fn leaf(&self, shape: Shape) -> Result<Shape, ShapeError> {
        let [] = self.take()?;
        Ok(shape)
    }

    fn slot<'s, S>(
        &self,
        slot: Option<&'s S>,
        id: &impl std::fmt::Display,
    ) -> Result<&'s S, ShapeError> {
        slot.ok_or_else(|| self.error(format!("no slot {id}")))
    }

    fn same_dims(&self, a: &Shape, b: &Shape) -> Result<(), ShapeError> {
        self.check(a.dims == b.dims, || {
            format!("dimensions of {a} and {b} differ")
        })
    }

    fn vector(&self, x: &Shape) -> Result<usize, ShapeError> {
        match x.dims[..] {
            [size] => Ok(size),
            _ => Err(self.error(format!("{x} is not a vector"))),
        }
    }

    /// The dimensions before the last one, and the last one.
    fn last_axis<'s>(&self, x: &'s Shape) -> Result<(&'s [usize], usize), ShapeError> {
        match x.dims.split_last() {
            Some((last, before)) => Ok((before, *last)),
            None => Err(self.error(format!("{x} has no dimension"))),
        }
    }

    /// Checks that axes are strictly increasing and below `rank`.
    fn axes(&self, axes: &[usize], rank: usize) -> Result<(), ShapeError> {
        let increasing = axes.windows(2).all(|pair| pair[0] < pair[1]);
        self.check(increasing && axes.iter().all(|&axis| axis < rank), || {
            format!("{axes:?} are not increasing dimensions below {rank}")
        })
    }

    /// Checks the rank, that no dimension is 0, and that the number of elements can be counted.
    fn check_size(&self, dims: &[usize]) -> Result<(), ShapeError> {
        self.check(dims.len() <= MAX_RANK, || {
            format!("{} dimensions, more than {MAX_RANK}", dims.len())
        })?;
        self.check(!dims.contains(&0), || {
            format!("{dims:?} has an empty dimension")
        })?;
        self.check(element_count(dims).is_some(), || {
            format!("the size of {dims:?} overflows")
        })
    }

    fn check(&self, holds: bool, reason: impl FnOnce() -> String) -> Result<(), ShapeError> {
        if holds {
            Ok(())
        } else {
            Err(self.error(reason()))
        }
    }

    fn error(&self, reason: String) -> ShapeError {
        ShapeError {
            op: self.op.mnemonic(),
            reason,
        }
    }
}

fn element_count(dims: &[usize]) -> Option<usize> {
    dims.iter()
        .try_fold(1_usize, |count, &dim| count.checked_mul(dim))
}
