//! Diagnostics as text for people.

use super::excerpt::{excerpts, Excerpt};
use super::position::LineIndex;
use super::{Diagnostic, Diagnostics, Label, Severity, SourceId, SourceMap};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::collections::BTreeMap;

/// The largest number of diagnostics shown; the rest are counted.
const SHOWN: usize = 100;
/// The number of characters to which a message or label is cut.
const MESSAGE_CHARS: usize = 600;

/// The style of the rendered text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// True to colour with ANSI sequences.
    pub color: bool,
    /// The number of columns of the terminal; longer source lines are trimmed around their labels.
    pub width: usize,
}

impl Style {
    /// A style without colour and 120 columns wide, for files, pipes and tests.
    pub const PLAIN: Style = Style {
        color: false,
        width: 120,
    };
}

/// Renders all diagnostics as text, each followed by an empty line. The last line counts them and names the
/// command that explains the first. The text is empty without diagnostics. The order of `diagnostics` is
/// kept; see [`Diagnostics::sort`].
pub fn render(diagnostics: &Diagnostics, sources: &SourceMap, style: Style) -> String {
    let renderer = if style.color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .decor_style(DecorStyle::Ascii)
    .term_width(style.width);

    let mut indexes = BTreeMap::new();
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        for label in labels(diagnostic) {
            let id = label.span.source;
            indexes
                .entry(id)
                .or_insert_with(|| LineIndex::new(&sources.file(id).text));
        }
        let group = group(diagnostic, sources, &indexes);
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    if let Some(summary) = summary(diagnostics) {
        let group = Group::with_title(Level::NOTE.secondary_title(summary));
        text.push_str(&renderer.render(&[group]));
        text.push('\n');
    }
    text
}

fn labels(diagnostic: &Diagnostic) -> impl Iterator<Item = &Label> {
    std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary)
}

fn group<'a>(
    diagnostic: &Diagnostic,
    sources: &'a SourceMap,
    indexes: &BTreeMap<SourceId, LineIndex<'a>>,
) -> Group<'a> {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(clean(&diagnostic.message))
        .id(diagnostic.code.text());
    let mut group = Group::with_title(title);

    // The file of the primary label comes first, then the others in the order of their labels.
    let mut files: Vec<SourceId> = Vec::new();
    for label in labels(diagnostic) {
        if !files.contains(&label.span.source) {
            files.push(label.span.source);
        }
    }
    for file in files {
        let index = &indexes[&file];
        let here: Vec<(bool, &Label)> = labels(diagnostic)
            .enumerate()
            .filter(|(_, label)| label.span.source == file)
            .map(|(k, label)| (k == 0, label))
            .collect();
        let ranges: Vec<_> = here.iter().map(|(_, label)| label.span.range()).collect();
        let mut parts = excerpts(index, &ranges);
        // The excerpt with the primary label comes first.
        parts.sort_by_key(|part| !part.labels.iter().any(|(k, _)| here[*k].0));
        let path = clean(&sources.file(file).name);
        for part in parts {
            let annotations = annotations(&part, &here);
            let snippet = Snippet::source(part.text)
                .line_start(part.first_line)
                .annotations(annotations);
            if part.shifted {
                let head = part.labels.iter().map(|(k, _)| *k).min().unwrap_or(0);
                let at = index.position(ranges[head].start);
                let origin = Origin::path(path.clone())
                    .line(at.line)
                    .char_column(at.column);
                group = group.element(origin).element(snippet);
            } else {
                group = group.element(snippet.path(path.clone()));
            }
        }
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(clean(help)));
    }
    group
}

fn annotations<'a>(part: &Excerpt, here: &[(bool, &Label)]) -> Vec<Annotation<'a>> {
    part.labels
        .iter()
        .map(|(k, range)| {
            let (primary, label) = here[*k];
            let kind = if primary {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let annotation = kind.span(range.clone());
            if label.text.is_empty() {
                annotation
            } else {
                annotation.label(clean(&label.text))
            }
        })
        .collect()
}

/// A text on one line, without characters that move the cursor of a terminal.
fn clean(text: &str) -> String {
    let mut clean = String::new();
    for (k, c) in text.chars().enumerate() {
        if k == MESSAGE_CHARS {
            clean.push_str("...");
            break;
        }
        match c {
            '\n' | '\t' => clean.push(' '),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => clean.extend(c.escape_unicode()),
            c if c.is_control() => clean.extend(c.escape_unicode()),
            c => clean.push(c),
        }
    }
    clean
}

fn summary(diagnostics: &Diagnostics) -> Option<String> {
    let first = diagnostics
        .iter()
        .find(|d| d.severity() == Severity::Error)
        .or_else(|| diagnostics.iter().next())?;
    let total = diagnostics.iter().len();
    let errors = diagnostics.error_count();
    let count = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let counts: Vec<String> = [count(errors, "error"), count(total - errors, "warning")]
        .into_iter()
        .flatten()
        .collect();
    let more = match total.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("and {more} more: "),
    };
    Some(format!(
        "{more}{}; run `bpmc explain {}` for more",
        counts.join(" and "),
        first.code.text()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::diag::{Code, Span};

    /// Renders one diagnostic at the text between the first `[[` and `]]`, which are removed.
    fn show(marked: &str) -> String {
        let (start, end) = (marked.find("[[").unwrap(), marked.find("]]").unwrap() - 2);
        let text = marked.replace("[[", "").replace("]]", "");
        let mut sources = SourceMap::new();
        let file = sources.add("a.bpm", text);
        let mut all = Diagnostics::new();
        all.push(
            Diagnostic::new(Code::UnknownName, Span::new(file, start, end), "message")
                .with_label("label"),
        );
        render(&all, &sources, Style::PLAIN)
    }

    #[test]
    fn everything_in_its_place() {
        let mut sources = SourceMap::new();
        let spec = sources.add(
            "agent.bpm",
            "import \"common.bpm\"\n\ntrain a2c {\n  bach = 30\n}\n",
        );
        let common = sources.add("common.bpm", "train a2c {\n  batch = 10\n}\n");
        let mut all = Diagnostics::new();
        all.push(
            Diagnostic::new(
                Code::UnknownSetting,
                Span::new(spec, 35, 39),
                "`a2c` has no setting `bach`",
            )
            .with_label("not a setting")
            .with_secondary(Span::new(spec, 27, 30), "of this trainer")
            .with_secondary(Span::new(common, 14, 19), "set here before")
            .with_help("write `batch`"),
        );
        all.push(Diagnostic::new(
            Code::UnusedValue,
            Span::new(common, 0, 5),
            "`train` is not used",
        ));
        insta::assert_snapshot!(render(&all, &sources, Style::PLAIN), @r"
        error[E0205]: `a2c` has no setting `bach`
         --> agent.bpm:4:3
          |
        3 | train a2c {
          |       --- of this trainer
        4 |   bach = 30
          |   ^^^^ not a setting
          |
         ::: common.bpm:2:3
          |
        2 |   batch = 10
          |   ----- set here before
          |
          = help: write `batch`

        warning[W0105]: `train` is not used
         --> common.bpm:1:1
          |
        1 | train a2c {
          | ^^^^^

        note: 1 error and 1 warning; run `bpmc explain E0205` for more
        ");
    }

    #[test]
    fn tabs_and_carriage_returns() {
        insta::assert_snapshot!(show("a = 1\r\n\tb =\t[[oops]]\r\nc = 2\r\n"), @r"
        error[E0201]: message
         --> a.bpm:2:6
          |
        2 |     b =    oops
          |            ^^^^ label

        note: 1 error; run `bpmc explain E0201` for more
        ");
    }

    #[test]
    fn wide_and_combining_characters() {
        insta::assert_snapshot!(show("\u{7DB2}\u{7D61} e\u{0301}\u{0302} = [[\u{1F9E0}x]] + 1\n"), @r"
        error[E0201]: message
         --> a.bpm:1:10
          |
        1 | 網絡 é̂ = 🧠x + 1
          |          ^^^ label

        note: 1 error; run `bpmc explain E0201` for more
        ");
    }

    #[test]
    fn empty_file() {
        insta::assert_snapshot!(show("[[]]"), @r"
        error[E0201]: message
         --> a.bpm:1:1
          |
        1 |
          | ^ label

        note: 1 error; run `bpmc explain E0201` for more
        ");
    }

    #[test]
    fn end_of_file() {
        insta::assert_snapshot!(show("network a {\n[[]]"), @r"
        error[E0201]: message
         --> a.bpm:2:1
          |
        2 |
          | ^ label

        note: 1 error; run `bpmc explain E0201` for more
        ");
        insta::assert_snapshot!(show("network a {[[]]"), @r"
        error[E0201]: message
         --> a.bpm:1:12
          |
        1 | network a {
          |            ^ label

        note: 1 error; run `bpmc explain E0201` for more
        ");
    }

    #[test]
    fn several_lines() {
        insta::assert_snapshot!(show("a\nnetwork [[agent {\n  x = 1\n  y = 2\n  z = 3\n}]]\nb\n"), @r"
        error[E0201]: message
         --> a.bpm:2:9
          |
        2 |   network agent {
          |  _________^
        3 | |   x = 1
        4 | |   y = 2
        5 | |   z = 3
        6 | | }
          | |_^ label

        note: 1 error; run `bpmc explain E0201` for more
        ");
    }

    #[test]
    fn control_characters_are_made_visible() {
        let mut sources = SourceMap::new();
        let file = sources.add("a\u{1b}[2J.bpm", "x \u{1b}[31m y\u{202E}z\n");
        let mut all = Diagnostics::new();
        all.push(Diagnostic::new(
            Code::Syntax,
            Span::new(file, 2, 3),
            "found `\u{1b}[31m`\n\u{7}",
        ));
        let text = render(&all, &sources, Style::PLAIN);
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202E}']), "{text:?}");
    }

    #[test]
    fn colour_only_where_asked() {
        let mut sources = SourceMap::new();
        let file = sources.add("a.bpm", "x\n");
        let mut all = Diagnostics::new();
        all.push(Diagnostic::new(
            Code::Syntax,
            Span::new(file, 0, 1),
            "message",
        ));
        let plain = render(&all, &sources, Style::PLAIN);
        assert!(!plain.contains('\u{1b}'));
        let color = Style {
            color: true,
            width: 80,
        };
        assert!(render(&all, &sources, color).contains("\u{1b}["));
    }

    #[test]
    fn a_long_line_is_cut_and_its_column_kept() {
        let text = format!("{}oops{}", "a ".repeat(4000), " b".repeat(4000));
        let mut sources = SourceMap::new();
        let file = sources.add("a.bpm", text);
        let mut all = Diagnostics::new();
        all.push(
            Diagnostic::new(Code::Syntax, Span::new(file, 8000, 8004), "message")
                .with_label("label"),
        );
        insta::assert_snapshot!(render(&all, &sources, Style { color: false, width: 60 }), @r"
        error[E0101]: message
         --> a.bpm:1:8001
          |
         ::: 
        1 | ...a a a a a a a a a a oops b b b b b b b b b b b b b...
          |                        ^^^^ label

        note: 1 error; run `bpmc explain E0101` for more
        ");
    }

    #[test]
    fn many_are_counted() {
        let mut sources = SourceMap::new();
        let file = sources.add("a.bpm", "x".repeat(200));
        let mut all = Diagnostics::new();
        for k in 0..130 {
            all.push(Diagnostic::new(
                Code::Syntax,
                Span::new(file, k, k + 1),
                "message",
            ));
        }
        let text = render(&all, &sources, Style::PLAIN);
        assert_eq!(text.matches("error[E0101]").count(), 100);
        assert!(
            text.ends_with("note: and 30 more: 130 errors; run `bpmc explain E0101` for more\n")
        );
    }

    #[test]
    fn silent_without_findings() {
        assert_eq!(
            render(&Diagnostics::new(), &SourceMap::new(), Style::PLAIN),
            ""
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_and_any_spans_can_be_shown(
            text in "([a-c ]|[\\t\\r\\n\\x00\\x1b\u{E9}\u{301}\u{7DB2}\u{200D}\u{202E}\u{5D0}\u{1F9E0}]){0,60}",
            spans in proptest::collection::vec((0usize..80, 0usize..80), 1..5),
            width in 0usize..90,
            color: bool,
        ) {
            let mut sources = SourceMap::new();
            let file = sources.add("a.bpm", text.clone());
            let other = sources.add("b.bpm", text);
            let mut finding = Diagnostic::new(Code::Syntax, Span::new(file, 0, 0), "message");
            for (k, (a, b)) in spans.into_iter().enumerate() {
                let file = if k % 3 == 2 { other } else { file };
                let span = Span::new(file, a.min(b), a.max(b));
                if k == 0 {
                    finding.primary.span = span;
                } else {
                    finding = finding.with_secondary(span, "label");
                }
            }
            let mut all = Diagnostics::new();
            all.push(finding);
            let shown = render(&all, &sources, Style { color, width });
            proptest::prop_assert!(shown.contains("E0101"));
            proptest::prop_assert_eq!(shown.find('\u{202E}'), None);
            proptest::prop_assert_eq!(crate::lang::diag::render_json(&all, &sources).lines().count(), 1);
        }
    }
}
