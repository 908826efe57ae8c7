//! Devices that run generated kernels: memory, launches, products of matrices.
//!
//! | device | for |
//! |---|---|
//! | `cuda` | NVIDIA GPUs, with the feature `cuda` |
//! | `emulated` | the same sources compiled by the machine's C compiler: slow, and how they are tested without a GPU |
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

/// What a device offers blocks of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimits {
    /// Threads.
    pub threads: usize,
    /// Bytes of shared memory.
    pub shared_bytes: usize,
    /// Blocks of so many threads that are there at once.
    pub blocks: usize,
}

impl BlockLimits {
    /// Those of an H100.
    pub const H100: BlockLimits = BlockLimits {
        threads: 1024,
        shared_bytes: 227 * 1024,
        blocks: 132,
    };
}

/// Which device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The processor, with its own kernels.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
    /// The processor in the place of a GPU.
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
            _ => Err("expected cpu, cuda, cuda:N or auto".to_owned()),
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

/// How products of matrices are computed; all else is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matmul {
    /// In f32.
    #[default]
    F32,
    /// Factors rounded to 10 bits after the point, sums in f32; on a GPU only.
    Tf32,
    /// Factors rounded to 7 bits after the point, sums in f32; on a GPU only.
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

/// A device and how it multiplies matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceChoice {
    /// Which.
    pub kind: DeviceKind,
    /// How products of matrices are computed.
    pub matmul: Matmul,
}

impl DeviceChoice {
    /// The processor.
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

/// Why a device did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no such device, or it cannot be used.
    #[error("{what}: {help}")]
    Absent {
        /// What was found.
        what: String,
        /// What would help.
        help: String,
    },
    /// A generated source did not compile.
    #[error("a generated kernel does not compile, which is a fault of bpmc: {0}")]
    Source(String),
    /// A launch or a copy failed.
    #[error("the device failed in {what}: {reason}")]
    Failed {
        /// In what.
        what: &'static str,
        /// What it says.
        reason: String,
    },
    /// Out of memory.
    #[error(
        "the device has no {bytes} bytes left: `--set train.batch=N` with fewer lanes needs less"
    )]
    Memory {
        /// Bytes asked for.
        bytes: usize,
    },
}

/// Some bytes on a device; given back when dropped.
pub struct Memory {
    /// Where they are, as kernels see it.
    pub address: u64,
    /// How many.
    pub bytes: usize,
    /// What holds them.
    _held: Box<dyn Any + Send>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

/// What a launch is given; as `Args` in `context.h`, arrays by address.
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
    pub rates: [f32; RATES],
    pub average: f32,
}

/// Numbers that a step of an optimiser is given.
pub const RATES: usize = 4;

/// A launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Its name.
    pub kernel: &'a str,
    /// Lanes, or pieces of work of as many threads.
    pub lanes: usize,
    /// Threads of each.
    pub threads: usize,
    /// Blocks that these are in.
    pub team: usize,
    /// Whether the blocks of a team wait for each other, so that all must be there at once.
    pub waits: bool,
    /// Bytes of shared memory of a block.
    pub shared_bytes: usize,
}

impl<'a> Launch<'a> {
    /// Blocks that have nothing to do with each other, and no shared memory.
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

/// `out = a b`, in arrays of f32 row after row.
#[derive(Clone, Copy, Debug)]
pub struct MatrixProduct {
    /// Address of `[m, k]`.
    pub a: u64,
    /// Address of `[k, n]`.
    pub b: u64,
    /// Address of `[m, n]`.
    pub out: u64,
    /// `m`, `k` and `n`.
    pub sizes: [usize; 3],
    /// Whether rows and columns of `a` are exchanged in memory.
    pub a_turned: bool,
    /// Whether those of `b` are.
    pub b_turned: bool,
}

/// A device with the kernels of one source. What is asked for is done in order.
pub trait Device: Send {
    /// What it is, for people.
    fn name(&self) -> String;

    /// What it offers a block of threads.
    fn limits(&self) -> BlockLimits;

    /// Bytes of memory free, where it says so.
    fn free(&self) -> Option<u64>;

    /// Compiles a source, whose kernels can then be launched.
    ///
    /// # Errors
    /// [`DeviceError::Source`].
    fn load(&mut self, source: &str) -> Result<(), DeviceError>;

    /// Memory, all 0.
    ///
    /// # Errors
    /// [`DeviceError::Memory`].
    fn alloc(&mut self, bytes: usize) -> Result<Memory, DeviceError>;

    /// Copies to the device, to a memory from byte `at` on.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn write_at(&mut self, to: &mut Memory, at: usize, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies from the device, from a memory from byte `at` on; waits for what was launched before.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn read_at(&mut self, from: &Memory, at: usize, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Makes the first bytes of a memory 0.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn clear(&mut self, memory: &mut Memory, bytes: usize) -> Result<(), DeviceError>;

    /// Copies to the device, to the beginning of a memory.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn write(&mut self, to: &mut Memory, bytes: &[u8]) -> Result<(), DeviceError> {
        self.write_at(to, 0, bytes)
    }

    /// Copies from the device, from the beginning of a memory; waits for what was launched before.
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

    /// A product of matrices.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn product(&mut self, product: MatrixProduct) -> Result<(), DeviceError>;

    /// Waits until all is done.
    ///
    /// # Errors
    /// [`DeviceError::Failed`], of anything launched before.
    fn wait(&mut self) -> Result<(), DeviceError>;

    /// Takes the time of each kernel from now on, waiting for it, or no longer.
    fn measure_kernels(&mut self, _on: bool) {}

    /// The times since [`Device::measure_kernels`], in the order of first launches.
    fn kernel_times(&self) -> &[KernelTime] {
        &[]
    }
}

/// The bytes of numbers.
pub(crate) fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: an f32 has four bytes, all of them initialised, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

/// The same, to be written: any four bytes are an f32.
pub(crate) fn bytes_of_mut(values: &mut [f32]) -> &mut [u8] {
    let bytes = std::mem::size_of_val(values);
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), bytes) }
}

/// Refuses copies of more than there is.
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
/// [`DeviceError::Absent`], with what is missing.
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

/// What Candle calls a device.
///
/// # Errors
/// [`DeviceError::Absent`], with what is missing.
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
            // Candle knows no coarser one for f32 than TF32.
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
