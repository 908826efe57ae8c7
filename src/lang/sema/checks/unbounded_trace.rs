//! Lint W0104: traces that can grow without bound.

use super::{definitions_in, reads_state};
use crate::ir::{Binary, Draw, StateId, Unary};
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{DefKind, Definition, Expr, ExprKind, Model, Type};
use std::cell::Cell;
use std::collections::BTreeSet;

/// Checks that a trace that adds to itself has a clip, a decay or a forgetting term, unless every read clips
/// it.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    for (k, slot) in model.states.iter().enumerate() {
        let id = StateId(k as u32);
        let (true, Some(next), Some(span)) = (slot.trace, &model.nexts[k], slot.span) else {
            continue;
        };
        let names = Names {
            model,
            left: Cell::new(MOST),
        };
        if !accumulates(&names, next, id) || names.left.get() == 0 || only_read_clipped(model, id) {
            continue;
        }
        diagnostics.push(
            Diagnostic::new(
                Code::UnboundedTrace,
                span,
                format!("trace `{}` can grow without bound", slot.path),
            )
            .with_secondary(next.span, "nothing here limits it")
            .with_help(
                "bound it: `clip(..., -1, 1)`, a decay `(1 - eta) * hebb`, or read it as `clip(hebb, -1, 1)`",
            ),
        );
    }
}

/// Returns true if the value is the state, times 1 or more, plus terms that do not contain it.
fn accumulates<'a>(names: &Names<'a>, next: &'a Expr, state: StateId) -> bool {
    let next = names.behind(next);
    match &next.kind {
        // One branch is usually the unchanged state, for connections outside a region or without an event.
        ExprKind::Select(_, a, b) => accumulates(names, a, state) || accumulates(names, b, state),
        _ => {
            let mut terms = Vec::new();
            sum_terms(names, next, 1.0, &mut terms);
            let (mut gain, mut exact, mut others) = (0.0, true, false);
            for (term, sign) in terms {
                match gain_of(names, term, state) {
                    Some(factor) => {
                        gain += sign * factor;
                        exact &= factor == 1.0;
                    }
                    None if contains(names, term, state) => return false,
                    None => others = true,
                }
            }
            // A decay whose rate starts at 0 has a gain of 1 as well; the rate is there to be learned.
            gain > 1.0 || (others && exact && gain == 1.0)
        }
    }
}

/// The local values of bundles, by their names. A name that stands twice is looked through twice, so the number of looks
/// is limited: values that double would take forever.
struct Names<'a> {
    model: &'a Model,
    left: Cell<usize>,
}

/// The most names and operations that are looked at for one trace.
const MOST: usize = 256;

impl<'a> Names<'a> {
    /// The expression behind names of the bundle's local values and conversions; the expression itself once the limit is
    /// reached.
    fn behind(&self, mut expr: &'a Expr) -> &'a Expr {
        loop {
            let Some(left) = self.left.get().checked_sub(1) else {
                return expr;
            };
            self.left.set(left);
            expr = match &expr.kind {
                ExprKind::Convert(x) | ExprKind::Stop(x) => x,
                ExprKind::Definition(id) => match &self.model.definitions[id.index()] {
                    local if is_local(local) => &local.expr,
                    _ => return expr,
                },
                _ => return expr,
            }
        }
    }
}

/// Returns true for values of connections. The activity of neurons is not looked through: it is bounded by their own function.
pub(super) fn is_local(definition: &Definition) -> bool {
    definition.kind == DefKind::Value && matches!(definition.expr.ty, Type::Element { .. })
}

/// Adds the terms of a sum, each with its sign.
fn sum_terms<'a>(names: &Names<'a>, expr: &'a Expr, sign: f64, terms: &mut Vec<(&'a Expr, f64)>) {
    let expr = names.behind(expr);
    match &expr.kind {
        ExprKind::Unary(Unary::Neg, x) => sum_terms(names, x, -sign, terms),
        ExprKind::Binary(Binary::Add, a, b) => {
            sum_terms(names, a, sign, terms);
            sum_terms(names, b, sign, terms);
        }
        ExprKind::Binary(Binary::Sub, a, b) => {
            sum_terms(names, a, sign, terms);
            sum_terms(names, b, -sign, terms);
        }
        _ => terms.push((expr, sign)),
    }
}

/// The factor of a term that is the state times numbers, trained ones at their first values; `None` for other terms.
fn gain_of<'a>(names: &Names<'a>, term: &'a Expr, state: StateId) -> Option<f64> {
    let term = names.behind(term);
    match &term.kind {
        ExprKind::State(id) => (*id == state).then_some(1.0),
        ExprKind::Binary(Binary::Mul, a, b) => match gain_of(names, a, state) {
            Some(gain) => Some(gain * number(names, b)?),
            None => Some(number(names, a)? * gain_of(names, b, state)?),
        },
        ExprKind::Binary(Binary::Div, a, b) => Some(gain_of(names, a, state)? / number(names, b)?),
        _ => None,
    }
}

/// The value of an expression of numbers and of parameters that start at one number.
fn number<'a>(names: &Names<'a>, expr: &'a Expr) -> Option<f64> {
    let expr = names.behind(expr);
    match &expr.kind {
        ExprKind::Number(value) => Some(*value),
        ExprKind::Param(id) => match names.model.params[id.index()].init {
            Draw::Constant(value) => Some(value),
            _ => None,
        },
        ExprKind::Unary(Unary::Neg, x) => Some(-number(names, x)?),
        ExprKind::Binary(f, a, b) => {
            let (a, b) = (number(names, a)?, number(names, b)?);
            match f {
                Binary::Add => Some(a + b),
                Binary::Sub => Some(a - b),
                Binary::Mul => Some(a * b),
                Binary::Div => Some(a / b),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns true if an expression reads the state, also by the names of local values.
fn contains<'a>(names: &Names<'a>, expr: &'a Expr, state: StateId) -> bool {
    let mut stack = vec![expr];
    let mut seen = BTreeSet::new();
    while let Some(expr) = stack.pop() {
        if reads_state(expr, state) {
            return true;
        }
        for id in definitions_in(expr) {
            let definition = &names.model.definitions[id.index()];
            if is_local(definition) && seen.insert(id.index()) {
                let Some(left) = names.left.get().checked_sub(1) else {
                    return true;
                };
                names.left.set(left);
                stack.push(&definition.expr);
            }
        }
    }
    false
}

fn is_state(expr: &Expr, state: StateId) -> bool {
    match &expr.kind {
        ExprKind::State(id) => *id == state,
        ExprKind::Convert(x) => is_state(x, state),
        _ => false,
    }
}

/// Returns true if everything but the trace's own update reads it inside a `clip`.
fn only_read_clipped(model: &Model, state: StateId) -> bool {
    let others = model
        .nexts
        .iter()
        .enumerate()
        .filter(|(k, _)| *k != state.index())
        .filter_map(|(_, next)| next.as_ref());
    let (mut reads, mut clipped) = (0, 0);
    for expr in model.definitions.iter().map(|d| &d.expr).chain(others) {
        expr.walk(&mut |e| match &e.kind {
            ExprKind::State(id) | ExprKind::Next(id) if *id == state => reads += 1,
            ExprKind::Clip(x, ..) if is_state(x, state) => clipped += 1,
            _ => {}
        });
    }
    reads > 0 && reads == clipped
}
