//! Loss and gradients for given values: what `bpmc grad` evaluates, and what tests compare with other
//! frameworks.

use super::given_loss::loss_and_seeds;
use crate::engine::episode::{Engine, Environment, EpisodeRun, Running, States};
use crate::engine::BackendError;
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
    /// `[T, B, width]`, for rewards: a number for each head, or the numbers.
    pub actions: Vec<f64>,
    /// `[T, B]`, for rewards.
    pub rewards: Vec<f64>,
}

/// The results of an evaluation, shaped as [`GivenValues`].
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

/// Evaluates the trainer's loss and all gradients on an engine whose lanes all go in step.
///
/// # Errors
/// Fails as the engine does.
pub fn evaluate(
    engine: &mut dyn Engine,
    train: &TrainModel,
    given: &GivenValues,
) -> Result<GivenResults, BackendError> {
    let slots = engine.graph().outputs.iter();
    let mut lanes = Recorded {
        names: slots.map(|slot| slot.path.clone()).collect(),
        outputs: vec![Vec::new(); engine.graph().outputs.len()],
        loss: 0.0,
        seeds: Vec::new(),
        train,
        given,
    };
    let states: States = given.states.iter().cloned().map(Some).collect();
    let run = EpisodeRun {
        steps: given.steps,
        learn: true,
        states: &states,
        all_states: true,
        first_adjoints: true,
    };
    let ran = engine.run(&given.params, run, &mut [&mut lanes])?;
    Ok(GivenResults {
        loss: lanes.loss,
        outputs: lanes.outputs,
        final_states: ran.states.into_iter().flatten().collect(),
        gradients: ran.gradients,
        state_gradients: ran.first_adjoints.into_iter().flatten().collect(),
    })
}

/// Lanes whose inputs are given, with what they gave.
struct Recorded<'a> {
    train: &'a TrainModel,
    given: &'a GivenValues,
    names: Vec<String>,
    outputs: Vec<Vec<f64>>,
    loss: f64,
    /// Adjoints of the outputs.
    seeds: Vec<Vec<f64>>,
}

impl Recorded<'_> {
    /// The values of a step.
    fn at<'a>(&self, values: &'a [f64], step: usize) -> &'a [f64] {
        let width = values.len() / self.given.steps;
        &values[step * width..(step + 1) * width]
    }
}

impl Environment for Recorded<'_> {
    fn start(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn before(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        for (slot, values) in self.given.inputs.iter().enumerate() {
            lanes.set_inputs(slot, self.at(values, step));
        }
        for (slot, values) in self.given.noises.iter().enumerate() {
            lanes.set_noises(slot, self.at(values, step));
        }
        Ok(())
    }

    fn after(&mut self, _: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        for (slot, all) in self.outputs.iter_mut().enumerate() {
            all.extend(lanes.outputs(slot)?);
        }
        Ok(())
    }

    fn finish(&mut self) {
        (self.loss, self.seeds) =
            loss_and_seeds(self.train, self.given, &self.names, &self.outputs);
    }

    fn reads(&self) -> Vec<usize> {
        (0..self.outputs.len()).collect()
    }

    fn adjoint(&self, lane: usize, step: usize, slot: usize) -> Option<&[f64]> {
        let values = self.at(&self.seeds[slot], step);
        let width = values.len() / self.given.lanes;
        Some(&values[lane * width..(lane + 1) * width])
    }
}
