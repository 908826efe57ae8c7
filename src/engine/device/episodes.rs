//! Whole iterations of episodes on a device.

use super::iterations::{HostArrays, Step, Trained, MOST};
use super::lanes::{DeviceLanes, DeviceRun};
use super::Iterations;
use crate::machine::device::{bytes_of, DeviceError};

impl DeviceLanes {
    /// Runs at most [`MOST`] iterations: episodes and optimizer steps. The random numbers are those of `run`
    /// and of the following iterations; `carried` are the states that outlive an episode, `[lanes, carried]`.
    /// Returns `None` if the source has no such kernels.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn iterate(
        &mut self,
        run: &DeviceRun,
        carried: &[f32],
        steps: &[Step],
        host: &mut HostArrays<'_>,
    ) -> Result<Option<Trained>, DeviceError> {
        let Some(mut own) = self.iterations.take() else {
            return Ok(None);
        };
        let steps = &steps[..steps.len().min(MOST)];
        let usual = self.args;
        let trained = self.iterations_of(&mut own, run, carried, steps, host);
        self.args = usual;
        // The states may be in the other memory now.
        self.settle(0);
        self.iterations = Some(own);
        trained.map(Some)
    }

    fn iterations_of(
        &mut self,
        own: &mut Iterations,
        run: &DeviceRun,
        carried: &[f32],
        steps: &[Step],
        host: &mut HostArrays<'_>,
    ) -> Result<Trained, DeviceError> {
        self.set(run)?;
        self.device
            .write(&mut self.arrays.carried, bytes_of(carried))?;
        own.start(self.device.as_mut(), &mut self.arrays.status, host)?;
        for (k, step) in steps.iter().enumerate() {
            own.point(&mut self.args, k, step);
            self.alternate(k);
            self.args.iteration = run.iteration.wrapping_add(k as u32) as i32;
            self.iteration(own)?;
        }
        let (device, status) = (self.device.as_mut(), &self.arrays.status);
        let trained = own.outcome(device, status, steps.len(), host)?;
        self.settle(trained.done.len());
        Ok(trained)
    }

    fn iteration(&mut self, own: &Iterations) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        self.share()?;
        self.ahead_and_back()?;
        if sizes.computes[1] {
            self.launch("epilogue", 1, 0)?;
        }
        own.step(self.device.as_mut(), &self.args)
    }
}
