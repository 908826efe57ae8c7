//! Reports: one page of a run or a sweep that needs no other file, no network and no scripts.
//!
//! ```text
//! directory ─gather→ RunReport, SweepReport ─illustrate→ Figures ─page→ Report (a page, and figures as SVG and PNG)
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`gather`] | all that is said: equations, differences from the paper, metrics, what the network does in fresh episodes |
//! | [`illustrate`] | which figures show it |
//! | [`figures`] | how each kind of figure is drawn, on both back ends |
//! | [`page`] | the page |
//!
//! A report changes nothing in the directory, and the same directory gives the same bytes.

pub mod figures;
pub mod gather;
pub mod illustrate;
pub mod page;

use crate::lab::evaluation::AblationError;
use crate::lab::run::{RunError, Which};
use crate::lab::sweep::{Directory, SweepError};
use crate::learn::trainer::TrainError;
use crate::step::InternalFault;
use figures::{Figure, FigureError};
use std::path::{Path, PathBuf};

/// What a report is to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Fresh episodes that a network is run on.
    pub episodes: usize,
    /// Whether it is also run with parts taken away.
    pub ablations: bool,
    /// Which checkpoint of a run.
    pub checkpoint: Which,
    /// The group of a sweep that the others are tested against; by default the first.
    pub baseline: Option<String>,
    /// Whether the curves of a sweep also hold what unfinished cells have.
    pub partial: bool,
    /// Threads that share the episodes; the numbers do not depend on them.
    pub threads: usize,
}

/// Where the making of a report is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Passes over the episodes that are done.
    pub done: usize,
    /// Passes over the episodes in all.
    pub total: usize,
    /// What comes next.
    pub doing: String,
}

/// A finished report.
#[derive(Debug)]
pub struct Report {
    /// The page, as text that is HTML and XML.
    pub page: String,
    /// All its figures.
    pub figures: Vec<Figure>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The directory is something else, or not there.
    #[error("{} is neither a run nor a sweep: it has no `run.yaml` and no `plan.json`", .0.display())]
    Neither(PathBuf),
    /// A line of the metrics is damaged.
    #[error("the metrics {} are damaged, line {line}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A file.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The sweep has no such group.
    #[error("the sweep has no group `{name}`; there are {}", known.join(", "))]
    NoGroup {
        /// The name.
        name: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The sweep.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// Its episodes.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// An ablation.
    #[error(transparent)]
    Ablation(#[from] AblationError),
    /// A figure.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// The compiler.
    #[error(transparent)]
    Internal(#[from] InternalFault),
}

impl ReportError {
    fn file(verb: &'static str, path: &Path, source: std::io::Error) -> ReportError {
        ReportError::File {
            verb,
            path: path.to_owned(),
            source,
        }
    }
}

/// Makes the report of the run or sweep in `directory`. `tell` is told where it is.
///
/// # Errors
/// [`ReportError`]. The directory stays as it is.
pub fn make(
    directory: &Path,
    options: &Options,
    tell: &mut dyn FnMut(Stage),
) -> Result<Report, ReportError> {
    let mut done = 0;
    let mut counted = |total: usize, doing: &str| {
        tell(Stage {
            done,
            total,
            doing: doing.to_owned(),
        });
        done += 1;
    };
    if let Some(opened) = gather::run::open(directory)? {
        let total = gather::run::jobs(&opened, options);
        let run = gather::run::gather(opened, options, &mut |doing| counted(total, doing))?;
        let illustrated = illustrate::run(&run);
        let page = page::run(&run, &illustrated, options)?;
        return Ok(Report {
            page,
            figures: distinct(illustrated.into_figures()),
        });
    }
    let opened = match Directory::open(directory) {
        Err(SweepError::NothingThere(path)) => return Err(ReportError::Neither(path)),
        opened => opened?,
    };
    let examples = gather::sweep::examples(&opened)?;
    let total = gather::sweep::work(&examples, options);
    let mut each = |doing: &str| counted(total, doing);
    let sweep = gather::sweep::gather(&opened, examples, options, &mut each)?;
    let illustrated = illustrate::sweep(&sweep);
    let page = page::sweep(&sweep, &illustrated, options)?;
    Ok(Report {
        page,
        figures: distinct(illustrated.into_figures()),
    })
}

/// Figures whose names are there once: a later one of the same name gets a number.
fn distinct(mut figures: Vec<Figure>) -> Vec<Figure> {
    let mut names: Vec<String> = Vec::new();
    for figure in &mut figures {
        let own = figure.name.clone();
        let mut number = 2;
        while names.contains(&figure.name) {
            figure.name = format!("{own}-{number}");
            number += 1;
        }
        names.push(figure.name.clone());
    }
    figures
}
