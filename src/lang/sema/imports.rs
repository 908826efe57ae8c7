//! Imports: `import "file.bpm"`, all files of an experiment, each read once.

use crate::lang::diag::{Code, Diagnostic, Diagnostics, SourceMap, Span};
use crate::lang::syntax::{self, ast};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The largest number of files in one experiment.
const MAX_FILES: usize = 64;

/// A function that reads the text of a file. Tests and fuzzers pass their own.
pub type Loader<'a> = dyn Fn(&Path) -> std::io::Result<String> + 'a;

/// Parses `text` and everything it imports. The first file is the spec itself; a file comes after the file
/// that imports it.
pub fn parse_all(
    name: &str,
    text: &str,
    load: &Loader<'_>,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Vec<ast::File> {
    let root = PathBuf::from(name);
    let source = sources.add(name, text);
    let mut files = vec![syntax::parse(source, text, diagnostics)];
    // Each file's path and the index of the file that imports it, to detect cycles.
    let mut paths: Vec<(PathBuf, Option<usize>)> = vec![(normal(&root), None)];
    let mut seen: BTreeMap<PathBuf, usize> = BTreeMap::from([(normal(&root), 0)]);
    let mut next = 0;
    while next < files.len() {
        let imports: Vec<(String, Span)> = files[next]
            .items
            .iter()
            .filter_map(|item| match &item.kind {
                ast::ItemKind::Import { path, path_span } => Some((path.clone(), *path_span)),
                ast::ItemKind::Version
                | ast::ItemKind::Dim { .. }
                | ast::ItemKind::Rule { .. }
                | ast::ItemKind::Cell { .. }
                | ast::ItemKind::Network { .. }
                | ast::ItemKind::Block(_) => None,
            })
            .collect();
        for (import, span) in imports {
            let folder = paths[next].0.parent().unwrap_or(Path::new("")).to_owned();
            let path = normal(&folder.join(&import));
            if is_ancestor(&paths, next, &path) {
                diagnostics.push(
                    Diagnostic::new(
                        Code::ImportCycle,
                        span,
                        format!("`{import}` imports this file in turn"),
                    )
                    .with_help("move what both need into a third file"),
                );
                continue;
            }
            if seen.contains_key(&path) {
                continue;
            }
            if files.len() >= MAX_FILES {
                diagnostics.push(Diagnostic::new(
                    Code::TooLarge,
                    span,
                    format!("an experiment has at most {MAX_FILES} files"),
                ));
                return files;
            }
            match load(&path) {
                Ok(text) => {
                    let source = sources.add(path.display().to_string(), text.clone());
                    seen.insert(path.clone(), files.len());
                    files.push(syntax::parse(source, &text, diagnostics));
                    paths.push((path, Some(next)));
                }
                Err(error) => diagnostics.push(
                    Diagnostic::new(
                        Code::ImportUnreadable,
                        span,
                        format!("`{}` cannot be read: {error}", path.display()),
                    )
                    .with_help("paths are relative to the file that imports"),
                ),
            }
        }
        next += 1;
    }
    files
}

fn is_ancestor(paths: &[(PathBuf, Option<usize>)], from: usize, path: &Path) -> bool {
    let mut at = Some(from);
    while let Some(k) = at {
        if paths[k].0 == path {
            return true;
        }
        at = paths[k].1;
    }
    false
}

/// The path without `.` and, where possible, `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !matches!(out.components().next_back(), Some(Component::Normal(_))) {
                    out.push("..");
                } else {
                    out.pop();
                }
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => out.push(part),
        }
    }
    out
}
