//! The checkpoints of a run: the last few and the best.
//!
//! `checkpoints/0000000100.safetensors` is the checkpoint of iteration 100. A scheduled checkpoint is removed
//! once `keep` later ones exist. The checkpoint of an interruption is removed at the next scheduled one, so
//! that a run leaves the same files however often it was interrupted. `best.safetensors` is a copy of the
//! best checkpoint. `manifest.yaml` lists the files; bpmc derives it from them and never reads it.

use super::{BestTracker, RunError};
use crate::learn::checkpoint::{Checkpoint, CheckpointError};
use crate::learn::replace::{clear_temporaries, replace};
use crate::learn::trainer::Epochs;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The name of the folder of checkpoints in a run directory.
pub const CHECKPOINTS: &str = "checkpoints";
/// The name of the best checkpoint in its folder.
pub const BEST: &str = "best.safetensors";
/// The name of the list of checkpoints in their folder.
const LIST: &str = "manifest.yaml";
/// The extension of checkpoint files.
const ENDING: &str = ".safetensors";

/// The choice of a checkpoint of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The last checkpoint.
    #[default]
    Last,
    /// The checkpoint with the highest smoothed reward, or else the lowest smoothed loss; for a text, the
    /// lowest validation loss.
    Best,
    /// The checkpoint of this iteration.
    At(u64),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Which, String> {
        match text {
            "last" => Ok(Which::Last),
            "best" => Ok(Which::Best),
            _ => text
                .parse()
                .map(Which::At)
                .map_err(|_| "expected `last`, `best` or the number of an iteration".to_owned()),
        }
    }
}

/// The numbered checkpoints of the run in `directory`, as iteration and path, earliest first.
///
/// # Errors
/// Fails if the folder cannot be read; a missing folder has no checkpoints.
pub fn checkpoints(directory: &Path) -> Result<Vec<(u64, PathBuf)>, RunError> {
    let folder = directory.join(CHECKPOINTS);
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(RunError::file("read", &folder, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| RunError::file("read", &folder, error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_suffix(ENDING).and_then(|n| n.parse().ok());
        found.extend(number.map(|iteration: u64| (iteration, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

/// The path of a checkpoint of the run in `directory`.
///
/// # Errors
/// Fails if there is no such checkpoint; the message names the existing ones.
pub fn find_checkpoint(directory: &Path, which: Which) -> Result<PathBuf, RunError> {
    let all = checkpoints(directory)?;
    let found = match which {
        Which::Last => all.last().map(|(_, path)| path.clone()),
        Which::Best => Some(directory.join(CHECKPOINTS).join(BEST)).filter(|path| path.is_file()),
        Which::At(iteration) => all
            .iter()
            .find(|(at, _)| *at == iteration)
            .map(|(_, path)| path.clone()),
    };
    found.ok_or_else(|| RunError::NoCheckpoint {
        path: directory.to_owned(),
        which,
        there: all.iter().map(|(at, _)| *at).collect(),
    })
}

/// The schedule of checkpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    /// The number of iterations between two checkpoints; 0 for none but the last and those at the ends of
    /// epochs.
    pub every: u64,
    /// The last iteration.
    pub planned: u64,
    /// The iterations that end an epoch of a text, in order.
    pub epochs: Vec<u64>,
    /// The epochs of a file with validations at their ends.
    pub validations: Option<Epochs>,
}

/// The folder of checkpoints of a run in training.
#[derive(Debug)]
pub(super) struct CheckpointStore {
    folder: PathBuf,
    /// The number of scheduled checkpoints to keep.
    keep: usize,
    schedule: Schedule,
    /// The name of the measure that decides which checkpoint is best.
    measure: &'static str,
}

/// The contents of `manifest.yaml`.
#[derive(Serialize)]
struct CheckpointList<'a> {
    version: &'a str,
    spec_hash: &'a str,
    checkpoints: Vec<ListEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<BestEntry>,
}

#[derive(Serialize)]
struct ListEntry {
    file: String,
    iteration: u64,
}

#[derive(Serialize)]
struct BestEntry {
    file: &'static str,
    iteration: u64,
    measure: &'static str,
    value: f64,
}

impl CheckpointStore {
    /// The folder of checkpoints of the run in `directory`.
    pub(super) fn new(
        directory: &Path,
        keep: usize,
        schedule: Schedule,
        measure: &'static str,
    ) -> CheckpointStore {
        CheckpointStore {
            folder: directory.join(CHECKPOINTS),
            keep,
            schedule,
            measure,
        }
    }

    /// Returns true if an uninterrupted run also writes a checkpoint at this iteration.
    pub(super) fn is_scheduled(&self, iteration: u64) -> bool {
        iteration == self.schedule.planned || self.is_regular(iteration)
    }

    /// Tells if a run with more iterations also writes a checkpoint at this iteration.
    pub(super) fn is_regular(&self, iteration: u64) -> bool {
        let Schedule {
            every,
            epochs,
            validations,
            ..
        } = &self.schedule;
        epochs.binary_search(&iteration).is_ok()
            || validations.is_some_and(|epochs| epochs.validates(iteration))
            || (*every > 0 && iteration > 0 && iteration.is_multiple_of(*every))
    }

    fn path(&self, iteration: u64) -> PathBuf {
        self.folder.join(format!("{iteration:010}{ENDING}"))
    }

    /// Creates the folder, and removes incomplete files of a killed process.
    pub(super) fn open(&self) -> Result<(), RunError> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clear_temporaries(&self.folder))
            .map_err(|error| RunError::file("write", &self.folder, error))
    }

    /// The last checkpoint, if there is one.
    pub(super) fn last(&self, directory: &Path) -> Result<Option<Checkpoint>, RunError> {
        let mut all = checkpoints(directory)?;
        let Some((_, path)) = all.pop() else {
            return Ok(None);
        };
        Checkpoint::read(&path).map(Some).map_err(|source| {
            // Only a whole checkpoint is worth naming.
            let whole = |(_, path): &&(u64, PathBuf)| Checkpoint::read(path).is_ok();
            match all.iter().rev().find(whole) {
                Some((iteration, before)) if matches!(source, CheckpointError::Corrupt { .. }) => {
                    RunError::Damaged {
                        source,
                        before: before.clone(),
                        iteration: *iteration,
                    }
                }
                _ => RunError::Checkpoint(source),
            }
        })
    }

    /// Writes a checkpoint, and removes those that are too old. The new file is whole before any other file
    /// changes.
    pub(super) fn put(&self, checkpoint: &Checkpoint) -> Result<(), RunError> {
        let iteration = checkpoint.header.iteration;
        let path = self.path(iteration);
        let unwritable = |path: &Path, source| {
            RunError::Checkpoint(CheckpointError::Unwritable {
                path: path.to_owned(),
                source,
            })
        };
        let bytes = checkpoint
            .to_bytes()
            .map_err(|error| unwritable(&path, error))?;
        replace(&path, &bytes).map_err(|error| unwritable(&path, error))?;
        let tracker = checkpoint.header.standing.as_ref();
        let best = tracker.and_then(|tracker| tracker.best.clone());
        if best
            .as_ref()
            .is_some_and(|best| best.iteration == iteration)
        {
            let path = self.folder.join(BEST);
            replace(&path, &bytes).map_err(|error| unwritable(&path, error))?;
        }
        let mut scheduled = 0;
        let mut kept = Vec::new();
        let directory = self.folder.parent().unwrap_or(&self.folder);
        for (at, path) in checkpoints(directory)?.into_iter().rev() {
            let stays = at >= iteration || (self.is_scheduled(at) && scheduled < self.keep);
            scheduled += usize::from(self.is_scheduled(at));
            if stays {
                kept.push(at);
            } else {
                std::fs::remove_file(&path)
                    .map_err(|error| RunError::file("remove", &path, error))?;
            }
        }
        kept.reverse();
        let list = CheckpointList {
            version: &checkpoint.header.version,
            spec_hash: &checkpoint.header.spec_hash,
            checkpoints: kept
                .into_iter()
                .map(|iteration| ListEntry {
                    file: format!("{iteration:010}{ENDING}"),
                    iteration,
                })
                .collect(),
            best: best.map(|best| BestEntry {
                file: BEST,
                iteration: best.iteration,
                measure: self.measure,
                value: best.value,
            }),
        };
        let path = self.folder.join(LIST);
        serde_yaml::to_string(&list)
            .map_err(std::io::Error::other)
            .and_then(|text| replace(&path, text.as_bytes()))
            .map_err(|error| RunError::file("write", &path, error))
    }

    /// Writes the best checkpoint again if a kill came between it and the checkpoint it copies.
    pub(super) fn mend(&self, last: &Checkpoint) -> Result<(), RunError> {
        let tracker: Option<&BestTracker> = last.header.standing.as_ref();
        let best = tracker.and_then(|tracker| tracker.best.as_ref());
        let iteration = last.header.iteration;
        if best.is_none_or(|best| best.iteration != iteration) {
            return Ok(());
        }
        let copy = std::fs::read(self.folder.join(BEST)).ok();
        match std::fs::read(self.path(iteration)) {
            Ok(bytes) if copy.as_deref() == Some(bytes.as_slice()) => Ok(()),
            _ => self.put(last),
        }
    }
}
