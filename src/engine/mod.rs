//! Backends: what evaluates a step and its adjoint for a number of lanes.
//!
//! | backend | numbers | for |
//! |---|---|---|
//! | [`mod@reference`] | f64 | the oracle: slow, obvious |
//! | [`fused`] | f32 (f64 for checks) | training on the CPU: kernels made for the rule of the spec, one lane at a time |
//! | [`staged`] | f32 | sequences known ahead (language models): layer by layer, what is shared as products of matrices |
//! | [`candle`] | f32 or f64 | the unfused graph as batched Candle operations, on any device |
//!
//! [`experiment::Experiment`] is what is made of a checked spec for any of them.
//!
//! The last and the first are executors, and [`bptt`] runs them through time.
//!
//! Episodes run on an [`episode::Engine`]: [`in_step::InStep`] holds executors, [`lanes::Lanes`] the fused kernels. An engine
//! knows nothing of tasks, losses and optimizers; they are the [`episode::Environment`] of its lanes.
//!
//! [`sequences::Sequences`] runs the fused kernels on inputs that are known beforehand, and back from adjoints that the caller
//! gives: a network as a part of somebody else's program.

pub mod bptt;
pub mod candle;
pub mod device;
pub mod episode;
pub mod experiment;
pub mod fused;
pub mod in_step;
pub mod lanes;
pub mod params;
pub mod plan;
pub mod reference;
pub mod sequences;
pub mod staged;

use crate::ir::Graph;

/// The reason why a backend could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Values of the wrong size or number.
    #[error("{what}: {found} instead of {expected}")]
    Size {
        /// The name of the values.
        what: String,
        /// The number of there should be.
        expected: usize,
        /// The number of there are.
        found: usize,
    },
    /// The tensor library or the device failed, out of memory for instance.
    #[error("the tensor library failed: {0}")]
    Candle(#[from] candle_core::Error),
    /// The device failed.
    #[error("{0}")]
    Device(crate::machine::device::DeviceError),
    /// The source of inputs or seeds failed.
    #[error("{0}")]
    Environment(String),
}

impl From<crate::machine::device::DeviceError> for BackendError {
    fn from(error: crate::machine::device::DeviceError) -> BackendError {
        BackendError::Device(error)
    }
}

impl BackendError {
    /// `Ok` where `found` is `expected`.
    pub(crate) fn check_size(
        what: impl FnOnce() -> String,
        expected: usize,
        found: usize,
    ) -> Result<(), BackendError> {
        if expected == found {
            return Ok(());
        }
        Err(BackendError::Size {
            what: what(),
            expected,
            found,
        })
    }
}

/// The leaves of a step, one tensor per slot, in the order of the slots.
#[derive(Debug)]
pub struct StepLeaves<'a, T> {
    /// The states that enter the step.
    pub states: &'a [T],
    /// The inputs of the step.
    pub inputs: &'a [T],
    /// The draws of the noise sources for the step.
    pub noises: &'a [T],
}

impl<T> Clone for StepLeaves<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StepLeaves<'_, T> {}

/// The results of a step, one tensor per slot, in the order of the slots.
#[derive(Clone, Debug)]
pub struct StepResults<T> {
    /// The outputs.
    pub outputs: Vec<T>,
    /// The states that leave the step.
    pub next: Vec<T>,
}

/// The results of an adjoint beside gradients, one tensor per slot.
#[derive(Clone, Debug)]
pub struct AdjointResults<T> {
    /// Adjoints of the states that entered the step.
    pub states: Vec<T>,
    /// Adjoints of the inputs; empty unless the adjoint graph has them.
    pub inputs: Vec<T>,
}

/// Evaluates one step graph and its adjoint for a fixed number of lanes.
///
/// Tensors are per lane, `[lanes, dims...]`; on the host they are slices with the lane outermost.
/// An executor holds the parameters and adds up their gradients over adjoint steps; the same calls
/// in the same order give the same bits, whatever the number of threads.
pub trait Executor {
    /// A tensor on the device; cheap to clone, never changed once made.
    type Tensor: Clone;

    /// The step, for its slots.
    fn step_graph(&self) -> &Graph;

    /// The number of lanes there are.
    fn lanes(&self) -> usize;

    /// A tensor of the given dimensions beside the lane axis.
    ///
    /// # Errors
    /// Where `values` does not have `lanes * dims` numbers, or the device fails.
    fn upload(&self, values: &[f64], dims: &[usize]) -> Result<Self::Tensor, BackendError>;

    /// The numbers of a tensor.
    ///
    /// # Errors
    /// Where the device fails.
    fn download(&self, tensor: &Self::Tensor) -> Result<Vec<f64>, BackendError>;

    /// Sets all parameters, constants too, in the order of their slots, row by row.
    ///
    /// # Errors
    /// Where a number of values does not fit, or the device fails.
    fn set_parameters(&mut self, values: &[Vec<f64>]) -> Result<(), BackendError>;

    /// One step.
    ///
    /// # Errors
    /// Where the number of leaves does not fit, or the device fails.
    fn step(
        &mut self,
        leaves: StepLeaves<'_, Self::Tensor>,
    ) -> Result<StepResults<Self::Tensor>, BackendError>;

    /// The adjoint of a step that started from `leaves`; adds to the gradients.
    ///
    /// # Errors
    /// Where the number of leaves does not fit, or the device fails.
    fn adjoint(
        &mut self,
        leaves: StepLeaves<'_, Self::Tensor>,
        seeds: &[Self::Tensor],
        adjoint_in: &[Self::Tensor],
    ) -> Result<AdjointResults<Self::Tensor>, BackendError>;

    /// Sets the gradients to 0.
    fn clear_gradients(&mut self);

    /// The gradients since they were cleared, in the order of the parameters; nothing for constants.
    /// `grad_scale` is not applied.
    ///
    /// # Errors
    /// Where the device fails.
    fn gradients(&self) -> Result<Vec<Option<Vec<f64>>>, BackendError>;

    /// A tensor with the same number everywhere.
    ///
    /// # Errors
    /// Where the device fails.
    fn fill(&self, value: f64, dims: &[usize]) -> Result<Self::Tensor, BackendError> {
        let elements: usize = dims.iter().product();
        self.upload(&vec![value; self.lanes() * elements], dims)
    }

    /// The states at the start of an episode.
    ///
    /// # Errors
    /// Where the device fails.
    fn initial_states(&self) -> Result<Vec<Self::Tensor>, BackendError> {
        let slots = self.step_graph().states.iter();
        slots.map(|slot| self.fill(slot.init, &slot.dims)).collect()
    }
}

/// Checks that there is one tensor for each slot a graph reads.
fn check_leaves<T>(graph: &Graph, leaves: &StepLeaves<'_, T>) -> Result<(), BackendError> {
    let check = |what: &str, expected, found| {
        BackendError::check_size(|| format!("number of {what}"), expected, found)
    };
    check("states", graph.states.len(), leaves.states.len())?;
    check("inputs", graph.inputs.len(), leaves.inputs.len())?;
    check("noise draws", graph.noises.len(), leaves.noises.len())
}

/// As [`check_leaves`], for what only an adjoint reads.
fn check_adjoint_leaves<T>(
    graph: &Graph,
    seeds: &[T],
    adjoint_in: &[T],
) -> Result<(), BackendError> {
    let check = |what: &str, expected, found| {
        BackendError::check_size(|| format!("number of {what}"), expected, found)
    };
    check("seeds", graph.outputs.len(), seeds.len())?;
    check("state adjoints", graph.states.len(), adjoint_in.len())
}

/// Checks the values of all parameters.
fn check_parameters(graph: &Graph, values: &[Vec<f64>]) -> Result<(), BackendError> {
    BackendError::check_size(
        || "number of parameters".to_owned(),
        graph.params.len(),
        values.len(),
    )?;
    for (slot, values) in graph.params.iter().zip(values) {
        BackendError::check_size(
            || format!("parameter `{}`", slot.path),
            slot.dims.iter().product(),
            values.len(),
        )?;
    }
    Ok(())
}
