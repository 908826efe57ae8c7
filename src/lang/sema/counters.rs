//! Counters of steps, for the condition `every(n)`.

use super::analyser::Analyser;
use super::model::{Expr, ExprKind, Fold, Over, Step, Type};
use super::scope::Context;
use super::types::{number, poison};
use crate::ir::{Binary, Reset, StateId, StateSlot};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast;

/// The most steps between two; whole numbers up to it are exact in 32 bits.
const MOST: f64 = 16_777_216.0;

impl<'a> Analyser<'a, '_> {
    /// The condition that holds in each n-th step of an episode.
    pub(super) fn every(&mut self, arg: &'a ast::Expr, context: Context, span: Span) -> Expr {
        let Some(n) = self.constant(arg, context) else {
            return poison(span);
        };
        if n.fract() != 0.0 || !(1.0..=MOST).contains(&n) {
            self.diagnostics.push(
                Diagnostic::new(Code::BadCall, arg.span, "this is no whole number from 1")
                    .with_help("`when every(10) { ... }` holds in steps 10, 20 and so on"),
            );
            return poison(span);
        }
        let id = self.counter(n as u32, span);
        let count = Expr {
            kind: ExprKind::Reduce(Fold::Sum, Over::Vector, Box::new(self.steps(id, span))),
            ty: Type::Scalar,
            span,
        };
        self.binary(Binary::LessEqual, number(n - 1.0, span), count, span)
    }

    /// The state that counts the steps since the last n-th one.
    fn counter(&mut self, n: u32, span: Span) -> StateId {
        if let Some(known) = self.counters.get(&n) {
            return *known;
        }
        let id = StateId(self.states.len() as u32);
        self.states.push(StateSlot {
            path: format!("every.{n}"),
            dims: Vec::new(),
            init: 0.0,
            first: None,
            reset: Reset::Episode,
            trace: false,
            given: false,
            span: Some(span),
        });
        // As all states of a network it has a size.
        let one = self.sizes.known(1, "a counter of steps", span);
        self.state_types.push(Type::Vector(one));
        self.counters.insert(n, id);
        id
    }

    /// Has all counters count.
    pub(super) fn count(&mut self, order: &mut Vec<Step>, nexts: &mut [Option<Expr>]) {
        for (n, id) in std::mem::take(&mut self.counters) {
            let Some(span) = self.states[id.index()].span else {
                continue;
            };
            let (last, count) = (number(f64::from(n) - 1.0, span), self.steps(id, span));
            let over = self.binary(Binary::LessEqual, last, count, span);
            let count = self.steps(id, span);
            let more = self.binary(Binary::Add, count, number(1.0, span), span);
            nexts[id.index()] = Some(self.select(over, number(0.0, span), more, span));
            order.push(Step::Next(id));
        }
    }

    /// The steps that a counter has counted, a vector of one.
    fn steps(&self, id: StateId, span: Span) -> Expr {
        Expr {
            kind: ExprKind::State(id),
            ty: self.state_types[id.index()],
            span,
        }
    }
}
