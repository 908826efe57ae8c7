//! `surrogate(u > 1, slope, shape = fast_sigmoid)`: a comparison with a derivative, for spikes.

use super::analyser::Analyser;
use super::model::{Expr, ExprKind};
use super::scope::Context;
use super::types::{number, poison, unary};
use crate::ir::{Binary, Unary};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast::{self, BinaryOp};

/// The shapes of the derivative, with what it is at a distance `x` from the threshold and a slope `s`.
pub const SHAPES: [(&str, &str); 4] = [
    ("fast_sigmoid", "1 / (1 + s |x|)^2"),
    ("triangle", "max(0, 1 - s |x|)"),
    ("arctan", "1 / (1 + (s x)^2)"),
    ("straight_through", "1"),
];

impl<'a> Analyser<'a, '_> {
    /// The comparison plus `stop(d) * (x - stop(x))`, which is exactly 0 and has the derivative d.
    pub(super) fn surrogate(
        &mut self,
        args: &[&'a ast::Expr],
        shape: Option<&'a ast::Expr>,
        context: Context,
        span: Span,
    ) -> Expr {
        let ast::ExprKind::Binary(op, a, b) = &args[0].kind else {
            return self.no_comparison(args[0].span, span);
        };
        let function = match op {
            BinaryOp::Less | BinaryOp::Greater => Binary::Less,
            BinaryOp::LessEqual | BinaryOp::GreaterEqual => Binary::LessEqual,
            _ => return self.no_comparison(args[0].span, span),
        };
        let shape = match shape.map(|shape| (&shape.kind, shape.span)) {
            None => SHAPES[0].0,
            Some((ast::ExprKind::Name(path), at)) => {
                let name = path.parts[0].name.as_str();
                match SHAPES.iter().find(|(known, _)| *known == name) {
                    Some((known, _)) if path.parts.len() == 1 => known,
                    _ => return self.no_shape(at, span),
                }
            }
            Some((_, at)) => return self.no_shape(at, span),
        };
        let (a, b) = (self.expr(a, context), self.expr(b, context));
        let (below, above) = match op {
            BinaryOp::Greater | BinaryOp::GreaterEqual => (b, a),
            _ => (a, b),
        };
        let slope = match args.get(1) {
            Some(slope) => self.expr(slope, context),
            None => number(1.0, span),
        };
        let spike = self.binary(function, below.clone(), above.clone(), span);
        let x = self.binary(Binary::Sub, above, below, span);
        let one = || number(1.0, span);
        let scaled = |this: &mut Self, x| this.binary(Binary::Mul, slope.clone(), x, span);
        let derivative = match shape {
            "straight_through" => one(),
            "triangle" => {
                let distance = scaled(self, unary(Unary::Abs, x.clone(), span));
                let height = self.binary(Binary::Sub, one(), distance, span);
                unary(Unary::Relu, height, span)
            }
            "arctan" => {
                let distance = scaled(self, x.clone());
                let square = unary(Unary::Square, distance, span);
                let below = self.binary(Binary::Add, one(), square, span);
                self.binary(Binary::Div, one(), below, span)
            }
            _ => {
                let distance = scaled(self, unary(Unary::Abs, x.clone(), span));
                let below = self.binary(Binary::Add, one(), distance, span);
                let square = unary(Unary::Square, below, span);
                self.binary(Binary::Div, one(), square, span)
            }
        };
        let held = stop(x.clone());
        let nothing = self.binary(Binary::Sub, x, held, span);
        let slope = self.binary(Binary::Mul, stop(derivative), nothing, span);
        self.binary(Binary::Add, spike, slope, span)
    }

    fn no_comparison(&mut self, at: Span, span: Span) -> Expr {
        self.diagnostics.push(
            Diagnostic::new(
                Code::BadCall,
                at,
                "`surrogate` takes a comparison, since the derivative is that of its two sides",
            )
            .with_help("write `surrogate(u > 1, 10)`, or with >=, < or <="),
        );
        poison(span)
    }

    fn no_shape(&mut self, at: Span, span: Span) -> Expr {
        let names: Vec<&str> = SHAPES.iter().map(|(name, _)| *name).collect();
        self.diagnostics.push(
            Diagnostic::new(Code::BadCall, at, "this is no shape of a derivative")
                .with_help(format!("there are {}", super::constants::listed(&names))),
        );
        poison(span)
    }
}

fn stop(x: Expr) -> Expr {
    Expr {
        ty: x.ty,
        span: x.span,
        kind: ExprKind::Stop(Box::new(x)),
    }
}
