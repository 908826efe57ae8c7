//! Expressions with parameters replaced by arguments and names by those of the network.

use super::names::{BundleNames, Meaning};
use super::{Expander, Scope, MAX_PARTS};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast::{Arg, Expr, ExprKind, Path};
use crate::lang::syntax::MAX_EXPRESSION_DEPTH;

/// The placeholder for an expression beyond the limits.
const NOTHING: &str = "(nothing)";

impl<'a> Expander<'a, '_> {
    /// Translates an expression in `scope`.
    pub(super) fn expr(
        &mut self,
        expr: &Expr,
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
    ) -> Expr {
        let span = self.place(expr.span, scope);
        if self.is_over(span) {
            return self.absent(span);
        }
        self.depth += 1;
        let kind = self.kind(expr, scope, locals);
        self.depth -= 1;
        match kind {
            Ok(kind) => Expr { kind, span },
            Err(whole) => whole,
        }
    }

    /// The kind of the translated expression, or another expression in its place.
    fn kind(
        &mut self,
        expr: &Expr,
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
    ) -> Result<ExprKind, Expr> {
        Ok(match &expr.kind {
            ExprKind::Number { .. } | ExprKind::Text(_) => expr.kind.clone(),
            ExprKind::External(name) => ExprKind::External(self.word(name, scope)),
            ExprKind::List(items) => ExprKind::List(
                items
                    .iter()
                    .map(|item| self.expr(item, scope, locals))
                    .collect(),
            ),
            ExprKind::Name(path) => return Err(self.name(path, scope, locals, false)),
            ExprKind::Next(path) => ExprKind::Next(self.only_path(path, scope, locals)),
            ExprKind::Unary(op, x) => ExprKind::Unary(*op, Box::new(self.expr(x, scope, locals))),
            ExprKind::Binary(op, a, b) => ExprKind::Binary(
                *op,
                Box::new(self.expr(a, scope, locals)),
                Box::new(self.expr(b, scope, locals)),
            ),
            ExprKind::Call { function, args } => ExprKind::Call {
                function: self.word(function, scope),
                args: self.args(args, scope, locals),
            },
            ExprKind::Element { base, index } => ExprKind::Element {
                base: Box::new(self.expr(base, scope, locals)),
                index: Box::new(self.expr(index, scope, locals)),
            },
            ExprKind::Slice { base, start, end } => ExprKind::Slice {
                base: Box::new(self.expr(base, scope, locals)),
                start: Box::new(self.expr(start, scope, locals)),
                end: Box::new(self.expr(end, scope, locals)),
            },
        })
    }

    /// Translates the arguments of a call. Named arguments may be words that are not names: `bias = false`.
    pub(super) fn args(
        &mut self,
        args: &[Arg],
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
    ) -> Vec<Arg> {
        args.iter()
            .map(|arg| Arg {
                name: arg.name.as_ref().map(|name| self.word(name, scope)),
                value: match (&arg.name, &arg.value.kind) {
                    (Some(_), ExprKind::Name(path)) => self.name(path, scope, locals, true),
                    _ => self.expr(&arg.value, scope, locals),
                },
            })
            .collect()
    }

    fn name(
        &mut self,
        path: &Path,
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
        lenient: bool,
    ) -> Expr {
        match self.path(path, scope, locals, lenient) {
            Meaning::Expr(expr) => expr,
            Meaning::Path(path) => Expr {
                span: path.span,
                kind: ExprKind::Name(path),
            },
        }
    }

    /// Translates a path that may not become another expression.
    pub(super) fn only_path(
        &mut self,
        path: &Path,
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
    ) -> Path {
        match self.path(path, scope, locals, false) {
            Meaning::Path(path) => path,
            Meaning::Expr(expr) => {
                // Other arguments were turned into values; the default of a rule can still arrive here.
                let message = "a name is needed here, and the parameter stands for something else";
                self.report(Diagnostic::new(Code::WrongKind, expr.span, message));
                match self.nothing(NOTHING.to_owned(), expr.span) {
                    Meaning::Path(path) => path,
                    Meaning::Expr(_) => path.clone(),
                }
            }
        }
    }

    fn absent(&mut self, span: Span) -> Expr {
        match self.nothing(NOTHING.to_owned(), span) {
            Meaning::Expr(expr) => expr,
            Meaning::Path(path) => Expr {
                kind: ExprKind::Name(path),
                span,
            },
        }
    }

    /// Returns true if the expanded cells exceed the limits of later stages; arguments multiply in nested cells.
    fn is_over(&mut self, span: Span) -> bool {
        self.parts += 1;
        let message = if self.depth >= MAX_EXPRESSION_DEPTH {
            format!(
                "an expression of more than {MAX_EXPRESSION_DEPTH} levels once cells are filled in"
            )
        } else if self.parts > MAX_PARTS {
            format!("a network of more than {MAX_PARTS} parts once its cells are filled in")
        } else {
            return false;
        };
        if !self.told_size {
            self.told_size = true;
            // Errors that follow are not reported: any name may be missing.
            self.expansion.broken.push(String::new());
            self.report(
                Diagnostic::new(Code::TooLarge, span, message)
                    .with_help("give parts names of their own, `name = ...`"),
            );
        }
        true
    }
}
