//! The translation of paths in their scope to paths of the network.

use super::items::{Kind, NameTable};
use super::{Argument, Expander, Scope};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::sema::constants::{dotted, listed};
use crate::lang::syntax::ast::{Expr, ExprKind, Ident, Path};
use std::collections::BTreeSet;

/// The names of a bundle, which precede all others.
pub(super) struct BundleNames<'a> {
    pub names: BTreeSet<&'a str>,
    /// True if its rule is unknown, so that it may have other names too.
    pub open: bool,
}

impl BundleNames<'_> {
    fn has(&self, path: &Path) -> bool {
        let first = path.parts[0].name.as_str();
        path.parts.len() == 1 && (matches!(first, "pre" | "post") || self.names.contains(first))
    }
}

/// The meaning of a path.
pub(super) enum Meaning {
    /// A path of the network, or a word that later stages know.
    Path(Path),
    /// The argument of a parameter.
    Expr(Expr),
}

impl<'a> Expander<'a, '_> {
    /// The meaning of a path. Unknown words are reported, or left as they are if `lenient`.
    pub(super) fn path(
        &mut self,
        path: &Path,
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
        lenient: bool,
    ) -> Meaning {
        let span = self.place(path.span, scope);
        if locals.is_some_and(|locals| locals.has(path)) {
            return self.as_is(path, scope);
        }
        let first = path.parts[0].name.as_str();
        let alone = path.parts.len() == 1;
        match scope {
            Scope::Network => match self.network.get(first) {
                Some((Kind::Use(cell), _)) => {
                    let cell = *cell;
                    self.walk(first.to_owned(), cell, &path.parts[1..], span)
                }
                Some((Kind::Value, _)) | None => self.as_is(path, scope),
            },
            Scope::At(at) => match self.own(path, at, span) {
                Some(meaning) => meaning,
                None => self.path(path, self.uses[at].written, None, lenient),
            },
            Scope::Inside(at) => {
                if let Some(&argument) = self.uses[at].arguments.get(first) {
                    return self.argument(argument, path, at, lenient);
                }
                if let Some(meaning) = self.own(path, at, span) {
                    return meaning;
                }
                let size = if alone {
                    self.dims.contains(first)
                } else {
                    first == "task" && path.parts.len() == 2
                };
                if size || lenient || locals.is_some_and(|locals| locals.open) {
                    return self.as_is(path, scope);
                }
                self.unknown(path, at, locals);
                self.nothing(dotted(path), span)
            }
        }
    }

    fn as_is(&self, path: &Path, scope: Scope) -> Meaning {
        Meaning::Path(Path {
            parts: path
                .parts
                .iter()
                .map(|part| self.word(part, scope))
                .collect(),
            span: self.place(path.span, scope),
        })
    }

    /// The meaning of a path that begins with a name of the used cell.
    fn own(&mut self, path: &Path, at: usize, span: Span) -> Option<Meaning> {
        let first = path.parts[0].name.as_str();
        let (kind, _) = *self.item(at).names.get(first)?;
        let name = format!("{}{first}", self.uses[at].prefix);
        Some(match kind {
            Kind::Use(cell) => self.walk(name, cell, &path.parts[1..], span),
            Kind::Value => joined(name, &path.parts[1..], span),
        })
    }

    /// The meaning of `name.rest`, where `name` is a use of `cell`.
    fn walk(&mut self, name: String, cell: &str, rest: &[Ident], span: Span) -> Meaning {
        let Some(&item) = self.by_name.get(cell) else {
            // The missing cell was reported.
            return self.nothing(name, span);
        };
        let item = &self.items[item];
        let names: Vec<&str> = item.names.keys().copied().collect();
        let Some(next) = rest.first() else {
            let mut diagnostic = Diagnostic::new(
                Code::WrongKind,
                span,
                format!("`{name}` is a cell, not a value"),
            );
            if let Some(first) = names.first() {
                let pick = names.iter().find(|n| **n == "h").unwrap_or(first);
                diagnostic = diagnostic.with_help(format!("name a value of it: `{name}.{pick}`"));
            }
            self.report(diagnostic);
            return self.nothing(name, span);
        };
        let full = format!("{name}.{}", next.name);
        match item.names.get(next.name.as_str()) {
            Some((Kind::Use(cell), _)) => {
                let cell = *cell;
                self.walk(full, cell, &rest[1..], span)
            }
            Some((Kind::Value, _)) => joined(full, &rest[1..], span),
            None => {
                let declared = item.name.span;
                let help = match Diagnostics::nearest(&next.name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{name}.{near}`?"),
                    None if item.has_param(&next.name) => format!(
                        "`{}` is a parameter; from outside the names of the cell can be read: {}",
                        next.name,
                        listed(&names)
                    ),
                    None => format!("it has {}", listed(&names)),
                };
                let diagnostic = Diagnostic::new(
                    Code::UnknownName,
                    span,
                    format!("cell `{cell}` has nothing called `{}`", next.name),
                );
                self.report(
                    diagnostic
                        .with_secondary(declared, "the cell is declared here")
                        .with_help(help),
                );
                self.nothing(full, span)
            }
        }
    }

    /// The meaning of a parameter's argument, followed by the rest of the path.
    fn argument(
        &mut self,
        argument: Argument<'a>,
        path: &Path,
        at: usize,
        lenient: bool,
    ) -> Meaning {
        let span = self.place(path.span, Scope::Inside(at));
        let rest = &path.parts[1..];
        let first = path.parts[0].name.as_str();
        let name = format!("{}{first}", self.uses[at].prefix);
        if self.item(at).rules.contains(first) {
            let message = format!("`{first}` is a rule, not a value");
            self.report(
                Diagnostic::new(Code::WrongKind, span, message)
                    .with_help("a rule stands after `using`"),
            );
            return self.nothing(name, span);
        }
        match argument {
            Argument::Missing | Argument::Rule(_) => self.nothing(name, span),
            Argument::Value => joined(name, rest, span),
            Argument::Expr(value, scope) => match &value.kind {
                ExprKind::Name(given) => {
                    let mut whole = given.clone();
                    whole.parts.extend(rest.iter().cloned());
                    self.path(&whole, scope, None, lenient)
                }
                _ if rest.is_empty() => Meaning::Expr(self.expr(value, scope, None)),
                _ => {
                    let message = format!("parameter `{first}` has no parts");
                    self.report(Diagnostic::new(Code::WrongKind, span, message));
                    self.nothing(name, span)
                }
            },
        }
    }

    /// A placeholder for an error that was reported.
    pub(super) fn nothing(&mut self, name: String, span: Span) -> Meaning {
        self.expansion.reported.insert(name.clone());
        joined(name, &[], span)
    }

    fn unknown(&mut self, path: &Path, at: usize, locals: Option<&BundleNames<'a>>) {
        let name = dotted(path);
        let first = path.parts[0].name.as_str();
        let item = self.item(at);
        let message = format!("nothing in cell `{}` is called `{name}`", item.name.name);
        let mut names: Vec<&str> = item.names.keys().copied().collect();
        names.extend(item.params.iter().map(|param| param.name.name.as_str()));
        names.extend(self.dims.iter().copied());
        names.extend(
            locals
                .iter()
                .flat_map(|locals| locals.names.iter().copied()),
        );
        let around = self.is_known_around(first, self.uses[at].written);
        let near = Diagnostics::nearest(&name, names.iter().copied());
        let diagnostic = Diagnostic::new(
            Code::UnknownName,
            self.place(path.span, Scope::Inside(at)),
            message,
        );
        let diagnostic = match near {
            _ if around => diagnostic.with_help(
                "a cell sees its parameters and its own names; hand this in as an argument",
            ),
            Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
            None if matches!(first, "pre" | "post") => {
                diagnostic.with_help("`pre` and `post` exist only inside a `plastic` bundle")
            }
            None => diagnostic,
        };
        self.report(diagnostic);
    }

    fn is_known_around(&self, name: &str, scope: Scope) -> bool {
        let has = |names: &NameTable<'a>| names.contains_key(name);
        has(&self.network)
            || self
                .around(scope)
                .iter()
                .any(|at| has(&self.item(*at).names) || self.item(*at).has_param(name))
    }
}

/// A name of the network with dots in it, followed by a name of a bundle if there is one.
fn joined(name: String, rest: &[Ident], span: Span) -> Meaning {
    let mut parts = vec![Ident::new(name, span)];
    parts.extend(rest.iter().map(|part| Ident::new(part.name.as_str(), span)));
    Meaning::Path(Path { parts, span })
}
