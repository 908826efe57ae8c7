//! The library of trace rules and cells, written in the language itself: one `.bpm` file per rule, and one
//! per cell in `cells`. The gallery of published systems stands beside it, in `specs/gallery/systems`.

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// The text of a library rule.
pub fn text(name: &str) -> Option<&'static str> {
    find(LIBRARY, name)
}

/// The names of all rules, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    LIBRARY.iter().map(|(name, _)| *name)
}

/// The text of a library cell.
pub fn cell_text(name: &str) -> Option<&'static str> {
    find(CELLS, name)
}

/// The names of all cells, in alphabetical order.
pub fn cell_names() -> impl Iterator<Item = &'static str> {
    CELLS.iter().map(|(name, _)| *name)
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let row = table.iter().find(|(known, _)| *known == name);
    row.map(|(_, text)| *text)
}
