//! Loss and gradients for given values: what `bpmc grad` evaluates, and what tests compare with other
//! frameworks.

use super::given_loss::loss_and_seeds;
use crate::engine::bptt::{least_memory_interval, zero_adjoint, Recorded, Rollout, StepInputs};
use crate::engine::fused::{Fused, LaneMemory, Native, Shared};
use crate::engine::{BackendError, Executor};
use crate::lang::sema::model::TrainModel;

/// Values of everything a spec leaves open, by path, flat and row by row: inputs `[T, B, ..]`, noise draws
/// `[T, B, ..]`, initial states `[B, ..]`, parameters, and either targets `[T, B, ..]` by output or
/// actions and rewards `[T, B]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenValues {
    /// Steps.
    pub steps: usize,
    /// Lanes.
    pub lanes: usize,
    /// By slot of the graph, in order.
    pub inputs: Vec<Vec<f64>>,
    /// By slot.
    pub noises: Vec<Vec<f64>>,
    /// By slot.
    pub states: Vec<Vec<f64>>,
    /// By slot.
    pub params: Vec<Vec<f64>>,
    /// By output slot; empty where the output has no target.
    pub targets: Vec<Vec<f64>>,
    /// Weights of the steps of targets, `[T, B]`, by output slot; 1 where there are none.
    pub weights: Vec<Vec<f64>>,
    /// `[T, B]`, for a2c.
    pub actions: Vec<usize>,
    /// `[T, B]`, for a2c.
    pub rewards: Vec<f64>,
}

/// What an evaluation gives, shaped as [`GivenValues`].
#[derive(Clone, Debug, PartialEq)]
pub struct GivenResults {
    /// The loss.
    pub loss: f64,
    /// By output slot, `[T, B, ..]`.
    pub outputs: Vec<Vec<f64>>,
    /// By state slot, `[B, ..]`.
    pub final_states: Vec<Vec<f64>>,
    /// By parameter slot; `None` for constants.
    pub gradients: Vec<Option<Vec<f64>>>,
    /// By state slot: the gradient by its initial value, `[B, ..]`.
    pub state_gradients: Vec<Vec<f64>>,
}

/// Evaluates the trainer's loss and all gradients.
///
/// # Errors
/// Those of the backend.
pub fn evaluate<E: Executor>(
    executor: &mut E,
    train: &TrainModel,
    given: &GivenValues,
) -> Result<GivenResults, BackendError> {
    let graph = executor.step_graph();
    let input_dims: Vec<Vec<usize>> = graph.inputs.iter().map(|s| s.dims.clone()).collect();
    let noise_dims: Vec<Vec<usize>> = graph.noises.iter().map(|s| s.dims.clone()).collect();
    let state_dims: Vec<Vec<usize>> = graph.states.iter().map(|s| s.dims.clone()).collect();
    let output_dims: Vec<Vec<usize>> = graph.outputs.iter().map(|s| s.dims.clone()).collect();
    let output_names: Vec<String> = graph.outputs.iter().map(|s| s.path.clone()).collect();
    let steps = given.steps;
    executor.set_parameters(&given.params)?;
    let states = given
        .states
        .iter()
        .zip(&state_dims)
        .map(|(values, dims)| executor.upload(values, dims))
        .collect::<Result<Vec<_>, _>>()?;
    let at = |values: &[f64], step: usize| {
        let width = values.len() / steps;
        values[step * width..(step + 1) * width].to_vec()
    };
    let mut sequence = Vec::with_capacity(steps);
    for step in 0..steps {
        let upload = |values: &[Vec<f64>], dims: &[Vec<usize>]| {
            values
                .iter()
                .zip(dims)
                .map(|(values, dims)| executor.upload(&at(values, step), dims))
                .collect::<Result<Vec<_>, _>>()
        };
        sequence.push(StepInputs {
            inputs: upload(&given.inputs, &input_dims)?,
            noises: upload(&given.noises, &noise_dims)?,
        });
    }
    let mut recorded = Recorded::new(sequence);
    let interval = least_memory_interval(steps);
    let rollout = Rollout::forward(executor, states, steps, interval, &mut recorded)?;
    let mut outputs: Vec<Vec<f64>> = vec![Vec::new(); output_dims.len()];
    for step in &recorded.outputs {
        for (all, tensor) in outputs.iter_mut().zip(step) {
            all.extend(executor.download(tensor)?);
        }
    }
    let final_states = rollout
        .final_states()
        .iter()
        .map(|tensor| executor.download(tensor))
        .collect::<Result<Vec<_>, _>>()?;
    let (loss, seeds) = loss_and_seeds(train, given, &output_names, &outputs);
    executor.clear_gradients();
    let zero = zero_adjoint(executor)?;
    let adjoints = rollout.backward(executor, zero, |executor, step| {
        seeds
            .iter()
            .zip(&output_dims)
            .map(|(values, dims)| executor.upload(&at(values, step), dims))
            .collect()
    })?;
    let state_gradients = adjoints
        .states
        .iter()
        .map(|tensor| executor.download(tensor))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(GivenResults {
        loss,
        outputs,
        final_states,
        gradients: executor.gradients()?,
        state_gradients,
    })
}

/// As [`evaluate`], by the fused kernels in the precision `T`.
///
/// # Errors
/// Where a value has the wrong size.
pub fn evaluate_fused<T: Native>(
    program: &Fused,
    graph: &crate::ir::Graph,
    train: &TrainModel,
    given: &GivenValues,
) -> Result<GivenResults, BackendError> {
    let (steps, lanes) = (given.steps, given.lanes);
    let names: Vec<String> = graph.outputs.iter().map(|s| s.path.clone()).collect();
    let shared: Shared<T> = program.shared(&given.params)?;
    let interval = least_memory_interval(steps);
    let mut memories: Vec<LaneMemory<T>> = (0..lanes).map(|_| LaneMemory::new()).collect();
    let element = |values: &[f64], step: usize, lane: usize| {
        let width = values.len() / (steps * lanes);
        let start = (step * lanes + lane) * width;
        values[start..start + width].to_vec()
    };
    let mut outputs: Vec<Vec<f64>> = vec![Vec::new(); graph.outputs.len()];
    let mut buffer = Vec::new();
    for (lane, memory) in memories.iter_mut().enumerate() {
        memory.start(program, steps, interval);
        for (slot, values) in given.states.iter().enumerate() {
            let width = values.len() / lanes;
            memory.set_state(program, slot, &values[lane * width..(lane + 1) * width]);
        }
    }
    for step in 0..steps {
        for (lane, memory) in memories.iter_mut().enumerate() {
            for (slot, values) in given.inputs.iter().enumerate() {
                let values = element(values, step, lane);
                memory.set_input(program, slot, &values, T::from_f64);
            }
            for (slot, values) in given.noises.iter().enumerate() {
                memory.set_noise(program, slot, &element(values, step, lane));
            }
            memory.step(program, &shared);
            for (slot, all) in outputs.iter_mut().enumerate() {
                memory.output(program, &shared, slot, &mut buffer);
                all.extend_from_slice(&buffer);
            }
        }
    }
    let mut final_states = vec![Vec::new(); graph.states.len()];
    for memory in &mut memories {
        for (slot, values) in final_states.iter_mut().enumerate() {
            values.extend(memory.state(program, &shared, slot));
        }
    }
    let (loss, seeds) = loss_and_seeds(train, given, &names, &outputs);
    let mut sums = vec![0.0; program.sums_size()];
    for (lane, memory) in memories.iter_mut().enumerate() {
        memory.start_back(program);
        memory.back(program, &shared, |step, slot, out| {
            for (to, x) in out.iter_mut().zip(element(&seeds[slot], step, lane)) {
                *to = T::from_f64(x);
            }
        });
        memory.add_sums(program, &mut sums);
    }
    let state_gradients = (0..graph.states.len())
        .map(|slot| {
            let lanes = memories.iter();
            lanes.flat_map(|m| m.state_adjoint(program, slot)).collect()
        })
        .collect();
    Ok(GivenResults {
        loss,
        outputs,
        final_states,
        gradients: program.gradients(&given.params, &sums)?,
        state_gradients,
    })
}
