//! The rows of some panels: the order of computation. `registers` assigns registers, `operations` writes the
//! instructions of an operation, `roots` those of a result.

mod operations;
mod registers;
mod roots;

use super::assembler::{Arg, Op};
use super::values::{constants, Unit, Value};
use super::{Emitter, Isa};
use crate::program::code::{Root, RootKind};
use std::collections::{BTreeMap, VecDeque};

/// The rows of some panels.
pub struct Row<'e, 'a> {
    pub emitter: &'e mut Emitter<'a>,
    units: &'e [Unit],
    masked: bool,
    /// The next reads of each value.
    uses: BTreeMap<Value, VecDeque<usize>>,
    /// The values that stay in a register from row to row.
    lasting: BTreeMap<Value, u32>,
    /// The values in registers, with their registers.
    held: BTreeMap<Value, u32>,
    owners: Vec<Option<Value>>,
    /// The registers that the current instruction needs.
    pinned: u32,
    spilled: BTreeMap<Value, usize>,
    now: usize,
}

/// The registers of intermediate results.
fn scratch(isa: Isa, k: u32) -> u32 {
    isa.vectors() + k
}

impl<'e, 'a> Row<'e, 'a> {
    pub fn new(emitter: &'e mut Emitter<'a>, units: &'e [Unit], masked: bool) -> Row<'e, 'a> {
        let count = emitter.isa.vectors() as usize;
        Row {
            emitter,
            units,
            masked,
            uses: BTreeMap::new(),
            lasting: BTreeMap::new(),
            held: BTreeMap::new(),
            owners: vec![None; count],
            pinned: 0,
            spilled: BTreeMap::new(),
            now: 0,
        }
    }

    /// The roots in the order of their stores: stores into blocks come last, after the whole vector was read.
    fn roots(&self) -> Vec<(usize, Root)> {
        let mut roots: Vec<(usize, Root)> = self
            .emitter
            .sweep
            .roots
            .iter()
            .copied()
            .enumerate()
            .collect();
        roots.sort_by_key(|(_, root)| {
            matches!(root.kind, RootKind::State(_) | RootKind::Adjoint(_))
        });
        roots
    }

    fn count_uses(&mut self) {
        let mut uses: BTreeMap<Value, VecDeque<usize>> = BTreeMap::new();
        let mut time = 0;
        let sweep = self.emitter.sweep;
        for u in 0..self.units.len() {
            for op in &sweep.ops {
                time += 1;
                for operand in &op.operands[..op.f.arity()] {
                    uses.entry(Value::of(*operand, u))
                        .or_default()
                        .push_back(time);
                }
                for bits in constants(op.f) {
                    uses.entry(Value::Constant(bits))
                        .or_default()
                        .push_back(time);
                }
            }
            for (k, root) in self.roots() {
                time += 1;
                uses.entry(Value::of(root.value, u))
                    .or_default()
                    .push_back(time);
                if let Some(times) = root.times {
                    uses.entry(Value::of(times, u)).or_default().push_back(time);
                }
                if matches!(root.kind, RootKind::SumPost(..)) {
                    uses.entry(Value::Partial(k)).or_default().push_back(time);
                }
            }
        }
        self.uses = uses;
    }

    /// Before the first row: sets sums to 0 and reads values that are the same in all rows.
    pub fn enter(&mut self) {
        self.count_uses();
        let mut next = 0;
        for (k, root) in self.emitter.sweep.roots.iter().enumerate() {
            let sums: Vec<Value> = match root.kind {
                RootKind::SumPre(..) => (0..self.units.len()).map(|u| Value::Sum(k, u)).collect(),
                RootKind::SumBoth(..) => vec![Value::Sum(k, 0)],
                _ => Vec::new(),
            };
            for sum in sums {
                if next + 6 < self.emitter.isa.vectors() {
                    self.lasting.insert(sum, next);
                    self.emitter.asm.zero(next);
                    next += 1;
                }
            }
        }
        let fixed = |value: &Value| match value {
            Value::Vector(_, crate::program::code::Source::Post(_)) | Value::Constant(_) => true,
            Value::Number(source) => match source {
                crate::program::code::Source::Post(_) => true,
                crate::program::code::Source::Pre(place) => place.stride == 0,
                _ => false,
            },
            _ => false,
        };
        let mut wanted: Vec<(usize, Value)> = self
            .uses
            .iter()
            .filter(|(value, _)| fixed(value))
            .map(|(value, times)| (times.len(), *value))
            .collect();
        wanted.sort_by_key(|(count, value)| (std::cmp::Reverse(*count), *value));
        for (_, value) in wanted {
            if next + self.emitter.isa.passing() >= self.emitter.isa.vectors() {
                break;
            }
            self.lasting.insert(value, next);
            self.fetch(value, next);
            next += 1;
        }
    }

    /// After the last row: stores the sums.
    pub fn exit(&mut self) {
        for (k, root) in self.emitter.sweep.roots.iter().enumerate() {
            match root.kind {
                RootKind::SumPre(area, to) => {
                    for (u, unit) in self.units.iter().enumerate() {
                        let at = self.emitter.vector(area, to, *unit);
                        let register = self.lasting[&Value::Sum(k, u)];
                        self.emitter.asm.store(at, register);
                    }
                }
                RootKind::SumBoth(..) => {
                    let bytes = self.emitter.partial(k);
                    let register = self.lasting[&Value::Sum(k, 0)];
                    let at =
                        self.emitter
                            .memory(super::PARTIAL, iced_x86::Register::None, 0, bytes);
                    self.emitter
                        .asm
                        .op(Op::Add, register, register, Arg::Memory(at));
                    self.emitter.asm.store(at, register);
                }
                _ => {}
            }
        }
    }

    /// Writes one row; `None` if there are not enough registers.
    pub fn emit(&mut self) -> Option<()> {
        // Every sum must have a register.
        for (k, root) in self.emitter.sweep.roots.iter().enumerate() {
            let complete = match root.kind {
                RootKind::SumPre(..) => {
                    (0..self.units.len()).all(|u| self.lasting.contains_key(&Value::Sum(k, u)))
                }
                RootKind::SumBoth(..) => self.lasting.contains_key(&Value::Sum(k, 0)),
                _ => true,
            };
            if !complete {
                return None;
            }
        }
        let ops = self.emitter.sweep.ops.clone();
        for u in 0..self.units.len() {
            for op in &ops {
                self.now += 1;
                let operands: Vec<Value> = op.operands[..op.f.arity()]
                    .iter()
                    .map(|source| Value::of(*source, u))
                    .collect();
                self.element(op.f, Value::Temporary(u, op.to), &operands)?;
                self.done();
            }
            for (k, root) in self.roots() {
                self.now += 1;
                self.root(k, root, u)?;
                self.done();
            }
        }
        Some(())
    }

    /// Frees the registers of values that are never read again.
    fn done(&mut self) {
        let now = self.now;
        for times in self.uses.values_mut() {
            while times.front().is_some_and(|t| *t <= now) {
                times.pop_front();
            }
        }
        self.pinned = 0;
        self.release();
    }
}
