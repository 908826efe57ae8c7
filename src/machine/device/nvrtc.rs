//! NVIDIA's run-time compiler NVRTC, which compiles generated sources to PTX. It is loaded if it is found,
//! and needs no GPU.

use super::DeviceError;
use libloading::Library;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::{Path, PathBuf};

/// The file names to look for, after the one in `BPMC_NVRTC`.
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

/// The compiler.
pub struct Nvrtc {
    library: Library,
    name: String,
    /// The library of built-in functions, which the compiler opens by name.
    _builtins: Option<Library>,
}

type Program = *mut c_void;

impl Nvrtc {
    /// Loads the compiler.
    ///
    /// # Errors
    /// [`DeviceError::Absent`] if there is none.
    pub fn new() -> Result<Nvrtc, DeviceError> {
        let named = std::env::var("BPMC_NVRTC").ok();
        let names = named.into_iter().chain(NAMES.map(str::to_owned));
        let mut tried = Vec::new();
        for name in names {
            let builtins = beside(Path::new(&name));
            // SAFETY: loading these libraries runs nothing but their own initialisation.
            let builtins = builtins.and_then(|path| unsafe { Library::new(path) }.ok());
            // SAFETY: as above.
            match unsafe { Library::new(&name) } {
                Ok(library) => {
                    return Ok(Nvrtc {
                        library,
                        name,
                        _builtins: builtins,
                    })
                }
                Err(_) => tried.push(name),
            }
        }
        Err(DeviceError::Absent {
            what: format!(
                "NVIDIA's run-time compiler was not found ({})",
                tried.join(", ")
            ),
            help: "install CUDA's NVRTC, or set BPMC_NVRTC to the path of libnvrtc.so".to_owned(),
        })
    }

    /// The name of the loaded file, and its version.
    pub fn version(&self) -> String {
        let (mut major, mut minor) = (0, 0);
        type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
        // SAFETY: the signature follows CUDA's documentation.
        let known = unsafe { self.library.get::<Version>(b"nvrtcVersion") };
        if let Ok(version) = known {
            // SAFETY: both numbers outlive the call.
            unsafe { version(&mut major, &mut minor) };
        }
        format!("{} {major}.{minor}", self.name)
    }

    /// Compiles a source to PTX for an architecture, `90` for compute capability 9.0.
    ///
    /// # Errors
    /// [`DeviceError::Source`] with the compiler's message.
    pub fn compile(&self, source: &str, architecture: u32) -> Result<String, DeviceError> {
        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
        type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
        let text = CString::new(source).map_err(|_| DeviceError::Source("a 0 byte".to_owned()))?;
        let option = CString::new(format!("--gpu-architecture=compute_{architecture}"))
            .expect("a number has no 0 byte");
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: signatures and use follow CUDA's documentation; all strings outlive the calls.
        unsafe {
            let create = self.function::<Create>(b"nvrtcCreateProgram")?;
            let status = create(
                &mut program,
                text.as_ptr(),
                c"bpmc.cu".as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            );
            checked("nvrtcCreateProgram", status)?;
            let compile = self.function::<Compile>(b"nvrtcCompileProgram")?;
            let status = compile(program, 1, &option.as_ptr());
            let ptx = if status == 0 {
                self.text(program, b"nvrtcGetPTXSize", b"nvrtcGetPTX")
            } else {
                let log = self.text(program, b"nvrtcGetProgramLogSize", b"nvrtcGetProgramLog")?;
                let lines: Vec<&str> = log.lines().take(20).collect();
                Err(DeviceError::Source(lines.join("\n")))
            };
            let destroy = self.function::<Destroy>(b"nvrtcDestroyProgram")?;
            destroy(&mut program);
            ptx
        }
    }

    /// # Safety
    /// `T` must be the signature of the function.
    unsafe fn function<T: Copy>(&self, name: &[u8]) -> Result<T, DeviceError> {
        // SAFETY: the caller guarantees the signature.
        let found = unsafe { self.library.get::<T>(name) };
        found.map(|f| *f).map_err(|error| DeviceError::Failed {
            what: "NVRTC",
            reason: error.to_string(),
        })
    }

    /// A text that belongs to a program.
    ///
    /// # Safety
    /// `program` must be alive, and the names must be those of the functions for the text's size and the
    /// text.
    unsafe fn text(
        &self,
        program: Program,
        size: &[u8],
        get: &[u8],
    ) -> Result<String, DeviceError> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let mut bytes = 0usize;
        // SAFETY: the caller guarantees the functions; the buffer has one byte more than the size asked for.
        unsafe {
            checked("NVRTC", self.function::<Size>(size)?(program, &mut bytes))?;
            let mut buffer = vec![0u8; bytes + 1];
            checked(
                "NVRTC",
                self.function::<Get>(get)?(program, buffer.as_mut_ptr().cast()),
            )?;
            let text = CStr::from_ptr(buffer.as_ptr().cast());
            Ok(text.to_string_lossy().into_owned())
        }
    }
}

/// The library of built-in functions next to a compiler given by its path, where the system would not look.
fn beside(library: &Path) -> Option<PathBuf> {
    let folder = library
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())?;
    let mut files = folder
        .read_dir()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|path| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("libnvrtc-builtins.so"))
    })
}

fn checked(what: &'static str, status: c_int) -> Result<(), DeviceError> {
    if status == 0 {
        return Ok(());
    }
    Err(DeviceError::Failed {
        what,
        reason: format!("status {status}"),
    })
}
