//! Lint W0104: traces that can grow without bound.

use super::reads_state;
use crate::ir::{Binary, StateId, Unary};
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{Expr, ExprKind, Model};

/// Checks that a trace that adds to itself has a clip, a decay or a forgetting term, unless every read clips
/// it.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    for (k, slot) in model.states.iter().enumerate() {
        let id = StateId(k as u32);
        let (true, Some(next), Some(span)) = (slot.trace, &model.nexts[k], slot.span) else {
            continue;
        };
        if !accumulates(next, id) || only_read_clipped(model, id) {
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

/// Returns true if the value is the state plus terms that do not contain it.
fn accumulates(next: &Expr, state: StateId) -> bool {
    match &next.kind {
        ExprKind::Convert(x) | ExprKind::Stop(x) => accumulates(x, state),
        // One branch is usually the unchanged state, for connections outside a region or without an event.
        ExprKind::Select(_, a, b) => accumulates(a, state) || accumulates(b, state),
        ExprKind::Binary(Binary::Add | Binary::Sub, ..) => {
            let mut terms = Vec::new();
            sum_terms(next, false, &mut terms);
            let bare = |term: &Expr| is_state(term, state);
            terms.len() > 1
                && terms.iter().any(|(term, negative)| !negative && bare(term))
                && !terms
                    .iter()
                    .any(|(term, _)| !bare(term) && reads_state(term, state))
        }
        _ => false,
    }
}

fn sum_terms<'a>(expr: &'a Expr, negative: bool, terms: &mut Vec<(&'a Expr, bool)>) {
    match &expr.kind {
        ExprKind::Convert(x) => sum_terms(x, negative, terms),
        ExprKind::Unary(Unary::Neg, x) => sum_terms(x, !negative, terms),
        ExprKind::Binary(Binary::Add, a, b) => {
            sum_terms(a, negative, terms);
            sum_terms(b, negative, terms);
        }
        ExprKind::Binary(Binary::Sub, a, b) => {
            sum_terms(a, negative, terms);
            sum_terms(b, !negative, terms);
        }
        _ => terms.push((expr, negative)),
    }
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
