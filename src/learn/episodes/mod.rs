//! Episodes run forward only, step by step, open to whoever wants to look or to interfere.
//!
//! They run on the backend of the trainer, in the same blocks of lanes and with the same random numbers: the
//! episode of an iteration is the same to the bit as when it was trained on. Evaluation, ablations, replays and
//! the search for numbers that are not finite are [`Observer`]s. They may ask for any state, so a trace that training
//! reads in [another form](crate::step::passes::Form) is a trace here: then episodes are the same but for rounding.

use super::block::{EpisodeOptions, Objective};
use super::blocks::executors;
use super::checkpoint::Header;
use super::chunks::Chunks;
use super::drive::{as_kept, groups, Group};
use super::experiment::{built, experiment};
use super::lane_episode::{LaneEpisode, LaneLoss};
use super::tasks::Part;
use super::trainer::{episode_seed, TrainError, TrainerOptions};
use crate::engine::episode::{Engine, Environment, EpisodeRun, Running, States};
use crate::engine::experiment::Experiment;
use crate::engine::lanes::{Lanes, Shape};
use crate::engine::plan::Limits;
use crate::engine::BackendError;
use crate::ir::Graph;
use crate::lang::sema::Model;
use std::sync::Arc;

/// All lanes of a batch.
pub struct Episodes {
    graph: Arc<Graph>,
    experiment: Experiment,
    engine: Box<dyn Engine>,
    groups: Vec<Group>,
    parameters: Vec<Vec<f64>>,
    pool: rayon::ThreadPool,
    batch: usize,
    /// The chunks that training runs episodes in.
    chunks: Chunks,
    /// Different episodes, if they come from a file.
    sequences: Option<usize>,
}

/// The leaves of a step beside states: by slot, lane by lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Inputs.
    pub inputs: Vec<Vec<f64>>,
    /// Noise draws.
    pub noises: Vec<Vec<f64>>,
}

/// The result of one lane's episode.
#[derive(Clone, Debug, Default)]
pub struct LaneResult {
    /// Reward of each step; empty for supervised tasks.
    pub rewards: Vec<f64>,
    /// Steps at which trials start.
    pub trials: Vec<usize>,
    /// The loss.
    pub loss: LaneLoss,
}

/// The results of a batch of episodes.
#[derive(Clone, Debug, Default)]
pub struct Batch<O> {
    /// By lane.
    pub lanes: Vec<LaneResult>,
    /// The observers, in the order of their lanes.
    pub observers: Vec<O>,
    /// States that outlive the episodes.
    pub carried: States,
}

/// Looks at the steps of some lanes.
pub trait Observer: Send {
    /// Called before each step, when its inputs are known.
    ///
    /// # Errors
    /// Those of the backend.
    fn before(&mut self, _moment: &mut Moment<'_>) -> Result<(), BackendError> {
        Ok(())
    }

    /// Called after each step, when its reward is known.
    ///
    /// # Errors
    /// Those of the backend.
    fn after(&mut self, _moment: &mut Moment<'_>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Looks at nothing.
impl Observer for () {}

/// One step of some lanes. Values are lane by lane.
pub struct Moment<'a> {
    step: usize,
    first: usize,
    graph: &'a Graph,
    running: &'a mut dyn Running,
    given: &'a mut Given,
    lanes: &'a [LaneEpisode],
}

impl Moment<'_> {
    /// The step, counted from 0.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The first lane, counted from 0 in the batch.
    pub fn first_lane(&self) -> usize {
        self.first
    }

    /// The lanes, from the first.
    pub fn lanes(&self) -> &[LaneEpisode] {
        self.lanes
    }

    /// The step graph, for its slots.
    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// A state, by slot: that which enters the step before it, and that which left it after it.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn state(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        self.running.state(slot)
    }

    /// Changes a state that enters the next step to be run.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError> {
        self.running.set_state(slot, values)
    }

    /// Inputs and noise draws of the step.
    pub fn given(&self) -> &Given {
        self.given
    }

    /// Changes an input of the step, before it.
    pub fn set_input(&mut self, slot: usize, values: Vec<f64>) {
        self.given.inputs[slot] = values;
    }

    /// An output of the step, by slot, after it.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn output(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        self.running.outputs(slot)
    }

    /// A value of the step by its name, after it, where the backend still has it as it was computed.
    pub fn named(&self, name: &str) -> Option<Vec<f64>> {
        self.running.named(name)
    }
}

impl Episodes {
    /// Prepares `step`, a step of `model`, as a trainer would, but with all its states.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn new(
        model: &Model,
        step: &Graph,
        options: TrainerOptions,
    ) -> Result<Episodes, TrainError> {
        let (train, task) = experiment(model)?;
        let task = built(task)?;
        let task = task.as_ref();
        let batch = train.settings.int("batch").max(1);
        // Observers ask for the states of the spec by their slots, so no pass may change which there are.
        let experiment = Experiment::observed(step, options.backend.target(), &options.passes)?;
        let stage = experiment.whole();
        let graph = Arc::new(stage.graphs.step.clone());
        let engine: Box<dyn Engine> = if let Some(program) = stage.fused() {
            let shape = Shape {
                lanes: batch,
                in_step: task.groups().map_or(1, |count| batch.div_ceil(count)),
                running: batch,
                interval: 1,
            };
            let program = Arc::clone(program);
            Box::new(Lanes::<f32>::new(program, Arc::clone(&graph), shape))
        } else {
            let limits = Limits {
                free: options.memory,
                allowed: train.settings.bytes("memory"),
            };
            let plan = experiment.plan([batch, task.longest()], options.threads, limits);
            if let Some(refusal) = plan.refusal(limits) {
                return Err(TrainError::Memory(refusal));
            }
            executors(
                &stage.graphs,
                options.backend,
                &plan,
                &candle_core::Device::Cpu,
            )?
        };
        let objective = Objective::new(train);
        Ok(Episodes {
            groups: groups(engine.as_ref(), task, (objective, task.longest()))?,
            sequences: task.sequences(Part::Test),
            engine,
            graph,
            experiment,
            parameters: Vec::new(),
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(options.threads.max(1))
                .build()?,
            batch,
            chunks: Chunks::new(train, task.steps()),
        })
    }

    /// The step that runs, for its slots.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The compiled experiment.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Lanes of the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The number of different episodes, if they come from a file.
    pub fn sequences(&self) -> Option<usize> {
        self.sequences
    }

    /// The episodes, or the chunk of them, that training runs after a checkpoint.
    pub fn after(&self, checkpoint: &Header) -> EpisodeOptions {
        EpisodeOptions {
            seed: episode_seed(checkpoint.seed, checkpoint.rollbacks),
            iteration: self.chunks.batch(checkpoint.iteration) as u32,
            learn: false,
            greedy: false,
            batch: self.batch,
            part: Part::Train,
            chunk: self.chunks.chunk(checkpoint.iteration),
        }
    }

    /// Steps of an episode.
    pub fn steps(&self) -> usize {
        self.groups.first().map_or(0, Group::steps)
    }

    /// The threads that lanes are shared over.
    pub fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Slots of the outputs that the trainer reads.
    pub fn read(&self) -> Vec<usize> {
        self.groups.first().map_or(Vec::new(), Group::outputs)
    }

    /// Sets all parameters, by slot.
    pub fn set_parameters(&mut self, values: &[Vec<f64>]) {
        self.parameters = values.to_vec();
    }

    /// Runs one episode in every lane. `carried` are states that outlive episodes, by slot, lane by lane, and empty
    /// where none are there yet; `observer` is asked for one who looks at some lanes, given the first and how many.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn run<O: Observer>(
        &mut self,
        options: EpisodeOptions,
        carried: &[Option<Vec<f64>>],
        observer: impl Fn(usize, usize) -> O + Sync,
    ) -> Result<Batch<O>, TrainError> {
        let mut watched: Vec<Watched<'_, O>> = self
            .groups
            .iter_mut()
            .map(|group| {
                group.options = options;
                Watched {
                    observer: observer(group.first, group.lanes.len()),
                    graph: &self.graph,
                    given: Given {
                        inputs: vec![Vec::new(); self.graph.inputs.len()],
                        noises: vec![Vec::new(); self.graph.noises.len()],
                    },
                    trials: vec![Vec::new(); group.lanes.len()],
                    group,
                }
            })
            .collect();
        let run = EpisodeRun {
            steps: options.steps(watched.first().map_or(0, |one| one.group.steps())),
            learn: false,
            states: carried,
            all_states: false,
            first_adjoints: false,
        };
        let mut environments: Vec<&mut dyn Environment> = watched
            .iter_mut()
            .map(|one| one as &mut dyn Environment)
            .collect();
        let (engine, parameters) = (&mut self.engine, &self.parameters);
        let ran = self
            .pool
            .install(|| engine.run(parameters, run, &mut environments))?;
        let mut all = Batch {
            lanes: Vec::with_capacity(self.batch),
            observers: Vec::with_capacity(watched.len()),
            carried: as_kept(ran.states),
        };
        for one in watched {
            let losses = one.group.losses.drain(..);
            if let Some(fault) = losses.as_slice().iter().find_map(|loss| loss.fault.clone()) {
                return Err(BackendError::Environment(fault).into());
            }
            let lanes = one.group.lanes.iter().zip(one.trials).zip(losses);
            all.lanes
                .extend(lanes.map(|((lane, trials), loss)| LaneResult {
                    rewards: lane.rewards().to_vec(),
                    trials,
                    loss,
                }));
            all.observers.push(one.observer);
        }
        Ok(all)
    }
}

/// Lanes with someone who looks on.
struct Watched<'a, O> {
    group: &'a mut Group,
    observer: O,
    graph: &'a Graph,
    given: Given,
    /// Steps at which trials start, by lane.
    trials: Vec<Vec<usize>>,
}

impl<O: Observer> Environment for Watched<'_, O> {
    fn start(&mut self) -> Result<(), BackendError> {
        self.group.start()
    }

    fn first_state(&self, lane: usize, slot: usize) -> Option<&[f64]> {
        self.group.first_state(lane, slot)
    }

    fn before(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        let Watched { group, given, .. } = self;
        given.inputs.iter_mut().for_each(Vec::clear);
        for k in 0..group.lanes.len() {
            if group.lanes[k].trial_starts() {
                self.trials[k].push(step);
            }
            group.observe(k, |slot, values| {
                given.inputs[slot].extend(values.iter().map(|x| f64::from(*x)));
            });
        }
        for (slot, values) in given.noises.iter_mut().enumerate() {
            let size: usize = self.graph.noises[slot].dims.iter().product();
            values.resize(group.lanes.len() * size, 0.0);
            for (k, values) in values.chunks_mut(size.max(1)).enumerate() {
                group.noise(k, slot, group.options.first() + step, values);
            }
        }
        self.observer.before(&mut Moment {
            step,
            first: group.first,
            graph: self.graph,
            running: &mut *lanes,
            given,
            lanes: &group.lanes,
        })?;
        for (slot, values) in given.inputs.iter().enumerate() {
            lanes.set_inputs(slot, values);
        }
        for (slot, values) in given.noises.iter().enumerate() {
            lanes.set_noises(slot, values);
        }
        Ok(())
    }

    fn after(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        self.group.after(step, lanes)?;
        self.observer.after(&mut Moment {
            step,
            first: self.group.first,
            graph: self.graph,
            running: lanes,
            given: &mut self.given,
            lanes: &self.group.lanes,
        })
    }

    fn finish(&mut self) {
        self.group.finish();
    }

    fn is_over(&self) -> bool {
        self.group.is_over()
    }

    fn reads(&self) -> Vec<usize> {
        self.group.reads()
    }

    fn adjoint(&self, lane: usize, step: usize, slot: usize) -> Option<&[f64]> {
        self.group.adjoint(lane, step, slot)
    }
}
