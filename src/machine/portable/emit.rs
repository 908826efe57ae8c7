//! The loops of a sweep: panels of columns, rows inside, and the stores of a row's results.

use super::operands::memory;
use crate::machine::abi::{address, partial_offset, PARTIAL};
use crate::program::code::{Element, RootKind, RowOp, Source, Sweep};
use crate::program::extent::Extent;
use crate::program::layout::PANEL;
use crate::program::masks::masks;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{types, BlockArg, InstBuilder, Type, Value};
use cranelift_frontend::FunctionBuilder;
use std::collections::BTreeMap;

/// The number of four-element vectors in a panel.
pub(super) const PARTS: usize = PANEL / 4;

/// The values of one elementwise operation, one per vector.
pub(super) type Parts = [Value; PARTS];

pub(super) struct Emitter<'a> {
    pub(super) b: FunctionBuilder<'a>,
    pub(super) sweep: &'a Sweep,
    pointer: Type,
    table: Value,
    pub(super) bases: BTreeMap<usize, Value>,
    pub(super) blocks: usize,
    /// What temporaries vary with, and which of them are masks.
    extents: Vec<Extent>,
    masks: Vec<bool>,
}

/// The offsets that differ from row to row, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The offset of the row in a vector over pre.
    pub(super) row: Value,
    /// The offset of the panel's row in a block.
    pub(super) block: Value,
    /// The offset of the row in the partial sums.
    sums: Value,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        mut b: FunctionBuilder<'a>,
        sweep: &'a Sweep,
        blocks: usize,
        pointer: Type,
    ) -> Emitter<'a> {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let table = b.block_params(entry)[0];
        let extents = Extent::all(&sweep.ops);
        Emitter {
            masks: masks(sweep, &extents),
            extents,
            b,
            sweep,
            pointer,
            table,
            bases: BTreeMap::new(),
            blocks,
        }
    }

    pub(super) fn emit(mut self) {
        let layout = self.sweep.layout;
        let whole = layout.cols / PANEL;
        let row_bytes = (layout.rows * PANEL * 4) as i64;
        if whole > 0 {
            let head = self.b.create_block();
            let panel = self.b.append_block_param(head, self.pointer);
            let first = self.integer(0);
            self.b.ins().jump(head, &[first.into()]);
            self.b.switch_to_block(head);
            self.bases.clear();
            let block = self.b.ins().imul_imm(panel, row_bytes);
            let column = self.b.ins().imul_imm(panel, (PANEL * 4) as i64);
            self.rows(block, column, PANEL);
            let next = self.b.ins().iadd_imm(panel, 1);
            let after = self.b.create_block();
            let more = self
                .b
                .ins()
                .icmp_imm(IntCC::UnsignedLessThan, next, whole as i64);
            self.b.ins().brif(more, head, &[next.into()], after, &[]);
            self.b.switch_to_block(after);
        }
        if whole < layout.panels() {
            self.bases.clear();
            let block = self.integer(whole * layout.rows * PANEL * 4);
            let column = self.integer(whole * PANEL * 4);
            self.rows(block, column, layout.columns(whole));
        }
        self.b.ins().return_(&[]);
        self.b.seal_all_blocks();
        self.b.finalize();
    }

    fn integer(&mut self, value: usize) -> Value {
        self.b.ins().iconst(self.pointer, value as i64)
    }

    pub(super) fn base(&mut self, k: usize) -> Value {
        if let Some(base) = self.bases.get(&k) {
            return *base;
        }
        let bytes = self.pointer.bytes() as i32;
        let base = self
            .b
            .ins()
            .load(self.pointer, memory(), self.table, k as i32 * bytes);
        base
    }

    /// Reads the addresses that the rows need, before the first row.
    fn fix_bases(&mut self) {
        let blocks = self.blocks;
        let of = |source: Source| match source {
            Source::State(k) => Some(address::state_in(k)),
            Source::Adjoint(k) => Some(address::adjoint(k, blocks)),
            Source::Matrix(area, _) => Some(address::area(area)),
            Source::Post(place) | Source::Pre(place) => Some(address::area(place.area)),
            Source::Gathered(_) => Some(address::GATHERED),
            Source::Temporary(_) | Source::Number(_) => None,
        };
        let mut wanted: Vec<usize> = Vec::new();
        for op in &self.sweep.ops {
            wanted.extend(op.operands.iter().copied().filter_map(of));
        }
        for root in &self.sweep.roots {
            wanted.extend(of(root.value));
            wanted.extend(root.times.and_then(of));
            match root.kind {
                RootKind::State(k) => wanted.push(address::state_out(k, blocks)),
                RootKind::Adjoint(k) => wanted.push(address::adjoint(k, blocks)),
                RootKind::Gradient(_) => wanted.push(address::SUMS),
                RootKind::SumPost(..) | RootKind::SumBoth(..) => wanted.push(PARTIAL),
                RootKind::SumPre(area, _) => wanted.push(address::area(area)),
                RootKind::MaxPre(..) | RootKind::MaxPost(..) | RootKind::MaxBoth(..) => {}
            }
        }
        for k in wanted {
            let base = self.base(k);
            self.bases.insert(k, base);
        }
    }

    /// Writes all rows of the panel at byte `block`, whose first `columns` columns are not padding.
    fn rows(&mut self, block: Value, column: Value, columns: usize) {
        self.fix_bases();
        // Values that are the same in all rows are read once.
        let mut fixed: BTreeMap<Source, Parts> = BTreeMap::new();
        for source in self.sources() {
            let parts = match source {
                _ if fixed.contains_key(&source) => continue,
                Source::Post(place) => self.post(place, column),
                Source::Gathered(gathered) => self.gathered(gathered, column),
                _ => continue,
            };
            fixed.insert(source, parts);
        }
        for op in &self.sweep.ops {
            if matches!(self.extents[op.to], Extent::One | Extent::Column) {
                let operands = op.operands.map(|source| self.fixed(source, &fixed));
                let out = self.operation(op, operands);
                fixed.insert(Source::Temporary(op.to), out);
            }
        }
        let sums: Vec<(usize, RootKind)> = self
            .sweep
            .roots
            .iter()
            .map(|root| root.kind)
            .enumerate()
            .filter(|(_, kind)| matches!(kind, RootKind::SumPre(..) | RootKind::SumBoth(..)))
            .collect();
        let zero = self.splat_number(0.0);
        let head = self.b.create_block();
        let at = Row {
            row: self.b.append_block_param(head, self.pointer),
            block: self.b.append_block_param(head, self.pointer),
            sums: self.b.append_block_param(head, self.pointer),
        };
        let mut carried: Vec<Parts> = Vec::new();
        for _ in &sums {
            carried.push([(); PARTS].map(|()| self.b.append_block_param(head, types::F32X4)));
        }
        let first = self.integer(0);
        let mut args: Vec<BlockArg> = vec![first.into(), block.into(), first.into()];
        args.extend(std::iter::repeat_n(
            BlockArg::from(zero),
            sums.len() * PARTS,
        ));
        self.b.ins().jump(head, &args);
        self.b.switch_to_block(head);
        let totals = self.row(at, columns, &fixed, &carried);
        let next = self.b.ins().iadd_imm(at.row, 4);
        let block = self.b.ins().iadd_imm(at.block, (PANEL * 4) as i64);
        let partial = self.b.ins().iadd_imm(at.sums, (PANEL * 4) as i64);
        let after = self.b.create_block();
        for _ in 0..sums.len() * PARTS {
            self.b.append_block_param(after, types::F32X4);
        }
        let more = self.b.ins().icmp_imm(
            IntCC::UnsignedLessThan,
            next,
            (self.sweep.layout.rows * 4) as i64,
        );
        let done: Vec<BlockArg> = totals.iter().flatten().map(|v| (*v).into()).collect();
        let mut again: Vec<BlockArg> = vec![next.into(), block.into(), partial.into()];
        again.extend(done.iter().copied());
        self.b.ins().brif(more, head, &again, after, &done);
        self.b.switch_to_block(after);
        let finals: Vec<Value> = self.b.block_params(after).to_vec();
        for ((root, kind), values) in sums.iter().zip(finals.chunks(PARTS)) {
            let (base, offset, add) = match kind {
                RootKind::SumPre(area, to) => {
                    let base = self.base(address::area(*area));
                    (self.b.ins().iadd(base, column), to * 4, false)
                }
                _ => {
                    let offset = partial_offset(self.sweep, *root) * 4;
                    (self.base(PARTIAL), offset, true)
                }
            };
            for (k, value) in values.iter().enumerate() {
                let offset = (offset + k * 16) as i32;
                let mut value = *value;
                if add {
                    let before = self.b.ins().load(types::F32X4, memory(), base, offset);
                    value = self.b.ins().fadd(before, value);
                }
                self.b.ins().store(memory(), value, base, offset);
            }
        }
    }

    fn sources(&self) -> Vec<Source> {
        let operands = self.sweep.ops.iter().flat_map(|op| op.operands);
        let roots = self.sweep.roots.iter();
        operands
            .chain(roots.flat_map(|root| [Some(root.value), root.times].into_iter().flatten()))
            .collect()
    }

    /// Writes the operations of one row; returns the sums that continue to the next.
    fn row(
        &mut self,
        at: Row,
        columns: usize,
        fixed: &BTreeMap<Source, Parts>,
        carried: &[Parts],
    ) -> Vec<Parts> {
        let mut known: BTreeMap<Source, Parts> = fixed.clone();
        for op in &self.sweep.ops {
            let to = Source::Temporary(op.to);
            if known.contains_key(&to) {
                continue;
            }
            let operands = op
                .operands
                .map(|source| self.operand(source, at, &mut known));
            let out = self.operation(op, operands);
            known.insert(to, out);
        }
        // The whole row is read before any of it is stored.
        let values: Vec<Parts> = self
            .sweep
            .roots
            .iter()
            .map(|root| {
                let mut values = self.operand(root.value, at, &mut known);
                if let Some(times) = root.times {
                    let times = self.operand(times, at, &mut known);
                    for (value, times) in values.iter_mut().zip(times) {
                        *value = self.b.ins().fmul(*value, times);
                    }
                }
                values
            })
            .collect();
        let mut totals = Vec::new();
        let mut sums = carried.iter();
        for (k, (root, values)) in self.sweep.roots.iter().zip(values).enumerate() {
            match root.kind {
                RootKind::State(block) => {
                    self.store(address::state_out(block, self.blocks), 0, at, &values);
                }
                RootKind::Adjoint(block) => {
                    self.store(address::adjoint(block, self.blocks), 0, at, &values);
                }
                RootKind::Gradient(to) => {
                    let base = self.base(address::SUMS);
                    let base = self.b.ins().iadd(base, at.block);
                    for (k, value) in values.iter().enumerate() {
                        let offset = (to * 4 + k * 16) as i32;
                        let before = self.b.ins().load(types::F32X4, memory(), base, offset);
                        let sum = self.b.ins().fadd(before, *value);
                        self.b.ins().store(memory(), sum, base, offset);
                    }
                }
                RootKind::SumPre(..) => {
                    if let Some(before) = sums.next() {
                        totals.push(self.add(*before, values));
                    }
                }
                RootKind::SumBoth(..) => {
                    if let Some(before) = sums.next() {
                        let values = self.inside(values, columns);
                        totals.push(self.add(*before, values));
                    }
                }
                RootKind::SumPost(..) => {
                    let values = self.inside(values, columns);
                    let base = self.base(PARTIAL);
                    let base = self.b.ins().iadd(base, at.sums);
                    let offset = partial_offset(self.sweep, k) * 4;
                    let mut sum = values[0];
                    for value in &values[1..] {
                        sum = self.b.ins().fadd(sum, *value);
                    }
                    let offset = offset as i32;
                    let before = self.b.ins().load(types::F32X4, memory(), base, offset);
                    let sum = self.b.ins().fadd(before, sum);
                    self.b.ins().store(memory(), sum, base, offset);
                }
                RootKind::MaxPre(..) | RootKind::MaxPost(..) | RootKind::MaxBoth(..) => {}
            }
        }
        totals
    }

    /// Writes an operation on all vectors of a panel.
    fn operation(&mut self, op: &RowOp, operands: [Parts; 3]) -> Parts {
        let is_mask = op.operands.map(|source| match source {
            Source::Temporary(k) => self.masks[k],
            _ => false,
        });
        let opens = match op.f {
            Element::Gate => is_mask[1],
            Element::Select => is_mask[0],
            _ => false,
        };
        let mut out = operands[0];
        for (k, out) in out.iter_mut().enumerate() {
            let [a, b, c] = operands.map(|parts| parts[k]);
            *out = if self.masks[op.to] {
                self.mask(op.f, [a, b], [is_mask[0], is_mask[1]])
            } else if opens {
                self.opened(op.f, [a, b, c])
            } else {
                self.element(op.f, a, b, c)
            };
        }
        out
    }

    fn add(&mut self, before: Parts, values: Parts) -> Parts {
        let mut out = before;
        for (out, value) in out.iter_mut().zip(values) {
            *out = self.b.ins().fadd(*out, value);
        }
        out
    }

    /// Sets the padding of a panel to 0.
    fn inside(&mut self, mut values: Parts, columns: usize) -> Parts {
        for (k, value) in values.iter_mut().enumerate() {
            for lane in 0..4 {
                if k * 4 + lane >= columns {
                    let zero = self.b.ins().f32const(0.0);
                    *value = self.b.ins().insertlane(*value, zero, lane as u8);
                }
            }
        }
        values
    }

    fn store(&mut self, base: usize, offset: i32, at: Row, values: &Parts) {
        let base = self.base(base);
        let base = self.b.ins().iadd(base, at.block);
        for (k, value) in values.iter().enumerate() {
            self.b
                .ins()
                .store(memory(), *value, base, offset + k as i32 * 16);
        }
    }
}
