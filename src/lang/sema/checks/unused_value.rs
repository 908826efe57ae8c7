//! Lint W0105: unused values, bundles and inputs.

use super::{definitions_in, needed_through_time, states_in};
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{DefId, DefKind, ExprKind, Model};
use std::collections::BTreeSet;

/// Checks that something uses each value, bundle and input.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    let outputs = model
        .outputs
        .iter()
        .map(|id| &model.definitions[id.index()].expr);
    let firsts = model.firsts.iter().map(|first| &first.value);
    let roots = outputs.chain(model.nexts.iter().flatten()).chain(firsts);
    let needed = needed_through_time(model, roots);
    let by_parts = read_by_parts(model, &needed);
    for (k, definition) in model.definitions.iter().enumerate() {
        let what = match definition.kind {
            DefKind::Value => "value",
            DefKind::Received => "bundle",
            DefKind::Modulator | DefKind::Output => continue,
        };
        let by_parts = what == "bundle" && by_parts.contains(definition.path.as_str());
        if !needed.contains(&DefId(k as u32)) && !by_parts {
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

/// The bundles of which something outside reads a local value or a trace, as `BUNDLE.NAME`.
fn read_by_parts<'a>(model: &'a Model, needed: &BTreeSet<DefId>) -> BTreeSet<&'a str> {
    let definitions = model.definitions.iter().enumerate();
    let definitions = definitions
        .filter(|(k, d)| needed.contains(&DefId(*k as u32)) || d.kind == DefKind::Output)
        .map(|(_, d)| (&d.path, &d.expr));
    let states = model.states.iter().zip(&model.nexts);
    let states = states.filter_map(|(slot, next)| Some((&slot.path, next.as_ref()?)));
    let mut found = BTreeSet::new();
    for (reader, expr) in definitions.chain(states) {
        let values = definitions_in(expr).into_iter();
        let values = values.map(|id| &model.definitions[id.index()].path);
        let traces = states_in(expr).into_iter();
        let traces = traces.map(|id| &model.states[id.index()].path);
        for (owner, _) in values
            .chain(traces)
            .filter_map(|path| path.rsplit_once('.'))
        {
            let rest = reader.strip_prefix(owner);
            if !rest.is_some_and(|rest| rest.starts_with('.')) {
                found.insert(owner);
            }
        }
    }
    found
}
