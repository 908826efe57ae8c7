//! The values of the element functions, for all that computes them on the CPU: the oracle in f64, kernels in f32.

use super::{Binary, Boundary, Real, Unary};

#[inline(always)]
fn truth<T: Real>(condition: bool) -> T {
    if condition {
        T::ONE
    } else {
        T::ZERO
    }
}

/// The function `f(x)`.
#[inline(always)]
pub(crate) fn unary<T: Real>(f: Unary, x: T) -> T {
    match f {
        Unary::Neg => -x,
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => {
            // The exponential of a nonpositive number never overflows.
            let small = if x < T::ZERO { x } else { -x }.exp();
            let numerator = if x < T::ZERO { small } else { T::ONE };
            numerator / (T::ONE + small)
        }
        Unary::Relu => {
            if x < T::ZERO {
                T::ZERO
            } else {
                x
            }
        }
        // Neither branch overflows or loses small results.
        Unary::Softplus => x.through_f64(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        Unary::Exp => x.exp(),
        Unary::Log => x.through_f64(f64::ln),
        Unary::Sqrt => x.through_f64(f64::sqrt),
        Unary::Abs => x.abs(),
        Unary::Sign => truth::<T>(x > T::ZERO) - truth::<T>(x < T::ZERO),
        Unary::Square => x * x,
        Unary::Recip => T::ONE / x,
        Unary::Sin => x.through_f64(f64::sin),
        Unary::Cos => x.through_f64(f64::cos),
        Unary::Not => truth(x == T::ZERO),
    }
}

/// The function `f(a, b)`.
#[inline(always)]
pub(crate) fn binary<T: Real>(f: Binary, a: T, b: T) -> T {
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Min => {
            if b < a {
                b
            } else {
                a
            }
        }
        Binary::Max => {
            if a < b {
                b
            } else {
                a
            }
        }
        Binary::Pow => T::from_f64(a.to_f64().powf(b.to_f64())),
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Equal => truth(a == b),
        Binary::And => truth(a != T::ZERO && b != T::ZERO),
        Binary::Or => truth(a != T::ZERO || b != T::ZERO),
    }
}

/// The clip `min(max(x, lo), hi)`. NaN stays NaN, so that a diverged trace is not hidden.
#[inline(always)]
pub(crate) fn clip<T: Real>(x: T, lo: T, hi: T) -> T {
    let x = if x < lo { lo } else { x };
    if x > hi {
        hi
    } else {
        x
    }
}

/// The derivative of [`clip`].
#[inline(always)]
pub(crate) fn clip_mask<T: Real>(x: T, lo: T, hi: T, boundary: Boundary) -> T {
    match boundary {
        Boundary::Inclusive => truth(x >= lo && x <= hi),
        Boundary::Exclusive => truth(x > lo && x < hi),
        Boundary::Half => {
            let half = T::from_f64(0.5);
            half * (truth::<T>(x >= lo && x <= hi) + truth::<T>(x > lo && x < hi))
        }
        Boundary::StraightThrough => T::ONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_and_softplus_keep_their_tails() {
        assert_eq!(unary(Unary::Sigmoid, -800.0f64), 0.0);
        assert_eq!(unary(Unary::Sigmoid, 800.0), 1.0);
        assert_eq!(unary(Unary::Softplus, 800.0), 800.0);
        let tail = (-40.0_f64).exp();
        assert!((unary(Unary::Softplus, -40.0) / tail - 1.0).abs() < 1e-15);
        assert!((unary(Unary::Sigmoid, -40.0) / tail - 1.0).abs() < 1e-15);
    }

    #[test]
    fn clip_derivatives_on_and_around_the_bounds() {
        let rows = [
            (Boundary::Inclusive, [0.0, 1.0, 1.0, 1.0, 0.0]),
            (Boundary::Exclusive, [0.0, 0.0, 1.0, 0.0, 0.0]),
            (Boundary::Half, [0.0, 0.5, 1.0, 0.5, 0.0]),
            (Boundary::StraightThrough, [1.0; 5]),
        ];
        for (boundary, slopes) in rows {
            let at = [-1.5, -1.0, 0.3, 1.0, 1.5];
            assert_eq!(at.map(|x| clip_mask(x, -1.0, 1.0, boundary)), slopes);
        }
        assert!(clip(f64::NAN, -1.0, 1.0).is_nan());
    }
}
