//! The sides of bundles: `pre` and `post` as elements, their sizes, and the input a bundle delivers.

use super::analyser::Analyser;
use super::constants::dotted;
use super::model::{BundleId, DefId, Expr, ExprKind, Fold, Side, Type};
use super::scope::{Context, Symbol};
use super::sizes::SizeExpr;
use super::types::{convert, poison, side_type};
use crate::ir::Binary;
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast::{self, Path};

impl<'a> Analyser<'a, '_> {
    /// Unifies the sizes of bundles with those of the vectors they connect, once these are resolved.
    pub(super) fn match_bundle_sides(&mut self, id: DefId) {
        for (path, size) in self.sides.remove(&id).unwrap_or_default() {
            let ty = self.definition_type(id);
            self.tie_side(path, size, ty);
        }
    }

    /// Unifies the sizes of bundle sides that are inputs or states; reports sides that are neither.
    pub(super) fn match_bundle_leaves(&mut self) {
        for k in 0..self.bundles.len() {
            let bundle = &self.bundles[k];
            for (path, size) in [
                (bundle.pre_path, bundle.pre),
                (bundle.post_path, bundle.post),
            ] {
                match self.lookup(path, Context::NETWORK) {
                    Some(Symbol::Input(id)) => {
                        self.tie_side(path, size, self.input_types[id.index()])
                    }
                    Some(Symbol::State(id)) => {
                        self.tie_side(path, size, self.state_types[id.index()])
                    }
                    Some(Symbol::Definition(id)) => {
                        self.sides.entry(id).or_default().push((path, size));
                    }
                    Some(Symbol::Bundle(other)) => {
                        let id = self.received[&other];
                        self.sides.entry(id).or_default().push((path, size));
                    }
                    Some(symbol @ (Symbol::Noise(_) | Symbol::Param(_))) => {
                        self.diagnostics.push(Diagnostic::new(
                            Code::WrongKind,
                            path.span,
                            format!(
                                "a bundle connects vectors of activity, and `{}` is {}",
                                dotted(path),
                                symbol.word()
                            ),
                        ));
                        self.poison_size(size);
                    }
                    None if self.dims.contains_key(dotted(path).as_str()) => {
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::WrongKind,
                                path.span,
                                format!(
                                    "a bundle connects vectors of activity, and `{}` is a size",
                                    dotted(path)
                                ),
                            )
                            .with_help("name an input, a state or a value of the network"),
                        );
                        self.poison_size(size);
                    }
                    None => {
                        self.unknown_name(path, Context::NETWORK);
                        self.poison_size(size);
                    }
                }
            }
        }
    }

    fn poison_size(&mut self, size: super::sizes::SizeVar) {
        self.sizes.define(
            size,
            SizeExpr::Poison,
            self.bundles[0].name.span,
            self.diagnostics,
        );
    }

    fn tie_side(&mut self, path: &Path, size: super::sizes::SizeVar, ty: Type) {
        match ty {
            Type::Vector(var) => {
                self.sizes.unify(size, var, path.span, self.diagnostics);
            }
            Type::Scalar => {
                let one = self
                    .sizes
                    .known(1, format!("`{}`", dotted(path)), path.span);
                self.sizes.unify(size, one, path.span, self.diagnostics);
            }
            Type::Element { bundle, pre, post } => match self.outside_type(bundle, pre, post) {
                Some(ty) => self.tie_side(path, size, ty),
                None => {
                    self.diagnostics.push(
                        Diagnostic::new(
                            Code::WrongAxes,
                            path.span,
                            format!(
                                "a bundle connects vectors of activity, and `{}` is one number per connection",
                                dotted(path)
                            ),
                        )
                        .with_help("reduce it in its bundle: `total = sum_pre(x)`"),
                    );
                    self.poison_size(size);
                }
            },
            Type::Poison => self.poison_size(size),
        }
    }

    /// Builds `Σ_i transmit_ij pre_i`.
    pub(super) fn received_expr(&mut self, bundle: BundleId, source: &'a ast::Expr) -> Expr {
        let context = self.transmit_contexts[&bundle];
        self.owner = self.bundles[bundle.index()].name.name.clone();
        self.owner_counts.clear();
        let weight = self.expr(source, context);
        let span = weight.span;
        let Some(pre) = self.side(bundle, Side::Pre, span) else {
            return poison(span);
        };
        let product = self.binary(Binary::Mul, weight, pre, span);
        if matches!(product.ty, Type::Poison) {
            return poison(span);
        }
        let sum = self.reduce(Fold::Sum, Side::Pre, bundle, product, span);
        convert(sum, Type::Vector(self.bundles[bundle.index()].post), span)
    }

    /// Builds `pre` or `post` as an element.
    pub(super) fn side(&mut self, bundle: BundleId, side: Side, span: Span) -> Option<Expr> {
        let scope = &self.bundles[bundle.index()];
        let path = match side {
            Side::Pre => scope.pre_path,
            Side::Post => scope.post_path,
        };
        let kind = match self.lookup(path, Context::NETWORK)? {
            Symbol::Input(id) => ExprKind::Input(id),
            Symbol::State(id) => ExprKind::State(id),
            Symbol::Definition(id) => ExprKind::Definition(id),
            Symbol::Bundle(other) => {
                self.refuse_silent(other, span);
                ExprKind::Definition(self.received[&other])
            }
            Symbol::Noise(_) | Symbol::Param(_) => return None,
        };
        let ty = match kind {
            ExprKind::Input(id) => self.input_types[id.index()],
            ExprKind::State(id) => self.state_types[id.index()],
            ExprKind::Definition(id) => self.resolved[id.index()].as_ref()?.ty,
            _ => return None,
        };
        let value = Expr { kind, ty, span };
        let vector = match ty {
            Type::Poison => return None,
            Type::Element {
                bundle: of,
                pre,
                post,
            } => convert(value, self.outside_type(of, pre, post)?, span),
            Type::Scalar | Type::Vector(_) => value,
        };
        Some(convert(vector, side_type(bundle, side), span))
    }
}
