//! The model as text, for `--emit model` and snapshots: stable, without spans.

use super::model::{Expr, ExprKind, Fold, Model, Over, Side, Step, Type};
use crate::ir::{Binary, Boundary, Draw, NoiseKind, Reset, Unary};
use std::fmt::Write;

/// Prints the whole model.
pub fn dump(model: &Model) -> String {
    let mut out = String::new();
    write_model(model, &mut out).expect("writing to a string");
    out
}

fn write_model(model: &Model, out: &mut String) -> std::fmt::Result {
    writeln!(out, "network {}", model.name)?;
    for slot in &model.inputs {
        writeln!(out, "  input {} {:?}", slot.path, slot.dims)?;
    }
    for slot in &model.params {
        let word = if slot.trained { "trained" } else { "const" };
        write!(
            out,
            "  {word} {} {:?} {}",
            slot.path,
            slot.dims,
            draw(&slot.init)
        )?;
        if slot.grad_scale != 1.0 {
            write!(out, " grad_scale {}", slot.grad_scale)?;
        }
        writeln!(out)?;
    }
    for slot in &model.states {
        let word = if slot.trace { "trace" } else { "state" };
        write!(out, "  {word} {} {:?} = ", slot.path, slot.dims)?;
        match slot.first {
            Some(first) => write!(out, "{}", model.params[first.index()].path)?,
            None => write!(out, "{}", slot.init)?,
        }
        match slot.reset {
            Reset::Episode => {}
            Reset::Trial => write!(out, " reset trial")?,
            Reset::Never => write!(out, " reset never")?,
            Reset::Carry => write!(out, " reset carry")?,
            Reset::Stream => write!(out, " reset stream")?,
        }
        writeln!(out)?;
    }
    for first in &model.firsts {
        let path = &model.states[first.state.index()].path;
        writeln!(out, "  first {path} = {}", expr(model, &first.value))?;
    }
    for slot in &model.noises {
        writeln!(
            out,
            "  {} {} {:?} {}",
            match slot.kind {
                NoiseKind::Step => "noise",
                NoiseKind::Mask => "mask",
            },
            slot.path,
            slot.dims,
            draw(&slot.draw)
        )?;
    }
    for bundle in &model.bundles {
        writeln!(
            out,
            "  plastic {} [{} -> {}]{}",
            bundle.name,
            model.size(bundle.pre),
            model.size(bundle.post),
            bundle
                .rule
                .as_ref()
                .map_or(String::new(), |rule| format!(" using {rule}"))
        )?;
        if let Some(connections) = &bundle.connections {
            let (count, digest) = (connections.count(), connections.digest());
            writeln!(out, "    {count} connections, {digest}")?;
        }
    }
    for step in &model.order {
        match step {
            Step::Define(id) => {
                let definition = &model.definitions[id.index()];
                let word = match definition.kind {
                    super::model::DefKind::Value => "value",
                    super::model::DefKind::Modulator => "modulator",
                    super::model::DefKind::Output => "output",
                    super::model::DefKind::Received => "received",
                };
                writeln!(
                    out,
                    "  {word} {} {} = {}",
                    definition.path,
                    ty(model, definition.expr.ty),
                    expr(model, &definition.expr)
                )?;
            }
            Step::Next(id) => {
                if let Some(next) = &model.nexts[id.index()] {
                    writeln!(
                        out,
                        "  {} <- {}",
                        model.states[id.index()].path,
                        expr(model, next)
                    )?;
                }
            }
        }
    }
    if let Some(task) = &model.task {
        writeln!(out, "task {}", task.info.name)?;
        for (name, value) in task.settings.iter() {
            writeln!(out, "  {name} = {value}")?;
        }
    }
    if let Some(train) = &model.train {
        writeln!(out, "train {}", train.trainer.name)?;
        for (name, value) in train.settings.iter() {
            writeln!(out, "  {name} = {value}")?;
        }
        for loss in &train.losses {
            let (output, function, factor) = (&loss.output, loss.function, loss.factor);
            writeln!(out, "  loss {output} = {factor} * {function}")?;
        }
        writeln!(out, "  optimizer {}", train.optimizer.name)?;
        for (name, value) in train.optimizer_settings.iter() {
            writeln!(out, "    {name} = {value}")?;
        }
    }
    Ok(())
}

/// Prints a distribution as a spec writes it.
pub(crate) fn draw(draw: &Draw) -> String {
    match draw {
        Draw::Constant(value) => format!("= {value}"),
        Draw::Uniform(lo, hi) => format!("~ uniform({lo}, {hi})"),
        Draw::Normal(mean, deviation) => format!("~ normal({mean}, {deviation})"),
        Draw::Bernoulli(p) => format!("~ bernoulli({p})"),
        Draw::Identity(scale) => format!("~ identity({scale})"),
        // The content, wherever the file lies.
        Draw::Given(given) => match &given.file {
            Some((_, sha256)) => format!("= file of SHA-256 {sha256}"),
            None => format!("= {}", given.literal()),
        },
    }
}

fn ty(model: &Model, ty: Type) -> String {
    match ty {
        Type::Scalar => "[]".to_owned(),
        Type::Vector(size) => format!("[{}]", model.size(size)),
        Type::Element { pre, post, .. } => {
            let mut axes = Vec::new();
            if pre {
                axes.push("pre");
            }
            if post {
                axes.push("post");
            }
            format!("[{}]", axes.join(", "))
        }
        Type::Poison => "?".to_owned(),
    }
}

/// Prints an expression as a spec could write it.
pub(crate) fn expr(model: &Model, e: &Expr) -> String {
    let side = |side: &Side| match side {
        Side::Pre => "pre",
        Side::Post => "post",
    };
    match &e.kind {
        ExprKind::Number(value) => format!("{value}"),
        ExprKind::SizeOf(size) => format!("{}", model.size(*size)),
        ExprKind::Definition(id) => model.definitions[id.index()].path.clone(),
        ExprKind::Param(id) => model.params[id.index()].path.clone(),
        ExprKind::Input(id) => model.inputs[id.index()].path.clone(),
        ExprKind::State(id) => model.states[id.index()].path.clone(),
        ExprKind::Next(id) => format!("next {}", model.states[id.index()].path),
        ExprKind::Noise(id) => model.noises[id.index()].path.clone(),
        ExprKind::Unary(function, x) => format!("{}({})", unary(*function), expr(model, x)),
        ExprKind::Binary(function, a, b) => {
            let (a, b) = (expr(model, a), expr(model, b));
            match function {
                Binary::Add => format!("({a} + {b})"),
                Binary::Sub => format!("({a} - {b})"),
                Binary::Mul => format!("({a} * {b})"),
                Binary::Div => format!("({a} / {b})"),
                Binary::Pow => format!("({a} ^ {b})"),
                Binary::Less => format!("({a} < {b})"),
                Binary::LessEqual => format!("({a} <= {b})"),
                Binary::Equal => format!("({a} == {b})"),
                Binary::And => format!("({a} && {b})"),
                Binary::Or => format!("({a} || {b})"),
                Binary::Min => format!("min({a}, {b})"),
                Binary::Max => format!("max({a}, {b})"),
            }
        }
        ExprKind::Select(c, a, b) => format!(
            "select({}, {}, {})",
            expr(model, c),
            expr(model, a),
            expr(model, b)
        ),
        ExprKind::Clip(x, lo, hi, boundary) => {
            let x = expr(model, x);
            match boundary {
                Boundary::Inclusive => format!("clip({x}, {lo}, {hi})"),
                Boundary::Exclusive => format!("clip({x}, {lo}, {hi}, boundary = exclusive)"),
                Boundary::Half => format!("clip({x}, {lo}, {hi}, boundary = half)"),
                Boundary::StraightThrough => {
                    format!("clip({x}, {lo}, {hi}, boundary = straight_through)")
                }
            }
        }
        ExprKind::Reduce(fold, over, x) => {
            let fold = match fold {
                Fold::Sum => "sum",
                Fold::Mean => "mean",
                Fold::Max => "max",
                Fold::Norm => "norm",
            };
            match over {
                Over::Vector => format!("{fold}({})", expr(model, x)),
                Over::Side(s) => format!("{fold}_{}({})", side(s), expr(model, x)),
            }
        }
        ExprKind::Linear {
            x,
            weight,
            transposed,
            bias,
        } => {
            let turned = if *transposed { "'" } else { "" };
            let weight = &model.params[weight.index()].path;
            let bias = bias.map_or(String::new(), |b| {
                format!(" + {}", model.params[b.index()].path)
            });
            format!("({} @ {weight}{turned}{bias})", expr(model, x))
        }
        ExprKind::Softmax(x) => format!("softmax({})", expr(model, x)),
        ExprKind::LogSoftmax(x) => format!("log_softmax({})", expr(model, x)),
        ExprKind::TopK(x, k) => format!("topk({}, {k})", expr(model, x)),
        ExprKind::Concat(parts) => format!(
            "concat({})",
            parts
                .iter()
                .map(|part| expr(model, part))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        ExprKind::Slice(x, region) => {
            let region = model.regions[region.0 as usize];
            format!("{}[{} .. {}]", expr(model, x), region.start, region.end)
        }
        ExprKind::InRegion(s, region) => {
            let region = model.regions[region.0 as usize];
            format!("in {}[{} .. {}]", side(s), region.start, region.end)
        }
        ExprKind::Stop(x) => format!("stop({})", expr(model, x)),
        ExprKind::Convert(x) => match (x.ty, e.ty) {
            (Type::Vector(_), Type::Element { pre: true, .. }) => {
                format!("per_pre({})", expr(model, x))
            }
            _ => expr(model, x),
        },
        ExprKind::Poison => "?".to_owned(),
    }
}

fn unary(function: Unary) -> &'static str {
    match function {
        Unary::Neg => "-",
        Unary::Not => "!",
        other => other.mnemonic(),
    }
}
