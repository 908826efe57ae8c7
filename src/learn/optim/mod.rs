//! Optimizers over parameters on the host. One optimizer a file, with its device code in another
//! beside it, and one line in [`OPTIMIZERS`].

mod adam;
mod sgd;

pub use adam::Adam;
pub use sgd::Sgd;

use crate::lang::catalog::OptimizerInfo;
use crate::lang::settings::{SettingConflict, Settings};
use crate::machine::device::{OptimizerSource, RATES};

/// An optimizer: what the language knows of it, and how it is built.
pub struct OptimizerEntry {
    /// Name and settings.
    pub info: OptimizerInfo,
    /// Builds it from checked settings for parameters of these lengths.
    pub build: BuildOptimizer,
}

/// Builds an optimizer from checked settings for parameters of the given lengths.
pub type BuildOptimizer = fn(&Settings, &[usize]) -> Result<Box<dyn Optimizer>, SettingConflict>;

/// All optimizers, by name.
pub static OPTIMIZERS: &[OptimizerEntry] = &[adam::ADAM, adam::ADAMW, sgd::SGD];

/// The optimizer with this name.
pub fn find(name: &str) -> Option<&'static OptimizerEntry> {
    OPTIMIZERS.iter().find(|row| row.info.name == name)
}

/// One running mean (or the like) for every element of every parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Its name in a checkpoint.
    pub name: &'static str,
    /// For each parameter, in the order of [`Optimizer::step`].
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

/// What an optimizer remembers between steps: all of it, so that saving and restoring it resumes to the
/// same bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// Steps taken.
    pub steps: u64,
    /// Moments, in a fixed order.
    pub moments: Vec<Moment>,
}

/// Moves trained parameters along their gradients.
pub trait Optimizer: Send {
    /// Its name in [`OPTIMIZERS`].
    fn name(&self) -> &'static str;

    /// One step. Parameters and gradients come in the order and with the lengths it was built for;
    /// `rate` is a factor on the learning rate, 1 unless the trainer has a schedule.
    fn step(&mut self, parameters: &mut [&mut [f32]], gradients: &[Vec<f32>], rate: f64);

    /// What the elements of step `number`, from 1, have in common: rates as its device code is given them.
    fn rates(&self, number: u64, rate: f64) -> [f32; RATES];

    /// Its device code.
    fn device(&self) -> OptimizerSource;

    /// What it remembers.
    fn state(&self) -> &OptimizerState;

    /// What it remembers, to be restored; lengths stay as they are.
    fn state_mut(&mut self) -> &mut OptimizerState;
}

#[cfg(test)]
mod tests;
