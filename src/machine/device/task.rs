//! Tasks in the language of generated kernels.

use std::fmt::Write;

/// A task in the C of `prelude.h` (`engine/fused/device`). It defines
///
/// ```c
/// DEVICE void task_reset(int *task, const Place *episode);
/// DEVICE float task_observation(const int *task, int i);
/// DEVICE float task_signal(const int *task, int i);
/// DEVICE int task_trial_starts(const int *task);
/// DEVICE float task_act(int *task, const Place *chance, int action);
/// ```
///
/// with `words` words of memory per lane. If only the first ones change during an episode, it may define their number as
/// `TASK_CHANGES`. Its random numbers have the same addresses as those of the task in Rust.
#[derive(Clone, Debug)]
pub struct TaskSource {
    /// The settings, as `#define`s.
    pub settings: String,
    /// The functions.
    pub source: &'static str,
    /// The number of memory words per lane.
    pub words: usize,
}

impl TaskSource {
    /// The definitions of `TASK_NAME` for whole numbers.
    pub fn settings(settings: &[(&str, i64)]) -> String {
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "#define TASK_{name} ({value})").expect("writing to a string");
        }
        text
    }

    /// The definitions for real numbers: rewards in the f32 of the tasks, and probabilities.
    pub fn reals(settings: &[(&str, f64)]) -> String {
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "#define TASK_{name} ({value:e})").expect("writing to a string");
        }
        text
    }
}
