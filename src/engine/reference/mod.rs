//! The oracle: every operation as plain loops over indices, in f64.

mod evaluate;

pub use evaluate::{evaluate, evaluate_all, Leaves};

use super::{
    check_adjoint_leaves, check_leaves, check_parameters, AdjointResults, BackendError, Executor,
    StepLeaves, StepResults,
};
use crate::ir::{Graph, ResultKind};

/// Runs a step and its adjoint by [`evaluate`].
#[derive(Clone, Debug)]
pub struct Reference {
    step: Graph,
    adjoint: Graph,
    lanes: usize,
    params: Vec<Vec<f64>>,
    gradients: Vec<Option<Vec<f64>>>,
}

impl Reference {
    /// For a step, its adjoint (`autodiff::differentiate`) and a number of lanes. All parameters
    /// are 0 at first.
    pub fn new(step: Graph, adjoint: Graph, lanes: usize) -> Reference {
        let params = step
            .params
            .iter()
            .map(|slot| vec![0.0; slot.dims.iter().product()])
            .collect();
        let mut reference = Reference {
            step,
            adjoint,
            lanes,
            params,
            gradients: Vec::new(),
        };
        reference.clear_gradients();
        reference
    }
}

impl Executor for Reference {
    type Tensor = Vec<f64>;

    fn step_graph(&self) -> &Graph {
        &self.step
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn upload(&self, values: &[f64], dims: &[usize]) -> Result<Vec<f64>, BackendError> {
        let expected = self.lanes * dims.iter().product::<usize>();
        BackendError::check_size(|| "tensor".to_owned(), expected, values.len())?;
        Ok(values.to_vec())
    }

    fn download(&self, tensor: &Vec<f64>) -> Result<Vec<f64>, BackendError> {
        Ok(tensor.clone())
    }

    fn set_parameters(&mut self, values: &[Vec<f64>]) -> Result<(), BackendError> {
        check_parameters(&self.step, values)?;
        self.params = values.to_vec();
        Ok(())
    }

    fn step(
        &mut self,
        leaves: StepLeaves<'_, Vec<f64>>,
    ) -> Result<StepResults<Vec<f64>>, BackendError> {
        check_leaves(&self.step, &leaves)?;
        let leaves = Leaves {
            params: &self.params,
            inputs: leaves.inputs,
            states: leaves.states,
            noises: leaves.noises,
            seeds: &[],
            adjoint_in: &[],
        };
        let results = evaluate(&self.step, self.lanes, &leaves)?;
        let mut outputs = Vec::new();
        let mut next = Vec::new();
        for (&(result, _), values) in self.step.results().iter().zip(results) {
            match result {
                ResultKind::Output(_) => outputs.push(values),
                ResultKind::Next(_) => next.push(values),
                ResultKind::Gradient(_)
                | ResultKind::AdjointOut(_)
                | ResultKind::InputAdjoint(_) => {}
            }
        }
        Ok(StepResults { outputs, next })
    }

    fn adjoint(
        &mut self,
        leaves: StepLeaves<'_, Vec<f64>>,
        seeds: &[Vec<f64>],
        adjoint_in: &[Vec<f64>],
    ) -> Result<AdjointResults<Vec<f64>>, BackendError> {
        check_leaves(&self.adjoint, &leaves)?;
        check_adjoint_leaves(&self.adjoint, seeds, adjoint_in)?;
        let leaves = Leaves {
            params: &self.params,
            inputs: leaves.inputs,
            states: leaves.states,
            noises: leaves.noises,
            seeds,
            adjoint_in,
        };
        let results = evaluate(&self.adjoint, self.lanes, &leaves)?;
        let mut states = Vec::new();
        let mut inputs = Vec::new();
        for (&(result, _), values) in self.adjoint.results().iter().zip(results) {
            match result {
                ResultKind::Gradient(param) => {
                    if let Some(sum) = &mut self.gradients[param.index()] {
                        for (sum, value) in sum.iter_mut().zip(values) {
                            *sum += value;
                        }
                    }
                }
                ResultKind::AdjointOut(_) => states.push(values),
                ResultKind::InputAdjoint(_) => inputs.push(values),
                ResultKind::Output(_) | ResultKind::Next(_) => {}
            }
        }
        Ok(AdjointResults { states, inputs })
    }

    fn clear_gradients(&mut self) {
        let slots = self.step.params.iter();
        self.gradients = slots
            .map(|slot| slot.trained.then(|| vec![0.0; slot.dims.iter().product()]))
            .collect();
    }

    fn gradients(&self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        Ok(self.gradients.clone())
    }
}
