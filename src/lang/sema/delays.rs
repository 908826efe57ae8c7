//! Delays: `delay(x, 3)` is what `x` was three steps ago, kept in a chain of states.

use super::analyser::Analyser;
use super::model::{Expr, ExprKind, Side, Step, Type};
use super::scope::{Context, Symbol};
use super::sizes::SizeVar;
use super::types::{convert, poison};
use crate::ir::{Reset, StateId, StateSlot};
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast;

/// The most steps of a delay: each is a state of its own.
const MOST: f64 = 1000.0;

/// A delay whose value is not resolved yet: it may depend on the delay itself.
pub(super) struct PendingDelay<'a> {
    source: &'a ast::Expr,
    context: Context,
    /// The name of the delay, for parameters in it.
    owner: String,
    size: SizeVar,
    /// The states, the latest value first.
    states: Vec<StateId>,
}

impl<'a> Analyser<'a, '_> {
    /// What a vector or number was some steps ago.
    pub(super) fn delay(
        &mut self,
        [source, steps]: [&'a ast::Expr; 2],
        reset: Option<&'a ast::Expr>,
        context: Context,
        span: Span,
    ) -> Expr {
        let Some(count) = self.constant(steps, context) else {
            return poison(span);
        };
        if count.fract() != 0.0 || !(1.0..=MOST).contains(&count) {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::BadCall,
                    steps.span,
                    format!("this is no whole number of steps from 1 to {MOST}"),
                )
                .with_help("`delay(h, 3)` is what `h` was three steps ago"),
            );
            return poison(span);
        }
        let place = (span, context.bundle, context.rule);
        let (last, size) = match self.delays.get(&place) {
            Some(known) => (known.states.last().copied(), known.size),
            None => {
                let reset = self.reset_of(reset);
                let made = self.chain(source, count as usize, reset, context, span);
                let found = (made.states.last().copied(), made.size);
                self.delays.insert(place, made);
                found
            }
        };
        let Some(last) = last else {
            return poison(span);
        };
        let value = Expr {
            kind: ExprKind::State(last),
            ty: Type::Vector(size),
            span,
        };
        match (context.bundle, self.side_named(source, context)) {
            (Some(bundle), Some(side)) if !context.vectors => self.along(value, bundle, side),
            _ => self.in_context(value, context),
        }
    }

    /// The side of the bundle that an argument names.
    fn side_named(&self, source: &ast::Expr, context: Context) -> Option<Side> {
        let ast::ExprKind::Name(path) = &source.kind else {
            return None;
        };
        match (context.bundle, path.parts.as_slice()) {
            (Some(_), [name]) if name.name == "pre" => Some(Side::Pre),
            (Some(_), [name]) if name.name == "post" => Some(Side::Post),
            _ => None,
        }
    }

    fn reset_of(&mut self, reset: Option<&'a ast::Expr>) -> Reset {
        match reset.map(|reset| (&reset.kind, reset.span)) {
            None => Reset::Episode,
            Some((ast::ExprKind::Name(path), _)) => self.reset(path.parts.last()),
            Some((_, span)) => {
                self.diagnostics.push(
                    Diagnostic::new(Code::BadCall, span, "this is no policy")
                        .with_help("there are `episode`, `trial`, `never` and `carry`"),
                );
                Reset::Episode
            }
        }
    }

    /// Declares the states of a delay.
    fn chain(
        &mut self,
        source: &'a ast::Expr,
        count: usize,
        reset: Reset,
        context: Context,
        span: Span,
    ) -> PendingDelay<'a> {
        let size = match self.known_size(source, context) {
            Some(size) => size,
            None => self.sizes.fresh("this delay", span),
        };
        let group = self.group("delay");
        let mut states = Vec::with_capacity(count);
        for k in 1..=count {
            states.push(StateId(self.states.len() as u32));
            let path = match count {
                1 => group.clone(),
                _ => format!("{group}.{k}"),
            };
            self.states.push(StateSlot {
                reset,
                ..StateSlot::new(path, Vec::new(), 0.0)
            });
            self.state_types.push(Type::Vector(size));
        }
        PendingDelay {
            source,
            context,
            owner: group,
            size,
            states,
        }
    }

    /// The size of an argument that is an input, a state, a value known by now, or a side of the bundle.
    fn known_size(&mut self, source: &'a ast::Expr, context: Context) -> Option<SizeVar> {
        let ast::ExprKind::Name(path) = &source.kind else {
            return None;
        };
        if let (Some(bundle), Some(side)) = (context.bundle, self.side_named(source, context)) {
            let scope = &self.bundles[bundle.index()];
            return Some(match side {
                Side::Pre => scope.pre,
                Side::Post => scope.post,
            });
        }
        let ty = match self.lookup(path, context)? {
            Symbol::Input(id) => self.input_types[id.index()],
            Symbol::State(id) => self.state_types[id.index()],
            Symbol::Definition(id) => self.resolved[id.index()].as_ref()?.ty,
            Symbol::Bundle(id) => return Some(self.bundles[id.index()].post),
            Symbol::Noise(_) | Symbol::Param(_) => return None,
        };
        match ty {
            Type::Vector(size) => Some(size),
            Type::Scalar => Some(self.sizes.known(1, "this delay", source.span)),
            Type::Element { bundle, pre, post } => match self.outside_type(bundle, pre, post) {
                Some(Type::Vector(size)) => Some(size),
                _ => None,
            },
            Type::Poison => None,
        }
    }

    /// Resolves what delays keep. All definitions must be resolved.
    pub(super) fn resolve_delays(&mut self, order: &mut Vec<Step>, nexts: &mut Vec<Option<Expr>>) {
        // What a delay keeps may have delays of its own.
        while let Some((_, delay)) = self.delays.pop_first() {
            self.owner = delay.owner;
            self.owner_counts.clear();
            let value = self.vector(delay.source, delay.context);
            let Some(value) = value else {
                self.sizes.forgive(delay.size);
                continue;
            };
            let span = value.span;
            let length = self.length(&value);
            self.sizes.unify(delay.size, length, span, self.diagnostics);
            let mut value = convert(value, Type::Vector(delay.size), span);
            nexts.resize_with(self.states.len(), || None);
            for id in delay.states {
                let ty = Type::Vector(delay.size);
                let kind = ExprKind::State(id);
                nexts[id.index()] = Some(std::mem::replace(&mut value, Expr { kind, ty, span }));
                order.push(Step::Next(id));
            }
        }
    }
}
