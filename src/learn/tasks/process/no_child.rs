//! Processes of environments on systems where bpmc cannot start them.

use std::path::Path;
use std::time::Duration;

/// A process that is never there.
#[derive(Debug)]
pub(super) enum Child {}

impl Child {
    /// Refuses to start.
    ///
    /// # Errors
    /// Always.
    pub fn start(_: &[String], _: &Path, _: Duration) -> Result<Child, String> {
        Err("cannot start: `task process` needs Linux or macOS".to_owned())
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn greet(&mut self, _: &str, _: Duration) -> Result<Vec<u8>, String> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn nothing_left(&self) -> Result<(), String> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn exchange(&mut self, _: &[u8], _: usize, _: Duration) -> Result<&[u8], String> {
        match *self {}
    }

    /// Never called.
    pub fn last_words(&mut self) -> String {
        match *self {}
    }

    /// Never called.
    pub fn end(&mut self) -> Option<std::process::ExitStatus> {
        match *self {}
    }
}
