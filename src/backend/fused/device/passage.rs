//! Passages of a text on a device: a stage of a network, whose inputs and outputs are tables that it shares with others.

use super::iterations::STATUS;
use super::lanes::{DeviceLanes, DeviceRun};
use crate::device::{bytes_of, Args, DeviceError};

/// Memories that stages share, by address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Links {
    /// Values given from stage to stage.
    pub tables: u64,
    /// Their adjoints.
    pub adjoints: u64,
    /// Trained parameters.
    pub parameters: u64,
    /// The others.
    pub fixed: u64,
    /// Gradients of the trained ones.
    pub gradients: u64,
    /// The words read.
    pub words: u64,
    /// Keys of random numbers.
    pub keys: u64,
}

impl Links {
    /// As kernels are given them.
    pub fn join(&self, args: &mut Args) {
        args.inputs = self.tables;
        args.outputs = self.tables;
        args.seeds = self.adjoints;
        args.input_adjoints = self.adjoints;
        args.parameters = self.parameters;
        args.fixed = self.fixed;
        args.gradients = self.gradients;
        args.words = self.words;
        args.keys = self.keys;
    }
}

impl DeviceLanes {
    /// Reads so many steps of a passage; states go on from the last one.
    ///
    /// # Errors
    /// Those of the device.
    pub fn read_on(
        &mut self,
        links: &Links,
        run: &DeviceRun,
        steps: usize,
    ) -> Result<(), DeviceError> {
        links.join(&mut self.args);
        self.args.iteration = run.iteration as i32;
        self.args.learn = i32::from(run.learn);
        self.args.steps = steps as i32;
        self.device
            .write(&mut self.arrays.status, &[0; 4 * STATUS])?;
        let sizes = self.source.sizes;
        if sizes.computes[0] {
            self.launch("prologue", 1, 0)?;
        }
        let shared = sizes.widest.div_ceil(sizes.threads).max(1);
        self.launch("share", shared, 0)?;
        self.launch("forward", self.lanes, sizes.shared_forward)
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
