//! Run directories: their location, and the rule that no two runs share one.

use super::arrays::{self, OUTLINE};
use super::manifest::Manifest;
use super::{RunError, CHECKPOINTS};
use crate::lab::lock::Lock;
use crate::lang::sema::Model;
use crate::learn::replace::{create, replace};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The name of the manifest in a run directory.
pub const MANIFEST: &str = "run.yaml";
/// The name of the spec in a run directory.
pub const SPEC: &str = "spec.bpm";
/// The name of the metrics in a run directory.
pub const METRICS: &str = "metrics.jsonl";
/// The name of the metrics table in a run directory.
pub const METRICS_TABLE: &str = "metrics.csv";

/// The name of the vocabulary in a run directory: the words of a text, in the order of their numbers.
pub const VOCABULARY: &str = "vocabulary.txt";

/// The location of a run directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunLocation {
    /// This directory.
    At(PathBuf),
    /// A new directory under `parent`: `STEM-SEED`, or `STEM-SEED-2` and so on.
    Under {
        /// The parent directory of runs.
        parent: PathBuf,
        /// The file name of the spec without its extension.
        stem: String,
    },
}

/// The contents of a new run directory, beside its manifest.
pub(super) struct Contents<'a> {
    /// The spec.
    pub spec: &'a str,
    /// Its model, for the files that first values come from.
    pub model: &'a Model,
    /// The outline of the data, if it comes from files.
    pub outline: Option<Vec<u8>>,
}

/// Creates the directory and writes spec and manifest into it, the manifest last: a directory with a manifest
/// holds a run, however the process that made it ended.
pub(super) fn claim(
    location: &RunLocation,
    manifest: &mut Manifest,
    contents: &Contents<'_>,
) -> Result<(PathBuf, Lock), RunError> {
    let path = match location {
        RunLocation::At(path) => {
            std::fs::create_dir_all(path).map_err(|e| RunError::file("create", path, e))?;
            path.clone()
        }
        RunLocation::Under { parent, stem } => {
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
    replace(&file, contents.spec.as_bytes()).map_err(|e| RunError::file("write", &file, e))?;
    if let Some(outline) = &contents.outline {
        let file = path.join(OUTLINE);
        replace(&file, outline).map_err(|e| RunError::file("write", &file, e))?;
    }
    manifest.files.extend(arrays::keep(&path, contents.model)?);
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

/// The directory to resume: the one named, or the last one under the parent.
pub(super) fn find(location: &RunLocation, seed: u64) -> Result<PathBuf, RunError> {
    let path = match location {
        RunLocation::At(path) => path.clone(),
        RunLocation::Under { parent, stem } => {
            let last = (1u64..)
                .map(|number| numbered(parent, stem, seed, number))
                .take_while(|path| path.exists())
                // A run killed while its directory was made has no manifest.
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
