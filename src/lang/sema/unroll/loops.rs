//! `for k in 0 .. 4 { ... }`: the statements once for each index, which becomes a number.

use super::numbers::Numbers;
use super::visit::{parts_mut, statement, Visitor};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::sema::cells::{declared, expressions, parts};
use crate::lang::syntax::ast::{Expr, ExprKind, Ident, Path, Stmt, StmtKind};
use std::collections::BTreeSet;

/// The largest number of statements of all bodies once they are written out.
pub(super) const MAX_STATEMENTS: usize = 50_000;

/// Tells if a body has a `for`, an index, or an element.
pub(super) fn is_needed(body: &Vec<Stmt>) -> bool {
    let mut bodies = vec![body];
    while let Some(body) = bodies.pop() {
        for stmt in body {
            if matches!(stmt.kind, StmtKind::For { .. }) || names(&stmt.kind).any(has_index) {
                return true;
            }
            bodies.extend(stmt.kind.body());
        }
    }
    body.iter().any(|stmt| {
        let mut stack = expressions(&stmt.kind);
        while let Some(expr) = stack.pop() {
            let found = match &expr.kind {
                ExprKind::Name(path) | ExprKind::Next(path) => path.parts.iter().any(has_index),
                ExprKind::Element { .. } => true,
                _ => false,
            };
            if found {
                return true;
            }
            stack.extend(parts(expr));
        }
        false
    })
}

fn has_index(name: &Ident) -> bool {
    name.index.is_some()
}

/// The names that a statement declares or updates, and those of the sides of a bundle.
fn names(kind: &StmtKind) -> impl Iterator<Item = &Ident> {
    let (used, sides) = match kind {
        StmtKind::Cell { name, .. } | StmtKind::Update { target: name, .. } => (Some(name), None),
        StmtKind::Plastic { pre, post, .. } => (None, Some(pre.parts.iter().chain(&post.parts))),
        _ => (None, None),
    };
    let declared = declared(kind).into_iter();
    declared.chain(used).chain(sides.into_iter().flatten())
}

/// The statements of a body with each `for` written out. Indices that are numbers by now are numbers in it.
pub(super) fn written_out(
    body: &[Stmt],
    numbers: &Numbers<'_>,
    room: &mut usize,
    diagnostics: &mut Diagnostics,
) -> Vec<Stmt> {
    let mut writer = Writer {
        numbers,
        room,
        diagnostics,
        variables: Vec::new(),
        repeated: None,
        reported: BTreeSet::new(),
    };
    let mut written = Vec::new();
    writer.body(body, &mut written);
    written
}

struct Writer<'n, 'f, 'd> {
    numbers: &'n Numbers<'f>,
    /// The number of statements that may still be written.
    room: &'d mut usize,
    diagnostics: &'d mut Diagnostics,
    /// The variables of the repetitions around, with their values.
    variables: Vec<(String, i64)>,
    /// The variable of the innermost repetition in the body at hand.
    repeated: Option<String>,
    /// The places reported so far: rounds repeat their faults.
    reported: BTreeSet<Span>,
}

impl Writer<'_, '_, '_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        if self.reported.insert(diagnostic.primary.span) {
            self.diagnostics.push(diagnostic);
        }
    }

    fn body(&mut self, body: &[Stmt], written: &mut Vec<Stmt>) {
        for stmt in body {
            if let StmtKind::For {
                variable,
                start,
                end,
                body,
            } = &stmt.kind
            {
                self.repeat(variable, [start, end], body, written);
                continue;
            }
            if !self.takes_room(stmt.span) {
                return;
            }
            self.refuse_without_index(&stmt.kind);
            let mut stmt = stmt.clone();
            if let Some(inner) = statement(&mut stmt, self) {
                let old = std::mem::take(inner);
                let repeated = self.repeated.take();
                self.body(&old, inner);
                self.repeated = repeated;
            }
            written.push(stmt);
        }
    }

    /// Takes the room of a statement; false if there is none, which is reported once.
    fn takes_room(&mut self, span: Span) -> bool {
        if *self.room == 0 {
            return false;
        }
        *self.room -= 1;
        if *self.room == 0 {
            self.report(
                Diagnostic::new(
                    Code::TooLarge,
                    span,
                    format!("more than {MAX_STATEMENTS} statements once `for` is written out"),
                )
                .with_help("repeat less, or make vectors longer instead"),
            );
        }
        *self.room > 0
    }

    /// Reports a name that each round of a repetition would declare again.
    fn refuse_without_index(&mut self, kind: &StmtKind) {
        let Some(variable) = self.repeated.clone() else {
            return;
        };
        let used = match kind {
            StmtKind::Cell { name, .. } => Some(name),
            _ => None,
        };
        for name in declared(kind).into_iter().chain(used) {
            if name.index.is_none() {
                let text = &name.name;
                self.report(
                    Diagnostic::new(
                        Code::Duplicate,
                        name.span,
                        format!("`for` declares `{text}` again and again"),
                    )
                    .with_help(format!("give it an index: `{text}[{variable}]`")),
                );
            }
        }
    }

    fn repeat(
        &mut self,
        variable: &Ident,
        bounds: [&Expr; 2],
        body: &[Stmt],
        written: &mut Vec<Stmt>,
    ) {
        if self
            .variables
            .iter()
            .any(|(name, _)| *name == variable.name)
        {
            self.report(
                Diagnostic::new(
                    Code::Duplicate,
                    variable.span,
                    format!("the `for` around this counts `{}` already", variable.name),
                )
                .with_help("give the inner index another name"),
            );
            return;
        }
        let mut values = [0; 2];
        for (value, bound) in values.iter_mut().zip(bounds) {
            let mut bound = bound.clone();
            self.expression(&mut bound);
            match self.numbers.value(&bound) {
                Some(found) if found >= 0 => *value = found,
                _ => {
                    self.unknown("a bound of `for`", bound.span);
                    return;
                }
            }
        }
        self.variables.push((variable.name.clone(), 0));
        let around = self.repeated.replace(variable.name.clone());
        for value in values[0]..values[1] {
            if *self.room == 0 {
                break;
            }
            // An empty body takes room, too, so that no bound is too large.
            if body.is_empty() && !self.takes_room(variable.span) {
                break;
            }
            if let Some(last) = self.variables.last_mut() {
                last.1 = value;
            }
            self.body(body, written);
        }
        self.variables.pop();
        self.repeated = around;
    }

    fn unknown(&mut self, what: &str, span: Span) {
        self.report(
            Diagnostic::new(
                Code::NotConstant,
                span,
                format!("{what} must be a whole number from 0 on, known before the network is read"),
            )
            .with_help("numbers, `dim`s of numbers, indices of `for` and arithmetic on them are known then"),
        );
    }

    fn index(&mut self, name: &mut Ident) -> Option<i64> {
        let index = name.index.as_deref_mut()?;
        self.expression(index);
        let value = self.numbers.value(index)?;
        *index = number(value, index.span);
        Some(value)
    }
}

impl Visitor for Writer<'_, '_, '_> {
    fn target(&mut self, name: &mut Ident) {
        let has_index = name.index.is_some();
        if has_index && self.index(name).is_none_or(|value| value < 0) {
            self.unknown("the index of a declared name", name.span);
        }
    }

    fn side(&mut self, path: &mut Path) {
        for part in &mut path.parts {
            self.index(part);
        }
    }

    fn expression(&mut self, expr: &mut Expr) {
        if let ExprKind::Name(path) | ExprKind::Next(path) = &mut expr.kind {
            for part in &mut path.parts {
                self.index(part);
            }
        }
        if let ExprKind::Name(Path { parts, .. }) = &expr.kind {
            if let [part] = &parts[..] {
                let same = |(name, _): &&(String, i64)| *name == part.name;
                if let (Some((_, value)), None) = (self.variables.iter().find(same), &part.index) {
                    *expr = number(*value, expr.span);
                }
            }
        }
        for part in parts_mut(expr) {
            self.expression(part);
        }
    }
}

/// A number as if it were written at `span`.
pub(super) fn number(value: i64, span: Span) -> Expr {
    Expr {
        kind: ExprKind::Number {
            value: value as f64,
            text: value.to_string(),
        },
        span,
    }
}
