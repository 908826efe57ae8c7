//! Blocks of lanes on any [`Executor`]: all lanes of a block go in step.

use super::bptt::{self, zero_adjoint, Rollout, StepInputs};
use super::episode::{
    extend, part, Engine, Environment, EpisodeRun, EpisodesRan, Running, States, Times,
};
use super::{BackendError, Executor};
use crate::ir::Graph;
use rayon::prelude::*;
use std::time::Instant;

/// Blocks of lanes, each on an executor of its own.
pub struct InStep<E> {
    blocks: Vec<E>,
    /// Steps between those whose states are kept for the way back.
    interval: usize,
}

impl<E: Executor> InStep<E> {
    /// The lanes of these executors, in their order.
    pub fn new(blocks: Vec<E>, interval: usize) -> InStep<E> {
        InStep { blocks, interval }
    }
}

impl<E: Executor> From<E> for InStep<E> {
    /// All lanes in step, with the states of every step kept.
    fn from(executor: E) -> InStep<E> {
        InStep::new(vec![executor], 1)
    }
}

impl<E: Executor<Tensor: Send> + Send> Engine for InStep<E> {
    fn graph(&self) -> &Graph {
        self.blocks
            .first()
            .expect("there is at least one block")
            .step_graph()
    }

    fn groups(&self) -> Vec<usize> {
        self.blocks.iter().map(Executor::lanes).collect()
    }

    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        run: EpisodeRun<'_>,
        environments: &mut [&mut dyn Environment],
    ) -> Result<EpisodesRan, BackendError> {
        let interval = self.interval;
        let lanes = self.groups().iter().sum();
        let mut first = 0;
        let mut work = Vec::with_capacity(self.blocks.len());
        for (block, environment) in self.blocks.iter_mut().zip(environments) {
            let mine = [first, block.lanes(), lanes];
            first += block.lanes();
            work.push((block, environment, mine));
        }
        let done: Vec<Result<EpisodesRan, BackendError>> = work
            .into_par_iter()
            .map(|(block, environment, mine)| {
                block.set_parameters(parameters)?;
                episodes(block, parameters, &mut **environment, run, mine, interval)
            })
            .collect();
        let mut all = EpisodesRan::default();
        for ran in done {
            let EpisodesRan {
                states,
                gradients,
                first_adjoints,
                times,
            } = ran?;
            all.times += times;
            extend(&mut all.states, states);
            extend(&mut all.first_adjoints, first_adjoints);
            // Blocks are added in their order, whichever thread was first.
            all.gradients.resize(gradients.len(), None);
            for (sum, values) in all.gradients.iter_mut().zip(gradients) {
                match (sum.as_mut(), values) {
                    (Some(sum), Some(values)) => {
                        for (sum, x) in sum.iter_mut().zip(values) {
                            *sum += x;
                        }
                    }
                    (None, values) => *sum = values,
                    (Some(_), None) => {}
                }
            }
        }
        Ok(all)
    }
}

/// Episodes of a block, the lanes `mine` (the first, how many, of how many).
fn episodes<E: Executor>(
    executor: &mut E,
    parameters: &[Vec<f64>],
    environment: &mut dyn Environment,
    run: EpisodeRun<'_>,
    mine: [usize; 3],
    interval: usize,
) -> Result<EpisodesRan, BackendError> {
    let start = Instant::now();
    environment.start()?;
    let slots = executor.step_graph().states.iter().enumerate();
    let initial = slots
        .map(|(slot, state)| {
            let lanes = 0..executor.lanes();
            let given = lanes.map(|lane| environment.first_state(lane, slot));
            // A task has first values for all lanes or for none.
            if let Some(values) = given.collect::<Option<Vec<_>>>() {
                return executor.upload(&values.concat(), &state.dims);
            }
            match part(run.states, slot, mine) {
                Some(values) => executor.upload(values, &state.dims),
                None => match state.first {
                    Some(first) => {
                        let values = parameters[first.index()].repeat(executor.lanes());
                        executor.upload(&values, &state.dims)
                    }
                    None => executor.fill(state.init, &state.dims),
                },
            }
        })
        .collect::<Result<_, _>>()?;
    let reads = environment.reads();
    let mut adapter = Adapter::new(executor, environment, reads);
    let rollout = Rollout::forward(executor, initial, run.steps, interval, &mut adapter)?;
    let mut times = Times {
        environment: adapter.seconds,
        ..Times::default()
    };
    let reads = adapter.reads;
    times.forward = start.elapsed().as_secs_f64() - times.environment;
    let start = Instant::now();
    environment.finish();
    times.environment += start.elapsed().as_secs_f64();
    let last = rollout.final_states();
    let mut states: States = vec![None; last.len()];
    for (slot, state) in executor.step_graph().states.iter().enumerate() {
        if run.gives(state) {
            states[slot] = Some(executor.download(&last[slot])?);
        }
    }
    let (mut gradients, mut first_adjoints) = (Vec::new(), States::new());
    if run.learn {
        let start = Instant::now();
        executor.clear_gradients();
        let zero = zero_adjoint(executor)?;
        let slots = executor.step_graph().outputs.iter();
        let dims: Vec<Vec<usize>> = slots.map(|slot| slot.dims.clone()).collect();
        let silent = dims
            .iter()
            .map(|dims| executor.fill(0.0, dims))
            .collect::<Result<Vec<_>, _>>()?;
        let environment = &*environment;
        let adjoints = rollout.backward(executor, zero, |executor, step| {
            let mut all = silent.clone();
            for slot in &reads {
                let lanes = 0..executor.lanes();
                let lanes = lanes.map(|lane| environment.adjoint(lane, step, *slot));
                if let Some(values) = lanes.collect::<Option<Vec<_>>>() {
                    all[*slot] = executor.upload(&values.concat(), &dims[*slot])?;
                }
            }
            Ok(all)
        })?;
        gradients = executor.gradients()?;
        if run.first_adjoints {
            let first = adjoints.states.iter();
            let first = first.map(|tensor| executor.download(tensor).map(Some));
            first_adjoints = first.collect::<Result<_, _>>()?;
        }
        times.backward = start.elapsed().as_secs_f64();
    }
    Ok(EpisodesRan {
        states,
        gradients,
        first_adjoints,
        times,
    })
}

/// An environment as [`bptt`] asks it.
struct Adapter<'a> {
    environment: &'a mut dyn Environment,
    reads: Vec<usize>,
    /// By slot, lane by lane.
    inputs: Vec<Vec<f64>>,
    noises: Vec<Vec<f64>>,
    /// Seconds spent in the environment.
    seconds: f64,
}

impl<'a> Adapter<'a> {
    fn new<E: Executor>(
        executor: &E,
        environment: &'a mut dyn Environment,
        reads: Vec<usize>,
    ) -> Adapter<'a> {
        let graph = executor.step_graph();
        let zeros =
            |dims: &Vec<usize>| vec![0.0; executor.lanes() * dims.iter().product::<usize>()];
        Adapter {
            environment,
            reads,
            inputs: graph.inputs.iter().map(|slot| zeros(&slot.dims)).collect(),
            noises: graph.noises.iter().map(|slot| zeros(&slot.dims)).collect(),
            seconds: 0.0,
        }
    }
}

impl<E: Executor> bptt::Environment<E> for Adapter<'_> {
    fn inputs(
        &mut self,
        executor: &E,
        step: usize,
        states: &mut [E::Tensor],
    ) -> Result<StepInputs<E::Tensor>, BackendError> {
        let start = Instant::now();
        let mut lanes = Batch {
            executor,
            inputs: &mut self.inputs,
            noises: &mut self.noises,
            states,
            outputs: &[],
            read: Vec::new(),
        };
        self.environment.before(step, &mut lanes)?;
        let graph = executor.step_graph();
        let inputs = graph.inputs.iter().zip(&self.inputs);
        let inputs = inputs.map(|(slot, values)| executor.upload(values, &slot.dims));
        let noises = graph.noises.iter().zip(&self.noises);
        let noises = noises.map(|(slot, values)| executor.upload(values, &slot.dims));
        let inputs = StepInputs {
            inputs: inputs.collect::<Result<_, _>>()?,
            noises: noises.collect::<Result<_, _>>()?,
        };
        self.seconds += start.elapsed().as_secs_f64();
        Ok(inputs)
    }

    fn outputs(
        &mut self,
        executor: &E,
        step: usize,
        outputs: &[E::Tensor],
        states: &mut [E::Tensor],
    ) -> Result<(), BackendError> {
        // What is downloaded has to be computed first: that is the network's time.
        let mut read = vec![None; outputs.len()];
        for slot in &self.reads {
            read[*slot] = Some(executor.download(&outputs[*slot])?);
        }
        let start = Instant::now();
        let mut lanes = Batch {
            executor,
            inputs: &mut self.inputs,
            noises: &mut self.noises,
            states,
            outputs,
            read,
        };
        self.environment.after(step, &mut lanes)?;
        self.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.environment.is_over()
    }
}

/// The lanes of a block between two steps.
struct Batch<'a, E: Executor> {
    executor: &'a E,
    inputs: &'a mut [Vec<f64>],
    noises: &'a mut [Vec<f64>],
    states: &'a mut [E::Tensor],
    outputs: &'a [E::Tensor],
    /// Outputs that were downloaded.
    read: Vec<Option<Vec<f64>>>,
}

impl<E: Executor> Batch<'_, E> {
    /// The part of a lane of what has a value for each.
    fn own(&self, lane: usize, elements: usize) -> std::ops::Range<usize> {
        let width = elements / self.executor.lanes();
        lane * width..(lane + 1) * width
    }

    fn read(&mut self, slot: usize) -> Result<&[f64], BackendError> {
        if self.read[slot].is_none() {
            self.read[slot] = Some(self.executor.download(&self.outputs[slot])?);
        }
        Ok(self.read[slot].as_deref().unwrap_or_default())
    }
}

impl<E: Executor> Running for Batch<'_, E> {
    fn set_input(&mut self, lane: usize, slot: usize, values: &[f32]) {
        let own = self.own(lane, self.inputs[slot].len());
        for (to, x) in self.inputs[slot][own].iter_mut().zip(values) {
            *to = f64::from(*x);
        }
    }

    fn set_noise(&mut self, lane: usize, slot: usize, values: &[f64]) {
        let own = self.own(lane, self.noises[slot].len());
        self.noises[slot][own].copy_from_slice(values);
    }

    fn output(&mut self, lane: usize, slot: usize, out: &mut Vec<f64>) -> Result<(), BackendError> {
        let elements = self.read(slot)?.len();
        let own = self.own(lane, elements);
        out.clear();
        out.extend_from_slice(&self.read(slot)?[own]);
        Ok(())
    }

    fn set_inputs(&mut self, slot: usize, values: &[f64]) {
        self.inputs[slot].copy_from_slice(values);
    }

    fn set_noises(&mut self, slot: usize, values: &[f64]) {
        self.noises[slot].copy_from_slice(values);
    }

    fn outputs(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        Ok(self.read(slot)?.to_vec())
    }

    fn state(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        self.executor.download(&self.states[slot])
    }

    fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError> {
        let dims = &self.executor.step_graph().states[slot].dims;
        self.states[slot] = self.executor.upload(values, dims)?;
        Ok(())
    }

    fn named(&self, _: &str) -> Option<Vec<f64>> {
        None
    }
}
