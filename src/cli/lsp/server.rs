//! The open texts, what is known of each, and their findings.

use super::analysis::Analysis;
use super::{places, text};
use crate::driver;
use crate::lang::diag::{Diagnostic, LineIndex, Severity};
use lsp_server::{ErrorCode, Notification, Request, Response};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The most files of the editor's folders that are searched for uses of a name.
const MOST_FILES: usize = 1000;

/// An open text.
pub(super) struct Document {
    uri: String,
    text: String,
    analysis: Option<Rc<Analysis>>,
    /// The last analysis in which all items could be read.
    pub(super) known: Option<Rc<Analysis>>,
    /// The last analysis that gave a model.
    pub(super) meant: Option<Rc<Analysis>>,
}

/// The open texts with what is known of them.
pub struct Server {
    pub(super) documents: BTreeMap<PathBuf, Document>,
    folders: Vec<PathBuf>,
    /// The files whose findings the editor shows.
    shown: BTreeSet<PathBuf>,
    changed: bool,
}

impl Server {
    /// A server for the folders that the editor names.
    pub fn new(parameters: &Value) -> Server {
        let folders = parameters["workspaceFolders"].as_array();
        let folders = folders
            .iter()
            .flat_map(|all| all.iter().map(|one| &one["uri"]));
        let folders = folders.chain([&parameters["rootUri"]]);
        let folders: BTreeSet<PathBuf> = folders
            .filter_map(Value::as_str)
            .map(text::path_of)
            .collect();
        Server {
            documents: BTreeMap::new(),
            folders: folders.into_iter().collect(),
            shown: BTreeSet::new(),
            changed: false,
        }
    }

    /// Takes note of what the editor says.
    pub fn hear(&mut self, method: &str, parameters: &Value) {
        let Some(uri) = parameters["textDocument"]["uri"].as_str() else {
            return;
        };
        let path = text::path_of(uri);
        match method {
            "textDocument/didOpen" => {
                let text = parameters["textDocument"]["text"].as_str();
                let document = Document {
                    uri: uri.to_owned(),
                    text: text.unwrap_or_default().to_owned(),
                    analysis: None,
                    known: None,
                    meant: None,
                };
                self.documents.insert(path.clone(), document);
            }
            "textDocument/didChange" => {
                let changes = parameters["contentChanges"].as_array();
                let Some(document) = self.documents.get_mut(&path) else {
                    return;
                };
                for change in changes.into_iter().flatten() {
                    let new = change["text"].as_str().unwrap_or_default();
                    match text::bytes_of(&document.text, &change["range"]) {
                        Some(bytes) => document.text.replace_range(bytes, new),
                        None => new.clone_into(&mut document.text),
                    }
                }
            }
            "textDocument/didClose" => {
                self.documents.remove(&path);
            }
            "textDocument/didSave" => {}
            _ => return,
        }
        self.changed = true;
        // Texts that import this one are checked again, and those with an import that could not be read.
        for (own, document) in &mut self.documents {
            let affected = document.analysis.as_ref().is_some_and(|analysis| {
                let unread = analysis.parsed.diagnostics.iter();
                let unread = unread.into_iter().any(|one| one.code.text() == "E0110");
                unread || analysis.source(&path).is_some()
            });
            if *own == path || affected {
                document.analysis = None;
            }
        }
    }

    /// Tells if a text has changed since its findings were told.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The findings of all open texts and what they import, if any text has changed.
    pub fn findings(&mut self) -> Vec<Notification> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let open: Vec<PathBuf> = self.documents.keys().cloned().collect();
        let mut found: BTreeMap<PathBuf, Vec<Value>> =
            open.iter().map(|path| (path.clone(), Vec::new())).collect();
        for path in open {
            let Some(all) = self.analysis(&path) else {
                continue;
            };
            if let (Some(_), Some(document)) = (all.model(), self.documents.get_mut(&path)) {
                document.meant = Some(all.clone());
            }
            for one in all.findings().iter() {
                let Some(path) = all.path(one.primary.span.source) else {
                    continue;
                };
                let list = found.entry(path).or_default();
                let told = finding(&all, one);
                if !list.contains(&told) {
                    list.push(told);
                }
            }
        }
        for path in std::mem::take(&mut self.shown) {
            found.entry(path).or_default();
        }
        let shown = found.iter().filter(|(_, list)| !list.is_empty());
        self.shown = shown.map(|(path, _)| path.clone()).collect();
        let told = found.into_iter().map(|(path, list)| {
            let parameters = json!({ "uri": self.uri(&path), "diagnostics": list });
            Notification::new("textDocument/publishDiagnostics".to_owned(), parameters)
        });
        told.collect()
    }

    /// The answer to a question of the editor. A fault of the server is an answer, too, and not its end.
    pub fn answer(&mut self, request: Request) -> Response {
        let Request { id, method, params } = request;
        match catch_unwind(AssertUnwindSafe(|| self.result(&method, &params))) {
            Ok(Some(Ok(result))) => Response::new_ok(id, result),
            Ok(Some(Err(message))) => {
                Response::new_err(id, ErrorCode::RequestFailed as i32, message)
            }
            Ok(None) => {
                let message = format!("bpmc does not know `{method}`");
                Response::new_err(id, ErrorCode::MethodNotFound as i32, message)
            }
            Err(_) => {
                let message = "an error in bpmc itself; please report it".to_owned();
                Response::new_err(id, ErrorCode::InternalError as i32, message)
            }
        }
    }

    /// What is known of an open text.
    pub(super) fn analysis(&mut self, path: &Path) -> Option<Rc<Analysis>> {
        if let Some(known) = &self.documents.get(path)?.analysis {
            return Some(known.clone());
        }
        let text = self.documents.get(path)?.text.clone();
        let new = catch_unwind(AssertUnwindSafe(|| self.analysed(path, &text))).ok()?;
        let new = Rc::new(new);
        let document = self.documents.get_mut(path)?;
        document.analysis = Some(new.clone());
        if !new.is_broken() {
            document.known = Some(new.clone());
        }
        Some(new)
    }

    fn analysed(&self, path: &Path, text: &str) -> Analysis {
        let name = path.display().to_string();
        Analysis::new(&name, text, &|path| self.read(path))
    }

    /// The text of a file as the editor has it, or from the disk.
    pub(super) fn read(&self, path: &Path) -> std::io::Result<String> {
        match self.documents.get(path) {
            Some(document) => Ok(document.text.clone()),
            None => driver::from_disk(path),
        }
    }

    pub(super) fn uri(&self, path: &Path) -> String {
        let open = self.documents.get(path);
        open.map_or_else(|| text::uri_of(path), |document| document.uri.clone())
    }

    pub(super) fn location(&self, (path, bytes): &places::Place) -> Value {
        let text = self.read(path).unwrap_or_default();
        let range = text::range(&LineIndex::new(&text), bytes.clone());
        json!({ "uri": self.uri(path), "range": range })
    }

    /// The open texts, and those in the editor's folders that import others.
    pub(super) fn others(&mut self) -> Vec<Rc<Analysis>> {
        let open: Vec<PathBuf> = self.documents.keys().cloned().collect();
        let mut others: Vec<Rc<Analysis>> =
            open.iter().filter_map(|path| self.analysis(path)).collect();
        for path in self.files() {
            if self.documents.contains_key(&path) {
                continue;
            }
            // A file that imports nothing has no names of another.
            let text = driver::from_disk(&path).unwrap_or_default();
            if text.contains("import") {
                others.push(Rc::new(self.analysed(&path, &text)));
            }
        }
        others
    }

    /// The specs in the editor's folders.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = self.folders.clone();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let path = entry.path();
                let name = entry.file_name();
                let hidden = name.to_string_lossy().starts_with('.');
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_folder && !hidden && name != "target" && name != "node_modules" {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "bpm")
                    && found.len() < MOST_FILES
                {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// A finding as the protocol says it. Its place is in a file, never in the library.
pub(super) fn finding(all: &Analysis, one: &Diagnostic) -> Value {
    let place = one.primary.span;
    let index = LineIndex::new(all.text_of(place.source));
    let mut message = one.message.clone();
    if !one.primary.text.is_empty() {
        message.push_str(&format!(": {}", one.primary.text));
    }
    if let Some(help) = &one.help {
        message.push_str(&format!("\nhelp: {help}"));
    }
    let related = one.secondary.iter().filter_map(|label| {
        let path = all.path(label.span.source)?;
        let index = LineIndex::new(all.text_of(label.span.source));
        let range = text::range(&index, label.span.range());
        Some(json!({ "location": { "uri": text::uri_of(&path), "range": range }, "message": label.text }))
    });
    json!({
        "range": text::range(&index, place.range()),
        "severity": match one.severity() { Severity::Error => 1, Severity::Warning => 2 },
        "code": one.code.text(),
        "source": "bpmc",
        "message": message,
        "relatedInformation": related.collect::<Vec<_>>(),
    })
}
