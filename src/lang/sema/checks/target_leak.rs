//! Lint W0108: outputs that read a target of their own step.

use super::definitions_in;
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{ExprKind, Model};
use crate::lang::sema::targets::TARGET;
use std::collections::BTreeSet;

/// Reports outputs that need a target within a step; what a state has kept of one belongs to earlier steps.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    for id in &model.outputs {
        let output = &model.definitions[id.index()];
        let (mut seen, mut states) = (BTreeSet::new(), BTreeSet::new());
        let mut stack = vec![&output.expr];
        let mut leaks = None;
        while let Some(expr) = stack.pop() {
            expr.walk(&mut |e| match e.kind {
                ExprKind::Input(id) => {
                    let path = &model.inputs[id.index()].path;
                    leaks = leaks.or(path.strip_prefix(TARGET).map(|name| (name, e.span)));
                }
                ExprKind::Next(id) if states.insert(id) => {
                    stack.extend(model.nexts[id.index()].as_ref());
                }
                _ => {}
            });
            for id in definitions_in(expr) {
                if seen.insert(id) {
                    stack.push(&model.definitions[id.index()].expr);
                }
            }
        }
        if let Some((name, span)) = leaks {
            diagnostics.push(
                Diagnostic::new(
                    Code::TargetLeak,
                    output.span,
                    format!("the output `{}` reads the target of `{name}` of the same step", output.path),
                )
                .with_secondary(span, "the target is read here")
                .with_help("nobody knows it where the network is used; let a trace or a state keep it for later steps"),
            );
        }
    }
}
