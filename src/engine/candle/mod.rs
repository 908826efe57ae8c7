//! The Candle backend: the unfused graph as batched operations, on any device of Candle, in f32 or f64.
//!
//! Candle only runs forward here: gradients come from the adjoint graph, so no operation sees a variable and
//! Candle builds no graph of its own.
//!
//! On the CPU, Candle's threads (`RAYON_NUM_THREADS`, or the number of cores) split the elements of a result
//! and never a sum. The sums of this backend have a fixed order, so results are bit-identical with any number
//! of threads.

mod element;
mod ops;
mod program;
mod sum;

use super::{
    check_adjoint_leaves, check_leaves, check_parameters, AdjointResults, BackendError, Executor,
    StepLeaves, StepResults,
};
use crate::ir::{Graph, ResultKind};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, VarMap};
use program::{Leaves, Program};

/// The precision of a [`Candle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    Single,
    /// 64 bits.
    Double,
}

impl Precision {
    fn dtype(self) -> DType {
        match self {
            Precision::Single => DType::F32,
            Precision::Double => DType::F64,
        }
    }
}

/// An executor of a step and its adjoint on Candle tensors.
pub struct Candle {
    step: Program,
    adjoint: Program,
    lanes: usize,
    dtype: DType,
    device: Device,
    variables: VarMap,
    gradients: Vec<Option<Tensor>>,
}

impl Candle {
    /// Builds an executor for a step, its adjoint (`autodiff::differentiate`) and a number of lanes, at least
    /// 1. All parameters are 0 at first.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn new(
        step: Graph,
        adjoint: Graph,
        lanes: usize,
        precision: Precision,
        device: &Device,
    ) -> Result<Candle, BackendError> {
        let dtype = precision.dtype();
        let variables = VarMap::new();
        for slot in &step.params {
            let dims = slot.dims.as_slice();
            variables.get(dims, &slot.path, Init::Const(0.0), dtype, device)?;
        }
        let zeros: Vec<Vec<f64>> = step
            .params
            .iter()
            .map(|slot| vec![0.0; slot.dims.iter().product()])
            .collect();
        let mut candle = Candle {
            step: Program::new(step, lanes, dtype, device)?,
            adjoint: Program::new(adjoint, lanes, dtype, device)?,
            lanes,
            dtype,
            device: device.clone(),
            variables,
            gradients: Vec::new(),
        };
        candle.set_parameters(&zeros)?;
        candle.clear_gradients();
        Ok(candle)
    }

    /// The parameters by their paths, for saving. To change them, call [`Executor::set_parameters`].
    pub fn variables(&self) -> &VarMap {
        &self.variables
    }

    fn tensor(&self, values: &[f64], dims: &[usize]) -> Result<Tensor, BackendError> {
        Ok(Tensor::from_slice(values, dims, &self.device)?.to_dtype(self.dtype)?)
    }
}

fn host(tensor: &Tensor) -> Result<Vec<f64>, BackendError> {
    Ok(tensor
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?)
}

impl Executor for Candle {
    type Tensor = Tensor;

    fn step_graph(&self) -> &Graph {
        self.step.graph()
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn upload(&self, values: &[f64], dims: &[usize]) -> Result<Tensor, BackendError> {
        let expected = self.lanes * dims.iter().product::<usize>();
        BackendError::check_size(|| "tensor".to_owned(), expected, values.len())?;
        self.tensor(values, &[&[self.lanes], dims].concat())
    }

    fn download(&self, tensor: &Tensor) -> Result<Vec<f64>, BackendError> {
        host(tensor)
    }

    fn set_parameters(&mut self, values: &[Vec<f64>]) -> Result<(), BackendError> {
        check_parameters(self.step.graph(), values)?;
        let mut params = Vec::with_capacity(values.len());
        for (slot, values) in self.step.graph().params.iter().zip(values) {
            let tensor = self.tensor(values, &slot.dims)?;
            self.variables.set_one(&slot.path, &tensor)?;
            params.push(tensor);
        }
        self.step.set_parameters(&params)?;
        self.adjoint.set_parameters(&params)?;
        Ok(())
    }

    fn step(
        &mut self,
        leaves: StepLeaves<'_, Tensor>,
    ) -> Result<StepResults<Tensor>, BackendError> {
        check_leaves(self.step.graph(), &leaves)?;
        let leaves = Leaves {
            step: leaves,
            seeds: &[],
            adjoint_in: &[],
        };
        let results = self.step.run(&leaves)?;
        let mut outputs = Vec::new();
        let mut next = Vec::new();
        for (&(result, _), tensor) in self.step.graph().results().iter().zip(results) {
            match result {
                ResultKind::Output(_) => outputs.push(tensor),
                ResultKind::Next(_) => next.push(tensor),
                ResultKind::Gradient(_)
                | ResultKind::AdjointOut(_)
                | ResultKind::InputAdjoint(_) => {}
            }
        }
        Ok(StepResults { outputs, next })
    }

    fn adjoint(
        &mut self,
        leaves: StepLeaves<'_, Tensor>,
        seeds: &[Tensor],
        adjoint_in: &[Tensor],
    ) -> Result<AdjointResults<Tensor>, BackendError> {
        check_leaves(self.adjoint.graph(), &leaves)?;
        check_adjoint_leaves(self.adjoint.graph(), seeds, adjoint_in)?;
        let leaves = Leaves {
            step: leaves,
            seeds,
            adjoint_in,
        };
        let results = self.adjoint.run(&leaves)?;
        let mut states = Vec::new();
        let mut inputs = Vec::new();
        for (&(result, _), tensor) in self.adjoint.graph().results().iter().zip(results) {
            match result {
                ResultKind::Gradient(param) => {
                    let sum = &mut self.gradients[param.index()];
                    *sum = Some(match sum.take() {
                        Some(sum) => sum.add(&tensor)?,
                        None => tensor,
                    });
                }
                ResultKind::AdjointOut(_) => states.push(tensor),
                ResultKind::InputAdjoint(_) => inputs.push(tensor),
                ResultKind::Output(_) | ResultKind::Next(_) => {}
            }
        }
        Ok(AdjointResults { states, inputs })
    }

    fn clear_gradients(&mut self) {
        self.gradients = vec![None; self.step.graph().params.len()];
    }

    fn gradients(&self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        let slots = self.step.graph().params.iter();
        slots
            .zip(&self.gradients)
            .map(|(slot, sum)| match sum {
                Some(sum) => host(sum).map(Some),
                None => Ok(slot.trained.then(|| vec![0.0; slot.dims.iter().product()])),
            })
            .collect()
    }
}
