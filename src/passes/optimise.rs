//! Runs the passes, and checks each.

use super::joint::{join, part, Side};
use super::rewrite::Budget;
use super::selection::{choose, none};
use super::{Pass, Run, Selection, PIPELINE};
use crate::backend::fused::Choices;
use crate::driver::InternalFault;
use crate::ir::{verify, Graph, GraphKind};
use std::time::Instant;

/// What a pass did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// The pass.
    pub pass: &'static str,
    /// Its single rewrites; 1 for a choice of the kernels.
    pub rewrites: usize,
    /// How long it took, with its check.
    pub seconds: f64,
    /// Values of step and adjoint before it, those that both have counted once.
    pub before: usize,
    /// After it.
    pub after: usize,
}

/// A step and its adjoint after the passes.
#[derive(Clone, Debug)]
pub struct Optimised {
    /// The step.
    pub step: Graph,
    /// Its adjoint, where there was one.
    pub adjoint: Option<Graph>,
    /// What the kernel passes chose.
    pub choices: Choices,
    /// What each pass that ran did, in their order.
    pub report: Vec<Applied>,
}

/// Runs the selected passes over a step and its adjoint.
///
/// With an adjoint, what only it needs is left out of the step and the other way round. Markers for the
/// differentiation are taken away: a graph is differentiated before, not after.
///
/// # Errors
/// Where a pass gives a graph that breaks the rules of the IR, or has other slots or results than before: a
/// fault of the compiler.
pub fn optimise(
    step: &Graph,
    adjoint: Option<&Graph>,
    selection: &Selection,
) -> Result<Optimised, InternalFault> {
    run(step, adjoint, selection, PIPELINE)
}

/// As [`optimise`], up to and with `last`.
///
/// # Errors
/// As [`optimise`].
pub fn optimise_through(
    step: &Graph,
    adjoint: Option<&Graph>,
    selection: &Selection,
    last: &Pass,
) -> Result<Optimised, InternalFault> {
    let place = PIPELINE.iter().position(|pass| pass.name == last.name);
    let count = place.map_or(PIPELINE.len(), |place| place + 1);
    run(step, adjoint, selection, &PIPELINE[..count])
}

fn run(
    step: &Graph,
    adjoint: Option<&Graph>,
    selection: &Selection,
    passes: &[Pass],
) -> Result<Optimised, InternalFault> {
    let mut out = Optimised {
        step: step.clone(),
        adjoint: adjoint.cloned(),
        choices: none(),
        report: Vec::new(),
    };
    let fault = |stage, faults| InternalFault { stage, faults };
    let mut joint =
        join(step, adjoint).map_err(|error| fault("passes", vec![error.to_string()]))?;
    let mut left = selection.stop_after();
    for pass in passes.iter().filter(|pass| selection.enabled(pass.name)) {
        let started = Instant::now();
        let before = joint.len();
        let mut budget = Budget::new(left);
        match pass.run {
            Run::Graph(rewrite) => {
                let shapes =
                    |error: crate::ir::ShapeError| fault(pass.name, vec![error.to_string()]);
                let rewritten = rewrite(&joint, &mut budget).map_err(shapes)?;
                if budget.spent() > 0 {
                    joint = rewritten;
                    out.step = part(&joint, Side::Step).map_err(shapes)?;
                    let mut faults = broken(step, &out.step, GraphKind::Step);
                    if let Some(adjoint) = adjoint {
                        let rewritten = part(&joint, Side::Adjoint).map_err(shapes)?;
                        faults.extend(broken(adjoint, &rewritten, GraphKind::Adjoint));
                        out.adjoint = Some(rewritten);
                    }
                    if !faults.is_empty() {
                        return Err(fault(pass.name, faults));
                    }
                }
            }
            Run::Kernels(kernels) => {
                if budget.allows() {
                    choose(&mut out.choices, kernels);
                    budget.spend();
                }
            }
        }
        left = left.map(|left| left.saturating_sub(budget.spent()));
        out.report.push(Applied {
            pass: pass.name,
            rewrites: budget.spent(),
            seconds: started.elapsed().as_secs_f64(),
            before,
            after: joint.len(),
        });
    }
    Ok(out)
}

/// What is wrong with a graph that a pass made of another.
fn broken(before: &Graph, after: &Graph, kind: GraphKind) -> Vec<String> {
    let mut faults = verify(after, kind);
    if interface(before) != interface(after) {
        faults.push(format!(
            "other slots or results of the {kind:?} than before"
        ));
    }
    faults
}

/// The slots of a graph and its results, as printed.
fn interface(graph: &Graph) -> Vec<String> {
    let slots = graph.without_values().to_string();
    let results = graph.results().iter().map(|(r, _)| graph.result_text(*r));
    std::iter::once(slots).chain(results).collect()
}
