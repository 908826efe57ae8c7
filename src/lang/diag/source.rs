//! Source texts.

use crate::ir::{SourceId, Span};

/// One text: a file, a rule of the library, or the argument of `--set`.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// What messages call it: a path as the user gave it, or `--set train.lr`.
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

/// A text that stands for something at another place: that of a cell, where the cell is used.
#[derive(Clone, Copy, Debug)]
struct SourceUse {
    /// The text.
    of: SourceId,
    /// Where it is used.
    at: Span,
}

/// Ids of uses begin here, above those of all files.
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

    /// Adds a use, at `at`, of the text `of`: an id for the same text, by which spans of this use can be
    /// told from those of another. `at` may itself lie in a use.
    pub fn add_use(&mut self, of: SourceId, at: Span) -> SourceId {
        let of = self.original(of);
        self.uses.push(SourceUse { of, at });
        SourceId(FIRST_USE + (self.uses.len() as u32 - 1))
    }

    fn find_use(&self, id: SourceId) -> Option<&SourceUse> {
        self.uses.get(id.0.checked_sub(FIRST_USE)? as usize)
    }

    /// Where the use behind an id stands; `None` for the text itself.
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

    /// The text a span covers.
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
