//! A language model being trained: chunks to learn from, and texts to evaluate.
//!
//! A text is one episode: states go on from chunk to chunk, and gradients stop where a chunk begins.

use super::loss::{cross_entropy, Loss};
use super::reader::Reader;
use super::runner::{Gradients, Passage};
use super::schedule::Schedule;
use super::staged::StagedError;
use super::stream::{epoch, Chunk, Lanes, Place};
use crate::backend::BackendError;
use crate::ir::Graph;
use crate::settings::Settings;
use crate::tasks::Text;
use crate::text::{Corpus, CorpusError, Part};
use crate::train::params::ParamStore;
use crate::train::phases::Phases;
use std::path::Path;
use std::time::Instant;

/// A language model with its texts.
pub struct Language {
    corpus: Corpus,
    runner: Box<dyn Reader>,
    evaluator: Box<dyn Reader>,
    places: Vec<Place>,
    schedule: Schedule,
    /// Slot of the output that predicts.
    output: usize,
    words: usize,
    steps: usize,
    seed: u64,
    penalties: Penalties,
}

/// Penalties on the activity of the last layer (Merity et al. 2018, §4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Penalties {
    /// Coefficient and slot of the activity after dropout.
    activity: Option<(f64, usize)>,
    /// Coefficient and slot of the activity before.
    change: Option<(f64, usize)>,
}

/// Why a language model cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    /// The texts.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The network.
    #[error(transparent)]
    Staged(#[from] StagedError),
    /// A penalty without the output it is on.
    #[error("`train.{setting}` is a penalty on the output `{output}`, which the network does not have: add `output {output} = ...`")]
    NoOutput {
        /// The setting.
        setting: &'static str,
        /// The output.
        output: &'static str,
    },
}

/// What a text costs a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// Mean of `-log p` of a word, in nats.
    pub loss: f64,
    /// Words predicted, ends of lines among them.
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

    /// Bits per word.
    pub fn bits(self) -> f64 {
        self.loss / std::f64::consts::LN_2
    }
}

/// What a chunk gave.
pub struct ChunkReport {
    /// Loss, without penalties.
    pub loss: Loss,
    /// Penalties.
    pub penalty: f64,
    /// Gradients by parameter.
    pub gradients: Gradients,
    /// Where the time went.
    pub phases: Phases,
}

impl Language {
    /// Reads the texts of `data` or makes some, for the network with this step. `readers` are for training and for
    /// evaluation, with as many lanes as the settings say.
    ///
    /// # Errors
    /// Where texts cannot be read or are too short, or there is a penalty on what the network does not give.
    pub fn new(
        step: &Graph,
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
        let slot = |name: &str| step.outputs.iter().position(|slot| slot.path == name);
        let penalty = |setting: &'static str, output: &'static str| {
            let coefficient = settings.real(setting);
            match (coefficient == 0.0, slot(output)) {
                (true, _) => Ok(None),
                (false, Some(slot)) => Ok(Some((coefficient, slot))),
                (false, None) => Err(LanguageError::NoOutput { setting, output }),
            }
        };
        Ok(Language {
            runner,
            evaluator,
            schedule: Schedule::new(settings, task.steps),
            output: slot("next_word").expect("the output was checked against the trainer"),
            words: task.words,
            steps: task.steps,
            penalties: Penalties {
                activity: penalty("activity", "dropped")?,
                change: penalty("change", "activity")?,
            },
            seed,
            corpus,
            places,
        })
    }

    /// The texts.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// Chunks of all epochs.
    pub fn iterations(&self) -> u64 {
        self.places.len() as u64
    }

    /// The chunk of an iteration, from 0; the last one where there are no more.
    pub fn place(&self, iteration: u64) -> Place {
        let last = self.places.len().saturating_sub(1);
        self.places[(iteration as usize).min(last)]
    }

    /// Whether an iteration, from 0, is the last of its epoch.
    pub fn ends_epoch(&self, iteration: u64) -> bool {
        let next = self.places.get(iteration as usize + 1);
        next.is_none_or(|next| next.start == 0)
    }

    /// The factor on the learning rate at an iteration, from 0.
    pub fn rate(&self, iteration: u64) -> f64 {
        let place = self.place(iteration);
        self.schedule.factor(place.epoch, place.steps)
    }

    /// Runs the chunk of an iteration, from 0, forward and back.
    ///
    /// # Errors
    /// Where parameters do not fit.
    pub fn chunk(
        &mut self,
        parameters: &ParamStore,
        iteration: u64,
    ) -> Result<ChunkReport, BackendError> {
        let mut start = Instant::now();
        let mut phases = Phases::default();
        let mut lap = |phase: &mut f64| {
            let now = Instant::now();
            *phase += (now - start).as_secs_f64();
            start = now;
        };
        let place = self.place(iteration);
        if place.start == 0 {
            self.runner.restart();
        }
        let text = Lanes::new(self.corpus.part(Part::Train), self.runner.lanes());
        let chunk = text.chunk(place.start, place.steps);
        let passage = Passage {
            words: &chunk.inputs,
            steps: chunk.steps,
            seed: self.seed,
            iteration: iteration as u32,
            learn: true,
        };
        lap(&mut phases.task);
        self.runner.forward(parameters, passage)?;
        lap(&mut phases.forward);
        let mut logits = std::mem::take(self.runner.output(self.output));
        let loss = cross_entropy(&mut logits, self.words, &chunk.targets, &chunk.weights);
        let mut adjoints = vec![(self.output, logits)];
        let penalty = self.penalise(&chunk, &mut adjoints);
        lap(&mut phases.task);
        let gradients = self.runner.backward(parameters, passage, adjoints)?;
        lap(&mut phases.backward);
        Ok(ChunkReport {
            loss,
            penalty,
            gradients,
            phases,
        })
    }

    /// Adds the adjoints of penalties, and returns what they cost: the mean square of the activity, and that of its
    /// change from step to step.
    fn penalise(&mut self, chunk: &Chunk, adjoints: &mut Vec<(usize, Vec<f32>)>) -> f64 {
        let mut cost = 0.0;
        let rows = chunk.inputs.len();
        if let Some((coefficient, slot)) = self.penalties.activity {
            let values = self.runner.output(slot);
            let scale = coefficient / values.len() as f64;
            cost += scale * values.iter().map(|x| f64::from(*x * *x)).sum::<f64>();
            let adjoint = values.iter().map(|x| (2.0 * scale) as f32 * x);
            adjoints.push((slot, adjoint.collect()));
        }
        if let Some((coefficient, slot)) = self.penalties.change {
            let values = self.runner.output(slot);
            let width = values.len() / rows.max(1);
            let pairs = rows - rows / chunk.steps;
            let scale = coefficient / (pairs * width).max(1) as f64;
            let mut adjoint = vec![0.0f32; values.len()];
            for row in 1..rows {
                if row % chunk.steps == 0 {
                    continue;
                }
                for k in row * width..(row + 1) * width {
                    let change = values[k] - values[k - width];
                    cost += scale * f64::from(change * change);
                    adjoint[k] += (2.0 * scale) as f32 * change;
                    adjoint[k - width] -= (2.0 * scale) as f32 * change;
                }
            }
            adjoints.push((slot, adjoint));
        }
        cost
    }

    /// The perplexity of a part of the corpus: its own lanes, states kept throughout, nothing dropped.
    ///
    /// # Errors
    /// Where parameters do not fit.
    pub fn evaluate(
        &mut self,
        parameters: &ParamStore,
        part: Part,
    ) -> Result<Perplexity, BackendError> {
        let text = Lanes::new(self.corpus.part(part), self.evaluator.lanes());
        self.evaluator.restart();
        let mut loss = Loss::default();
        for place in epoch(0, text.steps(), self.steps, false, self.seed) {
            let chunk = text.chunk(place.start, place.steps);
            let passage = Passage {
                words: &chunk.inputs,
                steps: chunk.steps,
                seed: self.seed,
                iteration: u32::MAX,
                learn: false,
            };
            self.evaluator.forward(parameters, passage)?;
            let logits = self.evaluator.output(self.output);
            loss += cross_entropy(logits, self.words, &chunk.targets, &chunk.weights);
        }
        Ok(Perplexity::new(loss))
    }

    /// Takes back the memory of gradients.
    pub fn give_back(&mut self, gradients: Vec<Vec<f32>>) {
        self.runner.give_back(gradients);
    }

    /// States that the next chunk goes on from, by slot, lane by lane.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn carried(&mut self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        self.runner.states()
    }

    /// Goes on from states that [`Language::carried`] gave.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn set_carried(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        self.runner.set_states(states)
    }
}
