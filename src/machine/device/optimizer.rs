//! Optimizers in the language of generated kernels.

use std::fmt::Write;

/// An optimizer in the C of `prelude.h`. It defines
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
    /// The function.
    pub source: String,
    /// The number of moments per element.
    pub moments: usize,
}

impl OptimizerSource {
    /// The function of these assignments to `value`, `gradient` and moments; settings are in the f32 that optimizers compute in.
    pub fn new(
        settings: &[(&str, f32)],
        rates: &[&str],
        moments: &[&str],
        assignments: &[&str],
    ) -> OptimizerSource {
        let mut body = String::new();
        let mut line = |text: String| {
            writeln!(body, "    {text};").expect("writing to a string");
        };
        for (name, value) in settings {
            line(format!("const float {name} = {value:e}f"));
        }
        for (k, name) in rates.iter().enumerate() {
            line(format!("const float {name} = rates[{k}]"));
        }
        for (k, name) in moments.iter().enumerate() {
            line(format!("float {name} = moments[{k}]"));
        }
        for assignment in assignments {
            line((*assignment).to_owned());
        }
        for (k, name) in moments.iter().enumerate() {
            line(format!("moments[{k}] = {name}"));
        }
        let head = "float value, float gradient, const float *rates, float *moments";
        OptimizerSource {
            source: format!(
                "\nDEVICE float optimizer_step({head}) {{\n{body}    return value;\n}}\n"
            ),
            moments: moments.len(),
        }
    }
}
