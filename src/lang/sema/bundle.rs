//! Declarations of bundles: their own statements, and those of their rule.

use super::analyser::{Analyser, BundleScope, DefinitionSource, PendingDefinition};
use super::constants::{dotted, listed};
use super::declare::Surroundings;
use super::model::{BundleId, DefId, DefKind};
use super::scope::{Context, Names, RuleInstance, Symbol};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast::{Arg, Expr, ExprKind, Ident, Initialiser, Path, RuleUse, Stmt};
use std::collections::BTreeMap;

/// The largest number of names, numbers and operations in an argument of a rule. The argument is resolved
/// wherever the rule names it.
const MAX_ARGUMENT: usize = 256;

/// The number of names, numbers and operations in an expression; counting stops soon after `most`.
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
            ExprKind::Element { base, index } => stack.extend([&**base, &**index]),
            ExprKind::Slice { base, start, end } => stack.extend([&**base, &**start, &**end]),
        }
    }
    count
}

impl<'a> Analyser<'a, '_> {
    pub(super) fn declare_bundle(
        &mut self,
        name: &'a Ident,
        pre: &'a Path,
        post: &'a Path,
        (using, reset): (Option<&'a RuleUse>, Option<&'a Ident>),
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
            reset,
            transmits: Vec::new(),
            connect: None,
            mask: None,
        });
        self.bind(Context::NETWORK, name, Symbol::Bundle(id));
        let context = Context::inside(id, None);
        // Names come first, so that rule arguments and updates find them.
        for stmt in body {
            self.declare(stmt, context, &Surroundings::default());
        }
        let mut rule_found = true;
        if let Some(using) = using {
            rule_found = self.declare_rule(using, id);
        }
        self.match_mask(id);
        let transmits = std::mem::take(&mut self.bundles[id.index()].transmits);
        let source = match transmits.as_slice() {
            [(value, context, _)] => {
                self.transmit_contexts.insert(id, *context);
                DefinitionSource::Received(id, value)
            }
            // An unknown rule might have had a `transmit`, so its absence is not an error.
            [] if !rule_found => DefinitionSource::Broken,
            // Its traces and local values may be read by their names; `refuse_silent` reports who reads the bundle.
            [] => DefinitionSource::Silent(id),
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
            size: None,
            source,
            context,
            span: name.span,
        });
        self.resolved.push(None);
        self.received.insert(id, received);
    }

    /// Reports a bundle without `transmit` that is read as a vector.
    pub(super) fn refuse_silent(&mut self, id: BundleId, read: Span) {
        let received = self.received[&id];
        let source = self.definitions[received.index()].source;
        if !matches!(source, DefinitionSource::Silent(_)) {
            return;
        }
        let name = self.bundles[id.index()].name;
        self.diagnostics.push(
            Diagnostic::new(
                Code::BadTransmit,
                name.span,
                format!("bundle `{}` does not say what it transmits", name.name),
            )
            .with_secondary(read, "it is read here")
            .with_help("add the effective weight: `transmit w + alpha * hebb`"),
        );
        // Once is enough.
        self.definitions[received.index()].source = DefinitionSource::Broken;
    }

    /// Declares the statements of a rule in a bundle; returns whether the rule exists.
    fn declare_rule(&mut self, using: &'a RuleUse, bundle: BundleId) -> bool {
        let Some((_, params, body)) = self.rules.get(using.name.name.as_str()).copied() else {
            if self.expansion.is_reported(&using.name.name) {
                return false;
            }
            let names: Vec<&str> = self
                .rules
                .keys()
                .copied()
                .chain(crate::lang::library::names().map(|name| name as &str))
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
            self.declare(stmt, context, &Surroundings::default());
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
}
