//! Every operation of the IR on Candle tensors: `[lanes, dims...]` if its shape has a lane axis, else
//! `[dims...]`. Broadcast values stay views, which Candle's elementwise kernels read directly.

use super::element::{binary, clip_mask, power, truth, unary};
use super::sum::sum_axis;
use crate::ir::{Binary, Graph, Indices, Op, Reduction, Shape, ValueId};
use candle_core::{DType, Device, Result, Tensor};

pub(super) struct Kernels {
    lanes: usize,
    dtype: DType,
    device: Device,
}

/// A value computed earlier.
pub(super) fn operand(values: &[Option<Tensor>], id: ValueId) -> &Tensor {
    values[id.index()]
        .as_ref()
        .expect("operands are computed before their users and kept until the last")
}

impl Kernels {
    pub fn new(lanes: usize, dtype: DType, device: &Device) -> Kernels {
        Kernels {
            lanes,
            dtype,
            device: device.clone(),
        }
    }

    /// A value as `[lanes, dims...]`; a view if it is shared.
    pub fn per_lane(&self, tensor: &Tensor, shape: &Shape) -> Result<Tensor> {
        if shape.lane {
            return Ok(tensor.clone());
        }
        tensor
            .unsqueeze(0)?
            .broadcast_as([&[self.lanes], shape.dims.as_slice()].concat())
    }

    /// Computes a value that is not a leaf.
    pub fn apply(&self, graph: &Graph, id: ValueId, values: &[Option<Tensor>]) -> Result<Tensor> {
        let value = graph.value(id);
        let shape = &value.shape;
        let tensor = |k: usize| operand(values, value.operands[k]);
        let operand_shape = |k: usize| graph.shape(value.operands[k]);
        // An operand with the lane axis of the result.
        let fitted = |k: usize| {
            if shape.lane {
                self.per_lane(tensor(k), operand_shape(k))
            } else {
                Ok(tensor(k).clone())
            }
        };
        match &value.op {
            Op::Param(_)
            | Op::Input(_)
            | Op::State(_)
            | Op::Noise(_)
            | Op::Seed(_)
            | Op::AdjointIn(_) => unreachable!("a leaf from outside is taken from there"),
            Op::Const(number) => Tensor::new(number.get(), &self.device)?.to_dtype(self.dtype),
            Op::RangeMask { size, start, end } => {
                let inside = |k| f64::from(u8::from((*start..*end).contains(&k)));
                let mask: Vec<f64> = (0..*size).map(inside).collect();
                Tensor::from_vec(mask, *size, &self.device)?.to_dtype(self.dtype)
            }
            Op::Unary(f) => unary(*f, tensor(0)),
            Op::Binary(Binary::Pow) => match uniform(graph, value.operands[1]) {
                Some(exponent) => fitted(0)?.powf(exponent),
                None => power(&fitted(0)?, &fitted(1)?),
            },
            Op::Binary(f) => binary(*f, &fitted(0)?, &fitted(1)?),
            Op::Select => truth(&fitted(0)?)?.where_cond(&fitted(1)?, &fitted(2)?),
            Op::Clip { lo, hi, .. } => tensor(0).clamp(lo.get(), hi.get()),
            Op::ClipMask { lo, hi, boundary } => {
                clip_mask(tensor(0), lo.get(), hi.get(), *boundary)
            }
            Op::Broadcast { dims, from } => self.broadcast(tensor(0), shape.lane, dims, from),
            Op::Reduce { kind, axes } => {
                let first = usize::from(shape.lane);
                let mut reduced = tensor(0).clone();
                for axis in axes.iter().rev() {
                    reduced = match kind {
                        Reduction::Sum => sum_axis(&reduced, first + axis)?,
                        Reduction::Max => reduced.max(first + axis)?,
                    };
                }
                Ok(reduced)
            }
            Op::LaneSum => sum_axis(tensor(0), 0),
            Op::Reshape { .. } => tensor(0).reshape(self.dims(shape)),
            Op::Concat => {
                let parts: Vec<Tensor> = (0..value.operands.len())
                    .map(fitted)
                    .collect::<Result<_>>()?;
                Tensor::cat(&parts, last_axis(shape))
            }
            Op::Slice { start, end } => tensor(0).narrow(last_axis(shape), *start, end - start),
            Op::Pad { before, after } => {
                tensor(0).pad_with_zeros(last_axis(shape), *before, *after)
            }
            Op::Gather(indices) => {
                let axis = last_axis(shape);
                tensor(0)
                    .contiguous()?
                    .index_select(&self.positions(indices)?, axis)
            }
            Op::Scatter(indices) => {
                let zero = Tensor::zeros(self.dims(shape), self.dtype, &self.device)?;
                let (axis, from) = (last_axis(shape), tensor(0).contiguous()?);
                zero.index_add(&self.positions(indices)?, &from, axis)
            }
            Op::MatVec { transposed } => {
                let matrix = if *transposed {
                    tensor(1).t()?
                } else {
                    tensor(1).clone()
                };
                if shape.lane {
                    tensor(0).contiguous()?.matmul(&matrix)
                } else {
                    tensor(0)
                        .contiguous()?
                        .unsqueeze(0)?
                        .matmul(&matrix)?
                        .squeeze(0)
                }
            }
            Op::Outer => match (operand_shape(0).lane, operand_shape(1).lane) {
                (true, true) => {
                    let rows = tensor(0).contiguous()?;
                    rows.t()?.matmul(&tensor(1).contiguous()?)
                }
                // Σ_lanes a bᵀ = (Σ_lanes a) bᵀ if b is the same in every lane.
                (true, false) => outer(&sum_axis(tensor(0), 0)?, tensor(1)),
                (false, true) => outer(tensor(0), &sum_axis(tensor(1), 0)?),
                (false, false) => outer(tensor(0), tensor(1)),
            },
            Op::Softmax => candle_nn::ops::softmax_last_dim(&tensor(0).contiguous()?),
            Op::StopGradient => Ok(tensor(0).clone()),
        }
    }

    fn positions(&self, indices: &Indices) -> Result<Tensor> {
        Tensor::new(indices.at(), &self.device)
    }

    fn dims(&self, shape: &Shape) -> Vec<usize> {
        let lanes = shape.lane.then_some(self.lanes);
        lanes
            .into_iter()
            .chain(shape.dims.iter().copied())
            .collect()
    }

    fn broadcast(&self, x: &Tensor, lane: bool, dims: &[usize], from: &[usize]) -> Result<Tensor> {
        let first = usize::from(lane);
        let mut stretched = x.clone();
        for axis in 0..dims.len() {
            if !from.contains(&axis) {
                stretched = stretched.unsqueeze(first + axis)?;
            }
        }
        let shape = Shape {
            lane,
            dims: dims.to_vec(),
        };
        stretched.broadcast_as(self.dims(&shape))
    }
}

/// The last axis of a tensor of this shape.
fn last_axis(shape: &Shape) -> usize {
    (usize::from(shape.lane) + shape.dims.len()).saturating_sub(1)
}

fn outer(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.unsqueeze(1)?.broadcast_mul(&b.unsqueeze(0)?)
}

/// The constant that a value has everywhere, if it is one.
fn uniform(graph: &Graph, id: ValueId) -> Option<f64> {
    let value = graph.value(id);
    match value.op {
        Op::Const(number) => Some(number.get()),
        Op::Broadcast { .. } => uniform(graph, value.operands[0]),
        _ => None,
    }
}
