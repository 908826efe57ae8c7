//! Runs iterations and takes their times.

use crate::learn::trainer::{IterationReport, TrainError, Trainer};
use std::time::Instant;

/// The length of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// Iterations that run first and do not count: they fill caches and grow buffers.
    pub warm_up: usize,
    /// Iterations to measure; `None` runs as many as `seconds` have room for.
    pub iterations: Option<usize>,
    /// Seconds to measure where no number of iterations is given.
    pub seconds: f64,
    /// The minimum number of iterations, even if they take longer than `seconds`.
    pub least: usize,
}

impl Default for Extent {
    fn default() -> Extent {
        Extent {
            warm_up: 2,
            iterations: None,
            seconds: 3.0,
            least: 5,
        }
    }
}

impl Extent {
    fn goes_on(&self, done: usize, elapsed: f64) -> bool {
        match self.iterations {
            Some(iterations) => done < iterations.max(1),
            None => done < self.least.max(1) || elapsed < self.seconds,
        }
    }
}

/// Continues training and returns the report of each measured iteration, at least one. Burn-in is skipped, so
/// that every iteration includes an optimizer step.
///
/// # Errors
/// Errors of [`Trainer::advance`].
pub fn measure(trainer: &mut Trainer, extent: Extent) -> Result<Vec<IterationReport>, TrainError> {
    trainer.end_burn_in();
    for _ in 0..extent.warm_up {
        trainer.step()?;
    }
    let start = Instant::now();
    let mut reports = Vec::new();
    while extent.goes_on(reports.len(), start.elapsed().as_secs_f64()) {
        let done = reports.len();
        let most = extent
            .iterations
            .map_or(u64::MAX, |all| (all - done) as u64);
        trainer.advance(most, &mut reports)?;
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::Extent;

    #[test]
    fn a_number_of_iterations_goes_before_the_clock() {
        let fixed = Extent {
            iterations: Some(3),
            ..Extent::default()
        };
        assert!(fixed.goes_on(2, 1e9) && !fixed.goes_on(3, 0.0));
        let none = Extent {
            iterations: Some(0),
            ..Extent::default()
        };
        assert!(none.goes_on(0, 0.0) && !none.goes_on(1, 0.0));
    }

    #[test]
    fn the_clock_decides_after_the_fewest() {
        let timed = Extent::default();
        assert!(timed.goes_on(4, 100.0));
        assert!(timed.goes_on(5, 2.9));
        assert!(!timed.goes_on(5, 3.0));
    }
}
