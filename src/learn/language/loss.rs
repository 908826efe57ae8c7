//! Cross-entropy of the softmax over a vocabulary, in f32 and in place.

use crate::engine::fused::Real;
use crate::machine::dispatch;
use rayon::prelude::*;

/// The number of parallel sums and maxima.
const WIDTH: usize = 32;

/// The loss of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// The sum over words of `-log p(word)`, in nats.
    pub total: f64,
    /// The number of predicted words.
    pub words: f64,
}

impl Loss {
    /// The mean of `-log p`.
    pub fn mean(self) -> f64 {
        self.total / self.words.max(1.0)
    }
}

impl std::ops::AddAssign for Loss {
    fn add_assign(&mut self, other: Loss) {
        self.total += other.total;
        self.words += other.words;
    }
}

/// Turns logits, a row of `width` for every target, into derivatives of the mean loss over all rows with
/// weight 1; rows of weight 0 have derivative 0. Returns the loss.
pub fn cross_entropy(logits: &mut [f32], width: usize, targets: &[u32], weights: &[f32]) -> Loss {
    let words: f64 = weights.iter().map(|w| f64::from(*w)).sum();
    let scale = (1.0 / words.max(1.0)) as f32;
    let mut losses = vec![0.0f64; targets.len()];
    logits
        .par_chunks_exact_mut(width)
        .zip(targets)
        .zip(weights)
        .zip(&mut losses)
        .for_each(|(((row, target), weight), loss)| {
            if *weight == 0.0 {
                row.fill(0.0);
                return;
            }
            let target = *target as usize;
            let logit = row[target];
            let (mut largest, mut total) = (0.0, 0.0);
            exponentials(row, &mut largest, &mut total);
            *loss = f64::from(total).ln() + f64::from(largest) - f64::from(logit);
            scaled(row, scale / total);
            row[target] -= scale;
        });
    Loss {
        total: losses.iter().sum(),
        words,
    }
}

/// Computes `exp(x - largest)` in place, with the maximum and the sum, in an order that depends only on the
/// length.
fn exponentials(row: &mut [f32], largest: &mut f32, total: &mut f32) {
    dispatch!((row: &mut [f32], largest: &mut f32, total: &mut f32) {
        let mut most = [f32::NEG_INFINITY; WIDTH];
        let mut chunks = row.chunks_exact(WIDTH);
        for chunk in &mut chunks {
            for (most, x) in most.iter_mut().zip(chunk) {
                *most = if *x > *most { *x } else { *most };
            }
        }
        let rest = chunks.remainder().iter().copied();
        *largest = most.into_iter().chain(rest).fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0f32; WIDTH];
        let mut chunks = row.chunks_exact_mut(WIDTH);
        for chunk in &mut chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *x = Real::exp(*x - *largest);
                *sum += *x;
            }
        }
        for x in chunks.into_remainder() {
            *x = Real::exp(*x - *largest);
            *total += *x;
        }
        *total += sums.into_iter().sum::<f32>();
    })
}

fn scaled(row: &mut [f32], factor: f32) {
    dispatch!((row: &mut [f32], factor: f32) {
        for x in row {
            *x *= factor;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::cross_entropy;

    #[test]
    fn value_and_derivatives_by_their_definitions() {
        let width = 37;
        let logits: Vec<f32> = (0..3 * width)
            .map(|k| ((k * 29 % 53) as f32 - 26.0) / 7.0)
            .collect();
        let (targets, weights) = ([5, 36, 0], [1.0, 0.0, 1.0]);
        let mut adjoints = logits.clone();
        let loss = cross_entropy(&mut adjoints, width, &targets, &weights);
        let value = |logits: &[f32]| -> f64 {
            let mut sum = 0.0;
            for (row, (target, weight)) in logits.chunks(width).zip(targets.iter().zip(weights)) {
                let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
                sum += f64::from(weight) * (total.ln() - f64::from(row[*target as usize]));
            }
            sum
        };
        assert_eq!(loss.words, 2.0);
        assert!((loss.total - value(&logits)).abs() < 1e-5);
        for k in 0..3 * width {
            let h = 1e-2;
            let (mut above, mut below) = (logits.clone(), logits.clone());
            above[k] += h;
            below[k] -= h;
            let slope = (value(&above) - value(&below)) / f64::from(2.0 * h) / 2.0;
            assert!((slope - f64::from(adjoints[k])).abs() < 1e-4, "{k}");
        }
        let mut large = vec![3e4f32; 20];
        large[3] = -3e4;
        let loss = cross_entropy(&mut large, 20, &[3], &[1.0]);
        assert!(loss.total > 5.9e4 && large.iter().all(|x| x.is_finite()));
    }
}
