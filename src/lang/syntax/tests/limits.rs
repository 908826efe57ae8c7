//! Tests of limits, recovery and single values.

use super::{errors, render, tree};
use crate::lang::diag::{Diagnostics, SourceId};
use crate::lang::syntax::ast::{Expr, ExprKind, File, Initialiser, Item, ItemKind, StmtKind};
use crate::lang::syntax::{
    dump, parse, parse_value, MAX_BYTES, MAX_ERRORS, MAX_EXPRESSION_DEPTH, MAX_NESTING,
};

fn lines(text: &str) -> usize {
    errors(text)
        .lines()
        .filter(|line| line.starts_with('E'))
        .count()
}

#[test]
fn items_without_errors_are_kept() {
    let mut diagnostics = Diagnostics::new();
    let text = "dim A = 1\ndim B = = 1\nnetwork n { y = 1 z }\ndim C = 1";
    let file = parse(SourceId(0), text, &mut diagnostics);
    assert_eq!(diagnostics.error_count(), 2);
    assert_eq!(dump(&file), "dim A\n  = 1\ndim C\n  = 1\n");
}

#[test]
fn errors_stop_at_the_limit() {
    assert_eq!(
        lines(&format!("network n {{\n{}}}", "y = = 1\n".repeat(49))),
        49
    );
    assert_eq!(
        lines(&format!("network n {{\n{}}}", "y = = 1\n".repeat(200))),
        MAX_ERRORS
    );
    assert_eq!(lines(&"dim N = (\n".repeat(200)), MAX_ERRORS);
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| format!("dim N = {}1{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(errors(&nested(MAX_NESTING)), "");
    let found = errors(&format!("{}\ndim M = = 1", nested(MAX_NESTING + 1)));
    assert_eq!(
        found,
        "E0103 72..73 `(`: brackets are nested over 64 levels deep\n  help: name a part of it with `name = ...`\n\
         E0101 148..149 `=`: expected an expression, found `=`\n"
    );
}

#[test]
fn expressions_have_a_limit() {
    for (head, piece, tail) in [
        ("1", " + 1", ""),
        ("", "-", "1"),
        ("1", "^1", ""),
        ("a", "[0 .. 1]", ""),
    ] {
        let chain = |levels: usize| format!("dim N = {head}{}{tail}", piece.repeat(levels - 1));
        assert_eq!(errors(&chain(MAX_EXPRESSION_DEPTH)), "", "{piece}");
        let found = errors(&chain(MAX_EXPRESSION_DEPTH + 1));
        assert!(found.starts_with("E0103 8.."), "{piece}: {found}");
        assert!(
            found.contains("an expression of over 256 levels"),
            "{found}"
        );
    }
}

#[test]
fn size_has_a_limit() {
    let text = |bytes: usize| format!("dim N = 1{}", " ".repeat(bytes - 9));
    assert_eq!(errors(&text(MAX_BYTES)), "");
    assert!(errors(&text(MAX_BYTES + 1)).starts_with("E0104 0..0 ``: the text has 1048577 bytes"));
}

#[test]
fn values_of_settings() {
    let read = |text: &str| {
        let mut diagnostics = Diagnostics::new();
        let value = parse_value(SourceId(0), text, &mut diagnostics);
        match value {
            Some(Initialiser::Value(value)) => format!("= {}", shown(value)),
            Some(Initialiser::Draw(value)) => format!("~ {}", shown(value)),
            None => render(text, &diagnostics),
        }
    };
    assert_eq!(read("0.1"), "= 0.1");
    assert_eq!(read(" [1,2] "), "= [1, 2]");
    assert_eq!(read("task.obs*2"), "= (task.obs * 2)");
    assert_eq!(read("~ uniform(0, 1)"), "~ uniform(0, 1)");
    assert_eq!(read("// c\n\"200MB\" // d"), "= \"200MB\"");
    assert_eq!(
        read(""),
        "E0101 0..0 ``: expected an expression, found the end of the value\n"
    );
    assert_eq!(
        read("1 2"),
        "E0101 2..3 `2`: expected an operator or the end of the expression, found `2`\n"
    );
    assert_eq!(
        read("(1"),
        "E0102 0..1 `(`: `(` is never closed\n  2..2: expected `)` before here\n  help: close it with `)`\n"
    );
    assert_eq!(
        read("1 < 2 < 3"),
        "E0101 6..7 `<`: comparisons do not chain\n  2..3: the first comparison\n  \
         help: write `a < b && b < c`, or put one comparison in parentheses\n"
    );
}

/// One expression as `dump` prints it.
fn shown(value: Expr) -> String {
    let span = value.span;
    let name = crate::lang::syntax::ast::Ident::new("x", span);
    let kind = ItemKind::Dim { name, value };
    let file = File {
        source: span.source,
        items: vec![Item { kind, span }],
        comments: Vec::new(),
    };
    dump(&file)
        .trim_start_matches("dim x\n  = ")
        .trim_end()
        .to_string()
}

#[test]
fn spans_cover_what_they_name() {
    let text =
        "network n {\n  trace e: [3] = 0 per post , f  // c\n  y = (a + b) * next c.d \n\n}\n";
    let mut diagnostics = Diagnostics::new();
    let file = parse(SourceId(0), text, &mut diagnostics);
    let at = |span: crate::lang::diag::Span| &text[span.range()];
    assert_eq!(at(file.items[0].span), text.trim_end());
    assert_eq!(at(file.comments[0].span), "// c");
    let ItemKind::Network { body, .. } = &file.items[0].kind else {
        panic!("a network");
    };
    assert_eq!(at(body[0].span), "trace e: [3] = 0 per post , f");
    let StmtKind::Decl { entries, .. } = &body[0].kind else {
        panic!("a declaration");
    };
    assert_eq!(at(entries[0].span), "e: [3] = 0 per post");
    assert_eq!(at(entries[1].span), "f");
    assert_eq!(at(body[1].span), "y = (a + b) * next c.d");
    let StmtKind::Let { value, .. } = &body[1].kind else {
        panic!("a value");
    };
    assert_eq!(at(value.span), "(a + b) * next c.d");
    let ExprKind::Binary(_, left, right) = &value.kind else {
        panic!("a product");
    };
    assert_eq!(at(left.span), "a + b");
    assert_eq!(at(right.span), "next c.d");
    let ExprKind::Next(path) = &right.kind else {
        panic!("a next value");
    };
    assert_eq!(at(path.parts[1].span), "d");
}

#[test]
fn setting_names_are_no_keywords() {
    assert_eq!(
        tree("task t { network = 1 rule { per = 2 } }"),
        "block task t\n  set network\n    = 1\n  block rule\n    set per\n      = 2\n"
    );
}
