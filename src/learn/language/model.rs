//! A language model in training: chunks to learn from, and texts to evaluate.
//!
//! A text is one episode: states continue from chunk to chunk, and gradients stop at the beginning of a
//! chunk.

use super::error::LanguageError;
use super::loss::Loss;
use super::objective::TextObjective;
use super::reader::{Gradients, Outputs, Reader};
use super::runner::Passage;
use super::schedule::Schedule;
use super::stream::{epoch, Lanes, Place};
use crate::engine::params::ParamStore;
use crate::engine::BackendError;
use crate::lang::settings::Settings;
use crate::learn::average::Average;
use crate::learn::learner::{IterationResults, Learner};
use crate::learn::phases::Phases;
use crate::learn::tasks::Text;
use crate::learn::text::{Corpus, CorpusError, Part};
use crate::machine::kernel::KernelReport;
use std::path::Path;

/// A language model with its texts.
pub struct Language {
    corpus: Corpus,
    runner: Box<dyn Reader>,
    evaluator: Box<dyn Reader>,
    places: Vec<Place>,
    schedule: Schedule,
    objective: TextObjective,
    steps: usize,
    seed: u64,
}

/// The loss of a text under a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// The mean of `-log p` per word, in nats.
    pub loss: f64,
    /// The number of predicted words, including ends of lines.
    pub words: u64,
}

impl Perplexity {
    fn new(loss: Loss) -> Perplexity {
        Perplexity {
            loss: loss.mean(),
            words: loss.words as u64,
        }
    }

    /// The perplexity, `exp` of the mean.
    pub fn value(self) -> f64 {
        self.loss.exp()
    }

    /// The loss in bits per word.
    pub fn bits(self) -> f64 {
        self.loss / std::f64::consts::LN_2
    }
}

/// The results of a chunk.
pub struct ChunkReport {
    /// The loss without penalties.
    pub loss: Loss,
    /// The sum of the penalties.
    pub penalty: f64,
    /// The gradients by parameter.
    pub gradients: Gradients,
    /// The times of the phases.
    pub phases: Phases,
}

/// The results of a chunk in a reader that trains by itself.
#[derive(Clone, Copy, Debug)]
pub struct ChunkResult {
    /// The mean of `-log p` per word in nats, without penalties.
    pub loss: f64,
    /// The sum of the penalties.
    pub penalty: f64,
    /// The norm of the gradient before clipping.
    pub norm: f64,
}

impl Language {
    /// Reads the texts of `data`, or generates them. `readers` are for training and for evaluation, with the
    /// numbers of lanes in the settings.
    ///
    /// # Errors
    /// Fails if texts cannot be read or are too short.
    pub fn new(
        objective: TextObjective,
        task: &Text,
        settings: &Settings,
        [runner, evaluator]: [Box<dyn Reader>; 2],
        data: Option<&Path>,
    ) -> Result<Language, LanguageError> {
        let seed = settings.int("seed") as u64;
        let lanes = settings.int("batch");
        let corpus = match data {
            Some(directory) => Corpus::read(directory, task.words, task.unknown)?,
            None => Corpus::generate(task.words, seed),
        };
        for (part, lanes) in [(Part::Train, lanes), (Part::Valid, 1), (Part::Test, 1)] {
            let tokens = corpus.part(part).len();
            if tokens < 2 * lanes {
                return Err(LanguageError::Corpus(CorpusError::TooShort {
                    part: part.name(),
                    tokens,
                    lanes,
                }));
            }
        }
        let total = Lanes::new(corpus.part(Part::Train), lanes).steps();
        let places = (0..settings.int("epochs"))
            .flat_map(|k| epoch(k, total, task.steps, task.random_lengths, seed))
            .collect();
        Ok(Language {
            runner,
            evaluator,
            schedule: Schedule::new(settings, task.steps),
            objective,
            steps: task.steps,
            seed,
            corpus,
            places,
        })
    }

    /// The texts.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// The number of chunks in all epochs.
    pub fn iterations(&self) -> u64 {
        self.places.len() as u64
    }

    /// The chunk of iteration `iteration` (from 0), or the last chunk after the end.
    pub fn place(&self, iteration: u64) -> Place {
        let last = self.places.len().saturating_sub(1);
        self.places[(iteration as usize).min(last)]
    }

    /// Returns true if iteration `iteration` (from 0) is the last of its epoch.
    pub fn ends_epoch(&self, iteration: u64) -> bool {
        let next = self.places.get(iteration as usize + 1);
        next.is_none_or(|next| next.start == 0)
    }

    /// The factor on the learning rate at iteration `iteration` (from 0).
    pub fn rate(&self, iteration: u64) -> f64 {
        let place = self.place(iteration);
        self.schedule.factor(place.epoch, place.steps)
    }

    /// Runs the chunk of iteration `iteration` (from 0) forward and backward.
    ///
    /// # Errors
    /// Fails if the parameters do not fit.
    pub fn chunk(
        &mut self,
        parameters: &ParamStore,
        iteration: u64,
    ) -> Result<ChunkReport, BackendError> {
        let place = self.place(iteration);
        if place.start == 0 {
            self.runner.restart();
        }
        let text = Lanes::new(self.corpus.part(Part::Train), self.runner.lanes());
        let chunk = text.chunk(place.start, place.steps);
        let passage = Passage::learned(&chunk, self.seed, iteration as u32);
        let (mut judged, objective) = (None, &self.objective);
        let mut judge = |outputs: Outputs<'_>| {
            let (loss, penalty, adjoints) = objective.of(outputs, &chunk);
            judged = Some((loss, penalty));
            adjoints
        };
        let ran = self.runner.read(parameters, passage, &mut judge)?;
        let (loss, penalty) = judged.expect("what is read to learn from is judged");
        Ok(ChunkReport {
            loss,
            penalty,
            gradients: ran.gradients,
            phases: ran.times.into(),
        })
    }

    /// Lets the reader train by itself on the chunk of iteration `iteration` (from 0) and the following
    /// chunks of its epoch; `None` if it cannot.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn learn(
        &mut self,
        mut learner: Learner<'_>,
        iteration: u64,
        average: &mut Average,
    ) -> Result<Option<IterationResults<ChunkResult>>, BackendError> {
        if self.runner.by_itself().is_none() {
            return Ok(None);
        }
        let here = self.place(iteration);
        let lanes = self.runner.lanes();
        let rest = self.places.iter().skip(iteration as usize);
        let places = rest.take_while(|place| place.epoch == here.epoch);
        let mut places: Vec<Place> = places.take(learner.iterations as usize).copied().collect();
        if places.is_empty() {
            // After the last epoch its last chunk is read again.
            places.push(here);
        }
        learner.iterations = places.len() as u64;
        let averaged = average.arrays(here.epoch as u64 + 1, learner.parameters);
        let (before, averages) = averaged.map_or((None, Vec::new()), |(n, means)| (Some(n), means));
        let steps = learner.steps(|k| self.rate(iteration + k), before);
        if here.start == 0 {
            self.runner.restart();
        }
        let text = Lanes::new(self.corpus.part(Part::Train), lanes);
        let mut chunks = places
            .iter()
            .map(|place| text.chunk(place.start, place.steps));
        let Some(reader) = self.runner.by_itself() else {
            return Ok(None);
        };
        let mut host = learner.host_arrays();
        host.averages = averages;
        let noise = (self.seed, iteration as u32);
        let trained = reader.learn(&steps, &mut host, &mut chunks, noise);
        let done = trained.as_ref().map_or(0, |trained| trained.done.len());
        average.count(done as u64);
        learner.count(done);
        let trained = trained?;
        let done = trained.done.iter().map(|done| ChunkResult {
            loss: done.parts[0],
            penalty: done.parts[1],
            norm: done.norm,
        });
        Ok(Some(IterationResults {
            done: done.collect(),
            stop: trained.stop.map(|stop| learner.not_finite(stop)),
        }))
    }

    /// The perplexity of a part of the corpus, with its own lanes, states that continue throughout, and no
    /// dropout.
    ///
    /// # Errors
    /// Fails if the parameters do not fit.
    pub fn evaluate(
        &mut self,
        parameters: &ParamStore,
        part: Part,
    ) -> Result<Perplexity, BackendError> {
        let text = Lanes::new(self.corpus.part(part), self.evaluator.lanes());
        self.evaluator.restart();
        let places = epoch(0, text.steps(), self.steps, false, self.seed).into_iter();
        let mut chunks = places.map(|place| text.chunk(place.start, place.steps));
        let predicts = (self.objective.output, self.objective.words);
        let reader = self.evaluator.as_mut();
        let loss = reader.cost(parameters, predicts, &mut chunks, self.seed)?;
        Ok(Perplexity::new(loss))
    }

    /// Starts or stops measuring the times of training kernels.
    pub fn measure_kernels(&mut self, on: bool) {
        self.runner.measure_kernels(on);
    }

    /// The statistics of each kernel since then; empty if the backend does not report them.
    pub fn kernels(&self) -> Vec<KernelReport> {
        self.runner.kernels()
    }

    /// Restores the states at the beginning of the last chunk.
    pub fn take_back(&mut self) {
        self.runner.take_back();
    }

    /// Returns the memory of gradients for reuse.
    pub fn give_back(&mut self, gradients: Vec<Vec<f32>>) {
        self.runner.give_back(gradients);
    }

    /// The states that the next chunk continues from, by slot, lanes in sequence.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn carried(&mut self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        self.runner.states()
    }

    /// Sets the states that the next chunk continues from, as [`Language::carried`] returned them.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn set_carried(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        self.runner.set_states(states)
    }
}
