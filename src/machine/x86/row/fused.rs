//! Multiply-adds: they overwrite one of their operands, so the form follows from which operands end and which are in
//! memory.

use super::super::assembler::Op;
use super::super::values::Value;
use super::{scratch, Row};
use crate::program::code::Element;

/// The forms of an operation.
#[derive(Clone, Copy)]
struct Forms {
    /// The form `d = a b + d`.
    onto: Op,
    /// The form `d = d a + b`.
    times: Op,
    /// The form `d = d b + a`.
    scale: Op,
}

impl Forms {
    fn of(f: Element) -> Forms {
        match f {
            Element::MulSub => Forms {
                onto: Op::MulSubTo,
                times: Op::TimesSub,
                scale: Op::ScaleSub,
            },
            Element::NegMulAdd => Forms {
                onto: Op::NegMulAddTo,
                times: Op::NegTimesAdd,
                scale: Op::NegScaleAdd,
            },
            _ => Forms {
                onto: Op::MulAddTo,
                times: Op::TimesAdd,
                scale: Op::ScaleAdd,
            },
        }
    }
}

impl Row<'_, '_> {
    pub(super) fn fused(&mut self, f: Element, to: Value, operands: &[Value]) -> Option<()> {
        let forms = Forms::of(f);
        let (a, b, c) = (operands[0], operands[1], operands[2]);
        // Numbers and what else no operation reads in memory come first.
        for value in [a, b, c] {
            if !self.in_register(value) && !self.is_readable(value) {
                self.get(value)?;
            }
        }
        if self.ends(c) && c != a && c != b {
            let (a, b) = if self.in_register(a) { (a, b) } else { (b, a) };
            self.get(c)?;
            let x = self.get(a)?;
            let y = self.arg(b)?;
            let d = self.take_over(c, to);
            self.emitter.asm.op(forms.onto, d, x, y);
            return Some(());
        }
        for (ending, other) in [(a, b), (b, a)] {
            if self.ends(ending) && ending != other && ending != c {
                self.get(ending)?;
                return self.onto_factor(forms, to, ending, other, c);
            }
        }
        // No operand may be overwritten: a copy of one is, if possible one that is read anyway.
        let d = self.free()?;
        if !self.in_register(c) {
            self.fetch(c, d);
            let (a, b) = if self.in_register(a) { (a, b) } else { (b, a) };
            let x = self.get(a)?;
            let y = self.arg(b)?;
            let d = self.moved(d, to);
            self.emitter.asm.op(forms.onto, d, x, y);
            return Some(());
        }
        for (read, other) in [(a, b), (b, a)] {
            if !self.in_register(read) {
                self.fetch(read, d);
                let z = self.get(c)?;
                let y = self.arg(other)?;
                let d = self.moved(d, to);
                self.emitter.asm.op(forms.scale, d, z, y);
                return Some(());
            }
        }
        let (x, y, z) = (self.get(a)?, self.arg(b)?, self.get(c)?);
        self.emitter.asm.copy(d, z);
        let d = self.moved(d, to);
        self.emitter.asm.op(forms.onto, d, x, y);
        Some(())
    }

    /// Overwrites a factor that ends.
    fn onto_factor(
        &mut self,
        forms: Forms,
        to: Value,
        ending: Value,
        other: Value,
        c: Value,
    ) -> Option<()> {
        if self.in_register(c) && !self.in_register(other) {
            let z = self.get(c)?;
            let y = self.arg(other)?;
            let d = self.take_over(ending, to);
            self.emitter.asm.op(forms.scale, d, z, y);
        } else {
            let x = self.get(other)?;
            let z = self.arg(c)?;
            let d = self.take_over(ending, to);
            self.emitter.asm.op(forms.times, d, x, z);
        }
        Some(())
    }

    /// Makes a register that was filled that of a result.
    fn moved(&mut self, register: u32, to: Value) -> u32 {
        debug_assert!(
            register < scratch(self.emitter.isa, 0),
            "a register of values"
        );
        self.give(to, register)
    }
}
