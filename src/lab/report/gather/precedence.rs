//! The binding strength of the parts of a formula, which decides where brackets stand.

use super::formula::axes;
use crate::ir::{Binary, Unary};
use crate::lang::sema::model::{Expr, ExprKind, Fold, Over, Side, Type};

/// The binding strength of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    /// `or`, and choices.
    Or,
    /// `and`.
    And,
    /// Comparisons.
    Comparison,
    /// Sums.
    Sum,
    /// Products, and folds that are open to the right.
    Product,
    /// Signs.
    Sign,
    /// Powers.
    Power,
    /// Names, numbers and calls.
    Atom,
}

/// The index of a side.
pub(super) fn index(side: Side) -> &'static str {
    match side {
        Side::Pre => "i",
        Side::Post => "j",
    }
}

/// The index that a fold runs over.
pub(super) fn fold_index(over: Over, x: &Expr) -> &'static str {
    match over {
        Over::Vector => match &x.kind {
            // A vector of a bundle's neurons is written with their index.
            ExprKind::Convert(inner) if axes(x.ty).is_empty() => fold_index(over, inner),
            _ => axes(x.ty),
        },
        Over::Side(side) => index(side),
    }
}

/// The operand of a smallest element, which the model has as `−max(−x)`.
pub(super) fn smallest(function: Unary, x: &Expr) -> Option<(Over, &Expr)> {
    match (function, &x.kind) {
        (Unary::Neg, ExprKind::Reduce(Fold::Max, over, inner)) => match &inner.kind {
            ExprKind::Unary(Unary::Neg, x) => Some((*over, x)),
            _ => None,
        },
        _ => None,
    }
}

/// The level of a largest or smallest element: open to the right without brackets.
pub(super) fn fold_level(over: Over, x: &Expr) -> Precedence {
    let open = !fold_index(over, x).is_empty() && level(x) >= Precedence::Power;
    if open {
        Precedence::Product
    } else {
        Precedence::Atom
    }
}

/// Tells if a factor behind an expression would be read as part of the fold at its end.
pub(super) fn is_open(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Reduce(Fold::Sum, ..) => true,
        ExprKind::Reduce(Fold::Max, over, x) => fold_level(*over, x) < Precedence::Atom,
        ExprKind::Unary(Unary::Neg, x) => match smallest(Unary::Neg, x) {
            Some((over, x)) => fold_level(over, x) < Precedence::Atom,
            None => level(x) >= Precedence::Sign && is_open(x),
        },
        ExprKind::Binary(Binary::Mul, _, b) => level(b) >= Precedence::Product && is_open(b),
        ExprKind::Convert(x) => level(expr) < Precedence::Atom && is_open(x),
        _ => false,
    }
}

/// Returns true if a value is a scalar that was stretched to a vector.
pub(super) fn is_stretched(x: &Expr) -> bool {
    match &x.kind {
        ExprKind::Convert(inner) => matches!(inner.ty, Type::Scalar),
        _ => false,
    }
}

/// The binding strength of an expression as it is written.
pub(super) fn level(expr: &Expr) -> Precedence {
    match &expr.kind {
        ExprKind::Number(value) if *value < 0.0 => Precedence::Sign,
        ExprKind::Unary(function @ (Unary::Neg | Unary::Not), x) => match smallest(*function, x) {
            Some((over, x)) => fold_level(over, x),
            None => Precedence::Sign,
        },
        ExprKind::Unary(Unary::Square, _) => Precedence::Power,
        ExprKind::Unary(Unary::Recip, _) => Precedence::Product,
        ExprKind::Binary(function, ..) => match function {
            Binary::Add | Binary::Sub => Precedence::Sum,
            Binary::Mul | Binary::Div => Precedence::Product,
            Binary::Pow => Precedence::Power,
            Binary::Less | Binary::LessEqual | Binary::Equal => Precedence::Comparison,
            Binary::And => Precedence::And,
            Binary::Or => Precedence::Or,
            Binary::Min | Binary::Max => Precedence::Atom,
        },
        ExprKind::Select(..) => Precedence::Or,
        ExprKind::Linear { bias, .. } => match bias {
            Some(_) => Precedence::Sum,
            None => Precedence::Product,
        },
        ExprKind::Reduce(Fold::Sum, ..) => Precedence::Product,
        ExprKind::Reduce(Fold::Max, over, x) => fold_level(*over, x),
        ExprKind::Convert(x) => {
            let indexed = matches!(x.ty, Type::Vector(_)) && !axes(expr.ty).is_empty();
            if indexed {
                Precedence::Atom
            } else {
                level(x)
            }
        }
        ExprKind::Number(_)
        | ExprKind::SizeOf(_)
        | ExprKind::Definition(_)
        | ExprKind::Param(_)
        | ExprKind::Input(_)
        | ExprKind::State(_)
        | ExprKind::Next(_)
        | ExprKind::Noise(_)
        | ExprKind::Unary(..)
        | ExprKind::Clip(..)
        | ExprKind::Reduce(..)
        | ExprKind::Softmax(_)
        | ExprKind::LogSoftmax(_)
        | ExprKind::TopK(..)
        | ExprKind::Concat(_)
        | ExprKind::Slice(..)
        | ExprKind::InRegion(..)
        | ExprKind::Stop(_)
        | ExprKind::Poison => Precedence::Atom,
    }
}
