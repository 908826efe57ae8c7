//! Source texts and the spans that point into them.

use std::ops::Range;

/// Index of one source text in a [`SourceMap`], or of a use of a text ([`SourceMap::add_use`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// A range of bytes of one source text. Always on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The text the range lies in.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end` of `source`.
    pub fn new(source: SourceId, start: usize, end: usize) -> Span {
        Span {
            source,
            start: start as u32,
            end: end as u32,
        }
    }

    /// The smallest span that covers `self` and `other`, both of one source.
    pub fn to(self, other: Span) -> Span {
        Span {
            source: self.source,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The byte range.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

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
