//! Declarations: every name of the network and its bundles, before any expression is looked at.

use super::analyser::{
    Analyser, BundleScope, DefinitionSource, ParamType, PendingDefinition, PendingParam,
    PendingUpdate, RegionSource,
};
use super::constants::{dotted, listed};
use super::model::{BundleId, DefId, DefKind, Side, Type};
use super::scope::{Context, Names, RuleInstance, Symbol};
use crate::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::ir::{
    Draw, InputId, InputSlot, NoiseId, NoiseSlot, ParamId, ParamSlot, Reset, StateId, StateSlot,
};
use crate::syntax::ast::{
    Arg, DeclEntry, DeclKind, Expr, ExprKind, Ident, Initialiser, Path, RuleUse, Stmt, StmtKind,
};
use std::collections::BTreeMap;

/// Most names, numbers and operations of an argument of a rule, which is read wherever the rule names it.
const MAX_ARGUMENT: usize = 256;

/// How many names, numbers and operations an expression has; stops counting soon after `most`.
fn parts(expr: &Expr, most: usize) -> usize {
    let mut count = 0;
    let mut stack = vec![expr];
    while let Some(expr) = stack.pop() {
        count += 1;
        if count > most {
            break;
        }
        match &expr.kind {
            ExprKind::Number { .. }
            | ExprKind::Text(_)
            | ExprKind::Name(_)
            | ExprKind::Next(_)
            | ExprKind::External(_) => {}
            ExprKind::List(items) => stack.extend(items),
            ExprKind::Unary(_, x) => stack.push(x),
            ExprKind::Binary(_, a, b) => stack.extend([&**a, &**b]),
            ExprKind::Call { args, .. } => stack.extend(args.iter().map(|arg| &arg.value)),
            ExprKind::Slice { base, start, end } => stack.extend([&**base, &**start, &**end]),
        }
    }
    count
}

/// What surrounds a statement.
#[derive(Clone, Default)]
struct Around<'a> {
    regions: Vec<RegionSource<'a>>,
    conditions: Vec<&'a Expr>,
}

impl<'a> Analyser<'a, '_> {
    /// Declares everything in the network's body.
    pub(super) fn declare_network(&mut self, body: &'a [Stmt]) {
        // Bundles come last: sizes in them may name states and inputs that stand below.
        for stmt in body {
            if !matches!(stmt.kind, StmtKind::Plastic { .. }) {
                self.declare(stmt, Context::NETWORK, &Around::default());
            }
        }
        for stmt in body {
            if let StmtKind::Plastic {
                name,
                pre,
                post,
                using,
                body,
            } = &stmt.kind
            {
                self.declare_bundle(name, pre, post, using.as_ref(), body);
            }
        }
    }

    fn declare(&mut self, stmt: &'a Stmt, context: Context, around: &Around<'a>) {
        let nested = !around.regions.is_empty() || !around.conditions.is_empty();
        match &stmt.kind {
            StmtKind::Decl { kind, entries } => {
                if nested {
                    self.misplaced(
                        stmt.span,
                        "a declaration",
                        "put it outside the `on` or `when`",
                    );
                    return;
                }
                for entry in entries {
                    self.declare_entry(*kind, entry, context);
                }
            }
            StmtKind::Let { target, value } => {
                if nested {
                    self.misplaced(
                        stmt.span,
                        "a value",
                        "define it outside and use `select(condition, a, b)`",
                    );
                    return;
                }
                self.define(target, value, context, DefKind::Value);
            }
            StmtKind::Update { target, value } => {
                let around = around.clone();
                self.declare_update(target, value, context, around);
            }
            StmtKind::Transmit { value } => match context.bundle {
                Some(bundle) if !nested => {
                    self.bundles[bundle.index()]
                        .transmits
                        .push((value, context, stmt.span));
                }
                Some(_) => self.misplaced(
                    stmt.span,
                    "`transmit`",
                    "a bundle transmits one expression; use `select` in it",
                ),
                None => self.misplaced(stmt.span, "`transmit`", "it belongs in a `plastic` bundle"),
            },
            StmtKind::On {
                side,
                start,
                end,
                body,
            } => {
                let side_kind = match side.name.as_str() {
                    "pre" => Some(Side::Pre),
                    "post" => Some(Side::Post),
                    _ => None,
                };
                match (side_kind, context.bundle) {
                    (Some(side_kind), Some(_)) => {
                        let mut inner = around.clone();
                        inner.regions.push(RegionSource {
                            side: side_kind,
                            start,
                            end,
                            span: start.span.to(end.span),
                        });
                        for stmt in body {
                            self.declare(stmt, context, &inner);
                        }
                    }
                    (None, Some(_)) => self.diagnostics.push(Diagnostic::new(
                        Code::WrongKind,
                        side.span,
                        format!("`on` takes `pre` or `post`, not `{}`", side.name),
                    )),
                    (_, None) => {
                        self.misplaced(
                            stmt.span,
                            "`on`",
                            "it belongs in a `plastic` bundle or a rule",
                        );
                    }
                }
            }
            StmtKind::When { condition, body } => {
                let mut inner = around.clone();
                inner.conditions.push(condition);
                for stmt in body {
                    self.declare(stmt, context, &inner);
                }
            }
            StmtKind::Plastic { .. } => self.misplaced(
                stmt.span,
                "`plastic`",
                "bundles stand in the network itself, not in one another",
            ),
        }
    }

    fn misplaced(&mut self, span: Span, what: &str, help: &str) {
        self.diagnostics.push(
            Diagnostic::new(
                Code::MisplacedStatement,
                span,
                format!("{what} cannot stand here"),
            )
            .with_help(help),
        );
    }

    fn define(&mut self, name: &'a Ident, value: &'a Expr, context: Context, kind: DefKind) {
        let path = self.path(context, &name.name);
        self.known_paths.insert(path.clone());
        let value = match self.overrides.get(&path) {
            Some((Initialiser::Value(value), _)) => value,
            Some((Initialiser::Draw(_), span)) => {
                self.diagnostics.push(Diagnostic::new(
                    Code::BadInitialiser,
                    *span,
                    format!("`{path}` is a value of each step and cannot be drawn"),
                ));
                value
            }
            None => value,
        };
        let id = DefId(self.definitions.len() as u32);
        self.definitions.push(PendingDefinition {
            path,
            kind,
            source: DefinitionSource::Expr(value),
            context,
            span: name.span,
        });
        self.resolved.push(None);
        if kind == DefKind::Output {
            self.outputs.push(id);
        }
        self.bind(context, name, Symbol::Definition(id));
    }

    fn declare_update(
        &mut self,
        target: &'a Ident,
        value: &'a Expr,
        context: Context,
        around: Around<'a>,
    ) {
        let named = match context.bundle {
            Some(bundle) => self.bundles[bundle.index()].names.get(&target.name),
            None => self.names.get(&target.name),
        }
        .copied();
        // In the network's body updates may stand above the declaration they update, so they are
        // matched to their states once everything is declared.
        match named.map(|n| n.symbol) {
            Some(Symbol::State(id)) => self.updates.push(PendingUpdate {
                target: id,
                target_span: target.span,
                value,
                context,
                regions: around.regions,
                conditions: around.conditions,
            }),
            _ => {
                self.late_updates
                    .push((target, value, context, around.regions, around.conditions))
            }
        }
    }

    /// Matches updates that stood above their target; reports those without one.
    pub(super) fn match_late_updates(&mut self) {
        for (target, value, context, regions, conditions) in std::mem::take(&mut self.late_updates)
        {
            let names = match context.bundle {
                Some(bundle) => &self.bundles[bundle.index()].names,
                None => &self.names,
            };
            match names.get(&target.name).copied() {
                Some(named) => match named.symbol {
                    Symbol::State(id) => self.updates.push(PendingUpdate {
                        target: id,
                        target_span: target.span,
                        value,
                        context,
                        regions,
                        conditions,
                    }),
                    Symbol::Input(_)
                    | Symbol::Noise(_)
                    | Symbol::Param(_)
                    | Symbol::Definition(_)
                    | Symbol::Bundle(_) => {
                        let help = match named.symbol {
                            Symbol::Definition(_) => "a value of this step is defined with `=`",
                            _ => "only states and traces have a value that leaves the step",
                        };
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::BadUpdate,
                                target.span,
                                format!(
                                    "`{}` is {}, which `<-` cannot update",
                                    target.name,
                                    named.symbol.word()
                                ),
                            )
                            .with_secondary(named.span, "declared here")
                            .with_help(help),
                        );
                    }
                },
                None => {
                    let full = self.diagnostics.is_full();
                    let near = Diagnostics::nearest(
                        &target.name,
                        names
                            .iter()
                            .filter(|(_, n)| !full && matches!(n.symbol, Symbol::State(_)))
                            .map(|(name, _)| name.as_str()),
                    );
                    let help = match near {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if context.bundle.is_some() => {
                            format!("declare it: `trace {} = 0`", target.name)
                        }
                        None => format!("declare it: `state {}: [100] = 0`", target.name),
                    };
                    self.diagnostics.push(
                        Diagnostic::new(
                            Code::UnknownName,
                            target.span,
                            format!("no state or trace is called `{}`", target.name),
                        )
                        .with_help(help),
                    );
                }
            }
        }
    }

    fn declare_bundle(
        &mut self,
        name: &'a Ident,
        pre: &'a Path,
        post: &'a Path,
        using: Option<&'a RuleUse>,
        body: &'a [Stmt],
    ) {
        let id = BundleId(self.bundles.len() as u32);
        let pre_size = self
            .sizes
            .fresh(format!("`{}`, presynaptic,", dotted(pre)), pre.span);
        let post_size = self
            .sizes
            .fresh(format!("`{}`, postsynaptic,", dotted(post)), post.span);
        self.bundles.push(BundleScope {
            name,
            pre_path: pre,
            post_path: post,
            pre: pre_size,
            post: post_size,
            names: Names::new(),
            rule: using.map(|u| u.name.name.clone()),
            transmits: Vec::new(),
        });
        self.bind(Context::NETWORK, name, Symbol::Bundle(id));
        let context = Context::inside(id, None);
        // Names first, so that arguments of the rule and updates find them.
        for stmt in body {
            self.declare(stmt, context, &Around::default());
        }
        let mut rule_found = true;
        if let Some(using) = using {
            rule_found = self.declare_rule(using, id);
        }
        let transmits = std::mem::take(&mut self.bundles[id.index()].transmits);
        let source = match transmits.as_slice() {
            [(value, context, _)] => {
                self.transmit_contexts.insert(id, *context);
                DefinitionSource::Received(id, value)
            }
            // What an unknown rule would have said is unknown too.
            [] if !rule_found => DefinitionSource::Broken,
            [] => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadTransmit,
                        name.span,
                        format!("bundle `{}` does not say what it transmits", name.name),
                    )
                    .with_help("add the effective weight: `transmit w + alpha * hebb`"),
                );
                DefinitionSource::Broken
            }
            [(_, _, first), .., (_, _, last)] => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadTransmit,
                        *last,
                        format!("bundle `{}` transmits twice", name.name),
                    )
                    .with_secondary(*first, "the first is here")
                    .with_help("add the parts in one `transmit`"),
                );
                DefinitionSource::Broken
            }
        };
        let received = DefId(self.definitions.len() as u32);
        self.definitions.push(PendingDefinition {
            path: name.name.clone(),
            kind: DefKind::Received,
            source,
            context,
            span: name.span,
        });
        self.resolved.push(None);
        self.received.insert(id, received);
    }

    /// Declares what a rule says in a bundle. Returns whether there is such a rule.
    fn declare_rule(&mut self, using: &'a RuleUse, bundle: BundleId) -> bool {
        let Some((_, params, body)) = self.rules.get(using.name.name.as_str()).copied() else {
            let names: Vec<&str> = self
                .rules
                .keys()
                .copied()
                .chain(crate::rules::names().map(|name| name as &str))
                .collect();
            let mut diagnostic = Diagnostic::new(
                Code::UnknownRule,
                using.name.span,
                format!("no rule is called `{}`", using.name.name),
            );
            diagnostic = match Diagnostics::nearest(&using.name.name, names.iter().copied()) {
                Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
                None => diagnostic.with_help(format!("there are {}", listed(&names))),
            };
            self.diagnostics.push(diagnostic);
            return false;
        };
        let outer = Context::inside(bundle, None);
        let bundle_name = self.bundles[bundle.index()].name.name.as_str();
        let mut arguments: BTreeMap<&'a str, (&'a Expr, Context)> = BTreeMap::new();
        let mut positional = params.iter();
        for Arg { name, value } in &using.args {
            let param = match name {
                Some(name) => params.iter().find(|p| p.name.name == name.name),
                None => positional.next(),
            };
            let Some(param) = param else {
                let names: Vec<&str> = params.iter().map(|p| p.name.name.as_str()).collect();
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::UnknownRule,
                        name.as_ref().map_or(value.span, |n| n.span),
                        match name {
                            Some(name) => format!(
                                "rule `{}` has no parameter `{}`",
                                using.name.name, name.name
                            ),
                            None => format!(
                                "rule `{}` takes {} arguments",
                                using.name.name,
                                params.len()
                            ),
                        },
                    )
                    .with_help(format!("its parameters are {}", listed(&names))),
                );
                continue;
            };
            if arguments.insert(&param.name.name, (value, outer)).is_some() {
                self.diagnostics.push(Diagnostic::new(
                    Code::UnknownRule,
                    value.span,
                    format!("parameter `{}` is given twice", param.name.name),
                ));
            }
        }
        let mut missing = Vec::new();
        for param in params {
            let path = format!("{bundle_name}.{}", param.name.name);
            self.known_paths.insert(path.clone());
            if let Some((Initialiser::Value(value) | Initialiser::Draw(value), _)) =
                self.overrides.get(&path)
            {
                arguments.insert(&param.name.name, (value, outer));
            }
            if let Some((value, _)) = arguments.get(param.name.name.as_str()).copied() {
                if self.is_long_argument(value) {
                    arguments.remove(param.name.name.as_str());
                    missing.push(param.name.name.as_str());
                }
                continue;
            }
            match &param.default {
                Some(default) if self.is_long_argument(default) => {
                    missing.push(param.name.name.as_str());
                }
                Some(default) => {
                    arguments.insert(&param.name.name, (default, Context::NETWORK));
                }
                None => {
                    missing.push(param.name.name.as_str());
                    self.diagnostics.push(
                        Diagnostic::new(
                            Code::UnknownRule,
                            using.span,
                            format!(
                                "rule `{}` needs an argument for `{}`",
                                using.name.name, param.name.name
                            ),
                        )
                        .with_secondary(param.span, "the parameter is declared here"),
                    );
                }
            }
        }
        let instance = self.instances.len();
        self.instances.push(RuleInstance { arguments, missing });
        let context = Context::inside(bundle, Some(instance));
        for stmt in body {
            self.declare(stmt, context, &Around::default());
        }
        true
    }

    /// Reports an argument of a rule that is too long.
    fn is_long_argument(&mut self, value: &Expr) -> bool {
        let long = parts(value, MAX_ARGUMENT) > MAX_ARGUMENT;
        if long {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::TooLarge,
                    value.span,
                    format!("an argument of a rule with more than {MAX_ARGUMENT} parts"),
                )
                .with_help("give it a name in the network, `name = ...`, and hand that in"),
            );
        }
        long
    }

    fn declare_entry(&mut self, kind: DeclKind, entry: &'a DeclEntry, context: Context) {
        let path = self.path(context, &entry.name.name);
        self.check_parts(kind, entry, context);
        match kind {
            DeclKind::Modulator | DeclKind::Output => match &entry.init {
                Some(Initialiser::Value(value)) => {
                    let def = if kind == DeclKind::Output {
                        DefKind::Output
                    } else {
                        DefKind::Modulator
                    };
                    self.define(&entry.name, value, context, def);
                }
                Some(Initialiser::Draw(_)) | None => {
                    self.bad_init(entry, format!("`{}` needs a value: `= expression`", path));
                    let id = self.broken(path, entry.name.span);
                    self.bind(context, &entry.name, Symbol::Definition(id));
                }
            },
            DeclKind::Input => {
                let ty = self.declared_type(kind, entry, context);
                let id = InputId(self.inputs.len() as u32);
                self.inputs.push(InputSlot {
                    path,
                    dims: Vec::new(),
                    span: Some(entry.name.span),
                });
                self.input_types.push(ty);
                self.bind(context, &entry.name, Symbol::Input(id));
            }
            DeclKind::State | DeclKind::Trace => {
                let ty = self.declared_type(kind, entry, context);
                let init = self.state_init(entry, &path, context);
                let reset = self.reset(entry);
                let id = StateId(self.states.len() as u32);
                self.states.push(StateSlot {
                    path,
                    dims: Vec::new(),
                    init,
                    reset,
                    trace: kind == DeclKind::Trace,
                    span: Some(entry.name.span),
                });
                self.state_types.push(ty);
                self.bind(context, &entry.name, Symbol::State(id));
            }
            DeclKind::Noise => {
                let ty = self.declared_type(kind, entry, context);
                let draw = self.draw(entry, &path, context);
                let id = NoiseId(self.noises.len() as u32);
                self.noises.push(NoiseSlot {
                    path,
                    dims: Vec::new(),
                    draw,
                });
                self.noise_types.push(ty);
                self.bind(context, &entry.name, Symbol::Noise(id));
            }
            DeclKind::Weight | DeclKind::Coeff | DeclKind::Trained | DeclKind::Const => {
                let ty = self.declared_type(kind, entry, context);
                let init = self.draw(entry, &path, context);
                let id = self.add_param(
                    path,
                    kind != DeclKind::Const,
                    init,
                    ParamType::Value(ty),
                    entry.name.span,
                );
                self.bind(context, &entry.name, Symbol::Param(id));
            }
        }
    }

    pub(super) fn add_param(
        &mut self,
        path: String,
        trained: bool,
        init: Draw,
        ty: ParamType,
        span: Span,
    ) -> ParamId {
        let id = ParamId(self.params.len() as u32);
        self.params.push(PendingParam {
            slot: ParamSlot {
                path,
                dims: Vec::new(),
                trained,
                init,
                grad_scale: 1.0,
                span: Some(span),
            },
            ty,
        });
        id
    }

    fn broken(&mut self, path: String, span: Span) -> DefId {
        let id = DefId(self.definitions.len() as u32);
        self.definitions.push(PendingDefinition {
            path,
            kind: DefKind::Value,
            source: DefinitionSource::Broken,
            context: Context::NETWORK,
            span,
        });
        self.resolved.push(None);
        id
    }

    /// Reports parts of a declaration that its kind does not take.
    fn check_parts(&mut self, kind: DeclKind, entry: &DeclEntry, context: Context) {
        use DeclKind::{Const, Input, Modulator, Noise, Output, State, Trace, Trained};
        let inside = context.bundle.is_some();
        let word = kind.word();
        let mut report = |span: Span, message: String, help: &str| {
            self.diagnostics
                .push(Diagnostic::new(Code::MisplacedStatement, span, message).with_help(help));
        };
        match kind {
            Input | State | Modulator | Output if inside => report(
                entry.name.span,
                format!("`{word}` cannot stand in a bundle or rule"),
                "declare it in the network",
            ),
            DeclKind::Weight | DeclKind::Coeff | Trace if !inside => report(
                entry.name.span,
                format!("`{word}` belongs in a `plastic` bundle or rule"),
                match kind {
                    Trace => "in the network itself, memory is a `state`",
                    _ => "in the network itself, a free parameter is `trained g: [10] = 1`",
                },
            ),
            Input
            | State
            | Modulator
            | Output
            | DeclKind::Weight
            | DeclKind::Coeff
            | Trace
            | Trained
            | Const
            | Noise => {}
        }
        if let Some(size) = &entry.size {
            if inside {
                report(
                    size.span,
                    "inside a bundle sizes come from its neurons".to_owned(),
                    "say `per connection`, `per post`, `per pre` or `per network`",
                );
            } else if matches!(kind, Modulator | Output) {
                report(
                    size.span,
                    format!(
                        "the size of `{word} {}` is that of its value",
                        entry.name.name
                    ),
                    "leave the brackets out",
                );
            }
        }
        if let Some(per) = &entry.per {
            if !inside {
                report(
                    per.span,
                    "granularities (`per ...`) belong in a bundle or rule".to_owned(),
                    "in the network itself give a size: `trained g: [10] = 1`",
                );
            }
        }
        if let Some(reset) = &entry.reset {
            if !matches!(kind, State | Trace) {
                report(
                    reset.span,
                    format!("`{word}` has nothing to reset"),
                    "only states and traces are carried from step to step",
                );
            }
        }
        if let (Input, Some(_)) = (kind, &entry.init) {
            report(
                entry.span,
                "an input gets its values from the task".to_owned(),
                "leave the initial value out",
            );
        }
    }

    fn declared_type(&mut self, kind: DeclKind, entry: &'a DeclEntry, context: Context) -> Type {
        if let Some(bundle) = context.bundle {
            let word = match &entry.per {
                Some(per) => per.name.as_str(),
                None if matches!(kind, DeclKind::Trained) => "network",
                None => "connection",
            };
            let (pre, post) = match word {
                "connection" => (true, true),
                "pre" => (true, false),
                "post" => (false, true),
                "network" => (false, false),
                _ => {
                    let span = entry.per.as_ref().map_or(entry.span, |per| per.span);
                    let words = ["connection", "post", "pre", "network"];
                    let diagnostic = Diagnostic::new(
                        Code::WrongKind,
                        span,
                        format!("`per {word}` is no granularity"),
                    );
                    self.diagnostics.push(diagnostic.with_help(
                        match Diagnostics::nearest(word, words) {
                            Some(near) => format!("did you mean `per {near}`?"),
                            None => format!("there are {}", listed(&words)),
                        },
                    ));
                    return Type::Poison;
                }
            };
            return if pre || post {
                Type::Element { bundle, pre, post }
            } else {
                Type::Scalar
            };
        }
        let size_path = format!("{}.size", entry.name.name);
        self.known_paths.insert(size_path.clone());
        let overridden = self
            .overrides
            .get(&size_path)
            .map(|(Initialiser::Value(value) | Initialiser::Draw(value), _)| value);
        match overridden.or(entry.size.as_ref()) {
            Some(size) => {
                let expr = self.size_expr(size, context);
                let var = self
                    .sizes
                    .fresh(format!("`{}`", entry.name.name), entry.name.span);
                self.sizes.define(var, expr, size.span, self.diagnostics);
                Type::Vector(var)
            }
            None => Type::Scalar,
        }
    }

    fn bad_init(&mut self, entry: &DeclEntry, message: String) {
        self.diagnostics
            .push(Diagnostic::new(Code::BadInitialiser, entry.span, message));
    }

    /// The initialiser of a declaration, its override first.
    fn initialiser(&mut self, entry: &'a DeclEntry, path: &str) -> Option<&'a Initialiser> {
        self.known_paths.insert(path.to_owned());
        match self.overrides.get(path) {
            Some((init, _)) => Some(init),
            None => entry.init.as_ref(),
        }
    }

    fn state_init(&mut self, entry: &'a DeclEntry, path: &str, context: Context) -> f64 {
        match self.initialiser(entry, path) {
            None => 0.0,
            Some(Initialiser::Value(value)) => self.constant(value, context).unwrap_or(0.0),
            Some(Initialiser::Draw(value)) => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        value.span,
                        format!("`{path}` starts every episode at a number, not at a draw"),
                    )
                    .with_help("write `= 0`"),
                );
                0.0
            }
        }
    }

    fn reset(&mut self, entry: &DeclEntry) -> Reset {
        let Some(word) = &entry.reset else {
            return Reset::Episode;
        };
        match word.name.as_str() {
            "episode" => Reset::Episode,
            "trial" => Reset::Trial,
            "never" => Reset::Never,
            "carry" => Reset::Carry,
            other => {
                let words = ["episode", "trial", "never", "carry"];
                let help = match Diagnostics::nearest(other, words) {
                    Some(near) => format!("did you mean `reset {near}`?"),
                    None => format!("there are {}", listed(&words)),
                };
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::WrongKind,
                        word.span,
                        format!("`reset {other}` is no policy"),
                    )
                    .with_help(help),
                );
                Reset::Episode
            }
        }
    }

    fn draw(&mut self, entry: &'a DeclEntry, path: &str, context: Context) -> Draw {
        match self.initialiser(entry, path) {
            Some(Initialiser::Value(value)) => {
                Draw::Constant(self.constant(value, context).unwrap_or(0.0))
            }
            Some(Initialiser::Draw(value)) => self
                .distribution(value, context)
                .unwrap_or(Draw::Constant(0.0)),
            None => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        entry.span,
                        format!("`{path}` has no initial value"),
                    )
                    .with_help(format!(
                        "write `{} ~ uniform(0, 0.01)` or `{} = 0.1`",
                        entry.name.name, entry.name.name
                    )),
                );
                Draw::Constant(0.0)
            }
        }
    }

    /// `uniform(a, b)` and the like.
    pub(super) fn distribution(&mut self, expr: &'a Expr, context: Context) -> Option<Draw> {
        let names = ["uniform", "normal", "bernoulli", "constant", "identity"];
        let usage =
            "write `uniform(lo, hi)`, `normal(mean, deviation)`, `bernoulli(p)`, `constant(c)` or \
                     `identity(scale)`";
        let ExprKind::Call { function, args } = &expr.kind else {
            self.diagnostics.push(
                Diagnostic::new(Code::BadInitialiser, expr.span, "this is no distribution")
                    .with_help(usage),
            );
            return None;
        };
        let values: Vec<f64> = args
            .iter()
            .map(|arg| self.constant(&arg.value, context))
            .collect::<Option<_>>()?;
        match (function.name.as_str(), values.as_slice()) {
            ("uniform", [lo, hi]) if lo <= hi => Some(Draw::Uniform(*lo, *hi)),
            ("normal", [mean, deviation]) if *deviation >= 0.0 => {
                Some(Draw::Normal(*mean, *deviation))
            }
            ("bernoulli", [p]) if (0.0..=1.0).contains(p) => Some(Draw::Bernoulli(*p)),
            ("constant", [c]) => Some(Draw::Constant(*c)),
            ("identity", [scale]) => Some(Draw::Identity(*scale)),
            (name, _) if names.contains(&name) => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        expr.span,
                        format!("`{name}` cannot be drawn with these numbers"),
                    )
                    .with_help(usage),
                );
                None
            }
            (name, _) => {
                let help = match Diagnostics::nearest(name, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => usage.to_owned(),
                };
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        function.span,
                        format!("no distribution is called `{name}`"),
                    )
                    .with_help(help),
                );
                None
            }
        }
    }
}
