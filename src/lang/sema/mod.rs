//! Semantic analysis: from syntax trees to a [`Model`] with every name resolved and every size known.
//!
//! All errors of an experiment are reported in one run. Whatever depends on something broken is skipped
//! silently, so that one mistake gives one message.

mod allow;
mod analyser;
mod blocks;
mod bundle;
mod calls;
mod cells;
pub mod checks;
mod connections;
mod constants;
mod counters;
mod declare;
mod delays;
mod dump;
mod entry;
mod finish;
mod firsts;
pub mod functions;
mod imports;
mod initialise;
mod layers;
pub mod model;
mod names;
mod order;
mod overrides;
mod ports;
mod ranks;
mod resolve;
mod scope;
mod sides;
mod sizes;
mod surrogate;
pub(crate) mod targets;
mod types;
mod unroll;
mod updates;

pub use allow::{allowed, Allowed};
pub use cells::{add_library, expand, Expansion};
pub use dump::dump;
pub use imports::{parse_all, Loader};
pub(crate) use initialise::FIRST;
pub use model::Model;
pub use overrides::Overrides;
pub use sizes::{SizeVar, MAX_ELEMENTS, MAX_SIZE};
pub use unroll::unroll;

use crate::lang::catalog::Catalog;
use crate::lang::diag::Diagnostics;
use crate::lang::syntax::ast;
use analyser::Analyser;

/// Builds the model of parsed files, the spec itself first, with its cells expanded by [`expand`]. The result
/// is `None` if errors leave no model, or if there is no network: a file of shared parts is valid, but has a
/// meaning only where it is imported.
pub fn analyse(
    files: &[ast::File],
    expansion: &Expansion,
    overrides: &Overrides,
    catalog: &Catalog,
    diagnostics: &mut Diagnostics,
) -> Option<Model> {
    Analyser::new(files, expansion, overrides, catalog, diagnostics).run()
}
