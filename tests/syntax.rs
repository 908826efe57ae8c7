//! The syntax front end against random trees, random texts and large texts.
//!
//! `BPMC_FUZZ_CASES` sets the number of cases of each property.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::stopwatch::Stopwatch;
use std::time::Duration;

use crate::syntax_support::{random_file, respace, Entropy, GOOD, TOKENS};
use bpmc::lang::diag::{Diagnostics, SourceId};
use bpmc::lang::syntax::ast::File;
use bpmc::lang::syntax::{dump, parse, parse_value, print, MAX_ERRORS};
use proptest::prelude::*;

const SOURCE: SourceId = SourceId(0);

fn cases() -> u32 {
    std::env::var("BPMC_FUZZ_CASES").map_or(3000, |count| count.parse().unwrap())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn sound(text: &str) -> File {
    let mut diagnostics = Diagnostics::new();
    let file = parse(SOURCE, text, &mut diagnostics);
    assert!(diagnostics.is_empty(), "{diagnostics:?}\n{text}");
    file
}

fn comments(file: &File) -> Vec<String> {
    file.comments
        .iter()
        .map(|comment| comment.text.trim_end().to_string())
        .collect()
}

/// Canonical text has the same tree and the same comments, and is its own canonical text.
fn check_printing(file: &File, text: &str) {
    let printed = print(file, text);
    let again = sound(&printed);
    assert_eq!(dump(file), dump(&again), "{text}\n=>\n{printed}");
    assert_eq!(comments(file), comments(&again), "{text}\n=>\n{printed}");
    assert_eq!(
        printed,
        print(&again, &printed),
        "not canonical, from\n{text}"
    );
}

/// Whatever the text: no panic, in time, few errors, places on character boundaries, our own words.
fn check_any(text: &str) {
    let watch = Stopwatch::start();
    let mut diagnostics = Diagnostics::new();
    let file = parse(SOURCE, text, &mut diagnostics);
    assert!(diagnostics.error_count() <= MAX_ERRORS);
    for found in diagnostics.iter() {
        let labels = std::iter::once(&found.primary).chain(&found.secondary);
        for label in labels {
            assert!(text.get(label.span.range()).is_some(), "{found:?}");
        }
        assert!(
            !found.message.contains("EOI") && !found.message.contains("_open"),
            "{found:?}"
        );
        assert!(!found.message.contains('\n'), "{found:?}");
    }
    for item in &file.items {
        assert!(text.get(item.span.range()).is_some());
    }
    for comment in &file.comments {
        assert_eq!(text.get(comment.span.range()), Some(comment.text.as_str()));
    }
    if diagnostics.is_empty() {
        check_printing(&file, text);
    }
    let mut diagnostics = Diagnostics::new();
    let value = parse_value(SOURCE, text, &mut diagnostics);
    assert_eq!(value.is_none(), diagnostics.has_errors());
    assert!(
        watch.elapsed() < Duration::from_secs(5),
        "{:?} for {text}",
        watch.elapsed()
    );
}

/// The first character boundary at or after `at`, or the end.
fn boundary(text: &str, at: usize) -> usize {
    (at..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_trees_print_and_parse_back(entropy in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = random_file(&mut Entropy::new(&entropy));
        let printed = print(&file, "");
        let again = sound(&printed);
        prop_assert_eq!(dump(&file), dump(&again), "{}", printed);
        // The second text has the first one's lines to keep, so it may differ once, not twice.
        check_printing(&again, &printed);
    }

    #[test]
    fn layout_and_comments_of_the_source_do_not_change_the_tree(
        entropy in prop::collection::vec(any::<u8>(), 0..400),
        spaces in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let file = random_file(&mut Entropy::new(&entropy));
        let text = respace(&print(&file, ""), &spaces);
        let again = sound(&text);
        prop_assert_eq!(dump(&file), dump(&again), "{}", text);
        check_printing(&again, &text);
    }

    #[test]
    fn random_unicode_is_survived(text in "\\PC{0,200}|(\\PC|[\n\t {}()\\[\\]\"/=~<,.-]){0,200}") {
        check_any(&text);
    }

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_any(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_tokens_are_survived(picks in prop::collection::vec((0..TOKENS.len(), any::<bool>()), 0..120)) {
        let text: String = picks
            .iter()
            .map(|(token, space)| format!("{}{}", TOKENS[*token], if *space { " " } else { "" }))
            .collect();
        check_any(&text);
    }

    #[test]
    fn mutated_specs_are_survived(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6_u8, 0..TOKENS.len()), 1..8),
    ) {
        let mut text = GOOD.to_string();
        for (place, kind, token) in edits {
            let at = boundary(&text, place.index(text.len() + 1));
            let end = boundary(&text, at + 1 + place.index(40));
            match kind {
                0 => text.insert_str(at, TOKENS[token]),
                1 => text.replace_range(at..end, ""),
                2 => text.replace_range(at..end, TOKENS[token]),
                3 => {
                    let piece = text[at..end].to_string();
                    text.insert_str(end, &piece);
                }
                4 if at > 20 => text.truncate(at),
                _ => {
                    let end = boundary(&text, at + 1);
                    text.replace_range(at..end, "");
                }
            }
            if text.is_empty() {
                break;
            }
        }
        check_any(&text);
    }
}

#[test]
fn the_good_spec_is_good() {
    check_printing(&sound(GOOD), GOOD);
}

/// The bound tells linear from quadratic work, on a machine that is busy with other tests, too: ten seconds for a release
/// build, more for others.
fn quickly(name: &str, text: &str) {
    let bound = Duration::from_secs(if cfg!(debug_assertions) { 80 } else { 10 });
    let watch = Stopwatch::start();
    let mut diagnostics = Diagnostics::new();
    let file = parse(SOURCE, text, &mut diagnostics);
    let parsing = watch.elapsed();
    assert!(parsing < bound, "{name}: parsed in {parsing:?}");
    if diagnostics.is_empty() {
        let printed = print(&file, text);
        let all = watch.elapsed();
        assert!(all < 2 * bound, "{name}: parsed and printed in {all:?}");
        assert!(printed.is_empty() || printed.ends_with('\n'));
    }
}

fn codes(text: &str) -> Vec<&'static str> {
    let mut diagnostics = Diagnostics::new();
    parse(SOURCE, text, &mut diagnostics);
    diagnostics.iter().map(|found| found.code.text()).collect()
}

#[test]
fn deep_nesting_is_refused_or_fast() {
    for levels in [60, 64, 65, 100_000] {
        let nests = [
            ("parentheses", "(", "x", ")"),
            ("calls", "f(", "x", ")"),
            ("second arguments", "f(x, n = ", "x", ")"),
            ("lists", "[x, ", "x", "]"),
            ("slices", "y[", "0", " .. 1]"),
            ("slice ends", "y[0 .. ", "1", "]"),
        ];
        for (name, open, core, close) in nests {
            // One level is the network's brace.
            for (what, inside) in [("sound", core), ("broken", "* *"), ("empty", "")] {
                let text = format!(
                    "network n {{ y = {}{inside}{} }}",
                    open.repeat(levels),
                    close.repeat(levels)
                );
                quickly(&format!("{levels} {what} {name}"), &text);
                let expected: &[&str] = match (what, levels) {
                    (_, 64..) => &["E0103"],
                    ("sound", _) => &[],
                    ("empty", _) if matches!(name, "lists" | "calls") => &[],
                    _ => &["E0101"],
                };
                assert_eq!(codes(&text), expected, "{levels} {what} {name}");
            }
        }
        for (name, open) in [
            ("events", "when x { "),
            ("broken headers", "when x = { "),
            ("bundles", "plastic a: b -> c { "),
            ("broken bundles", "plastic a b -> c { "),
        ] {
            let levels = levels - 1;
            let sound = format!(
                "network n {{ {}y = 1 {} }}",
                open.repeat(levels),
                "}".repeat(levels)
            );
            quickly(name, &sound);
            let broken = format!(
                "network n {{ {}y = {} }}",
                open.repeat(levels),
                "} + ".repeat(levels)
            );
            quickly(name, &broken);
        }
        let blocks = format!(
            "task t {{ {} a = 1 {} }}",
            "b c { ".repeat(levels),
            "} 3 ".repeat(levels)
        );
        quickly("blocks", &blocks);
    }
}

#[test]
fn unmatched_brackets_in_bulk_are_fast() {
    for piece in [
        "(",
        ")",
        "{",
        "}",
        "[}",
        "a {\n",
        "a { b {\n",
        "network a {\n",
        "{\n}",
        "}\n",
        "(]",
        "\"",
        "\"\n(",
    ] {
        let text = piece.repeat(1_000_000 / piece.len());
        quickly(piece, &text);
    }
    assert_eq!(codes(&"(".repeat(100_000)), ["E0103", "E0102"]);
    assert_eq!(
        codes(&format!("{}{}", "[".repeat(500_000), "}".repeat(500_000))).len(),
        MAX_ERRORS
    );
}

#[test]
fn long_flat_texts_are_fast() {
    let full = |head: &str, piece: &str, tail: &str| {
        let room = (1 << 20) - head.len() - tail.len();
        format!("{head}{}{tail}", piece.repeat(room / piece.len()))
    };
    let texts = [
        ("sum", full("network n { y = a", " + a", " }")),
        ("signs", full("network n { y = ", "-", "a }")),
        ("nots", full("network n { y = ", "!", "a }")),
        ("powers", full("network n { y = a", "^a", " }")),
        ("list", full("task t { a = [0", ", 1", "] }")),
        ("arguments", full("network n { y = f(0", ", a", ") }")),
        ("slices", full("network n { y = a", "[0..1]", " }")),
        ("path", full("network n { y = a", ".b", " }")),
        ("name", full("dim ", "n", " = 1")),
        ("digits", full("dim n = ", "1", "")),
        ("statements", full("network n {\n", "y = a + b\n", "}")),
        ("one-line statements", full("network n {", "y=a;", "}")),
        ("declarations", full("network n { trace ", "a = 0, ", "b }")),
        ("bare declarations", full("network n { trace a", ",a", " }")),
        ("settings", full("task t { ", "a = 1, ", "}")),
        ("items", full("", "dim N = 1\n", "")),
        ("comments", full("", "// c\n", "")),
        ("one comment", full("", "/", "")),
        (
            "broken statements",
            full("network n {\n", "y y = = 1\n", "}"),
        ),
        ("broken words", full("network n {\n", "y ", "}")),
        ("broken signs", full("network n {\n", "= ", "}")),
        ("broken entries", full("task t {\n", "a, ", "}")),
        ("broken items", full("", "a\n", "")),
        ("one broken line", full("", "a ", "")),
        ("commas", full("task t {", ",", "}")),
        ("semicolons", full("network n {", ";", "}")),
        ("points", full("", ".", "")),
        ("blanks", full("", " ", "")),
        ("blank lines", full("network n {", "\n", "}")),
        ("letters", full("", "é", "")),
        ("empty braces", full("network n { y = 1 ", "{}", "}")),
        ("braces on lines", full("a", " {\n }", "")),
    ];
    for (name, text) in &texts {
        assert!(text.len() <= 1 << 20);
        quickly(name, text);
    }
    assert_eq!(codes(&texts[0].1), ["E0103"]);
    assert_eq!(codes(&texts[1].1), ["E0103"]);
    assert_eq!(codes(&texts[4].1), [""; 0]);
}

#[test]
fn large_texts_are_refused_at_once() {
    let text = "dim N = 1\n".repeat(1 << 20);
    let watch = Stopwatch::start();
    assert_eq!(codes(&text), ["E0104"]);
    let mut diagnostics = Diagnostics::new();
    assert_eq!(parse_value(SOURCE, &text, &mut diagnostics), None);
    assert_eq!(diagnostics.iter().next().unwrap().code.text(), "E0104");
    assert!(watch.elapsed() < Duration::from_millis(200));
    assert_eq!(codes(&"é".repeat((1 << 19) + 1)), ["E0104"]);
}

#[test]
fn names_of_every_script_are_answered() {
    for name in [
        "größe",
        "вес",
        "权重",
        "وزن",
        "वजन",
        "น้ำหนัก",
        "𝒘",
        "é",
        "w\u{301}",
        "α",
    ] {
        let text = format!("network n {{\n  y = 1\n  {name} = 2\n}}");
        let mut diagnostics = Diagnostics::new();
        assert!(parse(SOURCE, &text, &mut diagnostics).items.is_empty());
        let found: Vec<_> = diagnostics.iter().collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].message, format!("`{name}` cannot be a name"));
        assert_eq!(&text[found[0].primary.span.range()], name);
        assert!(found[0].help.as_ref().unwrap().contains("a-z"));
    }
}
