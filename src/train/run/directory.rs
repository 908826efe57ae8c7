//! Run directories: where a run is put, and that no two share one.

use super::manifest::Manifest;
use super::RunError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the manifest in a run directory.
pub const MANIFEST: &str = "run.yaml";
/// Name of the spec in a run directory.
pub const SPEC: &str = "spec.bpm";
/// Name of the metrics in a run directory.
pub const METRICS: &str = "metrics.jsonl";
/// Name of the checkpoint in a run directory.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

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

/// Makes the directory and puts the manifest into it, which makes it this run's alone.
pub(super) fn claim(place: &Place, manifest: &Manifest) -> Result<PathBuf, RunError> {
    let path = match place {
        Place::At(path) => {
            std::fs::create_dir_all(path).map_err(|e| RunError::file("create", path, e))?;
            for name in [MANIFEST, METRICS, CHECKPOINT] {
                if path.join(name).exists() {
                    return Err(RunError::Taken(path.clone()));
                }
            }
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
    let file = path.join(MANIFEST);
    let written = manifest.to_yaml().and_then(|text| {
        use std::io::Write;
        let mut file = std::fs::File::create_new(&file)?;
        file.write_all(text.as_bytes())
    });
    match written {
        Ok(()) => Ok(path),
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
