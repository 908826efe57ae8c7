//! Lint W0110: plastic bundles from a state to the same state.

use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::sema::model::Model;
use std::collections::BTreeSet;

/// Reports a bundle with traces whose `post` is the same activity as its `pre`, that of the step before.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    let traces = model.states.iter().filter(|slot| slot.trace);
    let plastic: BTreeSet<&str> = traces
        .filter_map(|slot| Some(slot.path.rsplit_once('.')?.0))
        .collect();
    for bundle in &model.bundles {
        let Some(post) = bundle
            .same_state
            .filter(|_| plastic.contains(&*bundle.name))
        else {
            continue;
        };
        diagnostics.push(
            Diagnostic::new(
                Code::SameSides,
                post,
                format!("pre and post of `{}` are the same activity, that of the step before", bundle.name),
            )
            .with_help(format!(
                "name the value of this step: `plastic {}: h -> y` with `y = ...` and `h <- y`; if you mean it, `same = h` and `h -> same`",
                bundle.name
            )),
        );
    }
}
