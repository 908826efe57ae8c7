//! The emulated device: the CPU in place of a GPU, for tests of generated sources and everything around them.
//! The machine's C compiler compiles the sources. Blocks run one after another, and the threads of a block
//! take turns.

use super::{cache, Args, BlockLimits, Device, DeviceError, Launch, MatrixProduct, Memory};
use libloading::Library;
use rayon::prelude::*;
use std::process::Command;

/// The flags of the compiler: fast code, but exactly the numbers of the source.
const FLAGS: [&str; 8] = [
    "-std=gnu11",
    "-O2",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fPIC",
    "-shared",
    "-w",
    "-xc",
];

/// A kernel: arguments, number of the block, shared memory.
type Kernel = unsafe extern "C" fn(*const Args, i32, *mut f32);

/// The emulated device.
pub(super) struct Emulated {
    compiler: String,
    library: Option<Library>,
}

impl Emulated {
    /// Finds the compiler: `CC`, else `cc`.
    pub(super) fn new() -> Result<Emulated, DeviceError> {
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        match Command::new(&compiler).arg("--version").output() {
            Ok(output) if output.status.success() => Ok(Emulated {
                compiler,
                library: None,
            }),
            _ => Err(DeviceError::Absent {
                what: format!("the C compiler `{compiler}` cannot be run"),
                help: "install one, or set CC to it; `--device cpu` needs none".to_owned(),
            }),
        }
    }
}

impl Device for Emulated {
    fn name(&self) -> String {
        format!("the CPU in place of a GPU ({})", self.compiler)
    }

    fn limits(&self) -> BlockLimits {
        BlockLimits::H100.chosen()
    }

    fn free(&self) -> Option<u64> {
        crate::machine::memory::free()
    }

    fn load(&mut self, source: &str) -> Result<(), DeviceError> {
        let flags = FLAGS.join(" ");
        let parts = [source, &flags, &self.compiler];
        let file = cache::compiled(&parts, "so", |file| {
            let text = file.with_extension("c");
            let failed = |reason: String| DeviceError::Failed {
                what: "compiling a kernel",
                reason,
            };
            std::fs::write(&text, source).map_err(|error| failed(error.to_string()))?;
            let output = Command::new(&self.compiler)
                .args(FLAGS)
                .arg(&text)
                .arg("-o")
                .arg(file)
                .arg("-lm")
                .output();
            let _ = std::fs::remove_file(&text);
            let output = output.map_err(|error| failed(error.to_string()))?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            Err(DeviceError::Source(
                said.lines().take(20).collect::<Vec<_>>().join("\n"),
            ))
        })?;
        // SAFETY: the library was compiled from a generated source, and nothing in it runs at loading.
        let library = unsafe { Library::new(&file) };
        self.library = Some(library.map_err(|error| DeviceError::Failed {
            what: "loading a kernel",
            reason: error.to_string(),
        })?);
        Ok(())
    }

    fn alloc(&mut self, bytes: usize) -> Result<Memory, DeviceError> {
        let mut words: Vec<u64> = Vec::new();
        let count = bytes.div_ceil(8).max(1);
        words
            .try_reserve_exact(count)
            .map_err(|_| DeviceError::Memory { bytes })?;
        words.resize(count, 0);
        let address = words.as_mut_ptr() as u64;
        Ok(Memory {
            address,
            bytes,
            _held: Box::new(words),
        })
    }

    fn write_at(&mut self, to: &mut Memory, at: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        super::within(to, at, bytes.len())?;
        let to = (to.address + at as u64) as *mut u8;
        // SAFETY: the memory is alive, large enough and not shared: kernels run only within `launch`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    fn read_at(&mut self, from: &Memory, at: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        super::within(from, at, bytes.len())?;
        let from = (from.address + at as u64) as *const u8;
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn clear(&mut self, memory: &mut Memory, bytes: usize) -> Result<(), DeviceError> {
        super::within(memory, 0, bytes)?;
        // SAFETY: as above.
        unsafe { std::ptr::write_bytes(memory.address as *mut u8, 0, bytes) };
        Ok(())
    }

    fn launch(&mut self, launch: Launch<'_>, args: &Args) -> Result<(), DeviceError> {
        let failed = |reason: String| DeviceError::Failed {
            what: "a launch",
            reason,
        };
        let library = self.library.as_ref();
        let library = library.ok_or_else(|| failed("no source was loaded".to_owned()))?;
        // SAFETY: kernels of generated sources have this signature.
        let kernel = unsafe { library.get::<Kernel>(launch.kernel.as_bytes()) };
        let kernel = *kernel.map_err(|error| failed(error.to_string()))?;
        (0..launch.lanes).into_par_iter().for_each_init(
            // The blocks of a team have their shared memories one after another.
            || vec![f32::NAN; launch.team.max(1) * launch.shared_bytes / 4],
            |shared, block| {
                // The contents left by an earlier block must not matter.
                shared.fill(f32::NAN);
                // SAFETY: blocks write to separate memories, whose sizes the source was generated with.
                unsafe { kernel(args, block as i32, shared.as_mut_ptr()) };
            },
        );
        Ok(())
    }

    fn product(&mut self, product: MatrixProduct) -> Result<(), DeviceError> {
        let MatrixProduct {
            a,
            b,
            out,
            sizes: [m, k, n],
            a_turned,
            b_turned,
        } = product;
        let strides = |turned: bool, rows: usize, columns: usize| match turned {
            false => (1, columns as isize),
            true => (rows as isize, 1),
        };
        let (a_column, a_row) = strides(a_turned, m, k);
        let (b_column, b_row) = strides(b_turned, k, n);
        // SAFETY: the caller's matrices have these sizes.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out as *mut f32,
                1,
                n as isize,
                false,
                a as *const f32,
                a_column,
                a_row,
                b as *const f32,
                b_column,
                b_row,
                0.0f32,
                1.0f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
