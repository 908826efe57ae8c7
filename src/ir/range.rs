//! A range describes the numbers that a value can be: its bounds, and whether it can be 0, infinite or NaN.
//!
//! Kernels compute in 32 bits. A sum or product of finite numbers without known bounds counts as finite: a network whose
//! numbers pass 3e38 has diverged anyway. Exponentials and powers count as infinite unless their bounds say otherwise,
//! since `exp(89)` does not fit into 32 bits.

use super::op::{Binary, Unary};

/// The numbers a value can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// No number is less.
    pub lo: f64,
    /// No number is larger.
    pub hi: f64,
    /// True if it can be 0. A positive value has the lower bound 0 and `zero` is false.
    pub zero: bool,
    /// True if it can be infinite.
    pub infinite: bool,
    /// True if it can be NaN.
    pub nan: bool,
}

const LARGEST: f64 = f32::MAX as f64;
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

impl Range {
    /// Any finite number.
    pub const FINITE: Range = Range {
        lo: f64::NEG_INFINITY,
        hi: f64::INFINITY,
        zero: true,
        infinite: false,
        nan: false,
    };

    /// Anything.
    pub const ANY: Range = Range {
        infinite: true,
        nan: true,
        ..Range::FINITE
    };

    /// Between two numbers.
    pub fn between(lo: f64, hi: f64) -> Range {
        Range {
            lo,
            hi,
            ..Range::FINITE
        }
        .settled()
    }

    /// Exactly a number.
    pub fn exactly(number: f64) -> Range {
        if number.is_nan() {
            return Range::ANY;
        }
        Range {
            infinite: number.is_infinite(),
            ..Range::between(number, number)
        }
    }

    /// Returns true if it can be neither infinite nor NaN.
    pub fn is_finite(self) -> bool {
        !self.infinite && !self.nan
    }

    /// The number, if it is a single whole one.
    fn whole(self) -> Option<f64> {
        (self.lo == self.hi && self.lo.fract() == 0.0).then_some(self.lo)
    }

    /// Derives flags from the bounds: 0 lies outside, or a bound does not fit into 32 bits.
    fn settled(mut self) -> Range {
        if self.lo.is_nan() || self.lo < -LARGEST {
            self.infinite |= self.lo.is_finite();
            self.lo = f64::NEG_INFINITY;
        }
        if self.hi.is_nan() || self.hi > LARGEST {
            self.infinite |= self.hi.is_finite();
            self.hi = f64::INFINITY;
        }
        self.infinite &= self.lo == f64::NEG_INFINITY || self.hi == f64::INFINITY;
        // A smaller number may have been rounded to 0.
        self.zero &= self.lo < SMALLEST && self.hi > -SMALLEST;
        self
    }

    /// New bounds; it can be infinite or NaN as before.
    fn with(self, lo: f64, hi: f64) -> Range {
        Range {
            lo,
            hi,
            zero: true,
            ..self
        }
        .settled()
    }

    fn or_nan(mut self, nan: bool) -> Range {
        self.nan |= nan;
        self
    }

    /// The numbers of either range.
    pub fn or(self, other: Range) -> Range {
        Range {
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
            zero: self.zero || other.zero,
            infinite: self.infinite || other.infinite,
            nan: self.nan || other.nan,
        }
    }

    /// The same numbers without 0.
    pub fn without_zero(mut self) -> Range {
        self.zero = false;
        self
    }

    /// The numbers of both ranges.
    pub fn and(self, other: Range) -> Range {
        Range {
            lo: self.lo.max(other.lo),
            hi: self.hi.min(other.hi),
            zero: self.zero && other.zero,
            infinite: self.infinite && other.infinite,
            nan: self.nan && other.nan,
        }
        .settled()
    }

    /// The numbers of at least `lo`; NaN is none.
    pub fn at_least(self, lo: f64) -> Range {
        Range {
            lo: self.lo.max(lo),
            nan: false,
            ..self
        }
        .settled()
    }

    /// The numbers of at most `hi`; NaN is none.
    pub fn at_most(self, hi: f64) -> Range {
        Range {
            hi: self.hi.min(hi),
            nan: false,
            ..self
        }
        .settled()
    }

    /// The sum of `count` of them.
    pub fn sum(self, count: f64) -> Range {
        let both = self.lo < 0.0 && self.hi > 0.0;
        self.with(times(self.lo, count), times(self.hi, count))
            .or_nan(self.infinite && both)
    }

    /// `f(x)` for an increasing `f`.
    fn increasing(self, f: impl Fn(f64) -> f64) -> Range {
        self.with(f(self.lo), f(self.hi))
    }

    /// The same range cut to bounds that even infinite numbers are brought into.
    pub fn within(self, lo: f64, hi: f64) -> Range {
        Range {
            nan: self.nan,
            ..Range::between(self.lo.clamp(lo, hi), self.hi.clamp(lo, hi))
        }
    }

    fn negated(self) -> Range {
        Range {
            lo: -self.hi,
            hi: -self.lo,
            ..self
        }
    }

    fn magnitude(self) -> Range {
        let lo = if self.lo > 0.0 {
            self.lo
        } else {
            (-self.hi).max(0.0)
        };
        Range {
            lo,
            hi: self.hi.max(-self.lo),
            ..self
        }
    }

    fn reciprocal(self) -> Range {
        let over = |x: f64, at_zero: f64| if x == 0.0 { at_zero } else { 1.0 / x };
        let (lo, hi) = if self.lo >= 0.0 {
            (1.0 / self.hi, over(self.lo, f64::INFINITY))
        } else if self.hi <= 0.0 {
            (over(self.hi, f64::NEG_INFINITY), 1.0 / self.lo)
        } else {
            (f64::NEG_INFINITY, f64::INFINITY)
        };
        Range {
            lo,
            hi,
            zero: true,
            infinite: self.zero,
            nan: self.nan,
        }
        .settled()
    }

    fn plus(self, other: Range) -> Range {
        let opposite = (self.hi == f64::INFINITY && other.lo == f64::NEG_INFINITY)
            || (self.lo == f64::NEG_INFINITY && other.hi == f64::INFINITY);
        Range {
            lo: self.lo + other.lo,
            hi: self.hi + other.hi,
            zero: true,
            infinite: self.infinite || other.infinite,
            nan: self.nan || other.nan || (self.infinite && other.infinite && opposite),
        }
        .settled()
    }

    fn multiplied(self, other: Range) -> Range {
        let corners = [
            times(self.lo, other.lo),
            times(self.lo, other.hi),
            times(self.hi, other.lo),
            times(self.hi, other.hi),
        ];
        let zero_and_infinite = |a: Range, b: Range| a.infinite && b.zero;
        Range {
            lo: corners.into_iter().fold(f64::INFINITY, f64::min),
            hi: corners.into_iter().fold(f64::NEG_INFINITY, f64::max),
            zero: true,
            infinite: self.infinite || other.infinite,
            nan: self.nan
                || other.nan
                || zero_and_infinite(self, other)
                || zero_and_infinite(other, self),
        }
        .settled()
    }

    fn divided(self, other: Range) -> Range {
        let nothing = (self.zero && other.zero) || (self.infinite && other.infinite);
        self.multiplied(other.reciprocal()).or_nan(nothing)
    }

    fn power(self, exponent: Range) -> Range {
        let any = Range {
            lo: if self.lo >= 0.0 {
                0.0
            } else {
                f64::NEG_INFINITY
            },
            nan: self.nan || exponent.nan || self.lo < 0.0,
            ..Range::ANY
        };
        if let Some(whole) = exponent.whole().filter(|n| n.abs() <= 64.0) {
            let n = whole.abs() as i32;
            let positive = if n == 0 {
                Range::exactly(1.0)
            } else if n % 2 == 0 {
                let size = self.magnitude();
                size.with(size.lo.powi(n), size.hi.powi(n))
            } else {
                self.increasing(|x| x.powi(n))
            };
            return if whole < 0.0 {
                positive.reciprocal()
            } else {
                positive
            };
        }
        if exponent.lo == exponent.hi && exponent.lo >= 0.0 {
            let root = |x: f64| x.max(0.0).powf(exponent.lo);
            return self.increasing(root).or_nan(self.lo < 0.0);
        }
        if self.lo < SMALLEST || !self.is_finite() || !exponent.is_finite() {
            return any;
        }
        // The logarithm of a power is a product, so its extremes lie at corners.
        let corner = |a: f64, b: f64| times(a.ln(), b).exp();
        let corners = [
            corner(self.lo, exponent.lo),
            corner(self.lo, exponent.hi),
            corner(self.hi, exponent.lo),
            corner(self.hi, exponent.hi),
        ];
        let lo = corners.into_iter().fold(f64::INFINITY, f64::min);
        let hi = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
        Range {
            infinite: hi > LARGEST,
            ..Range::between(lo, hi)
        }
    }
}

/// The product of two bounds; 0 times an infinite bound is 0.
fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 {
        0.0
    } else {
        a * b
    }
}

/// The range of `f(x)`.
pub fn unary(f: Unary, x: Range) -> Range {
    match f {
        Unary::Neg => x.negated(),
        Unary::Tanh => x.increasing(f64::tanh).within(-1.0, 1.0),
        Unary::Sigmoid => x.increasing(|x| 1.0 / (1.0 + (-x).exp())).within(0.0, 1.0),
        Unary::Relu => x.increasing(|x| x.max(0.0)),
        Unary::Softplus => x.increasing(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        Unary::Exp => {
            let hi = x.hi.exp();
            Range {
                infinite: hi > LARGEST,
                ..x.with(x.lo.exp(), hi)
            }
        }
        Unary::Log => {
            let range = x.with(x.lo.max(0.0).ln(), x.hi.max(0.0).ln());
            Range {
                infinite: x.zero || x.infinite,
                nan: x.nan || x.lo < 0.0,
                ..range
            }
        }
        Unary::Sqrt => x.increasing(|x| x.max(0.0).sqrt()).or_nan(x.lo < 0.0),
        Unary::Abs => x.magnitude(),
        Unary::Sign => Range::between(-1.0, 1.0),
        Unary::Square => {
            let size = x.magnitude();
            size.with(size.lo * size.lo, size.hi * size.hi)
        }
        Unary::Recip => x.reciprocal(),
        Unary::Sin | Unary::Cos => Range::between(-1.0, 1.0).or_nan(!x.is_finite()),
        Unary::Not => Range::between(0.0, 1.0),
    }
}

/// The range of `f(a, b)`.
pub fn binary(f: Binary, a: Range, b: Range) -> Range {
    match f {
        Binary::Add => a.plus(b),
        Binary::Sub => a.plus(b.negated()),
        Binary::Mul => a.multiplied(b),
        Binary::Div => a.divided(b),
        Binary::Min | Binary::Max => {
            let either = a.or(b);
            // Beside a NaN the other operand is the result, wherever it lies.
            if a.nan || b.nan {
                return either;
            }
            let (lo, hi) = match f {
                Binary::Min => (a.lo.min(b.lo), a.hi.min(b.hi)),
                _ => (a.lo.max(b.lo), a.hi.max(b.hi)),
            };
            Range { lo, hi, ..either }.settled()
        }
        Binary::Pow => a.power(b),
        Binary::Less | Binary::LessEqual | Binary::Equal | Binary::And | Binary::Or => {
            Range::between(0.0, 1.0)
        }
    }
}
