//! Paths into the crate that a source file names.

/// Paths into the library from its root, of a file that is the module `module`. What is compiled for tests alone is left out.
pub fn paths(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut reader = Reader {
        tokens: without_tests(&tokens(text)),
        at: 0,
        modules: module.to_vec(),
        closes: Vec::new(),
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

/// Words and marks; `::` is one mark. Comments, literals and lifetimes are left out.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string(rest),
            'r' | 'b' if raw_string(rest).is_some() => raw_string(rest).unwrap(),
            '\'' => character(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let end = end.unwrap_or(rest.len());
                tokens.push(&rest[..end]);
                end
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                let end = if rest.starts_with("::") {
                    2
                } else {
                    first.len_utf8()
                };
                tokens.push(&rest[..end]);
                end
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// Length of a text in quotes at the start.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a raw string at the start, if there is one.
fn raw_string(text: &str) -> Option<usize> {
    let start = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let marks = start.len() - start.trim_start_matches('#').len();
    let inside = start[marks..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(marks));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

/// Length of a character in quotes, or of the mark that begins a lifetime.
fn character(text: &str) -> usize {
    let mut inside = text.char_indices().skip(1);
    match inside.next() {
        Some((_, '\\')) => {
            let end = text[3..].find('\'');
            end.map_or(text.len(), |end| 3 + end + 1)
        }
        _ => match inside.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
    }
}

/// The tokens but for items under `#[cfg(test)]`.
fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].starts_with(&MARK) {
            at = item_end(tokens, at + MARK.len());
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// Where the item that begins at a token ends: behind its `;` or its closing brace.
fn item_end(tokens: &[&str], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match *token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && *token == "}" {
                    // `use a::{b};` goes on.
                    return at + 1 + usize::from(tokens.get(at + 1) == Some(&";"));
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    /// The module being read, inline ones among them.
    modules: Vec<String>,
    /// For each open brace, whether an inline module ends with it.
    closes: Vec<bool>,
    found: Vec<Vec<String>>,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).copied().unwrap_or("")
    }

    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "mod" if self.peek(2) == "{" => {
                    self.modules.push(self.peek(1).to_owned());
                    self.closes.push(true);
                    self.at += 3;
                }
                "{" => {
                    self.closes.push(false);
                    self.at += 1;
                }
                "}" => {
                    if self.closes.pop() == Some(true) {
                        self.modules.pop();
                    }
                    self.at += 1;
                }
                "use" => {
                    self.at += 1;
                    self.tree(&[]);
                }
                // `a::self` and the like are no beginnings.
                "crate" | "bpmc" | "super" | "self"
                    if self.peek(1) == "::"
                        && (self.at == 0 || self.tokens[self.at - 1] != "::") =>
                {
                    self.tree(&[]);
                }
                _ => self.at += 1,
            }
        }
    }

    /// Reads a path, or a tree of them in an import, whose beginning is `before`.
    fn tree(&mut self, before: &[&'a str]) {
        let mut path = before.to_vec();
        loop {
            match self.peek(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.tree(&path);
                        if self.peek(0) == "as" {
                            self.at += 2;
                        }
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                // Generic arguments are no part of the path.
                "<" => break,
                word => path.push(word),
            }
            self.at += 1;
            if self.peek(0) != "::" {
                break;
            }
            self.at += 1;
        }
        self.keep(&path);
    }

    /// Keeps a path, from the root of the library.
    fn keep(&mut self, path: &[&str]) {
        let (base, rest) = match path.first() {
            Some(&("crate" | "bpmc")) => (&[][..], &path[1..]),
            Some(&("super" | "self")) => {
                let up = path.iter().filter(|part| **part == "super").count();
                let steps = path.iter().take_while(|p| matches!(**p, "super" | "self"));
                let depth = self.modules.len().saturating_sub(up);
                (&self.modules[..depth], &path[steps.count()..])
            }
            _ => return,
        };
        let mut whole = base.to_vec();
        whole.extend(rest.iter().map(|part| (*part).to_owned()));
        if !whole.is_empty() {
            self.found.push(whole);
        }
    }
}

#[test]
fn paths_are_found() {
    let text = r##"
//! use crate::comment::A;
use crate::{ir::{self, Graph}, passes as p, rng::*};
use super::super::device::Kind;
use std::fmt::{self, Debug};
/* crate::no */ const A: &str = "crate::no \" crate::no"; const B: &str = r#"crate::no"#;
const C: char = '"'; fn f<'a>(x: &'a crate::plan::Plan) -> bpmc::sema::Model { self::inner::g::<crate::text::T>() }
pub(crate) mod inner { fn g() { super::super::super::tasks::t(); } }
#[cfg(test)]
use crate::{no, never};
#[cfg(test)]
mod tests { use crate::no; }
fn last() { crate::settings::all() }
"##;
    let module = ["train".to_owned(), "run".to_owned()];
    let found: Vec<String> = paths(text, &module)
        .into_iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        found,
        [
            "ir::self",
            "ir::Graph",
            "passes",
            "rng::*",
            "device::Kind",
            "plan::Plan",
            "sema::Model",
            "train::run::inner::g",
            "text::T",
            "tasks::t",
            "settings::all"
        ]
    );
}
