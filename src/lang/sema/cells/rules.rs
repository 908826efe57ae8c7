//! The rule of a bundle in a cell, and the statements for it at the uses around.

use super::items::single;
use super::{Argument, Expander, Scope};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast::{Arg, ExprKind, Ident, RuleUse, Stmt};

/// A rule with its arguments and their scope.
pub(super) struct RuleSource<'a> {
    pub name: &'a Ident,
    pub args: &'a [Arg],
    pub span: Span,
    pub scope: Scope,
}

impl<'a> Expander<'a, '_> {
    /// The rule behind `using`, which may be a parameter of the cell. Also returns the statements for the
    /// bundle at the uses that passed the rule, outermost first. The rule is `None` if an error was reported.
    pub(super) fn rule(
        &mut self,
        using: &'a RuleUse,
        scope: Scope,
    ) -> (Option<RuleSource<'a>>, Vec<(&'a [Stmt], Scope)>) {
        let mut extra: Vec<(&'a [Stmt], Scope)> = Vec::new();
        let mut rule = RuleSource {
            name: &using.name,
            args: &using.args,
            span: using.span,
            scope,
        };
        loop {
            // The name of the rule belongs to the scope around the use, not to the used cell.
            let written = match rule.scope {
                Scope::At(at) => self.uses[at].written,
                scope => scope,
            };
            let Scope::Inside(at) = written else { break };
            let name = rule.name.name.as_str();
            let Some(&argument) = self.uses[at].arguments.get(name) else {
                break;
            };
            if !rule.args.is_empty() {
                let span = self.place(rule.span, rule.scope);
                let message = format!("`{name}` is a rule with its arguments already");
                self.report(
                    Diagnostic::new(Code::CellRule, span, message)
                        .with_help(format!("write `using {name}`")),
                );
                return (None, extra);
            }
            if self.item(at).rules.len() == 1 {
                extra.insert(0, (self.uses[at].extra, Scope::At(at)));
            }
            rule = match argument {
                Argument::Rule(using) => RuleSource {
                    name: &using.name,
                    args: &using.args,
                    span: using.span,
                    scope: Scope::At(at),
                },
                Argument::Expr(value, given) => {
                    // A default belongs to the cell itself, and `--set` knows only the network.
                    let scope = if given == self.uses[at].written {
                        Scope::At(at)
                    } else {
                        given
                    };
                    let (name, args): (&'a Ident, &'a [Arg]) = match &value.kind {
                        ExprKind::Call { function, args } => (function, args),
                        ExprKind::Name(path) if single(value).is_some() => (&path.parts[0], &[]),
                        _ => {
                            let span = self.place(value.span, given);
                            self.report(
                                Diagnostic::new(Code::CellRule, span, "this is no rule")
                                    .with_help(format!("write `{name} = simple(m)`")),
                            );
                            return (None, extra);
                        }
                    };
                    RuleSource {
                        name,
                        args,
                        span: value.span,
                        scope,
                    }
                }
                Argument::Value | Argument::Missing => return (None, extra),
            };
        }
        (Some(rule), extra)
    }
}
