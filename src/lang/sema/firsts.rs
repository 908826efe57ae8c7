//! First values of states that are computed: of parameters, or drawn for each episode.
//!
//! `state h: [20] = h0` and `trace d ~ normal(0, 0.1)` desugar to a second state, `h.starts`, which is 1 in the step where `h`
//! begins and 0 behind it. Where it is 1 the step takes the first value in the place of the state that entered, so
//! that gradients reach the parameters as they reach all others.

use super::analyser::Analyser;
use super::initialise::FIRST;
use super::model::{Expr, ExprKind, First, Step, Type};
use super::scope::Context;
use super::types::{number, poison};
use crate::ir::{Draw, NoiseId, NoiseKind, NoiseSlot, StateId, StateSlot, STARTS};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast;

/// A first value that is not resolved yet.
#[derive(Clone, Copy)]
pub(super) enum PendingFirst<'a> {
    /// An expression of parameters.
    Of(&'a ast::Expr, Context),
    /// A draw.
    Drawn(NoiseId, Span),
}

impl<'a> Analyser<'a, '_> {
    /// The source of the draws of a first value.
    pub(super) fn drawn_first(
        &mut self,
        path: &str,
        draw: Draw,
        ty: Type,
        span: Span,
    ) -> PendingFirst<'a> {
        let id = NoiseId(self.noises.len() as u32);
        self.noises.push(NoiseSlot {
            path: format!("{path}{FIRST}"),
            dims: Vec::new(),
            draw,
            kind: NoiseKind::Step,
            span: Some(span),
        });
        self.noise_types.push(ty);
        PendingFirst::Drawn(id, span)
    }

    /// Declares the state that tells where another one begins.
    pub(super) fn declare_first(&mut self, state: StateId, pending: PendingFirst<'a>) {
        let StateSlot { path, reset, .. } = &self.states[state.index()];
        let (path, reset) = (format!("{path}{STARTS}"), *reset);
        let span = match pending {
            PendingFirst::Of(expr, _) => expr.span,
            PendingFirst::Drawn(_, span) => span,
        };
        let starts = StateId(self.states.len() as u32);
        self.states.push(StateSlot {
            reset,
            ..StateSlot::new(path, Vec::new(), 1.0)
        });
        // As all states of a network it has a size.
        let one = self.sizes.known(1, "the mark of a first step", span);
        self.state_types.push(Type::Vector(one));
        self.firsts.insert(state, (pending, starts));
    }

    /// Resolves all first values. All definitions must be resolved.
    pub(super) fn resolve_firsts(
        &mut self,
        order: &mut Vec<Step>,
        nexts: &mut [Option<Expr>],
    ) -> Vec<First> {
        let mut firsts = Vec::new();
        for (state, (pending, starts)) in std::mem::take(&mut self.firsts) {
            let (value, span) = match pending {
                PendingFirst::Of(expr, context) => {
                    self.owner = format!("{}{FIRST}", self.states[state.index()].path);
                    self.owner_counts.clear();
                    let value = self.expr(expr, context);
                    let value = match self.is_of_episode(&value, state) {
                        true => poison(expr.span),
                        false => self.fit(state, value, expr.span),
                    };
                    (value, expr.span)
                }
                PendingFirst::Drawn(id, span) => {
                    let (kind, ty) = (ExprKind::Noise(id), self.noise_types[id.index()]);
                    (Expr { kind, ty, span }, span)
                }
            };
            nexts[starts.index()] = Some(number(0.0, span));
            if !order.contains(&Step::Next(starts)) {
                order.push(Step::Next(starts));
            }
            firsts.push(First {
                state,
                starts,
                value,
            });
        }
        firsts
    }

    /// Tells if a first value depends on what happens in an episode, and reports it.
    fn is_of_episode(&mut self, value: &Expr, state: StateId) -> bool {
        let mut found = None;
        let mut waiting = vec![value];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(expr) = waiting.pop() {
            expr.walk(&mut |e| match e.kind {
                ExprKind::Definition(id) if seen.insert(id) => {
                    waiting.extend(self.resolved[id.index()].as_ref());
                }
                ExprKind::State(_)
                | ExprKind::Next(_)
                | ExprKind::Input(_)
                | ExprKind::Noise(_) => found = found.or(Some(e.span)),
                _ => {}
            });
        }
        if let Some(span) = found {
            let path = &self.states[state.index()].path;
            self.diagnostics.push(
                Diagnostic::new(
                    Code::BadInitialiser,
                    value.span,
                    format!("the first value of `{path}` is known before the first step, and this is not"),
                )
                .with_secondary(span, "this changes in an episode")
                .with_help("numbers, parameters and functions of them are first values; so are draws, as in `~ normal(0, 0.1)`"),
            );
        }
        found.is_some()
    }
}
