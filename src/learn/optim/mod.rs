//! Optimizers over parameters. Each optimizer is one file and one line in [`OPTIMIZERS`]; its step is a formula for the host
//! and for devices.

mod adam;
mod formula;
mod rmsprop;
mod sgd;

pub use adam::Adam;
pub use formula::Formula;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use crate::lang::catalog::OptimizerInfo;
use crate::lang::settings::{SettingConflict, Settings};
use crate::machine::device::{OptimizerSource, RATES};

/// An optimizer: its catalog entry and its constructor.
pub struct OptimizerEntry {
    /// The name and settings.
    pub info: OptimizerInfo,
    /// The constructor from checked settings, for parameters of these lengths.
    pub build: BuildOptimizer,
}

/// Builds an optimizer from checked settings for parameters of the given lengths.
pub type BuildOptimizer = fn(&Settings, &[usize]) -> Result<Box<dyn Optimizer>, SettingConflict>;

/// All optimizers, by name.
pub static OPTIMIZERS: &[OptimizerEntry] = &[adam::ADAM, adam::ADAMW, rmsprop::RMSPROP, sgd::SGD];

/// The optimizer with this name.
pub fn find(name: &str) -> Option<&'static OptimizerEntry> {
    OPTIMIZERS.iter().find(|row| row.info.name == name)
}

/// One moment, such as a running mean, of every element of every parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// The name in a checkpoint.
    pub name: &'static str,
    /// The values for each parameter, in the order of [`Optimizer::step`].
    pub values: Vec<Vec<f32>>,
}

impl Moment {
    fn zeros(name: &'static str, lengths: &[usize]) -> Moment {
        Moment {
            name,
            values: lengths.iter().map(|length| vec![0.0; *length]).collect(),
        }
    }
}

/// The complete memory of an optimizer between steps: saving and restoring it continues bit-identically.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// The number of steps taken.
    pub steps: u64,
    /// The moments, in a fixed order.
    pub moments: Vec<Moment>,
}

/// An optimizer of trained parameters.
pub trait Optimizer: Send {
    /// The name in [`OPTIMIZERS`].
    fn name(&self) -> &'static str;

    /// Makes one step. Parameters and gradients have the order and lengths that it was built for. `rate` is a
    /// factor on the learning rate: 1 unless the trainer has a schedule.
    fn step(&mut self, parameters: &mut [&mut [f32]], gradients: &[Vec<f32>], rate: f64) {
        let number = self.state().steps + 1;
        let (formula, rates) = (self.formula(), self.rates(number, rate));
        let state = self.state_mut();
        state.steps = number;
        formula.step(rates, state, parameters, gradients);
    }

    /// The step of an element, with the settings.
    fn formula(&self) -> Box<dyn Formula>;

    /// The scalars that all elements of step `number` (from 1) share, in the form that the device code takes.
    fn rates(&self, number: u64, rate: f64) -> [f32; RATES];

    /// The device code.
    fn device(&self) -> OptimizerSource {
        self.formula().device()
    }

    /// The memory.
    fn state(&self) -> &OptimizerState;

    /// The memory, to be restored; lengths stay the same.
    fn state_mut(&mut self) -> &mut OptimizerState;
}

#[cfg(test)]
mod tests;
