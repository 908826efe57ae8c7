//! The library of trace rules and cells, written in the language itself: one `.bpm` file a rule, and in
//! `cells` one a cell.

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// The text of a rule of the library.
pub fn text(name: &str) -> Option<&'static str> {
    find(LIBRARY, name)
}

/// Names of all rules, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    LIBRARY.iter().map(|(name, _)| *name)
}

/// The text of a cell of the library.
pub fn cell_text(name: &str) -> Option<&'static str> {
    find(CELLS, name)
}

/// Names of all cells, in alphabetical order.
pub fn cell_names() -> impl Iterator<Item = &'static str> {
    CELLS.iter().map(|(name, _)| *name)
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let row = table.iter().find(|(known, _)| *known == name);
    row.map(|(_, text)| *text)
}
