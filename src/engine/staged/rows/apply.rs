//! Operations on values of all rows.

use super::product::{product, Matrix};
use super::table::{Hot, Table};
use super::Leaves;
use crate::engine::fused::{element, Element, Operand};
use crate::ir::{Binary, Graph, Op, Reduction, ResultKind, Value, ValueId};
use crate::machine::dispatch;
use rayon::prelude::*;
use std::borrow::Cow;

/// The number of elements of a table above which threads share its rows.
const SHARED_WORK: usize = 1 << 15;
/// The number of elements that a thread takes at once.
const CHUNK: usize = 1 << 14;

/// Memory reused between evaluations.
#[derive(Debug, Default)]
pub struct Scratch {
    free: Vec<Vec<f32>>,
}

impl Scratch {
    /// A buffer of `size` numbers with arbitrary contents.
    pub fn take(&mut self, size: usize) -> Vec<f32> {
        let fits = self
            .free
            .iter()
            .position(|v| v.capacity() >= size && v.capacity() <= 2 * size);
        let mut values = fits.map_or_else(Vec::new, |k| self.free.swap_remove(k));
        values.resize(size, 0.0);
        values
    }

    /// Returns a buffer that is no longer needed.
    pub fn give(&mut self, values: Vec<f32>) {
        // More than a few would hold memory that nothing asks for again.
        if values.capacity() > 0 && self.free.len() < 64 {
            self.free.push(values);
        }
    }

    /// Returns the memory of a table.
    pub fn give_table(&mut self, table: Table<'_>) {
        if let Table::Rows(Cow::Owned(values)) | Table::Shared(Cow::Owned(values)) = table {
            self.give(values);
        }
    }
}

/// A graph being evaluated.
pub(super) struct Evaluation<'g, 'a, 's> {
    graph: &'g Graph,
    rows: usize,
    leaves: &'s Leaves<'a>,
    scratch: &'s mut Scratch,
    values: Vec<Option<Table<'a>>>,
    /// The number of remaining reads of each value.
    uses: Vec<usize>,
    /// The products that are computed where they are added to a shared value.
    deferred: Vec<bool>,
}

impl<'g, 'a, 's> Evaluation<'g, 'a, 's> {
    pub(super) fn new(
        graph: &'g Graph,
        rows: usize,
        leaves: &'s Leaves<'a>,
        scratch: &'s mut Scratch,
    ) -> Evaluation<'g, 'a, 's> {
        let mut needed = vec![false; graph.len()];
        for (_, id) in graph.results() {
            needed[id.index()] = true;
        }
        let mut uses = vec![0; graph.len()];
        for (_, id) in graph.results() {
            uses[id.index()] += 1;
        }
        for id in graph.ids().rev() {
            if needed[id.index()] {
                for operand in &graph.value(id).operands {
                    needed[operand.index()] = true;
                    uses[operand.index()] += 1;
                }
            }
        }
        let mut deferred = vec![false; graph.len()];
        for id in graph.ids() {
            let value = graph.value(id);
            if value.op != Op::Binary(Binary::Add) || uses[id.index()] == 0 {
                continue;
            }
            for (k, operand) in value.operands.iter().enumerate() {
                let product = matches!(graph.value(*operand).op, Op::MatVec { .. })
                    && graph.shape(*operand).lane
                    && uses[operand.index()] == 1;
                if product && !graph.shape(value.operands[1 - k]).lane {
                    deferred[operand.index()] = true;
                }
            }
        }
        Evaluation {
            values: vec![None; graph.len()],
            graph,
            rows,
            leaves,
            scratch,
            uses,
            deferred,
        }
    }

    pub(super) fn run(mut self) -> Vec<(ResultKind, Table<'a>)> {
        for id in self.graph.ids() {
            if self.uses[id.index()] == 0 || self.deferred[id.index()] {
                continue;
            }
            let table = self.compute(id);
            self.values[id.index()] = Some(table);
            self.release(id);
        }
        let results: Vec<(ResultKind, ValueId)> = self.graph.results().to_vec();
        results
            .into_iter()
            .map(|(result, id)| (result, self.take(id)))
            .collect()
    }

    /// Counts one read less of each operand, and frees values without remaining reads.
    fn release(&mut self, id: ValueId) {
        let mut waiting: Vec<ValueId> = self.graph.value(id).operands.clone();
        while let Some(operand) = waiting.pop() {
            let k = operand.index();
            self.uses[k] -= 1;
            if self.uses[k] > 0 {
                continue;
            }
            if self.deferred[k] {
                waiting.extend(&self.graph.value(operand).operands);
            }
            if let Some(table) = self.values[k].take() {
                self.scratch.give_table(table);
            }
        }
    }

    /// A value at its last read, or a copy of it.
    fn take(&mut self, id: ValueId) -> Table<'a> {
        self.uses[id.index()] -= 1;
        let slot = &mut self.values[id.index()];
        let value = if self.uses[id.index()] == 0 {
            slot.take()
        } else {
            slot.clone()
        };
        value.expect("a value is computed before it is read")
    }

    fn table(&self, id: ValueId) -> &Table<'a> {
        self.values[id.index()]
            .as_ref()
            .expect("operands come before their users")
    }

    fn width(&self, id: ValueId) -> usize {
        self.graph.shape(id).elements()
    }

    fn compute(&mut self, id: ValueId) -> Table<'a> {
        let graph = self.graph;
        let value = graph.value(id);
        let operands = value.operands.as_slice();
        match &value.op {
            Op::Param(k) => Table::Shared(Cow::Borrowed(self.leaves.params[k.index()])),
            Op::Input(k) => self.leaves.inputs[k.index()].clone(),
            Op::Noise(k) => self.leaves.noises[k.index()].clone(),
            Op::Seed(k) => self.leaves.seeds[k.index()].clone(),
            Op::State(_) | Op::AdjointIn(_) => unreachable!("a stage of rows has no states"),
            Op::Const(x) => Table::Shared(Cow::Owned(vec![x.get() as f32])),
            Op::RangeMask { size, start, end } => {
                let inside = |k| f32::from(u8::from((*start..*end).contains(&k)));
                Table::Shared(Cow::Owned((0..*size).map(inside).collect()))
            }
            Op::Unary(f) => self.elements(Element::Unary(*f), value),
            Op::Binary(Binary::Add) if operands.iter().any(|o| self.deferred[o.index()]) => {
                let k = usize::from(!self.deferred[operands[0].index()]);
                let bias = operands[1 - k];
                let mut out = self.scratch.take(self.rows * self.width(id));
                let bias = self.table(bias).row(0, 0);
                out.par_chunks_exact_mut(bias.len())
                    .for_each(|row| row.copy_from_slice(bias));
                self.mat_vec(operands[k], out, true)
            }
            Op::Binary(Binary::Mul)
                if matches!(self.table(operands[0]), Table::Hot(_))
                    || matches!(self.table(operands[1]), Table::Hot(_)) =>
            {
                self.scaled(operands, self.width(id))
            }
            Op::Binary(f) => self.elements(Element::Binary(*f), value),
            Op::Select => self.elements(Element::Select, value),
            Op::Clip { lo, hi, .. } => self.elements(Element::Clip(*lo, *hi), value),
            Op::ClipMask { lo, hi, boundary } => {
                self.elements(Element::ClipMask(*lo, *hi, *boundary), value)
            }
            Op::Broadcast { dims, from } => self.broadcast(value, dims, from),
            Op::Reduce { kind, axes } => self.reduce(*kind, axes, value),
            Op::LaneSum => self.lane_sum(operands[0]),
            Op::Reshape { .. } | Op::StopGradient => self.table(operands[0]).clone(),
            Op::Concat | Op::Slice { .. } | Op::Pad { .. } => self.lines(value),
            Op::Gather(_) | Op::Scatter(_) => {
                unreachable!("stages of rows have no sparse bundles (step/rows.rs)")
            }
            Op::MatVec { .. } => {
                let out = if graph.shape(id).lane { self.rows } else { 1 };
                let out = self.scratch.take(out * self.width(id));
                self.mat_vec(id, out, false)
            }
            Op::Outer => self.outer(operands[0], operands[1]),
            Op::Softmax => self.softmax(operands[0]),
        }
    }

    /// A table of `value`, computed row by row if an operand has rows.
    fn by_row(&mut self, value: &Value, f: impl Fn(&Self, usize, &mut [f32]) + Sync) -> Table<'a> {
        let width = value.shape.elements();
        let rows = if value.shape.lane { self.rows } else { 1 };
        let mut out = self.scratch.take(rows * width);
        let this: &Self = self;
        let each = |first: usize, out: &mut [f32]| {
            for (k, row) in out.chunks_exact_mut(width).enumerate() {
                f(this, first + k, row);
            }
        };
        if out.len() < SHARED_WORK || rows == 1 {
            each(0, &mut out);
        } else {
            let some = (CHUNK / width).max(1);
            out.par_chunks_mut(some * width)
                .enumerate()
                .for_each(|(k, out)| each(k * some, out));
        }
        if value.shape.lane {
            Table::Rows(Cow::Owned(out))
        } else {
            Table::Shared(Cow::Owned(out))
        }
    }

    /// Expands one-hot operands; few operations support them.
    fn spell_out(&mut self, value: &Value) {
        for id in &value.operands {
            if matches!(self.table(*id), Table::Hot(_)) {
                let table = self.table(*id).clone();
                let rows = table.into_rows(self.rows, self.width(*id));
                self.values[id.index()] = Some(Table::Rows(Cow::Owned(rows)));
            }
        }
    }

    fn elements(&mut self, f: Element, value: &Value) -> Table<'a> {
        self.spell_out(value);
        let width = value.shape.elements();
        self.by_row(value, |this, row, out| {
            let get = |k: usize| {
                let id = value.operands.get(k).unwrap_or(&value.operands[0]);
                Operand::Row(this.table(*id).row(row, width))
            };
            vector_element(f, out, [get(0), get(1), get(2)]);
        })
    }

    /// The product of a one-hot value and another value.
    fn scaled(&self, operands: &[ValueId], width: usize) -> Table<'a> {
        let (a, b) = (self.table(operands[0]), self.table(operands[1]));
        let (Table::Hot(hot), other) = (match a {
            Table::Hot(_) => (a, b),
            _ => (b, a),
        }) else {
            unreachable!("one of the operands is one of many");
        };
        let scale = hot
            .index
            .iter()
            .zip(hot.scale.iter())
            .enumerate()
            .map(|(row, (index, scale))| scale * other.at(row, *index as usize, width));
        Table::Hot(Hot {
            index: hot.index.clone(),
            scale: Cow::Owned(scale.collect()),
        })
    }

    fn broadcast(&mut self, value: &Value, dims: &[usize], from: &[usize]) -> Table<'a> {
        self.spell_out(value);
        let operand = value.operands[0];
        let inner = self.graph.dims(operand).to_vec();
        let width = self.width(operand);
        self.by_row(value, |this, row, out| {
            let source = this.table(operand).row(row, width);
            if width == 1 {
                out.fill(source[0]);
            } else if from.last() == Some(&(dims.len() - 1)) && inner.len() == 1 {
                for line in out.chunks_exact_mut(width) {
                    line.copy_from_slice(source);
                }
            } else {
                for (k, to) in out.iter_mut().enumerate() {
                    let index = unravel(k, dims);
                    let at = from.iter().zip(&inner);
                    *to = source[at.fold(0, |sum, (axis, size)| sum * size + index[*axis])];
                }
            }
        })
    }

    fn reduce(&mut self, kind: Reduction, axes: &[usize], value: &Value) -> Table<'a> {
        self.spell_out(value);
        let operand = value.operands[0];
        let dims = self.graph.dims(operand).to_vec();
        let width = self.width(operand);
        let first = match kind {
            Reduction::Sum => 0.0,
            Reduction::Max => f32::NEG_INFINITY,
        };
        let join = |a: f32, b: f32| match kind {
            Reduction::Sum => a + b,
            Reduction::Max => {
                if b <= a {
                    a
                } else {
                    b
                }
            }
        };
        self.by_row(value, |this, row, out| {
            out.fill(first);
            let source = this.table(operand).row(row, width);
            for (k, x) in source.iter().enumerate() {
                let index = unravel(k, &dims);
                let kept = (0..dims.len()).filter(|axis| !axes.contains(axis));
                let at = kept.fold(0, |sum, axis| sum * dims[axis] + index[axis]);
                out[at] = join(out[at], *x);
            }
        })
    }

    /// The sum of all rows, in order.
    fn lane_sum(&mut self, operand: ValueId) -> Table<'a> {
        let width = self.width(operand);
        let mut out = self.scratch.take(width);
        out.fill(0.0);
        let (table, rows) = (self.table(operand), self.rows);
        let add = |first: usize, out: &mut [f32]| {
            for row in 0..rows {
                if let Table::Hot(hot) = table {
                    let at = (hot.index[row] as usize).wrapping_sub(first);
                    if let Some(to) = out.get_mut(at) {
                        *to += hot.scale[row];
                    }
                    continue;
                }
                let row = &table.row(row, width)[first..first + out.len()];
                for (to, x) in out.iter_mut().zip(row) {
                    *to += x;
                }
            }
        };
        let slab = 1024;
        out.par_chunks_mut(slab)
            .enumerate()
            .for_each(|(k, out)| add(k * slab, out));
        Table::Shared(Cow::Owned(out))
    }

    /// Joins, slices and pads along the last dimension.
    fn lines(&mut self, value: &Value) -> Table<'a> {
        self.spell_out(value);
        let last = |dims: &[usize]| dims.last().copied().unwrap_or(1);
        let width = last(&value.shape.dims);
        let parts: Vec<(ValueId, usize, usize)> = value
            .operands
            .iter()
            .map(|o| (*o, last(self.graph.dims(*o)), self.width(*o)))
            .collect();
        self.by_row(value, |this, row, out| {
            for (line, out) in out.chunks_exact_mut(width).enumerate() {
                let part = |k: usize| {
                    let (id, width, whole) = parts[k];
                    &this.table(id).row(row, whole)[line * width..(line + 1) * width]
                };
                match value.op {
                    Op::Slice { start, end } => out.copy_from_slice(&part(0)[start..end]),
                    Op::Pad { before, .. } => {
                        out.fill(0.0);
                        out[before..before + parts[0].1].copy_from_slice(part(0));
                    }
                    _ => {
                        let mut at = 0;
                        for (k, (_, width, _)) in parts.iter().enumerate() {
                            out[at..at + width].copy_from_slice(part(k));
                            at += width;
                        }
                    }
                }
            }
        })
    }

    /// The product `id`, written or added to `out`.
    fn mat_vec(&self, id: ValueId, mut out: Vec<f32>, add: bool) -> Table<'a> {
        let value = self.graph.value(id);
        let Op::MatVec { transposed } = value.op else {
            unreachable!("only products are deferred");
        };
        let (v, m) = (value.operands[0], value.operands[1]);
        let columns = self.graph.dims(m)[1];
        let (inner, width) = (self.width(v), self.width(id));
        let matrix = Matrix::new(self.table(m).row(0, 0), columns);
        let matrix = if transposed { matrix.turned() } else { matrix };
        match self.table(v) {
            Table::Hot(hot) => {
                let rows = out.chunks_exact_mut(width);
                for ((row, index), scale) in rows.zip(hot.index.iter()).zip(hot.scale.iter()) {
                    let from = *index as usize * matrix.row;
                    for (k, to) in row.iter_mut().enumerate() {
                        let x = scale * matrix.values[from + k * matrix.column];
                        *to = if add { *to + x } else { x };
                    }
                }
            }
            Table::Repeated(..) => {
                let rows = self.table(v).clone().into_rows(self.rows, inner);
                let dims = [self.rows, inner, width];
                product(&mut out, add, dims, Matrix::new(&rows, inner), matrix);
            }
            Table::Shared(x) if value.shape.lane => {
                let rows = x.repeat(self.rows);
                let dims = [self.rows, inner, width];
                product(&mut out, add, dims, Matrix::new(&rows, inner), matrix);
            }
            Table::Shared(x) => {
                product(
                    &mut out,
                    add,
                    [1, inner, width],
                    Matrix::new(x, inner),
                    matrix,
                );
            }
            Table::Rows(x) => {
                let dims = [self.rows, inner, width];
                product(&mut out, add, dims, Matrix::new(x, inner), matrix);
            }
        }
        if value.shape.lane {
            Table::Rows(Cow::Owned(out))
        } else {
            Table::Shared(Cow::Owned(out))
        }
    }

    /// Computes `Σ_rows a bᵀ`; a product of two shared vectors counts once.
    fn outer(&mut self, a: ValueId, b: ValueId) -> Table<'a> {
        let (n, m) = (self.width(a), self.width(b));
        let mut out = self.scratch.take(n * m);
        let count = if self.graph.shape(a).lane || self.graph.shape(b).lane {
            self.rows
        } else {
            1
        };
        let rows = |id: ValueId, width: usize| match self.table(id) {
            Table::Rows(x) => Cow::Borrowed(x.as_ref()),
            other => Cow::Owned(other.clone().into_rows(count, width)),
        };
        let b = rows(b, m);
        if let Table::Hot(hot) = self.table(a) {
            out.fill(0.0);
            let rows = b.chunks_exact(m);
            for ((row, index), scale) in rows.zip(hot.index.iter()).zip(hot.scale.iter()) {
                let at = *index as usize * m;
                for (to, x) in out[at..at + m].iter_mut().zip(row) {
                    *to += scale * x;
                }
            }
        } else {
            let a = rows(a, n);
            let turned = Matrix::new(&a, n).turned();
            product(&mut out, false, [n, count, m], turned, Matrix::new(&b, m));
        }
        Table::Shared(Cow::Owned(out))
    }

    fn softmax(&mut self, operand: ValueId) -> Table<'a> {
        let value = self.graph.value(operand).clone();
        self.spell_out(&Value {
            operands: vec![operand],
            ..value.clone()
        });
        let width = self.width(operand);
        self.by_row(&value, |this, row, out| {
            out.copy_from_slice(this.table(operand).row(row, width));
            let largest = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut total = 0.0;
            for x in out.iter_mut() {
                *x = (*x - largest).exp();
                total += *x;
            }
            for x in out.iter_mut() {
                *x /= total;
            }
        })
    }
}

/// Applies [`element`] with the vectors of this CPU.
fn vector_element(f: Element, out: &mut [f32], operands: [Operand<'_, f32>; 3]) {
    dispatch!((f: Element, out: &mut [f32], operands: [Operand<'_, f32>; 3]) {
        let [a, b, c] = operands;
        element(f, out, a, b, c);
    })
}

/// The index in each dimension of element `k`, row by row.
fn unravel(mut k: usize, dims: &[usize]) -> [usize; 3] {
    let mut index = [0; 3];
    for (axis, dim) in dims.iter().enumerate().rev() {
        index[axis] = k % dim;
        k /= dim;
    }
    index
}
