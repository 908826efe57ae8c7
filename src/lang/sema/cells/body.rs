//! Statements of networks, cells and bundles, and the removal of unneeded cell statements.

use super::bundle::Plastic;
use super::items::{declared, expressions};
use super::names::BundleNames;
use super::{Expander, Scope};
use crate::lang::diag::{Code, Diagnostic};
use crate::lang::sema::constants::expr_paths;
use crate::lang::syntax::ast::{DeclEntry, DeclKind, Ident, Initialiser, Stmt, StmtKind};
use std::collections::{BTreeMap, BTreeSet};

/// A statement of the network after the expansion of cells.
pub(super) struct ExpandedStatement {
    stmt: Stmt,
    /// True if the statement is removed if nothing reads what it declares.
    optional: bool,
}

impl<'a> Expander<'a, '_> {
    pub(super) fn push(&mut self, stmt: Stmt, optional: bool) {
        self.statements.push(ExpandedStatement { stmt, optional });
    }

    /// Expands the statements of a network or cell.
    pub(super) fn body(&mut self, body: &'a [Stmt], scope: Scope) {
        let in_cell = scope != Scope::Network;
        for stmt in body {
            if self.told_size {
                break;
            }
            let span = self.place(stmt.span, scope);
            match &stmt.kind {
                StmtKind::Cell { .. } => self.fill_in(stmt, scope),
                StmtKind::Plastic {
                    name,
                    pre,
                    post,
                    using,
                    reset,
                    body,
                } => {
                    let bundle = Plastic {
                        name,
                        pre,
                        post,
                        using: using.as_ref(),
                        reset: reset.as_ref(),
                        body,
                    };
                    let kind = self.plastic(&bundle, scope);
                    self.push(Stmt { kind, span }, false);
                }
                StmtKind::Decl { kind, entries } if in_cell => {
                    self.refuse_ports(*kind, entries, scope);
                    let optional = !matches!(kind, DeclKind::State);
                    for entry in entries {
                        let mut entry = self.entry(entry, scope, None);
                        entry.name = self.prefixed(entry.name, scope);
                        if *kind == DeclKind::State {
                            entry.reset = entry.reset.or_else(|| self.reset(None, scope));
                        }
                        let kind = StmtKind::Decl {
                            kind: *kind,
                            entries: vec![entry],
                        };
                        self.push(Stmt { kind, span }, optional);
                    }
                }
                StmtKind::Let {
                    target,
                    size,
                    value,
                } => {
                    let kind = StmtKind::Let {
                        target: self.own_name(target, scope),
                        size: size.as_ref().map(|size| self.expr(size, scope, None)),
                        value: self.expr(value, scope, None),
                    };
                    self.push(Stmt { kind, span }, in_cell);
                }
                kind => {
                    let kind = self.inner(kind, scope, None);
                    self.push(Stmt { kind, span }, false);
                }
            }
        }
    }

    /// Expands a statement that declares nothing in the network: a statement of a bundle (with `locals`), an
    /// update or an event.
    pub(super) fn inner(
        &mut self,
        kind: &StmtKind,
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
    ) -> StmtKind {
        let body = |this: &mut Self, body: &[Stmt]| {
            body.iter()
                .map(|stmt| Stmt {
                    kind: this.inner(&stmt.kind, scope, locals),
                    span: this.place(stmt.span, scope),
                })
                .collect()
        };
        match kind {
            StmtKind::Decl { kind, entries } => StmtKind::Decl {
                kind: *kind,
                entries: entries
                    .iter()
                    .map(|entry| self.entry(entry, scope, locals))
                    .collect(),
            },
            StmtKind::Let {
                target,
                size,
                value,
            } => StmtKind::Let {
                target: self.word(target, scope),
                size: size.as_ref().map(|size| self.expr(size, scope, locals)),
                value: self.expr(value, scope, locals),
            },
            StmtKind::Update { target, value } => StmtKind::Update {
                target: match locals {
                    Some(_) => self.word(target, scope),
                    None => self.updated(target, scope),
                },
                value: self.expr(value, scope, locals),
            },
            StmtKind::Transmit { value } => StmtKind::Transmit {
                value: self.expr(value, scope, locals),
            },
            StmtKind::Connect { mask } => StmtKind::Connect {
                mask: self.expr(mask, scope, locals),
            },
            StmtKind::On {
                side,
                start,
                end,
                body: inside,
            } => StmtKind::On {
                side: self.word(side, scope),
                start: self.expr(start, scope, locals),
                end: self.expr(end, scope, locals),
                body: body(self, inside),
            },
            StmtKind::When {
                condition,
                body: inside,
            } => StmtKind::When {
                condition: self.expr(condition, scope, locals),
                body: body(self, inside),
            },
            // A misplaced statement is reported at its declaration.
            StmtKind::Plastic { .. }
            | StmtKind::Cell { .. }
            | StmtKind::For { .. }
            | StmtKind::Allow { .. } => kind.clone(),
        }
    }

    fn entry(
        &mut self,
        entry: &DeclEntry,
        scope: Scope,
        locals: Option<&BundleNames<'a>>,
    ) -> DeclEntry {
        let word = |this: &Self, word: &Option<Ident>| word.as_ref().map(|w| this.word(w, scope));
        DeclEntry {
            name: self.word(&entry.name, scope),
            size: entry.size.as_ref().map(|e| self.expr(e, scope, locals)),
            init: entry.init.as_ref().map(|init| match init {
                Initialiser::Value(e) => Initialiser::Value(self.expr(e, scope, locals)),
                Initialiser::Draw(e) => Initialiser::Draw(self.expr(e, scope, locals)),
            }),
            per: word(self, &entry.per),
            reset: word(self, &entry.reset),
            span: self.place(entry.span, scope),
        }
    }

    /// The network's name for a name declared in the network or cell of `scope`.
    pub(super) fn own_name(&self, name: &Ident, scope: Scope) -> Ident {
        self.prefixed(self.word(name, scope), scope)
    }

    fn prefixed(&self, name: Ident, scope: Scope) -> Ident {
        match scope {
            Scope::Network => name,
            Scope::Inside(at) | Scope::At(at) => {
                Ident::new(format!("{}{}", self.uses[at].prefix, name.name), name.span)
            }
        }
    }

    /// The target of an update in the network or a cell; it can only be one of its own states.
    fn updated(&mut self, target: &Ident, scope: Scope) -> Ident {
        if let Scope::Inside(at) = scope {
            let item = self.item(at);
            if !item.names.contains_key(target.name.as_str()) {
                let message = if item.has_param(&target.name) {
                    format!("`{}` is a parameter, which `<-` cannot update", target.name)
                } else {
                    format!("cell `{}` has no state `{}`", item.name.name, target.name)
                };
                let span = self.place(target.span, scope);
                self.report(
                    Diagnostic::new(Code::BadUpdate, span, message)
                        .with_help("a cell updates its own states: `state h: [size] = 0`"),
                );
                let name = self.prefixed(self.word(target, scope), scope);
                self.expansion.reported.insert(name.name.clone());
                return name;
            }
        }
        self.own_name(target, scope)
    }

    fn refuse_ports(&mut self, kind: DeclKind, entries: &[DeclEntry], scope: Scope) {
        let help = match kind {
            DeclKind::Input => "a cell gets what it reads as an argument",
            DeclKind::Output => "make it a value, and an `output` of the network",
            _ => return,
        };
        for entry in entries {
            let span = self.place(entry.name.span, scope);
            let message = format!("`{}` cannot stand in a cell", kind.word());
            self.report(Diagnostic::new(Code::MisplacedStatement, span, message).with_help(help));
        }
    }
}

/// Removes optional statements that no other statement needs.
pub(super) fn needed(statements: Vec<ExpandedStatement>) -> Vec<Stmt> {
    let mut declarations: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut waiting = Vec::new();
    let mut keep = vec![false; statements.len()];
    for (k, filled) in statements.iter().enumerate() {
        if filled.optional {
            for name in declared(&filled.stmt.kind) {
                declarations.entry(&name.name).or_default().push(k);
            }
        } else {
            keep[k] = true;
            waiting.push(k);
        }
    }
    while let Some(k) = waiting.pop() {
        for name in read_names(&statements[k].stmt.kind) {
            for found in declarations.remove(name).unwrap_or_default() {
                keep[found] = true;
                waiting.push(found);
            }
        }
    }
    let kept = statements.into_iter().zip(keep);
    kept.filter_map(|(filled, keep)| keep.then_some(filled.stmt))
        .collect()
}

/// The first words of all paths in a statement.
fn read_names(kind: &StmtKind) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    if let StmtKind::Plastic { pre, post, .. } = kind {
        names.extend([pre, post].map(|path| path.parts[0].name.as_str()));
    }
    for expr in expressions(kind) {
        names.extend(
            expr_paths(expr)
                .iter()
                .map(|path| path.parts[0].name.as_str()),
        );
    }
    names
}
