//! W0101.

use super::needed_through_time;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::ir::Graph;
use crate::sema::model::{DefId, DefKind, Model};

/// A modulator must reach the update of a trace, directly, through other values or through states that
/// filter it.
pub(super) fn check(model: &Model, _graph: &Graph, diagnostics: &mut Diagnostics) {
    if model
        .definitions
        .iter()
        .all(|d| d.kind != DefKind::Modulator)
    {
        return;
    }
    // Only what updates name directly counts: everything reaches a trace through the activity of the next
    // step, so the search follows values and the states of the network, not pre and post.
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

/// The parts of an update that are not the activity of the bundle's own neurons.
fn modulating(update: &crate::sema::model::Expr) -> Vec<&crate::sema::model::Expr> {
    use crate::sema::model::{ExprKind, Type};
    let mut parts = Vec::new();
    let mut stack = vec![update];
    while let Some(expr) = stack.pop() {
        match &expr.kind {
            // `pre` and `post` are vectors of the network converted to elements; so are modulators per
            // post neuron, which are definitions of their own kind and are kept.
            ExprKind::Definition(_) => parts.push(expr),
            ExprKind::State(_) | ExprKind::Next(_) if matches!(expr.ty, Type::Scalar) => {
                parts.push(expr);
            }
            ExprKind::Number(_)
            | ExprKind::SizeOf(_)
            | ExprKind::Param(_)
            | ExprKind::Input(_)
            | ExprKind::State(_)
            | ExprKind::Next(_)
            | ExprKind::Noise(_)
            | ExprKind::InRegion(..)
            | ExprKind::Poison => {}
            ExprKind::Unary(_, x)
            | ExprKind::Clip(x, ..)
            | ExprKind::Reduce(_, _, x)
            | ExprKind::Linear { x, .. }
            | ExprKind::Softmax(x)
            | ExprKind::Slice(x, _)
            | ExprKind::Stop(x)
            | ExprKind::Convert(x) => stack.push(x),
            ExprKind::Binary(_, a, b) => stack.extend([a.as_ref(), b.as_ref()]),
            ExprKind::Select(c, a, b) => stack.extend([c.as_ref(), a.as_ref(), b.as_ref()]),
            ExprKind::Concat(items) => stack.extend(items),
        }
    }
    parts
}
