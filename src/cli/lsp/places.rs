//! Where a name is declared and used, in all files that are known, and new names for it.

use super::analysis::Analysis;
use super::symbols::{Kind, Symbol};
use super::words;
use crate::lang::diag::{SourceId, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Names that mean something at places where no declaration of them is looked for.
const OWN_MEANING: [&str; 5] = ["pre", "post", "task", "train", "target"];

/// A place in a file.
pub type Place = (PathBuf, Range<usize>);

/// The file and the bytes of a span. Rules and cells of the library are written into a folder of their own, so that an
/// editor can show them.
pub fn place(all: &Analysis, span: Span) -> Option<Place> {
    let path = match all.path(span.source) {
        Some(path) => path,
        None => library(all, span.source)?,
    };
    Some((path, span.range()))
}

/// A file with the text of a rule or a cell of the library.
fn library(all: &Analysis, source: SourceId) -> Option<PathBuf> {
    let file = all.parsed.sources.file(source);
    let name = file.name.rsplit(' ').next()?;
    let folder = format!("bpmc-library-{}", env!("CARGO_PKG_VERSION"));
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(&folder).ok()?;
    let path = folder.join(name);
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&file.text) {
        std::fs::write(&path, &file.text).ok()?;
    }
    Some(path)
}

/// All places of the symbol at a byte of a text, and of the same symbol in other specs.
pub fn places(
    all: &Analysis,
    byte: usize,
    others: &[&Analysis],
    with_declaration: bool,
) -> BTreeSet<(PathBuf, usize, usize)> {
    let mut found = BTreeSet::new();
    let Some(symbol) = all.symbols.at(SourceId(0), byte).map(|one| one.symbol) else {
        return found;
    };
    let declared = all.symbols.list[symbol].span;
    let Some(path) = all.path(declared.source) else {
        return collect(all, symbol, with_declaration);
    };
    found.extend(collect(all, symbol, with_declaration));
    for other in others {
        let Some(source) = other.source(&path) else {
            continue;
        };
        let same = other
            .symbols
            .list
            .iter()
            .position(|one| one.span.source == source && one.span.range() == declared.range());
        if let Some(same) = same {
            found.extend(collect(other, same, with_declaration));
        }
    }
    found
}

fn collect(
    all: &Analysis,
    symbol: usize,
    with_declaration: bool,
) -> BTreeSet<(PathBuf, usize, usize)> {
    let declared = all.symbols.list[symbol].span;
    let places = all.symbols.of(symbol);
    let places = places.filter(|one| with_declaration || one.span != declared);
    places
        .filter_map(|one| {
            let (path, bytes) = place(all, one.span)?;
            Some((path, bytes.start, bytes.end))
        })
        .collect()
}

/// The symbol at a byte, if it can be renamed.
pub fn renamed(all: &Analysis, byte: usize) -> Result<(&Symbol, Span), String> {
    let Some(found) = all.symbols.at(SourceId(0), byte) else {
        return Err("there is no name of the spec here".to_owned());
    };
    let symbol = &all.symbols.list[found.symbol];
    if symbol.kind == Kind::Setting {
        return Err(format!("`{}` is a setting of bpmc", symbol.name));
    }
    if all.is_library(symbol.span.source) {
        return Err(format!("`{}` belongs to the library of bpmc", symbol.name));
    }
    Ok((symbol, found.span))
}

/// Checks a new name.
pub fn check_name(name: &str) -> Result<(), String> {
    let words = words::words(name);
    match words.as_slice() {
        [(words::Kind::Name, _)] if OWN_MEANING.contains(&name) => {
            Err(format!("`{name}` has a meaning of its own in the language"))
        }
        [(words::Kind::Name, range)] if range.len() == name.len() => Ok(()),
        [(words::Kind::Reserved, _)] => Err(format!("`{name}` is a word of the language")),
        _ => Err(format!(
            "`{name}` is no name: letters, digits and `_`, and no digit first"
        )),
    }
}

/// Texts with all places replaced by a name.
pub fn replaced(
    places: &BTreeSet<(PathBuf, usize, usize)>,
    name: &str,
    text: impl Fn(&Path) -> Option<String>,
) -> BTreeMap<PathBuf, String> {
    let mut changed: BTreeMap<PathBuf, String> = BTreeMap::new();
    // From the end, so that places before stay where they are.
    for (path, start, end) in places.iter().rev() {
        let known = changed.remove(path).or_else(|| text(path));
        if let Some(mut text) = known {
            if text.get(*start..*end).is_some() {
                text.replace_range(*start..*end, name);
            }
            changed.insert(path.clone(), text);
        }
    }
    changed
}

/// The first place of a new text at which a name means another declaration than before it was renamed.
pub fn other_meaning(
    before: &Analysis,
    after: &Analysis,
    renamed: &BTreeSet<(PathBuf, usize, usize)>,
    name: &str,
) -> Option<(PathBuf, usize)> {
    let mut edits: BTreeMap<&Path, Vec<(usize, usize)>> = BTreeMap::new();
    for (path, start, end) in renamed {
        edits.entry(path).or_default().push((*start, *end));
    }
    let moved = |(path, start): (PathBuf, usize)| {
        let edits = edits.get(path.as_path());
        let earlier = edits.into_iter().flatten().filter(|edit| edit.0 < start);
        let new = earlier.fold(start, |at, (from, to)| at + name.len() - (to - from));
        (path, new)
    };
    let wanted = meanings(before).into_iter();
    let wanted: BTreeSet<_> = wanted.map(|(at, of)| (moved(at), moved(of))).collect();
    let found = meanings(after);
    let first = wanted.symmetric_difference(&found).next();
    first.map(|(at, _)| at.clone())
}

/// The places of all names with those of their declarations.
fn meanings(all: &Analysis) -> BTreeSet<((PathBuf, usize), (PathBuf, usize))> {
    let place = |span: Span| {
        let file = all.parsed.sources.file(span.source);
        (PathBuf::from(&file.name), span.range().start)
    };
    let uses = all.symbols.uses.values();
    uses.map(|one| (place(one.span), place(all.symbols.list[one.symbol].span)))
        .collect()
}
