//! The number and the rank of elements: `index(x)` and `topk(x, k)`.

use super::analyser::{Analyser, ParamType};
use super::layers::CallPlace;
use super::model::{Expr, ExprKind, Side, Type};
use super::scope::Context;
use super::types::{poison, side_type};
use crate::ir::Draw;
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast;

impl<'a> Analyser<'a, '_> {
    /// The numbers of the elements of a vector, from 0: a constant of the network.
    pub(super) fn index_of(
        &mut self,
        arg: &'a ast::Expr,
        written: CallPlace,
        context: Context,
        span: Span,
    ) -> Expr {
        let of_side = match (&arg.kind, context.bundle) {
            (ast::ExprKind::Name(path), Some(bundle)) => {
                let scope = &self.bundles[bundle.index()];
                match path.parts.as_slice() {
                    [name] if name.name == "pre" => Some((bundle, Side::Pre, scope.pre)),
                    [name] if name.name == "post" => Some((bundle, Side::Post, scope.post)),
                    _ => None,
                }
            }
            _ => None,
        };
        let (size, ty) = match of_side {
            Some((_, _, size)) if context.vectors => (size, Type::Vector(size)),
            Some((bundle, side, size)) => (size, side_type(bundle, side)),
            None => {
                let Some(x) = self.several(arg, context) else {
                    return poison(span);
                };
                let size = self.length(&x);
                (size, Type::Vector(size))
            }
        };
        let id = match self.indices.get(&written) {
            Some(known) => *known,
            None => {
                let path = self.group("index");
                let id = self.add_param(
                    path,
                    false,
                    Draw::Constant(0.0),
                    ParamType::Index(size),
                    span,
                );
                self.indices.insert(written, id);
                id
            }
        };
        let kind = ExprKind::Param(id);
        self.in_context(Expr { kind, ty, span }, context)
    }

    /// 1 where an element is one of the k largest.
    pub(super) fn topk(
        &mut self,
        [arg, count]: [&'a ast::Expr; 2],
        context: Context,
        span: Span,
    ) -> Expr {
        let size = self.size_expr(count, context);
        let x = self.several(arg, context);
        let (Some(x), Ok(k)) = (x, self.sizes.evaluate(&size)) else {
            return poison(span);
        };
        if k == 0 {
            self.diagnostics.push(Diagnostic::new(
                Code::BadCall,
                count.span,
                "`topk` finds at least one element",
            ));
            return poison(span);
        }
        let value = Expr {
            ty: x.ty,
            kind: ExprKind::TopK(Box::new(x), k as usize),
            span,
        };
        self.in_context(value, context)
    }
}
