//! Runs the passes, and checks each.

use super::joint::{join, part, Side};
use super::rewrite::Budget;
use super::{Form, Pass, Run, Selection};
use crate::ir::{verify, Graph, GraphKind, InternalFault};
use crate::program::Choices;
use crate::step::Horizon;
use std::time::Instant;

/// The work of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// The pass.
    pub pass: &'static str,
    /// Its single rewrites; 1 for a pass over programs.
    pub rewrites: usize,
    /// The time, with its check.
    pub seconds: f64,
    /// Values of step and adjoint before it, those that both have counted once.
    pub before: usize,
    /// After it.
    pub after: usize,
}

impl Applied {
    /// Adds what the same pass did to another stage.
    pub fn absorb(&mut self, other: &Applied) {
        self.rewrites += other.rewrites;
        self.seconds += other.seconds;
        self.before += other.before;
        self.after += other.after;
    }
}

/// A step and its adjoint after the passes.
#[derive(Clone, Debug)]
pub struct Optimised {
    /// The step.
    pub step: Graph,
    /// Its adjoint, where there was one.
    pub adjoint: Option<Graph>,
    /// The passes over programs that are to run.
    pub choices: Choices,
    /// The work of each pass that ran, in their order.
    pub report: Vec<Applied>,
}

/// A step after the passes that come before differentiation.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The step.
    pub step: Graph,
    /// The form of each of the step's original traces; empty where no pass that chooses it ran.
    pub forms: Vec<Form>,
    /// The work of each pass that ran, in their order.
    pub report: Vec<Applied>,
    /// The remaining selection: the same passes, and fewer rewrites where they are limited.
    pub rest: Selection,
}

/// Runs the selected passes that rewrite a step before it is differentiated, up to and with `last` where one is given. They
/// may change which states there are where `horizon` allows it.
///
/// # Errors
/// Where a pass gives a graph that breaks the rules of the IR, or has other slots than states, or other outputs, than
/// before: a fault of the compiler.
pub fn rewrite_step(
    step: &Graph,
    horizon: Horizon,
    selection: &Selection,
    last: Option<&Pass>,
) -> Result<Rewritten, InternalFault> {
    let mut out = Rewritten {
        step: step.clone(),
        forms: Vec::new(),
        report: Vec::new(),
        rest: *selection,
    };
    let through = through(selection, last);
    for pass in through.iter().filter(|pass| selection.enabled(pass.name)) {
        let Run::Step(rewrite) = pass.run else {
            continue;
        };
        let started = Instant::now();
        let before = out.step.len();
        let mut budget = Budget::new(out.rest.stop_after());
        let fault = |faults| InternalFault {
            stage: pass.name,
            faults,
        };
        let (rewritten, forms) =
            rewrite(&out.step, horizon, &mut budget).map_err(|e| fault(vec![e.to_string()]))?;
        out.forms.extend(forms);
        if budget.spent() > 0 {
            let mut faults = verify(&rewritten, GraphKind::Step);
            if outside(&out.step) != outside(&rewritten) {
                faults.push("other slots or outputs of the step than before".to_owned());
            }
            if !faults.is_empty() {
                return Err(fault(faults));
            }
            out.step = rewritten;
        }
        if let Some(left) = out.rest.stop_after() {
            out.rest = out.rest.stopping_after(left.saturating_sub(budget.spent()));
        }
        out.report.push(Applied {
            pass: pass.name,
            rewrites: budget.spent(),
            seconds: started.elapsed().as_secs_f64(),
            before,
            after: out.step.len(),
        });
    }
    Ok(out)
}

/// The passes to select from, up to and with `last` where one is given.
fn through(selection: &Selection, last: Option<&Pass>) -> &'static [Pass] {
    let all = selection.pipeline();
    let place = last.and_then(|last| all.iter().position(|pass| pass.name == last.name));
    place.map_or(all, |place| &all[..=place])
}

/// The interface of a step, whatever its states are.
fn outside(step: &Graph) -> Vec<String> {
    let mut slots = step.without_values();
    slots.states.clear();
    interface(&slots)
}

/// Runs the selected passes over a step and its adjoint, those that come before differentiation left out.
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
    run(step, adjoint, selection, through(selection, None))
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
    run(step, adjoint, selection, through(selection, Some(last)))
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
        choices: Choices::none(),
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
            Run::Step(_) => continue,
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
                    out.choices = out.choices.with(kernels);
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

/// The fault of a graph that a pass made of another.
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
