//! The operations on elements, and single numbers as all elements of a vector.

use super::super::code::Element;
use super::emit::{Emitter, Width};
use crate::ir::{Binary, Boundary, Unary};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{types, Endianness, InstBuilder, MemFlags, Value};

impl Emitter<'_> {
    pub(super) fn splat_number(&mut self, x: f32, width: Width) -> Value {
        let scalar = self.b.ins().f32const(x);
        self.splat(scalar, width)
    }

    pub(super) fn splat(&mut self, scalar: Value, width: Width) -> Value {
        match width {
            Width::Scalar => scalar,
            Width::Panel => self.b.ins().splat(types::F32X4, scalar),
        }
    }

    /// `x` where the comparison holds, else `y`.
    fn choose(
        &mut self,
        cc: FloatCC,
        a: Value,
        b: Value,
        x: Value,
        y: Value,
        width: Width,
    ) -> Value {
        let condition = self.b.ins().fcmp(cc, a, b);
        match width {
            Width::Scalar => self.b.ins().select(condition, x, y),
            Width::Panel => {
                let mask = self.b.ins().bitcast(types::F32X4, bits(), condition);
                self.b.ins().bitselect(mask, x, y)
            }
        }
    }

    fn truth(&mut self, cc: FloatCC, a: Value, b: Value, width: Width) -> Value {
        let one = self.splat_number(1.0, width);
        let zero = self.splat_number(0.0, width);
        self.choose(cc, a, b, one, zero, width)
    }

    /// One part of one operation; the same results as [`super::super::machine`], bit by bit.
    pub(super) fn element(
        &mut self,
        f: Element,
        width: Width,
        a: Value,
        b: Value,
        c: Value,
    ) -> Value {
        let zero = self.splat_number(0.0, width);
        match f {
            Element::Copy => a,
            Element::Unary(f) => match f {
                Unary::Neg => self.b.ins().fneg(a),
                Unary::Relu => self.choose(FloatCC::LessThan, a, zero, zero, a, width),
                Unary::Sqrt => self.b.ins().sqrt(a),
                Unary::Abs => {
                    let minus = self.b.ins().fneg(a);
                    self.choose(FloatCC::LessThan, a, zero, minus, a, width)
                }
                Unary::Sign => {
                    let above = self.truth(FloatCC::GreaterThan, a, zero, width);
                    let below = self.truth(FloatCC::LessThan, a, zero, width);
                    self.b.ins().fsub(above, below)
                }
                Unary::Square => self.b.ins().fmul(a, a),
                Unary::Recip => {
                    let one = self.splat_number(1.0, width);
                    self.b.ins().fdiv(one, a)
                }
                Unary::Not => self.truth(FloatCC::Equal, a, zero, width),
                Unary::Tanh
                | Unary::Sigmoid
                | Unary::Softplus
                | Unary::Exp
                | Unary::Log
                | Unary::Sin
                | Unary::Cos => a,
            },
            Element::Binary(f) => match f {
                Binary::Add => self.b.ins().fadd(a, b),
                Binary::Sub => self.b.ins().fsub(a, b),
                Binary::Mul => self.b.ins().fmul(a, b),
                Binary::Div => self.b.ins().fdiv(a, b),
                Binary::Min => self.choose(FloatCC::LessThan, b, a, b, a, width),
                Binary::Max => self.choose(FloatCC::LessThan, a, b, b, a, width),
                Binary::Less => self.truth(FloatCC::LessThan, a, b, width),
                Binary::LessEqual => self.truth(FloatCC::LessThanOrEqual, a, b, width),
                Binary::Equal => self.truth(FloatCC::Equal, a, b, width),
                Binary::And => {
                    let right = self.truth(FloatCC::NotEqual, b, zero, width);
                    self.choose(FloatCC::NotEqual, a, zero, right, zero, width)
                }
                Binary::Or => {
                    let right = self.truth(FloatCC::NotEqual, b, zero, width);
                    let one = self.splat_number(1.0, width);
                    self.choose(FloatCC::NotEqual, a, zero, one, right, width)
                }
                Binary::Pow => a,
            },
            Element::Select => self.choose(FloatCC::Equal, a, zero, c, b, width),
            Element::Clip(lo, hi) => {
                let lo = self.splat_number(lo as f32, width);
                let hi = self.splat_number(hi as f32, width);
                let x = self.choose(FloatCC::LessThan, a, lo, lo, a, width);
                self.choose(FloatCC::GreaterThan, x, hi, hi, x, width)
            }
            Element::ClipMask(lo, hi, boundary) => self.clip_mask(lo, hi, boundary, a, width),
        }
    }

    fn clip_mask(&mut self, lo: f64, hi: f64, boundary: Boundary, x: Value, width: Width) -> Value {
        let zero = self.splat_number(0.0, width);
        let low = self.splat_number(lo as f32, width);
        let high = self.splat_number(hi as f32, width);
        let inside = |this: &mut Self, above: FloatCC, below: FloatCC| {
            let under = this.truth(below, x, high, width);
            this.choose(above, x, low, under, zero, width)
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
                let half = self.splat_number(0.5, width);
                self.b.ins().fmul(half, sum)
            }
            Boundary::StraightThrough => self.splat_number(1.0, width),
        }
    }
}

fn bits() -> MemFlags {
    MemFlags::new().with_endianness(Endianness::Little)
}
