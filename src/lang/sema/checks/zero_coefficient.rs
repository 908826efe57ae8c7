//! Lint W0107: coefficients of traces that start at 0.

use super::unbounded_trace::is_local;
use super::{needed_within_step, states_in};
use crate::ir::{Binary, Draw, ParamId};
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{DefId, Expr, ExprKind, Model};
use std::collections::BTreeSet;

/// Reports a trained factor of a trace that starts at 0 everywhere: no gradient reaches the trace's rule.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    let mut scaling = BTreeSet::new();
    // A local value that only an update reads scales what is added to the trace, not what it does.
    let roots = model.definitions.iter().filter(|d| !is_local(d));
    let needed = needed_within_step(model, roots.map(|definition| &definition.expr));
    let definitions = model.definitions.iter().enumerate();
    let read = definitions.filter(|(k, d)| !is_local(d) || needed.contains(&DefId(*k as u32)));
    for (_, definition) in read {
        definition.expr.walk(&mut |e| {
            if matches!(e.kind, ExprKind::Binary(Binary::Mul, ..)) {
                scaling_params(model, e, &mut scaling);
            }
        });
    }
    for id in scaling {
        let slot = &model.params[id.index()];
        let zero = match slot.init {
            Draw::Given(ref given) => given.values.iter().all(|value| *value == 0.0),
            Draw::Constant(value) => value == 0.0,
            Draw::Uniform(lo, hi) => lo == 0.0 && hi == 0.0,
            Draw::Normal(mean, deviation) => mean == 0.0 && deviation == 0.0,
            Draw::Bernoulli(p) => p == 0.0,
            Draw::Identity(scale) => scale == 0.0,
        };
        let (true, true, Some(span)) = (zero, slot.trained, slot.span) else {
            continue;
        };
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

/// Adds the parameters that are factors of a product which contains a trace.
fn scaling_params(model: &Model, product: &Expr, scaling: &mut BTreeSet<ParamId>) {
    let mut factors = Vec::new();
    collect_factors(product, &mut factors);
    let holds_trace = |factor: &&Expr| {
        let states = states_in(factor);
        states.iter().any(|s| model.states[s.index()].trace)
    };
    if factors.iter().any(holds_trace) {
        let params = factors.iter().filter_map(|factor| match factor.kind {
            ExprKind::Param(id) => Some(id),
            _ => None,
        });
        scaling.extend(params);
    }
}

/// The factors of a nested product.
fn collect_factors<'a>(expr: &'a Expr, factors: &mut Vec<&'a Expr>) {
    match &expr.kind {
        ExprKind::Convert(x) => collect_factors(x, factors),
        ExprKind::Binary(Binary::Mul, a, b) => {
            collect_factors(a, factors);
            collect_factors(b, factors);
        }
        _ => factors.push(expr),
    }
}
