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
//! | [`parts`] | parts of it by themselves, for notebooks |
//!
//! A report changes nothing in the directory, and the same directory gives the same bytes.

pub mod figures;
pub mod gather;
pub mod illustrate;
pub mod page;
pub mod parts;

use crate::lab::evaluation::AblationError;
use crate::lab::run::{RunError, Which};
use crate::lab::sweep::{Directory, SweepError};
use crate::learn::trainer::TrainError;
use crate::step::InternalFault;
use figures::{Figure, FigureError};
use gather::compare::Comparison;
use gather::learned::Learned;
use std::path::{Path, PathBuf};

/// The options of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The number of fresh episodes.
    pub episodes: usize,
    /// True if the network also runs with ablations.
    pub ablations: bool,
    /// The checkpoint of a run.
    pub checkpoint: Which,
    /// The group of a sweep that other groups are tested against; by default the first.
    pub baseline: Option<String>,
    /// True if the curves of a sweep include unfinished cells.
    pub partial: bool,
    /// The number of threads that share the episodes; the results do not depend on it.
    pub threads: usize,
}

/// The progress of making a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The number of finished passes over the episodes.
    pub done: usize,
    /// The number of all passes over the episodes.
    pub total: usize,
    /// The next task, in words.
    pub doing: String,
}

/// A finished report.
#[derive(Debug)]
pub struct Report {
    /// The page, as text that is both HTML and XML.
    pub page: String,
    /// All figures.
    pub figures: Vec<Figure>,
    /// The rules of traces of a run with the numbers that training found, each in one line.
    pub rules: Vec<String>,
}

/// The reason why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The directory is missing, or neither a run nor a sweep.
    #[error("{} is neither a run nor a sweep: it has no `run.yaml` and no `plan.json`", .0.display())]
    Neither(PathBuf),
    /// A line of the metrics is damaged.
    #[error("the metrics {} are damaged, line {line}: {why}", path.display())]
    Damaged {
        /// The path of the metrics.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The error in the line.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// The verb for the operation that failed.
        verb: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The sweep has no such group.
    #[error("the sweep has no group `{name}`; there are {}", known.join(", "))]
    NoGroup {
        /// The name asked for.
        name: String,
        /// The groups of the sweep.
        known: Vec<String>,
    },
    /// The runs have no such metric.
    #[error("no run has the metric `{name}`; there are {}", known.join(", "))]
    NoMetric {
        /// The name asked for.
        name: String,
        /// The metrics of the runs.
        known: Vec<String>,
    },
    /// The run could not be opened.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The sweep could not be opened.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The episodes could not be run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// An ablation failed.
    #[error(transparent)]
    Ablation(#[from] AblationError),
    /// A figure could not be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// The compiler failed.
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

/// Makes the report of the run or sweep in `directory`; `tell` is told the progress.
///
/// # Errors
/// [`ReportError`]. The directory is not changed.
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
            rules: run.learned.iter().map(Learned::plain).collect(),
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
        rules: Vec::new(),
    })
}

/// The page of a comparison, with the curves of all runs over each other.
///
/// # Errors
/// Fails if a figure cannot be drawn.
pub fn comparison(compared: &Comparison) -> Result<String, ReportError> {
    let curves = illustrate::curves::of_runs(compared);
    page::comparison(compared, &curves)
}

/// Makes the names of figures unique: a later figure of the same name gets a number.
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
