//! Values that depend on parameters alone, in f64: they are computed once an iteration, or from the sums of one.

use crate::ir::element::{binary, clip, clip_mask, unary};
use crate::ir::{Graph, Op, Reduction, Value};

/// The results of a graph without lanes, in their order. Parameters are by slot; those that the graph does not read may be
/// empty.
pub(super) fn evaluate(graph: &Graph, params: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut values: Vec<Vec<f64>> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let operands: Vec<Operand<'_>> = value
            .operands
            .iter()
            .map(|o| Operand {
                dims: graph.dims(*o),
                data: &values[o.index()],
            })
            .collect();
        let data = match value.op {
            Op::Param(slot) => params[slot.index()].clone(),
            _ => apply(value, &operands),
        };
        values.push(data);
    }
    let results = graph.results().iter();
    results.map(|(_, id)| values[id.index()].clone()).collect()
}

/// A value that another one reads, row by row.
#[derive(Clone, Copy)]
struct Operand<'a> {
    dims: &'a [usize],
    data: &'a [f64],
}

impl Operand<'_> {
    /// The last dimension, along which values are joined and cut.
    fn width(&self) -> usize {
        self.dims.last().copied().unwrap_or(1).max(1)
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.data.chunks_exact(self.width())
    }
}

fn apply(value: &Value, operands: &[Operand<'_>]) -> Vec<f64> {
    let elements = value.shape.elements();
    let each = |f: &dyn Fn(f64) -> f64| operands[0].data.iter().map(|x| f(*x)).collect();
    match &value.op {
        Op::Const(number) => vec![number.get()],
        Op::RangeMask { size, start, end } => (0..*size)
            .map(|k| f64::from(u8::from((*start..*end).contains(&k))))
            .collect(),
        Op::Unary(f) => each(&|x| unary(*f, x)),
        Op::Binary(f) => {
            let pairs = operands[0].data.iter().zip(operands[1].data);
            pairs.map(|(a, b)| binary(*f, *a, *b)).collect()
        }
        Op::Select => {
            let choices = operands[1].data.iter().zip(operands[2].data);
            let all = operands[0].data.iter().zip(choices);
            all.map(|(c, (a, b))| if *c != 0.0 { *a } else { *b })
                .collect()
        }
        Op::Clip { lo, hi, .. } => each(&|x| clip(x, lo.get(), hi.get())),
        Op::ClipMask { lo, hi, boundary } => each(&|x| clip_mask(x, lo.get(), hi.get(), *boundary)),
        Op::Broadcast { dims, from } => {
            let mut strides = vec![0; dims.len()];
            for (axis, stride) in from.iter().zip(row_by_row(operands[0].dims)) {
                strides[*axis] = stride;
            }
            places(dims, &strides)
                .map(|k| operands[0].data[k])
                .collect()
        }
        Op::Reduce { kind, axes } => reduce(*kind, axes, operands[0], elements),
        // There is one lane.
        Op::LaneSum => each(&|x| std::iter::once(x).sum()),
        Op::Reshape { .. } | Op::StopGradient => operands[0].data.to_vec(),
        Op::Concat => {
            let mut rows: Vec<_> = operands.iter().map(Operand::rows).collect();
            let mut out = Vec::with_capacity(elements);
            while out.len() < elements {
                out.extend(rows.iter_mut().filter_map(Iterator::next).flatten());
            }
            out
        }
        Op::Slice { start, end } => {
            let rows = operands[0].rows();
            rows.flat_map(|row| &row[*start..*end]).copied().collect()
        }
        Op::Pad { before, after } => {
            let mut out = Vec::with_capacity(elements);
            for row in operands[0].rows() {
                out.resize(out.len() + before, 0.0);
                out.extend(row);
                out.resize(out.len() + after, 0.0);
            }
            out
        }
        Op::Gather(indices) => indices.gather(operands[0].data),
        Op::Scatter(indices) => indices.scatter(operands[0].data),
        Op::MatVec { transposed } => {
            let (v, matrix) = (operands[0].data, operands[1]);
            let [of_row, of_column] = match transposed {
                true => [1, matrix.width()],
                false => [matrix.width(), 1],
            };
            let entry = |i: usize, k: usize| matrix.data[i * of_row + k * of_column];
            let product = |k: usize| v.iter().enumerate().map(|(i, x)| x * entry(i, k)).sum();
            (0..elements).map(product).collect()
        }
        Op::Outer => {
            let [a, b] = [operands[0].data, operands[1].data];
            let products = a.iter().flat_map(|a| b.iter().map(move |b| a * b));
            products.map(|x| std::iter::once(x).sum()).collect()
        }
        Op::Softmax => {
            let x = operands[0].data;
            let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = x.iter().map(|x| (x - largest).exp()).sum();
            x.iter().map(|x| (x - largest).exp() / total).collect()
        }
        Op::Param(_)
        | Op::Input(_)
        | Op::State(_)
        | Op::Noise(_)
        | Op::Seed(_)
        | Op::AdjointIn(_) => unreachable!("what differs from lane to lane is not computed here"),
    }
}

/// Sums, or largest elements, over some dimensions, from the first element to the last.
fn reduce(kind: Reduction, axes: &[usize], x: Operand<'_>, elements: usize) -> Vec<f64> {
    let kept: Vec<usize> = (0..x.dims.len()).filter(|a| !axes.contains(a)).collect();
    let left: Vec<usize> = kept.iter().map(|axis| x.dims[*axis]).collect();
    let mut strides = vec![0; x.dims.len()];
    for (axis, stride) in kept.iter().zip(row_by_row(&left)) {
        strides[*axis] = stride;
    }
    let begin = match kind {
        Reduction::Sum => std::iter::empty::<f64>().sum(),
        Reduction::Max => f64::NEG_INFINITY,
    };
    let mut out = vec![begin; elements];
    for (x, k) in x.data.iter().zip(places(x.dims, &strides)) {
        match kind {
            Reduction::Sum => out[k] += x,
            Reduction::Max if *x <= out[k] => {}
            Reduction::Max => out[k] = *x,
        }
    }
    out
}

/// The stride of each dimension of a value in row-major order.
fn row_by_row(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The offsets of the elements of a value with these dimensions, row by row, in an array with these strides.
fn places<'a>(dims: &'a [usize], strides: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    (0..dims.iter().product()).map(move |mut k| {
        let mut place = 0;
        for (dim, stride) in dims.iter().zip(strides).rev() {
            place += k % dim * stride;
            k /= dim;
        }
        place
    })
}

#[cfg(test)]
mod tests {
    use super::evaluate;
    use crate::engine::reference;
    use crate::ir::{Graph, Op, ParamId, ParamSlot, Reduction, ResultKind, ValueId};

    /// All layouts, reductions and products give the bits of the oracle.
    #[test]
    fn values_have_the_bits_of_the_oracle() {
        let mut graph = Graph::new();
        let leaf = |graph: &mut Graph, name: &str, dims: &[usize]| -> ValueId {
            let slot = graph.add_param(ParamSlot::new(name.to_owned(), dims.to_vec()));
            graph.add(Op::Param(slot), &[]).unwrap()
        };
        let v = leaf(&mut graph, "v", &[3]);
        let m = leaf(&mut graph, "m", &[3, 4]);
        let n = leaf(&mut graph, "n", &[3, 4]);
        let mut all = Vec::new();
        let mut add = |graph: &mut Graph, op: Op, operands: &[ValueId]| {
            let id = graph.add(op, operands).unwrap();
            all.push(id);
            id
        };
        for from in [0, 1] {
            let dims = [vec![3, 2], vec![2, 3]][from].clone();
            add(
                &mut graph,
                Op::Broadcast {
                    dims,
                    from: vec![from],
                },
                &[v],
            );
        }
        for kind in [Reduction::Sum, Reduction::Max] {
            for axes in [vec![0], vec![1], vec![0, 1]] {
                add(&mut graph, Op::Reduce { kind, axes }, &[m]);
            }
        }
        let both = add(&mut graph, Op::Concat, &[m, n]);
        add(&mut graph, Op::Slice { start: 2, end: 7 }, &[both]);
        add(
            &mut graph,
            Op::Pad {
                before: 2,
                after: 1,
            },
            &[m],
        );
        let product = add(&mut graph, Op::MatVec { transposed: false }, &[v, m]);
        add(&mut graph, Op::MatVec { transposed: true }, &[product, m]);
        add(&mut graph, Op::Outer, &[v, product]);
        add(&mut graph, Op::Softmax, &[v]);
        add(&mut graph, Op::Reshape { dims: vec![12] }, &[m]);
        for (k, id) in all.iter().enumerate() {
            graph.set_result(ResultKind::Gradient(ParamId(k as u32)), *id);
        }
        let number =
            |k: usize| (k as f64 * 0.7).sin() - if k.is_multiple_of(5) { 0.3 } else { 0.0 };
        let params: Vec<Vec<f64>> = [3usize, 12, 12]
            .into_iter()
            .map(|n| (0..n).map(|k| number(k + n)).collect())
            .collect();
        let leaves = reference::Leaves {
            params: &params,
            ..reference::Leaves::default()
        };
        let expected = reference::evaluate(&graph, 1, &leaves).unwrap();
        assert_eq!(evaluate(&graph, &params), expected);
    }
}
