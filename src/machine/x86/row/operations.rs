//! The instructions of each operation.

use super::super::assembler::{Arg, Compare, Op, MASK, MASK2};
use super::super::values::{Value, BIAS, HALF, MINUS_ONE, ONE, SIGN, SIZE, ZERO};
use super::super::Isa;
use super::{scratch, Row};
use crate::ir::{Binary, Boundary, Unary};
use crate::program::code::Element;

impl Row<'_, '_> {
    pub(super) fn two(
        &mut self,
        op: Op,
        to: Value,
        a: Value,
        b: Value,
        commutes: bool,
    ) -> Option<()> {
        let (a, b) = if commutes && !self.in_register(a) && self.in_register(b) {
            (b, a)
        } else {
            (a, b)
        };
        let x = self.get(a)?;
        let y = self.arg(b)?;
        let d = self.result(to)?;
        self.emitter.asm.op(op, d, x, y);
        Some(())
    }

    pub(super) fn fused(&mut self, f: Element, to: Value, operands: &[Value]) -> Option<()> {
        let (a, b, c) = (operands[0], operands[1], operands[2]);
        let (onto, times) = match f {
            Element::MulSub => (Op::MulSubTo, Op::TimesSub),
            Element::NegMulAdd => (Op::NegMulAddTo, Op::NegTimesAdd),
            _ => (Op::MulAddTo, Op::TimesAdd),
        };
        if self.in_register(c) && self.ends(c) && c != a && c != b {
            let (a, b) = if self.in_register(a) { (a, b) } else { (b, a) };
            self.get(c)?;
            let x = self.get(a)?;
            let y = self.arg(b)?;
            let d = self.take_over(c, to);
            self.emitter.asm.op(onto, d, x, y);
            return Some(());
        }
        for (dying, other) in [(a, b), (b, a)] {
            if self.in_register(dying) && self.ends(dying) && dying != other && dying != c {
                self.get(dying)?;
                let x = self.get(other)?;
                let z = self.arg(c)?;
                let d = self.take_over(dying, to);
                self.emitter.asm.op(times, d, x, z);
                return Some(());
            }
        }
        let (a, b) = if self.in_register(a) { (a, b) } else { (b, a) };
        let z = self.get(c)?;
        let x = self.get(a)?;
        let y = self.arg(b)?;
        if self.ends(c) && c != a && c != b {
            let d = self.take_over(c, to);
            self.emitter.asm.op(onto, d, x, y);
            return Some(());
        }
        let t = scratch(self.emitter.isa, 0);
        self.emitter.asm.copy(t, z);
        self.emitter.asm.op(onto, t, x, y);
        let d = self.result(to)?;
        self.emitter.asm.copy(d, t);
        Some(())
    }

    /// Writes a constant (such as 1) where a comparison holds, else 0.
    pub(super) fn truth(
        &mut self,
        to: Value,
        how: Compare,
        a: u32,
        b: u32,
        number: u32,
    ) -> Option<()> {
        let one = self.constant(number)?;
        match self.emitter.isa {
            Isa::Avx512 => {
                self.emitter.asm.compare_mask(MASK, None, how, a, b);
                let d = self.result(to)?;
                self.emitter.asm.copy_where(MASK, false, d, one);
            }
            Isa::Avx2 => {
                let t = scratch(Isa::Avx2, 0);
                self.emitter.asm.compare(t, how, a, b);
                let d = self.result(to)?;
                self.emitter.asm.op(Op::And, d, t, Arg::Vector(one));
            }
        }
        Some(())
    }

    /// Combines two comparisons: in the mask register or the first intermediate vector.
    pub(super) fn both(&mut self, first: (Compare, u32, u32), second: (Compare, u32, u32)) {
        let isa = self.emitter.isa;
        let asm = &mut self.emitter.asm;
        match isa {
            Isa::Avx512 => {
                asm.compare_mask(MASK, None, first.0, first.1, first.2);
                asm.compare_mask(MASK, Some(MASK), second.0, second.1, second.2);
            }
            Isa::Avx2 => {
                let (t, s) = (scratch(isa, 0), scratch(isa, 1));
                asm.compare(t, first.0, first.1, first.2);
                asm.compare(s, second.0, second.1, second.2);
                asm.op(Op::And, t, t, Arg::Vector(s));
            }
        }
    }

    /// Writes `number` where the mask of [`Row::both`] is set, else 0.
    pub(super) fn where_both(&mut self, to: Value, number: u32) -> Option<()> {
        let d = self.result(to)?;
        match self.emitter.isa {
            Isa::Avx512 => self.emitter.asm.copy_where(MASK, false, d, number),
            Isa::Avx2 => {
                let t = scratch(Isa::Avx2, 0);
                self.emitter.asm.op(Op::And, d, t, Arg::Vector(number));
            }
        }
        Some(())
    }

    pub(super) fn element(&mut self, f: Element, to: Value, operands: &[Value]) -> Option<()> {
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
                let bias = self.constant(BIAS)?;
                let t = scratch(isa, 0);
                self.emitter.asm.whole(t, x);
                self.emitter.asm.op(Op::AddWhole, t, t, Arg::Vector(bias));
                let d = self.result(to)?;
                self.emitter.asm.exponent(d, t);
            }
            Element::Unary(f) => return self.unary(f, to, a),
            Element::Binary(f) => return self.binary(f, to, a, operands[1]),
            Element::Select => {
                let c = self.get(a)?;
                let x = self.get(operands[1])?;
                let y = self.get(operands[2])?;
                let zero = self.constant(ZERO)?;
                match isa {
                    Isa::Avx512 => {
                        let how = Compare::NotEqual;
                        self.emitter.asm.compare_mask(MASK, None, how, c, zero);
                        let d = self.result(to)?;
                        self.emitter.asm.blend_mask(MASK, d, x, y);
                    }
                    Isa::Avx2 => {
                        let t = scratch(isa, 0);
                        self.emitter.asm.compare(t, Compare::NotEqual, c, zero);
                        let d = self.result(to)?;
                        self.emitter.asm.blend(t, d, x, y);
                    }
                }
            }
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
                return self.clip_mask(bits(lo), bits(hi), boundary, to, x);
            }
            Element::Keep(lo, hi, boundary) => {
                let kept = self.get(a)?;
                let x = self.get(operands[1])?;
                let lo = self.constant(bits(lo))?;
                let hi = self.constant(bits(hi))?;
                let (above, below) = match boundary {
                    Boundary::Exclusive => (Compare::Greater, Compare::Less),
                    _ => (Compare::GreaterEqual, Compare::LessEqual),
                };
                self.both((above, x, lo), (below, x, hi));
                return self.where_both(to, kept);
            }
        }
        Some(())
    }

    pub(super) fn clip_mask(
        &mut self,
        lo: u32,
        hi: u32,
        boundary: Boundary,
        to: Value,
        x: u32,
    ) -> Option<()> {
        if boundary == Boundary::StraightThrough {
            let one = self.constant(ONE)?;
            let d = self.result(to)?;
            self.emitter.asm.copy(d, one);
            return Some(());
        }
        let lo = self.constant(lo)?;
        let hi = self.constant(hi)?;
        let closed = ((Compare::GreaterEqual, x, lo), (Compare::LessEqual, x, hi));
        let open = ((Compare::Greater, x, lo), (Compare::Less, x, hi));
        match boundary {
            Boundary::Inclusive => {
                let one = self.constant(ONE)?;
                self.both(closed.0, closed.1);
                self.where_both(to, one)
            }
            Boundary::Exclusive => {
                let one = self.constant(ONE)?;
                self.both(open.0, open.1);
                self.where_both(to, one)
            }
            Boundary::Half | Boundary::StraightThrough => {
                let half = self.constant(HALF)?;
                // Half the value where closed, and the other half where open.
                let sum = self.free()?;
                self.both(closed.0, closed.1);
                match self.emitter.isa {
                    Isa::Avx512 => {
                        let asm = &mut self.emitter.asm;
                        asm.copy_where(MASK, false, sum, half);
                        asm.compare_mask(MASK, None, open.0 .0, x, lo);
                        asm.compare_mask(MASK, Some(MASK), open.1 .0, x, hi);
                        asm.op_where(Op::Add, MASK, sum, sum, Arg::Vector(half));
                    }
                    Isa::Avx2 => {
                        let t = scratch(Isa::Avx2, 0);
                        self.emitter.asm.op(Op::And, sum, t, Arg::Vector(half));
                        self.both(open.0, open.1);
                        let asm = &mut self.emitter.asm;
                        asm.op(Op::And, t, t, Arg::Vector(half));
                        asm.op(Op::Add, sum, sum, Arg::Vector(t));
                    }
                }
                self.held.insert(to, sum);
                self.owners[sum as usize] = Some(to);
                Some(())
            }
        }
    }

    pub(super) fn unary(&mut self, f: Unary, to: Value, a: Value) -> Option<()> {
        let isa = self.emitter.isa;
        match f {
            Unary::Neg => {
                let sign = self.constant(SIGN)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Xor, d, sign, x);
            }
            Unary::Abs => {
                let size = self.constant(SIZE)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::And, d, size, x);
            }
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
                return self.truth(to, Compare::Equal, x, zero, ONE);
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
                        asm.compare_mask(MASK, None, Compare::Greater, x, zero);
                        asm.compare_mask(MASK2, None, Compare::Less, x, zero);
                        asm.copy_where(MASK, false, t, one);
                        asm.copy_where(MASK2, true, t, minus);
                    }
                    Isa::Avx2 => {
                        let s = scratch(isa, 1);
                        let asm = &mut self.emitter.asm;
                        asm.compare(t, Compare::Greater, x, zero);
                        asm.op(Op::And, t, t, Arg::Vector(one));
                        asm.compare(s, Compare::Less, x, zero);
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

    pub(super) fn binary(&mut self, f: Binary, to: Value, a: Value, b: Value) -> Option<()> {
        let op = match f {
            Binary::Add => return self.two(Op::Add, to, a, b, true),
            Binary::Mul => return self.two(Op::Mul, to, a, b, true),
            Binary::Sub => return self.two(Op::Sub, to, a, b, false),
            Binary::Div => return self.two(Op::Div, to, a, b, false),
            // The result is `b` if it is smaller or larger, else `a`, also if one is NaN.
            Binary::Min => return self.two(Op::Min, to, b, a, false),
            Binary::Max => return self.two(Op::Max, to, b, a, false),
            Binary::Less => Compare::Less,
            Binary::LessEqual => Compare::LessEqual,
            Binary::Equal => Compare::Equal,
            Binary::And | Binary::Or => return self.logic(f, to, a, b),
            Binary::Pow => return None,
        };
        let x = self.get(a)?;
        let y = self.get(b)?;
        self.truth(to, op, x, y, ONE)
    }

    pub(super) fn logic(&mut self, f: Binary, to: Value, a: Value, b: Value) -> Option<()> {
        let x = self.get(a)?;
        let y = self.get(b)?;
        let zero = self.constant(ZERO)?;
        let one = self.constant(ONE)?;
        let first = (Compare::NotEqual, x, zero);
        let second = (Compare::NotEqual, y, zero);
        if f == Binary::And {
            self.both(first, second);
            return self.where_both(to, one);
        }
        let isa = self.emitter.isa;
        let (t, s) = (scratch(isa, 0), scratch(isa, 1));
        let asm = &mut self.emitter.asm;
        match isa {
            Isa::Avx512 => {
                asm.compare_mask(MASK, None, Compare::NotEqual, x, zero);
                asm.compare_mask(MASK2, None, Compare::NotEqual, y, zero);
                asm.or_masks(MASK, MASK, MASK2);
            }
            Isa::Avx2 => {
                asm.compare(t, Compare::NotEqual, x, zero);
                asm.compare(s, Compare::NotEqual, y, zero);
                // A logical or: the blend of two masks by the first.
                asm.blend(t, t, t, s);
            }
        }
        self.where_both(to, one)
    }
}
