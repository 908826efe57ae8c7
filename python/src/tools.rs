//! The command, its pages, and the threads.

use crate::failure::{detached, Failure};
use crate::pages;
use bpmc::cli;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The threads that share the lanes.
static POOL: Mutex<Option<Arc<ThreadPool>>> = Mutex::new(None);

/// The number of threads that was set; 0 for that of the cores.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The threads; as many as there are cores unless a number was set.
pub fn pool() -> Result<Arc<ThreadPool>, Failure> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = &*pool {
        return Ok(Arc::clone(pool));
    }
    let threads = match THREADS.load(Ordering::Relaxed) {
        0 => cores(),
        set => set,
    };
    let made = Arc::new(with_threads(threads)?);
    *pool = Some(Arc::clone(&made));
    Ok(made)
}

fn with_threads(threads: usize) -> Result<ThreadPool, Failure> {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().map_err(Failure::of)
}

/// The number of cores.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// `set_threads(number)`.
pub fn set_threads(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (threads,): (usize,) = arguments.extract()?;
    detached(py, || {
        let made = with_threads(threads.max(1))?;
        THREADS.store(threads.max(1), Ordering::Relaxed);
        *POOL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(made));
        Ok(())
    })?;
    Ok(py.None())
}

/// `forked()`: to be called in the child of a fork, which has none of its parent's threads.
pub fn forked(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    // A thread of the parent that held the lock then is not there to give it back.
    if let Ok(mut pool) = POOL.try_lock() {
        // Its threads cannot be ended, for they do not exist.
        std::mem::forget(pool.take());
    }
    Ok(arguments.py().None())
}

/// `command(program, words) -> exit status`: runs the command `bpmc`, which `program` starts again.
pub fn command(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (program, words): (String, Vec<String>) = arguments.extract()?;
    let status = py.detach(|| {
        bpmc::machine::own::set_program(PathBuf::from(program));
        let words = std::iter::once("bpmc".to_owned()).chain(words);
        // A panic was told by then.
        std::panic::catch_unwind(|| {
            cli::run(words.map(Into::into).collect::<Vec<_>>(), pages::PAGES)
        })
        .unwrap_or(101)
    });
    Ok(status.into_pyobject(py)?.into_any().unbind())
}

/// `explain(words) -> page`.
pub fn explain(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (words,): (Vec<String>,) = arguments.extract()?;
    let page = detached(py, || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        cli::explain::about(&words).map_err(|failure| match failure {
            cli::Failure::Usage(message) => Failure::Named("Error", message),
            other => Failure::Named("Error", format!("{other:?}")),
        })
    })?;
    Ok(page.into_pyobject(py)?.into_any().unbind())
}

/// `panic()`: fails as a fault of bpmc would, for tests.
pub fn panic(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    detached(arguments.py(), || -> Result<(), Failure> {
        panic!("asked for by a test")
    })?;
    Ok(arguments.py().None())
}
