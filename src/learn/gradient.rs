//! Scaling and clipping of gradients before the optimizer step.
//!
//! Threads share long gradients in pieces of a fixed length, so that results do not depend on the number of
//! threads.

use rayon::prelude::*;

/// The number of a parameter's elements that one thread processes at once.
pub const PIECE: usize = 1 << 14;

/// Multiplies each gradient by the factor of its parameter; a factor of 1 changes no bit.
pub fn scale(gradients: &mut [Vec<f32>], factors: &[f64]) {
    for (gradient, factor) in gradients.iter_mut().zip(factors) {
        if *factor != 1.0 {
            multiply(gradient, *factor);
        }
    }
}

fn multiply(gradient: &mut [f32], factor: f64) {
    gradient.par_chunks_mut(PIECE).for_each(|piece| {
        for value in piece {
            *value = (f64::from(*value) * factor) as f32;
        }
    });
}

/// The Euclidean norm of all gradients together, accumulated in f64 in a fixed order.
pub fn global_norm(gradients: &[Vec<f32>]) -> f64 {
    let mut total = 0.0;
    for gradient in gradients {
        let sums: Vec<f64> = gradient.par_chunks(PIECE).map(sum_of_squares).collect();
        total += sums.iter().sum::<f64>();
    }
    total.sqrt()
}

/// Sums squares in eight parallel sums: the order depends only on the length, and the additions overlap.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let mut chunks = values.chunks_exact(sums.len());
    for chunk in &mut chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    for (sum, value) in sums.iter_mut().zip(chunks.remainder()) {
        *sum += f64::from(*value) * f64::from(*value);
    }
    sums.iter().sum()
}

/// Scales all gradients so that their norm is at most `largest`; 0 means no bound. Returns the norm before
/// scaling. Gradients with a non-finite norm are unchanged, and the caller must not apply them.
pub fn clip_global_norm(gradients: &mut [Vec<f32>], largest: f64) -> f64 {
    let norm = global_norm(gradients);
    if largest > 0.0 && norm.is_finite() && norm > largest {
        let factor = largest / norm;
        for gradient in gradients {
            multiply(gradient, factor);
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::{clip_global_norm, global_norm, scale};

    #[test]
    fn norm_and_clip() {
        let mut gradients = vec![vec![3.0; 11], vec![], vec![-1.0]];
        assert_eq!(global_norm(&gradients), 10.0);
        assert_eq!(clip_global_norm(&mut gradients, 0.0), 10.0);
        assert_eq!(clip_global_norm(&mut gradients, 10.0), 10.0);
        assert_eq!(gradients[0][0], 3.0);
        assert_eq!(clip_global_norm(&mut gradients, 2.5), 10.0);
        assert_eq!((gradients[0][10], gradients[2][0]), (0.75, -0.25));
        assert!((global_norm(&gradients) - 2.5).abs() < 1e-7);
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_reported_and_left() {
        let mut gradients = vec![vec![1.0, f32::NAN]];
        assert!(clip_global_norm(&mut gradients, 0.1).is_nan());
        assert_eq!(gradients[0][0], 1.0);
        assert_eq!(
            clip_global_norm(&mut [vec![f32::INFINITY]], 0.1),
            f64::INFINITY
        );
        // Squares that overflow f32 do not overflow here.
        assert_eq!(global_norm(&[vec![3e30, 4e30]]) as f32, 5e30);
    }

    #[test]
    fn factors_go_to_their_parameters() {
        let mut gradients = vec![vec![2.0, 4.0], vec![0.1]];
        scale(&mut gradients, &[0.25, 1.0]);
        assert_eq!(gradients, [vec![0.5, 1.0], vec![0.1]]);
    }
}
