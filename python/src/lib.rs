//! The extension `bpmc._native`: functions over programs, runs and tapes, for the Python modules beside it.
//!
//! Programs and tapes are capsules. Arrays are addresses of memory that the Python modules have checked: contiguous, of the right
//! type, and of the size that the program's slots say. Everything else crosses as JSON.

mod arrays;
mod failure;
mod network;
#[path = "../../src/pages.rs"]
mod pages;
mod runs;
mod tools;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use std::ffi::CStr;

/// A function of the extension.
type Function = fn(&Bound<'_, PyTuple>) -> PyResult<Py<PyAny>>;

const FUNCTIONS: &[(&CStr, Function)] = &[
    (c"command", tools::command),
    (c"explain", tools::explain),
    (c"set_threads", tools::set_threads),
    (c"forked", tools::forked),
    (c"panic", tools::panic),
    (c"compile", network::compile),
    (c"draw", network::draw),
    (c"run", network::run),
    (c"backward", network::backward),
    (c"train", runs::train),
    (c"evaluate", runs::evaluate),
    (c"opened", runs::opened),
    (c"parameters", runs::parameters),
    (c"replay", runs::replay),
    (c"equations", runs::equations),
];

fn fill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    failure::remember_panics();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    for (name, function) in FUNCTIONS {
        let run = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            function(arguments)
        };
        let function = PyCFunction::new_closure(module.py(), Some(name), None, run)?;
        module.add(&*name.to_string_lossy(), function)?;
    }
    Ok(())
}

/// Makes the module; the interpreter calls it on import.
#[no_mangle]
pub extern "C" fn PyInit__native() -> *mut ffi::PyObject {
    let definition = ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: c"bpmc._native".as_ptr(),
        m_doc: c"The kernels and runs of bpmc, for the Python modules beside it.".as_ptr(),
        m_size: -1,
        m_methods: std::ptr::null_mut(),
        m_slots: std::ptr::null_mut(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    };
    // The interpreter keeps the definition as long as it lives.
    let definition = Box::leak(Box::new(definition));
    Python::attach(|py| {
        // SAFETY: the definition is whole and stays; what is returned is a new module or an error that was set.
        let made = unsafe {
            let made = ffi::PyModule_Create(definition);
            Bound::from_owned_ptr_or_err(py, made)
        };
        let made = made.and_then(|made| {
            fill(made.cast::<PyModule>()?)?;
            Ok(made)
        });
        match made {
            Ok(made) => made.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    })
}
