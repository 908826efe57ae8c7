//! Sequences that are known beforehand: all steps of all lanes forward, and back from adjoints that the caller gives.
//!
//! [`Sequences`] runs the kernels of a network, and a [`Tape`] holds what the way back needs: the vectors of each step and
//! the traces of every `√steps`-th one. Arrays lie as `[steps, lanes, dims...]` (inputs, outputs) and `[lanes, dims...]`
//! (states). The threads of the pool share the lanes, and no number depends on how many there are.

use super::bptt::least_memory_interval;
use super::experiment::Experiment;
use super::fused::{Fused, LaneMemory, Native, Real, Shared};
use super::lanes::{locked, Total};
use super::BackendError;
use crate::ir::rng::noise;
use crate::ir::Graph;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Steps that run without a pause where nothing goes back; memory for records grows with it, results do not depend on it.
const AT_ONCE: usize = 256;

/// The kernels of a network, for sequences of any length and number.
pub struct Sequences<T> {
    fused: Arc<Fused>,
    graph: Arc<Graph>,
    idle: Idle<T>,
}

/// Memories of lanes that nothing runs in.
type Idle<T> = Arc<Mutex<Vec<LaneMemory<T>>>>;

/// The values that a run begins with, by slot.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a, T> {
    /// Steps.
    pub steps: usize,
    /// Lanes.
    pub lanes: usize,
    /// Parameters, constants too.
    pub parameters: &'a [&'a [T]],
    /// Inputs, `[steps, lanes, dims...]`.
    pub inputs: &'a [&'a [T]],
    /// States that enter the first step, `[lanes, dims...]`; `None` for the first values of the spec.
    pub states: &'a [Option<&'a [T]>],
    /// The origin of the noise.
    pub noise: Noise,
}

/// The numbers that noise depends on, beside lane and step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noise {
    /// The seed.
    pub seed: u64,
    /// The number of the iteration.
    pub iteration: u32,
    /// The number of the first step.
    pub first_step: u32,
    /// True to draw dropout masks; otherwise they are at their means.
    pub learn: bool,
}

/// The results of a run, by slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran<T> {
    /// Outputs, `[steps, lanes, dims...]`.
    pub outputs: Vec<Vec<T>>,
    /// States that left the last step, `[lanes, dims...]`.
    pub states: Vec<Vec<T>>,
}

/// The adjoints that the way back begins with, by slot; `None` where they are 0.
#[derive(Clone, Copy, Debug)]
pub struct Seeds<'a, T> {
    /// Adjoints of the outputs, `[steps, lanes, dims...]`.
    pub outputs: &'a [Option<&'a [T]>],
    /// Adjoints of the states that left the last step, `[lanes, dims...]`.
    pub states: &'a [Option<&'a [T]>],
}

/// The results of the way back, by slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjoints<T> {
    /// Adjoints of trained parameters; `None` for constants.
    pub parameters: Vec<Option<Vec<T>>>,
    /// Adjoints of the inputs, `[steps, lanes, dims...]`.
    pub inputs: Vec<Vec<T>>,
    /// Adjoints of the states that entered the first step, `[lanes, dims...]`.
    pub states: Vec<Vec<T>>,
}

/// A run that can be gone back through, more than once.
pub struct Tape<T> {
    fused: Arc<Fused>,
    graph: Arc<Graph>,
    parameters: Vec<Vec<f64>>,
    shared: Shared<T>,
    /// Lane by lane.
    memories: Vec<LaneMemory<T>>,
    steps: usize,
    idle: Idle<T>,
}

/// Outputs `[steps, lanes of the group, dims...]` and states of a group of lanes that go in step.
type Part<T> = Ran<T>;

impl<T: Native> Sequences<T> {
    /// The kernels of a compiled network; `None` if it has none, or several stages.
    pub fn new(experiment: &Experiment) -> Option<Sequences<T>> {
        let [stage] = &experiment.stages[..] else {
            return None;
        };
        Some(Sequences {
            fused: Arc::clone(stage.fused()?),
            graph: Arc::new(stage.graphs.step.clone()),
            idle: Idle::default(),
        })
    }

    /// The step, for its slots.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs all lanes.
    ///
    /// # Errors
    /// [`BackendError::Size`] where values do not fit the network.
    pub fn run(&self, given: Given<'_, T>) -> Result<Ran<T>, BackendError> {
        let (_, shared) = self.prepare(&given)?;
        let parts = self.groups(given.lanes).into_par_iter().map(|lanes| {
            let mut memories = take(&self.idle, lanes.len());
            let part = self.group(&given, &shared, lanes, &mut memories, false);
            locked(&self.idle).extend(memories);
            part
        });
        Ok(self.together(&parts.collect::<Vec<_>>(), given.steps))
    }

    /// Runs all lanes, and stores what the way back needs.
    ///
    /// # Errors
    /// The same as those of [`Sequences::run`].
    pub fn record(&self, given: Given<'_, T>) -> Result<(Ran<T>, Tape<T>), BackendError> {
        let (parameters, shared) = self.prepare(&given)?;
        let parts = self.groups(given.lanes).into_par_iter().map(|lanes| {
            let mut memories = take(&self.idle, lanes.len());
            let part = self.group(&given, &shared, lanes, &mut memories, true);
            (part, memories)
        });
        let (parts, memories): (Vec<_>, Vec<_>) = parts.unzip();
        let ran = self.together(&parts, given.steps);
        let tape = Tape {
            fused: Arc::clone(&self.fused),
            graph: Arc::clone(&self.graph),
            parameters,
            shared,
            memories: memories.into_iter().flatten().collect(),
            steps: given.steps,
            idle: Arc::clone(&self.idle),
        };
        Ok((ran, tape))
    }

    /// Checks the sizes; returns the parameters, and what depends on them alone.
    fn prepare(&self, given: &Given<'_, T>) -> Result<(Vec<Vec<f64>>, Shared<T>), BackendError> {
        let graph = &self.graph;
        let (rows, lanes) = (given.steps * given.lanes, given.lanes);
        let count = |what: &str, wanted, found| {
            BackendError::check_size(|| format!("number of {what}"), wanted, found)
        };
        count("parameters", graph.params.len(), given.parameters.len())?;
        count("inputs", graph.inputs.len(), given.inputs.len())?;
        count("states", graph.states.len(), given.states.len())?;
        for (slot, values) in graph.inputs.iter().zip(given.inputs) {
            let what = || format!("input `{}`", slot.path);
            BackendError::check_size(what, rows * elements(&slot.dims), values.len())?;
        }
        for (slot, values) in graph.states.iter().zip(given.states) {
            let Some(values) = values else { continue };
            let what = || format!("state `{}`", slot.path);
            BackendError::check_size(what, lanes * elements(&slot.dims), values.len())?;
        }
        let wide = |values: &&[T]| values.iter().map(|x| x.to_f64()).collect();
        let parameters: Vec<Vec<f64>> = given.parameters.iter().map(wide).collect();
        let shared = self.fused.shared::<T>(&parameters)?;
        Ok((parameters, shared))
    }

    fn groups(&self, lanes: usize) -> Vec<Range<usize>> {
        let together = self.fused.best_together();
        let firsts = (0..lanes).step_by(together);
        firsts
            .map(|first| first..lanes.min(first + together))
            .collect()
    }

    /// Runs some lanes in step; `kept` says that something may go back through them.
    fn group(
        &self,
        given: &Given<'_, T>,
        shared: &Shared<T>,
        lanes: Range<usize>,
        memories: &mut [LaneMemory<T>],
        kept: bool,
    ) -> Part<T> {
        let (fused, graph) = (&*self.fused, &*self.graph);
        let steps = given.steps;
        let (chunk, interval) = match kept {
            true => (steps, least_memory_interval(steps)),
            false => (steps.min(AT_ONCE), AT_ONCE),
        };
        for (memory, lane) in memories.iter_mut().zip(lanes.clone()) {
            memory.start(fused, chunk, interval);
            for (slot, state) in graph.states.iter().enumerate() {
                match (given.states[slot], state.first) {
                    (Some(values), _) => {
                        memory.set_state(fused, slot, row(values, lane, elements(&state.dims)));
                    }
                    (None, Some(first)) => {
                        memory.set_state(fused, slot, given.parameters[first.index()]);
                    }
                    (None, None) => {}
                }
            }
        }
        let slots = graph.outputs.iter();
        let mut outputs: Vec<Vec<T>> = slots
            .map(|slot| Vec::with_capacity(steps * lanes.len() * elements(&slot.dims)))
            .collect();
        let mut drawn = Vec::new();
        for step in 0..steps {
            if step > 0 && step % chunk == 0 {
                for memory in memories.iter_mut() {
                    memory.settle(fused, shared);
                    memory.go_on(fused, chunk.min(steps - step), interval);
                }
            }
            for (memory, lane) in memories.iter_mut().zip(lanes.clone()) {
                let place = step * given.lanes + lane;
                for (slot, input) in graph.inputs.iter().enumerate() {
                    let values = row(given.inputs[slot], place, elements(&input.dims));
                    memory.set_input(fused, slot, values, |x| x);
                }
                for (number, slot) in graph.noises.iter().enumerate() {
                    let Noise {
                        seed,
                        iteration,
                        first_step,
                        learn,
                    } = given.noise;
                    drawn.resize(elements(&slot.dims), 0.0);
                    let at = [iteration, first_step + step as u32, lane as u32];
                    noise(slot, number, (seed, learn), at, &mut drawn);
                    memory.set_noise(fused, number, &drawn);
                }
            }
            LaneMemory::step_together(memories, fused, shared);
            for (slot, out) in outputs.iter_mut().enumerate() {
                for memory in memories.iter() {
                    memory.append_output(fused, shared, slot, out);
                }
            }
        }
        let slots = 0..graph.states.len();
        let states = slots.map(|slot| {
            let lanes = memories.iter_mut();
            let values = lanes.flat_map(|memory| memory.state::<T>(fused, shared, slot));
            values.collect()
        });
        Ran {
            states: states.collect(),
            outputs,
        }
    }

    /// The results of all groups in the order of the lanes.
    fn together(&self, parts: &[Part<T>], steps: usize) -> Ran<T> {
        let slots = 0..self.graph.outputs.len();
        let outputs = slots.map(|slot| interleaved(parts.iter().map(|p| &p.outputs[slot]), steps));
        let slots = 0..self.graph.states.len();
        let states = slots.map(|slot| {
            let parts = parts.iter().map(|part| part.states[slot].as_slice());
            parts.collect::<Vec<_>>().concat()
        });
        Ran {
            outputs: outputs.collect(),
            states: states.collect(),
        }
    }
}

impl<T: Native> Tape<T> {
    /// The step, for its slots.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Goes back from the adjoints of outputs and last states.
    ///
    /// # Errors
    /// [`BackendError::Size`] where they do not fit the run.
    pub fn backward(&mut self, seeds: Seeds<'_, T>) -> Result<Adjoints<T>, BackendError> {
        self.check(&seeds)?;
        let Tape {
            fused,
            graph,
            parameters,
            shared,
            memories,
            steps,
            idle,
        } = self;
        let (fused, graph, shared, steps, idle) = (&**fused, &**graph, &*shared, *steps, &*idle);
        let lanes = memories.len();
        let total = Mutex::new(Total::<T>::new(fused.sums_size()));
        let together = fused.best_together();
        let groups = memories.par_chunks_mut(together).enumerate();
        let parts = groups.map(|(group, memories)| {
            // The memory that only the way back needs goes from lane to lane.
            let mut spare: Vec<LaneMemory<T>> = take(idle, memories.len());
            for (memory, spare) in memories.iter_mut().zip(&mut spare) {
                memory.take_way_back(fused, spare, fused);
            }
            let first = group * together;
            for (k, memory) in memories.iter_mut().enumerate() {
                match k {
                    0 => memory.start_back(fused),
                    _ => memory.start_back_beside(fused),
                }
                for (slot, state) in graph.states.iter().enumerate() {
                    if let Some(values) = seeds.states[slot] {
                        let values = row(values, first + k, elements(&state.dims));
                        memory.set_state_adjoint(fused, slot, values);
                    }
                }
            }
            LaneMemory::back_together(memories, fused, shared, |lane, step, slot, out| match seeds
                .outputs[slot]
            {
                Some(values) => {
                    out.copy_from_slice(row(values, step * lanes + first + lane, out.len()));
                }
                None => out.fill(T::ZERO),
            });
            locked(&total).add(group, memories[0].sums(fused));
            let part = adjoints_of(memories, fused, graph, steps);
            for (memory, spare) in memories.iter_mut().zip(&mut spare) {
                spare.take_way_back(fused, memory, fused);
            }
            locked(idle).extend(spare);
            part
        });
        let (inputs, states): (Vec<_>, Vec<_>) = parts.unzip();
        let slots = 0..graph.inputs.len();
        let inputs =
            slots.map(|slot| interleaved(inputs.iter().map(|part: &Vec<_>| &part[slot]), steps));
        let slots = 0..graph.states.len();
        let states = slots.map(|slot| {
            let parts = states
                .iter()
                .map(|part: &Vec<Vec<T>>| part[slot].as_slice());
            parts.collect::<Vec<_>>().concat()
        });
        let gradients = fused.gradients(parameters, locked(&total).sums())?;
        let narrow = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect();
        Ok(Adjoints {
            inputs: inputs.collect(),
            states: states.collect(),
            parameters: gradients
                .into_iter()
                .map(|values| values.map(narrow))
                .collect(),
        })
    }

    fn check(&self, seeds: &Seeds<'_, T>) -> Result<(), BackendError> {
        let (graph, lanes) = (&self.graph, self.memories.len());
        let count = |what: &str, wanted, found| {
            BackendError::check_size(|| format!("number of adjoints of {what}"), wanted, found)
        };
        count("outputs", graph.outputs.len(), seeds.outputs.len())?;
        count("states", graph.states.len(), seeds.states.len())?;
        for (slot, values) in graph.outputs.iter().zip(seeds.outputs) {
            let Some(values) = values else { continue };
            let wanted = self.steps * lanes * elements(&slot.dims);
            let what = || format!("adjoint of the output `{}`", slot.path);
            BackendError::check_size(what, wanted, values.len())?;
        }
        for (slot, values) in graph.states.iter().zip(seeds.states) {
            let Some(values) = values else { continue };
            let what = || format!("adjoint of the state `{}`", slot.path);
            BackendError::check_size(what, lanes * elements(&slot.dims), values.len())?;
        }
        Ok(())
    }
}

impl<T> Drop for Tape<T> {
    /// The memories serve other runs.
    fn drop(&mut self) {
        locked(&self.idle).append(&mut self.memories);
    }
}

/// Adjoints of inputs, `[steps, lanes of the group, dims...]`, and of first states.
fn adjoints_of<T: Native>(
    memories: &[LaneMemory<T>],
    fused: &Fused,
    graph: &Graph,
    steps: usize,
) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
    let mut inputs = Vec::with_capacity(graph.inputs.len());
    for (slot, input) in graph.inputs.iter().enumerate() {
        let n = elements(&input.dims);
        let mut all = Vec::with_capacity(steps * memories.len() * n);
        for step in 0..steps {
            for memory in memories {
                extend(&mut all, memory.input_adjoint(fused, slot, step), n);
            }
        }
        inputs.push(all);
    }
    let mut states = Vec::with_capacity(graph.states.len());
    for (slot, state) in graph.states.iter().enumerate() {
        let mut all = Vec::new();
        for memory in memories {
            let values: Vec<T> = memory.state_adjoint(fused, slot);
            extend(&mut all, &values, elements(&state.dims));
        }
        states.push(all);
    }
    (inputs, states)
}

/// Appends `n` values, which are 0 where there are none.
fn extend<T: Real>(all: &mut Vec<T>, values: &[T], n: usize) {
    match values.len() {
        0 => all.resize(all.len() + n, T::ZERO),
        _ => all.extend_from_slice(values),
    }
}

/// Values of groups, step by step, as those of all lanes.
fn interleaved<'a, T: Real>(
    parts: impl Iterator<Item = &'a Vec<T>> + Clone,
    steps: usize,
) -> Vec<T> {
    let mut all = Vec::with_capacity(parts.clone().map(Vec::len).sum());
    for step in 0..steps {
        for part in parts.clone() {
            all.extend_from_slice(row(part, step, part.len() / steps));
        }
    }
    all
}

fn row<T>(values: &[T], k: usize, width: usize) -> &[T] {
    &values[k * width..(k + 1) * width]
}

fn elements(dims: &[usize]) -> usize {
    dims.iter().product()
}

/// Memories for some lanes, used ones where there are any.
fn take<T: Native>(idle: &Mutex<Vec<LaneMemory<T>>>, lanes: usize) -> Vec<LaneMemory<T>> {
    let mut all = locked(idle);
    let kept = all.len().saturating_sub(lanes);
    let mut memories = all.split_off(kept);
    memories.resize_with(lanes, LaneMemory::default);
    memories
}
