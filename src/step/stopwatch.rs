//! The times of the compiler's stages.

use std::time::Instant;

/// How long a stage of the compiler took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// Its name, as in the pipeline of the crate.
    pub stage: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// Times stages that follow each other.
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

    /// Ends a stage; the next one begins.
    pub(crate) fn lap(&mut self, stage: &'static str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.stages.push(StageTime { stage, seconds });
        self.since = Instant::now();
    }
}
