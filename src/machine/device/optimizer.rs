//! Optimizers in the language of generated kernels.

use std::fmt::Write;

/// An optimizer in the C of `prelude.h` (`engine/fused/device`). It defines
///
/// ```c
/// DEVICE float optimizer_step(float value, float gradient, const float *rates, float *moments);
/// ```
///
/// which returns the value of a parameter's element after a step and changes its `moments`. `rates` are the
/// scalars that
/// [`Optimizer::rates`](crate::learn::optim::Optimizer::rates) returns for the step.
#[derive(Clone, Debug)]
pub struct OptimizerSource {
    /// The settings, as `#define`s.
    pub settings: String,
    /// The function.
    pub source: &'static str,
    /// The number of moments per element.
    pub moments: usize,
}

impl OptimizerSource {
    /// The definitions of `OPTIMIZER_NAME`, in the f32 that optimizers compute in.
    pub fn settings(settings: &[(&str, f32)]) -> String {
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "#define OPTIMIZER_{name} ({value:e}f)").expect("writing to a string");
        }
        text
    }
}
