//! Iterations: one after another, or as many as a device does before it is asked what came of them.

use super::epochs::values_of;
use super::restore_point::RestorePoint;
use super::{mean_of, IterationReport, TrainError, Trainer};
use crate::learn::a2c::Parts;
use crate::learn::block::BlockReport;
use crate::learn::learner::Learner;
use crate::learn::phases::Phases;
use std::time::Instant;

/// Seconds that a device may go on by itself: whoever waits wants to see something, or to stop.
const ALONE: f64 = 0.25;

impl Trainer {
    /// One batch of episodes and one step of the optimizer (none while burning in).
    ///
    /// # Errors
    /// [`TrainError::NotFinite`], after which everything is as before the iteration, and errors of the backend.
    pub fn step(&mut self) -> Result<IterationReport, TrainError> {
        let mut reports = Vec::new();
        self.advance(1, &mut reports)?;
        let report = reports.pop();
        Ok(report.expect("an iteration that did not fail has its report"))
    }

    /// At least one iteration and at most `most`, more than one where a device goes on by itself: the same numbers either
    /// way. The reports of those that were done are added to `reports`, also where one after them fails.
    ///
    /// # Errors
    /// As [`Trainer::step`], where all is as before the iteration that failed.
    pub fn advance(
        &mut self,
        most: u64,
        reports: &mut Vec<IterationReport>,
    ) -> Result<(), TrainError> {
        let advanced = self.try_advance(most, reports);
        if matches!(advanced, Err(TrainError::NotFinite { .. })) {
            self.states.clone_from(&self.states_before);
            if let Some(mut model) = self.language() {
                model.take_back();
            }
        }
        advanced
    }

    fn try_advance(
        &mut self,
        most: u64,
        reports: &mut Vec<IterationReport>,
    ) -> Result<(), TrainError> {
        if self.language.is_some() {
            if self.let_read(most, reports)? {
                return Ok(());
            }
            reports.push(self.read_chunk()?);
            return Ok(());
        }
        if self.let_learn(most, reports)? {
            return Ok(());
        }
        reports.push(self.batch_of_episodes()?);
        Ok(())
    }

    /// The number of iterations a device does before it is asked, of at most so many, in about so many seconds.
    pub(super) fn at_once(&self, most: u64, seconds: f64) -> u64 {
        let room = (seconds / self.pace.max(f64::MIN_POSITIVE)) as u64;
        most.min(room).max(1)
    }

    /// Has the block do iterations by itself; whether it can.
    fn let_learn(
        &mut self,
        most: u64,
        reports: &mut Vec<IterationReport>,
    ) -> Result<bool, TrainError> {
        let (options, iterations) = (self.next_episodes(), self.at_once(most, ALONE));
        let Some(block) = &mut self.block else {
            return Ok(false);
        };
        let start = Instant::now();
        let learner = Learner {
            parameters: &mut self.parameters,
            optimizer: self.optimizer.as_mut(),
            options,
            iterations,
            burning_in: self.burn_in.saturating_sub(self.iteration),
            rate: self.rate,
        };
        let Some(results) = block.learn(learner, &mut self.states)? else {
            return Ok(false);
        };
        self.states_before.clone_from(&self.states);
        let done = results.done.len() as u64;
        let seconds = start.elapsed().as_secs_f64() / done.max(1) as f64;
        self.pace = seconds;
        for (k, learned) in (1..).zip(results.done) {
            reports.push(IterationReport {
                iteration: self.iteration + k,
                loss: learned.parts.total(),
                parts: Some(learned.parts),
                reward: Some(learned.reward),
                scores: Vec::new(),
                epoch: None,
                reads_text: false,
                validation: None,
                gradient_norm: learned.norm,
                phases: Phases::default(),
                seconds,
            });
        }
        self.iteration += done;
        match results.stop {
            None => Ok(true),
            Some(what) => Err(TrainError::NotFinite {
                iteration: self.iteration + 1,
                what,
            }),
        }
    }

    /// A step of the optimizer with the gradients of a report; returns their norm.
    fn learn_from(&mut self, report: &mut BlockReport) -> Result<f64, TrainError> {
        let update = Instant::now();
        let mut gradients: Vec<Vec<f32>> = Vec::new();
        for id in self.parameters.trained_ids() {
            let size = self.parameters.get(id).values.len();
            let found = report.gradients.get(id.index()).and_then(Option::as_ref);
            gradients.push(match found {
                // Minus 0 is 0, as in any sum.
                Some(values) => values.iter().map(|x| (0.0 + x) as f32).collect(),
                None => vec![0.0; size],
            });
        }
        let rate = self.rate.factor(self.iteration);
        let norm = self.update(report.loss, &mut gradients, rate)?;
        report.phases.update += update.elapsed().as_secs_f64();
        Ok(norm)
    }

    /// Steps of the optimizer on parts of the last episodes, so many; the loss of the report becomes the mean of theirs.
    /// Returns the mean norm of their gradients. Where one fails, all is as before the first.
    fn learn_again(&mut self, report: &mut BlockReport, turns: u64) -> Result<f64, TrainError> {
        let mut before = RestorePoint::default();
        before.save(&self.parameters, self.optimizer.as_ref());
        let (mut loss, mut parts, mut norms) = (0.0, Parts::default(), 0.0);
        for turn in 0..turns {
            let learned = self.run_again(turn).and_then(|mut part| {
                let norm = self.learn_from(&mut part)?;
                Ok((part, norm))
            });
            let (part, norm) = match learned {
                Ok(learned) => learned,
                Err(error) => {
                    before.restore(&mut self.parameters, self.optimizer.as_mut());
                    return Err(error);
                }
            };
            loss += part.loss / turns as f64;
            parts += part.parts;
            norms += norm / turns as f64;
            report.phases += part.phases;
        }
        report.loss = loss;
        report.parts = parts.scaled(1.0 / turns as f64);
        Ok(norms)
    }

    /// Runs a part of the last episodes again.
    pub(super) fn run_again(&mut self, turn: u64) -> Result<BlockReport, TrainError> {
        let values = self.parameters.wide();
        let Some(block) = &mut self.block else {
            return Ok(BlockReport::default());
        };
        Ok(self.pool.install(|| block.again(&values, turn))?)
    }

    fn batch_of_episodes(&mut self) -> Result<IterationReport, TrainError> {
        let start = Instant::now();
        let number = self.iteration + 1;
        let mut report = self.episodes(self.next_episodes())?;
        let turns = self.block.as_ref().map_or(0, |block| block.turns());
        // A chunk without targets has nothing to learn from, and no loss.
        let (loss, norm) = if self.chunks.count() > 1 && !report.weighted {
            (f64::NAN, f64::NAN)
        } else {
            let norm = match turns {
                0 => self.learn_from(&mut report)?,
                turns => self.learn_again(&mut report, turns)?,
            };
            (report.loss, norm)
        };
        let phases = report.phases;
        self.iteration = number;
        let seconds = start.elapsed().as_secs_f64();
        let validation = self.validate_episodes()?;
        Ok(IterationReport {
            iteration: number,
            loss,
            parts: (!self.supervised).then_some(report.parts),
            // NaN where no episode ended.
            reward: match self.supervised {
                true => None,
                false => Some(mean_of(&report.rewards).unwrap_or(f64::NAN)),
            },
            scores: values_of(&report.scores),
            epoch: self.epoch(),
            reads_text: false,
            validation,
            gradient_norm: norm,
            phases,
            seconds,
        })
    }
}
