//! Names in expressions: values, next values, signals of the task, and messages about unknown names.

use super::analyser::Analyser;
use super::constants::dotted;
use super::model::{BundleId, DefId, Expr, ExprKind, Side, Type};
use super::scope::{Context, Symbol};
use super::types::{convert, number, poison};
use crate::ir::{InputId, InputSlot};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast::{self, Path};

/// The signal of every task but a text: 1 in the first step of a trial, else 0.
const TRIAL: &str = "trial_start";

impl<'a> Analyser<'a, '_> {
    pub(super) fn name(&mut self, path: &'a Path, context: Context) -> Expr {
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
                    // Parameters created in the argument are named after the rule's parameter.
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
                    self.refuse_silent(id, span);
                    let id = self.received[&id];
                    (ExprKind::Definition(id), self.definition_type(id))
                }
            };
            if matches!(ty, Type::Poison) {
                return poison(span);
            }
            let value = Expr { kind, ty, span };
            return self.seen_from(value, context);
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
        if let Some(value) = self.setting(path) {
            return number(value, span);
        }
        if path.parts.len() == 2 && first == "train" {
            return self.setting_of_train(path);
        }
        if Self::is_target(path) {
            return self.target(path, context);
        }
        self.unknown_name(path, context);
        poison(span)
    }

    /// The number of `train.NAME`, a setting of the trainer.
    fn setting_of_train(&mut self, path: &Path) -> Expr {
        let Some(train) = &self.train else {
            if self.blocks("train").next().is_none() {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::MissingItem,
                        path.span,
                        format!(
                            "`{}` needs a `train` block, and the spec has none",
                            dotted(path)
                        ),
                    )
                    .with_help("add a block such as `train supervised { }`"),
                );
            }
            return poison(path.span);
        };
        let name = &path.parts[1];
        let settings = train.settings.iter();
        let numbers: Vec<(&str, f64)> = settings
            .filter_map(|(name, value)| Some((name, value.number()?)))
            .collect();
        if let Some((_, value)) = numbers.iter().find(|(known, _)| *known == name.name) {
            return number(*value, path.span);
        }
        let names = numbers.iter().map(|(name, _)| *name);
        let help = match Diagnostics::nearest(&name.name, names) {
            Some(near) => format!("did you mean `train.{near}`?"),
            None => format!(
                "`bpmc explain train {}` lists its settings",
                train.trainer.name
            ),
        };
        let message = format!(
            "trainer `{}` has no number called `{}`",
            train.trainer.name, name.name
        );
        self.diagnostics.push(
            Diagnostic::new(Code::UnknownName, name.span, message)
                .with_secondary(train.span, "the trainer is chosen here")
                .with_help(help),
        );
        poison(path.span)
    }

    /// A value as it is where it is named: an element in its own bundle, else a vector or scalar of the network.
    fn seen_from(&mut self, value: Expr, context: Context) -> Expr {
        let value = match value.ty {
            Type::Element { bundle, pre, post }
                if context.vectors || context.bundle != Some(bundle) =>
            {
                self.outside(value, bundle, pre, post)
            }
            _ => value,
        };
        self.in_context(value, context)
    }

    /// A value of a bundle read from outside it, as a vector or scalar of the network.
    fn outside(&mut self, value: Expr, bundle: BundleId, pre: bool, post: bool) -> Expr {
        let span = value.span;
        match self.outside_type(bundle, pre, post) {
            Some(ty) => convert(value, ty, span),
            None => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::WrongAxes,
                        span,
                        "a value per connection cannot leave its bundle",
                    )
                    .with_help("reduce it inside: `total = sum_pre(x)`"),
                );
                poison(span)
            }
        }
    }

    /// The type that a value of a bundle has outside it; a value per connection has none.
    pub(super) fn outside_type(&self, bundle: BundleId, pre: bool, post: bool) -> Option<Type> {
        let scope = &self.bundles[bundle.index()];
        match (pre, post) {
            (false, false) => Some(Type::Scalar),
            (true, false) => Some(Type::Vector(scope.pre)),
            (false, true) => Some(Type::Vector(scope.post)),
            (true, true) => None,
        }
    }

    pub(super) fn definition_type(&self, id: DefId) -> Type {
        self.resolved[id.index()]
            .as_ref()
            .map_or(Type::Poison, |expr| expr.ty)
    }

    pub(super) fn next(&mut self, path: &Path, context: Context, span: Span) -> Expr {
        match self.lookup(path, context) {
            Some(Symbol::State(id)) => {
                let value = Expr {
                    kind: ExprKind::Next(id),
                    ty: self.state_types[id.index()],
                    span,
                };
                self.seen_from(value, context)
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

    pub(super) fn external(&mut self, name: &ast::Ident) -> Expr {
        if let Some(task) = &self.task {
            let mut signals: Vec<&str> = task.ports.signals.iter().map(String::as_str).collect();
            // A text is one trial from its beginning to its end.
            signals.extend((!task.ports.is_text).then_some(TRIAL));
            if !signals.contains(&name.name.as_str()) {
                let help = match Diagnostics::nearest(&name.name, signals.iter().copied()) {
                    Some(near) => format!("did you mean `external {near}`?"),
                    None => format!("it gives {}", super::constants::listed(&signals)),
                };
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::UnknownSignal,
                        name.span,
                        format!("task `{}` gives no signal `{}`", task.info.name, name.name),
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

    pub(super) fn unknown_name(&mut self, path: &Path, context: Context) {
        let name = dotted(path);
        if self.expansion.is_reported(&name) {
            return;
        }
        if let Some(rule) = context.rule {
            // The missing argument was reported at the use of the rule.
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
