//! Meaning: from syntax trees to a [`Model`] with every name resolved and every size known.
//!
//! All errors of an experiment are reported in one run; what depends on something broken is passed over
//! silently, so that one mistake gives one message.

mod analyser;
mod blocks;
mod bundle;
mod calls;
pub mod checks;
mod constants;
mod declare;
mod dump;
mod entry;
mod finish;
pub mod functions;
mod imports;
mod initialise;
mod layers;
pub mod model;
mod names;
mod order;
mod overrides;
mod ports;
mod resolve;
mod scope;
mod sides;
mod sizes;
mod types;
mod updates;

pub use dump::dump;
pub use imports::{parse_all, Loader};
pub use model::Model;
pub use overrides::Overrides;
pub use sizes::{SizeVar, MAX_ELEMENTS, MAX_SIZE};

use crate::diag::{Diagnostics, SourceMap};
use crate::syntax::ast;
use analyser::Analyser;

/// Appends the library's rules that `files` use and do not declare themselves.
pub fn add_library_rules(
    files: &mut Vec<ast::File>,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) {
    let mut wanted: Vec<String> = Vec::new();
    let mut declared: Vec<&str> = Vec::new();
    for item in files.iter().flat_map(|file| &file.items) {
        match &item.kind {
            ast::ItemKind::Rule { name, .. } => declared.push(&name.name),
            ast::ItemKind::Network { body, .. } => {
                for stmt in body {
                    if let ast::StmtKind::Plastic {
                        using: Some(using), ..
                    } = &stmt.kind
                    {
                        wanted.push(using.name.name.clone());
                    }
                }
            }
            ast::ItemKind::Import { .. } | ast::ItemKind::Dim { .. } | ast::ItemKind::Block(_) => {}
        }
    }
    wanted.sort();
    wanted.dedup();
    wanted.retain(|name| !declared.contains(&name.as_str()));
    for name in wanted {
        if let Some(text) = crate::rules::text(&name) {
            let source = sources.add(format!("rule library: {name}.bpm"), text);
            files.push(crate::syntax::parse(source, text, diagnostics));
        }
    }
}

/// The model of parsed files, the spec itself first. `None` where errors leave none, or where there is no
/// network: a file of shared parts is sound, and means something only where it is imported.
pub fn analyse(
    files: &[ast::File],
    overrides: &Overrides,
    diagnostics: &mut Diagnostics,
) -> Option<Model> {
    Analyser::new(files, overrides, diagnostics).run()
}
