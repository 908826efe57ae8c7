//! The destinations of recorded numbers: memory, or their places in a file.

use crate::engine::BackendError;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Mutex;

/// Takes the numbers of a recording.
pub trait Keep: Send {
    /// Takes what a series has in one lane at one step. `step` and `lane` are positions among those recorded; a lane's
    /// steps come in their order.
    ///
    /// # Errors
    /// Those of the file.
    fn keep(
        &mut self,
        series: usize,
        step: usize,
        lane: usize,
        values: &[f64],
    ) -> Result<(), BackendError>;
}

/// Numbers in memory, by series, as they came.
pub type Notes = Vec<Vec<f64>>;

impl Keep for Notes {
    fn keep(
        &mut self,
        series: usize,
        _step: usize,
        _lane: usize,
        values: &[f64],
    ) -> Result<(), BackendError> {
        self[series].extend(values);
        Ok(())
    }
}

/// The arrays of a file whose numbers come in any order.
pub struct Sheet {
    file: Mutex<File>,
    path: PathBuf,
    /// By series: where its array begins, and numbers of a lane and step.
    arrays: Vec<(u64, usize)>,
    lanes: usize,
    wide: bool,
}

impl Sheet {
    /// For arrays that begin at these places of `file`, each with so many numbers for a lane and step. `path` names the
    /// file in messages.
    pub fn new(
        file: File,
        path: PathBuf,
        arrays: Vec<(u64, usize)>,
        lanes: usize,
        wide: bool,
    ) -> Sheet {
        Sheet {
            file: Mutex::new(file),
            path,
            arrays,
            lanes,
            wide,
        }
    }

    /// The file, with all numbers.
    pub fn into_file(self) -> File {
        self.file
            .into_inner()
            .expect("a thread that panics ends the recording")
    }
}

/// A number of the file's width.
pub fn encode(values: &[f64], wide: bool) -> Vec<u8> {
    if wide {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    } else {
        let narrow = values.iter().map(|x| *x as f32);
        narrow.flat_map(f32::to_le_bytes).collect()
    }
}

impl Keep for &Sheet {
    fn keep(
        &mut self,
        series: usize,
        step: usize,
        lane: usize,
        values: &[f64],
    ) -> Result<(), BackendError> {
        let (start, width) = self.arrays[series];
        let number = if self.wide { 8 } else { 4 };
        let at = start + number * ((step * self.lanes + lane) * width) as u64;
        let bytes = encode(values, self.wide);
        let mut file = self
            .file
            .lock()
            .expect("a thread that panics ends the recording");
        let written = file
            .seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(&bytes));
        written.map_err(|error| {
            BackendError::Environment(format!("cannot write {}: {error}", self.path.display()))
        })
    }
}
