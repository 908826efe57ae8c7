//! Lint W0102: traces that nothing reads.

use super::{reads_state, states_in};
use crate::ir::StateId;
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::Model;
use std::collections::BTreeSet;

/// Checks that something other than its own update reads each trace.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    let mut read: BTreeSet<StateId> = BTreeSet::new();
    for definition in &model.definitions {
        read.extend(states_in(&definition.expr));
    }
    for (k, next) in model.nexts.iter().enumerate() {
        let Some(next) = next else { continue };
        read.extend(states_in(next).into_iter().filter(|id| id.index() != k));
    }
    for (k, slot) in model.states.iter().enumerate() {
        let id = StateId(k as u32);
        let (false, Some(span)) = (read.contains(&id), slot.span) else {
            continue;
        };
        let (what, help) = if slot.trace {
            ("trace", "name it in `transmit`, or take it out")
        } else {
            ("state", "use it, or take it out")
        };
        let own = model.nexts[k].as_ref().is_some_and(|n| reads_state(n, id));
        let label = if own {
            "only its own update reads it"
        } else {
            ""
        };
        diagnostics.push(
            Diagnostic::new(
                Code::UnreadTrace,
                span,
                format!("{what} `{}` is never read", slot.path),
            )
            .with_label(label)
            .with_help(help),
        );
    }
}
