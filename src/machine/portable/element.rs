//! The operations on elements, and scalars broadcast to vectors.

use super::emit::Emitter;
use crate::ir::{Binary, Bits, Boundary, Unary};
use crate::program::code::Element;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{types, Endianness, InstBuilder, MemFlags, Value};

impl Emitter<'_> {
    pub(super) fn splat_number(&mut self, x: f32) -> Value {
        let scalar = self.b.ins().f32const(x);
        self.splat(scalar)
    }

    pub(super) fn splat(&mut self, scalar: Value) -> Value {
        self.b.ins().splat(types::F32X4, scalar)
    }

    /// Selects `x` if the comparison holds, else `y`.
    fn choose(&mut self, cc: FloatCC, a: Value, b: Value, x: Value, y: Value) -> Value {
        let mask = self.compared(cc, a, b);
        self.b.ins().bitselect(mask, x, y)
    }

    /// A mask: all bits of an element where the truth holds. Operands that are masks have `true` in `masks`.
    pub(super) fn mask(&mut self, f: Element, [a, b]: [Value; 2], masks: [bool; 2]) -> Value {
        let zero = self.splat_number(0.0);
        let (cc, a, b) = match f {
            Element::Binary(Binary::Less) => (FloatCC::LessThan, a, b),
            Element::Binary(Binary::LessEqual) => (FloatCC::LessThanOrEqual, a, b),
            Element::Binary(Binary::Equal) => (FloatCC::Equal, a, b),
            Element::Binary(Binary::And) => {
                let [a, b] = [(a, masks[0]), (b, masks[1])].map(|(x, mask)| match mask {
                    true => x,
                    false => self.compared(FloatCC::NotEqual, x, zero),
                });
                return self.b.ins().band(a, b);
            }
            other => (FloatCC::NotEqual, self.element(other, a, b, a), zero),
        };
        self.compared(cc, a, b)
    }

    fn compared(&mut self, cc: FloatCC, a: Value, b: Value) -> Value {
        let condition = self.b.ins().fcmp(cc, a, b);
        self.b.ins().bitcast(types::F32X4, bits(), condition)
    }

    /// What a mask opens or chooses.
    pub(super) fn opened(&mut self, f: Element, [a, b, c]: [Value; 3]) -> Value {
        match f {
            Element::Select => self.b.ins().bitselect(a, b, c),
            _ => self.b.ins().band(a, b),
        }
    }

    fn truth(&mut self, cc: FloatCC, a: Value, b: Value) -> Value {
        let one = self.splat_number(1.0);
        let zero = self.splat_number(0.0);
        self.choose(cc, a, b, one, zero)
    }

    /// Part of an operation, with results bit-identical to [`crate::machine::interpret`].
    pub(super) fn element(&mut self, f: Element, a: Value, b: Value, c: Value) -> Value {
        let zero = self.splat_number(0.0);
        match f {
            Element::Copy => a,
            Element::PowerOfTwo => {
                let whole = self.b.ins().fcvt_to_sint_sat(types::I32X4, a);
                let bias = self.b.ins().iconst(types::I32, 127);
                let bias = self.b.ins().splat(types::I32X4, bias);
                let raised = self.b.ins().iadd(whole, bias);
                let shifted = self.b.ins().ishl_imm(raised, 23);
                self.b.ins().bitcast(types::F32X4, bits(), shifted)
            }
            Element::Unary(f) => match f {
                Unary::Neg => self.b.ins().fneg(a),
                Unary::Relu => self.choose(FloatCC::LessThan, a, zero, zero, a),
                Unary::Sqrt => self.b.ins().sqrt(a),
                Unary::Abs => {
                    let minus = self.b.ins().fneg(a);
                    self.choose(FloatCC::LessThan, a, zero, minus, a)
                }
                Unary::Sign => {
                    let above = self.truth(FloatCC::GreaterThan, a, zero);
                    let below = self.truth(FloatCC::LessThan, a, zero);
                    self.b.ins().fsub(above, below)
                }
                Unary::Square => self.b.ins().fmul(a, a),
                Unary::Recip => {
                    let one = self.splat_number(1.0);
                    self.b.ins().fdiv(one, a)
                }
                Unary::Not => self.truth(FloatCC::Equal, a, zero),
                _ => unreachable!("`supported` lets through no sweep with another function"),
            },
            Element::Binary(f) => match f {
                Binary::Add => self.b.ins().fadd(a, b),
                Binary::Sub => self.b.ins().fsub(a, b),
                Binary::Mul => self.b.ins().fmul(a, b),
                Binary::Div => self.b.ins().fdiv(a, b),
                Binary::Min => self.choose(FloatCC::LessThan, b, a, b, a),
                Binary::Max => self.choose(FloatCC::LessThan, a, b, b, a),
                Binary::Less => self.truth(FloatCC::LessThan, a, b),
                Binary::LessEqual => self.truth(FloatCC::LessThanOrEqual, a, b),
                Binary::Equal => self.truth(FloatCC::Equal, a, b),
                Binary::And => {
                    let right = self.truth(FloatCC::NotEqual, b, zero);
                    self.choose(FloatCC::NotEqual, a, zero, right, zero)
                }
                Binary::Or => {
                    let right = self.truth(FloatCC::NotEqual, b, zero);
                    let one = self.splat_number(1.0);
                    self.choose(FloatCC::NotEqual, a, zero, one, right)
                }
                Binary::Pow => unreachable!("`supported` lets through no sweep with powers"),
            },
            Element::Select => self.choose(FloatCC::Equal, a, zero, c, b),
            Element::Clip(lo, hi) => {
                let lo = self.splat_number(lo.get() as f32);
                let hi = self.splat_number(hi.get() as f32);
                let x = self.choose(FloatCC::LessThan, a, lo, lo, a);
                self.choose(FloatCC::GreaterThan, x, hi, hi, x)
            }
            Element::ClipMask(lo, hi, boundary) => self.clip_mask(lo, hi, boundary, a),
            Element::Gate => self.choose(FloatCC::NotEqual, b, zero, a, zero),
            Element::MulAdd => self.b.ins().fma(a, b, c),
            Element::MulSub => {
                let minus = self.b.ins().fneg(c);
                self.b.ins().fma(a, b, minus)
            }
            Element::NegMulAdd => {
                let minus = self.b.ins().fneg(a);
                self.b.ins().fma(minus, b, c)
            }
        }
    }

    fn clip_mask(&mut self, lo: Bits, hi: Bits, boundary: Boundary, x: Value) -> Value {
        let zero = self.splat_number(0.0);
        let low = self.splat_number(lo.get() as f32);
        let high = self.splat_number(hi.get() as f32);
        let inside = |this: &mut Self, above: FloatCC, below: FloatCC| {
            let under = this.truth(below, x, high);
            this.choose(above, x, low, under, zero)
        };
        match boundary {
            Boundary::Inclusive => {
                inside(self, FloatCC::GreaterThanOrEqual, FloatCC::LessThanOrEqual)
            }
            Boundary::Exclusive => inside(self, FloatCC::GreaterThan, FloatCC::LessThan),
            Boundary::Half => {
                let closed = inside(self, FloatCC::GreaterThanOrEqual, FloatCC::LessThanOrEqual);
                let open = inside(self, FloatCC::GreaterThan, FloatCC::LessThan);
                let sum = self.b.ins().fadd(closed, open);
                let half = self.splat_number(0.5);
                self.b.ins().fmul(half, sum)
            }
            Boundary::StraightThrough => self.splat_number(1.0),
        }
    }
}

fn bits() -> MemFlags {
    MemFlags::new().with_endianness(Endianness::Little)
}
