//! Function calls.

use super::analyser::Analyser;
use super::functions::{self, Function, FunctionInfo};
use super::layers::TrainedCall;
use super::model::{BundleId, Expr, ExprKind, Fold, Over, Side, Type};
use super::scope::Context;
use super::sizes::{SizeExpr, SizeVar};
use super::types::{convert, number, poison, unary};
use crate::ir::{Binary, Boundary, Unary};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast;

impl<'a> Analyser<'a, '_> {
    pub(super) fn call(
        &mut self,
        function: &'a ast::Ident,
        args: &'a [ast::Arg],
        context: Context,
        span: Span,
    ) -> Expr {
        let Some(info) = functions::find(&function.name) else {
            let names = functions::FUNCTIONS.iter().map(|f| f.name);
            let mut diagnostic = Diagnostic::new(
                Code::BadCall,
                function.span,
                format!("no function is called `{}`", function.name),
            );
            let elsewhere = functions::ELSEWHERE.iter();
            let mut known = elsewhere.filter(|(names, _)| names.contains(&function.name.as_str()));
            diagnostic = if let Some((_, instead)) = known.next() {
                diagnostic.with_help(format!("write {instead}"))
            } else if let Some(near) = Diagnostics::nearest(&function.name, names) {
                diagnostic.with_help(format!("did you mean `{near}`?"))
            } else {
                diagnostic.with_help("`bpmc explain` lists them")
            };
            self.diagnostics.push(diagnostic);
            return poison(span);
        };
        let positional: Vec<&'a ast::Expr> = args
            .iter()
            .filter(|arg| arg.name.is_none())
            .map(|arg| &arg.value)
            .collect();
        if positional.len() < info.arity.0 || positional.len() > info.arity.1 {
            self.bad_call(
                span,
                info,
                format!(
                    "`{}` is called with {} arguments",
                    info.name,
                    positional.len()
                ),
            );
            return poison(span);
        }
        for name in args.iter().filter_map(|arg| arg.name.as_ref()) {
            if !info.named.contains(&name.name.as_str()) {
                self.bad_call(
                    name.span,
                    info,
                    format!("`{}` has no argument `{}`", info.name, name.name),
                );
                return poison(span);
            }
        }
        let named = |wanted: &str| {
            args.iter()
                .find(|arg| arg.name.as_ref().is_some_and(|n| n.name == wanted))
                .map(|arg| &arg.value)
        };
        match info.function {
            Function::Unary(function) => {
                let x = self.expr(positional[0], context);
                unary(function, x, span)
            }
            Function::Binary(Binary::Max) if positional.len() == 1 => {
                self.fold_vector(Fold::Max, positional[0], context, span)
            }
            Function::Binary(Binary::Min) if positional.len() == 1 => {
                self.smallest(positional[0], context, span)
            }
            Function::Binary(function) => {
                let a = self.expr(positional[0], context);
                let b = self.expr(positional[1], context);
                self.binary(function, a, b, span)
            }
            Function::Select => {
                let c = self.expr(positional[0], context);
                let a = self.expr(positional[1], context);
                let b = self.expr(positional[2], context);
                self.select(c, a, b, span)
            }
            Function::Clip => self.clip(&positional, named("boundary"), context, span),
            Function::Surrogate => self.surrogate(&positional, named("shape"), context, span),
            Function::Reduce(fold, Over::Side(side)) => {
                let x = self.expr(positional[0], context);
                match context.bundle {
                    Some(bundle) => self.reduce(fold, side, bundle, x, span),
                    None => {
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::WrongKind,
                                span,
                                format!("`{}` works only inside a `plastic` bundle", info.name),
                            )
                            .with_help("for a vector of the network there are `sum`, `mean`, `max` and `norm`"),
                        );
                        poison(span)
                    }
                }
            }
            Function::Reduce(fold, Over::Vector) => {
                self.fold_vector(fold, positional[0], context, span)
            }
            Function::Dropout => self.dropout([positional[0], positional[1]], context, span),
            Function::Linear | Function::Fanout | Function::Embedding | Function::Tied => {
                let call = TrainedCall {
                    args: &positional,
                    bias: named("bias"),
                    init: named("init"),
                    written: (span, context.bundle, context.rule),
                };
                match info.function {
                    Function::Linear => self.linear("linear", call, context, span),
                    Function::Embedding => self.linear("embedding", call, context, span),
                    Function::Tied => self.tied(call, context, span),
                    _ => self.fanout(call, context, span),
                }
            }
            Function::Softmax | Function::LogSoftmax => {
                match self.vector_or_side(positional[0], context) {
                    Some(x) => {
                        let value = Expr {
                            ty: x.ty,
                            kind: match info.function {
                                Function::Softmax => ExprKind::Softmax(Box::new(x)),
                                _ => ExprKind::LogSoftmax(Box::new(x)),
                            },
                            span,
                        };
                        self.in_context(value, context)
                    }
                    None => poison(span),
                }
            }
            Function::Every => self.every(positional[0], context, span),
            Function::Delay => {
                let call = [positional[0], positional[1]];
                self.delay(call, named("reset"), context, span)
            }
            Function::Index => {
                let written = (span, context.bundle, context.rule);
                self.index_of(positional[0], written, context, span)
            }
            Function::TopK => self.topk([positional[0], positional[1]], context, span),
            Function::Concat => self.concat(&positional, context, span),
            Function::Stop => {
                let x = self.expr(positional[0], context);
                Expr {
                    ty: x.ty,
                    kind: ExprKind::Stop(Box::new(x)),
                    span,
                }
            }
            Function::Size => self.size_of(positional[0], context, span),
            Function::Along(side) => match (context.bundle, self.vector(positional[0], context)) {
                (Some(bundle), Some(x)) => self.along(x, bundle, side),
                (None, Some(_)) => {
                    self.diagnostics.push(Diagnostic::new(
                        Code::WrongKind,
                        span,
                        format!("`{}` works only inside a `plastic` bundle", info.name),
                    ));
                    poison(span)
                }
                (_, None) => poison(span),
            },
        }
    }

    fn bad_call(&mut self, span: Span, info: &FunctionInfo, message: String) {
        self.diagnostics.push(
            Diagnostic::new(Code::BadCall, span, message).with_help(format!(
                "it is called as `{}`",
                info.usage.replace("f(", &format!("{}(", info.name))
            )),
        );
    }

    /// Resolves an argument that must be a vector or scalar of the network.
    pub(super) fn vector(&mut self, expr: &'a ast::Expr, context: Context) -> Option<Expr> {
        let outside = Context {
            vectors: true,
            ..context
        };
        let x = self.vector_or_side(expr, outside)?;
        Some(self.side_as_vector(x))
    }

    /// Resolves an argument as [`Analyser::vector`] does; in a bundle it may also be a value that has one side only, such as
    /// `post`.
    fn vector_or_side(&mut self, expr: &'a ast::Expr, context: Context) -> Option<Expr> {
        let outside = Context {
            vectors: true,
            ..context
        };
        let x = self.expr(expr, outside);
        match x.ty {
            Type::Vector(_) | Type::Scalar => Some(x),
            Type::Element { pre, post, .. } if pre != post => Some(x),
            Type::Poison => None,
            Type::Element { .. } => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::WrongAxes,
                        expr.span,
                        "this has a value for each connection, and a vector is needed",
                    )
                    .with_help("take a value with one side, such as `pre` or `post`"),
                );
                None
            }
        }
    }

    /// The size of a vector; 1 for a scalar.
    pub(super) fn length(&mut self, expr: &Expr) -> SizeVar {
        match expr.ty {
            Type::Vector(size) => size,
            Type::Scalar | Type::Element { .. } | Type::Poison => {
                self.sizes.known(1, "this scalar", expr.span)
            }
        }
    }

    pub(super) fn select(&mut self, c: Expr, a: Expr, b: Expr, span: Span) -> Expr {
        let (a, b, _) = self.join(a, b, span);
        let (c, a, _) = self.join(c, a, span);
        // `join` runs twice, so that all three operands get the common axes.
        let (c, b, _) = self.join(c, b, span);
        let (a, b, ab) = self.join(a, b, span);
        let probe = Expr {
            kind: ExprKind::Poison,
            ty: ab,
            span,
        };
        let (c, _, ty) = self.join(c, probe, span);
        Expr {
            kind: ExprKind::Select(Box::new(c), Box::new(a), Box::new(b)),
            ty,
            span,
        }
    }

    fn clip(
        &mut self,
        args: &[&'a ast::Expr],
        boundary: Option<&'a ast::Expr>,
        context: Context,
        span: Span,
    ) -> Expr {
        let x = self.expr(args[0], context);
        let lo = self.clip_bound(args[1], context);
        let hi = self.clip_bound(args[2], context);
        let boundary = match boundary.map(|e| (&e.kind, e.span)) {
            None => Boundary::Inclusive,
            Some((ast::ExprKind::Name(path), at)) => match path.parts[0].name.as_str() {
                "inclusive" => Boundary::Inclusive,
                "exclusive" => Boundary::Exclusive,
                "half" => Boundary::Half,
                "straight_through" => Boundary::StraightThrough,
                _ => return self.bad_boundary(at, span),
            },
            Some((_, at)) => return self.bad_boundary(at, span),
        };
        let (Some(lo), Some(hi)) = (lo, hi) else {
            return poison(span);
        };
        if lo > hi {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::NotConstant,
                    args[1].span.to(args[2].span),
                    format!("the lower bound {lo} is above the upper bound {hi}"),
                )
                .with_help("write `clip(x, -1, 1)`"),
            );
            return poison(span);
        }
        Expr {
            ty: x.ty,
            kind: ExprKind::Clip(Box::new(x), lo, hi, boundary),
            span,
        }
    }

    fn clip_bound(&mut self, expr: &'a ast::Expr, context: Context) -> Option<f64> {
        match self.try_constant(expr, context) {
            Ok(value) if value.is_finite() => Some(value),
            Err(None) => None,
            found => {
                // The argument of a rule is to blame, not the rule.
                let at = match found {
                    Err(Some(fault)) => fault.primary.span,
                    _ => expr.span,
                };
                let mut diagnostic = Diagnostic::new(
                    Code::NotConstant,
                    at,
                    "the bounds of `clip` must be numbers known at compile time",
                );
                if at.source != expr.span.source {
                    diagnostic = diagnostic.with_secondary(expr.span, "it is a bound here");
                }
                self.diagnostics
                    .push(diagnostic.with_help("for bounds that vary write `min(max(x, lo), hi)`"));
                None
            }
        }
    }

    fn bad_boundary(&mut self, at: Span, span: Span) -> Expr {
        self.diagnostics.push(
            Diagnostic::new(
                Code::BadCall,
                at,
                "this is no rule for the derivative on a bound",
            )
            .with_help("there are `inclusive`, `exclusive`, `half` and `straight_through`"),
        );
        poison(span)
    }

    /// A reduction over one side of a bundle; a value that does not vary along it counts once per neuron.
    pub(super) fn reduce(
        &mut self,
        fold: Fold,
        side: Side,
        bundle: BundleId,
        x: Expr,
        span: Span,
    ) -> Expr {
        let sparse = self.bundles[bundle.index()].connect.is_some();
        if sparse && fold == Fold::Max {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::BadCall,
                    span,
                    "a sparse bundle has sums, means and norms, but no largest or smallest values",
                )
                .with_help("leave `connect where` out, and multiply with the mask"),
            );
            return poison(span);
        }
        let (pre, post) = match x.ty {
            // What a neuron sums up are the connections that it has.
            Type::Scalar | Type::Element { .. } if sparse => (true, true),
            Type::Scalar => (false, false),
            Type::Element { pre, post, .. } => (pre, post),
            Type::Vector(_) | Type::Poison => return poison(span),
        };
        let (full, rest) = match side {
            Side::Pre => ((true, post), (false, post)),
            Side::Post => ((pre, true), (pre, false)),
        };
        let element = |(pre, post): (bool, bool)| {
            if pre || post {
                Type::Element { bundle, pre, post }
            } else {
                Type::Scalar
            }
        };
        let x = convert(x, element(full), span);
        Expr {
            kind: ExprKind::Reduce(fold, Over::Side(side), Box::new(x)),
            ty: element(rest),
            span,
        }
    }

    fn fold_vector(
        &mut self,
        fold: Fold,
        arg: &'a ast::Expr,
        context: Context,
        span: Span,
    ) -> Expr {
        match self.several(arg, context) {
            Some(x) => folded(fold, x, span),
            None => poison(span),
        }
    }

    /// The smallest element of a vector: `-max(-x)`.
    fn smallest(&mut self, arg: &'a ast::Expr, context: Context, span: Span) -> Expr {
        let Some(x) = self.several(arg, context) else {
            return poison(span);
        };
        let largest = folded(Fold::Max, unary(Unary::Neg, x, span), span);
        unary(Unary::Neg, largest, span)
    }

    /// Resolves an argument that must be a vector, not a single number.
    pub(super) fn several(&mut self, arg: &'a ast::Expr, context: Context) -> Option<Expr> {
        let x = self.vector(arg, context)?;
        let x = self.vector_again(x);
        if matches!(x.ty, Type::Scalar) {
            self.diagnostics.push(Diagnostic::new(
                Code::WrongAxes,
                arg.span,
                "this is a single number already",
            ));
            return None;
        }
        Some(x)
    }

    fn size_of(&mut self, arg: &'a ast::Expr, context: Context, span: Span) -> Expr {
        if let (ast::ExprKind::Name(path), Some(bundle)) = (&arg.kind, context.bundle) {
            let scope = &self.bundles[bundle.index()];
            let size = match path.parts[0].name.as_str() {
                "pre" => Some(scope.pre),
                "post" => Some(scope.post),
                _ => None,
            };
            if let (Some(size), 1) = (size, path.parts.len()) {
                return Expr {
                    kind: ExprKind::SizeOf(size),
                    ty: Type::Scalar,
                    span,
                };
            }
        }
        match self.vector(arg, context) {
            Some(x) => match x.ty {
                Type::Vector(size) => Expr {
                    kind: ExprKind::SizeOf(size),
                    ty: Type::Scalar,
                    span,
                },
                Type::Scalar | Type::Element { .. } | Type::Poison => number(1.0, span),
            },
            None => poison(span),
        }
    }

    fn concat(&mut self, args: &[&'a ast::Expr], context: Context, span: Span) -> Expr {
        let mut parts = Vec::new();
        let mut total = SizeExpr::Constant(0);
        for arg in args {
            let Some(part) = self.vector(arg, context) else {
                return poison(span);
            };
            let length = self.length(&part);
            total = SizeExpr::Binary(
                ast::BinaryOp::Add,
                Box::new(total),
                Box::new(SizeExpr::Variable(length)),
                span,
            );
            parts.push(convert(part, Type::Vector(length), arg.span));
        }
        let size = self.sizes.fresh("this `concat`", span);
        self.sizes.define(size, total, span, self.diagnostics);
        let value = Expr {
            kind: ExprKind::Concat(parts),
            ty: Type::Vector(size),
            span,
        };
        self.in_context(value, context)
    }
}

/// The fold of a vector, or of a value with one side of a bundle.
fn folded(fold: Fold, x: Expr, span: Span) -> Expr {
    Expr {
        kind: ExprKind::Reduce(fold, Over::Vector, Box::new(x)),
        ty: Type::Scalar,
        span,
    }
}
