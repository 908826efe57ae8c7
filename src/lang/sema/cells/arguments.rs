//! Arguments of a cell use: the parameter of each, and the choice of arguments that become values of the use.

use super::items::{parts, CellItem};
use super::{Argument, Expander, Scope};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::sema::constants::listed;
use crate::lang::sema::functions;
use crate::lang::syntax::ast::{
    Arg, Expr, ExprKind, Ident, Initialiser, RuleParam, RuleUse, Stmt, StmtKind,
};
use std::collections::BTreeMap;

/// Functions whose results are known at compile time if their arguments are.
const OF_NUMBERS: [&str; 4] = ["size", "sqrt", "exp", "log"];

impl<'a> Expander<'a, '_> {
    /// Binds the parameters of a use.
    pub(super) fn bind_arguments(
        &mut self,
        at: usize,
        call: &'a RuleUse,
        using: Option<&'a RuleUse>,
    ) {
        let scope = self.uses[at].written;
        let params = self.item(at).params;
        let mut arguments: BTreeMap<&'a str, Argument<'a>> = BTreeMap::new();
        let mut positional = params.iter();
        for Arg { name, value } in &call.args {
            let param = match name {
                Some(name) => params.iter().find(|p| p.name.name == name.name),
                None => positional.next(),
            };
            let Some(param) = param else {
                self.no_parameter(at, name.as_ref(), value, scope);
                continue;
            };
            let argument = Argument::Expr(value, scope);
            if arguments.insert(&param.name.name, argument).is_some() {
                let span = self.place(value.span, scope);
                self.report(Diagnostic::new(
                    Code::UnknownCell,
                    span,
                    format!("parameter `{}` is given twice", param.name.name),
                ));
            }
        }
        self.bind_rule(at, using, &mut arguments);
        for param in params {
            let path = format!("{}{}", self.uses[at].prefix, param.name.name);
            self.expansion.known_paths.insert(path.clone());
            let overrides = self.overrides;
            if let Some((Initialiser::Value(value) | Initialiser::Draw(value), _)) =
                overrides.get(&path)
            {
                arguments.insert(&param.name.name, Argument::Expr(value, Scope::Network));
            }
            if arguments.contains_key(param.name.name.as_str()) {
                continue;
            }
            let argument = match &param.default {
                Some(default) => Argument::Expr(default, Scope::Inside(at)),
                None => {
                    self.no_argument(at, param, call.span, scope);
                    Argument::Missing
                }
            };
            arguments.insert(&param.name.name, argument);
        }
        self.uses[at].arguments = arguments;
    }

    /// Gives the rule after `using` to the parameter that takes a rule.
    fn bind_rule(
        &mut self,
        at: usize,
        using: Option<&'a RuleUse>,
        arguments: &mut BTreeMap<&'a str, Argument<'a>>,
    ) {
        let written = self.uses[at].written;
        let item = self.item(at);
        let (cell, declared) = (item.name.name.clone(), item.name.span);
        let rules: Vec<&'a str> = item.rules.iter().copied().collect();
        let first = self.uses[at].extra.first();
        let Some(span) = using.map(|u| u.span).or(first.map(|stmt| stmt.span)) else {
            return;
        };
        let span = self.place(span, written);
        match (rules.as_slice(), using) {
            ([param], Some(using)) => {
                if arguments.insert(param, Argument::Rule(using)).is_some() {
                    self.report(Diagnostic::new(
                        Code::CellRule,
                        span,
                        format!("the rule of cell `{cell}` is given twice"),
                    ));
                }
            }
            ([_], None) => {}
            ([], _) => {
                let what = match using {
                    Some(_) => "a rule",
                    None => "statements",
                };
                self.report(
                    Diagnostic::new(
                        Code::CellRule,
                        span,
                        format!("cell `{cell}` has no bundle that takes {what}"),
                    )
                    .with_secondary(declared, "the cell is declared here")
                    .with_help(
                        "in a cell, `plastic rec: h -> y using learning` with a parameter `learning` takes one",
                    ),
                );
            }
            (several, _) => {
                let examples: Vec<String> = several
                    .iter()
                    .map(|rule| format!("{rule} = plain"))
                    .collect();
                self.report(
                    Diagnostic::new(
                        Code::CellRule,
                        span,
                        format!("cell `{cell}` takes {} rules", several.len()),
                    )
                    .with_secondary(declared, "the cell is declared here")
                    .with_help(format!("say which is which: `{}`", examples.join(", "))),
                );
            }
        }
    }

    fn no_parameter(&mut self, at: usize, name: Option<&Ident>, value: &Expr, scope: Scope) {
        let item = self.item(at);
        let names: Vec<&str> = item.params.iter().map(|p| p.name.name.as_str()).collect();
        let message = match name {
            Some(name) => format!("cell `{}` has no parameter `{}`", item.name.name, name.name),
            None => format!("cell `{}` takes {} arguments", item.name.name, names.len()),
        };
        let help = name
            .and_then(|name| Diagnostics::nearest(&name.name, names.iter().copied()))
            .map_or_else(
                || format!("its parameters are {}", listed(&names)),
                |near| format!("did you mean `{near}`?"),
            );
        let declared = item.name.span;
        let span = self.place(name.map_or(value.span, |name| name.span), scope);
        self.report(
            Diagnostic::new(Code::UnknownCell, span, message)
                .with_secondary(declared, "the cell is declared here")
                .with_help(help),
        );
    }

    fn no_argument(&mut self, at: usize, param: &RuleParam, call: Span, scope: Scope) {
        let item = self.item(at);
        let (cell, name) = (&item.name.name, &param.name.name);
        let diagnostic = if item.rules.contains(name.as_str()) {
            let message = format!("cell `{cell}` needs a rule for `{name}`");
            let help = match item.rules.len() {
                1 => "add one: `using plain`".to_owned(),
                _ => format!("add one: `{name} = plain`"),
            };
            let span = self.place(call, scope);
            Diagnostic::new(Code::CellRule, span, message).with_help(help)
        } else {
            let message = format!("cell `{cell}` needs an argument for `{name}`");
            Diagnostic::new(Code::UnknownCell, self.place(call, scope), message)
        };
        self.report(diagnostic.with_secondary(param.span, "the parameter is declared here"));
    }

    /// Turns arguments that compute something into values of the use.
    pub(super) fn define_arguments(&mut self, at: usize) {
        let params = self.item(at).params;
        for param in params {
            let name = param.name.name.as_str();
            let Some(&Argument::Expr(value, scope)) = self.uses[at].arguments.get(name) else {
                continue;
            };
            if !becomes_value(self.item(at), name, value) {
                continue;
            }
            let stmt = Stmt {
                kind: StmtKind::Let {
                    target: Ident::new(
                        format!("{}{name}", self.uses[at].prefix),
                        self.place(param.name.span, Scope::Inside(at)),
                    ),
                    size: None,
                    value: self.expr(value, scope, None),
                },
                span: self.place(value.span, scope),
            };
            self.uses[at].arguments.insert(name, Argument::Value);
            self.push(stmt, true);
        }
    }
}

/// Returns true if an argument becomes a value of the use: it computes something, or only a name may stand in the
/// place of its parameter.
fn becomes_value(item: &CellItem<'_>, param: &str, value: &Expr) -> bool {
    if item.rules.contains(param) || matches!(value.kind, ExprKind::Name(_)) {
        return false;
    }
    item.named.contains(param) || computes(value)
}

fn computes(value: &Expr) -> bool {
    let mut stack = vec![value];
    while let Some(expr) = stack.pop() {
        match &expr.kind {
            ExprKind::Next(_)
            | ExprKind::External(_)
            | ExprKind::Element { .. }
            | ExprKind::Slice { .. } => return true,
            ExprKind::Call { function, .. }
                if functions::find(&function.name).is_some()
                    && !OF_NUMBERS.contains(&function.name.as_str()) =>
            {
                return true;
            }
            _ => stack.extend(parts(expr)),
        }
    }
    false
}
