//! Evaluates a graph value by value.

use crate::engine::BackendError;
use crate::ir::element::{binary, clip, clip_mask, unary};
use crate::ir::{Graph, Op, Reduction, ResultKind, Shape, Value, ValueId};

/// The leaves of a graph, one entry per slot; those the graph does not read may be missing.
/// Parameters are `[dims...]`, everything else `[lanes, dims...]`, row by row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaves<'a> {
    /// Parameters.
    pub params: &'a [Vec<f64>],
    /// Inputs.
    pub inputs: &'a [Vec<f64>],
    /// States that enter the step.
    pub states: &'a [Vec<f64>],
    /// Noise draws.
    pub noises: &'a [Vec<f64>],
    /// Adjoints of the outputs.
    pub seeds: &'a [Vec<f64>],
    /// Adjoints of the states that leave the step.
    pub adjoint_in: &'a [Vec<f64>],
}

/// The results of a graph, in the order of [`Graph::results`]: gradients `[dims...]`, all others
/// `[lanes, dims...]`.
///
/// # Errors
/// Where a leaf that the graph reads is missing or has the wrong size.
pub fn evaluate(
    graph: &Graph,
    lanes: usize,
    leaves: &Leaves<'_>,
) -> Result<Vec<Vec<f64>>, BackendError> {
    let values = tensors(graph, lanes, leaves, |_, _| {})?;
    let results = graph.results().iter().map(|&(result, id)| {
        let value = &values[id.index()];
        match result {
            ResultKind::Gradient(_) => value.data.clone(),
            ResultKind::Output(_)
            | ResultKind::Next(_)
            | ResultKind::AdjointOut(_)
            | ResultKind::InputAdjoint(_) => value.per_lane(lanes),
        }
    });
    Ok(results.collect())
}

/// All values of a graph, by id: those per lane `[lanes, dims...]`, the others `[dims...]`. `look` is called with every
/// value that was computed, in order, may change it, and is followed by those that read it.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_all(
    graph: &Graph,
    lanes: usize,
    leaves: &Leaves<'_>,
    look: impl FnMut(ValueId, &mut [f64]),
) -> Result<Vec<Vec<f64>>, BackendError> {
    let values = tensors(graph, lanes, leaves, look)?;
    Ok(values.into_iter().map(|value| value.data).collect())
}

fn tensors(
    graph: &Graph,
    lanes: usize,
    leaves: &Leaves<'_>,
    mut look: impl FnMut(ValueId, &mut [f64]),
) -> Result<Vec<Tensor>, BackendError> {
    let mut values: Vec<Tensor> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let operands: Vec<&Tensor> = value.operands.iter().map(|o| &values[o.index()]).collect();
        let mut data = match leaf(&value.op, leaves) {
            Some(data) => {
                let size = Tensor::size(&value.shape, lanes);
                let what = || format!("{} ({id})", graph.op_text(&value.op));
                BackendError::check_size(what, size, data.map_or(0, Vec::len))?;
                data.cloned().unwrap_or_default()
            }
            None => apply(value, &operands, lanes),
        };
        look(id, &mut data);
        values.push(Tensor {
            shape: value.shape.clone(),
            data,
        });
    }
    Ok(values)
}

/// The data of a leaf that comes from outside; `None` where `op` is none of those.
fn leaf<'a>(op: &Op, leaves: &Leaves<'a>) -> Option<Option<&'a Vec<f64>>> {
    let (table, index) = match op {
        Op::Param(id) => (leaves.params, id.index()),
        Op::Input(id) => (leaves.inputs, id.index()),
        Op::State(id) => (leaves.states, id.index()),
        Op::Noise(id) => (leaves.noises, id.index()),
        Op::Seed(id) => (leaves.seeds, id.index()),
        Op::AdjointIn(id) => (leaves.adjoint_in, id.index()),
        _ => return None,
    };
    Some(table.get(index))
}

struct Tensor {
    shape: Shape,
    /// Row by row, the lane outermost.
    data: Vec<f64>,
}

impl Tensor {
    fn size(shape: &Shape, lanes: usize) -> usize {
        shape.elements() * if shape.lane { lanes } else { 1 }
    }

    /// Element `k` of a lane; a shared value is the same in all.
    fn at(&self, lane: usize, k: usize) -> f64 {
        if self.shape.lane {
            self.data[lane * self.shape.elements() + k]
        } else {
            self.data[k]
        }
    }

    fn per_lane(&self, lanes: usize) -> Vec<f64> {
        if self.shape.lane {
            self.data.clone()
        } else {
            self.data.repeat(lanes)
        }
    }
}

fn apply(value: &Value, operands: &[&Tensor], lanes: usize) -> Vec<f64> {
    let shape = &value.shape;
    let each = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        let lanes = if shape.lane { lanes } else { 1 };
        let indices = (0..lanes).flat_map(|lane| (0..shape.elements()).map(move |k| (lane, k)));
        indices.map(|(lane, k)| f(lane, k)).collect()
    };
    match &value.op {
        Op::Param(_)
        | Op::Input(_)
        | Op::State(_)
        | Op::Noise(_)
        | Op::Seed(_)
        | Op::AdjointIn(_) => unreachable!("a leaf from outside was taken from there"),
        Op::Const(number) => vec![number.get()],
        Op::RangeMask { start, end, .. } => {
            each(&|_, k| f64::from(u8::from((*start..*end).contains(&k))))
        }
        Op::Unary(f) => each(&|lane, k| unary(*f, operands[0].at(lane, k))),
        Op::Binary(f) => {
            each(&|lane, k| binary(*f, operands[0].at(lane, k), operands[1].at(lane, k)))
        }
        Op::Select => each(&|lane, k| {
            let chosen = if operands[0].at(lane, k) != 0.0 { 1 } else { 2 };
            operands[chosen].at(lane, k)
        }),
        Op::Clip { lo, hi, .. } => {
            each(&|lane, k| clip(operands[0].at(lane, k), lo.get(), hi.get()))
        }
        Op::ClipMask { lo, hi, boundary } => {
            each(&|lane, k| clip_mask(operands[0].at(lane, k), lo.get(), hi.get(), *boundary))
        }
        Op::Broadcast { dims, from } => each(&|lane, k| {
            let index = unravel(k, dims);
            let index: Vec<usize> = from.iter().map(|&axis| index[axis]).collect();
            operands[0].at(lane, ravel(&index, &operands[0].shape.dims))
        }),
        Op::Reduce { kind, axes } => {
            each(&|lane, k| reduce(*kind, axes, operands[0], lane, k, shape))
        }
        Op::LaneSum => each(&|_, k| (0..lanes).map(|lane| operands[0].at(lane, k)).sum()),
        Op::Reshape { .. } | Op::StopGradient => operands[0].data.clone(),
        Op::Concat => each(&|lane, k| {
            let width = last_dim(shape);
            let (row, mut column) = (k / width, k % width);
            for part in operands {
                let width = last_dim(&part.shape);
                if column < width {
                    return part.at(lane, row * width + column);
                }
                column -= width;
            }
            unreachable!("the sizes of the parts add up to the size of the result")
        }),
        Op::Slice { start, .. } => each(&|lane, k| {
            let (width, whole) = (last_dim(shape), last_dim(&operands[0].shape));
            operands[0].at(lane, k / width * whole + start + k % width)
        }),
        Op::Pad { before, .. } => each(&|lane, k| {
            let (width, inner) = (last_dim(shape), last_dim(&operands[0].shape));
            let column = k % width;
            if (*before..before + inner).contains(&column) {
                operands[0].at(lane, k / width * inner + column - before)
            } else {
                0.0
            }
        }),
        Op::Gather(indices) => each(&|lane, k| operands[0].at(lane, indices.at()[k] as usize)),
        Op::Scatter(indices) => {
            let lanes = operands[0].data.chunks_exact(indices.at().len());
            lanes.flat_map(|lane| indices.scatter(lane)).collect()
        }
        Op::MatVec { transposed } => {
            let columns = operands[1].shape.dims[1];
            each(&|lane, k| {
                let entry = |i: usize| {
                    let place = if *transposed {
                        k * columns + i
                    } else {
                        i * columns + k
                    };
                    operands[1].at(0, place)
                };
                (0..operands[0].shape.elements())
                    .map(|i| operands[0].at(lane, i) * entry(i))
                    .sum()
            })
        }
        Op::Outer => {
            let per_lane = operands.iter().any(|operand| operand.shape.lane);
            let lanes = if per_lane { lanes } else { 1 };
            let columns = shape.dims[1];
            each(&|_, k| {
                (0..lanes)
                    .map(|lane| {
                        operands[0].at(lane, k / columns) * operands[1].at(lane, k % columns)
                    })
                    .sum()
            })
        }
        Op::Softmax => {
            let x = operands[0];
            let size = shape.elements();
            each(&|lane, k| {
                let entries = || (0..size).map(|k| x.at(lane, k));
                let largest = entries().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = entries().map(|entry| (entry - largest).exp()).sum();
                (x.at(lane, k) - largest).exp() / total
            })
        }
    }
}

/// The last dimension, of which what joins and cuts has one.
fn last_dim(shape: &Shape) -> usize {
    shape.dims.last().copied().unwrap_or(1)
}

/// Element `k` of the result: over all indices whose kept dimensions are those of `k`.
fn reduce(
    kind: Reduction,
    axes: &[usize],
    x: &Tensor,
    lane: usize,
    k: usize,
    result: &Shape,
) -> f64 {
    let kept_index = unravel(k, &result.dims);
    let entries = (0..x.shape.elements()).filter(|&j| {
        let index = unravel(j, &x.shape.dims);
        let kept = (0..index.len()).filter(|axis| !axes.contains(axis));
        kept.map(|axis| index[axis]).eq(kept_index.iter().copied())
    });
    let entries = entries.map(|j| x.at(lane, j));
    match kind {
        Reduction::Sum => entries.sum(),
        Reduction::Max => entries.fold(f64::NEG_INFINITY, |a, b| if b <= a { a } else { b }),
    }
}

/// The index in each dimension of element `k`, row by row.
fn unravel(mut k: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (place, dim) in index.iter_mut().zip(dims).rev() {
        *place = k % dim;
        k /= dim;
    }
    index
}

fn ravel(index: &[usize], dims: &[usize]) -> usize {
    index.iter().zip(dims).fold(0, |k, (i, dim)| k * dim + i)
}
