//! Quick fixes: the edits that help lines speak of. A help line is text, so each edit that it may mean is tried, and offered only
//! if the finding is then gone and no other error is there instead.

use super::analysis::Analysis;
use crate::lang::diag::{Diagnostic, Severity, SourceId};
use crate::lang::sema::Loader;
use std::ops::Range;

/// A change of a text with its title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    pub title: String,
    pub bytes: Range<usize>,
    pub text: String,
}

/// The most edits that are tried for one finding.
const MOST_TRIES: usize = 12;

/// The fixes of a finding in the text itself.
pub fn fixes(all: &Analysis, finding: &Diagnostic, name: &str, load: &Loader<'_>) -> Vec<Fix> {
    let Some(help) = &finding.help else {
        return Vec::new();
    };
    if finding.primary.span.source != SourceId(0) {
        return Vec::new();
    }
    let mut found: Vec<Fix> = Vec::new();
    for fix in candidates(all.text(), finding, help)
        .into_iter()
        .take(MOST_TRIES)
    {
        let mut text = all.text().to_owned();
        text.replace_range(fix.bytes.clone(), &fix.text);
        if found.iter().all(|other| other.text != fix.text)
            && mends(all, finding, name, &text, load)
        {
            found.push(fix);
        }
    }
    found
}

/// Tells if a finding is gone from a changed text, and no error new.
fn mends(all: &Analysis, finding: &Diagnostic, name: &str, text: &str, load: &Loader<'_>) -> bool {
    let after = Analysis::new(name, text, load);
    let number = |of: &Analysis, severity: Severity| {
        let found = of.findings().iter();
        found.filter(|one| one.severity() == severity).count()
    };
    let same = |of: &Analysis| {
        let found = of.findings().iter();
        found
            .filter(|one| one.code == finding.code && one.message == finding.message)
            .count()
    };
    let errors = [all, &after].map(|of| number(of, Severity::Error));
    // What could not be judged while items were broken is found afterwards.
    // The same holds for the settings of a task whose name was not known.
    let named = finding.code.text() == "E0206";
    let more_is_seen = (all.is_broken() && !after.is_broken()) || named;
    same(&after) < same(all) && (errors[1] <= errors[0] || more_is_seen)
}

/// The edits that a help line may mean, the likeliest first.
fn candidates(text: &str, finding: &Diagnostic, help: &str) -> Vec<Fix> {
    let place = finding.primary.span.range();
    let there = &text[place.clone()];
    let snippets: Vec<&str> = help.split('`').skip(1).step_by(2).collect();
    let mut found = Vec::new();
    let mut add = |title: String, bytes: Range<usize>, text: String| {
        found.push(Fix { title, bytes, text });
    };
    let statement = statement(text, &place);
    for snippet in snippets {
        let last = snippet.rsplit(['.', ' ']).next().unwrap_or(snippet);
        let title = format!("Write `{snippet}`");
        let changed = help.contains("did you mean");
        let title = if changed {
            format!("Change to `{snippet}`")
        } else {
            title
        };
        add(title.clone(), place.clone(), snippet.to_owned());
        add(title.clone(), place.clone(), last.to_owned());
        // `v = 0` for `v: [3]`, `= 0` for a draw.
        let first = there
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next();
        if let Some(rest) = first.and_then(|first| snippet.strip_prefix(first)) {
            if !rest.is_empty() {
                let rest = format!(" {}", rest.trim_start());
                add(title.clone(), place.end..place.end, rest);
            }
        }
        if let Some(rest) = snippet.strip_prefix('=') {
            let before = text[..place.start].trim_end();
            if before.ends_with(['~', '=']) {
                let draw = before.len() - 1..place.end;
                add(title.clone(), draw, format!("={rest}"));
            }
        }
        let lone = snippet.len() <= 2 && !snippet.chars().any(char::is_alphanumeric);
        if lone {
            add(title.clone(), place.end..place.end, snippet.to_owned());
            add(title.clone(), place.start..place.start, snippet.to_owned());
            let before = text[..place.start].trim_end();
            if let Some(sign) = before.chars().last() {
                let sign = before.len() - sign.len_utf8()..before.len();
                add(title.clone(), sign, snippet.to_owned());
            }
        }
        if snippet.contains('{') {
            let end = text.len();
            let gap = if text.ends_with('\n') { "\n" } else { "\n\n" };
            add(title.clone(), end..end, format!("{gap}{snippet}\n"));
        } else if snippet.contains(['=', '<']) || snippet.contains(' ') {
            let indent = indent(text, place.start);
            let line = format!("\n{indent}{snippet}");
            add(title, statement.end..statement.end, line);
        }
    }
    if ["leave", "remove", "delete", "drop", "take it out"]
        .iter()
        .any(|word| help.contains(word))
    {
        add("Remove it".to_owned(), place.clone(), String::new());
        add("Remove the statement".to_owned(), statement, String::new());
    }
    found
}

/// The lines of a place, without the blanks around them.
fn statement(text: &str, place: &Range<usize>) -> Range<usize> {
    let start = text[..place.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[place.end..]
        .find('\n')
        .map_or(text.len(), |at| place.end + at);
    let indent = text[start..].len() - text[start..].trim_start_matches([' ', '\t']).len();
    let trimmed = text[start..end].trim_end().len();
    (start + indent).min(place.start)..(start + trimmed).max(place.end)
}

fn indent(text: &str, at: usize) -> &str {
    let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}
