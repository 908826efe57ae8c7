//! The times of the compiler's stages.

use std::time::Instant;

/// The time of a stage of the compiler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// The name of the stage, as in the pipeline of the crate.
    pub stage: &'static str,
    /// The time in seconds.
    pub seconds: f64,
}

/// A stopwatch for consecutive stages.
pub(crate) struct Stopwatch {
    since: Instant,
    pub(crate) stages: Vec<StageTime>,
}

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        Stopwatch {
            since: Instant::now(),
            stages: Vec::new(),
        }
    }

    /// Ends a stage and begins the next one.
    pub(crate) fn lap(&mut self, stage: &'static str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.stages.push(StageTime { stage, seconds });
        self.since = Instant::now();
    }
}
