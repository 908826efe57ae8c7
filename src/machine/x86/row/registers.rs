//! Register allocation: values stay in registers while they are read again. If registers run out, values that memory has
//! are let go first, and operations read them there; only then is a computed value spilled.

use super::super::assembler::{Arg, At};
use super::super::slot;
use super::super::values::{Value, ZERO};
use super::Row;

impl Row<'_, '_> {
    /// The time of the next read after now.
    pub(super) fn next_use(&self, value: Value) -> usize {
        let Some(times) = self.uses.get(&value) else {
            return usize::MAX;
        };
        let next = times.partition_point(|time| *time <= self.now);
        times.get(next).copied().unwrap_or(usize::MAX)
    }

    fn is_over(&self, value: Value) -> bool {
        self.next_use(value) == usize::MAX && !matches!(value, Value::Partial(_))
    }

    /// The values in registers that are not read again.
    fn over(&self) -> Vec<Value> {
        let held = self.held.keys().copied();
        held.filter(|value| self.is_over(*value)).collect()
    }

    pub(super) fn release(&mut self) {
        for value in self.over() {
            self.drop_value(value);
        }
        let masks = self.masks.keys().copied();
        for value in masks
            .filter(|value| self.is_over(*value))
            .collect::<Vec<_>>()
        {
            self.masks.remove(&value);
        }
    }

    pub(super) fn drop_value(&mut self, value: Value) {
        if let Some(register) = self.held.remove(&value) {
            self.owners[register as usize] = None;
        }
    }

    pub(super) fn pin(&mut self, register: u32) {
        self.pinned |= 1 << register;
    }

    /// Keeps the values that are in registers there until the instruction is written.
    pub(super) fn pin_all(&mut self, values: &[Value]) {
        for value in values {
            if let Some(register) = self.held.get(value).copied() {
                self.pin(register);
            }
        }
    }

    /// A free register.
    pub(super) fn free(&mut self) -> Option<u32> {
        let range = self.lasting.len() as u32..self.emitter.isa.vectors();
        for register in range.clone() {
            if self.owners[register as usize].is_none() && self.pinned & (1 << register) == 0 {
                self.pin(register);
                return Some(register);
            }
        }
        let (register, value) = range
            .filter(|r| self.pinned & (1 << r) == 0)
            .filter_map(|r| self.owners[r as usize].map(|value| (r, value)))
            .max_by_key(|(r, value)| {
                let kept = !value.is_computed() || self.homes.contains_key(value);
                let kept = kept && !matches!(value, Value::Partial(_));
                (kept, self.next_use(*value), std::cmp::Reverse(*r))
            })?;
        if value.is_computed() && !self.homes.contains_key(&value) {
            let at = self.home(value)?;
            self.emitter.asm.store(at, register);
            self.emitter.asm.counts.spills += 1;
        }
        if let Value::Partial(_) = value {
            let (at, _) = self.emitter.origin(value, self.units);
            self.emitter.asm.store(at, register);
            self.emitter.asm.counts.spills += 1;
        }
        self.drop_value(value);
        self.pin(register);
        Some(register)
    }

    /// The place where memory has a value as a whole vector.
    pub(super) fn whole(&mut self, value: Value) -> Option<At> {
        if let Some(at) = self.homes.get(&value) {
            return Some(slot(*at));
        }
        match value {
            Value::Vector(..) | Value::Constant(_) => {
                Some(self.emitter.origin(value, self.units).0)
            }
            Value::Temporary(..)
            | Value::Row(_)
            | Value::Column(..)
            | Value::Scalar(_)
            | Value::Number(_)
            | Value::Partial(_)
            | Value::Sum(..) => None,
        }
    }

    /// Reads a value into a register.
    pub(super) fn fetch(&mut self, value: Value, register: u32) {
        *self.fetched.entry(value).or_default() += 1;
        if value == Value::Constant(ZERO) {
            self.emitter.asm.zero(register);
        } else if let Some(at) = self.whole(value) {
            self.emitter.asm.load(register, at);
        } else {
            let (at, number) = self.emitter.origin(value, self.units);
            if number {
                self.emitter.asm.stretch(register, at);
            } else {
                self.emitter.asm.load(register, at);
            }
        }
    }

    /// A value in a register.
    pub(super) fn get(&mut self, value: Value) -> Option<u32> {
        if let Some(register) = self.lasting.get(&value) {
            return Some(*register);
        }
        if let Some(register) = self.held.get(&value).copied() {
            self.pin(register);
            return Some(register);
        }
        let register = self.free()?;
        self.fetch(value, register);
        self.hold(value, register);
        Some(register)
    }

    fn hold(&mut self, value: Value, register: u32) {
        self.held.insert(value, register);
        self.owners[register as usize] = Some(value);
    }

    pub(super) fn constant(&mut self, bits: u32) -> Option<u32> {
        self.get(Value::Constant(bits))
    }

    pub(super) fn in_register(&self, value: Value) -> bool {
        self.lasting.contains_key(&value) || self.held.contains_key(&value)
    }

    /// Returns true if an operation can read the value in memory.
    pub(super) fn is_readable(&self, value: Value) -> bool {
        !self.in_register(value)
            && (self.homes.contains_key(&value)
                || matches!(value, Value::Vector(..) | Value::Constant(_)))
    }

    /// A value as the last operand: from memory where it has no register.
    pub(super) fn arg(&mut self, value: Value) -> Option<Arg> {
        if self.is_readable(value) {
            if let Some(at) = self.whole(value) {
                return Some(Arg::Memory(at));
            }
        }
        Some(Arg::Vector(self.get(value)?))
    }

    /// The register of a result; it may be that of an operand that is not read again.
    pub(super) fn result(&mut self, value: Value) -> Option<u32> {
        // Operands that end here may be overwritten, because an instruction reads before it writes.
        for over in self.over() {
            if let Some(register) = self.held.get(&over).copied() {
                self.pinned &= !(1 << register);
            }
            self.drop_value(over);
        }
        let register = self.free()?;
        Some(self.give(value, register))
    }

    /// Makes a register that of a result.
    pub(super) fn give(&mut self, value: Value, register: u32) -> u32 {
        self.hold(value, register);
        self.made = Some(register);
        register
    }

    /// Returns true if a register's value is not read after the current instruction.
    pub(super) fn ends(&self, value: Value) -> bool {
        !self.lasting.contains_key(&value)
            && self.held.contains_key(&value)
            && self.next_use(value) == usize::MAX
            && !matches!(value, Value::Partial(_) | Value::Sum(..))
    }

    /// Gives a result the register of an operand that ends.
    pub(super) fn take_over(&mut self, from: Value, to: Value) -> u32 {
        let register = self.held[&from];
        self.held.remove(&from);
        self.give(to, register)
    }
}
