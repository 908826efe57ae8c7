//! Functions that need a series, expanded to operations of the CPU.
//!
//! The formulas are those of [`crate::ir::Real`], so a sweep gives the same results up to rounding with
//! and without machine code.

use crate::ir::{Binary, Bits, Unary};
use crate::program::code::{Element, Source, Sweep};
use crate::program::sweep::SweepBuilder;

/// The sweep with `tanh`, `exp` and `sigmoid` expanded; other series stay.
pub fn expand(sweep: &Sweep) -> Sweep {
    let series =
        |f: Element| matches!(f, Element::Unary(Unary::Tanh | Unary::Exp | Unary::Sigmoid));
    if !sweep.ops.iter().any(|op| series(op.f)) {
        return sweep.clone();
    }
    let mut out = Writer(SweepBuilder::new(sweep.name, sweep.layout));
    let mut values = vec![Source::Temporary(usize::MAX); sweep.temporaries];
    for op in &sweep.ops {
        let operands = op.operands.map(|source| found(&values, source));
        let x = operands[0];
        values[op.to] = match op.f {
            Element::Unary(Unary::Tanh) => out.tanh(x),
            Element::Unary(Unary::Exp) => out.exp(x),
            Element::Unary(Unary::Sigmoid) => out.sigmoid(x),
            f => out.0.add(f, operands),
        };
    }
    for root in &sweep.roots {
        let value = found(&values, root.value);
        let times = root.times.map(|times| found(&values, times));
        out.0.product(root.kind, value, times);
    }
    out.0.finish()
}

fn found(values: &[Source], source: Source) -> Source {
    match source {
        Source::Temporary(k) => values[k],
        other => other,
    }
}

struct Writer(SweepBuilder);

fn number(x: f32) -> Source {
    Source::Number(x.to_bits())
}

impl Writer {
    fn one(&mut self, f: Element, x: Source) -> Source {
        self.0.add(f, [x; 3])
    }

    fn two(&mut self, f: Binary, x: Source, y: Source) -> Source {
        self.0.add(Element::Binary(f), [x, y, x])
    }

    /// Adds `x y + z`.
    fn mul_add(&mut self, x: Source, y: Source, z: Source) -> Source {
        self.0.add(Element::MulAdd, [x, y, z])
    }

    /// Adds `z - x y`.
    fn neg_mul_add(&mut self, x: Source, y: Source, z: Source) -> Source {
        self.0.add(Element::NegMulAdd, [x, y, z])
    }

    fn choose(&mut self, c: Source, x: Source, y: Source) -> Source {
        self.0.add(Element::Select, [c, x, y])
    }

    /// Adds the rounding of a small number to a whole number.
    fn round(&mut self, x: Source) -> Source {
        // Adding and subtracting 1.5 · 2^23 rounds to a whole number.
        let shift = number(12_582_912.0);
        let up = self.two(Binary::Add, x, shift);
        self.two(Binary::Sub, up, shift)
    }

    /// Adds `2^k e^r` with `k` and `e^r` separate, for `x` inside the range of exponents.
    fn parts(&mut self, x: Source) -> (Source, Source) {
        let scaled = self.two(Binary::Mul, x, number(std::f32::consts::LOG2_E));
        let k = self.round(scaled);
        let r = self.neg_mul_add(k, number(0.693_359_4), x);
        let r = self.neg_mul_add(k, number(-2.121_944_4e-4), r);
        let mut series = number(1.0 / 5040.0);
        for c in [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            series = self.mul_add(series, r, number(c));
        }
        (k, series)
    }

    fn exp(&mut self, x: Source) -> Source {
        let clip = Element::Clip(Bits::from(-87.3), Bits::from(88.7));
        let inside = self.one(clip, x);
        let (k, series) = self.parts(inside);
        // Two factors ensure that neither leaves the range of exponents.
        let half = self.two(Binary::Mul, k, number(0.5));
        let half = self.round(half);
        let rest = self.two(Binary::Sub, k, half);
        let first = self.one(Element::PowerOfTwo, half);
        let second = self.one(Element::PowerOfTwo, rest);
        let value = self.two(Binary::Mul, series, first);
        let value = self.two(Binary::Mul, value, second);
        let under = self.two(Binary::Less, x, number(-103.9));
        let value = self.choose(under, number(0.0), value);
        let over = self.two(Binary::Less, number(88.722_84), x);
        self.choose(over, number(f32::INFINITY), value)
    }

    fn tanh(&mut self, x: Source) -> Source {
        let size = self.one(Element::Unary(Unary::Abs), x);
        let square = self.two(Binary::Mul, x, x);
        let mut series = number(1382.0 / 155_925.0);
        for c in [62.0 / 2835.0, 17.0 / 315.0, 2.0 / 15.0, 1.0 / 3.0] {
            series = self.neg_mul_add(series, square, number(c));
        }
        let cube = self.two(Binary::Mul, x, square);
        let near = self.neg_mul_add(cube, series, x);
        let bounded = self.two(Binary::Min, size, number(20.0));
        let double = self.two(Binary::Add, bounded, bounded);
        let (k, series) = self.parts(double);
        let power = self.one(Element::PowerOfTwo, k);
        // 1 - 2 / (exp(2 |x|) + 1)
        let below = self.mul_add(series, power, number(1.0));
        let part = self.two(Binary::Div, number(2.0), below);
        let far = self.two(Binary::Sub, number(1.0), part);
        let minus = self.one(Element::Unary(Unary::Neg), far);
        let negative = self.two(Binary::Less, x, number(0.0));
        let far = self.choose(negative, minus, far);
        let small = self.two(Binary::Less, size, number(0.35));
        self.choose(small, near, far)
    }

    fn sigmoid(&mut self, x: Source) -> Source {
        let size = self.one(Element::Unary(Unary::Abs), x);
        let minus = self.one(Element::Unary(Unary::Neg), size);
        // The exponential of a nonpositive number never overflows.
        let small = self.exp(minus);
        let negative = self.two(Binary::Less, x, number(0.0));
        let above = self.choose(negative, small, number(1.0));
        let below = self.two(Binary::Add, number(1.0), small);
        self.two(Binary::Div, above, below)
    }
}
