//! Functions that need a series, with the operations of [`crate::ir::Real`] in their order.

use super::values::{How, Id, Node, Two, Values};
use crate::machine::x86::values::{BIAS, HALF, ONE, SIGN, SIZE, ZERO};

impl Values {
    /// The nearest whole number of a small one: adding and subtracting 1.5 · 2^23 rounds.
    fn round(&mut self, x: Id) -> Id {
        let shift = self.number(12_582_912.0);
        let up = self.two(Two::Add, x, shift);
        self.two(Two::Sub, up, shift)
    }

    /// The power `2^n` of a whole number.
    fn power(&mut self, n: Id) -> Id {
        let n = self.node(Node::Whole(n));
        let bias = self.bits(BIAS);
        let n = self.two(Two::AddWhole, n, bias);
        self.node(Node::Exponent(n))
    }

    /// The numbers `k` and `e^r` with `e^x = 2^k e^r`, for `x` inside the range of exponents.
    fn parts(&mut self, x: Id) -> (Id, Id) {
        let log = self.number(std::f32::consts::LOG2_E);
        let scaled = self.two(Two::Mul, x, log);
        let k = self.round(scaled);
        let mut r = x;
        for part in [0.693_359_4, -2.121_944_4e-4] {
            let part = self.number(part);
            let part = self.two(Two::Mul, k, part);
            r = self.two(Two::Sub, r, part);
        }
        let mut series = self.number(1.0 / 5040.0);
        for c in [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            let c = self.number(c);
            let product = self.two(Two::Mul, series, r);
            series = self.two(Two::Add, product, c);
        }
        (k, series)
    }

    pub(super) fn exp(&mut self, x: Id) -> Id {
        let (lo, hi) = (self.number(-87.3), self.number(88.7));
        let inside = self.clip(x, lo, hi);
        let (k, series) = self.parts(inside);
        let half = self.bits(HALF);
        let half = self.two(Two::Mul, k, half);
        let half = self.round(half);
        let rest = self.two(Two::Sub, k, half);
        let (first, second) = (self.power(half), self.power(rest));
        let value = self.two(Two::Mul, series, first);
        let value = self.two(Two::Mul, value, second);
        let (least, zero) = (self.number(-103.9), self.bits(ZERO));
        let under = self.compare(How::Less, x, least);
        let value = self.node(Node::Blend([under, zero, value]));
        let (most, infinite) = (self.number(88.722_84), self.number(f32::INFINITY));
        let over = self.compare(How::Greater, x, most);
        self.node(Node::Blend([over, infinite, value]))
    }

    pub(super) fn tanh(&mut self, x: Id) -> Id {
        let size = self.bits(SIZE);
        let size = self.two(Two::And, x, size);
        let square = self.two(Two::Mul, x, x);
        let mut series = self.number(1382.0 / 155_925.0);
        for c in [62.0 / 2835.0, 17.0 / 315.0, 2.0 / 15.0, 1.0 / 3.0] {
            let c = self.number(c);
            let product = self.two(Two::Mul, series, square);
            series = self.two(Two::Sub, c, product);
        }
        let cube = self.two(Two::Mul, x, square);
        let cube = self.two(Two::Mul, cube, series);
        let near = self.two(Two::Sub, x, cube);
        let (most, one, two) = (self.number(20.0), self.bits(ONE), self.number(2.0));
        // The exponent is between 0 and 40: one power has it, and nothing is beyond the range.
        let bounded = self.two(Two::Min, size, most);
        let double = self.two(Two::Add, bounded, bounded);
        let (k, series) = self.parts(double);
        let power = self.power(k);
        let exp = self.two(Two::Mul, series, power);
        let below = self.two(Two::Add, exp, one);
        let part = self.two(Two::Div, two, below);
        let far = self.two(Two::Sub, one, part);
        let sign = self.bits(SIGN);
        let sign = self.two(Two::And, x, sign);
        let far = self.two(Two::Xor, far, sign);
        // False for NaN, which the series passes on.
        let limit = self.number(0.35);
        let is_far = self.compare(How::GreaterEqual, size, limit);
        self.node(Node::Blend([is_far, far, near]))
    }

    pub(super) fn sigmoid(&mut self, x: Id) -> Id {
        let (size, sign) = (self.bits(SIZE), self.bits(SIGN));
        let size = self.two(Two::And, x, size);
        let minus = self.two(Two::Xor, size, sign);
        // The exponential of a nonpositive number never overflows.
        let small = self.exp(minus);
        let (zero, one) = (self.bits(ZERO), self.bits(ONE));
        let negative = self.compare(How::Less, x, zero);
        let above = self.node(Node::Blend([negative, small, one]));
        let below = self.two(Two::Add, one, small);
        self.two(Two::Div, above, below)
    }
}
