//! The device of NVIDIA GPUs.

use super::nvrtc::Nvrtc;
use super::{cache, Args, BlockLimits, Device, DeviceError, Launch, Matmul, MatrixProduct, Memory};
use candle_core::cuda_backend::cudarc;
use cudarc::cublas::{result as blas, sys as blas_sys, CudaBlas};
use cudarc::driver::result::{mem_get_info, memcpy_dtoh_async, memcpy_htod_async, memset_d8_async};
use cudarc::driver::sys::{
    CUdevice_attribute as Attribute, CUfunction_attribute as FunctionAttribute,
};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DevicePtr, DeviceRepr, DriverError,
    LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use std::collections::BTreeMap;
use std::sync::Arc;

// SAFETY: `Args` is `repr(C)`, made of addresses and numbers, and laid out as in `context.h`.
unsafe impl DeviceRepr for Args {}

/// A GPU.
pub(super) struct Cuda {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    matmul: Matmul,
    nvrtc: Nvrtc,
    /// The compute capability, `90` for 9.0.
    architecture: u32,
    limits: BlockLimits,
    module: Option<Arc<CudaModule>>,
    functions: BTreeMap<String, CudaFunction>,
}

fn failed(what: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| DeviceError::Failed {
        what,
        reason: said(error),
    }
}

/// The driver's error, in words if it has some.
fn said(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("{error:?}"),
    }
}

impl Cuda {
    /// Opens the GPU with this number.
    pub(super) fn new(number: usize, matmul: Matmul) -> Result<Cuda, DeviceError> {
        let context = CudaContext::new(number).map_err(|error| DeviceError::Absent {
            what: format!(
                "there is no GPU {number} that can be used ({})",
                said(error)
            ),
            help: "install NVIDIA's driver, 580 or later, or use `--device cpu`".to_owned(),
        })?;
        let asked = failed("asking what the GPU offers");
        let attribute = |a| context.attribute(a).map_err(&asked);
        let (major, minor) = context.compute_capability().map_err(&asked)?;
        let limits = BlockLimits {
            threads: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)? as usize,
            shared_bytes: attribute(
                Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            )? as usize,
            blocks: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
            clusters: if major >= 9 { [1, 8] } else { [0, 0] },
        };
        let stream = context.default_stream();
        let blas = CudaBlas::new(Arc::clone(&stream)).map_err(|error| DeviceError::Absent {
            what: format!("cuBLAS cannot be used ({error:?})"),
            help: "install CUDA's cuBLAS 13 where the system looks for libraries".to_owned(),
        })?;
        Ok(Cuda {
            stream,
            blas,
            matmul,
            nvrtc: Nvrtc::new()?,
            architecture: (major * 10 + minor) as u32,
            limits: limits.chosen(),
            module: None,
            functions: BTreeMap::new(),
            context,
        })
    }

    /// Binds the GPU to the current thread. Direct calls of the driver are made by whichever thread runs the
    /// block.
    fn here(&self) -> Result<(), DeviceError> {
        let bound = self.context.bind_to_thread();
        bound.map_err(failed("choosing the GPU"))
    }

    /// A kernel, permitted to use the shared memory it needs.
    fn function(&mut self, launch: Launch<'_>) -> Result<CudaFunction, DeviceError> {
        let failed = failed("loading a kernel");
        let name = launch.kernel;
        if let Some(function) = self.functions.get(name) {
            return Ok(function.clone());
        }
        let module = self.module.as_ref().ok_or_else(|| DeviceError::Failed {
            what: "a launch",
            reason: "no source was loaded".to_owned(),
        })?;
        let function = module.load_function(name).map_err(&failed)?;
        let most = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function
            .set_attribute(most, launch.shared_bytes as i32)
            .map_err(&failed)?;
        if launch.shared_bytes > 0 {
            // The carveout covers all blocks that share a multiprocessor; the L1 cache gets the rest.
            let carveout = FunctionAttribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
            function.set_attribute(carveout, 100).map_err(&failed)?;
        }
        self.functions.insert(name.to_owned(), function.clone());
        Ok(function)
    }
}

impl Device for Cuda {
    fn name(&self) -> String {
        self.context.name().unwrap_or_else(|_| "a GPU".to_owned())
    }

    fn limits(&self) -> BlockLimits {
        self.limits
    }

    fn free(&self) -> Option<u64> {
        self.here().ok()?;
        mem_get_info().ok().map(|(free, _)| free as u64)
    }

    fn load(&mut self, source: &str) -> Result<(), DeviceError> {
        let (version, architecture) = (self.nvrtc.version(), self.architecture);
        let parts = [source, &version, &architecture.to_string()];
        let nvrtc = &self.nvrtc;
        let file = cache::compiled(&parts, "ptx", |file| {
            let ptx = nvrtc.compile(source, architecture)?;
            std::fs::write(file, ptx).map_err(|error| DeviceError::Failed {
                what: "keeping a compiled kernel",
                reason: error.to_string(),
            })
        })?;
        let module = self.context.load_module(Ptx::from_file(file));
        self.module = Some(module.map_err(failed("loading kernels"))?);
        self.functions.clear();
        Ok(())
    }

    fn alloc(&mut self, bytes: usize) -> Result<Memory, DeviceError> {
        let slice = self.stream.alloc_zeros::<u8>(bytes);
        let slice = slice.map_err(|_| DeviceError::Memory { bytes })?;
        let (address, guard) = slice.device_ptr(&self.stream);
        drop(guard);
        Ok(Memory {
            address,
            bytes,
            _held: Box::new(slice),
        })
    }

    fn write_at(&mut self, to: &mut Memory, at: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        super::within(to, at, bytes.len())?;
        self.here()?;
        let to = to.address + at as u64;
        // SAFETY: the memory is alive and large enough; bytes that are not page-locked are copied before the
        // call returns.
        let copied = unsafe { memcpy_htod_async(to, bytes, self.stream.cu_stream()) };
        copied.map_err(failed("a copy to the GPU"))
    }

    fn read_at(&mut self, from: &Memory, at: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        super::within(from, at, bytes.len())?;
        self.here()?;
        let from = from.address + at as u64;
        // SAFETY: the memory is alive and large enough, and the copy is waited for.
        let copied = unsafe { memcpy_dtoh_async(bytes, from, self.stream.cu_stream()) };
        copied.map_err(failed("a copy from the GPU"))?;
        self.wait()
    }

    fn clear(&mut self, memory: &mut Memory, bytes: usize) -> Result<(), DeviceError> {
        super::within(memory, 0, bytes)?;
        self.here()?;
        // SAFETY: the memory is alive and large enough.
        let cleared = unsafe { memset_d8_async(memory.address, 0, bytes, self.stream.cu_stream()) };
        cleared.map_err(failed("clearing memory of the GPU"))
    }

    fn launch(&mut self, launch: Launch<'_>, args: &Args) -> Result<(), DeviceError> {
        let function = self.function(launch)?;
        let mut builder = self.stream.launch_builder(&function);
        builder.arg(args);
        let team = launch.team.max(1);
        let config = LaunchConfig {
            grid_dim: ((launch.lanes * team) as u32, 1, 1),
            block_dim: ((launch.threads / team) as u32, 1, 1),
            shared_mem_bytes: launch.shared_bytes as u32,
        };
        // SAFETY: the kernel takes one `Args`, whose arrays have the sizes its source was generated with.
        let launched = unsafe {
            if team > 1 && launch.waits {
                // A cooperative launch is refused if not all blocks can run at once.
                builder.launch_cooperative(config)
            } else {
                builder.launch(config)
            }
        };
        launched.map(drop).map_err(failed("a launch"))
    }

    fn product(&mut self, product: MatrixProduct) -> Result<(), DeviceError> {
        let failed = |reason: String| DeviceError::Failed {
            what: "a product of matrices",
            reason,
        };
        let size = |n: usize| {
            i32::try_from(n).map_err(|_| failed(format!("{n} vectors are too many for cuBLAS")))
        };
        let [m, k, n] = product.sizes;
        let (m, k, n) = (size(m)?, size(k)?, size(n)?);
        let turned = |turned: bool| match turned {
            false => blas_sys::cublasOperation_t::CUBLAS_OP_N,
            true => blas_sys::cublasOperation_t::CUBLAS_OP_T,
        };
        let compute = match self.matmul {
            Matmul::F32 => blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            Matmul::Tf32 => blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            Matmul::Bf16 => blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_16BF,
        };
        self.here()?;
        let (one, zero) = (1.0f32, 0.0f32);
        let f32_type = blas_sys::cudaDataType_t::CUDA_R_32F;
        // cuBLAS stores matrices column by column, so rows and columns are exchanged: outᵀ = bᵀ aᵀ. SAFETY:
        // the caller's matrices are alive and have these sizes.
        let done = unsafe {
            blas::gemm_ex(
                *self.blas.handle(),
                turned(product.b_turned),
                turned(product.a_turned),
                n,
                m,
                k,
                (&raw const one).cast(),
                product.b as *const _,
                f32_type,
                if product.b_turned { k } else { n },
                product.a as *const _,
                f32_type,
                if product.a_turned { m } else { k },
                (&raw const zero).cast(),
                product.out as *mut _,
                f32_type,
                n,
                compute,
                blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        done.map_err(|error| failed(format!("{error:?}")))
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        let done = self.stream.synchronize();
        done.map_err(failed("what was launched"))
    }
}
