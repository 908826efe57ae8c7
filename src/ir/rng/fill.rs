//! Samples of the distributions that a spec can name.

use super::{Key, Place, Stream};
use crate::ir::{Draw, NoiseKind, NoiseSlot};

/// Fills `out` from `draw`. Element `k` uses index `k` of `place`, so a prefix of a longer vector has the
/// same values. `columns` is the last dimension, which places the diagonal of [`Draw::Identity`]. `out` has
/// at most 2³² elements.
pub fn fill(draw: &Draw, place: Place, columns: usize, out: &mut [f64]) {
    for (k, value) in out.iter_mut().enumerate() {
        let index = k as u32;
        *value = match *draw {
            Draw::Given(ref given) => given.values.get(k).copied().unwrap_or(0.0),
            Draw::Constant(constant) => constant,
            Draw::Uniform(low, high) => uniform(low, high, place.uniform(index)),
            Draw::Normal(mean, deviation) => mean + deviation * place.normal(index),
            Draw::Bernoulli(p) => f64::from(u8::from(place.bernoulli(index, p))),
            Draw::Identity(scale) => {
                let columns = columns.max(1);
                if k / columns == k % columns {
                    scale
                } else {
                    0.0
                }
            }
        };
    }
}

/// Draws the noise source with this number for a lane at a step. A mask is that of the first step, and is at its mean
/// where nothing is learned.
pub fn noise(
    slot: &NoiseSlot,
    number: usize,
    (seed, learn): (u64, bool),
    [iteration, step, lane]: [u32; 3],
    out: &mut [f64],
) {
    let step = match slot.kind {
        NoiseKind::Mask if !learn => {
            out.fill(slot.draw.mean());
            return;
        }
        NoiseKind::Mask => 0,
        NoiseKind::Step => step,
    };
    let key = Key::new(seed, Stream::Noise(number as u32));
    let columns = slot.dims.last().copied().unwrap_or(1);
    fill(&slot.draw, key.at(iteration, step, lane), columns, out);
}

/// Scales `unit` to `[low, high)`: rounding must not reach the open end.
fn uniform(low: f64, high: f64, unit: f64) -> f64 {
    let value = low + (high - low) * unit;
    if low < high && value >= high {
        high.next_down()
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::{fill, uniform};
    use crate::ir::rng::{Key, Place, Stream};
    use crate::ir::Draw;

    fn place() -> Place {
        Key::new(11, Stream::Init(5)).at(0, 0, 0)
    }

    #[test]
    fn identity_and_constant_are_what_they_say() {
        let mut out = [9.0; 9];
        fill(&Draw::Identity(2.0), place(), 3, &mut out);
        assert_eq!(out, [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0]);
        fill(&Draw::Constant(0.25), place(), 3, &mut out);
        assert_eq!(out, [0.25; 9]);
    }

    #[test]
    fn a_longer_vector_begins_with_the_shorter_one() {
        for draw in [
            Draw::Uniform(-1.0, 1.0),
            Draw::Normal(0.0, 1.0),
            Draw::Bernoulli(0.5),
        ] {
            let (mut short, mut long) = ([0.0; 7], [0.0; 30]);
            fill(&draw, place(), 1, &mut short);
            fill(&draw, place(), 1, &mut long);
            assert_eq!(short, long[..7]);
            assert!(long.iter().any(|x| *x != long[0]));
        }
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut out = vec![0.0; 40_000];
        let mut moments = |draw: Draw| {
            fill(&draw, place(), 1, &mut out);
            let mean = out.iter().sum::<f64>() / out.len() as f64;
            let square = out.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            (mean, square / out.len() as f64)
        };
        let (mean, variance) = moments(Draw::Uniform(2.0, 5.0));
        assert!((mean - 3.5).abs() < 0.03 && (variance - 0.75).abs() < 0.03);
        let (mean, variance) = moments(Draw::Normal(1.0, 3.0));
        assert!((mean - 1.0).abs() < 0.06 && (variance - 9.0).abs() < 0.3);
        let (mean, _) = moments(Draw::Bernoulli(0.2));
        assert!((mean - 0.2).abs() < 0.01);
    }

    #[test]
    fn the_upper_end_stays_open() {
        assert!(uniform(1.0, 1.0 + f64::EPSILON, 0.999_999) < 1.0 + f64::EPSILON);
        assert_eq!(uniform(3.0, 3.0, 0.4), 3.0);
    }
}
