//! Diagnostics as JSON for editors: one object per line.

use super::position::LineIndex;
use super::{Diagnostics, Severity, SourceId, SourceMap, Span};
use serde::Serialize;
use std::collections::BTreeMap;

/// The JSON form of a diagnostic. The fields are the format; see [`render_json`].
#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    code: &'static str,
    severity: &'static str,
    message: &'a str,
    #[serde(flatten)]
    place: JsonRange<'a>,
    label: &'a str,
    labels: Vec<JsonLabel<'a>>,
    help: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonLabel<'a> {
    #[serde(flatten)]
    place: JsonRange<'a>,
    text: &'a str,
}

#[derive(Serialize)]
struct JsonRange<'a> {
    file: &'a str,
    start: JsonPosition,
    end: JsonPosition,
}

#[derive(Serialize)]
struct JsonPosition {
    byte: usize,
    line: usize,
    column: usize,
    utf16: usize,
}

/// All findings, one JSON object a line:
///
/// ```json
/// {"code":"E0205","severity":"error","message":"...","file":"a.bpm",
///  "start":{"byte":7,"line":2,"column":3,"utf16":3},"end":{"byte":9,"line":2,"column":5,"utf16":5},
///  "label":"...","labels":[{"file":"a.bpm","start":{},"end":{},"text":"..."}],"help":null}
/// ```
///
/// `byte` counts from 0, `line`, `column` (Unicode scalar values) and `utf16` (UTF-16 code units)
/// from 1; `end` is one past the last character. `labels` are the other places that matter.
pub fn render_json(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    let mut indexes: BTreeMap<SourceId, LineIndex<'_>> = BTreeMap::new();
    let mut place = |span: Span| {
        let file = sources.file(span.source);
        let index = indexes
            .entry(span.source)
            .or_insert_with(|| LineIndex::new(&file.text));
        let point = |byte: usize| {
            let at = index.position(byte);
            JsonPosition {
                byte,
                line: at.line,
                column: at.column,
                utf16: at.utf16,
            }
        };
        let range = span.range();
        JsonRange {
            file: &file.name,
            start: point(range.start),
            end: point(range.end),
        }
    };
    let mut text = String::new();
    for diagnostic in diagnostics.iter() {
        let finding = JsonDiagnostic {
            code: diagnostic.code.text(),
            severity: match diagnostic.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            message: &diagnostic.message,
            place: place(diagnostic.primary.span),
            label: &diagnostic.primary.text,
            labels: diagnostic
                .secondary
                .iter()
                .map(|label| JsonLabel {
                    place: place(label.span),
                    text: &label.text,
                })
                .collect(),
            help: diagnostic.help.as_deref(),
        };
        let line = serde_json::to_string(&finding)
            .expect("strings and numbers under string keys are always JSON");
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::diag::{Code, Diagnostic};

    #[test]
    fn one_object_a_line_with_both_columns() {
        let mut sources = SourceMap::new();
        let file = sources.add("a.bpm", "dim \u{1D6FC}n = 0\ndim n = 2\n");
        let mut all = Diagnostics::new();
        all.push(
            Diagnostic::new(Code::BadSize, Span::new(file, 12, 13), "`0` is not a size")
                .with_label("must be at least 1")
                .with_secondary(Span::new(file, 18, 19), "another \"size\"")
                .with_help("write `1`"),
        );
        all.push(Diagnostic::new(
            Code::UnusedValue,
            Span::new(file, 24, 24),
            "nothing here",
        ));
        insta::assert_snapshot!(render_json(&all, &sources), @r#"
        {"code":"E0403","severity":"error","message":"`0` is not a size","file":"a.bpm","start":{"byte":12,"line":1,"column":10,"utf16":11},"end":{"byte":13,"line":1,"column":11,"utf16":12},"label":"must be at least 1","labels":[{"file":"a.bpm","start":{"byte":18,"line":2,"column":5,"utf16":5},"end":{"byte":19,"line":2,"column":6,"utf16":6},"text":"another \"size\""}],"help":"write `1`"}
        {"code":"W0105","severity":"warning","message":"nothing here","file":"a.bpm","start":{"byte":24,"line":3,"column":1,"utf16":1},"end":{"byte":24,"line":3,"column":1,"utf16":1},"label":"","labels":[],"help":null}
        "#);
    }
}
