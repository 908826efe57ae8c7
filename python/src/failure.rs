//! Errors and panics as Python exceptions, which `bpmc._errors` declares.

use pyo3::prelude::*;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

/// The reason why a function of the extension did not succeed.
pub enum Failure {
    /// A class of `bpmc._errors` with its message.
    Named(&'static str, String),
    /// A spec has errors: the findings as text, and as JSON lines.
    Broken(String, String),
    /// A panic of the library, with its message.
    Panicked(String),
}

impl Failure {
    /// A plain `bpmc.Error`.
    pub fn of(error: impl Into<Box<dyn std::error::Error>>) -> Failure {
        // An error often repeats its cause.
        let error = error.into();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        Failure::Named("Error", text)
    }

    fn exception(self, py: Python<'_>) -> PyErr {
        let class = |class: &str| py.import("bpmc._errors")?.getattr(class);
        let make = || match self {
            Failure::Named(name, text) => class(name)?.call1((text,)),
            Failure::Broken(text, findings) => class("CompileError")?.call1((text, findings)),
            Failure::Panicked(text) => {
                let text = format!("this is a bug in bpmc, not in your program: {text}; please report it with the spec");
                class("InternalError")?.call1((text,))
            }
        };
        match make() {
            Ok(value) => PyErr::from_value(value),
            Err(error) => error,
        }
    }
}

/// The place of the last panic.
static PLACE: Mutex<String> = Mutex::new(String::new());

/// Remembers where a panic happened and prints nothing: the exception says it.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, ToString::to_string);
        *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }));
}

/// Does work of the library without the interpreter's lock; errors and panics become exceptions.
pub fn detached<R: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<R, Failure> + Send,
) -> PyResult<R> {
    let done = py.detach(|| {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => (*text).to_owned(),
                (None, Some(text)) => text.clone(),
                (None, None) => "no message".to_owned(),
            };
            let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
            Err(Failure::Panicked(format!("{text} ({place})")))
        })
    });
    done.map_err(|failure| failure.exception(py))
}
