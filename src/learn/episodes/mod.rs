//! Episodes run forward only, step by step, open to whoever wants to look or to interfere.
//!
//! They run on the backend of the trainer, in the same blocks of lanes and with the same random numbers: the
//! episode of an iteration is the same to the bit as when it was trained on. Evaluation, ablations, replays and
//! the search for numbers that are not finite are [`Observer`]s. They may ask for any state, so a trace that training
//! reads in [another form](crate::step::passes::Form) is a trace here: then episodes are the same but for rounding.

mod stepper;

pub use stepper::Given;

use super::block::{EpisodeOptions, Objective};
use super::experiment::experiment;
use super::lane_episode::{LaneEpisode, LaneLoss, Wiring};
use super::trainer::{BackendKind, TrainError, TrainerOptions};
use crate::engine::candle::{Candle, Precision};
use crate::engine::experiment::Experiment;
use crate::engine::fused::Fused;
use crate::engine::plan::{Limits, Together};
use crate::engine::reference::Reference;
use crate::engine::BackendError;
use crate::ir::{Graph, Reset};
use crate::lang::sema::Model;
use crate::learn::tasks;
use rayon::prelude::*;
use std::sync::Arc;
use stepper::{Batched, FusedLane, Memories, Stepper};

/// All lanes of a batch.
pub struct Episodes {
    graph: Arc<Graph>,
    experiment: Experiment,
    wiring: Wiring,
    parts: Vec<Part>,
    fused: Option<Arc<Fused>>,
    pool: rayon::ThreadPool,
    batch: usize,
}

/// Lanes in step.
struct Part {
    stepper: Box<dyn Stepper>,
    first: usize,
    lanes: Vec<LaneEpisode>,
}

/// What one lane's episode gave.
#[derive(Clone, Debug, Default)]
pub struct LaneResult {
    /// Reward of each step; empty for supervised tasks.
    pub rewards: Vec<f64>,
    /// Action of each step; empty for supervised tasks.
    pub actions: Vec<usize>,
    /// Steps at which trials start.
    pub trials: Vec<usize>,
    /// What the trainer makes of it.
    pub loss: LaneLoss,
}

/// What a batch of episodes gave.
#[derive(Clone, Debug, Default)]
pub struct Batch<O> {
    /// By lane.
    pub lanes: Vec<LaneResult>,
    /// Those who looked, in the order of the lanes they saw.
    pub observers: Vec<O>,
    /// States that outlive the episodes: by slot, lane by lane; `None` for others.
    pub carried: Vec<Option<Vec<f64>>>,
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
    stepper: &'a mut dyn Stepper,
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
        self.stepper.state(slot)
    }

    /// Changes a state that enters the next step to be run.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError> {
        self.stepper.set_state(slot, values)
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
        self.stepper.output(slot)
    }

    /// A value of the step by its name, after it, where the backend still has it as it was computed.
    pub fn named(&self, name: &str) -> Option<Vec<f64>> {
        self.stepper.named(name)
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
        let task = tasks::of_model(task);
        let task = task.as_ref();
        let batch = train.settings.int("batch").max(1);
        // Observers ask for the states of the spec by their slots, so no pass may change which there are.
        let experiment = Experiment::observed(step, options.backend.target(), &options.passes)?;
        let stage = experiment.whole();
        let (forward, backward) = (&stage.graphs.step, &stage.graphs.adjoint);
        let graph = Arc::new(forward.clone());
        let objective = Objective::new(train.trainer.kind, &train.settings);
        let wiring = Wiring::new(&graph, task, objective);
        let fused = stage.fused().cloned();
        let mut steppers: Vec<(Box<dyn Stepper>, usize)> = Vec::new();
        if let Some(program) = &fused {
            let memories = Memories::default();
            for _ in 0..batch {
                let lane = FusedLane::new(
                    Arc::clone(program),
                    Arc::clone(&graph),
                    Arc::clone(&memories),
                );
                steppers.push((Box::new(lane), 1));
            }
        } else {
            let limits = Limits {
                free: options.memory,
                allowed: train.settings.bytes("memory"),
            };
            let plan = experiment.plan([batch, task.steps()], options.threads, limits);
            if let Some(refusal) = plan.refusal(limits) {
                return Err(TrainError::Memory(refusal));
            }
            let Together::Blocks(sizes) = &plan.together else {
                return Err(TrainError::Missing("task", "there are no lanes to run"));
            };
            for lanes in sizes {
                let (forward, backward) = (forward.clone(), backward.clone());
                steppers.push((
                    if options.backend == BackendKind::Candle {
                        let device = candle_core::Device::Cpu;
                        let precision = Precision::Single;
                        let executor = Candle::new(forward, backward, *lanes, precision, &device)?;
                        Box::new(Batched::new(executor))
                    } else {
                        Box::new(Batched::new(Reference::new(forward, backward, *lanes)))
                    },
                    *lanes,
                ));
            }
        }
        let mut parts = Vec::with_capacity(steppers.len());
        let mut first = 0;
        for (stepper, count) in steppers {
            parts.push(Part {
                stepper,
                first,
                lanes: (first..first + count)
                    .map(|lane| LaneEpisode::new(&wiring, task, lane))
                    .collect(),
            });
            first += count;
        }
        Ok(Episodes {
            graph,
            experiment,
            wiring,
            parts,
            fused,
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(options.threads.max(1))
                .build()?,
            batch,
        })
    }

    /// The step that runs, for its slots.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What runs, what the passes did, and how long compiling took.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Lanes of the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Steps of an episode.
    pub fn steps(&self) -> usize {
        self.wiring.steps()
    }

    /// The threads that lanes are shared over.
    pub fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Slots of the outputs that the trainer reads.
    pub fn read(&self) -> Vec<usize> {
        self.wiring.read().collect()
    }

    /// Sets all parameters, by slot.
    ///
    /// # Errors
    /// Where their number or sizes do not fit.
    pub fn set_parameters(&mut self, values: &[Vec<f64>]) -> Result<(), TrainError> {
        let shared = match &self.fused {
            Some(program) => Some(Arc::new(program.shared::<f32>(values)?)),
            None => None,
        };
        for part in &mut self.parts {
            part.stepper.set_parameters(values, shared.as_ref())?;
        }
        Ok(())
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
        let (graph, wiring, batch) = (&self.graph, &self.wiring, self.batch);
        let parts = &mut self.parts;
        let results: Vec<Result<Batch<O>, BackendError>> = self.pool.install(|| {
            parts
                .par_iter_mut()
                .map(|part| {
                    let count = part.lanes.len();
                    let mine: Vec<Option<Vec<f64>>> = (0..graph.states.len())
                        .map(|slot| {
                            let values = carried.get(slot)?.as_ref()?;
                            let width = values.len() / batch;
                            Some(values[part.first * width..(part.first + count) * width].to_vec())
                        })
                        .collect();
                    part.run(graph, wiring, &options, &mine, observer(part.first, count))
                })
                .collect()
        });
        let mut all = Batch {
            lanes: Vec::with_capacity(batch),
            observers: Vec::with_capacity(results.len()),
            carried: vec![None; graph.states.len()],
        };
        for result in results {
            let part = result?;
            all.lanes.extend(part.lanes);
            all.observers.extend(part.observers);
            for (all, values) in all.carried.iter_mut().zip(part.carried) {
                if let Some(values) = values {
                    all.get_or_insert_default().extend(values);
                }
            }
        }
        Ok(all)
    }
}

impl Part {
    fn run<O: Observer>(
        &mut self,
        graph: &Graph,
        wiring: &Wiring,
        options: &EpisodeOptions,
        carried: &[Option<Vec<f64>>],
        mut observer: O,
    ) -> Result<Batch<O>, BackendError> {
        let count = self.lanes.len();
        for lane in &mut self.lanes {
            lane.start(options);
        }
        let mut results: Vec<LaneResult> = vec![LaneResult::default(); count];
        self.stepper.begin(wiring.steps(), carried)?;
        let mut given = Given {
            inputs: vec![Vec::new(); graph.inputs.len()],
            noises: vec![Vec::new(); graph.noises.len()],
        };
        for step in 0..wiring.steps() {
            given.inputs.iter_mut().for_each(Vec::clear);
            for (lane, result) in self.lanes.iter_mut().zip(&mut results) {
                if lane.trial_starts() {
                    result.trials.push(step);
                }
                lane.observe(wiring, |slot, values| {
                    given.inputs[slot].extend(values.iter().map(|x| f64::from(*x)));
                });
            }
            for (slot, values) in given.noises.iter_mut().enumerate() {
                let size: usize = graph.noises[slot].dims.iter().product();
                values.resize(count * size, 0.0);
                for (lane, values) in self.lanes.iter().zip(values.chunks_mut(size.max(1))) {
                    lane.noise(graph, slot, step, options, values);
                }
            }
            observer.before(&mut Moment {
                step,
                first: self.first,
                graph,
                stepper: self.stepper.as_mut(),
                given: &mut given,
                lanes: &self.lanes,
            })?;
            self.stepper.step(&given)?;
            let read = wiring
                .read()
                .map(|slot| self.stepper.output(slot))
                .collect::<Result<Vec<_>, _>>()?;
            for (k, lane) in self.lanes.iter_mut().enumerate() {
                let mine = read.iter().map(|values| {
                    let size = values.len() / count;
                    &values[k * size..(k + 1) * size]
                });
                lane.take(wiring, step, options, mine);
            }
            observer.after(&mut Moment {
                step,
                first: self.first,
                graph,
                stepper: self.stepper.as_mut(),
                given: &mut given,
                lanes: &self.lanes,
            })?;
        }
        let carried = graph
            .states
            .iter()
            .enumerate()
            .map(|(slot, state)| match state.reset {
                Reset::Never | Reset::Carry => {
                    let values = self.stepper.state(slot)?;
                    Ok(Some(values.iter().map(|x| f64::from(*x as f32)).collect()))
                }
                Reset::Episode | Reset::Trial => Ok(None),
            })
            .collect::<Result<_, BackendError>>()?;
        self.stepper.end();
        for (lane, result) in self.lanes.iter().zip(&mut results) {
            result.rewards = lane.rewards().to_vec();
            result.actions = lane.actions().to_vec();
            result.loss = lane.loss(wiring, options);
        }
        Ok(Batch {
            lanes: results,
            observers: vec![observer],
            carried,
        })
    }
}
