//! The peak rates of a GPU, measured by kernels written for this purpose.

use super::{Machine, Rates};
use crate::machine::c::opening;
use crate::machine::device::{Args, BlockLimits, Device, DeviceChoice, DeviceError, Launch};
use std::time::Instant;

/// The least time in seconds that each rate is measured for.
const SPAN: f64 = 0.02;

/// The number of measured stretches, of which the fastest counts.
const STRETCHES: usize = 3;

/// The most bytes of shared memory that the kernel reads.
const NEAR_BYTES: usize = 64 << 10;

/// Bytes of device memory that the kernel reads: more than the caches hold.
const FAR_BYTES: usize = 256 << 20;

/// The number of f32 values in shared memory that the kernel reads.
fn near(limits: BlockLimits) -> usize {
    limits.shared_bytes.min(NEAR_BYTES) / 4
}

/// The CUDA source of the measuring kernels for a device with these limits.
pub fn source(limits: BlockLimits) -> String {
    let mut text = opening(limits.threads);
    text.raw(&format!("\n#define NEAR {}\n", near(limits)));
    text.raw(include_str!("device.h"));
    text.finish()
}

/// A device that is being measured.
struct Probe {
    device: Box<dyn Device>,
    limits: BlockLimits,
    args: Args,
}

impl Probe {
    /// Measures the units per second of a kernel that does `units` of them per block and step.
    fn rate(
        &mut self,
        (kernel, shared_bytes): (&str, usize),
        blocks: usize,
        units: f64,
    ) -> Result<f64, DeviceError> {
        let launch = Launch {
            shared_bytes,
            ..Launch::apart(kernel, blocks, self.limits.threads)
        };
        let usual = self.args;
        let device = self.device.as_mut();
        let mut seconds = |steps: i32| -> Result<f64, DeviceError> {
            let mut args = usual;
            args.steps = steps;
            args.lanes = blocks as i32;
            device.wait()?;
            let start = Instant::now();
            device.launch(launch, &args)?;
            device.wait()?;
            Ok(start.elapsed().as_secs_f64())
        };
        // The first launch loads the kernel.
        seconds(1)?;
        let mut steps = 1;
        while seconds(steps)? < SPAN && steps < 1 << 28 {
            steps *= 2;
        }
        let mut best: f64 = 0.0;
        for _ in 0..STRETCHES {
            let rate = units * blocks as f64 * f64::from(steps) / seconds(steps)?;
            best = best.max(rate);
        }
        Ok(best)
    }

    /// Measures one block, and as many blocks as run at once.
    fn rates(&mut self, kernel: (&str, usize), units: f64) -> Result<Rates, DeviceError> {
        let all = self.limits.blocks;
        Ok(Rates {
            one: self.rate(kernel, 1, units)?,
            all: self.rate(kernel, all, units)?,
        })
    }
}

impl Machine {
    /// Measures a device.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn of_device(choice: DeviceChoice) -> Result<Machine, DeviceError> {
        let mut device = crate::machine::device::open(choice)?;
        let limits = device.limits();
        device.load(&source(limits))?;
        let free = device.free().unwrap_or(u64::MAX);
        let far = FAR_BYTES.min((free / 4) as usize) / 4 / 1024 * 1024;
        let memory = device.alloc(4 * far.max(limits.blocks * limits.threads))?;
        let args = Args {
            arena: memory.address,
            iteration: (far / 1024) as i32,
            ..Args::default()
        };
        let name = device.name();
        let mut probe = Probe {
            device,
            limits,
            args,
        };
        let threads = limits.threads as f64;
        let operations = probe.rates(("multiply_add", 0), 2.0 * 64.0 * threads)?;
        let near_bytes = 4 * near(limits);
        // Each number is read and written.
        let shared = probe.rates(("near", near_bytes), 2.0 * near_bytes as f64)?;
        let all = limits.blocks;
        let bytes = 2.0 * 4.0 * far as f64;
        let global = Rates {
            one: probe.rate(("far", 0), 1, bytes)?,
            all: probe.rate(("far", 0), all, bytes / all as f64)?,
        };
        drop(probe);
        drop(memory);
        Ok(Machine {
            device: Some(name),
            threads: all,
            vector_bits: 32,
            operations_per_second: operations,
            near_bytes,
            near_bytes_per_second: shared,
            far_bytes_per_second: global,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::device::DeviceKind;

    #[test]
    fn rates_of_the_emulated_device_are_those_of_a_computer() {
        let machine = Machine::of_device(DeviceKind::Emulated.into()).unwrap();
        for rates in [
            machine.operations_per_second,
            machine.near_bytes_per_second,
            machine.far_bytes_per_second,
        ] {
            assert!(rates.one > 1e6 && rates.one < 1e13, "{machine:?}");
            assert!(rates.all > 1e6 && rates.all < 1e13, "{machine:?}");
        }
        assert!(machine.device.unwrap().contains("CPU"));
    }
}
