//! Declarations: every name of the network and its bundles, before any expression is resolved. This file
//! declares statements, and matches updates to states.

use super::analyser::{Analyser, DefinitionSource, PendingDefinition, PendingUpdate, RegionSource};
use super::model::{DefId, DefKind, Side};
use super::scope::{refuse_side, Context, Symbol};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast::{Expr, Ident, Initialiser, Stmt, StmtKind};

/// The surroundings of a statement.
#[derive(Clone, Default)]
pub(super) struct Surroundings<'a> {
    regions: Vec<RegionSource<'a>>,
    conditions: Vec<&'a Expr>,
}

impl<'a> Analyser<'a, '_> {
    /// Declares all statements of the network's body.
    pub(super) fn declare_network(&mut self, body: &'a [Stmt]) {
        // Bundles come last: their sizes may name states and inputs declared below them.
        for stmt in body {
            if !matches!(stmt.kind, StmtKind::Plastic { .. }) {
                self.declare(stmt, Context::NETWORK, &Surroundings::default());
            }
        }
        for stmt in body {
            if let StmtKind::Plastic {
                name,
                pre,
                post,
                using,
                reset,
                body,
            } = &stmt.kind
            {
                self.declare_bundle(name, pre, post, (using.as_ref(), reset.as_ref()), body);
            }
        }
        if !self.bundles.is_empty() {
            for side in ["pre", "post"] {
                let names = self.names.get(side).map(|named| named.span);
                let dims = self.dims.get(side).map(|(_, span)| *span);
                for span in names.into_iter().chain(dims) {
                    refuse_side(side, span, self.diagnostics);
                }
            }
        }
    }

    pub(super) fn declare(&mut self, stmt: &'a Stmt, context: Context, around: &Surroundings<'a>) {
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
            StmtKind::Let {
                target,
                size,
                value,
            } => {
                if nested {
                    self.misplaced(
                        stmt.span,
                        "a value",
                        "define it outside and use `select(condition, a, b)`",
                    );
                    return;
                }
                self.define(target, size.as_ref(), value, context, DefKind::Value);
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
            StmtKind::Connect { mask } => match context.bundle {
                Some(bundle) if !nested => self.connect(bundle, mask, context, stmt.span),
                Some(_) => self.misplaced(
                    stmt.span,
                    "`connect`",
                    "the connections of a bundle stay the same in all steps",
                ),
                None => self.misplaced(stmt.span, "`connect`", "it belongs in a `plastic` bundle"),
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
            StmtKind::Cell { .. } => self.misplaced(
                stmt.span,
                "`cell`",
                "cells are used in the network itself or in another cell",
            ),
            // The driver reads these.
            StmtKind::Allow { .. } => {}
            // Repetitions are written out by now; those with errors were reported and left out.
            StmtKind::For { .. } => {}
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

    pub(super) fn define(
        &mut self,
        name: &'a Ident,
        size: Option<&'a Expr>,
        value: &'a Expr,
        context: Context,
        kind: DefKind,
    ) {
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
            size,
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
        around: Surroundings<'a>,
    ) {
        let named = match context.bundle {
            Some(bundle) => self.bundles[bundle.index()].names.get(&target.name),
            None => self.names.get(&target.name),
        }
        .copied();
        // Updates in the network's body may precede the declaration of their state, so they are matched after
        // everything is declared.
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

    /// Matches updates that preceded their target; reports those without one.
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
                None if self.expansion.is_reported(&target.name) => {}
                None => {
                    let full = self.diagnostics.is_full();
                    let near = Diagnostics::nearest(
                        &target.name,
                        names
                            .iter()
                            .take_while(|_| !full)
                            .filter(|(_, n)| matches!(n.symbol, Symbol::State(_)))
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
}
