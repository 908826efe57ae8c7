//! The edits that bring a text of an older bpmc to today's language.

use super::ast::{DeclEntry, DeclKind, File, ItemKind, Stmt, StmtKind};
use super::token;
use super::version::VERSION;

/// An edit of a text: what is inserted, where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The byte before which the new text stands.
    pub at: usize,
    /// The new text.
    pub new: String,
    /// The reason, as a sentence without a full stop.
    pub reason: String,
}

/// The edits that `file`, parsed from `text` without errors, needs, in the order of their places.
///
/// A file that names its version already says everything as that version wants it.
pub fn upgrades(file: &File, text: &str) -> Vec<Upgrade> {
    let named = |item: &super::ast::Item| item.kind == ItemKind::Version;
    if file.items.first().is_some_and(named) {
        return Vec::new();
    }
    let mut found = vec![version(file, text)];
    for item in &file.items {
        match &item.kind {
            ItemKind::Rule { body, .. }
            | ItemKind::Cell { body, .. }
            | ItemKind::Network { body, .. } => first_values(body, text, &mut found),
            ItemKind::Version
            | ItemKind::Import { .. }
            | ItemKind::Dim { .. }
            | ItemKind::Block(_) => {}
        }
    }
    found.sort_by_key(|one| one.at);
    found
}

/// The line `bpm 1` after the comment at the head of the file.
fn version(file: &File, text: &str) -> Upgrade {
    let start = text.len() - text.trim_start_matches('\u{FEFF}').len();
    let first = file
        .items
        .first()
        .map_or(text.len(), |item| item.span.start as usize);
    let head = file
        .comments
        .iter()
        .filter(|one| one.text.starts_with("//!"));
    let head = head
        .map(|one| one.span.end as usize)
        .take_while(|end| *end <= first);
    let (at, new) = match head.last() {
        Some(end) => (end, format!("\n\nbpm {VERSION}\n")),
        None => (start, format!("bpm {VERSION}\n\n")),
    };
    let reason = format!("the file names the version of its language, `bpm {VERSION}`");
    Upgrade { at, new, reason }
}

/// Versions before 0.2 began a state or trace without an initial value at 0.
fn first_values(body: &[Stmt], text: &str, found: &mut Vec<Upgrade>) {
    for statement in body {
        if let StmtKind::Decl {
            kind: DeclKind::State | DeclKind::Trace,
            entries,
        } = &statement.kind
        {
            for entry in entries.iter().filter(|entry| entry.init.is_none()) {
                found.push(Upgrade {
                    at: end_of_name(entry, text),
                    new: " = 0".to_owned(),
                    reason: format!("`{}` begins at 0, which is written out", entry.name.name),
                });
            }
        }
        if let Some(body) = statement.kind.body() {
            first_values(body, text, found);
        }
    }
}

/// The end of the name of a declaration with its index and size.
fn end_of_name(entry: &DeclEntry, text: &str) -> usize {
    let index = entry.name.index.as_ref();
    let Some(last) = entry.size.as_ref().or(index.map(Box::as_ref)) else {
        return entry.name.span.end as usize;
    };
    // The expression may stand in brackets of its own.
    let mut at = last.span.end as usize;
    loop {
        let found = token::token_at(text, token::skip_blanks(text, at));
        at = found.range.end;
        if found.text == "]" || found.text.is_empty() {
            return at;
        }
    }
}
