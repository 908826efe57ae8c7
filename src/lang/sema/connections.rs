//! Sparse bundles: `connect where mask` keeps the connections where a constant is not 0.
//!
//! The connections are known when the spec is compiled: the mask is an array, or drawn with a seed of its own. A value per
//! connection of such a bundle has one row, with an element for each connection that exists: those of the first post
//! neuron, by their pre neurons, then those of the second, and so on.

use super::analyser::{Analyser, ParamType, PendingParam};
use super::model::{BundleId, Connections, Model, Type};
use super::scope::{Context, Symbol};
use crate::ir::rng::{path_hash, Key, Place, Stream};
use crate::ir::{Draw, GivenArray, Indices, ParamId};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast::{Arg, Expr, ExprKind, Initialiser};
use std::collections::BTreeMap;
use std::sync::Arc;

const USAGE: &str = "declare a mask in the bundle, `const mask = file(\"mask.npy\") per connection` or \
                     `const mask ~ bernoulli(0.05, seed = 1) per connection`, and write `connect where mask`";

/// The named argument `seed` of a distribution.
pub(super) fn seed_of(args: &[Arg]) -> Option<&Arg> {
    let named = |arg: &&Arg| arg.name.as_ref().is_some_and(|name| name.name == "seed");
    args.iter().find(named)
}

impl<'a> Analyser<'a, '_> {
    /// Notes the mask of a bundle.
    pub(super) fn connect(
        &mut self,
        bundle: BundleId,
        mask: &'a Expr,
        context: Context,
        span: Span,
    ) {
        let earlier = self.bundles[bundle.index()]
            .connect
            .map(|(_, _, span)| span);
        match earlier {
            None => self.bundles[bundle.index()].connect = Some((mask, context, span)),
            Some(first) => self.diagnostics.push(
                Diagnostic::new(Code::Duplicate, span, "a bundle has one `connect where`")
                    .with_secondary(first, "the first is here")
                    .with_help("multiply the masks in one array"),
            ),
        }
    }

    /// Finds the mask of a bundle whose names are all declared.
    pub(super) fn match_mask(&mut self, bundle: BundleId) {
        let Some((mask, ..)) = self.bundles[bundle.index()].connect else {
            return;
        };
        let named = match &mask.kind {
            ExprKind::Name(path) if path.parts.len() == 1 => {
                let names = &self.bundles[bundle.index()].names;
                names.get(&path.parts[0].name).map(|named| named.symbol)
            }
            _ => None,
        };
        let whole = Type::Element {
            bundle,
            pre: true,
            post: true,
        };
        match named {
            Some(Symbol::Param(id)) => {
                let PendingParam { slot, ty } = &self.params[id.index()];
                let per_connection = matches!(ty, ParamType::Value(ty) if *ty == whole);
                if per_connection && !slot.trained {
                    self.bundles[bundle.index()].mask = Some(id);
                    return;
                }
            }
            Some(Symbol::Input(_) | Symbol::State(_) | Symbol::Noise(_)) | None => {}
            Some(Symbol::Definition(_) | Symbol::Bundle(_)) => {}
        }
        self.diagnostics.push(
            Diagnostic::new(
                Code::WrongKind,
                mask.span,
                "`connect where` takes a constant of the bundle that each connection has",
            )
            .with_help(USAGE),
        );
    }

    /// Keeps the seed of `~ bernoulli(0.05, seed = 1)`.
    pub(super) fn note_seed(&mut self, init: &'a Initialiser, path: &str, context: Context) {
        let Initialiser::Draw(draw) = init else {
            return;
        };
        let ExprKind::Call { args, .. } = &draw.kind else {
            return;
        };
        let Some(arg) = seed_of(args) else { return };
        let span = arg.value.span;
        let after = args
            .iter()
            .skip_while(|other| !std::ptr::eq(*other, arg))
            .skip(1);
        if let Some(second) = seed_of(&after.cloned().collect::<Vec<_>>()) {
            self.diagnostics.push(
                Diagnostic::new(Code::Duplicate, second.value.span, "a mask has one seed")
                    .with_secondary(span, "the first is here"),
            );
        }
        match self.constant(&arg.value, context) {
            Some(seed) if seed >= 0.0 && seed.fract() == 0.0 && seed < 9e15 => {
                self.seeds.insert(path.to_owned(), (seed as u64, span));
            }
            Some(_) => self.diagnostics.push(Diagnostic::new(
                Code::BadInitialiser,
                span,
                "a seed is a whole number, 0 or larger",
            )),
            None => {}
        }
    }
}

/// Finds the connections of sparse bundles, and gives their masks and arrays one element for each.
pub(super) fn connect(
    model: &mut Model,
    masks: &[Option<ParamId>],
    params: &mut [PendingParam],
    seeds: &BTreeMap<String, (u64, Span)>,
    diagnostics: &mut Diagnostics,
) {
    for (path, (_, span)) in seeds {
        let of_mask = masks.iter().flatten();
        if !of_mask
            .clone()
            .any(|id| params[id.index()].slot.path == *path)
        {
            diagnostics.push(
                Diagnostic::new(
                    Code::BadInitialiser,
                    *span,
                    format!("`{path}` is drawn with the seed of the run"),
                )
                .with_help("only the mask of `connect where` has a seed of its own"),
            );
        }
    }
    for (k, mask) in masks.iter().enumerate() {
        let Some(mask) = mask else { continue };
        let bundle = &model.bundles[k];
        let dims = [model.size(bundle.pre), model.size(bundle.post)];
        let slot = &mut params[mask.index()].slot;
        let span = slot.span.unwrap_or(bundle.span);
        let pattern = match of_mask(&slot.init, &slot.path, dims, seeds) {
            Ok(pattern) => pattern,
            Err(message) => {
                diagnostics
                    .push(Diagnostic::new(Code::BadInitialiser, span, message).with_help(USAGE));
                // Once is enough.
                slot.init = Draw::Constant(0.0);
                continue;
            }
        };
        let [rows, columns] = dims;
        let (mut pre, mut post) = (Vec::new(), Vec::new());
        for j in 0..columns {
            for i in (0..rows).filter(|i| pattern.exists(i * columns + j)) {
                pre.push(i as u32);
                post.push(j as u32);
            }
        }
        if matches!(slot.init, Draw::Bernoulli(_)) {
            slot.init = Draw::Constant(1.0);
        }
        if pre.is_empty() {
            let message = format!("`{}` is 0 everywhere, so no connection exists", slot.path);
            diagnostics.push(Diagnostic::new(Code::BadInitialiser, span, message));
            continue;
        }
        model.bundles[k].connections = Some(Connections {
            pre: Indices::new(pre, rows),
            post: Indices::new(post, columns),
        });
    }
    for param in params {
        let ParamType::Value(Type::Element {
            bundle,
            pre: true,
            post: true,
        }) = param.ty
        else {
            continue;
        };
        let bundle = &model.bundles[bundle.index()];
        let dims = [model.size(bundle.pre), model.size(bundle.post)];
        let (Some(connections), Draw::Given(given)) = (&bundle.connections, &param.slot.init)
        else {
            continue;
        };
        if given.dims == dims {
            param.slot.init = Draw::Given(Arc::new(GivenArray {
                file: given.file.clone(),
                dims: vec![1, connections.count()],
                values: connections.of(&given.values),
            }));
        }
    }
}

/// The most elements of a mask that are drawn: each is looked at whenever the spec is compiled.
const MOST_DRAWN: usize = 1 << 28;

/// The elements of a mask, row by row.
enum Pattern<'a> {
    Array(&'a [f64]),
    Drawn(f64, Place),
}

impl Pattern<'_> {
    /// Returns true if element `k` is not 0.
    fn exists(&self, k: usize) -> bool {
        match self {
            Pattern::Array(values) => values[k] as f32 != 0.0,
            Pattern::Drawn(p, place) => place.bernoulli(k as u32, *p),
        }
    }
}

/// The elements of a mask.
fn of_mask<'a>(
    init: &'a Draw,
    path: &str,
    dims: [usize; 2],
    seeds: &BTreeMap<String, (u64, Span)>,
) -> Result<Pattern<'a>, String> {
    let [rows, columns] = dims;
    match init {
        Draw::Given(given) if given.dims == dims => Ok(Pattern::Array(&given.values)),
        Draw::Given(given) => {
            let found = &given.dims;
            Err(format!("the mask is {found:?}, and the bundle is {dims:?}"))
        }
        Draw::Bernoulli(_) if rows.saturating_mul(columns) > MOST_DRAWN => Err(format!(
            "a mask of {rows} x {columns} is too large to be drawn; give it as a file"
        )),
        Draw::Bernoulli(p) => {
            let seed = seeds.get(path).map_or(0, |(seed, _)| *seed);
            let key = Key::new(seed, Stream::Init(path_hash(path)));
            Ok(Pattern::Drawn(*p, key.at(0, 0, 0)))
        }
        Draw::Constant(_) | Draw::Uniform(..) | Draw::Normal(..) | Draw::Identity(_) => {
            Err("a mask is an array or drawn by `bernoulli`".to_owned())
        }
    }
}
