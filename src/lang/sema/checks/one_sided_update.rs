//! Lint W0109: traces of connections whose update does not vary over one side of the bundle.

use super::unbounded_trace::is_local;
use crate::ir::StateId;
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::{Expr, ExprKind, Model, Type};
use std::collections::BTreeSet;

/// Reports a trace with a value for each connection that changes equally for all connections of a neuron.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    for (k, slot) in model.states.iter().enumerate() {
        let id = StateId(k as u32);
        let (true, Some(next), Some(span)) = (slot.trace, &model.nexts[k], slot.span) else {
            continue;
        };
        let Type::Element {
            bundle,
            pre: true,
            post: true,
        } = model.state_types[k]
        else {
            continue;
        };
        let bundle = &model.bundles[bundle.index()];
        // Nothing varies over a single neuron.
        let mut sides = Sides {
            changed: false,
            pre: model.size(bundle.pre) == 1,
            post: model.size(bundle.post) == 1,
            seen: BTreeSet::new(),
        };
        sides.add(model, next, id);
        let (missing, present) = match sides {
            Sides { changed: false, .. }
            | Sides {
                pre: true,
                post: true,
                ..
            } => continue,
            Sides { pre: true, .. } => ("post", "pre"),
            Sides { post: true, .. } => ("pre", "post"),
            Sides { .. } => ("pre and post", "network"),
        };
        // Their first values tell such connections apart, and a trace with fewer values would lose them.
        let apart = slot.first.is_some() || model.firsts.iter().any(|first| first.state == id);
        let help = match apart {
            true => "multiply by activity, as in `pre * post`; connections differ by their first values only".to_owned(),
            false => format!("multiply by activity, as in `pre * post`, or declare the trace `per {present}`"),
        };
        diagnostics.push(
            Diagnostic::new(
                Code::OneSidedUpdate,
                span,
                format!(
                    "the update of trace `{}` does not vary over {missing}",
                    slot.path
                ),
            )
            .with_secondary(next.span, "this is the same for all of these connections")
            .with_help(help),
        );
    }
}

/// The most names that are looked through for one trace.
const MOST: usize = 256;

/// The sides of the bundle over which a change varies.
struct Sides {
    /// True if anything but the trace itself is in the update.
    changed: bool,
    pre: bool,
    post: bool,
    /// The local values that were added.
    seen: BTreeSet<usize>,
}

impl Sides {
    /// Adds the sides over which an expression varies, apart from the trace itself and from regions.
    fn add(&mut self, model: &Model, expr: &Expr, trace: StateId) {
        match &expr.kind {
            ExprKind::State(id) if *id == trace => {}
            // A vector becomes a side of the bundle by its conversion.
            ExprKind::Convert(x) | ExprKind::Stop(x) if !matches!(x.ty, Type::Vector(_)) => {
                self.add(model, x, trace);
            }
            ExprKind::Definition(id) if is_local(&model.definitions[id.index()]) => {
                // A value that doubles another would be looked at over and over. Long chains are left out.
                if self.seen.len() == MOST {
                    (self.pre, self.post) = (true, true);
                } else if self.seen.insert(id.index()) {
                    self.add(model, &model.definitions[id.index()].expr, trace);
                }
            }
            ExprKind::Number(_) | ExprKind::InRegion(..) => {}
            ExprKind::Clip(x, ..) | ExprKind::Unary(_, x) => self.add(model, x, trace),
            ExprKind::Binary(_, a, b) => {
                self.add(model, a, trace);
                self.add(model, b, trace);
            }
            ExprKind::Select(condition, a, b) => {
                self.add(model, condition, trace);
                self.add(model, a, trace);
                self.add(model, b, trace);
            }
            _ => {
                self.changed = true;
                if let Type::Element { pre, post, .. } = expr.ty {
                    self.pre |= pre;
                    self.post |= post;
                }
            }
        }
    }
}
