//! A block of lanes: the episodes of some lanes, forward and back, on one executor.

use super::a2c::{A2c, Episode, Parts};
use super::supervised::{Errors, SupervisedLoss};
use super::{action, TrainerKind};
use crate::backend::bptt::{zero_adjoint, Environment, Rollout, StepInputs};
use crate::backend::{BackendError, Executor};
use crate::ir::{Graph, Reset};
use crate::lower::TRIAL_START;
use crate::rng::{fill, Key, Stream};
use crate::tasks::{EpisodeKey, Lane, Task};

/// What the lanes of a block are trained on.
#[derive(Clone, Copy, Debug)]
pub enum Objective {
    /// Rewards.
    A2c(A2c),
    /// Targets.
    Supervised(SupervisedLoss),
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

    /// Values of the states that outlive an episode: by slot, lane by lane; `None` for others.
    fn carried(&self) -> &[Option<Vec<f64>>];

    /// Sets what [`Block::carried`] gives.
    fn set_carried(&mut self, carried: Vec<Option<Vec<f64>>>);

    /// How many lanes there are.
    fn lanes(&self) -> usize;
}

/// Where the values of an input slot come from.
#[derive(Clone, Copy, Debug)]
enum InputSource {
    /// Elements of the task's observation from an offset.
    Port(usize),
    /// A signal of the task.
    Signal(usize),
    /// Whether the step is the first of a trial.
    TrialStart,
}

/// A block on an executor.
pub struct LaneBlock<E: Executor> {
    executor: E,
    lanes: Vec<Box<dyn Lane>>,
    first_lane: usize,
    steps: usize,
    interval: usize,
    objective: Objective,
    sources: Vec<InputSource>,
    observation: usize,
    signals: usize,
    /// For each output the trainer reads, in the order policy, value or of the targets: its slot.
    read: Vec<usize>,
    carried: Vec<Option<Vec<f64>>>,
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
        let ports = task.inputs();
        let sources = graph
            .inputs
            .iter()
            .map(|slot| {
                if slot.path == TRIAL_START {
                    return InputSource::TrialStart;
                }
                if let Some(name) = slot.path.strip_prefix("external.") {
                    let k = task.signals().iter().position(|signal| *signal == name);
                    return InputSource::Signal(k.expect("signals were checked against the task"));
                }
                let k = ports.iter().position(|port| port.name == slot.path);
                let k = k.expect("inputs were checked against the task");
                InputSource::Port(ports[..k].iter().map(|port| port.size).sum())
            })
            .collect();
        let names: Vec<&str> = match objective {
            Objective::A2c(_) => vec!["policy", "value"],
            Objective::Supervised(_) => task.targets().iter().map(|port| port.name).collect(),
        };
        let read = names
            .iter()
            .map(|name| {
                let slot = graph.outputs.iter().position(|slot| slot.path == *name);
                slot.expect("outputs were checked against the trainer")
            })
            .collect();
        let lanes = (0..executor.lanes()).map(|_| task.lane()).collect();
        let carried = graph.states.iter().map(|_| None).collect();
        LaneBlock {
            lanes,
            first_lane,
            steps: task.steps(),
            interval,
            objective,
            sources,
            observation: ports.iter().map(|port| port.size).sum(),
            signals: task.signals().len(),
            read,
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
                self.carried[k] = Some(self.executor.download(&last[k])?);
            }
        }
        Ok(())
    }
}

/// The lanes of a block as an environment, recording what the loss needs.
struct Recording<'a> {
    lanes: &'a mut [Box<dyn Lane>],
    first_lane: usize,
    options: EpisodeOptions,
    objective: Objective,
    sources: &'a [InputSource],
    read: &'a [usize],
    observation: Vec<f32>,
    signals: Vec<f32>,
    /// Outputs the trainer reads, `[step][output][lane, size]`.
    outputs: Vec<Vec<Vec<f64>>>,
    /// Actions and rewards, `[step][lane]`.
    actions: Vec<Vec<usize>>,
    rewards: Vec<Vec<f64>>,
    /// Targets, `[step][lane, sizes]`, and weights, `[step][lane]`.
    targets: Vec<Vec<f32>>,
    weights: Vec<Vec<f64>>,
    target_width: usize,
}

impl<E: Executor> Environment<E> for Recording<'_> {
    fn inputs(&mut self, executor: &E, step: usize) -> Result<StepInputs<E::Tensor>, BackendError> {
        let graph = executor.step_graph();
        let count = self.lanes.len();
        let mut buffers: Vec<Vec<f64>> = graph
            .inputs
            .iter()
            .map(|slot| Vec::with_capacity(count * slot.dims.iter().product::<usize>()))
            .collect();
        for lane in self.lanes.iter_mut() {
            lane.observe(&mut self.observation);
            lane.signals(&mut self.signals);
            for ((slot, source), buffer) in graph.inputs.iter().zip(self.sources).zip(&mut buffers)
            {
                match source {
                    InputSource::Port(offset) => {
                        let size: usize = slot.dims.iter().product();
                        let values = &self.observation[*offset..offset + size];
                        buffer.extend(values.iter().map(|x| f64::from(*x)));
                    }
                    InputSource::Signal(k) => buffer.push(f64::from(self.signals[*k])),
                    InputSource::TrialStart => {
                        buffer.push(f64::from(u8::from(lane.trial_starts())));
                    }
                }
            }
        }
        let inputs = graph
            .inputs
            .iter()
            .zip(&buffers)
            .map(|(slot, buffer)| executor.upload(buffer, &slot.dims))
            .collect::<Result<_, _>>()?;
        let noises = noises(executor, graph, &self.options, self.first_lane, step)?;
        Ok(StepInputs { inputs, noises })
    }

    fn outputs(
        &mut self,
        executor: &E,
        step: usize,
        outputs: &[E::Tensor],
    ) -> Result<(), BackendError> {
        let read: Vec<Vec<f64>> = self
            .read
            .iter()
            .map(|slot| executor.download(&outputs[*slot]))
            .collect::<Result<_, _>>()?;
        match self.objective {
            Objective::A2c(_) => {
                let key = Key::new(self.options.seed, Stream::Action);
                let count = self.lanes.len();
                let width = read[0].len() / count.max(1);
                let mut actions = Vec::with_capacity(count);
                let mut rewards = Vec::with_capacity(count);
                for (k, lane) in self.lanes.iter_mut().enumerate() {
                    let logits = &read[0][k * width..(k + 1) * width];
                    let place = key.at(
                        self.options.iteration,
                        step as u32,
                        (self.first_lane + k) as u32,
                    );
                    let action = if self.options.greedy {
                        action::greedy(logits)
                    } else {
                        action::sample(logits, place)
                    };
                    actions.push(action);
                    rewards.push(f64::from(lane.act(action)));
                }
                self.actions.push(actions);
                self.rewards.push(rewards);
            }
            Objective::Supervised(_) => {
                let width = self.target_width;
                let mut targets = vec![0.0; self.lanes.len() * width];
                let weights = self
                    .lanes
                    .iter_mut()
                    .enumerate()
                    .map(|(k, lane)| {
                        f64::from(lane.target(&mut targets[k * width..(k + 1) * width]))
                    })
                    .collect();
                self.targets.push(targets);
                self.weights.push(weights);
            }
        }
        self.outputs.push(read);
        Ok(())
    }
}

/// Noise draws of one step: a function of (seed, stream, iteration, step, lane, index).
fn noises<E: Executor>(
    executor: &E,
    graph: &Graph,
    options: &EpisodeOptions,
    first_lane: usize,
    step: usize,
) -> Result<Vec<E::Tensor>, BackendError> {
    graph
        .noises
        .iter()
        .enumerate()
        .map(|(k, slot)| {
            let size: usize = slot.dims.iter().product();
            let key = Key::new(options.seed, Stream::Noise(k as u32));
            let mut values = vec![0.0; executor.lanes() * size];
            for (lane, values) in values.chunks_mut(size.max(1)).enumerate() {
                let place = key.at(options.iteration, step as u32, (first_lane + lane) as u32);
                fill(
                    &slot.draw,
                    place,
                    slot.dims.last().copied().unwrap_or(1),
                    values,
                );
            }
            executor.upload(&values, &slot.dims)
        })
        .collect()
}

impl<E: Executor + Send> Block for LaneBlock<E> {
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
    ) -> Result<BlockReport, BackendError> {
        self.executor.set_parameters(parameters)?;
        for (k, lane) in self.lanes.iter_mut().enumerate() {
            lane.reset(EpisodeKey {
                seed: options.seed,
                iteration: options.iteration,
                lane: (self.first_lane + k) as u32,
            });
        }
        let initial = self.initial()?;
        let graph = self.executor.step_graph();
        let target_width = self
            .read
            .iter()
            .map(|slot| graph.outputs[*slot].dims.iter().product::<usize>())
            .sum();
        let mut recording = Recording {
            lanes: &mut self.lanes,
            first_lane: self.first_lane,
            options,
            objective: self.objective,
            sources: &self.sources,
            read: &self.read,
            observation: vec![0.0; self.observation],
            signals: vec![0.0; self.signals],
            outputs: Vec::with_capacity(self.steps),
            actions: Vec::new(),
            rewards: Vec::new(),
            targets: Vec::new(),
            weights: Vec::new(),
            target_width,
        };
        let rollout = Rollout::forward(
            &mut self.executor,
            initial,
            self.steps,
            self.interval,
            &mut recording,
        )?;
        let (mut report, seeds) = losses(&recording, self.steps);
        if let (Some(step), Objective::Supervised(_)) = (self.steps.checked_sub(1), self.objective)
        {
            let last = &recording.outputs[step];
            for (k, lane) in recording.lanes.iter().enumerate() {
                let outputs: Vec<f32> = last
                    .iter()
                    .flat_map(|values| {
                        let width = values.len() / recording.lanes.len();
                        values[k * width..(k + 1) * width].iter().map(|x| *x as f32)
                    })
                    .collect();
                report
                    .scores
                    .extend(lane.score(&outputs).map(|score| (score.name, score.value)));
            }
        }
        let read = self.read.clone();
        self.keep_carried(rollout.final_states())?;
        if options.learn {
            self.executor.clear_gradients();
            let graph = self.executor.step_graph();
            let dims: Vec<Vec<usize>> =
                graph.outputs.iter().map(|slot| slot.dims.clone()).collect();
            let zero = zero_adjoint(&self.executor, graph)?;
            let silent = dims
                .iter()
                .map(|dims| self.executor.fill(0.0, dims))
                .collect::<Result<Vec<_>, _>>()?;
            rollout.backward(&mut self.executor, zero, |executor, step| {
                let mut all = silent.clone();
                for (values, slot) in seeds[step].iter().zip(&read) {
                    all[*slot] = executor.upload(values, &dims[*slot])?;
                }
                Ok(all)
            })?;
            report.gradients = self.executor.gradients()?;
        }
        Ok(report)
    }

    fn carried(&self) -> &[Option<Vec<f64>>] {
        &self.carried
    }

    fn set_carried(&mut self, carried: Vec<Option<Vec<f64>>>) {
        self.carried = carried;
    }

    fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

/// Losses of all lanes, and the adjoints of what the trainer reads, `[step][output][lane, size]`.
fn losses(recording: &Recording<'_>, steps: usize) -> (BlockReport, Vec<Vec<Vec<f64>>>) {
    let count = recording.lanes.len();
    let mut report = BlockReport::default();
    let mut seeds: Vec<Vec<Vec<f64>>> = recording
        .outputs
        .iter()
        .map(|outputs| {
            outputs
                .iter()
                .map(|values| vec![0.0; values.len()])
                .collect()
        })
        .collect();
    let column = |output: usize, lane: usize| -> Vec<f64> {
        recording
            .outputs
            .iter()
            .flat_map(|outputs| {
                let width = outputs[output].len() / count;
                outputs[output][lane * width..(lane + 1) * width].to_vec()
            })
            .collect()
    };
    let mut scatter = |output: usize, lane: usize, adjoints: &[f64]| {
        let width = adjoints.len() / steps.max(1);
        for (step, values) in adjoints.chunks(width.max(1)).enumerate() {
            seeds[step][output][lane * width..(lane + 1) * width].copy_from_slice(values);
        }
    };
    for lane in 0..count {
        match recording.objective {
            Objective::A2c(a2c) => {
                let logits = column(0, lane);
                let values = column(1, lane);
                let actions: Vec<usize> = recording.actions.iter().map(|a| a[lane]).collect();
                let rewards: Vec<f64> = recording.rewards.iter().map(|r| r[lane]).collect();
                let mut d_logits = vec![0.0; logits.len()];
                let mut d_values = vec![0.0; values.len()];
                let scale = 1.0 / (recording.options.batch * steps) as f64;
                let episode = Episode {
                    logits: &logits,
                    values: &values,
                    actions: &actions,
                    rewards: &rewards,
                };
                let parts = a2c.lane(episode, scale, &mut d_logits, &mut d_values);
                report.parts += parts;
                report.loss += parts.total();
                report.rewards.push(rewards.iter().sum());
                scatter(0, lane, &d_logits);
                scatter(1, lane, &d_values);
            }
            Objective::Supervised(loss) => {
                let weights: Vec<f64> = recording.weights.iter().map(|w| w[lane]).collect();
                let mut offset = 0;
                for output in 0..recording.read.len() {
                    let outputs = column(output, lane);
                    let width = outputs.len() / steps.max(1);
                    let targets: Vec<f64> = recording
                        .targets
                        .iter()
                        .flat_map(|targets| {
                            let start = lane * recording.target_width + offset;
                            targets[start..start + width].iter().map(|x| f64::from(*x))
                        })
                        .collect();
                    offset += width;
                    let mut adjoints = vec![0.0; outputs.len()];
                    let errors = Errors {
                        outputs: &outputs,
                        targets: &targets,
                        weights: &weights,
                    };
                    report.loss += loss.lane(errors, recording.options.batch, &mut adjoints);
                    scatter(output, lane, &adjoints);
                }
            }
        }
    }
    if matches!(recording.objective, Objective::A2c(_)) {
        report.step_rewards = recording.rewards.iter().map(|r| r.iter().sum()).collect();
    }
    (report, seeds)
}

impl Objective {
    /// The objective of a trainer with its settings.
    pub fn new(kind: TrainerKind, settings: &crate::settings::Settings) -> Objective {
        match kind {
            TrainerKind::Reward => Objective::A2c(A2c::new(settings)),
            TrainerKind::Supervised => Objective::Supervised(
                SupervisedLoss::parse(settings.word("loss"))
                    .expect("the setting is a choice among the names of losses"),
            ),
        }
    }
}
