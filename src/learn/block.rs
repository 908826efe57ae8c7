//! A block of lanes: the episodes of some lanes, forward and back, on one executor.

use super::a2c::{A2c, Parts};
use super::lane_episode::{LaneEpisode, LaneLoss, Wiring};
use super::learner::{Learned, Learner, Lesson};
use super::phases::Phases;
use super::supervised::SupervisedLoss;
use crate::engine::bptt::{zero_adjoint, Environment, Rollout, StepInputs};
use crate::engine::{BackendError, Executor};
use crate::ir::Reset;
use crate::lang::catalog::TrainerKind;
use crate::learn::tasks::Task;
use crate::machine::kernel::KernelReport;
use std::time::Instant;

/// What the lanes of a block are trained on.
#[derive(Clone, Copy, Debug)]
pub enum Objective {
    /// Rewards.
    A2c(A2c),
    /// Targets.
    Supervised(SupervisedLoss),
}

impl Objective {
    /// The objective of a trainer with its settings.
    pub fn new(kind: TrainerKind, settings: &crate::lang::settings::Settings) -> Objective {
        match kind {
            TrainerKind::Reward => Objective::A2c(A2c::new(settings)),
            TrainerKind::Language => Objective::Supervised(SupervisedLoss::CrossEntropy),
            TrainerKind::Supervised => Objective::Supervised(
                SupervisedLoss::parse(settings.word("loss"))
                    .expect("the setting is a choice among the names of losses"),
            ),
        }
    }
}

/// How an episode is run.
#[derive(Clone, Copy, Debug)]
pub struct EpisodeOptions {
    /// Seed of the run.
    pub seed: u64,
    /// Iteration, which with the seed and the lane fixes the episode.
    pub iteration: u32,
    /// Whether gradients are wanted.
    pub learn: bool,
    /// Whether the likeliest action is taken instead of a drawn one.
    pub greedy: bool,
    /// Lanes of the whole batch, over which losses are averaged.
    pub batch: usize,
}

/// What the episodes of a block gave.
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
    /// The task's own measure, per lane, where it has one.
    pub scores: Vec<(&'static str, f64)>,
    /// Gradients of trained parameters, in the order of the slots; empty unless learning.
    pub gradients: Vec<Option<Vec<f64>>>,
    /// Where the time went; `update` is left to the trainer.
    pub phases: Phases,
}

impl BlockReport {
    /// Adds a lane's finished episode and its loss; returns the seeds of its outputs.
    pub fn add(&mut self, lane: &LaneEpisode, loss: LaneLoss) -> Vec<Vec<f64>> {
        self.parts += loss.parts;
        self.loss += loss.loss;
        self.rewards.extend(loss.reward);
        self.scores.extend(loss.score.map(|s| (s.name, s.value)));
        self.step_rewards.resize(lane.rewards().len(), 0.0);
        for (total, reward) in self.step_rewards.iter_mut().zip(lane.rewards()) {
            *total += reward;
        }
        loss.seeds
    }
}

/// Runs episodes of some lanes. Blocks are independent of each other.
pub trait Block: Send {
    /// Runs one episode in every lane with the given parameters, in the order of the slots.
    ///
    /// # Errors
    /// Those of the backend.
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
    ) -> Result<BlockReport, BackendError>;

    /// Whole iterations with their steps of the optimiser, for blocks that hold all lanes and do them by themselves: `None`
    /// from all others. The same numbers however many are asked for at once.
    ///
    /// # Errors
    /// Those of the backend.
    fn learn(&mut self, _learner: Learner<'_>) -> Result<Option<Lesson<Learned>>, BackendError> {
        Ok(None)
    }

    /// Values of the states that outlive an episode: by slot, lane by lane; `None` for others.
    fn carried(&self) -> &[Option<Vec<f64>>];

    /// Sets what [`Block::carried`] gives.
    fn set_carried(&mut self, carried: Vec<Option<Vec<f64>>>);

    /// Undoes what the last [`Block::run`] did to [`Block::carried`].
    fn take_back(&mut self);

    /// How many lanes there are.
    fn lanes(&self) -> usize;

    /// Takes the times of kernels in what is run from now on, or no longer.
    fn measure_kernels(&mut self, _on: bool) {}

    /// What each kernel did and how long it took since [`Block::measure_kernels`]; nothing where the backend
    /// has no kernels of its own.
    fn kernels(&self) -> Vec<KernelReport> {
        Vec::new()
    }
}

/// A block on an executor, all its lanes in step.
pub struct LaneBlock<E: Executor> {
    executor: E,
    wiring: Wiring,
    lanes: Vec<LaneEpisode>,
    interval: usize,
    carried: Vec<Option<Vec<f64>>>,
    /// What `carried` was before the last run.
    carried_before: Vec<Option<Vec<f64>>>,
}

impl<E: Executor> LaneBlock<E> {
    /// Lanes `first_lane ..` of a task, as many as the executor has.
    pub fn new(
        executor: E,
        task: &dyn Task,
        first_lane: usize,
        interval: usize,
        objective: Objective,
    ) -> LaneBlock<E> {
        let graph = executor.step_graph();
        let wiring = Wiring::new(graph, task, objective);
        let lanes = (0..executor.lanes())
            .map(|k| LaneEpisode::new(&wiring, task, first_lane + k))
            .collect();
        let carried: Vec<_> = graph.states.iter().map(|_| None).collect();
        LaneBlock {
            carried_before: carried.clone(),
            wiring,
            lanes,
            interval,
            carried,
            executor,
        }
    }

    fn initial(&self) -> Result<Vec<E::Tensor>, BackendError> {
        let graph = self.executor.step_graph();
        graph
            .states
            .iter()
            .zip(&self.carried)
            .map(|(slot, carried)| match carried {
                Some(values) => self.executor.upload(values, &slot.dims),
                None => self.executor.fill(slot.init, &slot.dims),
            })
            .collect()
    }

    fn keep_carried(&mut self, last: &[E::Tensor]) -> Result<(), BackendError> {
        let graph = self.executor.step_graph();
        for (k, slot) in graph.states.iter().enumerate() {
            if matches!(slot.reset, Reset::Never | Reset::Carry) {
                // Kept as checkpoints keep it, so that a resumed run goes on from the same numbers.
                let values = self.executor.download(&last[k])?;
                let values = values.iter().map(|x| f64::from(*x as f32)).collect();
                self.carried_before[k] = self.carried[k].replace(values);
            }
        }
        Ok(())
    }
}

/// The lanes of a block as an environment.
struct InStep<'a> {
    lanes: &'a mut [LaneEpisode],
    wiring: &'a Wiring,
    options: EpisodeOptions,
    /// Seconds spent in the task.
    seconds: f64,
}

impl<E: Executor> Environment<E> for InStep<'_> {
    fn inputs(&mut self, executor: &E, step: usize) -> Result<StepInputs<E::Tensor>, BackendError> {
        let start = Instant::now();
        let graph = executor.step_graph();
        let mut buffers: Vec<Vec<f64>> = vec![Vec::new(); graph.inputs.len()];
        for lane in self.lanes.iter_mut() {
            lane.observe(self.wiring, |slot, values| {
                buffers[slot].extend(values.iter().map(|x| f64::from(*x)));
            });
        }
        let inputs = graph
            .inputs
            .iter()
            .zip(&buffers)
            .map(|(slot, buffer)| executor.upload(buffer, &slot.dims))
            .collect::<Result<_, _>>()?;
        let noises = graph
            .noises
            .iter()
            .enumerate()
            .map(|(k, slot)| {
                let size: usize = slot.dims.iter().product();
                let mut values = vec![0.0; self.lanes.len() * size];
                for (lane, values) in self.lanes.iter().zip(values.chunks_mut(size)) {
                    lane.noise(graph, k, step, &self.options, values);
                }
                executor.upload(&values, &slot.dims)
            })
            .collect::<Result<_, _>>()?;
        self.seconds += start.elapsed().as_secs_f64();
        Ok(StepInputs { inputs, noises })
    }

    fn outputs(
        &mut self,
        executor: &E,
        step: usize,
        outputs: &[E::Tensor],
    ) -> Result<(), BackendError> {
        let read: Vec<Vec<f64>> = self
            .wiring
            .read()
            .map(|slot| executor.download(&outputs[slot]))
            .collect::<Result<_, _>>()?;
        // What was downloaded had to be computed first: that is the network's time.
        let start = Instant::now();
        let count = self.lanes.len();
        for (k, lane) in self.lanes.iter_mut().enumerate() {
            let mine = read.iter().map(|values| {
                let size = values.len() / count;
                &values[k * size..(k + 1) * size]
            });
            lane.take(self.wiring, step, &self.options, mine);
        }
        self.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }
}

impl<E: Executor + Send> Block for LaneBlock<E> {
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
    ) -> Result<BlockReport, BackendError> {
        let start = Instant::now();
        self.executor.set_parameters(parameters)?;
        for lane in &mut self.lanes {
            lane.start(&options);
        }
        let initial = self.initial()?;
        let steps = self.wiring.steps();
        let mut environment = InStep {
            lanes: &mut self.lanes,
            wiring: &self.wiring,
            options,
            seconds: 0.0,
        };
        let rollout = Rollout::forward(
            &mut self.executor,
            initial,
            steps,
            self.interval,
            &mut environment,
        )?;
        let mut task = environment.seconds;
        let mut report = BlockReport::default();
        report.phases.forward = start.elapsed().as_secs_f64() - task;
        let start = Instant::now();
        let seeds: Vec<Vec<Vec<f64>>> = self
            .lanes
            .iter()
            .map(|lane| report.add(lane, lane.loss(&self.wiring, &options)))
            .collect();
        task += start.elapsed().as_secs_f64();
        report.phases.task = task;
        self.keep_carried(rollout.final_states())?;
        if options.learn {
            let start = Instant::now();
            self.executor.clear_gradients();
            let graph = self.executor.step_graph();
            let zero = zero_adjoint(&self.executor)?;
            let dims: Vec<Vec<usize>> = graph.outputs.iter().map(|s| s.dims.clone()).collect();
            let silent = dims
                .iter()
                .map(|dims| self.executor.fill(0.0, dims))
                .collect::<Result<Vec<_>, _>>()?;
            let wiring = &self.wiring;
            rollout.backward(&mut self.executor, zero, |executor, step| {
                let mut all = silent.clone();
                for (k, slot) in wiring.read().enumerate() {
                    let values: Vec<f64> = seeds
                        .iter()
                        .flat_map(|lane| {
                            let size = lane[k].len() / steps;
                            &lane[k][step * size..(step + 1) * size]
                        })
                        .copied()
                        .collect();
                    all[slot] = executor.upload(&values, &dims[slot])?;
                }
                Ok(all)
            })?;
            report.gradients = self.executor.gradients()?;
            report.phases.backward = start.elapsed().as_secs_f64();
        }
        Ok(report)
    }

    fn carried(&self) -> &[Option<Vec<f64>>] {
        &self.carried
    }

    fn set_carried(&mut self, carried: Vec<Option<Vec<f64>>>) {
        self.carried = carried;
    }

    fn take_back(&mut self) {
        self.carried.clone_from(&self.carried_before);
    }

    fn lanes(&self) -> usize {
        self.lanes.len()
    }
}
