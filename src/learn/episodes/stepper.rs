//! Lanes that go through an episode step by step, forward only, on any backend.

use crate::engine::fused::{Fused, LaneMemory, Shared};
use crate::engine::{BackendError, Executor, StepLeaves};
use crate::ir::Graph;
use std::sync::{Arc, Mutex, PoisonError};

/// What a step starts from beside states: by slot, lane by lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Inputs.
    pub inputs: Vec<Vec<f64>>,
    /// Noise draws.
    pub noises: Vec<Vec<f64>>,
}

/// Some lanes in step. Values are by slot, lane by lane.
pub(super) trait Stepper: Send {
    /// Sets all parameters, by slot; `shared` is what the fused kernels make of them.
    fn set_parameters(
        &mut self,
        values: &[Vec<f64>],
        shared: Option<&Arc<Shared<f32>>>,
    ) -> Result<(), BackendError>;

    /// Begins an episode of so many steps. `carried` are the states that are not at their first values.
    fn begin(&mut self, steps: usize, carried: &[Option<Vec<f64>>]) -> Result<(), BackendError>;

    /// One step.
    fn step(&mut self, given: &Given) -> Result<(), BackendError>;

    /// A state as it enters the next step.
    fn state(&mut self, slot: usize) -> Result<Vec<f64>, BackendError>;

    /// Changes a state that enters the next step.
    fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError>;

    /// An output of the last step.
    fn output(&mut self, slot: usize) -> Result<Vec<f64>, BackendError>;

    /// A value of the last step by its name, where it can be had as it was computed.
    fn named(&self, name: &str) -> Option<Vec<f64>>;

    /// Ends the episode.
    fn end(&mut self) {}
}

/// Memories that lanes take turns on.
pub(super) type Memories = Arc<Mutex<Vec<LaneMemory<f32>>>>;

/// One lane on the fused kernels.
pub(super) struct FusedLane {
    program: Arc<Fused>,
    graph: Arc<Graph>,
    shared: Arc<Shared<f32>>,
    memories: Memories,
    memory: LaneMemory<f32>,
}

impl FusedLane {
    pub(super) fn new(program: Arc<Fused>, graph: Arc<Graph>, memories: Memories) -> FusedLane {
        FusedLane {
            program,
            graph,
            memories,
            shared: Arc::default(),
            memory: LaneMemory::new(),
        }
    }
}

impl Stepper for FusedLane {
    fn set_parameters(
        &mut self,
        _: &[Vec<f64>],
        shared: Option<&Arc<Shared<f32>>>,
    ) -> Result<(), BackendError> {
        if let Some(shared) = shared {
            self.shared = Arc::clone(shared);
        }
        Ok(())
    }

    fn begin(&mut self, steps: usize, carried: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        self.memory = memories.pop().unwrap_or_default();
        drop(memories);
        // Nothing goes back through the episode: one checkpoint of the traces is as few as there can be.
        self.memory.start(&self.program, steps, steps.max(1));
        for (slot, values) in carried.iter().enumerate() {
            if let Some(values) = values {
                self.memory.set_state(&self.program, slot, values);
            }
        }
        Ok(())
    }

    fn step(&mut self, given: &Given) -> Result<(), BackendError> {
        for (slot, values) in given.inputs.iter().enumerate() {
            self.memory
                .set_input(&self.program, slot, values, |x| x as f32);
        }
        for (slot, values) in given.noises.iter().enumerate() {
            self.memory.set_noise(&self.program, slot, values);
        }
        self.memory.step(&self.program, &self.shared);
        Ok(())
    }

    fn state(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        Ok(self.memory.state(&self.program, &self.shared, slot))
    }

    fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError> {
        // Reading applies the updates that are still pending.
        for (other, state) in self.graph.states.iter().enumerate() {
            if state.dims.len() == 2 {
                self.memory.state(&self.program, &self.shared, other);
            }
        }
        self.memory.set_state(&self.program, slot, values);
        Ok(())
    }

    fn output(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        let mut out = Vec::new();
        self.memory
            .output(&self.program, &self.shared, slot, &mut out);
        Ok(out)
    }

    fn named(&self, name: &str) -> Option<Vec<f64>> {
        self.memory.named(&self.program, name)
    }

    fn end(&mut self) {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.push(std::mem::take(&mut self.memory));
    }
}

/// Lanes on an executor, all in step.
pub(super) struct Batched<E: Executor> {
    executor: E,
    states: Vec<E::Tensor>,
    outputs: Vec<E::Tensor>,
}

impl<E: Executor> Batched<E> {
    pub(super) fn new(executor: E) -> Batched<E> {
        Batched {
            executor,
            states: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

impl<E: Executor<Tensor: Send> + Send> Stepper for Batched<E> {
    fn set_parameters(
        &mut self,
        values: &[Vec<f64>],
        _: Option<&Arc<Shared<f32>>>,
    ) -> Result<(), BackendError> {
        self.executor.set_parameters(values)
    }

    fn begin(&mut self, _: usize, carried: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        let slots = self.executor.step_graph().states.iter();
        self.states = slots
            .zip(carried)
            .map(|(slot, carried)| match carried {
                Some(values) => self.executor.upload(values, &slot.dims),
                None => self.executor.fill(slot.init, &slot.dims),
            })
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn step(&mut self, given: &Given) -> Result<(), BackendError> {
        let graph = self.executor.step_graph();
        let upload = |values: &Vec<f64>, dims: &[usize]| self.executor.upload(values, dims);
        let inputs = graph.inputs.iter().zip(&given.inputs);
        let inputs = inputs
            .map(|(slot, values)| upload(values, &slot.dims))
            .collect::<Result<Vec<_>, _>>()?;
        let noises = graph.noises.iter().zip(&given.noises);
        let noises = noises
            .map(|(slot, values)| upload(values, &slot.dims))
            .collect::<Result<Vec<_>, _>>()?;
        let results = self.executor.step(StepLeaves {
            states: &self.states,
            inputs: &inputs,
            noises: &noises,
        })?;
        self.states = results.next;
        self.outputs = results.outputs;
        Ok(())
    }

    fn state(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        self.executor.download(&self.states[slot])
    }

    fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError> {
        let dims = self.executor.step_graph().states[slot].dims.clone();
        self.states[slot] = self.executor.upload(values, &dims)?;
        Ok(())
    }

    fn output(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        self.executor.download(&self.outputs[slot])
    }

    fn named(&self, _: &str) -> Option<Vec<f64>> {
        None
    }
}
