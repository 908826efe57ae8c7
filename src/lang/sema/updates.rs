//! Next values: the `<-` updates of each state and trace, joined into one expression.

use super::analyser::{Analyser, RegionSource};
use super::model::{Expr, ExprKind, RegionId, Side, Type};
use super::scope::Context;
use super::types::{convert, side_type};
use crate::ir::{Binary, StateId, Unary};
use crate::lang::diag::{Code, Diagnostic, Span};
use std::collections::BTreeMap;

/// The largest number of updates of one state in disjoint regions; together they form one expression of that
/// depth.
const MAX_UPDATES: usize = 128;

/// A resolved update of a state: its place, value and regions.
struct Resolved {
    span: Span,
    value: Expr,
    regions: Vec<(Side, RegionId)>,
    conditions: Vec<Expr>,
}

impl<'a> Analyser<'a, '_> {
    /// Resolves all updates. All definitions must be resolved.
    pub(super) fn resolve_updates(&mut self) -> Vec<Option<Expr>> {
        let mut by_target: BTreeMap<StateId, Vec<Resolved>> = BTreeMap::new();
        let mut counts = vec![0; self.states.len()];
        // Calls of `linear` in several updates of one state are counted together, so that their names differ.
        let mut calls = vec![BTreeMap::new(); self.states.len()];
        for update in std::mem::take(&mut self.updates) {
            let count = &mut counts[update.target.index()];
            *count += 1;
            if *count > MAX_UPDATES {
                if *count == MAX_UPDATES + 1 {
                    let path = &self.states[update.target.index()].path;
                    self.diagnostics.push(
                        Diagnostic::new(
                            Code::TooLarge,
                            update.target_span,
                            format!("`{path}` is updated in more than {MAX_UPDATES} places"),
                        )
                        .with_help(
                            "a factor per neuron, `coeff gate ~ ... per post`, may say the same",
                        ),
                    );
                }
                continue;
            }
            self.owner = format!("{}.next", self.states[update.target.index()].path);
            let target = update.target.index();
            self.owner_counts = std::mem::take(&mut calls[target]);
            let value = self.expr(update.value, update.context);
            let regions = update
                .regions
                .iter()
                .map(|region| self.update_region(region, update.context))
                .collect();
            let conditions = update
                .conditions
                .iter()
                .map(|condition| self.expr(condition, update.context))
                .collect();
            calls[target] = std::mem::take(&mut self.owner_counts);
            by_target.entry(update.target).or_default().push(Resolved {
                span: update.target_span,
                value,
                regions,
                conditions,
            });
        }
        let mut nexts: Vec<Option<Expr>> = (0..self.states.len()).map(|_| None).collect();
        for (target, updates) in by_target {
            self.check_disjoint(target, &updates);
            let ty = self.state_types[target.index()];
            let mut next: Option<Expr> = None;
            for update in updates {
                let span = update.span;
                let value = self.fit(target, update.value, span);
                let mut condition: Option<Expr> = None;
                let mut also = |this: &mut Self, more: Expr| {
                    condition = Some(match condition.take() {
                        None => more,
                        Some(c) => this.binary(Binary::And, c, more, span),
                    });
                };
                for more in update.conditions {
                    // A condition holds where it is not 0.
                    let at = more.span;
                    let not = super::types::unary(Unary::Not, more, at);
                    let truth = super::types::unary(Unary::Not, not, at);
                    also(self, truth);
                }
                for (side, region) in update.regions {
                    let Some(bundle) = self.bundle_of(ty) else {
                        continue;
                    };
                    let mask = Expr {
                        kind: ExprKind::InRegion(side, region),
                        ty: side_type(bundle, side),
                        span,
                    };
                    also(self, mask);
                }
                next = Some(match condition {
                    None => value,
                    Some(condition) => {
                        self.fit_condition(ty, &condition, span);
                        let otherwise = next.unwrap_or(Expr {
                            kind: ExprKind::State(target),
                            ty,
                            span,
                        });
                        let selected = self.select(condition, value, otherwise, span);
                        convert(selected, ty, span)
                    }
                });
            }
            nexts[target.index()] = next;
        }
        nexts
    }

    fn bundle_of(&self, ty: Type) -> Option<super::model::BundleId> {
        match ty {
            Type::Element { bundle, .. } => Some(bundle),
            Type::Scalar | Type::Vector(_) | Type::Poison => None,
        }
    }

    fn update_region(&mut self, region: &RegionSource<'a>, context: Context) -> (Side, RegionId) {
        let bundle = context
            .bundle
            .expect("`on` outside a bundle was refused when it was declared");
        let scope = &self.bundles[bundle.index()];
        let size = match region.side {
            Side::Pre => scope.pre,
            Side::Post => scope.post,
        };
        let id = self.region(region.start, region.end, size, context);
        self.regions[id.0 as usize].span = region.span;
        (region.side, id)
    }

    /// Checks that the updates of one state act on disjoint regions.
    fn check_disjoint(&mut self, target: StateId, updates: &[Resolved]) {
        for (k, later) in updates.iter().enumerate() {
            for earlier in &updates[..k] {
                let disjoint = later.regions.iter().any(|(side, a)| {
                    earlier
                        .regions
                        .iter()
                        .any(|(other, b)| side == other && self.apart(*a, *b))
                });
                if disjoint {
                    continue;
                }
                let path = self.states[target.index()].path.clone();
                let regional = !later.regions.is_empty() && !earlier.regions.is_empty();
                let (code, message, help) = if regional {
                    (
                        Code::OverlappingRegions,
                        format!("two regions that overlap both update `{path}`"),
                        "make the regions disjoint",
                    )
                } else {
                    (
                        Code::BadUpdate,
                        format!("`{path}` is updated twice"),
                        "all `<-` act at once: join the updates into one, with `select` where they depend on a \
                         condition",
                    )
                };
                self.diagnostics.push(
                    Diagnostic::new(code, later.span, message)
                        .with_secondary(earlier.span, "the other update is here")
                        .with_help(help),
                );
                return;
            }
        }
    }

    fn apart(&self, a: RegionId, b: RegionId) -> bool {
        let bounds = |id: RegionId| {
            let region = &self.regions[id.0 as usize];
            let start = self.sizes.evaluate(&region.start).ok()?;
            let end = self.sizes.evaluate(&region.end).ok()?;
            Some((start, end))
        };
        match (bounds(a), bounds(b)) {
            (Some((a0, a1)), Some((b0, b1))) => a1 <= b0 || b1 <= a0,
            // Bounds with errors are reported elsewhere.
            _ => true,
        }
    }

    /// Checks that a condition does not vary along an axis that its state lacks.
    fn fit_condition(&mut self, ty: Type, condition: &Expr, span: Span) {
        let (_, fits) = axes_fit(condition.ty, ty);
        if !fits {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::WrongAxes,
                    condition.span,
                    "this condition differs along an axis that the updated value lacks",
                )
                .with_secondary(span, "updated here"),
            );
        }
    }

    /// Converts the value to the axes of its state.
    pub(super) fn fit(&mut self, target: StateId, value: Expr, span: Span) -> Expr {
        let ty = self.state_types[target.index()];
        let value = match ty {
            Type::Scalar => self.scalar_if_single(value),
            Type::Vector(_) | Type::Element { .. } | Type::Poison => value,
        };
        if let (Type::Vector(a), Type::Vector(b)) = (ty, value.ty) {
            self.sizes.unify(a, b, value.span, self.diagnostics);
        }
        let (reason, fits) = axes_fit(value.ty, ty);
        if !fits {
            let slot = &self.states[target.index()];
            let path = slot.path.clone();
            let mut diagnostic = Diagnostic::new(
                Code::WrongAxes,
                value.span,
                format!("`{path}` cannot take this value: {reason}"),
            )
            .with_help(match (ty, value.ty) {
                (Type::Scalar, Type::Vector(_)) => {
                    format!("give it a size: `state {path}: [100] = 0`")
                }
                _ => "reduce the value, or declare the trace with more axes: `trace t = 0 per connection`"
                    .to_owned(),
            });
            if let Some(declared) = slot.span {
                diagnostic = diagnostic.with_secondary(declared, "declared here");
            }
            self.diagnostics.push(diagnostic);
            return super::types::poison(span);
        }
        if value.ty == ty {
            value
        } else {
            let at = value.span;
            convert(value, ty, at)
        }
    }
}

/// Returns true if a value of one type can be broadcast to another; if not, the reason.
fn axes_fit(value: Type, target: Type) -> (&'static str, bool) {
    match (value, target) {
        (Type::Poison, _) | (_, Type::Poison) | (Type::Scalar, _) => ("", true),
        (Type::Vector(_), Type::Vector(_)) => ("", true),
        (
            Type::Element {
                bundle: a,
                pre: p,
                post: q,
            },
            Type::Element {
                bundle: b,
                pre: r,
                post: s,
            },
        ) => {
            if a != b {
                ("it belongs to another bundle", false)
            } else if p && !r {
                ("it differs between pre neurons", false)
            } else if q && !s {
                ("it differs between post neurons", false)
            } else {
                ("", true)
            }
        }
        (Type::Vector(_), Type::Scalar) => ("it is a vector", false),
        (Type::Element { .. }, Type::Scalar) => ("it differs between neurons", false),
        (Type::Element { .. }, Type::Vector(_)) => ("it is an element of a bundle", false),
        (Type::Vector(_), Type::Element { .. }) => ("it is a vector of the network", false),
    }
}
