//! Lint W0101: modulators that no trace uses.

use super::needed_through_time;
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{DefId, DefKind, Expr, ExprKind, Model, Type};

/// Checks that each modulator reaches the update of a trace, directly, through other values or through states
/// that filter it.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    if model
        .definitions
        .iter()
        .all(|d| d.kind != DefKind::Modulator)
    {
        return;
    }
    // Only names in updates count, followed through values and states of the network. Paths through pre and
    // post do not count: everything reaches a trace through the activity of the next step.
    let updates = model
        .nexts
        .iter()
        .zip(&model.states)
        .filter(|(_, slot)| slot.trace)
        .filter_map(|(next, _)| next.as_ref());
    let factors: Vec<_> = updates.flat_map(modulating).collect();
    let needed = needed_through_time(model, factors.into_iter());
    for (k, definition) in model.definitions.iter().enumerate() {
        if definition.kind == DefKind::Modulator && !needed.contains(&DefId(k as u32)) {
            diagnostics.push(
                Diagnostic::new(
                    Code::UnusedModulator,
                    definition.span,
                    format!("modulator `{}` reaches no rule", definition.path),
                )
                .with_help(format!(
                    "hand it to one, `using simple({})`, or name it in an update of a trace",
                    definition.path
                )),
            );
        }
    }
}

/// The parts of an update that can carry a modulator: values of the step, and scalar states. `pre` and `post`
/// are values too, but their dependencies are followed only within this step.
fn modulating(update: &Expr) -> Vec<&Expr> {
    let mut parts = Vec::new();
    update.walk(&mut |e| match e.kind {
        ExprKind::Definition(_) => parts.push(e),
        ExprKind::State(_) | ExprKind::Next(_) if matches!(e.ty, Type::Scalar) => parts.push(e),
        _ => {}
    });
    parts
}
