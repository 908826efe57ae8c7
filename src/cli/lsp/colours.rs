//! The kinds of words, for colours.

use super::analysis::Analysis;
use super::symbols::Kind;
use super::words::{self, Kind as Word};
use crate::lang::diag::{LineIndex, SourceId};
use crate::lang::syntax::ast::DeclKind;

/// The kinds that the protocol is told, in the order of their numbers.
pub const KINDS: [&str; 10] = [
    "keyword",
    "comment",
    "string",
    "number",
    "operator",
    "variable",
    "parameter",
    "property",
    "function",
    "class",
];

/// The marks on kinds, each a bit.
pub const MARKS: [&str; 3] = ["declaration", "readonly", "defaultLibrary"];

/// The words that begin blocks, and would be names elsewhere.
const BLOCKS: [&str; 8] = [
    "task",
    "train",
    "optimizer",
    "loss",
    "grad_scale",
    "cell",
    "for",
    "in",
];

/// The words of a text as the protocol wants them: five numbers each, places relative to the word before.
pub fn colours(all: &Analysis) -> Vec<usize> {
    let text = all.text();
    let index = LineIndex::new(text);
    let words = words::words(text);
    let mut numbers = Vec::with_capacity(words.len() * 5);
    let (mut line, mut column) = (1, 1);
    for (k, (word, range)) in words.iter().enumerate() {
        let next = words.get(k + 1).map(|(_, next)| &text[next.clone()]);
        let Some((kind, marks)) = colour(all, *word, &text[range.clone()], range.start, next)
        else {
            continue;
        };
        let kind = KINDS.iter().position(|known| *known == kind).unwrap_or(0);
        let at = index.position(range.start);
        let length: usize = text[range.clone()].chars().map(char::len_utf16).sum();
        let moved = if at.line == line {
            at.utf16 - column
        } else {
            at.utf16 - 1
        };
        numbers.extend([at.line - line, moved, length, kind, marks]);
        (line, column) = (at.line, at.utf16);
    }
    numbers
}

fn colour(
    all: &Analysis,
    word: Word,
    text: &str,
    at: usize,
    next: Option<&str>,
) -> Option<(&'static str, usize)> {
    let kind = match word {
        Word::Comment => "comment",
        Word::Reserved => "keyword",
        Word::Number => "number",
        Word::Text => "string",
        Word::Sign => return None,
        Word::Name => {
            let found = all.symbols.uses.get(&(SourceId(0), at as u32));
            let Some(found) = found else {
                let kind = match (text, next) {
                    (text, _) if super::meaning::function(text).is_some() => {
                        return Some(("function", 4))
                    }
                    ("pre" | "post", _) => return Some(("variable", 4)),
                    (text, _) if BLOCKS.contains(&text) => "keyword",
                    (_, Some("(")) => "function",
                    (_, Some("{")) => "class",
                    _ => "property",
                };
                return Some((kind, 0));
            };
            let symbol = &all.symbols.list[found.symbol];
            let declared = usize::from(symbol.span == found.span);
            let library = 4 * usize::from(all.is_library(symbol.span.source));
            let (kind, fixed) = match symbol.kind {
                Kind::Dim | Kind::Index => ("variable", 2),
                Kind::Rule | Kind::Cell => ("function", 0),
                Kind::Network | Kind::Bundle | Kind::Use => ("class", 0),
                Kind::Declared(
                    DeclKind::Weight | DeclKind::Coeff | DeclKind::Trained | DeclKind::Const,
                )
                | Kind::Parameter => ("parameter", 0),
                Kind::Declared(_) | Kind::Value => ("variable", 0),
                Kind::Setting => ("property", 0),
            };
            return Some((kind, declared | fixed | library));
        }
    };
    Some((kind, 0))
}
