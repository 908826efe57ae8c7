//! Expressions of the model in the notation of papers: indices as subscripts, brackets only if needed.

use super::precedence::{fold_index, index, is_open, is_stretched, level, smallest, Precedence};
use crate::ir::{Binary, Boundary, Unary};
use crate::lab::report::figures::number::exact;
use crate::lang::sema::model::{Expr, ExprKind, Fold, Model, Over, Type};

/// A piece of a formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text on the line.
    Text(String),
    /// A subscript.
    Sub(String),
}

/// A formula.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formula(pub Vec<Piece>);

impl Formula {
    /// A name with its indices.
    pub fn name(name: &str, axes: &str) -> Formula {
        let mut formula = Formula::default();
        formula.text(name);
        formula.sub(axes);
        formula
    }

    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    fn sub(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.push(Piece::Sub(text.to_owned()));
        }
    }

    /// The formula in one line of text: `hebb_ij`.
    pub fn plain(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Sub(text) => format!("_{text}"),
        };
        self.0.iter().map(piece).collect()
    }
}

/// The indices of a type: `i` for presynaptic neurons, `j` for postsynaptic neurons.
pub fn axes(ty: Type) -> &'static str {
    match ty {
        Type::Element { pre, post, .. } => match (pre, post) {
            (true, true) => "ij",
            (true, false) => "i",
            (false, true) => "j",
            (false, false) => "",
        },
        Type::Scalar | Type::Vector(_) | Type::Poison => "",
    }
}

/// The formula of an expression.
pub fn formula(model: &Model, expr: &Expr) -> Formula {
    let mut writer = Writer {
        model,
        out: Formula::default(),
    };
    writer.expr(expr, Precedence::Or);
    writer.out
}

struct Writer<'a> {
    model: &'a Model,
    out: Formula,
}

impl Writer<'_> {
    /// Writes `expr`, in brackets if it binds less strongly than `least`.
    fn expr(&mut self, expr: &Expr, least: Precedence) {
        let bracketed = level(expr) < least;
        if bracketed {
            self.out.text("(");
        }
        self.bare(expr);
        if bracketed {
            self.out.text(")");
        }
    }

    fn named(&mut self, name: &str, ty: Type) {
        self.out.text(name);
        self.out.sub(axes(ty));
    }

    fn call(&mut self, name: &str, arguments: &[&Expr]) {
        self.out.text(name);
        self.out.text("(");
        for (k, argument) in arguments.iter().enumerate() {
            if k > 0 {
                self.out.text(", ");
            }
            self.expr(argument, Precedence::Or);
        }
        self.out.text(")");
    }

    fn bare(&mut self, expr: &Expr) {
        let model = self.model;
        match &expr.kind {
            ExprKind::Number(value) => self.out.text(&exact(*value)),
            ExprKind::SizeOf(size) => self.out.text(&model.size(*size).to_string()),
            ExprKind::Definition(id) => {
                self.named(&model.definitions[id.index()].path, expr.ty);
            }
            ExprKind::Param(id) => self.named(&model.params[id.index()].path, expr.ty),
            ExprKind::Input(id) => self.named(&model.inputs[id.index()].path, expr.ty),
            ExprKind::State(id) => self.named(&model.states[id.index()].path, expr.ty),
            ExprKind::Next(id) => {
                self.out.text("next ");
                self.named(&model.states[id.index()].path, expr.ty);
            }
            ExprKind::Noise(id) => self.named(&model.noises[id.index()].path, expr.ty),
            ExprKind::Unary(function, x) => self.unary(*function, x),
            ExprKind::Binary(function, a, b) => self.binary(*function, a, b),
            ExprKind::Select(condition, a, b) => {
                self.out.text("if ");
                self.expr(condition, Precedence::And);
                self.out.text(" then ");
                self.expr(a, Precedence::And);
                self.out.text(" else ");
                self.expr(b, Precedence::And);
            }
            ExprKind::Clip(x, lo, hi, boundary) => {
                self.out.text("clip(");
                self.expr(x, Precedence::Or);
                let boundary = match boundary {
                    Boundary::Inclusive => "",
                    Boundary::Exclusive => ", boundary = exclusive",
                    Boundary::Half => ", boundary = half",
                    Boundary::StraightThrough => ", boundary = straight_through",
                };
                self.out
                    .text(&format!(", {}, {}{boundary})", exact(*lo), exact(*hi)));
            }
            ExprKind::Reduce(fold, over, x) => self.reduce(*fold, *over, x),
            ExprKind::Linear {
                x,
                weight,
                transposed,
                bias,
            } => {
                self.expr(x, Precedence::Product);
                let turned = if *transposed { "ᵀ" } else { "" };
                let weight = &model.params[weight.index()].path;
                self.out.text(&format!(" · {weight}{turned}"));
                if let Some(bias) = bias {
                    let bias = &model.params[bias.index()].path;
                    self.out.text(&format!(" + {bias}"));
                }
            }
            ExprKind::Softmax(x) => self.call("softmax", &[x]),
            ExprKind::LogSoftmax(x) => self.call("log_softmax", &[x]),
            ExprKind::TopK(x, k) => self.call(&format!("top{k}"), &[x]),
            ExprKind::Concat(parts) => {
                let parts: Vec<&Expr> = parts.iter().collect();
                self.call("concat", &parts);
            }
            ExprKind::Slice(x, region) => {
                self.expr(x, Precedence::Atom);
                let region = model.regions[region.0 as usize];
                self.out
                    .text(&format!("[{} … {}]", region.start, region.end));
            }
            ExprKind::InRegion(side, region) => {
                let region = model.regions[region.0 as usize];
                let index = index(*side);
                self.out
                    .text(&format!("[{index} in {} … {}]", region.start, region.end));
            }
            ExprKind::Stop(x) => self.call("stop", &[x]),
            ExprKind::Convert(x) => self.convert(x, expr.ty),
            ExprKind::Poison => self.out.text("?"),
        }
    }

    /// Writes a conversion: a vector used per connection gets the index of its side; other changes of axes
    /// are not written.
    fn convert(&mut self, x: &Expr, ty: Type) {
        let indexed = matches!(x.ty, Type::Vector(_)) && !axes(ty).is_empty();
        if !indexed {
            self.bare(x);
        } else if let Some(name) = self.bare_name(x) {
            self.named(&name, ty);
        } else {
            self.out.text("(");
            self.bare(x);
            self.out.text(")");
            self.out.sub(axes(ty));
        }
    }

    fn bare_name(&self, x: &Expr) -> Option<String> {
        let model = self.model;
        match &x.kind {
            ExprKind::Definition(id) => Some(model.definitions[id.index()].path.clone()),
            ExprKind::Param(id) => Some(model.params[id.index()].path.clone()),
            ExprKind::Input(id) => Some(model.inputs[id.index()].path.clone()),
            ExprKind::State(id) => Some(model.states[id.index()].path.clone()),
            ExprKind::Next(id) => Some(format!("next {}", model.states[id.index()].path)),
            ExprKind::Noise(id) => Some(model.noises[id.index()].path.clone()),
            _ => None,
        }
    }

    fn unary(&mut self, function: Unary, x: &Expr) {
        if let Some((over, x)) = smallest(function, x) {
            return self.fold("min", fold_index(over, x), x);
        }
        let name = match function {
            Unary::Neg => {
                self.out.text("−");
                return self.expr(x, Precedence::Sign);
            }
            Unary::Not => {
                self.out.text("not ");
                return self.expr(x, Precedence::Sign);
            }
            Unary::Abs => {
                self.out.text("|");
                self.expr(x, Precedence::Or);
                return self.out.text("|");
            }
            Unary::Square => {
                self.expr(x, Precedence::Atom);
                return self.out.text("²");
            }
            Unary::Recip => {
                self.out.text("1 / ");
                return self.expr(x, Precedence::Sign);
            }
            named => named.mnemonic(),
        };
        self.call(name, &[x]);
    }

    fn binary(&mut self, function: Binary, a: &Expr, b: &Expr) {
        let vector = |x: &Expr| matches!(x.ty, Type::Vector(_)) && !is_stretched(x);
        let product = if vector(a) && vector(b) {
            " ∘ "
        } else {
            " · "
        };
        // The right operand of `-` and `/` needs brackets even at a level where the left one needs none.
        let (sign, left, right) = match function {
            Binary::Add => (" + ", Precedence::Sum, Precedence::Sum),
            Binary::Sub => (" − ", Precedence::Sum, Precedence::Product),
            Binary::Mul => (product, Precedence::Product, Precedence::Product),
            Binary::Div => (" / ", Precedence::Product, Precedence::Sign),
            Binary::Pow => ("^", Precedence::Atom, Precedence::Power),
            Binary::Less => (" < ", Precedence::Sum, Precedence::Sum),
            Binary::LessEqual => (" ≤ ", Precedence::Sum, Precedence::Sum),
            Binary::Equal => (" = ", Precedence::Sum, Precedence::Sum),
            Binary::And => (" and ", Precedence::And, Precedence::And),
            Binary::Or => (" or ", Precedence::Or, Precedence::Or),
            Binary::Min => return self.call("min", &[a, b]),
            Binary::Max => return self.call("max", &[a, b]),
        };
        // `Σ_i h_i · y_j` would be the sum of the products.
        let open = matches!(function, Binary::Mul | Binary::Div) && is_open(a);
        self.expr(a, if open { Precedence::Atom } else { left });
        self.out.text(sign);
        self.expr(b, right);
    }

    /// Writes `max_i h_i`, or `max_i(h_i + 1)` and `max(x)`.
    fn fold(&mut self, name: &str, index: &str, x: &Expr) {
        self.out.text(name);
        self.out.sub(index);
        if !index.is_empty() && level(x) >= Precedence::Power {
            self.out.text(" ");
            return self.expr(x, Precedence::Power);
        }
        self.out.text("(");
        self.expr(x, Precedence::Or);
        self.out.text(")");
    }

    fn reduce(&mut self, fold: Fold, over: Over, x: &Expr) {
        let side = fold_index(over, x);
        let name = match fold {
            Fold::Sum => {
                self.out.text("Σ");
                self.out.sub(side);
                self.out.text(" ");
                return self.expr(x, Precedence::Product);
            }
            Fold::Mean => "mean",
            Fold::Max => return self.fold("max", side, x),
            Fold::Norm => "norm",
        };
        self.out.text(name);
        self.out.sub(side);
        self.out.text("(");
        self.expr(x, Precedence::Or);
        self.out.text(")");
    }
}
