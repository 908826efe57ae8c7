//! The trainer: batches of episodes, one gradient each, one step of the optimiser each.

use super::a2c::Parts;
use super::block::{Block, BlockReport, EpisodeOptions, LaneBlock, Objective};
use super::checkpoint::{Checkpoint, CheckpointError, Header, Tensor};
use super::fused_block::FusedBlock;
use super::gradient;
use super::optim::Optimizer;
use super::params::ParamStore;
use crate::autodiff::Options;
use crate::backend::candle::{Candle, Precision};
use crate::backend::fused::{Fused, Unsupported};
use crate::backend::reference::Reference;
use crate::backend::BackendError;
use crate::driver::{adjoint, Compiled, InternalFault};
use crate::ir::Reset;
use crate::plan::Plan;
use rayon::prelude::*;
use std::sync::Arc;

/// What runs the compiled step.
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

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::Fused => "fused",
            BackendKind::Candle => "candle",
            BackendKind::Reference => "reference",
        }
    }
}

/// Why training could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The spec lacks a block.
    #[error("the spec has no `{0}` block, which `bpmc train` needs; {1}")]
    Missing(&'static str, &'static str),
    /// The machine has not enough memory.
    #[error("{0}")]
    Memory(String),
    /// Settings of the optimiser that do not go together.
    #[error("{message}; {help}")]
    Settings {
        /// What is wrong.
        message: String,
        /// What would help.
        help: String,
    },
    /// A number of the run is not finite.
    #[error(
        "iteration {iteration}: the {what} is not a finite number; lower the learning rate, bound the \
         traces or lower `clip_norm`"
    )]
    NotFinite {
        /// Counted from 1.
        iteration: u64,
        /// Which number.
        what: &'static str,
    },
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The fused kernels cannot run the step.
    #[error("{0}; `--backend candle` can")]
    Unsupported(#[from] Unsupported),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// A checkpoint could not be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What an iteration gave, over all lanes.
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
    /// The task's own measure, averaged over lanes.
    pub score: Option<(&'static str, f64)>,
    /// Norm of the whole gradient before clipping.
    pub gradient_norm: f64,
}

/// What episodes without learning gave.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Loss, averaged over batches.
    pub loss: f64,
    /// Reward of each episode.
    pub rewards: Vec<f64>,
    /// Mean reward of each step.
    pub step_rewards: Vec<f64>,
    /// The task's own measure of each episode, with its name.
    pub scores: Vec<f64>,
    /// Name of that measure.
    pub score_name: Option<&'static str>,
}

/// An experiment being trained.
pub struct Trainer {
    seed: u64,
    batch: usize,
    clip_norm: f64,
    burn_in: u64,
    iteration: u64,
    blocks: Vec<Box<dyn Block>>,
    parameters: ParamStore,
    optimizer: Box<dyn Optimizer>,
    pool: rayon::ThreadPool,
    supervised: bool,
    carried: Vec<CarriedSlot>,
    plan: Plan,
}

/// A state that outlives an episode.
struct CarriedSlot {
    slot: usize,
    path: String,
    dims: Vec<usize>,
}

/// What a [`Trainer`] is made with, beside the spec.
#[derive(Clone, Copy, Debug)]
pub struct TrainerOptions {
    /// Threads that share the blocks.
    pub threads: usize,
    /// What runs the step.
    pub backend: BackendKind,
    /// Refuse plans that need more bytes than this.
    pub memory: Option<u64>,
}

impl Trainer {
    /// Prepares the experiment at iteration 0.
    ///
    /// # Errors
    /// [`TrainError`]; nothing of the size of the run is allocated before it is known to fit.
    pub fn new(program: &Compiled, options: TrainerOptions) -> Result<Trainer, TrainError> {
        let model = &program.model;
        let train = model.train.as_ref().ok_or(TrainError::Missing(
            "train",
            "add for instance `train a2c { }`",
        ))?;
        let task = model.task.as_ref().ok_or(TrainError::Missing(
            "task",
            "add for instance `task maze { }`; for given values there is `bpmc grad`",
        ))?;
        let task = task.task.as_ref();
        let batch = train.settings.int("batch");
        let backward = adjoint(&program.step, Options::default())?;
        let plan = Plan::new(&program.step, &backward, batch, task.steps());
        if let Some(refusal) = options.memory.and_then(|available| plan.refusal(available)) {
            return Err(TrainError::Memory(refusal));
        }
        let objective = Objective::new(train.trainer.kind, &train.settings);
        let mut blocks: Vec<Box<dyn Block>> = Vec::with_capacity(plan.blocks.len());
        let mut first = 0;
        let fused = Arc::new(Fused::new(&program.step, &backward)?);
        let graph = Arc::new(program.step.clone());
        for lanes in &plan.blocks {
            let (step, backward) = (program.step.clone(), backward.clone());
            blocks.push(match options.backend {
                BackendKind::Fused => Box::new(FusedBlock::new(
                    fused.clone(),
                    graph.clone(),
                    task,
                    first..first + lanes,
                    plan.interval,
                    objective,
                )),
                BackendKind::Candle => {
                    let device = candle_core::Device::Cpu;
                    let executor = Candle::new(step, backward, *lanes, Precision::Single, &device)?;
                    Box::new(LaneBlock::new(
                        executor,
                        task,
                        first,
                        plan.interval,
                        objective,
                    ))
                }
                BackendKind::Reference => {
                    let executor = Reference::new(step, backward, *lanes);
                    Box::new(LaneBlock::new(
                        executor,
                        task,
                        first,
                        plan.interval,
                        objective,
                    ))
                }
            });
            first += lanes;
        }
        let seed = train.settings.int("seed") as u64;
        let parameters = ParamStore::init(&program.step.params, seed);
        let optimizer =
            (train.optimizer.build)(&train.optimizer_settings, &parameters.trained_lengths())
                .map_err(|conflict| TrainError::Settings {
                    message: conflict.message,
                    help: conflict.help,
                })?;
        let carried = program
            .step
            .states
            .iter()
            .enumerate()
            .filter(|(_, slot)| matches!(slot.reset, Reset::Never | Reset::Carry))
            .map(|(k, slot)| CarriedSlot {
                slot: k,
                path: slot.path.clone(),
                dims: slot.dims.clone(),
            })
            .collect();
        Ok(Trainer {
            seed,
            batch,
            clip_norm: train.settings.real("clip_norm"),
            burn_in: train.settings.int("burn_in") as u64,
            iteration: 0,
            blocks,
            parameters,
            optimizer,
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(options.threads.max(1))
                .build()?,
            supervised: matches!(objective, Objective::Supervised(_)),
            carried,
            plan,
        })
    }

    /// How lanes and memory are planned.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Iterations done.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Lanes of an iteration.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The parameters.
    pub fn parameters(&self) -> &ParamStore {
        &self.parameters
    }

    fn episodes(&mut self, options: EpisodeOptions) -> Result<Vec<BlockReport>, TrainError> {
        let values: Vec<Vec<f64>> = self
            .parameters
            .iter()
            .map(|p| p.values.iter().map(|x| f64::from(*x)).collect())
            .collect();
        let blocks = &mut self.blocks;
        let reports: Vec<Result<BlockReport, BackendError>> = self.pool.install(|| {
            blocks
                .par_iter_mut()
                .map(|block| block.run(&values, options))
                .collect()
        });
        Ok(reports.into_iter().collect::<Result<_, _>>()?)
    }

    /// One batch of episodes and one step of the optimiser (none while burning in).
    ///
    /// # Errors
    /// [`TrainError::NotFinite`], before anything is changed, and errors of the backend.
    pub fn step(&mut self) -> Result<IterationReport, TrainError> {
        let number = self.iteration + 1;
        let reports = self.episodes(EpisodeOptions {
            seed: self.seed,
            iteration: self.iteration as u32,
            learn: true,
            greedy: false,
            batch: self.batch,
        })?;
        let mut gradients: Vec<Vec<f32>> = Vec::new();
        for id in self.parameters.trained_ids() {
            // Blocks are added in their order, whichever thread was first.
            let mut sum = vec![0.0f64; self.parameters.get(id).values.len()];
            for report in &reports {
                if let Some(Some(part)) = report.gradients.get(id.index()) {
                    for (total, value) in sum.iter_mut().zip(part) {
                        *total += value;
                    }
                }
            }
            gradients.push(sum.into_iter().map(|x| x as f32).collect());
        }
        let loss: f64 = reports.iter().map(|report| report.loss).sum();
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
        finite(loss, "loss")?;
        gradient::scale(&mut gradients, &self.parameters.trained_scales());
        let norm = gradient::clip_global_norm(&mut gradients, self.clip_norm);
        finite(norm, "gradient")?;
        if number > self.burn_in {
            self.optimizer
                .step(&mut self.parameters.trained_values_mut(), &gradients, 1.0);
        }
        self.iteration = number;
        let mut parts = Parts::default();
        for report in &reports {
            parts += report.parts;
        }
        let rewards: Vec<f64> = reports.iter().flat_map(|r| r.rewards.clone()).collect();
        let scores: Vec<(&'static str, f64)> =
            reports.iter().flat_map(|r| r.scores.clone()).collect();
        Ok(IterationReport {
            iteration: number,
            loss,
            parts: (!self.supervised).then_some(parts),
            reward: mean(&rewards),
            score: scores.first().map(|(name, _)| {
                let values: Vec<f64> = scores.iter().map(|(_, value)| *value).collect();
                (*name, mean(&values).unwrap_or(f64::NAN))
            }),
            gradient_norm: norm,
        })
    }

    /// Episodes without learning, as many batches as hold `episodes`; the same for the same seed.
    /// They are drawn from iterations that training never reaches.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn evaluate(&mut self, episodes: usize, greedy: bool) -> Result<Evaluation, TrainError> {
        let mut out = Evaluation::default();
        let batches = episodes.div_ceil(self.batch);
        for k in 0..batches {
            let reports = self.episodes(EpisodeOptions {
                seed: self.seed,
                iteration: u32::MAX - k as u32,
                learn: false,
                greedy,
                batch: self.batch,
            })?;
            for report in reports {
                out.loss += report.loss / batches as f64;
                out.rewards.extend(&report.rewards);
                out.step_rewards.resize(report.step_rewards.len(), 0.0);
                for (total, value) in out.step_rewards.iter_mut().zip(&report.step_rewards) {
                    *total += value / (batches * self.batch) as f64;
                }
                for (name, value) in report.scores {
                    out.score_name = Some(name);
                    out.scores.push(value);
                }
            }
        }
        out.rewards.truncate(episodes);
        out.scores.truncate(episodes);
        Ok(out)
    }

    /// All that is needed to go on from here to the same bits.
    pub fn checkpoint(&self, spec: &str, spec_hash: &str) -> Checkpoint {
        let header = Header {
            spec: spec.to_owned(),
            spec_hash: spec_hash.to_owned(),
            seed: self.seed,
            iteration: self.iteration,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimizer: None,
            pending: None,
        };
        let optimizer: Option<&dyn Optimizer> = Some(self.optimizer.as_ref());
        let mut checkpoint = Checkpoint::capture(header, &self.parameters, optimizer);
        for slot in &self.carried {
            let mut values = Vec::new();
            for block in &self.blocks {
                if let Some(part) = &block.carried()[slot.slot] {
                    values.extend(part.iter().map(|x| *x as f32));
                }
            }
            if !values.is_empty() {
                let mut dims = vec![self.batch];
                dims.extend(&slot.dims);
                checkpoint
                    .states
                    .insert(slot.path.clone(), Tensor { dims, values });
            }
        }
        checkpoint
    }

    /// Goes to where a checkpoint was taken.
    ///
    /// # Errors
    /// Where the checkpoint is not of this spec.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        checkpoint.restore_parameters(&mut self.parameters)?;
        checkpoint.restore_optimizer(&self.parameters, self.optimizer.as_mut())?;
        self.restore_carried(checkpoint)?;
        self.iteration = checkpoint.header.iteration;
        Ok(())
    }

    /// Takes only the parameters of a checkpoint, for evaluation.
    ///
    /// # Errors
    /// Where the checkpoint is not of this spec.
    pub fn restore_parameters(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        checkpoint.restore_parameters(&mut self.parameters)?;
        self.iteration = checkpoint.header.iteration;
        Ok(())
    }

    fn restore_carried(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        for slot in &self.carried {
            let Some(saved) = checkpoint.states.get(&slot.path) else {
                continue;
            };
            let mut dims = vec![self.batch];
            dims.extend(&slot.dims);
            if saved.dims != dims {
                return Err(TrainError::Checkpoint(CheckpointError::ShapeMismatch {
                    name: slot.path.clone(),
                    saved: saved.dims.clone(),
                    wanted: dims,
                }));
            }
            let size: usize = slot.dims.iter().product();
            let mut rest = saved.values.as_slice();
            for block in &mut self.blocks {
                let (mine, others) = rest.split_at(block.lanes() * size);
                rest = others;
                let mut carried = block.carried().to_vec();
                carried[slot.slot] = Some(mine.iter().map(|x| f64::from(*x)).collect());
                block.set_carried(carried);
            }
        }
        Ok(())
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
