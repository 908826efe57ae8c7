//! Optimisers in the language of generated kernels.

use std::fmt::Write;

/// An optimiser in the C of `prelude.h` (`backend/fused/device`). It defines
///
/// ```c
/// DEVICE float optimizer_step(float value, float gradient, const float *rates, float *moments);
/// ```
///
/// which gives a parameter's element after a step and changes its `moments`. `rates` are what
/// [`Optimizer::rates`](crate::learn::optim::Optimizer::rates) says of the step.
#[derive(Clone, Debug)]
pub struct OptimizerSource {
    /// Settings, as `#define`s.
    pub settings: String,
    /// The function.
    pub source: &'static str,
    /// Moments of an element.
    pub moments: usize,
}

impl OptimizerSource {
    /// Definitions of `OPTIMIZER_NAME`, in the f32 that optimisers compute in.
    pub fn settings(settings: &[(&str, f32)]) -> String {
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "#define OPTIMIZER_{name} ({value:e}f)").expect("writing to a string");
        }
        text
    }
}
