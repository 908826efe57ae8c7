//! Lint W0105: unused values, bundles and inputs.

use super::needed_through_time;
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{DefId, DefKind, ExprKind, Model};
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
        if !needed.contains(&DefId(k as u32)) {
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
