//! Lint W0105: unused values, bundles and inputs.

use super::{definitions_in, needed_through_time, states_in};
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{DefId, DefKind, Expr, ExprKind, Model};
use std::collections::BTreeSet;

/// Checks that something uses each value, bundle and input.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    let outputs = model
        .outputs
        .iter()
        .map(|id| &model.definitions[id.index()].expr);
    let needed = needed_through_time(model, outputs.chain(model.nexts.iter().flatten()));
    for (k, definition) in model.definitions.iter().enumerate() {
        let what = match definition.kind {
            DefKind::Value => "value",
            DefKind::Received => "bundle",
            DefKind::Modulator | DefKind::Output => continue,
        };
        let read_by_parts = definition.kind == DefKind::Received
            && parts_are_read(model, &definition.path, &needed);
        if !needed.contains(&DefId(k as u32)) && !read_by_parts {
            diagnostics.push(
                Diagnostic::new(
                    Code::UnusedValue,
                    definition.span,
                    format!("nothing uses {what} `{}`", definition.path),
                )
                .with_help("use it, make it an `output`, or take it out"),
            );
        }
    }
    let mut used = BTreeSet::new();
    for expr in model
        .definitions
        .iter()
        .map(|definition| &definition.expr)
        .chain(model.nexts.iter().flatten())
    {
        expr.walk(&mut |e| {
            if let ExprKind::Input(id) = e.kind {
                used.insert(id.index());
            }
        });
    }
    for (k, slot) in model.inputs.iter().enumerate() {
        if let (false, Some(span)) = (used.contains(&k), slot.span) {
            diagnostics.push(
                Diagnostic::new(
                    Code::UnusedValue,
                    span,
                    format!("nothing uses input `{}`", slot.path),
                )
                .with_help("feed it to the network, as in `y = tanh(linear(obs) + rec)`"),
            );
        }
    }
}

/// Returns true if something outside a bundle reads a local value or a trace of it, as `BUNDLE.NAME`.
fn parts_are_read(model: &Model, bundle: &str, needed: &BTreeSet<DefId>) -> bool {
    let inside = |path: &str| {
        let rest = path.strip_prefix(bundle);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let reads = |expr: &Expr| {
        let mut definitions = definitions_in(expr).into_iter();
        let mut states = states_in(expr).into_iter();
        definitions.any(|id| inside(&model.definitions[id.index()].path))
            || states.any(|id| inside(&model.states[id.index()].path))
    };
    let definitions = model.definitions.iter().enumerate();
    let mut definitions = definitions
        .filter(|(k, d)| needed.contains(&DefId(*k as u32)) || d.kind == DefKind::Output)
        .map(|(_, d)| (&d.path, &d.expr));
    let states = model.states.iter().zip(&model.nexts);
    let mut states = states.filter_map(|(slot, next)| Some((&slot.path, next.as_ref()?)));
    definitions.any(|(path, expr)| !inside(path) && reads(expr))
        || states.any(|(path, expr)| !inside(path) && reads(expr))
}
