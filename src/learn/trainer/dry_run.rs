//! Iterations without a step of the optimizer. They time kernels and check devices that do optimizer steps themselves.

use super::{NotFinite, TrainError, Trainer};
use crate::learn::learner::Learner;
use crate::machine::kernel::KernelReport;

/// The result of an iteration on a device that does optimizer steps itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DryRun {
    /// The loss, penalties among it.
    pub loss: f64,
    /// The norm of the gradient before it is clipped.
    pub norm: f64,
}

impl Trainer {
    /// The kernels of the backend, each with its work and its time in one iteration of all lanes. Empty for a backend
    /// that does not tell. Runs the episodes or the chunk of the next iteration without a step of the optimizer.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn kernels(&mut self) -> Result<Vec<KernelReport>, TrainError> {
        self.measure_kernels(true);
        let finished = self.dry_run();
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
        finished?;
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

    /// Runs the next iteration without its optimizer step. Returns the loss and norm of a device that does the step
    /// itself, and `None` where the host does it.
    ///
    /// # Errors
    /// Those of the backend, and numbers that are not finite.
    pub fn dry_run(&mut self) -> Result<Option<DryRun>, TrainError> {
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
            if let Some(results) = model.learn(learner, iteration, &mut average)? {
                let done = results.done.first().map(|done| DryRun {
                    loss: done.loss + done.penalty,
                    norm: done.norm,
                });
                return finished(done, results.stop, iteration);
            }
            let parameters = &self.parameters;
            self.pool.install(|| model.chunk(parameters, iteration))?;
            return Ok(None);
        }
        if let Some(block) = &mut self.block {
            if let Some(results) = block.learn(learner, &mut self.states)? {
                let done = results.done.first().map(|done| DryRun {
                    loss: done.parts.total(),
                    norm: done.norm,
                });
                return finished(done, results.stop, iteration);
            }
        }
        self.episodes(options)?;
        Ok(None)
    }
}

/// The result, or the error of a non-finite value.
fn finished(
    done: Option<DryRun>,
    stop: Option<NotFinite>,
    iteration: u64,
) -> Result<Option<DryRun>, TrainError> {
    match stop {
        None => Ok(done),
        Some(what) => Err(TrainError::NotFinite {
            iteration: iteration + 1,
            what,
        }),
    }
}
