//! Lint W0103: trained parameters without a gradient.

use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::Model;

/// Checks that an output reaches each trained parameter, through time if necessary.
pub(super) fn check(model: &Model, reached: &[bool], diagnostics: &mut Diagnostics) {
    // A spec without outputs is unfinished, not wrong.
    if model.outputs.is_empty() {
        return;
    }
    for (slot, reached) in model.params.iter().zip(reached) {
        let (true, false, Some(span)) = (slot.trained, reached, slot.span) else {
            continue;
        };
        diagnostics.push(
            Diagnostic::new(
                Code::NoGradient,
                span,
                format!(
                    "parameter `{}` gets no gradient, so training never moves it",
                    slot.path
                ),
            )
            .with_help("use it where an output depends on it, or declare it `const`"),
        );
    }
}
