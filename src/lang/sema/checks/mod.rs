//! Lints: checks for models that are valid, but probably not what was intended. Each check is one file and
//! one line in [`CHECKS`].

mod decay_range;
mod no_gradient;
mod one_sided_update;
mod same_sides;
mod target_leak;
mod unbounded_trace;
mod unread_trace;
mod unused_modulator;
mod unused_value;
mod zero_coefficient;

use super::model::{DefId, Expr, ExprKind, Model};
use crate::ir::StateId;
use crate::lang::diag::{Code, Diagnostics};
use std::collections::BTreeSet;

/// A lint on a valid model.
pub struct Check {
    /// The code of its diagnostics.
    pub code: Code,
    /// The function that runs it.
    pub run: fn(&Model, &mut Diagnostics),
}

const fn check(code: Code, run: fn(&Model, &mut Diagnostics)) -> Check {
    Check { code, run }
}

/// All lints that need only the model, in the order of their codes.
pub static CHECKS: &[Check] = &[
    check(Code::UnusedModulator, unused_modulator::check),
    check(Code::UnreadTrace, unread_trace::check),
    check(Code::UnboundedTrace, unbounded_trace::check),
    check(Code::UnusedValue, unused_value::check),
    check(Code::DecayRange, decay_range::check),
    check(Code::ZeroCoefficient, zero_coefficient::check),
    check(Code::TargetLeak, target_leak::check),
    check(Code::OneSidedUpdate, one_sided_update::check),
    check(Code::SameSides, same_sides::check),
];

/// Runs all lints. `reached` tells for each parameter whether its gradient can be nonzero.
pub fn run(model: &Model, reached: &[bool], diagnostics: &mut Diagnostics) {
    for check in CHECKS {
        (check.run)(model, diagnostics);
    }
    no_gradient::check(model, reached, diagnostics);
}

/// The definitions that an expression names directly.
fn definitions_in(expr: &Expr) -> Vec<DefId> {
    let mut found = Vec::new();
    expr.walk(&mut |e| {
        if let ExprKind::Definition(id) = e.kind {
            found.push(id);
        }
    });
    found
}

/// The states whose current or next value an expression reads directly.
fn states_in(expr: &Expr) -> BTreeSet<StateId> {
    let mut found = BTreeSet::new();
    expr.walk(&mut |e| {
        if let ExprKind::State(id) | ExprKind::Next(id) = e.kind {
            found.insert(id);
        }
    });
    found
}

/// Returns true if an expression reads the current or next value of a state.
fn reads_state(expr: &Expr, state: StateId) -> bool {
    states_in(expr).contains(&state)
}

/// The definitions that some expressions need in the same step, directly or through others.
fn needed_within_step<'a>(
    model: &'a Model,
    roots: impl Iterator<Item = &'a Expr>,
) -> BTreeSet<DefId> {
    let mut definitions = BTreeSet::new();
    let mut stack: Vec<&Expr> = roots.collect();
    while let Some(expr) = stack.pop() {
        for id in definitions_in(expr) {
            if definitions.insert(id) {
                stack.push(&model.definitions[id.index()].expr);
            }
        }
    }
    definitions
}

/// The definitions and states that some expressions need, directly or through others; a state needs what its
/// update needs.
fn needed_through_time<'a>(
    model: &'a Model,
    roots: impl Iterator<Item = &'a Expr>,
) -> BTreeSet<DefId> {
    let mut definitions = BTreeSet::new();
    let mut states = BTreeSet::new();
    let mut stack: Vec<&Expr> = roots.collect();
    while let Some(expr) = stack.pop() {
        for id in definitions_in(expr) {
            if definitions.insert(id) {
                stack.push(&model.definitions[id.index()].expr);
            }
        }
        for id in states_in(expr) {
            if states.insert(id) {
                stack.extend(model.nexts[id.index()].as_ref());
            }
        }
    }
    definitions
}
