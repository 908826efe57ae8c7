//! The parser: limits, the scan, the pest parser, the builder.

use pest::Parser;
use pest_derive::Parser;

use crate::lang::diag::{Code, Diagnostic, Diagnostics, SourceId};

use super::ast::{Comment, File, Initialiser};
use super::build::Builder;
use super::report::Reporter;
use super::scan::scan;
use super::version;

/// The longest text in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting of brackets.
pub const MAX_NESTING: usize = 64;

/// The greatest depth of an expression, so that later stages may recurse over it.
pub const MAX_EXPRESSION_DEPTH: usize = 256;

/// The largest number of errors reported for one text.
pub const MAX_ERRORS: usize = 50;

#[derive(Parser)]
#[grammar = "grammar/bpm.pest"]
pub(super) struct BpmParser;

/// Parses a file. Every syntax error is reported, up to [`MAX_ERRORS`]; the items without errors are
/// returned. The time is linear in the text.
///
/// Errors: `E0101` for text outside the grammar, `E0102` for unmatched brackets, `E0103` for more than
/// [`MAX_NESTING`] nested brackets or [`MAX_EXPRESSION_DEPTH`] levels of an expression, `E0104` for texts
/// over [`MAX_BYTES`], `E0105` for unreadable literals, `E0106` for versions of the language that are
/// not this one, or not at the top.
pub fn parse(source: SourceId, text: &str, diagnostics: &mut Diagnostics) -> File {
    let mut reporter = Reporter::new(source, diagnostics);
    let mut file = File {
        source,
        items: Vec::new(),
        comments: Vec::new(),
    };
    if is_too_large(text, &mut reporter) || version::is_unknown(text, &mut reporter) {
        return file;
    }
    let scan = scan(text, &mut reporter);
    file.comments = scan
        .comments
        .into_iter()
        .map(|range| {
            let end = range.start + text[range.clone()].trim_end_matches('\r').len();
            Comment {
                text: text[range.start..end].to_string(),
                span: reporter.span(range.start, end),
            }
        })
        .collect();
    for region in scan.regions {
        let Some(part) = text.get(region.clone()) else {
            continue;
        };
        match BpmParser::parse(Rule::file, part) {
            Ok(pairs) => {
                let mut builder = Builder::new(text, region.start, &mut reporter);
                file.items.extend(builder.file(pairs));
            }
            Err(error) => {
                Builder::new(text, region.start, &mut reporter)
                    .explain_error(&error, 0..part.len());
            }
        }
    }
    version::remove_misplaced(&mut file.items, &mut reporter);
    file
}

/// Parses the value of `--set path=value`: an expression, or `~` and a distribution. Nothing may follow it.
/// Errors as for [`parse`].
pub fn parse_value(
    source: SourceId,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Initialiser> {
    let mut reporter = Reporter::new(source, diagnostics);
    if is_too_large(text, &mut reporter) {
        return None;
    }
    // A value must be one region: a part of it has no meaning.
    let regions = scan(text, &mut reporter).regions;
    if reporter.has_reported() || regions.len() != 1 {
        return None;
    }
    let mut builder = Builder::new(text, 0, &mut reporter);
    match BpmParser::parse(Rule::one_value, text) {
        Ok(pairs) => builder.value(pairs),
        Err(error) => {
            builder.explain_error(&error, 0..text.len());
            None
        }
    }
}

fn is_too_large(text: &str, reporter: &mut Reporter<'_>) -> bool {
    let too_large = text.len() > MAX_BYTES;
    if too_large {
        reporter.report(
            Diagnostic::new(
                Code::TooLarge,
                reporter.span(0, 0),
                format!(
                    "the text has {} bytes, over the limit of {MAX_BYTES}",
                    text.len()
                ),
            )
            .with_help("share parts between files with `import \"...\"`"),
        );
    }
    too_large
}
