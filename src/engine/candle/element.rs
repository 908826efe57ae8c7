//! Elementwise functions on Candle tensors of equal shapes.

use crate::ir::{Binary, Boundary, Unary};
use candle_core::{Result, Tensor};

pub(super) fn unary(f: Unary, x: &Tensor) -> Result<Tensor> {
    match f {
        Unary::Neg => x.neg(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => candle_nn::ops::sigmoid(x),
        Unary::Relu => relu(x),
        // max(x, 0) + log(1 + exp(-|x|)) does not overflow.
        Unary::Softplus => {
            let tail = x.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?;
            relu(x)?.add(&tail)
        }
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Abs => x.abs(),
        Unary::Sign => x.sign(),
        Unary::Square => x.sqr(),
        Unary::Recip => x.recip(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Not => x.eq(0.0)?.to_dtype(x.dtype()),
    }
}

pub(super) fn binary(f: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match f {
        Binary::Add => a.add(b),
        Binary::Sub => a.sub(b),
        Binary::Mul => a.mul(b),
        Binary::Div => a.div(b),
        Binary::Min => b.lt(a)?.where_cond(b, a),
        Binary::Max => a.lt(b)?.where_cond(b, a),
        Binary::Pow => power(a, b),
        Binary::Less => a.lt(b)?.to_dtype(a.dtype()),
        Binary::LessEqual => a.le(b)?.to_dtype(a.dtype()),
        Binary::Equal => a.eq(b)?.to_dtype(a.dtype()),
        Binary::And => truth(a)?.mul(&truth(b)?)?.to_dtype(a.dtype()),
        Binary::Or => truth(a)?.maximum(&truth(b)?)?.to_dtype(a.dtype()),
    }
}

/// The function `max(x, 0)`; NaN stays NaN, where Candle's own gives 0 and so hides it.
fn relu(x: &Tensor) -> Result<Tensor> {
    x.lt(0.0)?.where_cond(&x.zeros_like()?, x)
}

/// A condition: 1 where `x` is not 0, else 0.
pub(super) fn truth(x: &Tensor) -> Result<Tensor> {
    x.ne(0.0)
}

/// Computes `a ^ b` as `exp(b log |a|)`, with the sign of a whole power of a negative base. Candle's own
/// power of two tensors handles neither negative bases nor `0 ^ 0`.
pub(super) fn power(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let magnitude = b.mul(&a.abs()?.log()?)?.exp()?;
    let one = magnitude.ones_like()?;
    let magnitude = b.eq(0.0)?.where_cond(&one, &magnitude)?;

    let half = b.affine(0.5, 0.0)?;
    let even = half.floor()?.eq(&half)?;
    let whole = b.floor()?.eq(b)?;
    let undefined = one.affine(f64::NAN, 0.0)?;
    let signed = even.where_cond(&magnitude, &magnitude.neg()?)?;
    let of_negative = whole.where_cond(&signed, &undefined)?;
    a.lt(0.0)?.where_cond(&of_negative, &magnitude)
}

/// The derivative of clipping to `lo..hi` at `x`.
pub(super) fn clip_mask(x: &Tensor, lo: f64, hi: f64, boundary: Boundary) -> Result<Tensor> {
    let closed = || x.ge(lo)?.mul(&x.le(hi)?)?.to_dtype(x.dtype());
    let open = || x.gt(lo)?.mul(&x.lt(hi)?)?.to_dtype(x.dtype());
    match boundary {
        Boundary::Inclusive => closed(),
        Boundary::Exclusive => open(),
        Boundary::Half => closed()?.add(&open()?)?.affine(0.5, 0.0),
        Boundary::StraightThrough => x.ones_like(),
    }
}

#[cfg(test)]
mod tests {
    use super::{binary, unary};
    use crate::ir::{element, Binary, Unary};
    use candle_core::{Device, Tensor};

    /// Infinite numbers, both zeros and NaN, with ordinary ones.
    const NUMBERS: [f64; 7] = [
        f64::NAN,
        f64::NEG_INFINITY,
        -1.5,
        -0.0,
        0.0,
        2.0,
        f64::INFINITY,
    ];

    fn assert_same(found: &Tensor, expected: &[f64], what: &str) {
        let found = found.to_vec1::<f64>().unwrap();
        for (k, (a, b)) in found.iter().zip(expected).enumerate() {
            let same = a == b || (a.is_nan() && b.is_nan());
            assert!(same, "{what} of case {k}: {a} instead of {b}");
        }
    }

    #[test]
    fn nan_is_not_hidden() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let expected = NUMBERS.map(|x| element::unary(Unary::Relu, x));
        let found = unary(Unary::Relu, &tensor(&NUMBERS)).unwrap();
        assert_same(&found, &expected, "relu");
        for f in [Binary::Min, Binary::Max] {
            for a in NUMBERS {
                let expected = NUMBERS.map(|b| element::binary(f, a, b));
                let found = binary(f, &tensor(&[a; 7]), &tensor(&NUMBERS)).unwrap();
                assert_same(&found, &expected, &format!("{f:?} with {a}"));
            }
        }
    }
}
