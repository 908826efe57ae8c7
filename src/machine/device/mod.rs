//! Devices that run generated kernels: memory, launches, matrix products.
//!
//! | device | for |
//! |---|---|
//! | `cuda` | NVIDIA GPUs, with the feature `cuda` |
//! | `emulated` | tests without a GPU: the machine's C compiler compiles the same sources, which run slowly |
//!
//! The kernels come from [`crate::machine::c`].

mod cache;
#[cfg(feature = "cuda")]
mod cuda;
mod emulated;
mod nvrtc;
mod optimizer;
mod task;
mod timed;

pub use nvrtc::Nvrtc;
pub use optimizer::OptimizerSource;
pub use task::TaskSource;
pub use timed::KernelTime;

use std::any::Any;
use std::str::FromStr;

/// The limits of a device for blocks of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimits {
    /// The largest number of threads per block.
    pub threads: usize,
    /// The bytes of shared memory per block.
    pub shared_bytes: usize,
    /// The number of such blocks that run at once.
    pub blocks: usize,
    /// The least and the largest number of blocks of a cluster; 0 if the device has none.
    pub clusters: [usize; 2],
}

impl BlockLimits {
    /// The limits of an H100.
    pub const H100: BlockLimits = BlockLimits {
        threads: 1024,
        shared_bytes: 227 * 1024,
        blocks: 132,
        clusters: [1, 8],
    };

    /// The limits with clusters of `BPMC_CLUSTER` blocks alone, if that is set; `0` means none. It is for comparisons of the
    /// forms of kernels.
    pub fn chosen(self) -> BlockLimits {
        let number = std::env::var("BPMC_CLUSTER").ok();
        match number.and_then(|number| number.parse::<usize>().ok()) {
            Some(n) if n <= self.clusters[1] => BlockLimits {
                clusters: [n, n],
                ..self
            },
            _ => self,
        }
    }
}

/// The kind of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU, with its own kernels.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(usize),
    /// The CPU in place of a GPU.
    Emulated,
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceKind, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(DeviceKind::Cpu),
            None if text == "cuda" => Ok(DeviceKind::Cuda(0)),
            None if text == "emulated" => Ok(DeviceKind::Emulated),
            Some(("cuda", number)) => number
                .parse()
                .map(DeviceKind::Cuda)
                .map_err(|_| format!("`{number}` is not the number of a GPU, as in cuda:1")),
            _ => Err("expected cpu, cuda, cuda:N, auto or emulated".to_owned()),
        }
    }
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceKind::Cpu => f.write_str("cpu"),
            DeviceKind::Cuda(0) => f.write_str("cuda"),
            DeviceKind::Cuda(number) => write!(f, "cuda:{number}"),
            DeviceKind::Emulated => f.write_str("emulated"),
        }
    }
}

/// The precision of matrix products; all other computations are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matmul {
    /// Products in f32.
    #[default]
    F32,
    /// Factors rounded to 10 mantissa bits (TF32), sums in f32; on a GPU only.
    Tf32,
    /// Factors rounded to 7 mantissa bits (BF16), sums in f32; on a GPU only.
    Bf16,
}

impl std::fmt::Display for Matmul {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Matmul::F32 => "f32",
            Matmul::Tf32 => "tf32",
            Matmul::Bf16 => "bf16",
        })
    }
}

impl FromStr for Matmul {
    type Err = String;

    fn from_str(text: &str) -> Result<Matmul, String> {
        match text {
            "f32" => Ok(Matmul::F32),
            "tf32" => Ok(Matmul::Tf32),
            "bf16" => Ok(Matmul::Bf16),
            _ => Err("expected f32, tf32 or bf16".to_owned()),
        }
    }
}

/// A device and its precision of matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceChoice {
    /// The kind of device.
    pub kind: DeviceKind,
    /// The precision of matrix products.
    pub matmul: Matmul,
}

impl DeviceChoice {
    /// The CPU.
    pub const CPU: DeviceChoice = DeviceChoice {
        kind: DeviceKind::Cpu,
        matmul: Matmul::F32,
    };
}

impl From<DeviceKind> for DeviceChoice {
    fn from(kind: DeviceKind) -> DeviceChoice {
        DeviceChoice {
            kind,
            ..DeviceChoice::CPU
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)?;
        match self.matmul {
            Matmul::F32 => Ok(()),
            other => write!(f, " {other}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        let (kind, matmul) = text.split_once(' ').unwrap_or((text, "f32"));
        Ok(DeviceChoice {
            kind: kind.parse()?,
            matmul: matmul.parse()?,
        })
    }
}

/// The error of a device.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device is missing, or cannot be used.
    #[error("{what}: {help}")]
    Absent {
        /// The finding.
        what: String,
        /// The remedy.
        help: String,
    },
    /// A generated source does not compile.
    #[error("a generated kernel does not compile, which is a fault of bpmc: {0}")]
    Source(String),
    /// A launch or a copy failed.
    #[error("the device failed in {what}: {reason}")]
    Failed {
        /// The operation.
        what: &'static str,
        /// The message of the device.
        reason: String,
    },
    /// The device is out of memory.
    #[error(
        "the device has no {bytes} bytes left: `--set train.batch=N` with fewer lanes needs less"
    )]
    Memory {
        /// The bytes asked for.
        bytes: usize,
    },
}

/// An allocation on a device, freed when it is dropped.
pub struct Memory {
    /// The address, as kernels see it.
    pub address: u64,
    /// The number of bytes.
    pub bytes: usize,
    /// The owner of the allocation.
    _held: Box<dyn Any + Send>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

/// The arguments of a launch, laid out as `Args` in `context.h`; arrays are addresses.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs, reason = "they are described where kernels use them")]
pub struct Args {
    pub shared: u64,
    pub arena: u64,
    pub records: u64,
    pub checkpoints: u64,
    pub segment: u64,
    pub sums: u64,
    pub outers: u64,
    pub inputs: u64,
    pub outputs: u64,
    pub seeds: u64,
    pub carried: u64,
    pub task: u64,
    pub actions: u64,
    pub rewards: u64,
    pub returns: u64,
    pub parts: u64,
    pub losses: u64,
    pub total: u64,
    pub step_rewards: u64,
    pub keys: u64,
    pub carried_next: u64,
    pub status: u64,
    pub parameters: u64,
    pub parameters_next: u64,
    pub moments: u64,
    pub moments_next: u64,
    pub fixed: u64,
    pub values: u64,
    pub products: u64,
    pub input_adjoints: u64,
    pub words: u64,
    pub targets: u64,
    pub gradients: u64,
    pub averages: u64,
    pub squares: u64,
    pub norms: u64,
    pub history: u64,
    pub scale: f64,
    pub lanes: i32,
    pub iteration: i32,
    pub learn: i32,
    pub greedy: i32,
    pub slot: i32,
    pub burning: i32,
    pub steps: i32,
    pub first: i32,
    pub rates: [f32; RATES],
    pub average: f32,
    pub wave: i32,
}

/// The number of scalars that an optimizer step is given.
pub const RATES: usize = 4;

/// A launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The name of the kernel.
    pub kernel: &'a str,
    /// The number of lanes, or of pieces of work with as many threads.
    pub lanes: usize,
    /// The number of threads per lane, over all blocks of its team.
    pub threads: usize,
    /// The number of blocks that share one lane: a team.
    pub team: usize,
    /// True if the blocks of a team wait for each other, so that all must run at once.
    pub waits: bool,
    /// The bytes of shared memory per block.
    pub shared_bytes: usize,
}

impl<'a> Launch<'a> {
    /// A launch of independent blocks without shared memory.
    pub fn apart(kernel: &'a str, blocks: usize, threads: usize) -> Launch<'a> {
        Launch {
            kernel,
            lanes: blocks,
            threads,
            team: 1,
            waits: false,
            shared_bytes: 0,
        }
    }
}

/// A matrix product `out = a b` of row-major f32 arrays.
#[derive(Clone, Copy, Debug)]
pub struct MatrixProduct {
    /// The address of `a`, `[m, k]`.
    pub a: u64,
    /// The address of `b`, `[k, n]`.
    pub b: u64,
    /// The address of the result, `[m, n]`.
    pub out: u64,
    /// The sizes `m`, `k` and `n`.
    pub sizes: [usize; 3],
    /// True if `a` is stored transposed.
    pub a_turned: bool,
    /// True if `b` is stored transposed.
    pub b_turned: bool,
}

/// A device with the kernels of one source. Its operations run in order.
pub trait Device: Send {
    /// A description for people.
    fn name(&self) -> String;

    /// The limits for blocks of threads.
    fn limits(&self) -> BlockLimits;

    /// The free memory in bytes, if the device reports it.
    fn free(&self) -> Option<u64>;

    /// Compiles a source, whose kernels can then be launched.
    ///
    /// # Errors
    /// [`DeviceError::Source`].
    fn load(&mut self, source: &str) -> Result<(), DeviceError>;

    /// Allocates memory, filled with 0.
    ///
    /// # Errors
    /// [`DeviceError::Memory`].
    fn alloc(&mut self, bytes: usize) -> Result<Memory, DeviceError>;

    /// Copies `bytes` to the device, into a memory from byte `at`.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn write_at(&mut self, to: &mut Memory, at: usize, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies from the device, out of a memory from byte `at`; waits for earlier launches.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn read_at(&mut self, from: &Memory, at: usize, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Sets the first `bytes` bytes of a memory to 0.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn clear(&mut self, memory: &mut Memory, bytes: usize) -> Result<(), DeviceError>;

    /// Copies `bytes` to the start of a memory on the device.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn write(&mut self, to: &mut Memory, bytes: &[u8]) -> Result<(), DeviceError> {
        self.write_at(to, 0, bytes)
    }

    /// Copies from the start of a memory on the device; waits for earlier launches.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn read(&mut self, from: &Memory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.read_at(from, 0, bytes)
    }

    /// Launches a kernel.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn launch(&mut self, launch: Launch<'_>, args: &Args) -> Result<(), DeviceError>;

    /// Computes a matrix product.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn product(&mut self, product: MatrixProduct) -> Result<(), DeviceError>;

    /// Waits until all operations are done.
    ///
    /// # Errors
    /// [`DeviceError::Failed`], for any earlier launch.
    fn wait(&mut self) -> Result<(), DeviceError>;

    /// Starts or stops measuring the time of each kernel; a measured kernel is waited for.
    fn measure_kernels(&mut self, _on: bool) {}

    /// The times since [`Device::measure_kernels`], in the order of first launches.
    fn kernel_times(&self) -> &[KernelTime] {
        &[]
    }
}

/// The bytes of f32 values.
pub(crate) fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: an f32 has four initialised bytes, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

/// The bytes of f32 values, for writing: any four bytes are an f32.
pub(crate) fn bytes_of_mut(values: &mut [f32]) -> &mut [u8] {
    let bytes = std::mem::size_of_val(values);
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), bytes) }
}

/// Refuses copies beyond the end of a memory.
fn within(memory: &Memory, at: usize, bytes: usize) -> Result<(), DeviceError> {
    if at.saturating_add(bytes) <= memory.bytes {
        return Ok(());
    }
    Err(DeviceError::Failed {
        what: "a copy",
        reason: format!(
            "{bytes} bytes after {at} from or to a memory of {}",
            memory.bytes
        ),
    })
}

/// Opens a device.
///
/// # Errors
/// [`DeviceError::Absent`] with the missing part.
pub fn open(choice: DeviceChoice) -> Result<Box<dyn Device>, DeviceError> {
    let device: Box<dyn Device> = match choice.kind {
        DeviceKind::Cpu | DeviceKind::Emulated => Box::new(emulated::Emulated::new()?),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda(number) => Box::new(cuda::Cuda::new(number, choice.matmul)?),
        #[cfg(not(feature = "cuda"))]
        DeviceKind::Cuda(_) => return Err(not_built()),
    };
    Ok(Box::new(timed::Timed::new(device)))
}

/// The Candle device of a choice.
///
/// # Errors
/// [`DeviceError::Absent`] with the missing part.
pub fn of_candle(choice: DeviceChoice) -> Result<candle_core::Device, DeviceError> {
    match choice.kind {
        DeviceKind::Cpu => Ok(candle_core::Device::Cpu),
        DeviceKind::Emulated => Err(DeviceError::Absent {
            what: "Candle knows no emulated GPU".to_owned(),
            help: "use `--backend fused`".to_owned(),
        }),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda(number) => {
            cuda::Cuda::new(number, choice.matmul)?;
            // TF32 is the coarsest precision for f32 in Candle.
            candle_core::cuda::set_gemm_reduced_precision_f32(choice.matmul != Matmul::F32);
            candle_core::Device::new_cuda(number).map_err(|error| DeviceError::Failed {
                what: "opening the GPU",
                reason: error.to_string(),
            })
        }
        #[cfg(not(feature = "cuda"))]
        DeviceKind::Cuda(_) => Err(not_built()),
    }
}

#[cfg(not(feature = "cuda"))]
fn not_built() -> DeviceError {
    DeviceError::Absent {
        what: "this bpmc was built without CUDA".to_owned(),
        help: "build it with `--features cuda` (docs/cuda.md says how), or use `--device cpu`"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in [
            "cpu",
            "cuda",
            "cuda:3",
            "emulated",
            "cuda tf32",
            "cuda:1 bf16",
        ] {
            let choice: DeviceChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cpu f16", "metal"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_a_gpu_is_refused_with_what_would_help() {
        let error = open(DeviceKind::Cuda(0).into()).err().unwrap();
        assert!(error.to_string().contains("--features cuda"), "{error}");
    }
}
