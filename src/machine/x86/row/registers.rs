//! Register allocation: values stay in registers while they are read again; if registers run out, those read
//! last are spilled.

use super::super::assembler::Arg;
use super::super::values::{Value, ZERO};
use super::super::{frame, Isa, SPILLS};
use super::Row;

impl Row<'_, '_> {
    pub(super) fn release(&mut self) {
        let now = self.now;
        let over: Vec<Value> = self
            .held
            .keys()
            .copied()
            .filter(|value| {
                let later = self
                    .uses
                    .get(value)
                    .is_some_and(|t| t.iter().any(|t| *t > now));
                !later && !matches!(value, Value::Partial(_))
            })
            .collect();
        for value in over {
            self.drop_value(value);
        }
    }

    pub(super) fn drop_value(&mut self, value: Value) {
        if let Some(register) = self.held.remove(&value) {
            self.owners[register as usize] = None;
        }
    }

    pub(super) fn next_use(&self, value: Value) -> usize {
        self.uses
            .get(&value)
            .and_then(|times| times.iter().find(|t| **t > self.now))
            .copied()
            .unwrap_or(usize::MAX)
    }

    pub(super) fn pin(&mut self, register: u32) {
        self.pinned |= 1 << register;
    }

    /// A free register.
    pub(super) fn free(&mut self) -> Option<u32> {
        let lasting = self.lasting.len() as u32;
        let range = lasting..self.emitter.isa.vectors();
        for register in range.clone() {
            if self.owners[register as usize].is_none() && self.pinned & (1 << register) == 0 {
                self.pin(register);
                return Some(register);
            }
        }
        let (register, value) = range
            .filter(|r| self.pinned & (1 << r) == 0)
            .filter_map(|r| self.owners[r as usize].map(|value| (r, value)))
            .max_by_key(|(r, value)| (self.next_use(*value), std::cmp::Reverse(*r)))?;
        match value {
            Value::Temporary(..) => {
                if !self.spilled.contains_key(&value) {
                    let slot = self.spilled.len();
                    if slot >= SPILLS {
                        return None;
                    }
                    self.spilled.insert(value, slot);
                    let at = frame(64 + slot * 64);
                    self.emitter.asm.store(at, register);
                }
            }
            Value::Partial(_) => {
                let (at, _) = self.emitter.origin(value, self.units);
                self.emitter.asm.store(at, register);
            }
            Value::Vector(..) | Value::Number(_) | Value::Constant(_) | Value::Sum(..) => {}
        }
        self.drop_value(value);
        self.pin(register);
        Some(register)
    }

    pub(super) fn fetch(&mut self, value: Value, register: u32) {
        if let Some(slot) = self.spilled.get(&value) {
            let at = frame(64 + slot * 64);
            self.emitter.asm.load(register, at);
            return;
        }
        if value == Value::Constant(ZERO) {
            self.emitter.asm.zero(register);
            return;
        }
        let (at, number) = self.emitter.origin(value, self.units);
        if number {
            self.emitter.asm.stretch(register, at);
        } else {
            self.emitter.asm.load(register, at);
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
        self.held.insert(value, register);
        self.owners[register as usize] = Some(value);
        Some(register)
    }

    pub(super) fn constant(&mut self, bits: u32) -> Option<u32> {
        self.get(Value::Constant(bits))
    }

    pub(super) fn in_register(&self, value: Value) -> bool {
        self.lasting.contains_key(&value) || self.held.contains_key(&value)
    }

    /// A value as the last operand: from memory if it is not needed again.
    pub(super) fn arg(&mut self, value: Value) -> Option<Arg> {
        if self.in_register(value) || self.next_use(value) != usize::MAX {
            return Some(Arg::Vector(self.get(value)?));
        }
        if let Some(slot) = self.spilled.get(&value) {
            return Some(Arg::Memory(frame(64 + slot * 64)));
        }
        match value {
            Value::Vector(..) => Some(Arg::Memory(self.emitter.origin(value, self.units).0)),
            Value::Number(_) if self.emitter.isa == Isa::Avx512 => {
                Some(Arg::Stretched(self.emitter.origin(value, self.units).0))
            }
            _ => Some(Arg::Vector(self.get(value)?)),
        }
    }

    /// The register of a result; it may be that of an operand that is not read again.
    pub(super) fn result(&mut self, value: Value) -> Option<u32> {
        // Operands that end here may be overwritten, because an instruction reads before it writes.
        self.release_pins();
        let register = self.free()?;
        self.held.insert(value, register);
        self.owners[register as usize] = Some(value);
        Some(register)
    }

    pub(super) fn release_pins(&mut self) {
        let now = self.now;
        let over: Vec<Value> = self
            .held
            .keys()
            .copied()
            .filter(|value| {
                let later = self
                    .uses
                    .get(value)
                    .is_some_and(|t| t.iter().any(|t| *t > now));
                !later && !matches!(value, Value::Partial(_))
            })
            .collect();
        for value in over {
            if let Some(register) = self.held.get(&value).copied() {
                self.pinned &= !(1 << register);
            }
            self.drop_value(value);
        }
    }

    /// Returns true if a register's value is not read after the current instruction.
    pub(super) fn ends(&self, value: Value) -> bool {
        !self.lasting.contains_key(&value)
            && self.held.contains_key(&value)
            && self.next_use(value) == usize::MAX
            && matches!(
                value,
                Value::Temporary(..) | Value::Vector(..) | Value::Number(_)
            )
    }

    /// Gives a result the register of an operand that ends.
    pub(super) fn take_over(&mut self, from: Value, to: Value) -> u32 {
        let register = self.held[&from];
        self.held.remove(&from);
        self.held.insert(to, register);
        self.owners[register as usize] = Some(to);
        register
    }
}
