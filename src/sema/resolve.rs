//! Expressions: names to symbols, operators to element functions, axes and sizes to types.

use super::analyser::{Analyser, DefinitionSource};
use super::constants::dotted;
use super::model::{BundleId, DefId, DefKind, Expr, ExprKind, Fold, Side, Type};
use super::scope::{Context, Symbol};
use super::sizes::SizeExpr;
use crate::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::ir::{Binary, InputId, InputSlot, Unary};
use crate::syntax::ast::{self, BinaryOp, Path, UnaryOp};

/// Most operations of one network.
const MAX_NODES: usize = 200_000;

impl<'a> Analyser<'a, '_> {
    /// Resolves a definition whose needs are all resolved.
    pub(super) fn resolve_definition(&mut self, id: DefId) {
        let pending = &self.definitions[id.index()];
        let (context, span, kind) = (pending.context, pending.span, pending.kind);
        let expr = match pending.source {
            DefinitionSource::Expr(source) => {
                let owner = pending.path.clone();
                self.owner = owner;
                self.owner_counts.clear();
                self.expr(source, context)
            }
            DefinitionSource::Received(bundle, source) => self.received_expr(bundle, source),
            DefinitionSource::Broken => poison(span),
        };
        let expr = match kind {
            DefKind::Modulator => self.scalar_if_single(expr),
            DefKind::Value | DefKind::Output | DefKind::Received => expr,
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

    /// Ties the sizes of bundles to the vectors they connect, once those are resolved.
    fn match_bundle_sides(&mut self, id: DefId) {
        for (path, size) in self.sides.remove(&id).unwrap_or_default() {
            let ty = self.definition_type(id);
            self.tie_side(path, size, ty);
        }
    }

    /// Ties bundle sides that are inputs or states; reports sides that are neither.
    pub(super) fn match_bundle_leaves(&mut self) {
        for k in 0..self.bundles.len() {
            let bundle = &self.bundles[k];
            for (path, size) in [
                (bundle.pre_path, bundle.pre),
                (bundle.post_path, bundle.post),
            ] {
                match self.lookup(path, Context::NETWORK) {
                    Some(Symbol::Input(id)) => {
                        self.tie_side(path, size, self.input_types[id.index()])
                    }
                    Some(Symbol::State(id)) => {
                        self.tie_side(path, size, self.state_types[id.index()])
                    }
                    Some(Symbol::Definition(id)) => {
                        self.sides.entry(id).or_default().push((path, size));
                    }
                    Some(Symbol::Bundle(other)) => {
                        let id = self.received[&other];
                        self.sides.entry(id).or_default().push((path, size));
                    }
                    Some(symbol @ (Symbol::Noise(_) | Symbol::Param(_))) => {
                        self.diagnostics.push(Diagnostic::new(
                            Code::WrongKind,
                            path.span,
                            format!(
                                "a bundle connects vectors of activity, and `{}` is {}",
                                dotted(path),
                                symbol.word()
                            ),
                        ));
                        self.poison_size(size);
                    }
                    None if self.dims.contains_key(dotted(path).as_str()) => {
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::WrongKind,
                                path.span,
                                format!(
                                    "a bundle connects vectors of activity, and `{}` is a size",
                                    dotted(path)
                                ),
                            )
                            .with_help("name an input, a state or a value of the network"),
                        );
                        self.poison_size(size);
                    }
                    None => {
                        self.unknown_name(path, Context::NETWORK);
                        self.poison_size(size);
                    }
                }
            }
        }
    }

    fn poison_size(&mut self, size: super::sizes::SizeVar) {
        self.sizes.define(
            size,
            SizeExpr::Poison,
            self.bundles[0].name.span,
            self.diagnostics,
        );
    }

    fn tie_side(&mut self, path: &Path, size: super::sizes::SizeVar, ty: Type) {
        match ty {
            Type::Vector(var) => {
                self.sizes.unify(size, var, path.span, self.diagnostics);
            }
            Type::Scalar => {
                let one = self
                    .sizes
                    .known(1, format!("`{}`", dotted(path)), path.span);
                self.sizes.unify(size, one, path.span, self.diagnostics);
            }
            Type::Element { .. } | Type::Poison => self.poison_size(size),
        }
    }

    /// `Σ_i transmit_ij pre_i`
    fn received_expr(&mut self, bundle: BundleId, source: &'a ast::Expr) -> Expr {
        let context = self.transmit_contexts[&bundle];
        self.owner = self.bundles[bundle.index()].name.name.clone();
        self.owner_counts.clear();
        let weight = self.expr(source, context);
        let span = weight.span;
        let Some(pre) = self.side(bundle, Side::Pre, span) else {
            return poison(span);
        };
        let product = self.binary(Binary::Mul, weight, pre, span);
        if matches!(product.ty, Type::Poison) {
            return poison(span);
        }
        let sum = self.reduce(Fold::Sum, Side::Pre, bundle, product, span);
        convert(sum, Type::Vector(self.bundles[bundle.index()].post), span)
    }

    /// `pre` or `post` as an element.
    fn side(&mut self, bundle: BundleId, side: Side, span: Span) -> Option<Expr> {
        let scope = &self.bundles[bundle.index()];
        let path = match side {
            Side::Pre => scope.pre_path,
            Side::Post => scope.post_path,
        };
        let kind = match self.lookup(path, Context::NETWORK)? {
            Symbol::Input(id) => ExprKind::Input(id),
            Symbol::State(id) => ExprKind::State(id),
            Symbol::Definition(id) => ExprKind::Definition(id),
            Symbol::Bundle(other) => ExprKind::Definition(self.received[&other]),
            Symbol::Noise(_) | Symbol::Param(_) => return None,
        };
        let ty = match kind {
            ExprKind::Input(id) => self.input_types[id.index()],
            ExprKind::State(id) => self.state_types[id.index()],
            ExprKind::Definition(id) => self.resolved[id.index()].as_ref()?.ty,
            _ => return None,
        };
        if matches!(ty, Type::Poison) {
            return None;
        }
        let inner = Expr { kind, ty, span };
        Some(convert(inner, side_type(bundle, side), span))
    }

    /// Resolves an expression.
    pub(super) fn expr(&mut self, expr: &'a ast::Expr, context: Context) -> Expr {
        let span = expr.span;
        if self.too_much(span) {
            return poison(span);
        }
        match &expr.kind {
            ast::ExprKind::Number { value, .. } => number(*value, span),
            ast::ExprKind::Text(_) | ast::ExprKind::List(_) => {
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

    /// `f(a, b)` with the axes of both.
    pub(super) fn binary(&mut self, function: Binary, a: Expr, b: Expr, span: Span) -> Expr {
        let (a, b, ty) = self.join(a, b, span);
        Expr {
            kind: ExprKind::Binary(function, Box::new(a), Box::new(b)),
            ty,
            span,
        }
    }

    /// The axes of both, a vector of one element counting as a scalar beside a longer one.
    pub(super) fn join(&mut self, a: Expr, b: Expr, span: Span) -> (Expr, Expr, Type) {
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
                    (true, false) => return (self.scalar_if_single(a), b, Type::Vector(y)),
                    (false, true) => {
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

    /// Inside a bundle, a vector becomes an element of the post side.
    pub(super) fn in_context(&mut self, expr: Expr, context: Context) -> Expr {
        let (Some(bundle), false) = (context.bundle, context.vectors) else {
            return expr;
        };
        self.along(expr, bundle, Side::Post)
    }

    /// A vector as an element of one side of a bundle.
    pub(super) fn along(&mut self, expr: Expr, bundle: BundleId, side: Side) -> Expr {
        let expr = self.scalar_if_single(expr);
        let Type::Vector(size) = expr.ty else {
            return expr;
        };
        let span = expr.span;
        let of_side = match side {
            Side::Pre => self.bundles[bundle.index()].pre,
            Side::Post => self.bundles[bundle.index()].post,
        };
        if self.sizes.unify(size, of_side, span, self.diagnostics) {
            convert(expr, side_type(bundle, side), span)
        } else {
            poison(span)
        }
    }

    fn name(&mut self, path: &'a Path, context: Context) -> Expr {
        let span = path.span;
        let first = path.parts[0].name.as_str();
        if path.parts.len() == 1 {
            if let Some(rule) = context.rule {
                if let Some((argument, inner)) = self.instances[rule].arguments.get(first).copied()
                {
                    let inner = Context {
                        vectors: context.vectors,
                        ..inner
                    };
                    // Parameters in the argument are called after the rule's parameter.
                    let owner = inner.bundle.map_or_else(String::new, |bundle| {
                        format!("{}.{first}", self.bundles[bundle.index()].name.name)
                    });
                    let owner = std::mem::replace(&mut self.owner, owner);
                    let counts = std::mem::take(&mut self.owner_counts);
                    let value = self.expr(argument, inner);
                    self.owner = owner;
                    self.owner_counts = counts;
                    return self.in_context(value, context);
                }
            }
            if let Some(bundle) = context.bundle {
                let side = match first {
                    "pre" => Some(Side::Pre),
                    "post" => Some(Side::Post),
                    _ => None,
                };
                if let Some(side) = side {
                    return self.side(bundle, side, span).unwrap_or(poison(span));
                }
            }
        }
        if let Some(symbol) = self.lookup(path, context) {
            let (kind, ty) = match symbol {
                Symbol::Input(id) => (ExprKind::Input(id), self.input_types[id.index()]),
                Symbol::State(id) => (ExprKind::State(id), self.state_types[id.index()]),
                Symbol::Noise(id) => (ExprKind::Noise(id), self.noise_types[id.index()]),
                Symbol::Param(id) => (ExprKind::Param(id), self.param_type(id)),
                Symbol::Definition(id) => (ExprKind::Definition(id), self.definition_type(id)),
                Symbol::Bundle(id) => {
                    let id = self.received[&id];
                    (ExprKind::Definition(id), self.definition_type(id))
                }
            };
            if matches!(ty, Type::Poison) {
                return poison(span);
            }
            let value = Expr { kind, ty, span };
            if let (Type::Element { bundle, pre, post }, true) =
                (ty, context.vectors || context.bundle != ty_bundle(ty))
            {
                return self.outside(value, bundle, pre, post);
            }
            return self.in_context(value, context);
        }
        if (path.parts.len() == 2 && first == "task")
            || (path.parts.len() == 1 && self.dims.contains_key(first))
        {
            let expr = ast::Expr {
                kind: ast::ExprKind::Name(path.clone()),
                span,
            };
            let size = self.size_expr(&expr, context);
            return match self.sizes.evaluate(&size) {
                Ok(value) => number(value as f64, span),
                Err(_) => poison(span),
            };
        }
        self.unknown_name(path, context);
        poison(span)
    }

    /// A value of a bundle read from outside it, as a vector or scalar of the network.
    fn outside(&mut self, value: Expr, bundle: BundleId, pre: bool, post: bool) -> Expr {
        let span = value.span;
        let scope = &self.bundles[bundle.index()];
        let ty = match (pre, post) {
            (false, false) => Type::Scalar,
            (true, false) => Type::Vector(scope.pre),
            (false, true) => Type::Vector(scope.post),
            (true, true) => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::WrongAxes,
                        span,
                        "a value per connection cannot leave its bundle",
                    )
                    .with_help("reduce it inside: `total = sum_pre(x)`"),
                );
                return poison(span);
            }
        };
        convert(value, ty, span)
    }

    fn definition_type(&self, id: DefId) -> Type {
        self.resolved[id.index()]
            .as_ref()
            .map_or(Type::Poison, |expr| expr.ty)
    }

    fn next(&mut self, path: &Path, context: Context, span: Span) -> Expr {
        match self.lookup(path, context) {
            Some(Symbol::State(id)) => {
                let value = Expr {
                    kind: ExprKind::Next(id),
                    ty: self.state_types[id.index()],
                    span,
                };
                if let (Type::Element { bundle, pre, post }, None) = (value.ty, context.bundle) {
                    return self.outside(value, bundle, pre, post);
                }
                self.in_context(value, context)
            }
            Some(symbol) => {
                let name = dotted(path);
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadNext,
                        span,
                        format!("`{name}` is {}, which has no next value", symbol.word()),
                    )
                    .with_help(match symbol {
                        Symbol::Definition(_) | Symbol::Bundle(_) => {
                            format!("`{name}` alone is already its value of this step")
                        }
                        _ => "only states and traces are carried from step to step".to_owned(),
                    }),
                );
                poison(span)
            }
            None => {
                self.unknown_name(path, context);
                poison(span)
            }
        }
    }

    fn external(&mut self, name: &ast::Ident) -> Expr {
        if let Some(task) = &self.task {
            let signals = task.task.signals();
            if !signals.contains(&name.name.as_str()) {
                let help = match Diagnostics::nearest(&name.name, signals.iter().copied()) {
                    Some(near) => format!("did you mean `external {near}`?"),
                    None => format!("it gives {}", super::constants::listed(signals)),
                };
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::UnknownSignal,
                        name.span,
                        format!("task `{}` gives no signal `{}`", task.name, name.name),
                    )
                    .with_secondary(task.span, "the task is chosen here")
                    .with_help(help),
                );
                return poison(name.span);
            }
        } else if self.task_named {
            return poison(name.span);
        }
        let id = self.external_input(&name.name, name.span);
        Expr {
            kind: ExprKind::Input(id),
            ty: Type::Scalar,
            span: name.span,
        }
    }

    /// The input that carries a signal of the task.
    pub(super) fn external_input(&mut self, name: &str, span: Span) -> InputId {
        if let Some(id) = self.externals.get(name) {
            return *id;
        }
        let id = InputId(self.inputs.len() as u32);
        self.inputs.push(InputSlot {
            path: format!("external.{name}"),
            dims: Vec::new(),
            span: Some(span),
        });
        self.input_types.push(Type::Scalar);
        self.externals.insert(name.to_owned(), id);
        id
    }

    /// Whether the spec has grown beyond what one network can need (rules multiply their arguments).
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

    pub(super) fn unknown_name(&mut self, path: &Path, context: Context) {
        let name = dotted(path);
        if let Some(rule) = context.rule {
            // The use of the rule was told that the argument is missing.
            if self.instances[rule].missing.contains(&name.as_str()) {
                return;
            }
        }
        let message = format!("nothing here is called `{name}`");
        if self.diagnostics.is_full() {
            self.diagnostics
                .push(Diagnostic::new(Code::UnknownName, path.span, message));
            return;
        }
        let mut candidates: Vec<String> = Vec::new();
        if let Some(bundle) = context.bundle {
            let scope = &self.bundles[bundle.index()];
            candidates.extend(scope.names.keys().cloned());
            candidates.extend(["pre".to_owned(), "post".to_owned()]);
        }
        if let Some(rule) = context.rule {
            candidates.extend(
                self.instances[rule]
                    .arguments
                    .keys()
                    .map(|k| (*k).to_owned()),
            );
        } else {
            candidates.extend(self.names.keys().cloned());
        }
        candidates.extend(self.dims.keys().map(|k| (*k).to_owned()));
        let mut diagnostic = Diagnostic::new(Code::UnknownName, path.span, message);
        if context.bundle.is_none() && (name == "pre" || name == "post") {
            diagnostic =
                diagnostic.with_help("`pre` and `post` exist only inside a `plastic` bundle");
        } else if context.rule.is_some() && self.names.contains_key(&path.parts[0].name) {
            diagnostic = diagnostic.with_help(
                "a rule sees its parameters and its bundle; hand this in as an argument",
            );
        } else if let Some(near) =
            Diagnostics::nearest(&name, candidates.iter().map(String::as_str))
        {
            diagnostic = diagnostic.with_help(format!("did you mean `{near}`?"));
        }
        self.diagnostics.push(diagnostic);
    }
}

fn ty_bundle(ty: Type) -> Option<BundleId> {
    match ty {
        Type::Element { bundle, .. } => Some(bundle),
        Type::Scalar | Type::Vector(_) | Type::Poison => None,
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
