//! Training on a text: a chunk at a time, validation where an epoch ends.

use super::{IterationReport, TrainError, Trainer, Validation};
use crate::learn::language::{Language, Perplexity};
use crate::learn::learner::Learner;
use crate::learn::phases::Phases;
use crate::learn::text::Part;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

/// Seconds that a device may go on by itself: what it gives back are all parameters.
const ALONE: f64 = 1.0;

/// The report of a chunk, without the validation text.
fn chunk_report(
    iteration: u64,
    epoch: u64,
    (loss, gradient_norm): (f64, f64),
    phases: Phases,
    seconds: f64,
) -> IterationReport {
    IterationReport {
        iteration,
        loss,
        parts: None,
        reward: None,
        scores: vec![("bits_per_word".to_owned(), loss / std::f64::consts::LN_2)],
        epoch: Some(epoch),
        reads_text: true,
        validation: None,
        gradient_norm,
        phases,
        seconds,
    }
}

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

    /// The perplexity of a part of the text with the current parameters, or with their averages if there are any; `None`
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

    /// Has the reader learn from chunks by itself; whether it can.
    pub(super) fn let_read(
        &mut self,
        most: u64,
        reports: &mut Vec<IterationReport>,
    ) -> Result<bool, TrainError> {
        let start = Instant::now();
        let iteration = self.iteration;
        let (options, iterations) = (self.next_episodes(), self.at_once(most, ALONE));
        let burning_in = self.burn_in.saturating_sub(iteration);
        let Some(model) = &self.language else {
            return Ok(false);
        };
        let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
        let learner = Learner {
            parameters: &mut self.parameters,
            optimizer: self.optimizer.as_mut(),
            options,
            iterations,
            burning_in,
            rate: self.rate,
        };
        let Some(results) = model.learn(learner, iteration, &mut self.average)? else {
            return Ok(false);
        };
        let done = results.done.len() as u64;
        let epoch = model.place(iteration).epoch as u64 + 1;
        let ends = done > 0 && model.ends_epoch(iteration + done - 1);
        drop(model);
        let seconds = start.elapsed().as_secs_f64() / done.max(1) as f64;
        self.pace = seconds;
        self.iteration += done;
        for (k, learned) in (1..).zip(results.done) {
            let (loss, norm) = (learned.loss, learned.norm);
            let phases = Phases::default();
            reports.push(chunk_report(
                iteration + k,
                epoch,
                (loss, norm),
                phases,
                seconds,
            ));
        }
        if let Some(what) = results.stop {
            return Err(TrainError::NotFinite {
                iteration: self.iteration + 1,
                what,
            });
        }
        if let Some(last) = reports.last_mut().filter(|_| ends) {
            last.validation = self.validate()?;
        }
        Ok(true)
    }

    /// The perplexity of the validation text at the end of an epoch.
    fn validate(&mut self) -> Result<Option<Validation>, TrainError> {
        let validation = self.perplexity(Part::Valid)?;
        if let Some(validation) = validation {
            self.average.judge(validation.loss);
        }
        Ok(validation.map(|found| Validation {
            loss: found.loss,
            perplexity: Some(found.value()),
            scores: Vec::new(),
        }))
    }

    /// One chunk and one step of the optimizer.
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
        let validation = if ends { self.validate()? } else { None };
        Ok(IterationReport {
            validation,
            ..chunk_report(self.iteration, epoch, (loss, norm), phases, seconds)
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
