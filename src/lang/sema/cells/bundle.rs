//! Plastic bundles of networks and cells.

use super::items::{bundle_names, declared};
use super::names::BundleNames;
use super::{Expander, Scope};
use crate::lang::syntax::ast::{Ident, Path, RuleUse, Stmt, StmtKind};
use std::collections::BTreeSet;

/// The parts of a `plastic` statement.
pub(super) struct Plastic<'a> {
    pub name: &'a Ident,
    pub pre: &'a Path,
    pub post: &'a Path,
    pub using: Option<&'a RuleUse>,
    pub reset: Option<&'a Ident>,
    pub body: &'a [Stmt],
}

impl<'a> Expander<'a, '_> {
    /// Expands a bundle with its rule, and with the statements for it at the use of the cell.
    pub(super) fn plastic(&mut self, bundle: &Plastic<'a>, scope: Scope) -> StmtKind {
        let (rule, extra) = match bundle.using {
            Some(using) => self.rule(using, scope),
            None => (None, Vec::new()),
        };
        let of_rule = rule
            .as_ref()
            .and_then(|rule| self.rules.get(rule.name.name.as_str()));
        let mut locals = BundleNames {
            open: bundle.using.is_some() && of_rule.is_none(),
            names: of_rule.cloned().unwrap_or_default(),
        };
        locals.names.extend(bundle_names(bundle.body));
        for (statements, _) in &extra {
            locals.names.extend(bundle_names(statements));
        }
        let locals = Some(&locals);
        let using = match (rule, bundle.using) {
            (Some(rule), _) => Some(RuleUse {
                name: self.word(rule.name, rule.scope),
                args: self.args(rule.args, rule.scope, locals),
                span: self.place(rule.span, rule.scope),
            }),
            // The declarations of the rule are unknown. The name of a rule that does not exist has the same
            // effect.
            (None, Some(using)) => {
                let name = format!("({})", using.name.name);
                self.expansion.reported.insert(name.clone());
                let span = self.place(using.span, scope);
                Some(RuleUse {
                    name: Ident::new(name, span),
                    args: Vec::new(),
                    span,
                })
            }
            (None, None) => None,
        };
        // Outer declarations replace inner ones of the same name.
        let mut body = Vec::new();
        let mut taken: BTreeSet<&'a str> = BTreeSet::new();
        for (statements, scope) in extra.into_iter().chain([(bundle.body, scope)]) {
            let kept = statements
                .iter()
                .filter_map(|stmt| Some((self.without(stmt, &taken)?, stmt.span)));
            let kept: Vec<_> = kept.collect();
            let mut part = Vec::with_capacity(kept.len());
            for (kind, span) in kept {
                part.push(Stmt {
                    kind: self.inner(&kind, scope, locals),
                    span: self.place(span, scope),
                });
            }
            body.splice(0..0, part);
            taken.extend(bundle_names(statements));
        }
        StmtKind::Plastic {
            name: self.own_name(bundle.name, scope),
            pre: self.only_path(bundle.pre, scope, None),
            post: self.only_path(bundle.post, scope, None),
            using,
            reset: self.reset(bundle.reset, scope),
            body,
        }
    }

    /// A statement of a bundle without the declarations in `taken`; `None` if nothing is left.
    fn without(&self, stmt: &Stmt, taken: &BTreeSet<&str>) -> Option<StmtKind> {
        if !declared(&stmt.kind)
            .iter()
            .any(|name| taken.contains(name.name.as_str()))
        {
            return Some(stmt.kind.clone());
        }
        match &stmt.kind {
            StmtKind::Decl { kind, entries } => {
                let left: Vec<_> = entries
                    .iter()
                    .filter(|entry| !taken.contains(entry.name.name.as_str()))
                    .cloned()
                    .collect();
                (!left.is_empty()).then_some(StmtKind::Decl {
                    kind: *kind,
                    entries: left,
                })
            }
            _ => None,
        }
    }

    /// The default for when states and traces in `scope` are reset.
    pub(super) fn reset(&self, own: Option<&Ident>, scope: Scope) -> Option<Ident> {
        match (own, scope) {
            (Some(word), _) => Some(self.word(word, scope)),
            (None, Scope::Inside(at) | Scope::At(at)) => self.uses[at].reset.clone(),
            (None, Scope::Network) => None,
        }
    }
}
