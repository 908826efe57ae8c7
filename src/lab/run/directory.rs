//! Run directories: where a run is put, and that no two share one.

use super::manifest::Manifest;
use super::{RunError, CHECKPOINTS};
use crate::lab::lock::Lock;
use crate::learn::replace::{create, replace};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the manifest in a run directory.
pub const MANIFEST: &str = "run.yaml";
/// Name of the spec in a run directory.
pub const SPEC: &str = "spec.bpm";
/// Name of the metrics in a run directory.
pub const METRICS: &str = "metrics.jsonl";
/// Name of the metrics as a table in a run directory.
pub const METRICS_TABLE: &str = "metrics.csv";

/// Name of the words of a text, in the order of their numbers, in a run directory.
pub const VOCABULARY: &str = "vocabulary.txt";

/// Where a run is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this directory.
    At(PathBuf),
    /// In a directory of its own under `parent`: `STEM-SEED`, or `STEM-SEED-2` and so on.
    Under {
        /// The directory of runs.
        parent: PathBuf,
        /// File name of the spec without its ending.
        stem: String,
    },
}

/// Makes the directory and puts spec and manifest into it, the manifest last: a directory that has one holds a
/// run, however the process ended that made it.
pub(super) fn claim(
    place: &Place,
    manifest: &Manifest,
    spec: &str,
) -> Result<(PathBuf, Lock), RunError> {
    let path = match place {
        Place::At(path) => {
            std::fs::create_dir_all(path).map_err(|e| RunError::file("create", path, e))?;
            path.clone()
        }
        Place::Under { parent, stem } => {
            std::fs::create_dir_all(parent).map_err(|e| RunError::file("create", parent, e))?;
            let mut number = 1u64;
            loop {
                let path = numbered(parent, stem, manifest.seed, number);
                match std::fs::create_dir(&path) {
                    Ok(()) => break path,
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                    Err(error) => return Err(RunError::file("create", &path, error)),
                }
            }
        }
    };
    if path.join(MANIFEST).exists() {
        return Err(RunError::Taken(path));
    }
    let lock = Lock::take(&path)?;
    for name in [MANIFEST, METRICS, CHECKPOINTS] {
        if path.join(name).exists() {
            return Err(RunError::Taken(path));
        }
    }
    let file = path.join(SPEC);
    replace(&file, spec.as_bytes()).map_err(|e| RunError::file("write", &file, e))?;
    let file = path.join(MANIFEST);
    match manifest
        .to_yaml()
        .and_then(|text| create(&file, text.as_bytes()))
    {
        Ok(()) => Ok((path, lock)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(RunError::Taken(path)),
        Err(error) => Err(RunError::file("write", &file, error)),
    }
}

/// The directory to go on in: the one named, or the last one under the parent.
pub(super) fn find(place: &Place, seed: u64) -> Result<PathBuf, RunError> {
    let path = match place {
        Place::At(path) => path.clone(),
        Place::Under { parent, stem } => {
            let last = (1u64..)
                .map(|number| numbered(parent, stem, seed, number))
                .take_while(|path| path.exists())
                // One that was killed while it was made holds no run.
                .filter(|path| path.join(MANIFEST).is_file())
                .last();
            last.unwrap_or_else(|| numbered(parent, stem, seed, 1))
        }
    };
    if path.join(MANIFEST).is_file() {
        Ok(path)
    } else {
        Err(RunError::NothingThere(path))
    }
}

fn numbered(parent: &Path, stem: &str, seed: u64, number: u64) -> PathBuf {
    match number {
        1 => parent.join(format!("{stem}-{seed}")),
        _ => parent.join(format!("{stem}-{seed}-{number}")),
    }
}
