//! Functions with their own parameters (`linear`, `embedding`, `tied`, `fanout`) or mask (`dropout`).

use super::analyser::{Analyser, ParamType};
use super::model::{BundleId, Expr, ExprKind, Type};
use super::scope::Context;
use super::sizes::SizeVar;
use super::types::{convert, number, poison};
use crate::ir::{Binary, Draw, NoiseId, NoiseKind, NoiseSlot, ParamId};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast;

/// A call of a function with its own parameters.
pub(super) struct TrainedCall<'a, 'b> {
    pub(super) args: &'b [&'a ast::Expr],
    pub(super) bias: Option<&'a ast::Expr>,
    pub(super) init: Option<&'a ast::Expr>,
    pub(super) written: CallPlace,
}

/// The place of a call, and the bundle and use of a rule around it, which identify its parameters.
pub(super) type CallPlace = (Span, Option<BundleId>, Option<usize>);

/// The parameters of a call, and the size of its value.
#[derive(Clone, Copy)]
pub(super) struct CallParams {
    to: SizeVar,
    /// The weight of `linear` or the gain of `fanout`.
    factor: ParamId,
    bias: Option<ParamId>,
}

impl<'a> Analyser<'a, '_> {
    /// The size given as an argument, or one to be found by unification.
    fn wanted_size(
        &mut self,
        arg: Option<&&'a ast::Expr>,
        context: Context,
        what: &str,
        span: Span,
    ) -> SizeVar {
        let size = self.sizes.fresh(what, span);
        if let Some(arg) = arg {
            let expr = self.size_expr(arg, context);
            self.sizes.define(size, expr, arg.span, self.diagnostics);
        }
        size
    }

    /// The path of the next parameter group of `function` in the definition being resolved.
    pub(super) fn group(&mut self, function: &'static str) -> String {
        let count = self.owner_counts.entry(function).or_insert(0);
        *count += 1;
        if *count == 1 {
            format!("{}.{function}", self.owner)
        } else {
            format!("{}.{function}{count}", self.owner)
        }
    }

    /// Returns true if a call has a bias: `false` for none.
    fn wants_bias(&mut self, bias: Option<&'a ast::Expr>) -> bool {
        match bias.map(|e| (&e.kind, e.span)) {
            None => true,
            Some((ast::ExprKind::Name(path), span)) => match path.parts[0].name.as_str() {
                "true" => true,
                "false" => false,
                _ => {
                    self.bad_bias(span);
                    true
                }
            },
            Some((_, span)) => {
                self.bad_bias(span);
                true
            }
        }
    }

    fn bad_bias(&mut self, span: Span) {
        self.diagnostics.push(Diagnostic::new(
            Code::BadCall,
            span,
            "`bias` is `true` or `false`",
        ));
    }

    fn drawn_param(
        &mut self,
        path: String,
        init: Option<Draw>,
        default: Draw,
        ty: ParamType,
        span: Span,
    ) -> ParamId {
        self.known_paths.insert(path.clone());
        let overridden = match self.overrides.get(&path) {
            Some((ast::Initialiser::Value(value), _)) => {
                self.constant(value, Context::NETWORK).map(Draw::Constant)
            }
            Some((ast::Initialiser::Draw(value), _)) => self.distribution(value, Context::NETWORK),
            None => None,
        };
        // An explicit distribution replaces the default, which depends on the fan-in.
        let (draw, ty) = match (overridden.or(init), ty) {
            (
                Some(draw),
                ParamType::FanIn {
                    from,
                    to,
                    bias: false,
                },
            ) => (draw, ParamType::Matrix(from, to)),
            (Some(draw), ParamType::FanIn { to, bias: true, .. }) => {
                (draw, ParamType::Value(Type::Vector(to)))
            }
            (Some(draw), ty) => (draw, ty),
            (None, ty) => (default, ty),
        };
        self.add_param(path, true, draw, ty, span)
    }

    /// The default distribution of the matrix or gain of a call; that of `linear` depends on the fan-in.
    fn default_draw(function: &str) -> Draw {
        match function {
            "embedding" => Draw::Uniform(-0.1, 0.1),
            "fanout" => Draw::Uniform(-1.0, 1.0),
            _ => Draw::Constant(0.0),
        }
    }

    /// The parameters of a call. A rule argument is resolved wherever the rule names it, and each time it
    /// means the same parameters.
    fn call_params(
        &mut self,
        function: &'static str,
        call: &TrainedCall<'a, '_>,
        from: Option<SizeVar>,
        context: Context,
        span: Span,
    ) -> CallParams {
        if let Some(known) = self.call_params.get(&call.written) {
            return *known;
        }
        let what = format!("this `{function}`");
        let to = self.wanted_size(call.args.get(1), context, &what, span);
        let init = call.init.and_then(|e| self.distribution(e, context));
        let has_bias = function != "embedding" && self.wants_bias(call.bias);
        let group = self.group(function);
        let mut param = |name: &str, bias: bool| {
            let default = Self::default_draw(function);
            let ty = match from {
                Some(from) if function == "embedding" => ParamType::Matrix(from, to),
                Some(from) => ParamType::FanIn { from, to, bias },
                None => ParamType::Value(Type::Vector(to)),
            };
            self.drawn_param(format!("{group}.{name}"), init.clone(), default, ty, span)
        };
        let factor = param(if from.is_some() { "weight" } else { "gain" }, false);
        let bias = has_bias.then(|| param("bias", true));
        let params = CallParams { to, factor, bias };
        self.call_params.insert(call.written, params);
        params
    }

    /// Builds `x W + b`; an embedding has no bias.
    pub(super) fn linear(
        &mut self,
        function: &'static str,
        call: TrainedCall<'a, '_>,
        context: Context,
        span: Span,
    ) -> Expr {
        let Some(x) = self.vector(call.args[0], context) else {
            return poison(span);
        };
        let from = self.length(&x);
        let x = convert(x, Type::Vector(from), call.args[0].span);
        let params = self.call_params(function, &call, Some(from), context, span);
        let value = Expr {
            kind: ExprKind::Linear {
                x: Box::new(x),
                weight: params.factor,
                transposed: false,
                bias: params.bias,
            },
            ty: Type::Vector(params.to),
            span,
        };
        self.in_context(value, context)
    }

    /// Builds `y Wᵀ + b` with the matrix of another value.
    pub(super) fn tied(&mut self, call: TrainedCall<'a, '_>, context: Context, span: Span) -> Expr {
        let of = self.vector(call.args[1], context);
        let (Some(y), Some(of)) = (self.vector(call.args[0], context), of) else {
            return poison(span);
        };
        let source = match of.kind {
            ExprKind::Definition(id) => self.resolved[id.index()].as_ref().map(|e| &e.kind),
            _ => None,
        };
        let Some(&ExprKind::Linear {
            weight,
            transposed: false,
            ..
        }) = source
        else {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::BadCall,
                    call.args[1].span,
                    "this names no value that is an `embedding` or a `linear`",
                )
                .with_help(
                    "give the matrix a name first: `x = embedding(word, 200)`, then `tied(y, x)`",
                ),
            );
            return poison(span);
        };
        let (words, size) = match self.params[weight.index()].ty {
            ParamType::Matrix(from, to) | ParamType::FanIn { from, to, .. } => (from, to),
            ParamType::Value(_) | ParamType::Index(_) => return poison(span),
        };
        let length = self.length(&y);
        self.sizes.unify(length, size, span, self.diagnostics);
        let y = convert(y, Type::Vector(length), call.args[0].span);
        let init = call.init.and_then(|e| self.distribution(e, context));
        let known = self.call_params.get(&call.written).copied();
        let params = known.unwrap_or_else(|| {
            let bias = self.wants_bias(call.bias).then(|| {
                let path = format!("{}.bias", self.group("tied"));
                let ty = ParamType::Value(Type::Vector(words));
                self.drawn_param(path, init, Draw::Constant(0.0), ty, span)
            });
            CallParams {
                to: words,
                factor: weight,
                bias,
            }
        });
        self.call_params.insert(call.written, params);
        let value = Expr {
            kind: ExprKind::Linear {
                x: Box::new(y),
                weight: params.factor,
                transposed: true,
                bias: params.bias,
            },
            ty: Type::Vector(words),
            span,
        };
        self.in_context(value, context)
    }

    /// Builds `x mask / (1 - p)` with its own mask.
    pub(super) fn dropout(
        &mut self,
        [x, p]: [&'a ast::Expr; 2],
        context: Context,
        span: Span,
    ) -> Expr {
        let rate = self.constant(p, context);
        let (Some(x), Some(rate)) = (self.vector(x, context), rate) else {
            return poison(span);
        };
        if !(0.0..1.0).contains(&rate) {
            self.diagnostics.push(
                Diagnostic::new(Code::BadCall, p.span, "this is no probability below 1")
                    .with_help("`dropout(x, 0.4)` leaves out four elements of ten"),
            );
            return poison(span);
        }
        if rate == 0.0 {
            return self.in_context(x, context);
        }
        let size = self.length(&x);
        let x = convert(x, Type::Vector(size), span);
        let id = NoiseId(self.noises.len() as u32);
        let path = self.group("dropout");
        self.noises.push(NoiseSlot {
            path,
            dims: Vec::new(),
            draw: Draw::Bernoulli(1.0 - rate),
            kind: NoiseKind::Mask,
            span: Some(span),
        });
        self.noise_types.push(Type::Vector(size));
        let mask = Expr {
            kind: ExprKind::Noise(id),
            ty: Type::Vector(size),
            span,
        };
        let kept = self.binary(Binary::Mul, x, mask, span);
        let scale = number(1.0 / (1.0 - rate), span);
        let value = self.binary(Binary::Mul, kept, scale, span);
        self.in_context(value, context)
    }

    pub(super) fn fanout(
        &mut self,
        call: TrainedCall<'a, '_>,
        context: Context,
        span: Span,
    ) -> Expr {
        let Some(m) = self.vector(call.args[0], context) else {
            return poison(span);
        };
        let m = self.scalar_if_single(m);
        if !matches!(m.ty, Type::Scalar) {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::WrongAxes,
                    call.args[0].span,
                    "`fanout` spreads a single number over neurons, and this is a vector",
                )
                .with_help("for a vector write `linear(x, size)`"),
            );
            return poison(span);
        }
        let params = self.call_params("fanout", &call, None, context, span);
        let param = |id| Expr {
            kind: ExprKind::Param(id),
            ty: Type::Vector(params.to),
            span,
        };
        let mut value = self.binary(Binary::Mul, param(params.factor), m, span);
        if let Some(bias) = params.bias {
            value = self.binary(Binary::Add, value, param(bias), span);
        }
        self.in_context(value, context)
    }

    /// The type of a parameter as a value.
    pub(super) fn param_type(&self, id: ParamId) -> Type {
        match self.params[id.index()].ty {
            ParamType::Value(ty) => ty,
            // Weights of `linear` have no name in the spec, so no expression can reference them.
            ParamType::Matrix(..) | ParamType::Index(_) | ParamType::FanIn { .. } => Type::Poison,
        }
    }
}
