//! The last stage: slots get their solved dimensions.

use super::analyser::{ParamType, PendingParam};
use super::initialise::FIRST;
use super::model::{ExprKind, Model, Type};
use super::sizes::MAX_ELEMENTS;
use crate::ir::{Draw, GivenArray, InputSlot, NoiseSlot, StateSlot};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use std::sync::Arc;

/// Refuses an expression without a meaning that no other finding tells of, so that it never reaches lowering.
pub(super) fn refuse_poison(model: &Model, diagnostics: &mut Diagnostics) {
    let definitions = model.definitions.iter().map(|one| &one.expr);
    let mut found = None;
    let firsts = model.firsts.iter().map(|first| &first.value);
    for expr in definitions
        .chain(model.nexts.iter().flatten())
        .chain(firsts)
    {
        expr.walk(&mut |expr| {
            if matches!(expr.kind, ExprKind::Poison) || matches!(expr.ty, Type::Poison) {
                found.get_or_insert(expr.span);
            }
        });
    }
    if let Some(span) = found {
        diagnostics.push(
            Diagnostic::new(Code::WrongKind, span, "this has no meaning where it stands")
                .with_help("give its parts names of their own, and use those"),
        );
    }
}

/// Refuses `topk(x, k)` of vectors with fewer than `k` elements.
pub(super) fn refuse_ranks(model: &Model, diagnostics: &mut Diagnostics) {
    let definitions = model.definitions.iter().map(|one| &one.expr);
    let firsts = model.firsts.iter().map(|first| &first.value);
    let all = definitions
        .chain(model.nexts.iter().flatten())
        .chain(firsts);
    for expr in all {
        expr.walk(&mut |expr| {
            let ExprKind::TopK(x, k) = &expr.kind else {
                return;
            };
            if matches!(x.ty, Type::Poison) {
                return;
            }
            let n = model.dims(x.ty).iter().product::<usize>();
            if *k > n {
                let elements = if n == 1 { "element" } else { "elements" };
                let message =
                    format!("`topk` cannot find the {k} largest of a vector of {n} {elements}");
                diagnostics.push(
                    Diagnostic::new(Code::BadCall, expr.span, message)
                        .with_help(format!("it finds at most all of them: `topk(x, {n})`")),
                );
            }
        });
    }
}

/// Fills the slots of a model whose sizes are solved.
pub(super) fn fill_slots(
    model: &mut Model,
    params: Vec<PendingParam>,
    inputs: Vec<InputSlot>,
    input_types: &[Type],
    states: Vec<StateSlot>,
    noises: Vec<NoiseSlot>,
    diagnostics: &mut Diagnostics,
) {
    for PendingParam { mut slot, ty } in params {
        let (dims, value_type) = match ty {
            ParamType::Value(ty) => (model.dims(ty), ty),
            ParamType::Matrix(from, to) => (vec![model.size(from), model.size(to)], Type::Poison),
            ParamType::Index(size) => {
                let dims = vec![model.size(size)];
                slot.init = Draw::Given(Arc::new(GivenArray {
                    file: None,
                    dims: dims.clone(),
                    values: (0..dims[0]).map(|k| k as f64).collect(),
                }));
                (dims, Type::Vector(size))
            }
            ParamType::FanIn { from, to, bias } => {
                let bound = 1.0 / (model.size(from) as f64).sqrt();
                slot.init = Draw::Uniform(-bound, bound);
                if bias {
                    (vec![model.size(to)], Type::Vector(to))
                } else {
                    (vec![model.size(from), model.size(to)], Type::Poison)
                }
            }
        };
        check_identity(&slot.init, &slot.path, &dims, slot.span, diagnostics);
        if let (Draw::Given(given), Some(span)) = (&slot.init, slot.span) {
            if given.dims != dims {
                let found = &given.dims;
                let what = match &given.file {
                    Some((file, _)) => file.display().to_string(),
                    None => "this array".to_owned(),
                };
                let path = slot.path.strip_suffix(FIRST).unwrap_or(&slot.path);
                let message = format!("{what} is {found:?}, and `{path}` is {dims:?}");
                let mut diagnostic = Diagnostic::new(Code::BadInitialiser, span, message);
                if given.file.is_some() && given.values.len() == dims.iter().product::<usize>() {
                    diagnostic =
                        diagnostic.with_help("NumPy's `reshape` gives an array other dimensions");
                } else if dims.len() < given.dims.len() {
                    diagnostic = diagnostic.with_help(
                        "`per connection` declares a value for each connection, [pre, post]",
                    );
                }
                diagnostics.push(diagnostic);
                slot.init = Draw::Constant(0.0);
            }
        }
        check_elements(&slot.path, &dims, slot.span, diagnostics);
        slot.dims = dims;
        model.param_types.push(value_type);
        model.params.push(slot);
    }
    for (mut slot, ty) in inputs.into_iter().zip(input_types) {
        slot.dims = model.dims(*ty);
        check_elements(&slot.path, &slot.dims, slot.span, diagnostics);
        model.inputs.push(slot);
    }
    for (k, mut slot) in states.into_iter().enumerate() {
        slot.dims = model.dims(model.state_types[k]);
        check_elements(&slot.path, &slot.dims, slot.span, diagnostics);
        model.states.push(slot);
    }
    for (k, mut slot) in noises.into_iter().enumerate() {
        slot.dims = model.dims(model.noise_types[k]);
        check_identity(&slot.draw, &slot.path, &slot.dims, slot.span, diagnostics);
        model.noises.push(slot);
    }
    for bundle in &model.bundles {
        let dims = [model.size(bundle.pre), model.size(bundle.post)];
        check_elements(&bundle.name, &dims, Some(bundle.span), diagnostics);
    }
}

/// Refuses the identity for what is no square matrix.
fn check_identity(
    draw: &Draw,
    path: &str,
    dims: &[usize],
    span: Option<Span>,
    diagnostics: &mut Diagnostics,
) {
    let square = matches!(dims, [rows, columns] if rows == columns);
    if let (Draw::Identity(_), false, Some(span)) = (draw, square, span) {
        let path = path.strip_suffix(FIRST).unwrap_or(path);
        let found = match dims {
            [] => "a single number".to_owned(),
            dims => format!("{dims:?}"),
        };
        let message = format!("`identity` needs a square matrix, and `{path}` is {found}");
        diagnostics.push(Diagnostic::new(Code::BadInitialiser, span, message));
    }
}

fn check_elements(path: &str, dims: &[usize], span: Option<Span>, diagnostics: &mut Diagnostics) {
    let elements = dims
        .iter()
        .try_fold(1u64, |product, dim| product.checked_mul(*dim as u64));
    if elements.is_some_and(|n| n <= MAX_ELEMENTS) {
        return;
    }
    if let Some(span) = span {
        diagnostics.push(
            Diagnostic::new(
                Code::BadSize,
                span,
                format!("`{path}` would have {dims:?} elements, more than any machine holds"),
            )
            .with_help("make its sizes smaller"),
        );
    }
}

/// Sets the `grad_scale` factors of parameters.
pub(super) fn apply_grad_scales(
    model: &mut Model,
    scales: &[(String, Span, f64)],
    diagnostics: &mut Diagnostics,
) {
    for (path, span, scale) in scales {
        if let Some(slot) = model
            .params
            .iter_mut()
            .find(|slot| slot.path == *path && slot.trained)
        {
            slot.grad_scale = *scale;
            continue;
        }
        let trained = model.params.iter().filter(|slot| slot.trained);
        let mut diagnostic = Diagnostic::new(
            Code::UnknownSetting,
            *span,
            format!("no trained parameter is called `{path}`"),
        );
        if let Some(near) = Diagnostics::nearest(path, trained.map(|slot| slot.path.as_str())) {
            diagnostic = diagnostic.with_help(format!("did you mean `{near}`?"));
        }
        diagnostics.push(diagnostic);
    }
}
