//! W0107.

use super::states_in;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::ir::{Binary, Draw, Graph, ParamId};
use crate::sema::model::{Expr, ExprKind, Model};

/// A trained factor of a trace that starts at 0 everywhere lets no gradient reach the trace's rule.
pub(super) fn check(model: &Model, _graph: &Graph, diagnostics: &mut Diagnostics) {
    for (k, slot) in model.params.iter().enumerate() {
        let zero = match slot.init {
            Draw::Constant(value) => value == 0.0,
            Draw::Uniform(lo, hi) => lo == 0.0 && hi == 0.0,
            Draw::Normal(mean, deviation) => mean == 0.0 && deviation == 0.0,
            Draw::Bernoulli(p) => p == 0.0,
            Draw::Identity(scale) => scale == 0.0,
        };
        let (true, true, Some(span)) = (zero, slot.trained, slot.span) else {
            continue;
        };
        let id = ParamId(k as u32);
        if model
            .definitions
            .iter()
            .any(|definition| scales_trace(model, &definition.expr, id))
        {
            diagnostics.push(
                Diagnostic::new(
                    Code::ZeroCoefficient,
                    span,
                    format!(
                        "coefficient `{}` starts at 0, so its trace moves no weight",
                        slot.path
                    ),
                )
                .with_help("start it small instead: `~ uniform(0, 0.01)`"),
            );
        }
    }
}

/// Whether the parameter is a factor of something that holds a trace.
fn scales_trace(model: &Model, expr: &Expr, param: ParamId) -> bool {
    let mut found = false;
    expr.walk(&mut |e| {
        let ExprKind::Binary(Binary::Mul, a, b) = &e.kind else {
            return;
        };
        for (factor, other) in [(a, b), (b, a)] {
            found |= is_param(factor, param)
                && states_in(other)
                    .iter()
                    .any(|state| model.states[state.index()].trace);
        }
    });
    found
}

fn is_param(expr: &Expr, param: ParamId) -> bool {
    match &expr.kind {
        ExprKind::Param(id) => *id == param,
        ExprKind::Convert(x) => is_param(x, param),
        _ => false,
    }
}
