//! The results of a row: sums, gradients and stores into blocks.

use super::super::assembler::{Arg, Op, TAIL};
use super::super::values::{Unit, Value};
use super::super::{fixed, Isa};
use super::schedule::Term;
use super::{scratch, Row};
use crate::program::code::RootKind;

/// A term of a sum with its values.
type Product = (Value, Option<Value>);

impl Row<'_, '_> {
    pub(super) fn root(&mut self, k: usize, u: usize) -> Option<()> {
        let unit = self.units[u];
        let root = self.emitter.sweep.roots[k];
        let of = |(value, times): &Term| (self.of(*value, u), times.map(|times| self.of(times, u)));
        let terms: Vec<Product> = self.plan.schedule.terms[k].iter().map(of).collect();
        for (value, times) in &terms {
            self.pin_all(&[*value]);
            times.iter().for_each(|times| self.pin_all(&[*times]));
        }
        let masked = self.masked && unit.masked;
        match root.kind {
            RootKind::SumPre(..) => self.running(Value::Sum(k, u), &terms, false, unit),
            RootKind::SumBoth(..) => self.running(Value::Sum(k, 0), &terms, masked, unit),
            RootKind::SumPost(..) => {
                let partial = Value::Partial(k);
                let sum = self.get(partial)?;
                for term in &terms {
                    self.add_onto(sum, *term, masked, unit)?;
                }
                if u + 1 == self.units.len() {
                    let (at, _) = self.emitter.origin(partial, self.units);
                    self.emitter.asm.store(at, sum);
                    self.drop_value(partial);
                }
                Some(())
            }
            RootKind::Gradient(_) => {
                let t = scratch(self.emitter.isa, 0);
                let (value, times) = terms[0];
                let x = self.get(value)?;
                match times {
                    Some(times) => {
                        let y = self.arg(times)?;
                        let at = self.emitter.target(root.kind, unit);
                        self.emitter.asm.load(t, at);
                        self.emitter.asm.op(Op::MulAddTo, t, x, y);
                    }
                    None => {
                        let at = self.emitter.target(root.kind, unit);
                        self.emitter.asm.op(Op::Add, t, x, Arg::Memory(at));
                    }
                }
                let at = self.emitter.target(root.kind, unit);
                self.emitter.asm.store(at, t);
                Some(())
            }
            RootKind::State(_) | RootKind::Adjoint(_) => {
                let x = self.get(terms[0].0)?;
                let at = self.emitter.target(root.kind, unit);
                self.emitter.asm.store(at, x);
                Some(())
            }
            RootKind::MaxPre(..) | RootKind::MaxPost(..) | RootKind::MaxBoth(..) => None,
        }
    }

    /// Adds terms to a sum that runs over all rows, in its register or in the frame.
    fn running(&mut self, sum: Value, terms: &[Product], masked: bool, unit: Unit) -> Option<()> {
        if let Some(register) = self.lasting.get(&sum).copied() {
            for term in terms {
                self.add_onto(register, *term, masked, unit)?;
            }
            return Some(());
        }
        let at = self.home(sum)?;
        let register = scratch(self.emitter.isa, 1);
        self.emitter.asm.load(register, at);
        for term in terms {
            self.add_onto(register, *term, masked, unit)?;
        }
        self.emitter.asm.store(at, register);
        Some(())
    }

    fn add_onto(
        &mut self,
        sum: u32,
        (value, times): Product,
        masked: bool,
        unit: Unit,
    ) -> Option<()> {
        let isa = self.emitter.isa;
        let (value, times) = match times {
            Some(times) if self.is_readable(value) && !self.is_readable(times) => {
                (times, Some(value))
            }
            other => (value, other),
        };
        if masked && isa == Isa::Avx2 {
            let x = self.get(value)?;
            let t = scratch(isa, 0);
            match times {
                Some(times) => {
                    let y = self.arg(times)?;
                    self.emitter.asm.op(Op::Mul, t, x, y);
                }
                None => self.emitter.asm.copy(t, x),
            }
            let at = fixed(self.emitter.tail + unit.part as u64);
            self.emitter.asm.op(Op::And, t, t, Arg::Memory(at));
            self.emitter.asm.op(Op::Add, sum, sum, Arg::Vector(t));
            return Some(());
        }
        let (op, x, y) = match times {
            Some(times) => {
                let x = self.get(value)?;
                (Op::MulAddTo, x, self.arg(times)?)
            }
            None => (Op::Add, sum, self.arg(value)?),
        };
        if masked {
            self.emitter.asm.op_where(op, TAIL, sum, x, y);
        } else {
            self.emitter.asm.op(op, sum, x, y);
        }
        Some(())
    }
}
