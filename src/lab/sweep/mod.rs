//! Sweeps: many runs of several specs, with different settings and seeds.
//!
//! ```text
//! sweep.yaml ─file→ SweepFile ─plan→ Plan (cells) ─local, slurm→ cells/NAME (run directories) ─collect→ statistics
//! ```
//!
//! A *cell* is one run: a spec, settings, a seed. Its name follows from these, and so does its directory; the same
//! sweep can therefore be run again, on another machine or under another engine, and only what is missing is
//! done. Each cell is trained by a process of its own, so that one that fails takes no other with it.
//!
//! | in the directory of a sweep | what |
//! |---|---|
//! | `plan.json` | the [`Plan`] |
//! | `specs/LABEL.bpm` | each spec with its imports, as it was when the sweep was started |
//! | `cells/NAME/` | the run directory of a cell; see [`crate::lab::run`] |
//! | `cells/NAME/stderr.log` | what its process said |
//! | `cells/NAME/failure.json` | why it failed, where it did: a [`Failure`] |
//! | `slurm/` | job script and logs, where it runs under Slurm |

mod cell;
pub mod collect;
mod directory;
mod file;
mod length;
pub mod local;
mod plan;
pub mod slurm;
mod state;
mod vary;

pub use cell::{arguments, Failure, Outcome, Training};
pub use directory::{Directory, CELLS, PLAN, SPECS};
pub use file::{Assignment, Engine, SlurmSettings, SpecEntry, SweepFile};
pub use plan::{Cell, Changes, Group, Plan, PlanError, Refusal};
pub use state::{state, CellState, State};
pub use vary::{Combination, Random, Range, Vary};

use std::path::PathBuf;

/// A problem in a sweep file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the file.
    pub path: PathBuf,
    /// The line and column, counted from 1.
    pub place: Option<(usize, usize)>,
    /// The message: one sentence without a full stop.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// The reason why a sweep could not continue.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Another process works in the directory.
    #[error(
        "another `bpmc sweep run` works on this sweep: {0}; wait for it, or stop it with Ctrl-C"
    )]
    Busy(crate::lab::lock::LockError),
    /// A file or directory of the sweep could not be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// The verb for the operation that failed.
        verb: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The directory has no sweep.
    #[error("there is no sweep in {}: it has no `plan.json`", .0.display())]
    NothingThere(PathBuf),
    /// The directory holds another sweep.
    #[error("{} holds the sweep `{found}`; choose another directory with `--out`", path.display())]
    OtherSweep {
        /// The directory.
        path: PathBuf,
        /// The name of the existing sweep.
        found: String,
    },
    /// Cells have read another text.
    #[error("the sweep in {} reads the text {then}, not {now}; choose another directory with `--out`", path.display())]
    OtherText {
        /// The directory of the sweep.
        path: PathBuf,
        /// The directory of the cells' text.
        then: String,
        /// The directory of the plan's text.
        now: String,
    },
    /// Cells ran with another spec, other settings or another version.
    #[error("{} of the sweep in {} were run with another spec, other settings or another version of bpmc: {}; choose another directory with `--out`, or remove these directories to run them anew", count(.cells.len(), "cell"), path.display(), listed(.cells))]
    Different {
        /// The directory of the sweep.
        path: PathBuf,
        /// The names of the cells, each with the difference.
        cells: Vec<String>,
    },
    /// The plan has no such cell.
    #[error("the sweep in {} has no cell `{name}`", path.display())]
    NoCell {
        /// The directory.
        path: PathBuf,
        /// The name asked for.
        name: String,
    },
    /// Slurm is missing, or refused the job.
    #[error("{0}")]
    Slurm(String),
}

impl SweepError {
    fn file(verb: &'static str, path: &std::path::Path, source: std::io::Error) -> SweepError {
        SweepError::File {
            verb,
            path: path.to_owned(),
            source,
        }
    }
}

/// A number with its noun: "1 cell", "2 cells".
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The first few items of a list, in words.
fn listed(all: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut text = all[..all.len().min(SHOWN)].join(", ");
    if all.len() > SHOWN {
        text.push_str(&format!(" and {} more", all.len() - SHOWN));
    }
    text
}
