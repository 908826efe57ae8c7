//! The contents of the report of a run.

use super::behaviour::{ablations, has_episodes, observe, Behaviour};
use super::learned::{learned, Learned};
use super::metrics::{read, Series};
use super::Experiment;
use crate::lab::report::{Options, ReportError};
use crate::lab::run::{self, Manifest, OpenedRun, RunError, METRICS};
use std::path::{Path, PathBuf};

/// A run.
pub struct RunReport {
    /// The directory, as it was given.
    pub directory: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// The experiment.
    pub experiment: Experiment,
    /// The metrics.
    pub series: Series,
    /// The rules of its traces with the numbers of a checkpoint.
    pub learned: Vec<Learned>,
    /// The behaviour of its network, or the reason why it is unknown.
    pub behaviour: Result<Behaviour, String>,
}

/// The number of passes over the episodes.
pub fn jobs(opened: &OpenedRun, options: &Options) -> usize {
    match opened.program() {
        Ok(program) if has_episodes(program) => match options.ablations {
            true => 1 + ablations(program).len(),
            false => 1,
        },
        Ok(_) | Err(_) => 0,
    }
}

/// Gathers the contents of a report; the directory is not changed.
///
/// # Errors
/// [`ReportError`]. Missing parts are left out, and the report says so.
pub fn gather(
    opened: OpenedRun,
    options: &Options,
    tell: &mut dyn FnMut(&str),
) -> Result<RunReport, ReportError> {
    let series = read(&opened.directory.join(METRICS))?;
    let manifest = &opened.manifest;
    let stem = Path::new(&manifest.spec).file_stem().unwrap_or_default();
    let stem = stem.to_string_lossy();
    let experiment = Experiment::of(&opened.compilation, &manifest.overrides, &stem);
    let learned = rules(&opened, options)?;
    let behaviour = behaviour(&opened, options, tell)?;
    Ok(RunReport {
        directory: opened.directory,
        manifest: opened.manifest,
        experiment,
        series,
        learned,
        behaviour,
    })
}

/// The rules of traces with the numbers of the checkpoint; empty if there is none.
fn rules(opened: &OpenedRun, options: &Options) -> Result<Vec<Learned>, ReportError> {
    let Ok(program) = opened.program() else {
        return Ok(Vec::new());
    };
    if run::checkpoints(&opened.directory)?.is_empty() {
        return Ok(Vec::new());
    }
    let parameters = opened.parameters(&opened.checkpoint(options.checkpoint)?)?;
    let model = &program.model;
    Ok(learned(model, &|id| {
        let path = &model.params[id.index()].path;
        let mut slots = program.step.params.iter();
        let slot = slots.position(|slot| slot.path == *path)?;
        match parameters.get(slot)?.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }))
}

/// The behaviour of the network of a run, or the reason why it is unknown: it is not trained yet, or a
/// language model.
///
/// # Errors
/// Fails if the network exists and cannot be run.
pub fn behaviour(
    opened: &OpenedRun,
    options: &Options,
    tell: &mut dyn FnMut(&str),
) -> Result<Result<Behaviour, String>, ReportError> {
    let Ok(program) = opened.program() else {
        let why =
            "The spec of the run has errors in this version of bpmc, so its network cannot run.";
        return Ok(Err(why.to_owned()));
    };
    if !has_episodes(program) {
        let why = "A language model reads one text and has no episodes: there are no rewards to align a modulator \
                   with, and no ablations.";
        return Ok(Err(why.to_owned()));
    }
    if run::checkpoints(&opened.directory)?.is_empty() {
        let why = "The run has no checkpoint yet, so there is no trained network.";
        return Ok(Err(why.to_owned()));
    }
    Ok(Ok(observe(opened, options, tell)?))
}

/// Opens the run in a directory; `None` if there is none.
///
/// # Errors
/// Fails if a run exists and cannot be read.
pub fn open(directory: &Path) -> Result<Option<OpenedRun>, ReportError> {
    match run::open(directory) {
        Ok(opened) => Ok(Some(opened)),
        Err(RunError::NothingThere(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
