//! Unit tests of the syntax front end; `tests/syntax.rs` has the random and the large texts.

mod errors;
mod limits;
mod printing;
mod trees;

use super::ast::File;
use super::{dump, parse, print};
use crate::lang::diag::{Diagnostics, SourceId};

/// Renders every diagnostic: code, place and text there, message; other labels; help.
fn render(text: &str, diagnostics: &Diagnostics) -> String {
    let mut out = String::new();
    for found in diagnostics.iter() {
        let range = found.primary.span.range();
        let (code, there) = (found.code.text(), text[range.clone()].escape_debug());
        out += &format!(
            "{code} {}..{} `{there}`: {}\n",
            range.start, range.end, found.message
        );
        for label in &found.secondary {
            let range = label.span.range();
            out += &format!("  {}..{}: {}\n", range.start, range.end, label.text);
        }
        if let Some(help) = &found.help {
            out += &format!("  help: {help}\n");
        }
    }
    out
}

fn errors(text: &str) -> String {
    let mut diagnostics = Diagnostics::new();
    parse(SourceId(0), text, &mut diagnostics);
    render(text, &diagnostics)
}

fn sound(text: &str) -> File {
    let mut diagnostics = Diagnostics::new();
    let file = parse(SourceId(0), text, &mut diagnostics);
    assert_eq!(render(text, &diagnostics), "");
    file
}

fn tree(text: &str) -> String {
    dump(&sound(text))
}

/// The canonical text, which must print as itself and have the same tree.
fn canonical(text: &str) -> String {
    let file = sound(text);
    let printed = print(&file, text);
    let again = sound(&printed);
    assert_eq!(dump(&file), dump(&again));
    assert_eq!(print(&again, &printed), printed);
    printed
}
