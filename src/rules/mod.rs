//! The library of trace rules, written in the language itself: one `.bpm` file a rule.

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// The text of a rule of the library.
pub fn text(name: &str) -> Option<&'static str> {
    LIBRARY
        .iter()
        .find(|(rule, _)| *rule == name)
        .map(|(_, text)| *text)
}

/// Names of all rules, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    LIBRARY.iter().map(|(name, _)| *name)
}
