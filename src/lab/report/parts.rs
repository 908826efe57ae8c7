//! Parts of a page by themselves, for a notebook: the equations of a network, the curves of a run.

use super::gather::metrics::read;
use super::gather::Experiment;
use super::illustrate::curves;
use super::page::{equations, framed};
use super::ReportError;
use crate::lab::run::{open_apart, METRICS};
use crate::lang::sema::Model;
use std::path::Path;

/// The equations of a network.
pub fn network(model: &Model) -> String {
    framed(|html| {
        equations(&Experiment::of_model(model), html);
        Ok::<(), std::convert::Infallible>(())
    })
    .unwrap_or_else(|never| match never {})
}

/// The curves of the run in a directory, and the equations of its network.
///
/// # Errors
/// [`ReportError`]; the directory is not changed.
pub fn run(directory: &Path) -> Result<String, ReportError> {
    let opened = open_apart(directory)?;
    let series = read(&directory.join(METRICS))?;
    framed(|html| {
        html.figures(curves::of_run(&series).iter())?;
        if let Some(program) = &opened.compilation.program {
            equations(&Experiment::of_model(&program.model), html);
        }
        Ok(())
    })
}
