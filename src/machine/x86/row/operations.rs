//! The instructions of each operation.

use super::super::assembler::{Arg, Compare, Op, MASK, MASK2};
use super::super::values::{Value, BIAS, MINUS_ONE, ONE, SIGN, SIZE, ZERO};
use super::super::Isa;
use super::{scratch, Row};
use crate::ir::{Binary, Unary};
use crate::program::code::Element;

impl Row<'_, '_> {
    fn two(&mut self, op: Op, to: Value, a: Value, b: Value, commutes: bool) -> Option<()> {
        let swap = commutes && self.is_readable(a) && !self.is_readable(b);
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let x = self.get(a)?;
        let y = self.arg(b)?;
        let d = self.result(to)?;
        self.emitter.asm.op(op, d, x, y);
        Some(())
    }

    /// Writes an operation; `mask` is true if its result only opens gates.
    pub(super) fn element(
        &mut self,
        f: Element,
        to: Value,
        operands: &[Value],
        mask: bool,
    ) -> Option<()> {
        self.pin_all(operands);
        let a = operands[0];
        let isa = self.emitter.isa;
        let bits = |x: crate::ir::Bits| (x.get() as f32).to_bits();
        match f {
            Element::MulAdd | Element::MulSub | Element::NegMulAdd => {
                return self.fused(f, to, operands);
            }
            Element::Copy => {
                let x = self.get(a)?;
                let d = self.result(to)?;
                self.emitter.asm.copy(d, x);
            }
            Element::PowerOfTwo => {
                let x = self.get(a)?;
                let bias = self.arg(Value::Constant(BIAS))?;
                let t = scratch(isa, 0);
                self.emitter.asm.whole(t, x);
                self.emitter.asm.op(Op::AddWhole, t, t, bias);
                let d = self.result(to)?;
                self.emitter.asm.exponent(d, t);
            }
            Element::Unary(f) => return self.unary(f, to, a),
            Element::Binary(f) => return self.binary(f, to, a, operands[1], mask),
            Element::Select => return self.choose(to, operands),
            Element::Gate => return self.gate(to, a, operands[1]),
            Element::Clip(lo, hi) => {
                let lo = self.constant(bits(lo))?;
                let hi = self.constant(bits(hi))?;
                let x = self.arg(a)?;
                let t = scratch(isa, 0);
                // NaN passes through, because it is the second operand of both operations.
                self.emitter.asm.op(Op::Max, t, lo, x);
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Min, d, hi, Arg::Vector(t));
            }
            Element::ClipMask(lo, hi, boundary) => {
                let x = self.get(a)?;
                return self.clip_mask([bits(lo), bits(hi)], boundary, to, x, mask);
            }
        }
        Some(())
    }

    fn binary(&mut self, f: Binary, to: Value, a: Value, b: Value, mask: bool) -> Option<()> {
        match f {
            Binary::Add => self.two(Op::Add, to, a, b, true),
            Binary::Mul => self.two(Op::Mul, to, a, b, true),
            Binary::Sub => self.two(Op::Sub, to, a, b, false),
            Binary::Div => self.two(Op::Div, to, a, b, false),
            // The result is `b` if it is smaller or larger, else `a`, also if one is NaN.
            Binary::Min => self.two(Op::Min, to, b, a, false),
            Binary::Max => self.two(Op::Max, to, b, a, false),
            Binary::Less => self.compare(Compare::Less, to, a, b, mask),
            Binary::LessEqual => self.compare(Compare::LessEqual, to, a, b, mask),
            Binary::Equal => self.compare(Compare::Equal, to, a, b, mask),
            Binary::And => self.and(to, a, b, mask),
            Binary::Or => self.or(to, a, b),
            Binary::Pow => None,
        }
    }

    fn unary(&mut self, f: Unary, to: Value, a: Value) -> Option<()> {
        let isa = self.emitter.isa;
        match f {
            Unary::Neg => return self.two(Op::Xor, to, a, Value::Constant(SIGN), true),
            Unary::Abs => return self.two(Op::And, to, a, Value::Constant(SIZE), true),
            Unary::Relu => {
                let zero = self.constant(ZERO)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Max, d, zero, x);
            }
            Unary::Sqrt => {
                let x = self.get(a)?;
                let d = self.result(to)?;
                self.emitter.asm.sqrt(d, x);
            }
            Unary::Square => {
                let x = self.get(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Mul, d, x, Arg::Vector(x));
            }
            Unary::Recip => {
                let one = self.constant(ONE)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Div, d, one, x);
            }
            Unary::Not => {
                let x = self.get(a)?;
                let zero = self.constant(ZERO)?;
                return self.truth(to, Compare::Equal, x, zero);
            }
            Unary::Sign => {
                let x = self.get(a)?;
                let zero = self.constant(ZERO)?;
                let one = self.constant(ONE)?;
                let minus = self.constant(MINUS_ONE)?;
                let t = scratch(isa, 0);
                match isa {
                    Isa::Avx512 => {
                        let asm = &mut self.emitter.asm;
                        asm.compare_mask(MASK, None, Compare::Greater, x, Arg::Vector(zero));
                        asm.compare_mask(MASK2, None, Compare::Less, x, Arg::Vector(zero));
                        asm.copy_where(MASK, false, t, one);
                        asm.copy_where(MASK2, true, t, minus);
                    }
                    Isa::Avx2 => {
                        let s = scratch(isa, 1);
                        let asm = &mut self.emitter.asm;
                        asm.compare(t, Compare::Greater, x, Arg::Vector(zero));
                        asm.op(Op::And, t, t, Arg::Vector(one));
                        asm.compare(s, Compare::Less, x, Arg::Vector(zero));
                        asm.op(Op::And, s, s, Arg::Vector(minus));
                        asm.op(Op::Add, t, t, Arg::Vector(s));
                    }
                }
                let d = self.result(to)?;
                self.emitter.asm.copy(d, t);
            }
            _ => return None,
        }
        Some(())
    }
}
