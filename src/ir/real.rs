//! Numbers of both precisions, with functions written so that loops over them vectorize.

/// A floating-point number of either precision.
pub trait Real:
    Copy
    + Send
    + Sync
    + PartialOrd
    + Default
    + std::fmt::Debug
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + 'static
{
    /// The number 0.
    const ZERO: Self;
    /// The number 1.
    const ONE: Self;
    /// Converts from f64, rounding to the nearest.
    fn from_f64(x: f64) -> Self;
    /// Converts to f64 exactly.
    fn to_f64(self) -> f64;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The exponential.
    fn exp(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The fused multiply-add `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Applies a function in f64 that needs no vector code.
    fn through_f64(self, f: impl Fn(f64) -> f64) -> Self {
        Self::from_f64(f(self.to_f64()))
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;

    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }

    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }

    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }

    #[inline(always)]
    fn mul_add(self, a: f64, b: f64) -> f64 {
        f64::mul_add(self, a, b)
    }
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;

    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn tanh(self) -> f32 {
        tanh_f32(self)
    }

    #[inline(always)]
    fn exp(self) -> f32 {
        exp_f32(self)
    }

    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }
}

/// Computes `exp x` without branches: `2^k · e^r`, where `k` is the whole number nearest to `x / log 2`.
/// `e^r` is its Taylor series to the seventh order, exact to the last bit or two for `|r| ≤ log(2) / 2`.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // log 2 is split in two; the first part has few enough bits that its product with k is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let inside = x.clamp(-87.3, 88.7);
    // Adding and subtracting 1.5 · 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let k = (inside * LOG2_E + ROUND) - ROUND;
    let r = (inside - k * LN2_HIGH) - k * LN2_LOW;
    let mut series = 1.0 / 5040.0;
    series = series * r + 1.0 / 720.0;
    series = series * r + 1.0 / 120.0;
    series = series * r + 1.0 / 24.0;
    series = series * r + 1.0 / 6.0;
    series = series * r + 0.5;
    series = series * r + 1.0;
    series = series * r + 1.0;
    // 2^k is split in two factors, so that neither leaves the range of exponents.
    let half = (k * 0.5 + ROUND) - ROUND;
    let power = |n: f32| f32::from_bits(((n as i32 + 127) << 23) as u32);
    let value = series * power(half) * power(k - half);
    // NaN stays NaN; beyond the range the result is 0 or infinity.
    let value = if x < -103.9 { 0.0 } else { value };
    let value = if x > 88.722_84 { f32::INFINITY } else { value };
    if x.is_nan() {
        x
    } else {
        value
    }
}

/// Computes `tanh x` without branches: its Taylor series near 0, else `1 - 2 / (exp(2 |x|) + 1)` with the
/// sign of `x`.
#[inline(always)]
fn tanh_f32(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let mut series = 1382.0 / 155_925.0;
    series = series * -square + 62.0 / 2835.0;
    series = series * -square + 17.0 / 315.0;
    series = series * -square + 2.0 / 15.0;
    series = series * -square + 1.0 / 3.0;
    let near = x - x * square * series;
    let far = 1.0 - 2.0 / (exp_f32(2.0 * size.min(20.0)) + 1.0);
    let far = if x < 0.0 { -far } else { far };
    let value = if size < 0.35 { near } else { far };
    if x.is_nan() {
        x
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_and_exp_are_right_to_a_few_units_in_the_last_place() {
        let (mut worst_tanh, mut worst_exp) = (0.0f64, 0.0f64);
        for k in -400_000..=400_000 {
            let x = k as f32 * 2.5e-5;
            let exact = f64::from(x).tanh();
            let error = (f64::from(Real::tanh(x)) - exact).abs() / exact.abs().max(1e-30);
            worst_tanh = worst_tanh.max(if k == 0 { 0.0 } else { error });
            let y = k as f32 * 2e-4;
            let exact = f64::from(y).exp();
            worst_exp = worst_exp.max((f64::from(Real::exp(y)) - exact).abs() / exact);
        }
        assert!(worst_tanh < 4e-7, "{worst_tanh}");
        assert!(worst_exp < 4e-7, "{worst_exp}");
    }

    #[test]
    fn ends_of_the_range_and_what_is_no_number() {
        assert_eq!(Real::exp(-200.0f32), 0.0);
        assert_eq!(Real::exp(100.0f32), f32::INFINITY);
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert!(Real::exp(f32::NAN).is_nan() && Real::tanh(f32::NAN).is_nan());
        assert_eq!(Real::tanh(f32::INFINITY), 1.0);
        assert_eq!(Real::tanh(-50.0f32), -1.0);
        assert_eq!(Real::tanh(0.0f32), 0.0);
    }
}
