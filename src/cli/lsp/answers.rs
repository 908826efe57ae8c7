//! The answers to questions about an open text.

use super::analysis::Analysis;
use super::server::{finding, Server};
use super::{colours, complete, fixes, hover, outline, places, text};
use crate::lang::catalog::Catalog;
use crate::lang::diag::{LineIndex, Severity, SourceId};
use crate::lang::syntax;
use crate::learn;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// An answer, or the reason why there is none.
type Answer = Result<Value, String>;

/// The abilities of the server, in the protocol's words.
pub fn abilities() -> Value {
    json!({
        "textDocumentSync": { "openClose": true, "change": 2, "save": true },
        "hoverProvider": true,
        "completionProvider": { "triggerCharacters": ["."] },
        "definitionProvider": true,
        "referencesProvider": true,
        "documentHighlightProvider": true,
        "renameProvider": { "prepareProvider": true },
        "documentFormattingProvider": true,
        "documentSymbolProvider": true,
        "inlayHintProvider": true,
        "codeActionProvider": { "codeActionKinds": ["quickfix"] },
        "semanticTokensProvider": {
            "legend": { "tokenTypes": colours::KINDS, "tokenModifiers": colours::MARKS },
            "full": true,
        },
    })
}

impl Server {
    /// `None` for a question that nobody here can answer.
    pub(super) fn result(&mut self, method: &str, parameters: &Value) -> Option<Answer> {
        let path = parameters["textDocument"]["uri"]
            .as_str()
            .map(text::path_of);
        let path = path.unwrap_or_default();
        let all = self.analysis(&path);
        let place = |all: &Analysis| text::offset_of(all.text(), &parameters["position"]);
        let known = matches!(
            method.strip_prefix("textDocument/")?,
            "hover"
                | "completion"
                | "definition"
                | "references"
                | "documentHighlight"
                | "prepareRename"
                | "rename"
                | "formatting"
                | "documentSymbol"
                | "inlayHint"
                | "codeAction"
                | "semanticTokens/full"
        );
        let Some(all) = all else {
            return known.then_some(Ok(Value::Null));
        };
        let here = place(&all).unwrap_or(0);
        let meant = self.documents.get(&path).and_then(|one| one.meant.clone());
        let meant = meant.as_deref();
        let index = LineIndex::new(all.text());
        let result = match method.strip_prefix("textDocument/")? {
            "hover" => hover::hover(&all, meant, &catalog(&path), here).map_or(Value::Null, |(about, bytes)| {
                json!({
                    "contents": { "kind": "markdown", "value": about }, "range": text::range(&index, bytes),
                })
            }),
            "completion" => {
                let known = self.documents.get(&path).and_then(|one| one.known.clone());
                json!(complete::complete(all.text(), here, known.as_deref(), meant, &catalog(&path)))
            }
            "definition" => {
                let found = all.symbols.at(SourceId(0), here);
                let found = found.map(|found| all.symbols.list[found.symbol].span);
                let found = found.and_then(|span| places::place(&all, span));
                found.map_or_else(|| import_at(&all, here), |place| self.location(&place))
            }
            "references" => {
                let declaration = parameters["context"]["includeDeclaration"] != json!(false);
                let others = self.others();
                let others: Vec<&Analysis> = others.iter().map(Rc::as_ref).collect();
                let found = places::places(&all, here, &others, declaration);
                let found = found.into_iter().map(|(path, start, end)| self.location(&(path, start..end)));
                Value::Array(found.collect())
            }
            "documentHighlight" => {
                let found = places::places(&all, here, &[], true).into_iter();
                let found = found.filter(|(other, ..)| *other == path);
                let found = found.map(|(_, start, end)| json!({ "range": text::range(&index, start..end) }));
                Value::Array(found.collect())
            }
            "prepareRename" => match places::renamed(&all, here) {
                Ok((symbol, span)) => json!({
                    "range": text::range(&index, span.range()), "placeholder": symbol.name,
                }),
                Err(message) => return Some(Err(message)),
            },
            "rename" => {
                let name = parameters["newName"].as_str().unwrap_or_default();
                return Some(self.rename(&all, here, name));
            }
            "formatting" => format(&all),
            "documentSymbol" => Value::Array(outline::outline(&all)),
            "inlayHint" => {
                let within = text::bytes_of(all.text(), &parameters["range"]);
                Value::Array(outline::hints(&all, &within.unwrap_or(0..all.text().len())))
            }
            "codeAction" => self.fixes(&path, &all, parameters),
            "semanticTokens/full" => json!({ "data": colours::colours(&all) }),
            _ => return None,
        };
        Some(Ok(result))
    }

    fn rename(&mut self, all: &Analysis, byte: usize, name: &str) -> Answer {
        let (symbol, _) = places::renamed(all, byte)?;
        places::check_name(name)?;
        let others = self.others();
        let others: Vec<&Analysis> = others.iter().map(Rc::as_ref).collect();
        let found = places::places(all, byte, &others, true);
        let changed = places::replaced(&found, name, |path| self.read(path).ok());
        let load = |path: &Path| match changed.get(path) {
            Some(text) => Ok(text.clone()),
            None => self.read(path),
        };
        let errors = |of: &Analysis| of.findings().error_count();
        let refused = |reason: String| {
            let old = &symbol.name;
            Err(format!("`{old}` cannot be called `{name}`: {reason}"))
        };
        // Every spec that reads a changed text must mean what it meant.
        let touched = |one: &&Analysis| changed.keys().any(|path| one.source(path).is_some());
        let own = all.path(SourceId(0));
        let others = others
            .into_iter()
            .filter(|one| one.path(SourceId(0)) != own);
        for before in others.chain([all]).filter(touched) {
            let path = before.path(SourceId(0)).unwrap_or_default();
            let text = load(&path).map_err(|error| error.to_string())?;
            let after = Analysis::new(&path.display().to_string(), &text, &load);
            if errors(&after) > errors(before) {
                let found = after.findings().iter().next();
                return refused(found.map(|one| one.message.clone()).unwrap_or_default());
            }
            if let Some((path, at)) = places::other_meaning(before, &after, &found, name) {
                let text = load(&path).unwrap_or_default();
                let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
                let file = path.display();
                return refused(format!(
                    "a name in line {line} of {file} would mean another declaration"
                ));
            }
        }
        let mut changes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (path, start, end) in found {
            let text = self.read(&path).unwrap_or_default();
            let range = text::range(&LineIndex::new(&text), start..end);
            let edit = json!({ "range": range, "newText": name });
            changes.entry(self.uri(&path)).or_default().push(edit);
        }
        Ok(json!({ "changes": changes }))
    }

    fn fixes(&self, path: &Path, all: &Analysis, parameters: &Value) -> Value {
        let Some(range) = text::bytes_of(all.text(), &parameters["range"]) else {
            return json!([]);
        };
        let index = LineIndex::new(all.text());
        let name = path.display().to_string();
        let mut actions = Vec::new();
        for one in all.findings().iter() {
            let place = one.primary.span;
            let touches = place.start as usize <= range.end && range.start <= place.end as usize;
            if place.source != SourceId(0) || !touches {
                continue;
            }
            for fix in fixes::fixes(all, one, &name, &|path| self.read(path)) {
                let edit = json!({ "range": text::range(&index, fix.bytes), "newText": fix.text });
                actions.push(json!({
                    "title": fix.title,
                    "kind": "quickfix",
                    "diagnostics": [finding(all, one)],
                    "edit": { "changes": { self.uri(path): [edit] } },
                }));
            }
        }
        Value::Array(actions)
    }
}

fn catalog(path: &Path) -> Catalog {
    learn::catalog(path.parent().unwrap_or(Path::new("")))
}

/// The file of an import at a place.
fn import_at(all: &Analysis, byte: usize) -> Value {
    let first = all.parsed.files.first();
    for item in first.iter().flat_map(|file| &file.items) {
        if let syntax::ast::ItemKind::Import { path, path_span } = &item.kind {
            if path_span.range().contains(&byte) {
                let own = all.path(SourceId(0)).unwrap_or_default();
                let path = own.parent().unwrap_or(Path::new("")).join(path);
                let start = json!({ "line": 0, "character": 0 });
                return json!({ "uri": text::uri_of(&path), "range": { "start": start, "end": start } });
            }
        }
    }
    Value::Null
}

/// The edit that formats a text; none for a text that cannot be read.
fn format(all: &Analysis) -> Value {
    let text = all.text();
    let mut found = all.parsed.diagnostics.iter();
    let broken = found.any(|one| {
        let syntax = one.code.text() < "E0110";
        syntax && one.primary.span.source == SourceId(0) && one.severity() == Severity::Error
    });
    let file = all.parsed.files.first().filter(|_| !broken);
    match file.map(|file| syntax::print(file, text)) {
        Some(new) if new != text => {
            json!([{ "range": super::text::range(&LineIndex::new(text), 0..text.len()), "newText": new }])
        }
        _ => json!([]),
    }
}
