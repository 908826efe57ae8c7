//! Tasks in the language of generated kernels.

use std::fmt::Write;

/// A task in the C of `prelude.h` (`backend/fused/device`). It defines
///
/// ```c
/// DEVICE void task_reset(int *task, const Place *episode);
/// DEVICE float task_observation(const int *task, int i);
/// DEVICE float task_signal(const int *task, int i);
/// DEVICE int task_trial_starts(const int *task);
/// DEVICE float task_act(int *task, const Place *chance, int action);
/// ```
///
/// with `words` words of memory for each lane, and draws what the task's own lanes draw, from the same places.
#[derive(Clone, Debug)]
pub struct TaskSource {
    /// Settings, as `#define`s.
    pub settings: String,
    /// Functions.
    pub source: &'static str,
    /// Words of memory of a lane.
    pub words: usize,
}

impl TaskSource {
    /// Definitions of `TASK_NAME` for whole numbers.
    pub fn settings(settings: &[(&str, i64)]) -> String {
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "#define TASK_{name} ({value})").expect("writing to a string");
        }
        text
    }

    /// The same for other numbers: rewards, in the f32 of the tasks, and probabilities.
    pub fn reals(settings: &[(&str, f64)]) -> String {
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "#define TASK_{name} ({value:e})").expect("writing to a string");
        }
        text
    }
}
