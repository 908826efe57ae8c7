//! The common type of two operands, vectors inside bundles, and the expressions that convert.

use super::analyser::Analyser;
use super::model::{BundleId, Expr, ExprKind, Side, Type};
use super::scope::Context;
use crate::ir::Unary;
use crate::lang::diag::{Code, Diagnostic, Span};

impl Analyser<'_, '_> {
    /// The axes of both, a vector of one element counting as a scalar beside another. It determines the size of that
    /// only where nothing else does.
    pub(super) fn join(&mut self, a: Expr, b: Expr, span: Span) -> (Expr, Expr, Type) {
        // Beside a vector, as in `sum(post * y)`, a side of a bundle is one, too.
        let (a, b) = match (a.ty, b.ty) {
            (Type::Element { .. }, Type::Vector(_)) => (self.side_as_vector(a), b),
            (Type::Vector(_), Type::Element { .. }) => (a, self.side_as_vector(b)),
            _ => (a, b),
        };
        let ty = match (a.ty, b.ty) {
            (Type::Poison, other) | (other, Type::Poison) => {
                if let Type::Vector(size) = other {
                    self.sizes.forgive(size);
                }
                Type::Poison
            }
            (Type::Scalar, other) | (other, Type::Scalar) => other,
            (Type::Vector(x), Type::Vector(y)) => {
                let single = |size| self.sizes.get(size) == Some(1);
                match (single(x), single(y)) {
                    (true, false) => {
                        self.sizes.meet_one(y);
                        return (self.scalar_if_single(a), b, Type::Vector(y));
                    }
                    (false, true) => {
                        self.sizes.meet_one(x);
                        let b = self.scalar_if_single(b);
                        return (a, b, Type::Vector(x));
                    }
                    (true, true) | (false, false) => {
                        if self.sizes.unify(x, y, span, self.diagnostics) {
                            Type::Vector(x)
                        } else {
                            Type::Poison
                        }
                    }
                }
            }
            (
                Type::Element {
                    bundle,
                    pre: p,
                    post: q,
                },
                Type::Element {
                    bundle: other,
                    pre: r,
                    post: s,
                },
            ) if bundle == other => Type::Element {
                bundle,
                pre: p || r,
                post: q || s,
            },
            (Type::Element { .. }, Type::Element { .. } | Type::Vector(_))
            | (Type::Vector(_), Type::Element { .. }) => {
                self.diagnostics.push(Diagnostic::new(
                    Code::WrongAxes,
                    span,
                    "these values belong to different bundles",
                ));
                Type::Poison
            }
        };
        (a, b, ty)
    }

    /// A value with one side of a bundle as a vector; others stay as they are.
    pub(super) fn side_as_vector(&self, expr: Expr) -> Expr {
        match expr.ty {
            Type::Element { bundle, pre, post } if pre != post => {
                let span = expr.span;
                match self.outside_type(bundle, pre, post) {
                    Some(ty) => convert(expr, ty, span),
                    None => expr,
                }
            }
            _ => expr,
        }
    }

    /// A vector known to have one element, as a scalar.
    pub(super) fn scalar_if_single(&self, expr: Expr) -> Expr {
        match expr.ty {
            Type::Vector(size) if self.sizes.get(size) == Some(1) => {
                let span = expr.span;
                convert(expr, Type::Scalar, span)
            }
            Type::Vector(_) | Type::Scalar | Type::Element { .. } | Type::Poison => expr,
        }
    }

    /// A modulator of one element is kept as a number: where a vector is needed, it is the vector that it was.
    pub(super) fn vector_again(&self, expr: Expr) -> Expr {
        let ExprKind::Definition(id) = expr.kind else {
            return expr;
        };
        match &self.resolved[id.index()] {
            Some(Expr {
                kind: ExprKind::Convert(vector),
                ty: Type::Scalar,
                ..
            }) => {
                let (ty, span) = (vector.ty, expr.span);
                convert(expr, ty, span)
            }
            _ => expr,
        }
    }

    /// Inside a bundle, a vector becomes an element of the post side.
    pub(super) fn in_context(&mut self, expr: Expr, context: Context) -> Expr {
        let (Some(bundle), false) = (context.bundle, context.vectors) else {
            return expr;
        };
        self.along(expr, bundle, Side::Post)
    }

    /// A vector as an element of one side of a bundle.
    pub(super) fn along(&mut self, expr: Expr, bundle: BundleId, side: Side) -> Expr {
        let Type::Vector(size) = expr.ty else {
            return expr;
        };
        let span = expr.span;
        let of_side = match side {
            Side::Pre => self.bundles[bundle.index()].pre,
            Side::Post => self.bundles[bundle.index()].post,
        };
        if self.sizes.get(size) == Some(1) {
            self.sizes.meet_one(of_side);
            return convert(expr, Type::Scalar, span);
        }
        if self.sizes.unify(size, of_side, span, self.diagnostics) {
            convert(expr, side_type(bundle, side), span)
        } else {
            poison(span)
        }
    }
}

pub(super) fn side_type(bundle: BundleId, side: Side) -> Type {
    Type::Element {
        bundle,
        pre: side == Side::Pre,
        post: side == Side::Post,
    }
}

pub(super) fn poison(span: Span) -> Expr {
    Expr {
        kind: ExprKind::Poison,
        ty: Type::Poison,
        span,
    }
}

pub(super) fn number(value: f64, span: Span) -> Expr {
    Expr {
        kind: ExprKind::Number(value),
        ty: Type::Scalar,
        span,
    }
}

pub(super) fn unary(function: Unary, x: Expr, span: Span) -> Expr {
    let ty = x.ty;
    Expr {
        kind: ExprKind::Unary(function, Box::new(x)),
        ty,
        span,
    }
}

pub(super) fn convert(expr: Expr, ty: Type, span: Span) -> Expr {
    if matches!(expr.ty, Type::Poison) {
        return poison(span);
    }
    Expr {
        kind: ExprKind::Convert(Box::new(expr)),
        ty,
        span,
    }
}
