//! Inference: a network runs on given inputs, forward only, from given states.
//!
//! [`Network::run`] takes all steps at once, `[lanes, steps, size]`; [`Stream`] takes one step at a time as a line of
//! JSON. Both give outputs, probes, and the states to go on from.

mod given;
mod lanes;
mod stream;

pub use given::{read_states, Given};
pub use stream::{Stream, StreamError};

use super::replay::{Kind, Probe};
use crate::engine::candle::{Candle, Precision};
use crate::engine::episode::{Engine, Environment, EpisodeRun, States};
use crate::engine::experiment::{CompileError, Experiment};
use crate::engine::in_step::InStep;
use crate::engine::lanes::{Lanes, Shape};
use crate::engine::reference::Reference;
use crate::engine::BackendError;
use crate::ir::{Graph, OutputId, ResultKind, StateSlot};
use crate::learn::data::DataError;
use crate::learn::trainer::{BackendKind, TrainerOptions};
use crate::step::lower::{lower_with, Changes};
use crate::step::Compiled;
use lanes::{Group, Taken};
use std::sync::Arc;

/// Steps that run without a pause; memory for records of the kernels grows with it, results do not depend on it.
const AT_ONCE: usize = 256;

/// The reason why a network did not run on given inputs.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The network cannot be compiled for the backend.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The inputs or states do not fit the network.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The value belongs to a task, and there is none.
    #[error("`{0}` belongs to a task, and given inputs have none")]
    OfTask(String),
    /// The results are larger than the memory.
    #[error("the results take {needed} bytes and {free} are free; run fewer sequences at once, or probe less")]
    Memory {
        /// The bytes of all results.
        needed: u64,
        /// The free bytes.
        free: u64,
    },
}

/// A value that is kept at every step.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The name.
    pub name: String,
    /// The dimensions within a step and lane.
    pub dims: Vec<usize>,
    probe: Option<Probe>,
    place: Place,
}

/// The place of a value that is kept.
#[derive(Clone, Copy, Debug)]
enum Place {
    Output(usize),
    Input(usize),
    Noise(usize),
    Entering(usize),
    Leaving(usize),
}

/// A network with its parameters, ready to run.
pub struct Network {
    graph: Arc<Graph>,
    kept: Vec<Recorded>,
    engine: Box<dyn Engine>,
    parameters: Vec<Vec<f64>>,
    pool: rayon::ThreadPool,
    lanes: usize,
    seed: u64,
    memory: Option<u64>,
}

/// The results of some steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// By kept value: `[lanes, steps, dims...]`; NaN in the steps after the end of a sequence.
    pub values: Vec<Vec<f64>>,
    /// By state: `[lanes, dims...]`, on exit from the last step of each lane.
    pub states: Vec<Vec<f64>>,
}

impl Network {
    /// Compiles the step of a program for some lanes. Its outputs are kept, and the probes.
    ///
    /// # Errors
    /// Fails if the backend does not know the network, or a probe belongs to a task.
    pub fn new(
        program: &Compiled,
        parameters: Vec<Vec<f64>>,
        probes: &[Probe],
        options: TrainerOptions,
        lanes: usize,
    ) -> Result<Network, InferenceError> {
        let shown = probes.iter().filter_map(|probe| match probe.kind {
            Kind::Value(id) => Some(id),
            _ => None,
        });
        let changes = Changes {
            shown: shown.collect(),
            ..Changes::default()
        };
        let step = lower_with(&program.model, &changes);
        let experiment = Experiment::observed(&step, options.backend.target(), &options.passes)?;
        let stage = experiment.whole();
        let graph = Arc::new(stage.graphs.step.clone());
        let engine: Box<dyn Engine> = if let Some(fused) = stage.fused() {
            let shape = Shape {
                lanes,
                in_step: 1,
                running: lanes,
                interval: 1,
            };
            let fused = Arc::clone(fused);
            Box::new(Lanes::<f32>::new(fused, Arc::clone(&graph), shape))
        } else {
            let (step, adjoint) = (stage.graphs.step.clone(), stage.graphs.adjoint.clone());
            match options.backend {
                BackendKind::Candle => {
                    let device = candle_core::Device::Cpu;
                    let candle = Candle::new(step, adjoint, lanes, Precision::Single, &device)?;
                    Box::new(InStep::new(vec![candle], 1))
                }
                BackendKind::Fused | BackendKind::Reference => {
                    Box::new(InStep::new(vec![Reference::new(step, adjoint, lanes)], 1))
                }
            }
        };
        Ok(Network {
            kept: kept(&graph, program.step.outputs.len(), probes)?,
            graph,
            engine,
            parameters,
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(options.threads.max(1))
                .build()?,
            lanes,
            seed: 0,
            memory: options.memory,
        })
    }

    /// Sets the seed of the noise.
    pub fn with_seed(self, seed: u64) -> Network {
        Network { seed, ..self }
    }

    /// The step that runs, for its slots.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The values that are kept, in their order: outputs, then probes.
    pub fn kept(&self) -> &[Recorded] {
        &self.kept
    }

    /// The number of lanes.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The first values of all states, `[lanes, dims...]` by slot.
    pub fn first_states(&self) -> States {
        let slots = self.graph.states.iter();
        // Those that begin with an array are left to the engine.
        let first = |slot: &StateSlot| {
            let elements: usize = slot.dims.iter().product();
            slot.first
                .is_none()
                .then(|| vec![slot.init; self.lanes * elements])
        };
        slots.map(first).collect()
    }

    /// Runs all steps of the given inputs.
    ///
    /// # Errors
    /// Those of the backend, and results that are larger than the memory.
    pub fn run(&mut self, given: &Given) -> Result<Results, InferenceError> {
        let elements = |kept: &Recorded| kept.dims.iter().product::<usize>();
        let rows = (self.lanes * given.steps) as u64;
        let each = self.kept.iter().map(|kept| 8 * elements(kept) as u64);
        let needed: u64 = each.map(|bytes| bytes.saturating_mul(rows)).sum();
        // Once as numbers, and once as a file.
        if let Some(free) = self.memory.filter(|free| needed.saturating_mul(2) > *free) {
            return Err(InferenceError::Memory { needed, free });
        }
        let mut states = given.states.clone();
        let size = |kept: &Recorded| self.lanes * given.steps * elements(kept);
        let mut values: Vec<Vec<f64>> = self.kept.iter().map(|k| vec![f64::NAN; size(k)]).collect();
        let longest = given.lengths.iter().copied().max().unwrap_or(0);
        let mut done = 0;
        while done < longest {
            let steps = AT_ONCE.min(longest - done);
            let groups = self.steps(given, done, steps, &states)?;
            let mut first = 0;
            for group in groups {
                let lanes = group.lanes;
                for (k, kept) in self.kept.iter().enumerate() {
                    let width = elements(kept) * steps;
                    for lane in 0..lanes {
                        let to = ((first + lane) * given.steps + done) * elements(kept);
                        let from = &group.values[k][lane * width..(lane + 1) * width];
                        values[k][to..to + width].copy_from_slice(from);
                    }
                }
                for (state, mine) in states.iter_mut().zip(&group.states) {
                    let width = mine.len() / lanes.max(1);
                    if let Some(all) = state {
                        all[first * width..(first + lanes) * width].copy_from_slice(mine);
                    }
                }
                first += lanes;
            }
            done += steps;
        }
        let states = states.into_iter().map(Option::unwrap_or_default).collect();
        Ok(Results { values, states })
    }

    /// Runs some steps of all lanes from `states`.
    fn steps(
        &mut self,
        given: &Given,
        from: usize,
        steps: usize,
        states: &States,
    ) -> Result<Vec<Taken>, InferenceError> {
        let mut first = 0;
        let mut groups = Vec::new();
        for lanes in self.engine.groups() {
            let taken = Taken::new(&self.graph, &self.kept, lanes, steps);
            groups.push(Group {
                graph: &self.graph,
                kept: &self.kept,
                given,
                from,
                steps,
                first,
                seed: self.seed,
                taken,
            });
            first += lanes;
        }
        let mut environments: Vec<&mut dyn Environment> = groups
            .iter_mut()
            .map(|group| group as &mut dyn Environment)
            .collect();
        let run = EpisodeRun {
            steps,
            learn: false,
            states,
            all_states: false,
            first_adjoints: false,
        };
        let (engine, parameters) = (&mut self.engine, &self.parameters);
        self.pool
            .install(|| engine.run(parameters, run, &mut environments))?;
        Ok(groups.into_iter().map(|group| group.taken).collect())
    }
}

/// The outputs of the spec, then the probes.
fn kept(graph: &Graph, outputs: usize, probes: &[Probe]) -> Result<Vec<Recorded>, InferenceError> {
    let slots = graph.outputs.iter().take(outputs).enumerate();
    let mut all: Vec<Recorded> = slots
        .map(|(k, slot)| Recorded {
            name: slot.path.clone(),
            dims: slot.dims.clone(),
            probe: None,
            place: Place::Output(k),
        })
        .collect();
    for probe in probes {
        if all.iter().any(|kept| kept.name == probe.name) {
            continue;
        }
        let shown = |path: &str| {
            let found = (0..graph.outputs.len()).rev().find(|k| {
                let id = OutputId(*k as u32);
                graph.outputs[*k].path == path && graph.result(ResultKind::Output(id)).is_some()
            });
            found.map(Place::Output)
        };
        let place = match probe.kind {
            Kind::Input(slot) => Some(Place::Input(slot)),
            Kind::Noise(slot) => Some(Place::Noise(slot)),
            Kind::State(slot) => Some(Place::Entering(slot)),
            Kind::Next(slot) => Some(Place::Leaving(slot)),
            Kind::Output(_) | Kind::Value(_) => shown(&probe.path),
            Kind::Action | Kind::Reward | Kind::Trial => None,
        };
        all.push(Recorded {
            name: probe.name.clone(),
            dims: probe.dims.clone(),
            probe: Some(probe.clone()),
            place: place.ok_or_else(|| InferenceError::OfTask(probe.name.clone()))?,
        });
    }
    Ok(all)
}
