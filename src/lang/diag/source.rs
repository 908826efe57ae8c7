//! Source texts.

use crate::ir::{SourceId, Span};

/// One text: a file, a library rule, or the argument of `--set`.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name in messages: a path as the user gave it, or `--set train.lr`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// All texts of one compilation.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
    uses: Vec<SourceUse>,
}

/// A use of a text at another place: the text of a cell, where the cell is used.
#[derive(Clone, Copy, Debug)]
struct SourceUse {
    /// The text.
    of: SourceId,
    /// The place of the use.
    at: Span,
}

/// The first id of uses, above the ids of all files.
const FIRST_USE: u32 = 1 << 31;

impl SourceMap {
    /// An empty map.
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// Adds a text and returns its id.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        self.files.push(SourceFile {
            name: name.into(),
            text: text.into(),
        });
        SourceId(self.files.len() as u32 - 1)
    }

    /// Adds a use of the text `of` at `at`. The new id means the same text, but tells spans of this use from
    /// those of another. `at` may itself lie in a use.
    pub fn add_use(&mut self, of: SourceId, at: Span) -> SourceId {
        let of = self.original(of);
        self.uses.push(SourceUse { of, at });
        SourceId(FIRST_USE + (self.uses.len() as u32 - 1))
    }

    fn find_use(&self, id: SourceId) -> Option<&SourceUse> {
        self.uses.get(id.0.checked_sub(FIRST_USE)? as usize)
    }

    /// The place of the use behind an id; `None` for the text itself.
    pub fn used_at(&self, id: SourceId) -> Option<Span> {
        self.find_use(id).map(|found| found.at)
    }

    /// The id of the text itself.
    pub fn original(&self, id: SourceId) -> SourceId {
        self.find_use(id).map_or(id, |found| found.of)
    }

    /// The file behind an id of this map.
    pub fn file(&self, id: SourceId) -> &SourceFile {
        &self.files[self.original(id).0 as usize]
    }

    /// The text that a span covers.
    pub fn text(&self, span: Span) -> &str {
        &self.file(span.source).text[span.range()]
    }

    /// All files, in the order they were added.
    pub fn files(&self) -> impl Iterator<Item = (SourceId, &SourceFile)> {
        self.files
            .iter()
            .enumerate()
            .map(|(k, f)| (SourceId(k as u32), f))
    }
}
