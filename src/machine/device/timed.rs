//! A device that measures the time of its kernels, waiting for each.

use super::{Args, BlockLimits, Device, DeviceError, Launch, MatrixProduct, Memory};
use std::time::Instant;

/// The time of all launches of one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The name of the kernel; all matrix products are `product`.
    pub name: String,
    /// The number of launches.
    pub calls: usize,
    /// The time in seconds, including that of the launches themselves.
    pub seconds: f64,
    /// The number of operations, if known: only for matrix products.
    pub operations: f64,
}

/// A device that measures its kernels on demand.
pub(super) struct Timed {
    device: Box<dyn Device>,
    measures: bool,
    /// The times, in the order of first launches.
    times: Vec<KernelTime>,
}

impl Timed {
    pub(super) fn new(device: Box<dyn Device>) -> Timed {
        Timed {
            device,
            measures: false,
            times: Vec::new(),
        }
    }

    /// Runs `work` on the device, and measures its time if that is on.
    fn time(
        &mut self,
        name: &str,
        operations: f64,
        work: impl FnOnce(&mut dyn Device) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        if !self.measures {
            return work(self.device.as_mut());
        }
        self.device.wait()?;
        let start = Instant::now();
        work(self.device.as_mut())?;
        self.device.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        match self.times.iter_mut().find(|time| time.name == name) {
            Some(time) => {
                time.calls += 1;
                time.seconds += seconds;
                time.operations += operations;
            }
            None => self.times.push(KernelTime {
                name: name.to_owned(),
                calls: 1,
                seconds,
                operations,
            }),
        }
        Ok(())
    }
}

impl Device for Timed {
    fn name(&self) -> String {
        self.device.name()
    }

    fn limits(&self) -> BlockLimits {
        self.device.limits()
    }

    fn free(&self) -> Option<u64> {
        self.device.free()
    }

    fn load(&mut self, source: &str) -> Result<(), DeviceError> {
        self.device.load(source)
    }

    fn alloc(&mut self, bytes: usize) -> Result<Memory, DeviceError> {
        self.device.alloc(bytes)
    }

    fn write_at(&mut self, to: &mut Memory, at: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        self.device.write_at(to, at, bytes)
    }

    fn read_at(&mut self, from: &Memory, at: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.device.read_at(from, at, bytes)
    }

    fn clear(&mut self, memory: &mut Memory, bytes: usize) -> Result<(), DeviceError> {
        self.device.clear(memory, bytes)
    }

    fn launch(&mut self, launch: Launch<'_>, args: &Args) -> Result<(), DeviceError> {
        self.time(launch.kernel, 0.0, |device| device.launch(launch, args))
    }

    fn product(&mut self, product: MatrixProduct) -> Result<(), DeviceError> {
        let [m, k, n] = product.sizes;
        let operations = 2.0 * m as f64 * k as f64 * n as f64;
        self.time("product", operations, |device| device.product(product))
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        self.device.wait()
    }

    fn measure_kernels(&mut self, on: bool) {
        self.measures = on;
        if on {
            self.times.clear();
        }
    }

    fn kernel_times(&self) -> &[KernelTime] {
        &self.times
    }
}

#[cfg(test)]
mod tests {
    use super::super::{open, DeviceKind, Launch};
    use super::*;

    const SOURCE: &str = "typedef struct { float *shared; } Args;
void twice(const Args *a, const int lane, float *shared_memory) { (void)shared_memory; a->shared[lane] *= 2.0f; }";

    #[test]
    fn times_are_taken_when_they_are_wanted() {
        let mut device = open(DeviceKind::Emulated.into()).unwrap();
        device.load(SOURCE).unwrap();
        let mut memory = device.alloc(16).unwrap();
        device
            .write(&mut memory, &1.5f32.to_ne_bytes().repeat(4))
            .unwrap();
        let args = Args {
            shared: memory.address,
            ..Args::default()
        };
        let launch = Launch::apart("twice", 4, 1);
        device.launch(launch, &args).unwrap();
        assert_eq!(device.kernel_times(), []);
        device.measure_kernels(true);
        for _ in 0..3 {
            device.launch(launch, &args).unwrap();
        }
        let product = MatrixProduct {
            a: memory.address,
            b: memory.address,
            out: memory.address + 12,
            sizes: [1, 3, 1],
            a_turned: false,
            b_turned: false,
        };
        device.product(product).unwrap();
        device.measure_kernels(false);
        device.launch(launch, &args).unwrap();
        let [launched, multiplied] = device.kernel_times() else {
            panic!("{:?}", device.kernel_times());
        };
        assert_eq!((launched.name.as_str(), launched.calls), ("twice", 3));
        assert_eq!((multiplied.name.as_str(), multiplied.calls), ("product", 1));
        assert_eq!(multiplied.operations, 6.0);
        assert!(launched.seconds > 0.0);
        let mut bytes = [0; 16];
        device.read(&memory, &mut bytes).unwrap();
        assert_eq!(bytes[..4], 48.0f32.to_ne_bytes());
    }
}
