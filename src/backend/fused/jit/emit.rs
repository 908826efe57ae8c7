//! The loops of a sweep: panels of columns, rows inside, and where what a row gives goes.

use super::super::code::{RootKind, Source, Sweep};
use super::operands::{key, memory, source_key, SourceKey};
use super::{BLOCKS, LANE, PARTIAL, SUMS};
use cranelift_codegen::ir::{types, Block, BlockArg, InstBuilder, Type, Value};
use cranelift_frontend::FunctionBuilder;
use std::collections::BTreeMap;

/// How many columns a step of the column loop handles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// One.
    Scalar,
    /// Two vectors of four.
    Panel,
}

impl Width {
    fn columns(self) -> usize {
        match self {
            Width::Scalar => 1,
            Width::Panel => 8,
        }
    }

    pub(super) fn parts(self) -> usize {
        match self {
            Width::Scalar => 1,
            Width::Panel => 2,
        }
    }

    pub(super) fn ty(self) -> Type {
        match self {
            Width::Scalar => types::F32,
            Width::Panel => types::F32X4,
        }
    }
}

/// The values of one element operation, one a part.
pub(super) type Parts = Vec<Value>;

pub(super) struct Emitter<'a> {
    pub(super) b: FunctionBuilder<'a>,
    sweep: &'a Sweep,
    pointer: Type,
    pub(super) bases: Vec<Value>,
    pub(super) states: usize,
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
        let uses_adjoints = sweep
            .ops
            .iter()
            .flat_map(|op| op.operands)
            .any(|s| matches!(s, Source::Adjoint(_)))
            || sweep
                .roots
                .iter()
                .any(|(kind, _)| matches!(kind, RootKind::Adjoint(_)));
        let count = BLOCKS + if uses_adjoints { 2 * blocks } else { blocks };
        let bytes = pointer.bytes() as i32;
        let bases = (0..count)
            .map(|k| b.ins().load(pointer, memory(), table, k as i32 * bytes))
            .collect();
        Emitter {
            b,
            sweep,
            pointer,
            bases,
            states: blocks,
        }
    }

    pub(super) fn emit(mut self) {
        let cols = self.sweep.cols;
        let whole = cols / 8 * 8;
        if whole > 0 {
            self.columns(Width::Panel, 0, whole);
        }
        self.join_partial(whole > 0);
        if whole < cols {
            self.columns(Width::Scalar, whole, cols);
        }
        self.b.ins().return_(&[]);
        self.b.seal_all_blocks();
        self.b.finalize();
    }

    fn integer(&mut self, value: usize) -> Value {
        self.b.ins().iconst(self.pointer, value as i64)
    }

    /// `for c in (from..to).step_by(columns)`: all rows of some columns.
    fn columns(&mut self, width: Width, from: usize, to: usize) {
        let head = self.b.create_block();
        let column = self.b.append_block_param(head, self.pointer);
        let start = self.integer(from * 4);
        self.b.ins().jump(head, &[start.into()]);
        self.b.switch_to_block(head);
        self.rows(width, column);
        let step = (width.columns() * 4) as i64;
        let next = self.b.ins().iadd_imm(column, step);
        let after = self.b.create_block();
        let more = self.b.ins().icmp_imm(
            cranelift_codegen::ir::condcodes::IntCC::UnsignedLessThan,
            next,
            (to * 4) as i64,
        );
        self.b.ins().brif(more, head, &[next.into()], after, &[]);
        self.b.switch_to_block(after);
    }

    /// All rows of the columns at byte `column`.
    fn rows(&mut self, width: Width, column: Value) {
        let parts = width.parts();
        let ty = width.ty();
        // What does not differ between rows is read once.
        let mut fixed: BTreeMap<(usize, usize, usize), Parts> = BTreeMap::new();
        for source in self.sweep.ops.iter().flat_map(|op| op.operands) {
            if let Source::Post(place) = source {
                fixed
                    .entry(key(place))
                    .or_insert_with(|| self.post(place, width, column));
            }
        }
        let sums: Vec<RootKind> = self
            .sweep
            .roots
            .iter()
            .map(|(kind, _)| *kind)
            .filter(|kind| matches!(kind, RootKind::SumPre(_) | RootKind::SumBoth(_)))
            .collect();
        let zero = self.splat_number(0.0, width);
        let head = self.b.create_block();
        let row = self.b.append_block_param(head, self.pointer);
        let mut carried: Vec<Parts> = Vec::new();
        for _ in &sums {
            carried.push(
                (0..parts)
                    .map(|_| self.b.append_block_param(head, ty))
                    .collect(),
            );
        }
        let first = self.integer(0);
        let mut args = vec![first];
        args.extend(std::iter::repeat_n(zero, sums.len() * parts));
        self.jump(head, &args);
        self.b.switch_to_block(head);
        // Byte offset of the row's first column of these.
        let stride = self.b.ins().imul_imm(row, self.sweep.cols as i64);
        let at = self.b.ins().iadd(stride, column);
        let totals = self.row(width, row, at, &fixed, &carried);
        let next = self.b.ins().iadd_imm(row, 4);
        let after = self.b.create_block();
        for _ in 0..sums.len() * parts {
            self.b.append_block_param(after, ty);
        }
        let more = self.b.ins().icmp_imm(
            cranelift_codegen::ir::condcodes::IntCC::UnsignedLessThan,
            next,
            (self.sweep.rows * 4) as i64,
        );
        let done: Vec<BlockArg> = totals.iter().flatten().map(|v| (*v).into()).collect();
        let mut again: Vec<BlockArg> = vec![next.into()];
        again.extend(done.iter().copied());
        self.b.ins().brif(more, head, &again, after, &done);
        self.b.switch_to_block(after);
        let finals: Vec<Value> = self.b.block_params(after).to_vec();
        for (kind, values) in sums.iter().zip(finals.chunks(parts)) {
            match kind {
                RootKind::SumPre(to) => {
                    let base = self.b.ins().iadd(self.bases[LANE], column);
                    for (k, value) in values.iter().enumerate() {
                        let offset = (to * 4 + k * 16) as i32;
                        self.b.ins().store(memory(), *value, base, offset);
                    }
                }
                RootKind::SumBoth(to) => {
                    let mut total = values[0];
                    for value in &values[1..] {
                        total = self.b.ins().fadd(total, *value);
                    }
                    let total = self.across(total, width);
                    let offset = (to * 4) as i32;
                    let before = self
                        .b
                        .ins()
                        .load(types::F32, memory(), self.bases[LANE], offset);
                    let total = self.b.ins().fadd(before, total);
                    self.b
                        .ins()
                        .store(memory(), total, self.bases[LANE], offset);
                }
                _ => {}
            }
        }
    }

    fn jump(&mut self, block: Block, args: &[Value]) {
        let args: Vec<_> = args.iter().map(|v| (*v).into()).collect();
        self.b.ins().jump(block, &args);
    }

    /// The operations of one row; returns the sums that go on to the next.
    fn row(
        &mut self,
        width: Width,
        row: Value,
        at: Value,
        fixed: &BTreeMap<(usize, usize, usize), Parts>,
        carried: &[Parts],
    ) -> Vec<Parts> {
        let mut read: BTreeMap<SourceKey, Parts> = BTreeMap::new();
        let mut temporaries: Vec<Parts> = vec![Vec::new(); self.sweep.temporaries];
        for op in &self.sweep.ops {
            let operands: Vec<Parts> = op
                .operands
                .iter()
                .map(|source| match source {
                    Source::Temporary(k) => temporaries[*k].clone(),
                    Source::Post(place) => fixed[&key(*place)].clone(),
                    other => {
                        let key = source_key(*other);
                        if let Some(values) = read.get(&key) {
                            return values.clone();
                        }
                        let values = self.read(*other, width, row, at);
                        read.insert(key, values.clone());
                        values
                    }
                })
                .collect();
            temporaries[op.to] = (0..width.parts())
                .map(|k| {
                    let part = |operand: usize| operands[operand][k];
                    self.element(op.f, width, part(0), part(1), part(2))
                })
                .collect();
        }
        let mut totals = Vec::new();
        let mut sums = carried.iter();
        let mut partial = 0;
        for (kind, from) in &self.sweep.roots {
            let values = temporaries[*from].clone();
            match *kind {
                RootKind::State(k) => self.store(BLOCKS + k, 0, at, &values),
                RootKind::Adjoint(k) => self.store(BLOCKS + self.states + k, 0, at, &values),
                RootKind::Gradient(to) => {
                    let base = self.b.ins().iadd(self.bases[SUMS], at);
                    for (k, value) in values.iter().enumerate() {
                        let offset = (to * 4 + k * 16) as i32;
                        let before = self.b.ins().load(width.ty(), memory(), base, offset);
                        let sum = self.b.ins().fadd(before, *value);
                        self.b.ins().store(memory(), sum, base, offset);
                    }
                }
                RootKind::SumPre(_) | RootKind::SumBoth(_) => {
                    if let Some(before) = sums.next() {
                        let sum = before
                            .iter()
                            .zip(&values)
                            .map(|(a, b)| self.b.ins().fadd(*a, *b))
                            .collect();
                        totals.push(sum);
                    }
                }
                RootKind::SumPost(to) => {
                    match width {
                        Width::Panel => {
                            let sum = self.b.ins().fadd(values[0], values[1]);
                            let four = self.b.ins().imul_imm(row, 4);
                            let base = self.b.ins().iadd(self.bases[PARTIAL], four);
                            let offset = (partial * self.sweep.rows * 16) as i32;
                            let before = self.b.ins().load(types::F32X4, memory(), base, offset);
                            let sum = self.b.ins().fadd(before, sum);
                            self.b.ins().store(memory(), sum, base, offset);
                        }
                        Width::Scalar => {
                            let base = self.b.ins().iadd(self.bases[LANE], row);
                            let offset = (to * 4) as i32;
                            let before = self.b.ins().load(types::F32, memory(), base, offset);
                            let sum = self.b.ins().fadd(before, values[0]);
                            self.b.ins().store(memory(), sum, base, offset);
                        }
                    }
                    partial += 1;
                }
                RootKind::MaxPre(_) | RootKind::MaxPost(_) | RootKind::MaxBoth(_) => {}
            }
        }
        totals
    }

    fn store(&mut self, base: usize, offset: i32, at: Value, values: &[Value]) {
        let base = self.b.ins().iadd(self.bases[base], at);
        for (k, value) in values.iter().enumerate() {
            self.b
                .ins()
                .store(memory(), *value, base, offset + k as i32 * 16);
        }
    }

    /// Sums over post of each row: from four partial sums to the vector, or 0 where there are none yet.
    fn join_partial(&mut self, any: bool) {
        let targets: Vec<usize> = self
            .sweep
            .roots
            .iter()
            .filter_map(|(kind, _)| match kind {
                RootKind::SumPost(to) => Some(*to),
                _ => None,
            })
            .collect();
        if targets.is_empty() {
            return;
        }
        let head = self.b.create_block();
        let row = self.b.append_block_param(head, self.pointer);
        let first = self.integer(0);
        self.jump(head, &[first]);
        self.b.switch_to_block(head);
        for (k, to) in targets.iter().enumerate() {
            let sum = if any {
                let four = self.b.ins().imul_imm(row, 4);
                let base = self.b.ins().iadd(self.bases[PARTIAL], four);
                let offset = (k * self.sweep.rows * 16) as i32;
                let parts = self.b.ins().load(types::F32X4, memory(), base, offset);
                self.across(parts, Width::Panel)
            } else {
                self.b.ins().f32const(0.0)
            };
            let base = self.b.ins().iadd(self.bases[LANE], row);
            self.b.ins().store(memory(), sum, base, (to * 4) as i32);
        }
        let next = self.b.ins().iadd_imm(row, 4);
        let after = self.b.create_block();
        let more = self.b.ins().icmp_imm(
            cranelift_codegen::ir::condcodes::IntCC::UnsignedLessThan,
            next,
            (self.sweep.rows * 4) as i64,
        );
        self.b.ins().brif(more, head, &[next.into()], after, &[]);
        self.b.switch_to_block(after);
    }

    /// The sum of the parts of a vector, from the first on.
    fn across(&mut self, value: Value, width: Width) -> Value {
        if width == Width::Scalar {
            return value;
        }
        let mut total = self.b.ins().extractlane(value, 0);
        for k in 1..4 {
            let part = self.b.ins().extractlane(value, k);
            total = self.b.ins().fadd(total, part);
        }
        total
    }
}
