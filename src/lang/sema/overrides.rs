//! Overrides: `--set path=value` replaces a value of the spec.

use crate::lang::catalog::Catalog;
use crate::lang::diag::{Code, Diagnostic, Diagnostics, SourceMap, Span};
use crate::lang::settings::{parse_bytes, SettingKind};
use crate::lang::syntax::{self, ast};
use std::collections::{BTreeMap, BTreeSet};

/// The overrides of one compilation, by path.
#[derive(Debug, Default)]
pub struct Overrides {
    values: BTreeMap<String, (ast::Initialiser, Span)>,
}

impl Overrides {
    /// Reads `path=value` arguments, each as its own source text.
    pub fn parse(
        arguments: &[String],
        catalog: &Catalog,
        sources: &mut SourceMap,
        diagnostics: &mut Diagnostics,
    ) -> Overrides {
        let mut overrides = Overrides::default();
        for argument in arguments {
            // The sign of a draw belongs to its value.
            let at = match argument.find(['=', '~']) {
                Some(at) if argument[at..].starts_with('=') => at + 1,
                Some(at) => at,
                None => argument.len(),
            };
            let (before, value) = argument.split_at(at);
            let path = before.strip_suffix('=').unwrap_or(before).trim();
            // A shell removes the quotes of `memory="200MB"` and `train="train.npz"`.
            let is_text = parse_bytes(value).is_some() || is_a_text(catalog, path);
            let bare = is_text && !value.trim().is_empty() && !value.trim().starts_with('"');
            let quoted = bare.then(|| format!("\"{}\"", value.trim()));
            let value = quoted.as_deref().unwrap_or(value);
            let source = sources.add("--set", format!("{before}{value}"));
            let start = before.len() - before.trim_start().len();
            let span = Span::new(source, start, start + path.len());
            if value.trim().is_empty() || path.is_empty() {
                diagnostics.push(
                    Diagnostic::new(
                        Code::UnknownOverride,
                        span,
                        format!("`--set {argument}` does not say what to set to what"),
                    )
                    .with_help("write `--set train.batch=10`"),
                );
                continue;
            }
            // Blanks in the place of the path leave the value where it is shown.
            let alone = " ".repeat(before.len()) + value;
            if let Some(init) = syntax::parse_value(source, &alone, diagnostics) {
                overrides.values.insert(path.to_owned(), (init, span));
            }
        }
        overrides
    }

    /// The override of `path`, if there is one.
    pub fn get(&self, path: &str) -> Option<&(ast::Initialiser, Span)> {
        self.values.get(path)
    }

    /// The overrides whose path begins with `prefix`, with the rest of the path.
    pub fn under<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a (ast::Initialiser, Span))> + 'a {
        self.values
            .iter()
            .filter_map(move |(path, value)| Some((path.strip_prefix(prefix)?, value)))
    }

    /// Reports every override whose path is not in `known`.
    pub fn report_unknown(&self, known: &BTreeSet<String>, diagnostics: &mut Diagnostics) {
        for (path, (_, span)) in &self.values {
            if known.contains(path) {
                continue;
            }
            let mut diagnostic = Diagnostic::new(
                Code::UnknownOverride,
                *span,
                format!("nothing in the spec is called `{path}`"),
            );
            // `lr` where there is a `train.optimizer.lr`.
            let end = format!(".{path}");
            let whole = known.iter().filter(|known| known.ends_with(&end));
            let whole: Vec<String> = whole.take(3).map(|known| format!("`{known}`")).collect();
            let near = Diagnostics::nearest(path, known.iter().map(String::as_str));
            diagnostic = match near {
                _ if !whole.is_empty() => {
                    diagnostic.with_help(format!("did you mean {}?", whole.join(" or ")))
                }
                Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
                None => diagnostic.with_help(
                    "paths look like `train.batch`, `task.steps`, `train.optimizer.lr`, `rec.eta`, `N`",
                ),
            };
            diagnostics.push(diagnostic);
        }
    }
}

/// Tells if the setting of this path is a text or the path of a file, in some task.
fn is_a_text(catalog: &Catalog, path: &str) -> bool {
    let tables = catalog.tasks.iter().map(|task| task.settings);
    path.strip_prefix("task.").is_some_and(|name| {
        tables.flatten().filter(|row| row.name == name).any(|row| {
            matches!(
                row.kind,
                SettingKind::File | SettingKind::Folder | SettingKind::Text
            )
        })
    })
}
