//! Passages of a text on a device: a stage of a network, whose inputs and outputs are tables that it shares with others.

use super::lanes::DeviceLanes;
use crate::machine::device::{bytes_of, Args, DeviceError};

impl DeviceLanes {
    /// Reads a passage with the memories and numbers that stages share: tables, their adjoints, parameters, gradients, words,
    /// keys, steps. Where iterations follow each other it is that of the slot; [`DeviceLanes::settle`] says which states the
    /// next one goes on from.
    ///
    /// # Errors
    /// Those of the device.
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
        self.launch("forward", self.lanes, self.source.sizes.shared_forward)
    }

    /// Has the kernels' own parameters made from those of the network.
    pub(super) fn share(&mut self) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        if sizes.computes[0] {
            self.launch("prologue", 1, 0)?;
        }
        let shared = sizes.widest.div_ceil(sizes.threads).max(1);
        self.launch("share", shared, 0)
    }

    /// Goes back through the last passage; adjoints of what was read are added to theirs, and gradients to the network's.
    ///
    /// # Errors
    /// Those of the device.
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

    /// Sets the states that the next passage goes on from, `[lanes, carried]`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn set_carried(&mut self, values: &[f32]) -> Result<(), DeviceError> {
        self.device
            .write(&mut self.arrays.carried, bytes_of(values))
    }
}
