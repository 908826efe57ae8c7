//! The trainer: batches of episodes, one gradient each, one step of the optimizer each.

mod advance;
mod dry_run;
mod epochs;
mod error;
mod reading;
pub mod restore_point;
mod resume;

pub use dry_run::DryRun;
pub use epochs::{planned, Epochs, Validation};
pub use error::{NotFinite, TrainError};

use super::a2c::Parts;
use super::average::Average;
use super::block::{Block, BlockReport, EpisodeOptions, Objective};
use super::blocks::{blocks, readers, Work};
use super::chunks::Chunks;
use super::device_block::update;
use super::experiment::{built, experiment, optimizer};
use super::gradient;
use super::language::objective::TextObjective;
use super::language::Language;
use super::optim::Optimizer;
use super::phases::Phases;
use super::rate::Rate;
use super::tasks::Part;
use crate::engine::episode::States;
use crate::engine::experiment::{Experiment, Target};
use crate::engine::params::ParamStore;
use crate::engine::plan::{Limits, Plan};
use crate::engine::BackendError;
use crate::lang::catalog::TrainerKind;
use crate::machine::device::DeviceChoice;
use crate::step::passes::Selection;
use crate::step::{Compiled, Horizon, StageTime, Stopwatch};
use restore_point::RestorePoint;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The engine of the compiled step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// Fused kernels in f32 on the CPU, one lane at a time.
    #[default]
    Fused,
    /// Candle in f32 on the CPU.
    Candle,
    /// The f64 reference interpreter.
    Reference,
}

impl BackendKind {
    /// All of them, the default first.
    pub const ALL: [BackendKind; 3] = [
        BackendKind::Fused,
        BackendKind::Candle,
        BackendKind::Reference,
    ];

    /// The one of this name.
    pub fn parse(name: &str) -> Option<BackendKind> {
        BackendKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// The engine's target.
    pub fn target(self) -> Target {
        match self {
            BackendKind::Fused => Target::Kernels,
            BackendKind::Candle | BackendKind::Reference => Target::Graphs,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::Fused => "fused",
            BackendKind::Candle => "candle",
            BackendKind::Reference => "reference",
        }
    }
}

/// The result of an iteration, over all lanes.
#[derive(Clone, Debug)]
pub struct IterationReport {
    /// Iterations done by now.
    pub iteration: u64,
    /// The loss of the batch.
    pub loss: f64,
    /// Terms of the reward loss; `None` for supervised trainers.
    pub parts: Option<Parts>,
    /// Mean reward of an episode; `None` for supervised tasks.
    pub reward: Option<f64>,
    /// The scores of the batch, by name.
    pub scores: Vec<(String, f64)>,
    /// The epoch, from 1, where a text or a file is read.
    pub epoch: Option<u64>,
    /// The mark of a trainer that reads a text.
    pub reads_text: bool,
    /// The loss of the validation data, where an epoch ends.
    pub validation: Option<Validation>,
    /// Norm of the whole gradient before clipping.
    pub gradient_norm: f64,
    /// The time of each phase.
    pub phases: Phases,
    /// Seconds from begin to end.
    pub seconds: f64,
}

/// The results of episodes without learning.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Loss, averaged over batches.
    pub loss: f64,
    /// Reward of each episode.
    pub rewards: Vec<f64>,
    /// Mean reward of each step.
    pub step_rewards: Vec<f64>,
    /// The first score of each episode.
    pub scores: Vec<f64>,
}

/// The seed of training episodes, for a run with this seed and number of rollbacks.
pub fn episode_seed(seed: u64, rollbacks: u64) -> u64 {
    // Multiples of an odd number: as many seeds as there are rollbacks.
    seed ^ rollbacks.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// An experiment being trained.
pub struct Trainer {
    seed: u64,
    batch: usize,
    clip_norm: f64,
    burn_in: u64,
    planned: u64,
    rate: Rate,
    /// The ends of epochs, where each episode is one of a file.
    epochs: Option<Epochs>,
    /// The outline of the task's files.
    outline: Option<Vec<u8>>,
    /// The chunks that episodes are run in.
    chunks: Chunks,
    iteration: u64,
    rollbacks: u64,
    options: TrainerOptions,
    /// The state before the last step of the optimizer.
    restore_point: RestorePoint,
    /// The block that runs episodes, unless a text is read.
    block: Option<Box<dyn Block>>,
    /// States that outlive episodes, and what they were before the last ones.
    states: States,
    states_before: States,
    /// The language model, if a text is read.
    language: Option<Mutex<Language>>,
    parameters: ParamStore,
    average: Average,
    optimizer: Box<dyn Optimizer>,
    pool: rayon::ThreadPool,
    /// Seconds of an iteration, where a device goes on by itself.
    pace: f64,
    supervised: bool,
    carried: Vec<CarriedSlot>,
    plan: Plan,
    experiment: Arc<Experiment>,
    /// The time of each step of the device's set-up.
    times: Vec<StageTime>,
}

/// A state that outlives an episode.
struct CarriedSlot {
    slot: usize,
    path: String,
    dims: Vec<usize>,
    /// True if every iteration gives it back, once one was done.
    always: bool,
}

/// The options of a [`Trainer`], beside the spec.
#[derive(Clone, Copy, Debug)]
pub struct TrainerOptions {
    /// Threads that share the blocks.
    pub threads: usize,
    /// The engine of the step.
    pub backend: BackendKind,
    /// Where.
    pub device: DeviceChoice,
    /// The passes over the step, its adjoint and the fused kernels.
    pub passes: Selection,
    /// Bytes that are free: fewer lanes run at once where more are needed, and what cannot fit is refused.
    pub memory: Option<u64>,
}

/// The results of one batch of episodes.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// The loss.
    pub loss: f64,
    /// Reward of each lane's episode; empty for supervised tasks.
    pub rewards: Vec<f64>,
    /// Gradients by slot of the parameters, before scales and clipping; nothing for constants.
    pub gradients: Vec<Option<Vec<f64>>>,
}

impl Trainer {
    /// Prepares the experiment at iteration 0.
    ///
    /// # Errors
    /// [`TrainError`]; nothing of the size of the run is allocated before it is known to fit.
    pub fn new(program: &Compiled, options: TrainerOptions) -> Result<Trainer, TrainError> {
        Trainer::with_data(program, options, None)
    }

    /// As [`Trainer::new`], for a text from a directory.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn with_data(
        program: &Compiled,
        options: TrainerOptions,
        data: Option<&Path>,
    ) -> Result<Trainer, TrainError> {
        let model = &program.model;
        let (train, task_model) = experiment(model)?;
        let task = built(task_model)?;
        let task = task.as_ref();
        let batch = train.settings.int("batch");
        let limits = Limits {
            free: options.memory,
            allowed: train.settings.bytes("memory"),
        };
        let lanes = batch.max(1);
        let text = task
            .text()
            .filter(|_| Horizon::of(model) == Horizon::Chunks);
        if let (Some(directory), None) = (data, text) {
            return Err(TrainError::NoText(directory.to_owned()));
        }
        let target = options.backend.target();
        let experiment = Experiment::trained(program, target, &options.passes)?;
        let experiment = Arc::new(experiment);
        let objective = Objective::new(train);
        let supervised = matches!(objective, Objective::Supervised(_));
        let planned = planned(train, task_model);
        let chunks = Chunks::new(train, task.steps());
        let rate = match train.trainer.kind {
            TrainerKind::Language => Rate::CONSTANT,
            TrainerKind::Reward | TrainerKind::Supervised => Rate::new(&train.settings, planned),
        };
        let mut watch = Stopwatch::start();
        // Its device code does not depend on lengths, and nothing of the size of the run is there yet.
        let described = optimizer(train, &[])?;
        let work = Work {
            experiment: &experiment,
            task,
            objective,
            update: update(described.as_ref(), &train.settings),
            lanes,
            chunks,
            limits,
        };
        let mut language = None;
        let (plan, block) = if let Some(text) = text {
            let settings = &train.settings;
            let objective = TextObjective::new(&program.step, text.words, settings)?;
            let (plan, both) = readers(&work, &options, (objective, settings), &mut watch)?;
            let model = Language::new(objective, text, settings, both, data)?;
            language = Some(Mutex::new(model));
            (plan, None)
        } else {
            let (plan, block) = blocks(&work, &options, &mut watch)?;
            (plan, Some(block))
        };
        let seed = train.settings.int("seed") as u64;
        let parameters = ParamStore::init(&program.step.params, seed);
        let optimizer = optimizer(train, &parameters.trained_lengths())?;
        let average = match language {
            Some(_) => Average::new(&train.settings),
            None => Average::default(),
        };
        let states = match language {
            Some(_) => &program.step.states,
            None => &experiment.whole().graphs.step.states,
        };
        let carried = states
            .iter()
            .enumerate()
            .map(|(k, slot)| CarriedSlot {
                slot: k,
                path: slot.path.clone(),
                dims: slot.dims.clone(),
                // A text is one episode, read in many iterations.
                always: language.is_some() || slot.outlives(),
            })
            .filter(|slot| slot.always || chunks.count() > 1)
            .collect();
        Ok(Trainer {
            seed,
            batch,
            clip_norm: train.settings.real("clip_norm"),
            burn_in: train.settings.int("burn_in") as u64,
            planned,
            rate,
            epochs: Epochs::new(task, train),
            outline: task.outline(),
            chunks,
            iteration: 0,
            rollbacks: 0,
            options,
            restore_point: RestorePoint::default(),
            pace: f64::INFINITY,
            block,
            states: Vec::new(),
            states_before: Vec::new(),
            language,
            parameters,
            average,
            optimizer,
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(options.threads.max(1))
                .build()?,
            supervised,
            carried,
            plan,
            experiment,
            times: watch.stages,
        })
    }

    /// Takes the outline of the task's files, if there are any.
    pub fn outline(&mut self) -> Option<Vec<u8>> {
        self.outline.take()
    }

    /// The compiled experiment.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The time of each part of its set-up.
    pub fn times(&self) -> impl Iterator<Item = &StageTime> {
        self.experiment.times().iter().chain(&self.times)
    }

    /// The plan of lanes and memory.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns true if its task gives rewards.
    pub fn has_rewards(&self) -> bool {
        !self.supervised
    }

    /// Applies gradients from now on, however long the spec burns in: for measurements of whole iterations.
    pub fn end_burn_in(&mut self) {
        self.burn_in = 0;
    }

    /// Iterations done.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// The number of times it was told to draw other episodes.
    pub fn rollbacks(&self) -> u64 {
        self.rollbacks
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Lanes of an iteration.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &dyn Optimizer {
        self.optimizer.as_ref()
    }

    /// The parameters.
    pub fn parameters(&self) -> &ParamStore {
        &self.parameters
    }

    fn episodes(&mut self, options: EpisodeOptions) -> Result<BlockReport, TrainError> {
        let values = self.parameters.wide();
        let Some(block) = &mut self.block else {
            return Ok(BlockReport::default());
        };
        let states = &self.states;
        let mut report = self.pool.install(|| block.run(&values, options, states))?;
        let left = std::mem::take(&mut report.states);
        if let Some(fault) = report.fault.take() {
            return Err(BackendError::Environment(fault).into());
        }
        self.states_before = std::mem::replace(&mut self.states, left);
        Ok(report)
    }

    /// One batch of training episodes, or a chunk of the text, with the parameters as they are, and no step of the optimizer: losses, rewards and
    /// gradients, for comparisons.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn probe(&mut self) -> Result<Probe, TrainError> {
        if let Some(mut model) = self.language() {
            let model = &mut *model;
            let chunk = self
                .pool
                .install(|| model.chunk(&self.parameters, self.iteration))?;
            let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
            return Ok(Probe {
                loss: chunk.loss.mean() + chunk.penalty,
                rewards: Vec::new(),
                gradients: chunk.gradients.into_iter().map(|g| g.map(wide)).collect(),
            });
        }
        let mut report = self.episodes(self.next_episodes())?;
        if self.block.as_ref().is_some_and(|block| block.turns() > 0) {
            let part = self.run_again(0)?;
            (report.loss, report.gradients) = (part.loss, part.gradients);
        }
        Ok(Probe {
            loss: report.loss,
            rewards: report.rewards,
            gradients: report.gradients,
        })
    }

    /// The seed of the training episodes.
    pub fn episode_seed(&self) -> u64 {
        episode_seed(self.seed, self.rollbacks)
    }

    /// The options it was made with.
    pub fn options(&self) -> TrainerOptions {
        self.options
    }

    /// The options of the next iteration's episodes.
    pub fn next_episodes(&self) -> EpisodeOptions {
        EpisodeOptions {
            seed: self.episode_seed(),
            iteration: self.chunks.batch(self.iteration) as u32,
            learn: true,
            greedy: false,
            batch: self.batch,
            part: Part::Train,
            chunk: self.chunks.chunk(self.iteration),
        }
    }

    /// A step of the optimizer (none while burning in), with a factor on the learning rate. Returns the norm of the
    /// gradients before they are clipped.
    fn update(
        &mut self,
        loss: f64,
        gradients: &mut [Vec<f32>],
        rate: f64,
    ) -> Result<f64, TrainError> {
        let number = self.iteration + 1;
        let finite = |value: f64, what| {
            if value.is_finite() {
                Ok(value)
            } else {
                Err(TrainError::NotFinite {
                    iteration: number,
                    what,
                })
            }
        };
        finite(loss, NotFinite::Loss)?;
        let burning_in = number <= self.burn_in;
        let Trainer {
            pool,
            parameters,
            optimizer,
            restore_point,
            clip_norm,
            ..
        } = self;
        pool.install(|| {
            gradient::scale(gradients, &parameters.trained_scales());
            let norm = gradient::clip_global_norm(gradients, *clip_norm);
            finite(norm, NotFinite::Gradient)?;
            if burning_in {
                return Ok(norm);
            }
            restore_point.save(parameters, optimizer.as_ref());
            optimizer.step(&mut parameters.trained_values_mut(), gradients, rate);
            match restore_point::first_not_finite(parameters).map(str::to_owned) {
                None => Ok(norm),
                Some(parameter) => {
                    restore_point.restore(parameters, optimizer.as_mut());
                    finite(f64::NAN, NotFinite::Parameter(parameter))
                }
            }
        })
    }

    /// Episodes without learning, as many batches as hold `episodes`; the same for the same seed.
    /// They are drawn from iterations that training never reaches.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn evaluate(&mut self, episodes: usize, greedy: bool) -> Result<Evaluation, TrainError> {
        // It may come between two chunks of training.
        let between = (self.chunks.count() > 1).then(|| self.states.clone());
        self.forget_episode();
        let mut out = Evaluation::default();
        let batches = episodes.div_ceil(self.batch);
        for k in 0..batches {
            let report = self.episodes(EpisodeOptions {
                seed: self.seed,
                iteration: u32::MAX - k as u32,
                learn: false,
                greedy,
                batch: self.batch,
                part: Part::Test,
                chunk: None,
            })?;
            out.loss += report.loss / batches as f64;
            out.rewards.extend(&report.rewards);
            out.step_rewards.resize(report.step_rewards.len(), 0.0);
            for (total, value) in out.step_rewards.iter_mut().zip(&report.step_rewards) {
                *total += value / (batches * self.batch) as f64;
            }
            out.scores.extend(report.values);
        }
        out.rewards.truncate(episodes);
        out.scores.truncate(episodes);
        if let Some(between) = between {
            self.states = between;
        }
        Ok(out)
    }

    /// Returns the states that do not outlive an episode to their first values.
    fn forget_episode(&mut self) {
        for slot in self.carried.iter().filter(|slot| !slot.always) {
            if let Some(state) = self.states.get_mut(slot.slot) {
                *state = None;
            }
        }
    }
}

fn mean_of(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
