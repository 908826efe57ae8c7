//! What the element functions are, in f64: the definition that the oracle and everything computed ahead use.

use super::{Binary, Boundary, Unary};

/// `f(x)`.
pub(crate) fn unary(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Neg => -x,
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => sigmoid(x),
        Unary::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        // Neither branch of log(1 + exp x) overflows or loses small results.
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Abs => x.abs(),
        Unary::Sign => truth(x > 0.0) - truth(x < 0.0),
        Unary::Square => x * x,
        Unary::Recip => 1.0 / x,
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Not => truth(x == 0.0),
    }
}

/// `f(a, b)`.
pub(crate) fn binary(f: Binary, a: f64, b: f64) -> f64 {
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
        Binary::Pow => a.powf(b),
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Equal => truth(a == b),
        Binary::And => truth(a != 0.0 && b != 0.0),
        Binary::Or => truth(a != 0.0 || b != 0.0),
    }
}

/// `min(max(x, lo), hi)`; not a number stays so, a diverged trace is not hidden.
pub(crate) fn clip(x: f64, lo: f64, hi: f64) -> f64 {
    if x < lo {
        lo
    } else if x > hi {
        hi
    } else {
        x
    }
}

/// The derivative of [`clip`].
pub(crate) fn clip_mask(x: f64, lo: f64, hi: f64, boundary: Boundary) -> f64 {
    let inside = x > lo && x < hi;
    let on_bound = x == lo || x == hi;
    match boundary {
        Boundary::Inclusive => truth(inside || on_bound),
        Boundary::Exclusive => truth(inside),
        Boundary::Half => {
            if on_bound {
                0.5
            } else {
                truth(inside)
            }
        }
        Boundary::StraightThrough => 1.0,
    }
}

fn sigmoid(x: f64) -> f64 {
    // The exponential is of a number that is not positive, so it cannot overflow.
    let small = (-x.abs()).exp();
    if x < 0.0 {
        small / (1.0 + small)
    } else {
        1.0 / (1.0 + small)
    }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_and_softplus_keep_their_tails() {
        assert_eq!(unary(Unary::Sigmoid, -800.0), 0.0);
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
