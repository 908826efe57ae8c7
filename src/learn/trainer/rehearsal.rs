//! Iterations without a step of the optimizer: how long kernels take, and what devices compute that do their steps themselves.

use super::{NotFinite, TrainError, Trainer};
use crate::learn::learner::Learner;
use crate::machine::kernel::KernelReport;

/// What an iteration gave to a device that does its steps itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rehearsal {
    /// The loss, penalties among it.
    pub loss: f64,
    /// Norm of the gradient before it is clipped.
    pub norm: f64,
}

impl Trainer {
    /// What each kernel of the backend does and how long it takes in one iteration, all lanes together; nothing where the
    /// backend does not tell. Runs the episodes or the chunk of the next iteration without a step of the optimizer.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn kernels(&mut self) -> Result<Vec<KernelReport>, TrainError> {
        self.measure_kernels(true);
        let rehearsed = self.rehearse();
        let mut all: Vec<KernelReport> = Vec::new();
        let mut found = match self.language() {
            Some(model) => model.kernels(),
            None => Vec::new(),
        };
        found.extend(self.block.iter().flat_map(|block| block.kernels()));
        for kernel in found {
            match all.iter_mut().find(|known| known.name == kernel.name) {
                Some(known) => known.absorb(&kernel),
                None => all.push(kernel),
            }
        }
        self.measure_kernels(false);
        rehearsed?;
        Ok(all)
    }

    fn measure_kernels(&mut self, on: bool) {
        if let Some(block) = &mut self.block {
            block.measure_kernels(on);
        }
        if let Some(mut model) = self.language() {
            model.measure_kernels(on);
        }
    }

    /// One iteration without its step, as it would be run: what it gave to a device that does its step itself, nothing where
    /// the host has that.
    ///
    /// # Errors
    /// Those of the backend, and numbers that are not finite.
    pub fn rehearse(&mut self) -> Result<Option<Rehearsal>, TrainError> {
        let (options, iteration) = (self.next_episodes(), self.iteration);
        let learner = Learner {
            parameters: &mut self.parameters,
            optimizer: self.optimizer.as_mut(),
            options,
            iterations: 1,
            burning_in: u64::MAX,
            rate: self.rate,
        };
        if let Some(model) = &mut self.language {
            // Nobody else has it.
            let model = model.get_mut().unwrap_or_else(|held| held.into_inner());
            let mut average = self.average.clone();
            if let Some(lesson) = model.learn(learner, iteration, &mut average)? {
                let done = lesson.done.first().map(|done| Rehearsal {
                    loss: done.loss + done.penalty,
                    norm: done.norm,
                });
                return rehearsed(done, lesson.stop, iteration);
            }
            let parameters = &self.parameters;
            self.pool.install(|| model.chunk(parameters, iteration))?;
            return Ok(None);
        }
        if let Some(block) = &mut self.block {
            if let Some(lesson) = block.learn(learner, &mut self.states)? {
                let done = lesson.done.first().map(|done| Rehearsal {
                    loss: done.parts.total(),
                    norm: done.norm,
                });
                return rehearsed(done, lesson.stop, iteration);
            }
        }
        self.episodes(options)?;
        Ok(None)
    }
}

/// What there was, unless it was not finite.
fn rehearsed(
    done: Option<Rehearsal>,
    stop: Option<NotFinite>,
    iteration: u64,
) -> Result<Option<Rehearsal>, TrainError> {
    match stop {
        None => Ok(done),
        Some(what) => Err(TrainError::NotFinite {
            iteration: iteration + 1,
            what,
        }),
    }
}
