//! The rows of some panels. `schedule` says in which order a row is computed, `plan` which values stay in registers for
//! all rows, `registers` gives registers to the others; `operations`, `fused` and `gates` write the instructions of an operation,
//! `roots` those of a result.

mod fused;
mod gates;
mod operations;
pub(super) mod plan;
mod registers;
mod roots;
pub(super) mod schedule;

use super::assembler::{Arg, At, Op, MASKS};
use super::values::{constants, Unit, Value};
use super::{Emitter, Isa, PARTIAL};
use crate::program::code::{RootKind, Source};
use crate::program::extent::Extent;
use iced_x86::Register;
use plan::Plan;
use schedule::Item;
use std::collections::BTreeMap;

/// The rows of some panels.
pub struct Row<'e, 'a> {
    pub emitter: &'e mut Emitter<'a>,
    units: &'e [Unit],
    masked: bool,
    plan: &'e Plan,
    /// The times at which each value is read, in order.
    uses: BTreeMap<Value, Vec<usize>>,
    /// The values that stay in a register from row to row.
    lasting: BTreeMap<Value, u32>,
    /// The values in registers, with their registers.
    held: BTreeMap<Value, u32>,
    owners: Vec<Option<Value>>,
    /// The masks in mask registers.
    masks: BTreeMap<Value, Register>,
    /// The registers that the current instruction needs.
    pinned: u32,
    /// The places of values in the frame: those that lie there for all rows, and spilled ones.
    homes: BTreeMap<Value, usize>,
    slots: usize,
    /// How often each value of all rows is read into a register in a row.
    fetched: BTreeMap<Value, usize>,
    /// The register of the last result.
    made: Option<u32>,
    now: usize,
}

/// The registers of intermediate results.
fn scratch(isa: Isa, k: u32) -> u32 {
    isa.vectors() + k
}

impl<'e, 'a> Row<'e, 'a> {
    pub fn new(
        emitter: &'e mut Emitter<'a>,
        units: &'e [Unit],
        masked: bool,
        plan: &'e Plan,
    ) -> Row<'e, 'a> {
        let count = emitter.isa.vectors() as usize;
        Row {
            emitter,
            units,
            masked,
            plan,
            uses: BTreeMap::new(),
            lasting: BTreeMap::new(),
            held: BTreeMap::new(),
            owners: vec![None; count],
            masks: BTreeMap::new(),
            pinned: 0,
            homes: BTreeMap::new(),
            slots: 0,
            fetched: BTreeMap::new(),
            made: None,
            now: 0,
        }
    }

    fn of(&self, source: Source, u: usize) -> Value {
        Value::of(source, u, &self.emitter.extents)
    }

    /// What is computed before the first row.
    fn before(&self) -> Vec<(usize, Item)> {
        let extents = &self.emitter.extents;
        let ops =
            (0..extents.len()).filter(|k| !matches!(extents[*k], Extent::Row | Extent::Connection));
        ops.flat_map(|k| {
            let units = match extents[k] {
                Extent::Column => self.units.len(),
                _ => 1,
            };
            (0..units).map(move |u| (u, Item::Op(k)))
        })
        .collect()
    }

    /// What is computed in a row.
    fn inside(&self) -> Vec<(usize, Item)> {
        let extents = &self.emitter.extents;
        let items = &self.plan.schedule.items;
        let of_unit = |u: usize| {
            let items = items.iter().copied();
            let once = move |item: &Item| match item {
                Item::Op(k) => u == 0 || extents[*k] != Extent::Row,
                Item::Root(_) => true,
            };
            items.filter(once).map(move |item| (u, item))
        };
        (0..self.units.len()).flat_map(of_unit).collect()
    }

    fn count_uses(&mut self, items: &[(usize, Item)]) {
        self.uses.clear();
        self.now = 0;
        let sweep = self.emitter.sweep;
        for (time, (u, item)) in items.iter().enumerate() {
            let mut values: Vec<Value> = Vec::new();
            match item {
                Item::Op(k) => {
                    let op = &sweep.ops[*k];
                    let operands = op.operands[..op.f.arity()].iter();
                    values.extend(operands.map(|source| self.of(*source, *u)));
                    values.extend(constants(op.f).into_iter().map(Value::Constant));
                }
                Item::Root(k) => {
                    for (value, times) in &self.plan.schedule.terms[*k] {
                        values.push(self.of(*value, *u));
                        values.extend(times.map(|times| self.of(times, *u)));
                    }
                    if matches!(sweep.roots[*k].kind, RootKind::SumPost(..)) {
                        values.push(Value::Partial(*k));
                    }
                }
            }
            for value in values {
                let times = self.uses.entry(value).or_default();
                if times.last() != Some(&(time + 1)) {
                    times.push(time + 1);
                }
            }
        }
    }

    fn items(&mut self, items: &[(usize, Item)]) -> Option<()> {
        for (u, item) in items {
            self.now += 1;
            match item {
                Item::Op(k) => {
                    let op = &self.emitter.sweep.ops[*k];
                    let operands: Vec<Value> = op.operands[..op.f.arity()]
                        .iter()
                        .map(|source| self.of(*source, *u))
                        .collect();
                    let to = self.of(Source::Temporary(*k), *u);
                    self.element(op.f, to, &operands, self.emitter.masks[*k])?;
                }
                Item::Root(k) => self.root(*k, *u)?,
            }
            self.pinned = 0;
            self.release();
        }
        Some(())
    }

    /// Before the first row: computes what is the same in all rows, sets sums to 0 and fills the registers that last.
    pub fn enter(&mut self) -> Option<()> {
        let before = self.before();
        self.count_uses(&before);
        for (u, item) in &before {
            self.items_before(*u, *item)?;
        }
        for value in self.held.keys().copied().collect::<Vec<_>>() {
            self.drop_value(value);
        }
        let inside = self.inside();
        self.count_uses(&inside);
        let mut next = 0;
        for sum in self.sums() {
            if next + self.emitter.isa.least() < self.emitter.isa.vectors() {
                self.lasting.insert(sum, next);
                self.emitter.asm.zero(next);
                next += 1;
            } else {
                let t = scratch(self.emitter.isa, 0);
                self.emitter.asm.zero(t);
                let at = self.home(sum)?;
                self.emitter.asm.store(at, t);
            }
        }
        for value in &self.plan.lasting {
            if next + self.emitter.isa.least() >= self.emitter.isa.vectors() {
                break;
            }
            self.fetch(*value, next);
            self.lasting.insert(*value, next);
            next += 1;
        }
        // Numbers without a register lie in the frame as vectors, so that operations can read them there.
        let numbers: Vec<Value> = self.uses.keys().copied().filter(|v| v.is_fixed()).collect();
        for value in numbers {
            if matches!(value, Value::Number(_)) && !self.lasting.contains_key(&value) {
                let t = scratch(self.emitter.isa, 0);
                self.fetch(value, t);
                let at = self.home(value)?;
                self.emitter.asm.store(at, t);
            }
        }
        self.fetched.clear();
        Some(())
    }

    /// Computes a value of all rows, which then lies in the frame.
    fn items_before(&mut self, u: usize, item: Item) -> Option<()> {
        self.items(&[(u, item)])?;
        if let Item::Op(k) = item {
            let value = self.of(Source::Temporary(k), u);
            // A value that nothing before the rows reads was let go: it is computed into its home at once.
            let at = self.home(value)?;
            let register = self.made?;
            self.emitter.asm.store(at, register);
        }
        Some(())
    }

    /// The running sums over pre.
    fn sums(&self) -> Vec<Value> {
        let roots = self.emitter.sweep.roots.iter().enumerate();
        let of = |(k, root): (usize, &crate::program::code::Root)| match root.kind {
            RootKind::SumPre(..) => (0..self.units.len()).map(|u| Value::Sum(k, u)).collect(),
            RootKind::SumBoth(..) => vec![Value::Sum(k, 0)],
            _ => Vec::new(),
        };
        roots.flat_map(of).collect()
    }

    /// After the last row: stores the sums.
    pub fn exit(&mut self) {
        for (k, root) in self.emitter.sweep.roots.iter().enumerate() {
            match root.kind {
                RootKind::SumPre(area, to) => {
                    for (u, unit) in self.units.iter().enumerate() {
                        let at = self.emitter.vector(area, to, *unit);
                        let register = self.sum(Value::Sum(k, u));
                        self.emitter.asm.store(at, register);
                    }
                }
                RootKind::SumBoth(..) => {
                    let bytes = self.emitter.partial(k);
                    let register = self.sum(Value::Sum(k, 0));
                    let at = self.emitter.memory(PARTIAL, Register::None, 0, bytes);
                    let asm = &mut self.emitter.asm;
                    asm.op(Op::Add, register, register, Arg::Memory(at));
                    asm.store(at, register);
                }
                _ => {}
            }
        }
    }

    /// The register of a sum after the last row.
    fn sum(&mut self, sum: Value) -> u32 {
        let t = scratch(self.emitter.isa, 0);
        match (self.lasting.get(&sum), self.homes.get(&sum)) {
            (Some(register), _) => *register,
            (None, Some(slot)) => {
                self.emitter.asm.load(t, super::slot(*slot));
                t
            }
            (None, None) => t,
        }
    }

    /// Writes one row; `None` if the frame is too small.
    pub fn emit(&mut self) -> Option<()> {
        let inside = self.inside();
        self.items(&inside)
    }

    /// A mask register that no value has.
    fn free_mask(&self) -> Option<Register> {
        let taken = |mask: &Register| self.masks.values().any(|one| one == mask);
        MASKS.into_iter().find(|mask| !taken(mask))
    }

    /// The place of a value in the frame, which is reserved when it is first asked for.
    fn home(&mut self, value: Value) -> Option<At> {
        if let Some(slot) = self.homes.get(&value) {
            return Some(super::slot(*slot));
        }
        let slot = self.slots;
        if slot >= super::SLOTS {
            return None;
        }
        self.slots += 1;
        self.homes.insert(value, slot);
        Some(super::slot(slot))
    }
}
