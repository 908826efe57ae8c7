//! Truths, masks and what they open. A truth that only opens gates is a mask: all bits of an element with 256 bits, a mask
//! register with 512. Where mask registers run out it is 1 or 0 like any truth.

use super::super::assembler::{Arg, Compare, Op, MASK, MASK2};
use super::super::values::{Value, HALF, ONE, ZERO};
use super::super::Isa;
use super::{scratch, Row};
use crate::ir::Boundary;
use iced_x86::Register;

impl Row<'_, '_> {
    /// Writes a comparison of two values.
    pub(super) fn compare(
        &mut self,
        how: Compare,
        to: Value,
        a: Value,
        b: Value,
        mask: bool,
    ) -> Option<()> {
        let turned = match how {
            Compare::Less => Compare::Greater,
            Compare::LessEqual => Compare::GreaterEqual,
            other => other,
        };
        let swap = self.is_readable(a) && !self.is_readable(b);
        let (how, a, b) = if swap { (turned, b, a) } else { (how, a, b) };
        let x = self.get(a)?;
        let y = self.arg(b)?;
        match (self.emitter.isa, mask, self.free_mask()) {
            (Isa::Avx2, true, _) => {
                let d = self.result(to)?;
                self.emitter.asm.compare(d, how, x, y);
            }
            (Isa::Avx512, true, Some(register)) => {
                self.emitter.asm.compare_mask(register, None, how, x, y);
                self.masks.insert(to, register);
            }
            (Isa::Avx2, false, _) => {
                self.emitter.asm.compare(scratch(Isa::Avx2, 0), how, x, y);
                return self.truth_of_mask(to, ONE);
            }
            (Isa::Avx512, ..) => {
                self.emitter.asm.compare_mask(MASK, None, how, x, y);
                return self.truth_of_mask(to, ONE);
            }
        }
        Some(())
    }

    /// Writes 1 where a comparison holds, else 0.
    pub(super) fn truth(&mut self, to: Value, how: Compare, a: u32, b: u32) -> Option<()> {
        let asm = &mut self.emitter.asm;
        match self.emitter.isa {
            Isa::Avx512 => asm.compare_mask(MASK, None, how, a, Arg::Vector(b)),
            Isa::Avx2 => asm.compare(scratch(Isa::Avx2, 0), how, a, Arg::Vector(b)),
        }
        self.truth_of_mask(to, ONE)
    }

    /// Writes a number where the mask of the first intermediate result is set, else 0.
    fn truth_of_mask(&mut self, to: Value, number: u32) -> Option<()> {
        match self.emitter.isa {
            Isa::Avx512 => {
                let number = self.constant(number)?;
                let d = self.result(to)?;
                self.emitter.asm.copy_where(MASK, false, d, number);
            }
            Isa::Avx2 => {
                let number = self.arg(Value::Constant(number))?;
                let d = self.result(to)?;
                let t = scratch(Isa::Avx2, 0);
                self.emitter.asm.op(Op::And, d, t, number);
            }
        }
        Some(())
    }

    /// The mask of a truth in a vector with 256 bits, where it is not 0 if it is a number.
    fn wide_mask(&mut self, value: Value, k: u32) -> Option<u32> {
        if self.is_mask(value) {
            return self.get(value);
        }
        let x = self.get(value)?;
        let zero = self.constant(ZERO)?;
        let t = scratch(Isa::Avx2, k);
        let zero = Arg::Vector(zero);
        self.emitter.asm.compare(t, Compare::NotEqual, x, zero);
        Some(t)
    }

    /// The mask register of a truth with 512 bits; `other` is used if it is a number.
    fn mask(&mut self, value: Value, other: Register) -> Option<Register> {
        if let Some(mask) = self.masks.get(&value) {
            return Some(*mask);
        }
        let x = self.get(value)?;
        let zero = self.constant(ZERO)?;
        let zero = Arg::Vector(zero);
        let asm = &mut self.emitter.asm;
        asm.compare_mask(other, None, Compare::NotEqual, x, zero);
        Some(other)
    }

    /// Writes `x` where a truth is not 0, else 0.
    pub(super) fn gate(&mut self, to: Value, x: Value, gate: Value) -> Option<()> {
        match self.emitter.isa {
            Isa::Avx512 => {
                let mask = self.mask(gate, MASK)?;
                match self.arg(x)? {
                    Arg::Vector(x) => {
                        let d = self.result(to)?;
                        self.emitter.asm.copy_where(mask, false, d, x);
                    }
                    Arg::Memory(at) => {
                        let d = self.result(to)?;
                        self.emitter.asm.load_where(mask, d, at);
                    }
                }
            }
            Isa::Avx2 => {
                let mask = self.wide_mask(gate, 0)?;
                let x = self.arg(x)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::And, d, mask, x);
            }
        }
        Some(())
    }

    /// Returns true if a value is a mask with 256 bits.
    fn is_mask(&self, value: Value) -> bool {
        matches!(value, Value::Temporary(_, k) if self.emitter.masks[k])
    }

    /// Writes the second operand where the first is not 0, else the third.
    pub(super) fn choose(&mut self, to: Value, operands: &[Value]) -> Option<()> {
        let x = self.get(operands[1])?;
        let y = self.get(operands[2])?;
        match self.emitter.isa {
            Isa::Avx512 => {
                let mask = self.mask(operands[0], MASK)?;
                let d = self.result(to)?;
                self.emitter.asm.blend_mask(mask, d, x, y);
            }
            Isa::Avx2 => {
                let mask = self.wide_mask(operands[0], 0)?;
                let d = self.result(to)?;
                self.emitter.asm.blend(mask, d, x, y);
            }
        }
        Some(())
    }

    /// Writes whether two truths hold.
    pub(super) fn and(&mut self, to: Value, a: Value, b: Value, mask: bool) -> Option<()> {
        match self.emitter.isa {
            Isa::Avx512 => {
                let x = self.mask(a, MASK)?;
                let y = self.mask(b, MASK2)?;
                match self.free_mask().filter(|_| mask) {
                    Some(register) => {
                        self.emitter.asm.and_masks(register, x, y);
                        self.masks.insert(to, register);
                        Some(())
                    }
                    None => {
                        self.emitter.asm.and_masks(MASK, x, y);
                        self.truth_of_mask(to, ONE)
                    }
                }
            }
            Isa::Avx2 => {
                let x = self.wide_mask(a, 0)?;
                let y = self.wide_mask(b, 1)?;
                if mask {
                    let d = self.result(to)?;
                    self.emitter.asm.op(Op::And, d, x, Arg::Vector(y));
                    return Some(());
                }
                let t = scratch(Isa::Avx2, 0);
                self.emitter.asm.op(Op::And, t, x, Arg::Vector(y));
                self.truth_of_mask(to, ONE)
            }
        }
    }

    /// Writes 1 where one of two truths holds, else 0.
    pub(super) fn or(&mut self, to: Value, a: Value, b: Value) -> Option<()> {
        match self.emitter.isa {
            Isa::Avx512 => {
                let x = self.mask(a, MASK)?;
                let y = self.mask(b, MASK2)?;
                self.emitter.asm.or_masks(MASK, x, y);
            }
            Isa::Avx2 => {
                let x = self.wide_mask(a, 0)?;
                let y = self.wide_mask(b, 1)?;
                // A logical or: the blend of two masks by the first.
                self.emitter.asm.blend(x, x, x, y);
            }
        }
        self.truth_of_mask(to, ONE)
    }

    /// Combines two comparisons of `x`: in the first mask register or the first intermediate vector.
    fn both(&mut self, x: u32, [above, below]: [Compare; 2], [lo, hi]: [u32; 2]) {
        let isa = self.emitter.isa;
        let asm = &mut self.emitter.asm;
        let (lo, hi) = (Arg::Vector(lo), Arg::Vector(hi));
        match isa {
            Isa::Avx512 => {
                asm.compare_mask(MASK, None, above, x, lo);
                asm.compare_mask(MASK, Some(MASK), below, x, hi);
            }
            Isa::Avx2 => {
                let (t, s) = (scratch(isa, 0), scratch(isa, 1));
                asm.compare(t, above, x, lo);
                asm.compare(s, below, x, hi);
                asm.op(Op::And, t, t, Arg::Vector(s));
            }
        }
    }

    /// Writes whether `x` lies between bounds.
    pub(super) fn clip_mask(
        &mut self,
        [lo, hi]: [u32; 2],
        boundary: Boundary,
        to: Value,
        x: u32,
        mask: bool,
    ) -> Option<()> {
        const CLOSED: [Compare; 2] = [Compare::GreaterEqual, Compare::LessEqual];
        const OPEN: [Compare; 2] = [Compare::Greater, Compare::Less];
        if boundary == Boundary::StraightThrough {
            let one = self.constant(ONE)?;
            let d = self.result(to)?;
            self.emitter.asm.copy(d, one);
            return Some(());
        }
        let bounds = [self.constant(lo)?, self.constant(hi)?];
        if boundary == Boundary::Half {
            return self.half(to, x, bounds, [CLOSED, OPEN]);
        }
        let how = match boundary {
            Boundary::Exclusive => OPEN,
            _ => CLOSED,
        };
        self.both(x, how, bounds);
        match (self.emitter.isa, self.free_mask()) {
            (Isa::Avx2, _) if mask => {
                let d = self.result(to)?;
                self.emitter.asm.copy(d, scratch(Isa::Avx2, 0));
            }
            (Isa::Avx512, Some(register)) if mask => {
                self.emitter.asm.and_masks(register, MASK, MASK);
                self.masks.insert(to, register);
            }
            _ => return self.truth_of_mask(to, ONE),
        }
        Some(())
    }

    /// Writes a half where `x` lies between the bounds or on them, and another half where it lies between them.
    fn half(
        &mut self,
        to: Value,
        x: u32,
        bounds: [u32; 2],
        [closed, open]: [[Compare; 2]; 2],
    ) -> Option<()> {
        let half = self.constant(HALF)?;
        let sum = self.free()?;
        self.both(x, closed, bounds);
        match self.emitter.isa {
            Isa::Avx512 => {
                self.emitter.asm.copy_where(MASK, false, sum, half);
                self.both(x, open, bounds);
                let half = Arg::Vector(half);
                self.emitter.asm.op_where(Op::Add, MASK, sum, sum, half);
            }
            Isa::Avx2 => {
                let t = scratch(Isa::Avx2, 0);
                self.emitter.asm.op(Op::And, sum, t, Arg::Vector(half));
                self.both(x, open, bounds);
                let asm = &mut self.emitter.asm;
                asm.op(Op::And, t, t, Arg::Vector(half));
                asm.op(Op::Add, sum, sum, Arg::Vector(t));
            }
        }
        self.give(to, sum);
        Some(())
    }
}
