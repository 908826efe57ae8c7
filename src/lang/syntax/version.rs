//! The version of the language: `bpm 1` at the top of a file. A file without it is read as the newest version.

use crate::lang::diag::{Code, Diagnostic};

use super::ast::{Item, ItemKind};
use super::report::Reporter;
use super::token::{self, TokenKind};

/// The version of the language that this bpmc reads.
pub const VERSION: u32 = 1;

/// The word before the version.
pub(super) const WORD: &str = "bpm";

/// Reports a version at the top of a text that this bpmc does not read. The rest of such a text means nothing here.
pub(super) fn is_unknown(text: &str, reporter: &mut Reporter<'_>) -> bool {
    let start = text.len() - text.trim_start_matches('\u{FEFF}').len();
    let word = token::token_at(text, token::skip_blanks(text, start));
    let number = token::token_at(text, token::skip_blanks(text, word.range.end));
    let named = word.text == WORD && number.kind == TokenKind::Number;
    if !named || number.text == VERSION.to_string() {
        return false;
    }
    let (shown, span) = (
        super::expected::quoted(number.text),
        reporter.span(word.range.start, number.range.end),
    );
    let newer = number.text.parse().is_ok_and(|given: u32| given > VERSION);
    let (message, help) = if newer {
        (
            format!("this file is written in version {shown} of the language, and this bpmc reads version {VERSION}"),
            format!("install a newer bpmc, or write `bpm {VERSION}` if the file needs nothing newer"),
        )
    } else {
        (
            format!("the language has no version `{shown}`"),
            format!(
                "write `bpm {VERSION}`; `bpmc fmt --upgrade` rewrites what an older bpmc accepted"
            ),
        )
    };
    reporter.report(Diagnostic::new(Code::UnknownVersion, span, message).with_help(help));
    true
}

/// Reports versions that are not the first item of their file, and leaves them out.
pub(super) fn remove_misplaced(items: &mut Vec<Item>, reporter: &mut Reporter<'_>) {
    let mut first = true;
    items.retain(|item| {
        let misplaced = !std::mem::take(&mut first) && item.kind == ItemKind::Version;
        if misplaced {
            let message = "the version of the language stands at the top of a file";
            let found = Diagnostic::new(Code::UnknownVersion, item.span, message);
            reporter.report(found.with_help("move it there, or leave it out"));
        }
        !misplaced
    });
}
