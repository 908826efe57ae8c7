//! Lint W0106: decay rates that start outside 0 to 1.

use super::reads_state;
use crate::ir::{Binary, Draw, StateId};
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{Expr, ExprKind, Model};

/// Checks that in `(1 - eta) * trace`, `eta` starts between 0 and 1.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    for (k, next) in model.nexts.iter().enumerate() {
        let Some(next) = next else { continue };
        let id = StateId(k as u32);
        next.walk(&mut |e| {
            let ExprKind::Binary(Binary::Mul, a, b) = &e.kind else {
                return;
            };
            for (factor, other) in [(a, b), (b, a)] {
                let Some((rate, low, high)) = decay_rate(model, factor) else {
                    continue;
                };
                if (low >= 0.0 && high <= 1.0) || !reads_state(other, id) {
                    continue;
                }
                let start = if low == high {
                    format!("at {low}")
                } else {
                    format!("between {low} and {high}")
                };
                diagnostics.push(
                    Diagnostic::new(
                        Code::DecayRange,
                        rate.span,
                        format!(
                            "this decay rate of `{}` starts {start}, outside [0, 1]",
                            model.states[k].path
                        ),
                    )
                    .with_help(
                        "below 0 the trace grows without bound, above 1 it changes sign every step",
                    ),
                );
            }
        });
    }
}

/// The `x` of `1 - x`, with the range of its initial value.
fn decay_rate<'a>(model: &Model, factor: &'a Expr) -> Option<(&'a Expr, f64, f64)> {
    match &factor.kind {
        ExprKind::Convert(x) => decay_rate(model, x),
        ExprKind::Binary(Binary::Sub, one, rate) if matches!(one.kind, ExprKind::Number(1.0)) => {
            let (low, high) = start_range(model, rate)?;
            Some((rate, low, high))
        }
        _ => None,
    }
}

fn start_range(model: &Model, rate: &Expr) -> Option<(f64, f64)> {
    match &rate.kind {
        ExprKind::Convert(x) => start_range(model, x),
        ExprKind::Number(value) => Some((*value, *value)),
        ExprKind::Param(id) => match model.params[id.index()].init {
            Draw::Constant(value) => Some((value, value)),
            Draw::Uniform(lo, hi) => Some((lo, hi)),
            Draw::Bernoulli(_) => Some((0.0, 1.0)),
            Draw::Normal(..) | Draw::Identity(_) | Draw::Given(_) => None,
        },
        _ => None,
    }
}
