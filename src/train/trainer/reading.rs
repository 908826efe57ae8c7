//! Training on a text: a chunk at a time, validation where an epoch ends.

use super::{mean_of, IterationReport, TrainError, Trainer};
use crate::text::Part;
use crate::train::language::{Language, Perplexity};
use crate::train::phases::Phases;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

impl Trainer {
    /// The language model, where a text is read.
    pub fn language(&self) -> Option<MutexGuard<'_, Language>> {
        let model = self.language.as_ref()?;
        Some(model.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Iterations of all epochs, where a text is read.
    pub fn chunks(&self) -> Option<u64> {
        self.language().map(|model| model.iterations())
    }

    /// Iterations after which an epoch is over, where a text is read.
    pub fn epoch_ends(&self) -> Vec<u64> {
        let Some(model) = self.language() else {
            return Vec::new();
        };
        let last = |k: &u64| model.ends_epoch(*k);
        (0..model.iterations())
            .filter(last)
            .map(|k| k + 1)
            .collect()
    }

    /// What a part of the text costs with the parameters as they are, or their averages where there are any; nothing
    /// where none is read.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn perplexity(&self, part: Part) -> Result<Option<Perplexity>, TrainError> {
        let Some(mut model) = self.language() else {
            return Ok(None);
        };
        let averaged = self.average.parameters(&self.parameters);
        let (model, parameters) = (&mut *model, averaged.as_ref().unwrap_or(&self.parameters));
        Ok(Some(
            self.pool.install(|| model.evaluate(parameters, part))?,
        ))
    }

    /// One chunk and one step of the optimiser.
    pub(super) fn read_chunk(&mut self) -> Result<IterationReport, TrainError> {
        let start = Instant::now();
        let iteration = self.iteration;
        let (report, rate, ends, epoch) = {
            let Some(mut model) = self.language() else {
                return Err(TrainError::Missing("task", "add `task text { }`"));
            };
            let (model, parameters) = (&mut *model, &self.parameters);
            let report = self.pool.install(|| model.chunk(parameters, iteration))?;
            let epoch = model.place(iteration).epoch as u64 + 1;
            let (rate, ends) = (model.rate(iteration), model.ends_epoch(iteration));
            (report, rate, ends, epoch)
        };
        let update = Instant::now();
        let mut found = report.gradients;
        let mut gradients: Vec<Vec<f32>> = self
            .parameters
            .trained_ids()
            .into_iter()
            .map(|id| {
                let size = self.parameters.get(id).values.len();
                found[id.index()].take().unwrap_or_else(|| vec![0.0; size])
            })
            .collect();
        let loss = report.loss.mean();
        let norm = self.update(loss + report.penalty, &mut gradients, rate)?;
        self.iteration = iteration + 1;
        let (pool, average, parameters) = (&self.pool, &mut self.average, &self.parameters);
        pool.install(|| average.take(epoch, parameters));
        if let Some(mut model) = self.language() {
            model.give_back(gradients);
        }
        // All threads share each phase of a chunk.
        let threads = self.pool.current_num_threads() as f64;
        let phases = Phases {
            forward: report.phases.forward * threads,
            task: report.phases.task * threads,
            backward: report.phases.backward * threads,
            update: update.elapsed().as_secs_f64(),
        };
        let seconds = start.elapsed().as_secs_f64();
        let validation = if ends {
            self.perplexity(Part::Valid)?
        } else {
            None
        };
        if let Some(validation) = validation {
            self.average.judge(validation.loss);
        }
        Ok(IterationReport {
            iteration: self.iteration,
            loss,
            parts: None,
            reward: mean_of(&[]),
            score: Some(("bits_per_word", loss / std::f64::consts::LN_2)),
            epoch: Some(epoch),
            validation,
            gradient_norm: norm,
            phases,
            seconds,
        })
    }

    /// States that the next chunk goes on from, by slot; nothing where no text is read.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) fn carried_text(&self) -> Result<Vec<Option<Vec<f64>>>, TrainError> {
        match self.language() {
            Some(mut model) => Ok(model.carried()?),
            None => Ok(Vec::new()),
        }
    }

    /// Goes on from such states.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) fn set_carried_text(&self, states: &[Option<Vec<f64>>]) -> Result<(), TrainError> {
        match self.language() {
            Some(mut model) => Ok(model.set_carried(states)?),
            None => Ok(()),
        }
    }
}
