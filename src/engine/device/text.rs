//! Passages of a text on a device: one stage of a network, whose inputs and outputs are tables shared with
//! other stages.

use super::lanes::DeviceLanes;
use crate::machine::device::{Args, DeviceError};

impl DeviceLanes {
    /// Runs a passage with the shared memories and numbers of all stages: tables, their adjoints, parameters,
    /// gradients, words, keys, steps. With consecutive iterations it is the passage of the slot;
    /// [`DeviceLanes::settle`] determines the states that the next one continues from.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn read_on(&mut self, shared: &Args) -> Result<(), DeviceError> {
        let own = &self.args;
        self.args = Args {
            inputs: shared.inputs,
            outputs: shared.outputs,
            seeds: shared.seeds,
            input_adjoints: shared.input_adjoints,
            parameters: shared.parameters,
            fixed: shared.fixed,
            gradients: shared.gradients,
            words: shared.words,
            keys: shared.keys,
            status: shared.status,
            slot: shared.slot,
            iteration: shared.iteration,
            learn: shared.learn,
            steps: shared.steps,
            ..*own
        };
        self.alternate(shared.slot as usize);
        self.share()?;
        self.ahead()
    }

    /// Computes the kernels' parameters from those of the network.
    pub(super) fn share(&mut self) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        if sizes.computes[0] {
            self.launch("prologue", 1, 0)?;
        }
        let shared = sizes.widest.div_ceil(sizes.threads).max(1);
        self.launch("share", shared, 0)
    }

    /// Runs the backward pass of the last passage. Adjoints of inputs are added to their tables, and
    /// gradients to those of the network.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn read_back(&mut self) -> Result<(), DeviceError> {
        self.sums()?;
        let sizes = self.source.sizes;
        if sizes.computes[1] {
            self.launch("epilogue", 1, 0)?;
        }
        self.launch(
            "add_gradients",
            sizes.trained.div_ceil(sizes.threads).max(1),
            0,
        )
    }
}
