//! Random trees and texts.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bpmc::lang::diag::{SourceId, Span};
use bpmc::lang::syntax::ast::*;

/// A spec that has every construct of the language.
pub const GOOD: &str = include_str!("good.bpm");

/// What random texts are made of.
pub const TOKENS: &[&str] = &[
    "input",
    "state",
    "noise",
    "weight",
    "coeff",
    "trained",
    "const",
    "trace",
    "modulator",
    "output",
    "plastic",
    "transmit",
    "on",
    "when",
    "next",
    "external",
    "import",
    "dim",
    "rule",
    "network",
    "cell",
    "using",
    "per",
    "reset",
    "a",
    "b",
    "h",
    "task",
    "post",
    "pre",
    "connection",
    "uniform",
    "0",
    "1",
    "200_000",
    "1e-4",
    "0.5",
    "1e999",
    "1_",
    ".5",
    "3x",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "=",
    "=",
    "=",
    "<-",
    "<-",
    "->",
    "~",
    ":",
    ":=",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "^",
    "!",
    "&&",
    "||",
    ",",
    ",",
    ";",
    ".",
    "..",
    "\n",
    "\n",
    "\n",
    "// c\n",
    "//",
    "\"",
    "\"t\"",
    "größe",
    "é",
    "權",
    "\u{301}",
    "\u{feff}",
    "\u{202e}",
    "\0",
    "\r",
    "\r\n",
    "\t",
    "'",
    "#",
    "\\",
    "@",
    "𝒘",
    "network n {\n",
    "\nrule r(a) {\n",
    "}\n",
    "when x {",
    "task t {",
    " y = 1\n",
];

/// Random choices from a string of bytes; the simplest ones when it is used up.
pub struct Entropy<'b> {
    bytes: &'b [u8],
}

impl<'b> Entropy<'b> {
    pub fn new(bytes: &'b [u8]) -> Entropy<'b> {
        Entropy { bytes }
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        match self.bytes.split_first() {
            Some((byte, rest)) => {
                self.bytes = rest;
                usize::from(*byte) % bound
            }
            None => 0,
        }
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 1
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

fn nowhere() -> Span {
    Span::new(SourceId(0), 0, 0)
}

fn ident(name: &str) -> Ident {
    Ident::new(name, nowhere())
}

/// A name that may have an index.
fn indexed(e: &mut Entropy<'_>) -> Ident {
    let mut name = name(e);
    index(e, &mut name);
    name
}

fn index(e: &mut Entropy<'_>, name: &mut Ident) {
    if e.below(6) == 5 {
        name.index = Some(Box::new(expr(e, 1)));
    }
}

fn name(e: &mut Entropy<'_>) -> Ident {
    ident(e.pick(&[
        "a",
        "h",
        "_",
        "N2",
        "network_",
        "onward",
        "next1",
        "using_",
        "per_cell",
        "e4",
        "resets",
        "a_rather_long_name_that_takes_much_of_its_line",
    ]))
}

/// A word that may be reserved.
fn word(e: &mut Entropy<'_>) -> Ident {
    if e.chance() {
        name(e)
    } else {
        ident(e.pick(&[
            "noise", "rule", "per", "reset", "next", "input", "using", "network",
        ]))
    }
}

fn path(e: &mut Entropy<'_>) -> Path {
    let mut parts = vec![name(e)];
    while parts.len() < 4 && e.below(4) == 1 {
        parts.push(word(e));
    }
    if e.below(4) == 3 {
        parts.iter_mut().for_each(|part| index(e, part));
    }
    Path {
        parts,
        span: nowhere(),
    }
}

fn key(e: &mut Entropy<'_>) -> Path {
    let mut key = path(e);
    key.parts[0] = word(e);
    key.parts.iter_mut().for_each(|part| part.index = None);
    key
}

fn expr(e: &mut Entropy<'_>, depth: usize) -> Expr {
    let kinds = if depth == 0 { 5 } else { 15 };
    let inner = depth.saturating_sub(1);
    let kind = match e.below(kinds) {
        0 => ExprKind::Name(path(e)),
        1 => {
            let text = e.pick(&[
                "0",
                "1",
                "200_000",
                "1e-4",
                "0.5",
                "1.5E+3",
                "007",
                "1_0.0_1e1_0",
            ]);
            ExprKind::Number {
                value: text.replace('_', "").parse().unwrap(),
                text: text.to_string(),
            }
        }
        2 => ExprKind::Text(
            e.pick(&["", "200MB", "a // b", "{ ( [", "größe \\ é", "x = 1, y"])
                .to_string(),
        ),
        3 => ExprKind::Next(path(e)),
        4 => ExprKind::External(name(e)),
        5 => ExprKind::List((0..e.below(4)).map(|_| expr(e, inner)).collect()),
        6 => ExprKind::Call {
            function: name(e),
            args: args(e, inner),
        },
        7 => ExprKind::Slice {
            base: Box::new(expr(e, inner)),
            start: Box::new(expr(e, inner)),
            end: Box::new(expr(e, inner)),
        },
        14 => {
            let mut base = expr(e, inner);
            let index = Box::new(expr(e, inner));
            // The index of a name belongs to the name.
            if let ExprKind::Name(path) | ExprKind::Next(path) = &mut base.kind {
                if let Some(last) = path.parts.last_mut() {
                    last.index.get_or_insert(index);
                }
                base.kind
            } else {
                ExprKind::Element {
                    base: Box::new(base),
                    index,
                }
            }
        }
        8 | 9 => ExprKind::Unary(
            e.pick(&[UnaryOp::Negate, UnaryOp::Not]),
            Box::new(expr(e, inner)),
        ),
        _ => {
            let op = e.pick(&[
                BinaryOp::Or,
                BinaryOp::And,
                BinaryOp::Equal,
                BinaryOp::NotEqual,
                BinaryOp::Less,
                BinaryOp::LessEqual,
                BinaryOp::Greater,
                BinaryOp::GreaterEqual,
                BinaryOp::Add,
                BinaryOp::Subtract,
                BinaryOp::Multiply,
                BinaryOp::Divide,
                BinaryOp::Power,
            ]);
            ExprKind::Binary(op, Box::new(expr(e, inner)), Box::new(expr(e, inner)))
        }
    };
    Expr {
        kind,
        span: nowhere(),
    }
}

fn value(e: &mut Entropy<'_>) -> Expr {
    let depth = e.below(6);
    expr(e, depth)
}

fn args(e: &mut Entropy<'_>, depth: usize) -> Vec<Arg> {
    let mut args: Vec<Arg> = (0..e.below(3))
        .map(|_| Arg {
            name: None,
            value: expr(e, depth),
        })
        .collect();
    for _ in 0..e.below(3) {
        args.push(Arg {
            name: Some(word(e)),
            value: expr(e, depth),
        });
    }
    args
}

fn declared(e: &mut Entropy<'_>) -> DeclEntry {
    DeclEntry {
        name: indexed(e),
        size: e.chance().then(|| value(e)),
        init: match e.below(3) {
            0 => None,
            1 => Some(Initialiser::Value(value(e))),
            _ => Some(Initialiser::Draw(value(e))),
        },
        per: e
            .chance()
            .then(|| ident(e.pick(&["connection", "network", "post"]))),
        reset: e.chance().then(|| ident(e.pick(&["trial", "never"]))),
        span: nowhere(),
    }
}

fn body(e: &mut Entropy<'_>, depth: usize) -> Vec<Stmt> {
    (0..e.below(4)).map(|_| statement(e, depth)).collect()
}

fn statement(e: &mut Entropy<'_>, depth: usize) -> Stmt {
    let kinds = if depth == 0 { 6 } else { 11 };
    let inner = depth.saturating_sub(1);
    let kind = match e.below(kinds) {
        0 => StmtKind::Let {
            target: indexed(e),
            size: e.chance().then(|| value(e)),
            value: value(e),
        },
        1 => StmtKind::Update {
            target: indexed(e),
            value: value(e),
        },
        2 if e.chance() => StmtKind::Connect { mask: value(e) },
        2 => StmtKind::Transmit { value: value(e) },
        3 | 4 => StmtKind::Decl {
            kind: e.pick(&[
                DeclKind::Input,
                DeclKind::State,
                DeclKind::Noise,
                DeclKind::Weight,
                DeclKind::Coeff,
                DeclKind::Trained,
                DeclKind::Const,
                DeclKind::Trace,
                DeclKind::Modulator,
                DeclKind::Output,
            ]),
            entries: (0..=e.below(4)).map(|_| declared(e)).collect(),
        },
        5 => StmtKind::Allow {
            code: name(e),
            reason: Expr {
                kind: ExprKind::Text(e.pick(&["it is short", ""]).to_owned()),
                span: nowhere(),
            },
        },
        6 => StmtKind::Plastic {
            name: indexed(e),
            pre: path(e),
            post: path(e),
            using: e.chance().then(|| RuleUse {
                name: name(e),
                args: args(e, 2),
                span: nowhere(),
            }),
            reset: e.chance().then(|| name(e)),
            body: body(e, inner),
        },
        7 => StmtKind::Cell {
            name: indexed(e),
            cell: RuleUse {
                name: name(e),
                args: args(e, 2),
                span: nowhere(),
            },
            using: e.chance().then(|| RuleUse {
                name: name(e),
                args: args(e, 2),
                span: nowhere(),
            }),
            reset: e.chance().then(|| name(e)),
            body: body(e, inner),
        },
        8 => StmtKind::On {
            side: name(e),
            start: value(e),
            end: value(e),
            body: body(e, inner),
        },
        9 => StmtKind::For {
            variable: name(e),
            start: value(e),
            end: value(e),
            body: body(e, inner),
        },
        _ => StmtKind::When {
            condition: value(e),
            body: body(e, inner),
        },
    };
    Stmt {
        kind,
        span: nowhere(),
    }
}

fn block(e: &mut Entropy<'_>, keyword: Ident, name: Option<Ident>, depth: usize) -> Block {
    let entries = (0..e.below(5))
        .map(|_| {
            if depth > 0 && e.below(4) == 3 {
                let keyword = word(e);
                let name = e.chance().then(|| word(e));
                Entry::Block(block(e, keyword, name, depth - 1))
            } else {
                Entry::Setting {
                    key: key(e),
                    value: value(e),
                    span: nowhere(),
                }
            }
        })
        .collect();
    Block {
        keyword,
        name,
        entries,
        span: nowhere(),
    }
}

/// A tree without places; printing it gives its text.
pub fn random_file(e: &mut Entropy<'_>) -> File {
    let items = (0..=e.below(4))
        .map(|_| {
            let kind = match e.below(5) {
                0 => ItemKind::Network {
                    name: name(e),
                    body: body(e, 3),
                },
                1 => ItemKind::Rule {
                    name: name(e),
                    params: (0..e.below(4))
                        .map(|_| RuleParam {
                            name: name(e),
                            default: e.chance().then(|| value(e)),
                            span: nowhere(),
                        })
                        .collect(),
                    body: body(e, 2),
                },
                2 => {
                    let keyword = name(e);
                    let name = e.chance().then(|| name(e));
                    ItemKind::Block(block(e, keyword, name, 2))
                }
                3 => ItemKind::Dim {
                    name: name(e),
                    value: value(e),
                },
                _ => ItemKind::Import {
                    path: e.pick(&["common.bpm", "../a b/ä.bpm", ""]).to_string(),
                    path_span: nowhere(),
                },
            };
            Item {
                kind,
                span: nowhere(),
            }
        })
        .collect();
    File {
        source: SourceId(0),
        items,
        comments: Vec::new(),
    }
}

/// The text with other blanks, line ends and comments between its words.
pub fn respace(text: &str, choices: &[u8]) -> String {
    let mut out = String::new();
    let mut in_text = false;
    let mut choices = choices.iter().cycle();
    for c in text.chars() {
        in_text ^= c == '"';
        if in_text || !matches!(c, ' ' | '\n') {
            out.push(c);
            continue;
        }
        match choices.next().unwrap() % 16 {
            0 => out.push_str("\n\n\n"),
            1 => out.push_str(" // one\n"),
            2 => out.push_str("\n// two\n  /// three\n"),
            3 => out.push_str("\r\n\t"),
            4..=6 => out.push('\n'),
            7..=9 => out.push_str("  "),
            10 => out.push_str(" //! four \r\n"),
            11 => out.push(if c == '\n' { ' ' } else { '\n' }),
            _ => out.push(c),
        }
    }
    out
}
