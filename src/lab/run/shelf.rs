//! The checkpoints of a run: the last few and the best.
//!
//! `checkpoints/0000000100.safetensors` is that of iteration 100. Those of the schedule stay until `keep` later ones
//! are there; one of an interruption goes with the next of the schedule, so that a run leaves the same files
//! however often it was interrupted. `best.safetensors` is a copy of the best one, and `manifest.yaml` says what is
//! there; it follows from the files and is never read back.

use super::{RunError, Standing};
use crate::learn::checkpoint::{Checkpoint, CheckpointError};
use crate::learn::replace::{clear_temporaries, replace};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Name of the folder of checkpoints in a run directory.
pub const CHECKPOINTS: &str = "checkpoints";
/// Name of the best checkpoint in its folder.
pub const BEST: &str = "best.safetensors";
/// Name of the list of checkpoints in their folder.
const LIST: &str = "manifest.yaml";
/// Ending of checkpoints.
const ENDING: &str = ".safetensors";

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The last one.
    #[default]
    Last,
    /// That with the best smoothed reward, or the lowest smoothed loss; of a text, the lowest validation loss.
    Best,
    /// That of an iteration.
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

/// The numbered checkpoints of the run in `directory`: iteration and file, the earliest first.
///
/// # Errors
/// Where the folder cannot be read; a run without one has none.
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

/// The file of a checkpoint of the run in `directory`.
///
/// # Errors
/// Where it has none of that kind: the message names those it has.
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

/// When checkpoints are due.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    /// Iterations between two; 0 for only the last, and those at the ends of epochs.
    pub every: u64,
    /// The last.
    pub planned: u64,
    /// Iterations after which an epoch of a text is over, in order.
    pub epochs: Vec<u64>,
}

/// The folder of checkpoints of a run that is trained.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// How many of the schedule stay.
    keep: usize,
    schedule: Schedule,
    /// What the best one is best in.
    measure: &'static str,
}

/// What `manifest.yaml` says.
#[derive(Serialize)]
struct List<'a> {
    version: &'a str,
    spec_hash: &'a str,
    checkpoints: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<BestEntry>,
}

#[derive(Serialize)]
struct Entry {
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

impl Shelf {
    /// For a run in `directory`.
    pub(super) fn new(
        directory: &Path,
        keep: usize,
        schedule: Schedule,
        measure: &'static str,
    ) -> Shelf {
        Shelf {
            folder: directory.join(CHECKPOINTS),
            keep,
            schedule,
            measure,
        }
    }

    /// Whether a checkpoint of this iteration would also be there without an interruption.
    pub(super) fn is_scheduled(&self, iteration: u64) -> bool {
        let Schedule {
            every,
            planned,
            epochs,
        } = &self.schedule;
        iteration == *planned
            || epochs.binary_search(&iteration).is_ok()
            || (*every > 0 && iteration > 0 && iteration.is_multiple_of(*every))
    }

    fn path(&self, iteration: u64) -> PathBuf {
        self.folder.join(format!("{iteration:010}{ENDING}"))
    }

    /// Makes the folder, and takes away what a killed process left half written.
    pub(super) fn open(&self) -> Result<(), RunError> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clear_temporaries(&self.folder))
            .map_err(|error| RunError::file("write", &self.folder, error))
    }

    /// The last checkpoint, if there is any.
    pub(super) fn last(&self, directory: &Path) -> Result<Option<Checkpoint>, RunError> {
        let mut all = checkpoints(directory)?;
        let Some((_, path)) = all.pop() else {
            return Ok(None);
        };
        Checkpoint::read(&path).map(Some).map_err(|source| {
            // Only a whole one is worth naming.
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

    /// Puts a checkpoint there, and takes away those that are too old. The new file is whole before any other
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
        let standing = checkpoint.header.standing.as_ref();
        let best = standing.and_then(|standing| standing.best.clone());
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
        let list = List {
            version: &checkpoint.header.version,
            spec_hash: &checkpoint.header.spec_hash,
            checkpoints: kept
                .into_iter()
                .map(|iteration| Entry {
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

    /// Writes the best checkpoint again where a kill came between it and the checkpoint it is a copy of.
    pub(super) fn mend(&self, last: &Checkpoint) -> Result<(), RunError> {
        let standing: Option<&Standing> = last.header.standing.as_ref();
        let best = standing.and_then(|standing| standing.best.as_ref());
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
