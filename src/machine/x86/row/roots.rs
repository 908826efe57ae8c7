//! The results of a row: sums, gradients and stores into blocks.

use super::super::assembler::{Arg, Op, TAIL};
use super::super::values::{Unit, Value};
use super::super::{fixed, Isa};
use super::{scratch, Row};
use crate::program::code::{Root, RootKind};

impl Row<'_, '_> {
    pub(super) fn root(&mut self, k: usize, root: Root, u: usize) -> Option<()> {
        let unit = self.units[u];
        let value = Value::of(root.value, u);
        let times = root.times.map(|source| Value::of(source, u));
        let masked = self.masked && unit.masked;
        match root.kind {
            RootKind::SumPre(..) => {
                let sum = self.lasting[&Value::Sum(k, u)];
                self.add_onto(sum, value, times, false, unit)
            }
            RootKind::SumBoth(..) => {
                let sum = self.lasting[&Value::Sum(k, 0)];
                self.add_onto(sum, value, times, masked, unit)
            }
            RootKind::SumPost(..) => {
                let partial = Value::Partial(k);
                let sum = self.get(partial)?;
                self.pin(sum);
                self.add_onto(sum, value, times, masked, unit)?;
                if u + 1 == self.units.len() {
                    let (at, _) = self.emitter.origin(partial, self.units);
                    self.emitter.asm.store(at, sum);
                    self.drop_value(partial);
                }
                Some(())
            }
            RootKind::Gradient(_) => {
                let x = self.get(value)?;
                let t = scratch(self.emitter.isa, 0);
                match times {
                    Some(times) => {
                        let y = self.get(times)?;
                        let at = self.emitter.target(root.kind, unit);
                        self.emitter.asm.load(t, at);
                        self.emitter.asm.op(Op::MulAddTo, t, x, Arg::Vector(y));
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
                let x = self.get(value)?;
                let at = self.emitter.target(root.kind, unit);
                self.emitter.asm.store(at, x);
                Some(())
            }
            RootKind::MaxPre(..) | RootKind::MaxPost(..) | RootKind::MaxBoth(..) => None,
        }
    }

    pub(super) fn add_onto(
        &mut self,
        sum: u32,
        value: Value,
        times: Option<Value>,
        masked: bool,
        unit: Unit,
    ) -> Option<()> {
        let isa = self.emitter.isa;
        let (value, times) = match times {
            Some(times) if !self.in_register(value) && self.in_register(times) => {
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
