//! The names of indexed things: `h[2]` is `h.2` where several things are called `h`, and an element of `h`
//! where `h` is a vector.

use super::loops::number;
use super::visit::{parts_mut, statement, Visitor};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::sema::cells::declared;
use crate::lang::syntax::ast::{Arg, BinaryOp, Expr, ExprKind, Ident, Path, Stmt, StmtKind};
use std::collections::{BTreeMap, BTreeSet};

/// The names that a body declares.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Those without an index.
    single: BTreeSet<String>,
    /// Those with indices.
    several: BTreeMap<String, BTreeSet<i64>>,
    /// What has names of its own: uses of cells and bundles.
    parts: BTreeMap<String, Part>,
}

/// A thing with names of its own.
#[derive(Debug)]
enum Part {
    /// A use of this cell.
    Cell(String),
    /// A bundle with its names, and the rule it uses.
    Bundle(Names, Option<String>),
}

/// The names of all cells and rules.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub cells: BTreeMap<String, Names>,
    pub rules: BTreeMap<String, Names>,
}

/// The name that later stages know.
fn full(name: &Ident) -> String {
    match name.index.as_deref().and_then(whole) {
        Some(index) => format!("{}.{index}", name.name),
        None => name.name.clone(),
    }
}

fn whole(expr: &Expr) -> Option<i64> {
    match &expr.kind {
        ExprKind::Number { value, .. } if value.fract() == 0.0 => Some(*value as i64),
        _ => None,
    }
}

impl Names {
    /// The names of a body without `for`.
    pub(super) fn of(body: &[Stmt]) -> Names {
        let mut names = Names::default();
        for stmt in body {
            let used = match &stmt.kind {
                StmtKind::Cell { name, .. } => Some(name),
                _ => None,
            };
            for name in declared(&stmt.kind).into_iter().chain(used) {
                match name.index.as_deref().and_then(whole) {
                    Some(index) => {
                        let several = names.several.entry(name.name.clone()).or_default();
                        several.insert(index);
                    }
                    None => {
                        names.single.insert(name.name.clone());
                    }
                }
            }
            match &stmt.kind {
                StmtKind::Cell { name, cell, .. } => {
                    let part = Part::Cell(cell.name.name.clone());
                    names.parts.insert(full(name), part);
                }
                StmtKind::Plastic {
                    name, using, body, ..
                } => {
                    let rule = using.as_ref().map(|using| using.name.name.clone());
                    let part = Part::Bundle(Names::of(body), rule);
                    names.parts.insert(full(name), part);
                }
                _ => {}
            }
        }
        names
    }

    /// Reports several things that are not numbered from 0 without a gap: `cell head[4]: ...` is one, the fifth.
    fn refuse_gaps(&self, body: &[Stmt], diagnostics: &mut Diagnostics) {
        for (name, indices) in &self.several {
            let Some(missing) = (0..).find(|index| !indices.contains(index)) else {
                continue;
            };
            if missing == indices.len() as i64 {
                continue;
            }
            let used = body.iter().filter_map(|stmt| match &stmt.kind {
                StmtKind::Cell { name, .. } => Some(name),
                _ => None,
            });
            let declared = body.iter().flat_map(|stmt| declared(&stmt.kind));
            let Some(first) = declared.chain(used).find(|other| other.name == *name) else {
                continue;
            };
            // `state h [200] = 0` means a size.
            let sized = indices.len() == 1
                && {
                    let mut statements = body.iter();
                    statements.any(|stmt| {
                    matches!(&stmt.kind, StmtKind::Decl { entries, .. }
                        if entries.iter().any(|entry| entry.name.name == *name && entry.size.is_none()))
                })
                };
            diagnostics.push(
                Diagnostic::new(
                    Code::WrongKind,
                    first.span,
                    format!("there is {}, and no `{name}[{missing}]`", one_of(name, indices)),
                )
                .with_help(match (sized, &first.index) {
                    (true, Some(index)) => format!(
                        "a size follows a colon: `{name}: [{}]`",
                        whole(index).unwrap_or(1)
                    ),
                    _ => format!(
                        "several things are numbered from 0: `for k in 0 .. 4 {{ ... {name}[k] ... }}` declares four"
                    ),
                }),
            );
        }
    }

    fn has(&self, name: &str) -> bool {
        self.single.contains(name) || self.several.contains_key(name)
    }
}

/// Gives all names of a body that have an index the name that later stages know.
pub(super) fn settle(body: &mut [Stmt], parts: &Parts, diagnostics: &mut Diagnostics) {
    let own = Names::of(body);
    own.refuse_gaps(body, diagnostics);
    let mut settler = Settler {
        parts,
        scopes: vec![&own],
        diagnostics,
    };
    settler.body(body);
}

struct Settler<'n, 'd> {
    parts: &'n Parts,
    /// The names around, the innermost last.
    scopes: Vec<&'n Names>,
    diagnostics: &'d mut Diagnostics,
}

impl<'n> Settler<'n, '_> {
    fn body(&mut self, body: &mut [Stmt]) {
        for stmt in body {
            let inside = match &stmt.kind {
                StmtKind::Plastic { name, body, .. } => {
                    Names::of(body).refuse_gaps(body, self.diagnostics);
                    let names = self.scopes.iter().rev();
                    let part = names
                        .filter_map(|names| names.parts.get(&full(name)))
                        .next();
                    part.map(|part| self.of_part(part)).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            if let Some(body) = statement(stmt, self) {
                let outside = self.scopes.len();
                self.scopes.extend(inside.into_iter().rev());
                self.body(body);
                self.scopes.truncate(outside);
            }
        }
    }

    /// The names of a part, those of its text before those of its rule.
    fn of_part(&self, part: &'n Part) -> Vec<&'n Names> {
        match part {
            Part::Cell(cell) => self.parts.cells.get(cell).into_iter().collect(),
            Part::Bundle(names, rule) => {
                let rule = rule.as_ref().and_then(|rule| self.parts.rules.get(rule));
                [names].into_iter().chain(rule).collect()
            }
        }
    }

    /// Gives the parts of a path their names. Returns the index if the path with it is an element of a vector.
    fn path(&mut self, path: &mut Path) -> Option<Box<Expr>> {
        let first = path.parts[0].name.as_str();
        let mut known: Vec<&Names> = self
            .scopes
            .iter()
            .rev()
            .find(|names| names.has(first))
            .map(|names| vec![*names])
            .unwrap_or_default();
        let last = path.parts.len() - 1;
        for (k, part) in path.parts.iter_mut().enumerate() {
            let several = known.iter().find_map(|names| names.several.get(&part.name));
            let single = known.iter().any(|names| names.single.contains(&part.name));
            match (part.index.take(), several) {
                (None, Some(indices)) if !single => {
                    let text = one_of(&part.name, indices);
                    self.diagnostics.push(
                        Diagnostic::new(
                            Code::WrongKind,
                            part.span,
                            format!("several things are called `{}`", part.name),
                        )
                        .with_help(format!("say which one: {text}")),
                    );
                }
                (None, _) => {}
                (Some(index), Some(indices)) => match whole(&index) {
                    Some(number) if indices.contains(&number) => {
                        part.name = format!("{}.{number}", part.name);
                    }
                    Some(number) => {
                        let text = one_of(&part.name, indices);
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::UnknownName,
                                part.span,
                                format!("there is no `{}[{number}]`", part.name),
                            )
                            .with_help(format!("there is {text}")),
                        );
                        part.name = format!("{}.{number}", part.name);
                    }
                    None => self.diagnostics.push(
                        Diagnostic::new(
                            Code::NotConstant,
                            index.span,
                            format!("which `{}` this is must be known before the network is read", part.name),
                        )
                        .with_help("numbers, `dim`s of numbers, indices of `for` and arithmetic on them are known then"),
                    ),
                },
                (Some(index), None) if k == last => return Some(index),
                (Some(index), None) => {
                    if single {
                        self.diagnostics.push(Diagnostic::new(
                            Code::WrongKind,
                            part.span,
                            format!("`{}` is one thing, and has no parts by number", part.name),
                        ));
                    } else if let Some(number) = whole(&index) {
                        part.name = format!("{}.{number}", part.name);
                    }
                }
            }
            let inner = known.iter().find_map(|names| names.parts.get(&part.name));
            known = inner.map(|part| self.of_part(part)).unwrap_or_default();
        }
        None
    }
}

impl Visitor for Settler<'_, '_> {
    fn target(&mut self, name: &mut Ident) {
        name.name = full(name);
        name.index = None;
    }

    fn side(&mut self, path: &mut Path) {
        if self.path(path).is_some() {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::WrongKind,
                    path.span,
                    "a side of a bundle is a whole vector, not an element of one",
                )
                .with_help("the size of a side is that of its vector: `s: [2] = tanh(up)`"),
            );
        }
    }

    fn expression(&mut self, expr: &mut Expr) {
        for part in parts_mut(expr) {
            self.expression(part);
        }
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Name(path) | ExprKind::Next(path) => {
                if let Some(mut index) = self.path(path) {
                    self.expression(&mut index);
                    let base = Box::new(expr.clone());
                    *expr = element(base, index, span);
                }
            }
            ExprKind::Element { base, index } => {
                let (base, index) = (base.clone(), index.clone());
                *expr = element(base, index, span);
            }
            _ => {}
        }
    }
}

/// An element of a vector: the sum over a range of one.
fn element(base: Box<Expr>, index: Box<Expr>, span: Span) -> Expr {
    let at = |kind| Expr {
        kind,
        span: index.span,
    };
    let after = match whole(&index) {
        Some(value) => number(value + 1, index.span),
        None => at(ExprKind::Binary(
            BinaryOp::Add,
            index.clone(),
            Box::new(number(1, index.span)),
        )),
    };
    let range = Expr {
        kind: ExprKind::Slice {
            base,
            start: index,
            end: Box::new(after),
        },
        span,
    };
    Expr {
        kind: ExprKind::Call {
            function: Ident::new("sum", span),
            args: vec![Arg {
                name: None,
                value: range,
            }],
        },
        span,
    }
}

/// The text `h[0]` to `h[3]`.
fn one_of(name: &str, indices: &BTreeSet<i64>) -> String {
    match (indices.first(), indices.last()) {
        (Some(first), Some(last)) if first != last => {
            format!("`{name}[{first}]` to `{name}[{last}]`")
        }
        (Some(only), _) => format!("`{name}[{only}]`"),
        _ => String::new(),
    }
}
