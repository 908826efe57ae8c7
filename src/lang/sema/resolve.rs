//! Expressions: operators become element functions, ranges become slices; names and calls have their own
//! files.

use super::analyser::{Analyser, DefinitionSource};
use super::model::{DefId, DefKind, Expr, ExprKind, RegionId, Type};
use super::scope::Context;
use super::sizes::{SizeExpr, SizeVar};
use super::types::{convert, number, poison, unary};
use crate::ir::{Binary, Unary};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast::{self, BinaryOp, UnaryOp};

/// The largest number of operations in one network.
const MAX_NODES: usize = 200_000;

impl<'a> Analyser<'a, '_> {
    /// Resolves a definition whose dependencies are all resolved.
    pub(super) fn resolve_definition(&mut self, id: DefId) {
        let pending = &self.definitions[id.index()];
        let (context, span, kind) = (pending.context, pending.span, pending.kind);
        let size = pending.size;
        let expr = match pending.source {
            DefinitionSource::Expr(source) => {
                let owner = pending.path.clone();
                self.owner = owner;
                self.owner_counts.clear();
                self.expr(source, context)
            }
            DefinitionSource::Received(bundle, source) => self.received_expr(bundle, source),
            DefinitionSource::Silent(bundle) => {
                let nothing = number(0.0, span);
                convert(
                    nothing,
                    Type::Vector(self.bundles[bundle.index()].post),
                    span,
                )
            }
            DefinitionSource::Broken => poison(span),
        };
        let expr = match kind {
            DefKind::Modulator => self.scalar_if_single(expr),
            DefKind::Value | DefKind::Output | DefKind::Received => expr,
        };
        let expr = match size {
            Some(size) => self.sized(expr, size, context),
            None => expr,
        };
        if let (DefKind::Output, Type::Element { .. }) = (kind, expr.ty) {
            self.diagnostics.push(Diagnostic::new(
                Code::WrongAxes,
                expr.span,
                "an output is a scalar or a vector of the network",
            ));
        }
        self.resolved[id.index()] = Some(expr);
        self.match_bundle_sides(id);
    }

    /// The value of `y: [8] = ...`: a vector has this size, and a number becomes a vector of it.
    fn sized(&mut self, expr: Expr, size: &'a ast::Expr, context: Context) -> Expr {
        let wanted = self.size_expr(size, context);
        let var = match expr.ty {
            Type::Poison => return expr,
            Type::Vector(var) => var,
            Type::Scalar => self.sizes.fresh("this value", size.span),
            Type::Element { .. } => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::WrongAxes,
                        size.span,
                        "a value of a bundle has the sizes of the bundle",
                    )
                    .with_help("leave the size out"),
                );
                return expr;
            }
        };
        self.sizes.define(var, wanted, size.span, self.diagnostics);
        let span = expr.span;
        match expr.ty {
            Type::Scalar => convert(expr, Type::Vector(var), span),
            _ => expr,
        }
    }

    /// Resolves an expression.
    pub(super) fn expr(&mut self, expr: &'a ast::Expr, context: Context) -> Expr {
        let span = expr.span;
        if self.too_much(span) {
            return poison(span);
        }
        match &expr.kind {
            ast::ExprKind::Number { value, .. } => number(*value, span),
            ast::ExprKind::Text(_) | ast::ExprKind::List(_) | ast::ExprKind::Element { .. } => {
                self.diagnostics.push(
                    Diagnostic::new(Code::WrongKind, span, "this is no number")
                        .with_help("texts and lists are values of settings"),
                );
                poison(span)
            }
            ast::ExprKind::Name(path) => self.name(path, context),
            ast::ExprKind::Next(path) => self.next(path, context, span),
            ast::ExprKind::External(name) => self.external(name),
            ast::ExprKind::Unary(op, x) => {
                let x = self.expr(x, context);
                let function = match op {
                    UnaryOp::Negate => Unary::Neg,
                    UnaryOp::Not => Unary::Not,
                };
                unary(function, x, span)
            }
            ast::ExprKind::Binary(op, a, b) => self.operator(*op, a, b, context, span),
            ast::ExprKind::Call { function, args } => self.call(function, args, context, span),
            ast::ExprKind::Slice { base, start, end } => {
                let outside = Context {
                    vectors: true,
                    ..context
                };
                let x = self.expr(base, outside);
                let x = self.vector_again(x);
                // A value with one side of a bundle is a vector here.
                let x = self.side_as_vector(x);
                let Type::Vector(size) = x.ty else {
                    if !matches!(x.ty, Type::Poison) {
                        self.diagnostics.push(Diagnostic::new(
                            Code::WrongAxes,
                            base.span,
                            "only a vector has a range",
                        ));
                    }
                    return poison(span);
                };
                let region = self.region(start, end, size, context);
                let (start, end) = {
                    let pending = &self.regions[region.0 as usize];
                    (pending.start.clone(), pending.end.clone())
                };
                let length = self.sizes.fresh("this range", span);
                let difference =
                    SizeExpr::Binary(BinaryOp::Subtract, Box::new(end), Box::new(start), span);
                self.sizes
                    .define(length, difference, span, self.diagnostics);
                let slice = Expr {
                    kind: ExprKind::Slice(Box::new(x), region),
                    ty: Type::Vector(length),
                    span,
                };
                self.in_context(slice, context)
            }
        }
    }

    fn operator(
        &mut self,
        op: BinaryOp,
        a: &'a ast::Expr,
        b: &'a ast::Expr,
        context: Context,
        span: Span,
    ) -> Expr {
        let left = self.expr(a, context);
        let right = self.expr(b, context);
        let function = match op {
            BinaryOp::Power => {
                if let ExprKind::Number(exponent) = right.kind {
                    if exponent == 2.0 {
                        return unary(Unary::Square, left, span);
                    }
                }
                Binary::Pow
            }
            BinaryOp::Or => Binary::Or,
            BinaryOp::And => Binary::And,
            BinaryOp::Equal | BinaryOp::NotEqual => Binary::Equal,
            BinaryOp::Less | BinaryOp::Greater => Binary::Less,
            BinaryOp::LessEqual | BinaryOp::GreaterEqual => Binary::LessEqual,
            BinaryOp::Add => Binary::Add,
            BinaryOp::Subtract => Binary::Sub,
            BinaryOp::Multiply => Binary::Mul,
            BinaryOp::Divide => Binary::Div,
        };
        match op {
            BinaryOp::Greater | BinaryOp::GreaterEqual => self.binary(function, right, left, span),
            BinaryOp::NotEqual => {
                let equal = self.binary(function, left, right, span);
                unary(Unary::Not, equal, span)
            }
            BinaryOp::Or
            | BinaryOp::And
            | BinaryOp::Equal
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Power => self.binary(function, left, right, span),
        }
    }

    /// Builds `f(a, b)` with the axes of both.
    pub(super) fn binary(&mut self, function: Binary, a: Expr, b: Expr, span: Span) -> Expr {
        let (a, b, ty) = self.join(a, b, span);
        Expr {
            kind: ExprKind::Binary(function, Box::new(a), Box::new(b)),
            ty,
            span,
        }
    }

    /// A region whose bounds may wait for sizes.
    pub(super) fn region(
        &mut self,
        start: &'a ast::Expr,
        end: &'a ast::Expr,
        size: SizeVar,
        context: Context,
    ) -> RegionId {
        let id = RegionId(self.regions.len() as u32);
        let start_size = self.size_expr(start, context);
        let end_size = self.size_expr(end, context);
        self.regions.push(super::analyser::PendingRegion {
            start: start_size,
            end: end_size,
            size,
            // An element ends where it starts, as written.
            is_element: start.span == end.span,
            span: start.span.to(end.span),
        });
        id
    }

    /// Returns true if the resolved spec exceeds the limit on operations (rules multiply their arguments).
    fn too_much(&mut self, span: Span) -> bool {
        self.nodes += 1;
        if self.nodes == MAX_NODES {
            self.diagnostics.push(Diagnostic::new(
                Code::TooLarge,
                span,
                format!(
                    "the network has more than {MAX_NODES} operations once its rules are filled in"
                ),
            ));
        }
        self.nodes >= MAX_NODES
    }
}
