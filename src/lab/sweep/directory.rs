//! The directory of a sweep.

use super::plan::{Cell, Plan};
use super::state::{state, State};
use super::SweepError;
use crate::lab::lock::{Lock, LockError};
use crate::lab::run::{Manifest, MANIFEST};
use crate::learn::replace::replace;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The name of the plan in the directory of a sweep.
pub const PLAN: &str = "plan.json";
/// The name of the folder of specs.
pub const SPECS: &str = "specs";
/// The name of the folder of cells.
pub const CELLS: &str = "cells";

/// The directory of a sweep, with its plan.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The plan of the sweep.
    pub plan: Plan,
    /// The lock that keeps other sweeps out, if this process runs the sweep.
    lock: Option<Lock>,
}

impl Directory {
    /// Creates or takes over the directory at `path` for `plan`, and locks it against other processes. The
    /// plan may have other cells than before: finished cells stay finished.
    ///
    /// # Errors
    /// [`SweepError`]; nothing is changed if the directory belongs to another sweep.
    pub fn prepare(path: &Path, plan: Plan) -> Result<Directory, SweepError> {
        let cells = path.join(CELLS);
        std::fs::create_dir_all(&cells).map_err(|e| SweepError::file("create", &cells, e))?;
        let lock = Lock::take(path).map_err(|error| match error {
            LockError::Held { .. } => SweepError::Busy(error),
            LockError::File { path, source } => SweepError::file("write", &path, source),
        })?;
        let directory = Directory {
            path: path.to_owned(),
            plan,
            lock: Some(lock),
        };
        directory.check()?;
        let specs = path.join(SPECS);
        std::fs::create_dir_all(&specs).map_err(|e| SweepError::file("create", &specs, e))?;
        for (label, text) in &directory.plan.specs {
            write(&directory.spec(label), text.as_bytes())?;
        }
        let file = path.join(PLAN);
        let text = serde_json::to_string_pretty(&directory.plan)
            .map_err(|e| SweepError::file("write", &file, e.into()))?;
        write(&file, format!("{text}\n").as_bytes())?;
        Ok(directory)
    }

    /// Checks like [`Directory::prepare`], without creating or changing anything: for dry runs.
    ///
    /// # Errors
    /// Fails if the directory belongs to another sweep.
    pub fn imagine(path: &Path, plan: Plan) -> Result<Directory, SweepError> {
        let directory = Directory {
            path: path.to_owned(),
            plan,
            lock: None,
        };
        directory.check()?;
        Ok(directory)
    }

    /// Opens the directory of a sweep for inspection.
    ///
    /// # Errors
    /// Fails if there is no sweep, or its plan cannot be read.
    pub fn open(path: &Path) -> Result<Directory, SweepError> {
        let file = path.join(PLAN);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(SweepError::NothingThere(path.to_owned()))
            }
            Err(error) => return Err(SweepError::file("read", &file, error)),
        };
        let plan: Plan = serde_json::from_str(&text).map_err(|error| {
            let message = format!("it is not the plan of a sweep: {error}");
            let error = std::io::Error::new(ErrorKind::InvalidData, message);
            SweepError::file("read", &file, error)
        })?;
        let groups = plan.groups.len();
        if plan.cells.iter().any(|cell| cell.group >= groups) {
            let error = std::io::Error::new(ErrorKind::InvalidData, "a cell has no group");
            return Err(SweepError::file("read", &file, error));
        }
        Ok(Directory {
            path: path.to_owned(),
            plan,
            lock: None,
        })
    }

    /// Checks that existing cells belong to this sweep.
    fn check(&self) -> Result<(), SweepError> {
        match Directory::open(&self.path) {
            Ok(earlier) if earlier.plan.name != self.plan.name => {
                return Err(SweepError::OtherSweep {
                    path: self.path.clone(),
                    found: earlier.plan.name,
                })
            }
            Ok(earlier) => self.check_text(&earlier.plan)?,
            Err(SweepError::NothingThere(_)) => {}
            Err(error) => return Err(error),
        }
        let mut cells = Vec::new();
        for cell in &self.plan.cells {
            let Ok(manifest) = Manifest::read(&self.cell(cell).join(MANIFEST)) else {
                continue;
            };
            if manifest.spec_hash != cell.spec_hash {
                let (then, now) = (short(&manifest.spec_hash), short(&cell.spec_hash));
                cells.push(format!("{} (hash {then}, now {now})", cell.name));
            } else if manifest.version != self.plan.version
                && state(self, cell).state != State::Done
            {
                cells.push(format!("{} (bpmc {})", cell.name, manifest.version));
            }
        }
        if cells.is_empty() {
            return Ok(());
        }
        Err(SweepError::Different {
            path: self.path.clone(),
            cells,
        })
    }

    /// Checks that existing cells have read the same text.
    fn check_text(&self, earlier: &Plan) -> Result<(), SweepError> {
        let name = |data: &Option<PathBuf>| match data {
            Some(path) => path.display().to_string(),
            None => "that bpmc generates".to_owned(),
        };
        for group in &self.plan.groups {
            let mut same = earlier.groups.iter().filter(|g| g.name == group.name);
            if let Some(then) = same.find(|then| then.data != group.data) {
                return Err(SweepError::OtherText {
                    path: self.path.clone(),
                    then: name(&then.data),
                    now: name(&group.data),
                });
            }
        }
        Ok(())
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if this process holds the lock on the sweep.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// The directory of a cell.
    pub fn cell(&self, cell: &Cell) -> PathBuf {
        self.path.join(CELLS).join(&cell.name)
    }

    /// The path of the spec with this label.
    pub fn spec(&self, label: &str) -> PathBuf {
        self.path.join(SPECS).join(format!("{label}.bpm"))
    }
}

fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// Writes a file if its contents differ.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SweepError> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    replace(path, bytes).map_err(|e| SweepError::file("write", path, e))
}
