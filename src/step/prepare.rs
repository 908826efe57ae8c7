//! The preparation of a step graph: its optimized form and its adjoint.

use super::autodiff::{differentiate, Options};
use super::fault::{verified, InternalFault};
use super::horizon::Horizon;
use super::passes::{optimise, optimise_through, rewrite_step, Applied, Form, Pass, Selection};
use super::stopwatch::{StageTime, Stopwatch};
use crate::ir::{Graph, GraphKind};
use crate::lang::sema::Model;
use crate::program::Choices;

/// A spec without errors.
pub struct Compiled {
    /// The analysed spec.
    pub model: Model,
    /// One step of it.
    pub step: Graph,
}

/// The adjoint of a step, verified.
///
/// # Errors
/// For faults of the compiler itself.
pub fn adjoint(step: &Graph, options: Options) -> Result<Graph, InternalFault> {
    let adjoint = differentiate(step, options);
    verified("autodiff", &adjoint, GraphKind::Adjoint)?;
    Ok(adjoint)
}

/// A step and its adjoint after all passes.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The step.
    pub step: Graph,
    /// Its adjoint.
    pub adjoint: Graph,
    /// The passes over programs that are to run.
    pub choices: Choices,
    /// The form of each trace with the reason; empty where no pass chose one.
    pub forms: Vec<Form>,
    /// The work of each pass.
    pub passes: Vec<Applied>,
    /// The time of each stage.
    pub stages: Vec<StageTime>,
}

/// The selected passes over a step, its adjoint, and the selected passes over both, up to and with the pass `last` where one
/// is given. Only where an episode's length is known may passes give the step other states than the spec has.
///
/// # Errors
/// For faults of the compiler itself.
pub fn prepare_through(
    step: &Graph,
    options: Options,
    selection: &Selection,
    horizon: Horizon,
    last: Option<&Pass>,
) -> Result<Prepared, InternalFault> {
    let mut watch = Stopwatch::start();
    let rewritten = rewrite_step(step, horizon, selection, last)?;
    watch.lap("passes on the step");
    let backward = adjoint(&rewritten.step, options)?;
    watch.lap("autodiff");
    let (step, rest) = (&rewritten.step, &rewritten.rest);
    let optimised = match last {
        Some(last) => optimise_through(step, Some(&backward), rest, last)?,
        None => optimise(step, Some(&backward), rest)?,
    };
    watch.lap("passes");
    Ok(Prepared {
        step: optimised.step,
        adjoint: optimised.adjoint.unwrap_or(backward),
        choices: optimised.choices,
        forms: rewritten.forms,
        passes: [rewritten.report, optimised.report].concat(),
        stages: watch.stages,
    })
}
