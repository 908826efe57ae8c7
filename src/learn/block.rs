//! The interface to the runners of a task's episodes: their options and results.

use super::a2c::{A2c, Parts};
use super::chunks::Chunk;
use super::lane_episode::{LaneEpisode, LaneLoss};
use super::learner::{IterationResult, IterationResults, Learner};
use super::losses::Losses;
use super::phases::Phases;
use super::ppo::Ppo;
use super::score::Tally;
use super::supervised::SupervisedLoss;
use super::tasks::Part;
use crate::engine::episode::States;
use crate::engine::BackendError;
use crate::lang::catalog::TrainerKind;
use crate::lang::sema::model::TrainModel;
use crate::machine::kernel::KernelReport;

/// The objective of the lanes of a block.
#[derive(Clone, Debug)]
pub enum Objective {
    /// Rewards.
    A2c(A2c),
    /// Rewards, learned from several times.
    Ppo(Ppo),
    /// Targets.
    Supervised(Losses),
}

impl Objective {
    /// The objective of a trainer with its settings.
    pub fn new(train: &TrainModel) -> Objective {
        match train.trainer.kind {
            TrainerKind::Reward if train.trainer.name == "ppo" => {
                Objective::Ppo(Ppo::new(&train.settings))
            }
            TrainerKind::Reward if train.settings.bool("normalise") => {
                Objective::Ppo(Ppo::once(&train.settings))
            }
            TrainerKind::Reward => Objective::A2c(A2c::new(&train.settings)),
            TrainerKind::Language => {
                Objective::Supervised(Losses::all(SupervisedLoss::CrossEntropy))
            }
            TrainerKind::Supervised => Objective::Supervised(Losses::new(train)),
        }
    }
}

/// The options of an episode.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpisodeOptions {
    /// Seed of the run.
    pub seed: u64,
    /// Iteration, which with the seed and the lane fixes the episode.
    pub iteration: u32,
    /// True if gradients are wanted.
    pub learn: bool,
    /// True if the likeliest action is taken instead of a drawn one.
    pub greedy: bool,
    /// Lanes of the whole batch, over which losses are averaged.
    pub batch: usize,
    /// The part of the data that they come from.
    pub part: Part,
    /// The steps that are run, if these are not all.
    pub chunk: Option<Chunk>,
}

impl EpisodeOptions {
    /// The first step.
    pub fn first(&self) -> usize {
        self.chunk.map_or(0, |chunk| chunk.first)
    }

    /// The number of steps, of an episode with so many.
    pub fn steps(&self, whole: usize) -> usize {
        self.chunk.map_or(whole, |chunk| chunk.steps)
    }

    /// Tells if the last step is that of the episode.
    pub fn ends(&self, whole: usize) -> bool {
        self.first() + self.steps(whole) == whole
    }
}

/// The results of the episodes of a block.
#[derive(Clone, Debug, Default)]
pub struct BlockReport {
    /// Terms of the reward loss.
    pub parts: Parts,
    /// The loss.
    pub loss: f64,
    /// Reward of each lane's episode; empty for supervised tasks.
    pub rewards: Vec<f64>,
    /// Rewards per step, summed over lanes, `[steps]`; empty for supervised tasks.
    pub step_rewards: Vec<f64>,
    /// The scores of all lanes together.
    pub scores: Vec<Tally>,
    /// By lane, the first score, if a single episode has one.
    pub values: Vec<f64>,
    /// Gradients of trained parameters, in the order of the slots; empty unless learning.
    pub gradients: Vec<Option<Vec<f64>>>,
    /// The states that outlive an episode: by slot, lane by lane; `None` for others.
    pub states: States,
    /// The time of each phase; the trainer adds `update`.
    pub phases: Phases,
    /// The reason why the task could not give an episode; the other numbers are then meaningless.
    pub fault: Option<String>,
    /// True if any step of a supervised task had a weight.
    pub weighted: bool,
}

impl BlockReport {
    /// Adds a lane's finished episode and its loss; returns the seeds of its outputs.
    pub fn add(&mut self, lane: &LaneEpisode, loss: LaneLoss) -> Vec<Vec<f64>> {
        self.parts += loss.parts;
        self.loss += loss.loss;
        self.fault = self.fault.take().or(loss.fault);
        self.weighted |= loss.weighted;
        self.rewards.extend(loss.rewards);
        self.values
            .extend(loss.scores.first().and_then(Tally::of_episode));
        if self.scores.is_empty() {
            self.scores = loss.scores;
        } else {
            for (all, own) in self.scores.iter_mut().zip(&loss.scores) {
                all.add(own);
            }
        }
        let steps = self.step_rewards.len().max(lane.rewards().len());
        self.step_rewards.resize(steps, 0.0);
        for (total, reward) in self.step_rewards.iter_mut().zip(lane.rewards()) {
            *total += reward;
        }
        loss.seeds
    }
}

/// Runs the episodes of all lanes.
pub trait Block: Send {
    /// Runs one episode in every lane with the given parameters, by slot, and the states that outlive episodes.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
        states: &States,
    ) -> Result<BlockReport, BackendError>;

    /// The number of optimizer steps for which the last episodes are run again; 0 where they are learned from as they run.
    fn turns(&self) -> u64 {
        0
    }

    /// Runs a part of the last episodes again, with their actions, and returns loss and gradients.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn again(&mut self, _parameters: &[Vec<f64>], _turn: u64) -> Result<BlockReport, BackendError> {
        Ok(BlockReport::default())
    }

    /// Whole iterations with their steps of the optimizer, where it does them by itself, with the states that outlive
    /// episodes: `None` where it does not. The same numbers however many are asked for at once.
    ///
    /// # Errors
    /// Fails as the engine does.
    fn learn(
        &mut self,
        _learner: Learner<'_>,
        _states: &mut States,
    ) -> Result<Option<IterationResults<IterationResult>>, BackendError> {
        Ok(None)
    }

    /// Takes the times of kernels in what is run from now on, or no longer.
    fn measure_kernels(&mut self, _on: bool) {}

    /// The work and time of each kernel since [`Block::measure_kernels`]; empty where the engine has no kernels
    /// of its own.
    fn kernels(&self) -> Vec<KernelReport> {
        Vec::new()
    }
}
