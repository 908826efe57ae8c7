//! The step of an optimizer, written once: Rust for the host, the same text as C for devices.

use super::OptimizerState;
use crate::learn::gradient::PIECE;
use crate::machine::device::{OptimizerSource, RATES};
use rayon::prelude::*;

/// The step of every element of every parameter.
pub trait Formula: Send + Sync {
    /// Makes the step on the host. Threads share the elements.
    fn step(
        &self,
        rates: [f32; RATES],
        state: &mut OptimizerState,
        parameters: &mut [&mut [f32]],
        gradients: &[Vec<f32>],
    );

    /// The step in C.
    fn device(&self) -> OptimizerSource;
}

/// The square root, by its name in C.
pub(super) fn sqrtf(x: f32) -> f32 {
    x.sqrt()
}

/// A [`Formula`] from assignments that are both Rust and C: of numbers to the parameter's `value`, its `gradient` and its
/// moments. Settings are the same for all steps, rates are those of
/// [`Optimizer::rates`](super::Optimizer::rates) from the first on.
macro_rules! formula {
    (
        $(#[$doc:meta])*
        $name:ident { $($setting:ident),* } rates [$($rate:ident),*] moments [$($moment:ident),*]
        ($value:ident, $gradient:ident) { $($to:ident = $from:expr;)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        struct $name {
            $($setting: f32,)*
        }

        impl Formula for $name {
            fn step(
                &self,
                rates: [f32; RATES],
                state: &mut OptimizerState,
                parameters: &mut [&mut [f32]],
                gradients: &[Vec<f32>],
            ) {
                let Self { $($setting),* } = *self;
                let [$($rate,)* ..] = rates;
                each_element(
                    state,
                    parameters,
                    gradients,
                    |mut $value: f32, mut $gradient: f32, [$(mut $moment),*]| {
                        $($to = $from;)*
                        let _ = $gradient;
                        ($value, [$($moment),*])
                    },
                );
            }

            fn device(&self) -> $crate::machine::device::OptimizerSource {
                let moments: &[&str] = &[$(stringify!($moment)),*];
                $crate::machine::device::OptimizerSource::new(
                    &[$((stringify!($setting), self.$setting)),*],
                    &[$(stringify!($rate)),*],
                    moments,
                    &[$(concat!(stringify!($to), " = ", stringify!($from))),*],
                )
            }
        }
    };
}

pub(super) use formula;

/// Calls `step` with the value, the gradient and the moments of each element.
pub(super) fn each_element<const M: usize>(
    state: &mut OptimizerState,
    parameters: &mut [&mut [f32]],
    gradients: &[Vec<f32>],
    step: impl Fn(f32, f32, [f32; M]) -> (f32, [f32; M]) + Sync,
) {
    for (k, (parameter, gradient)) in parameters.iter_mut().zip(gradients).enumerate() {
        let mut all = state.moments.iter_mut();
        let mut moments: [_; M] = std::array::from_fn(|_| {
            let moment = all
                .next()
                .expect("the state has the moments of the formula");
            moment.values[k].chunks_mut(PIECE)
        });
        let pieces = parameter.chunks_mut(PIECE).zip(gradient.chunks(PIECE));
        let pieces: Vec<_> = pieces
            .map(|(values, gradient)| {
                let moments = moments.each_mut().map(|moment| {
                    let piece = moment.next();
                    piece.expect("moments are as long as their parameter")
                });
                (values, gradient, moments)
            })
            .collect();
        pieces
            .into_par_iter()
            .for_each(|(values, gradient, moments)| {
                let (n, gradient) = (values.len(), &gradient[..values.len()]);
                let moments = moments.map(|moment| &mut moment[..n]);
                for k in 0..n {
                    let before = std::array::from_fn(|m| moments[m][k]);
                    let (value, after) = step(values[k], gradient[k], before);
                    values[k] = value;
                    for m in 0..M {
                        moments[m][k] = after[m];
                    }
                }
            });
    }
}
