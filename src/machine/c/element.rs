//! Operations on scalars as C expressions.

use crate::ir::{Binary, Bits, Boundary, Unary};
use crate::program::code::{Area, Element, Place};

/// A number as a C literal.
pub(crate) fn number(x: f32) -> String {
    if x.is_nan() {
        "NOT_A_NUMBER".to_owned()
    } else if x.is_infinite() {
        if x > 0.0 { "INF" } else { "(-INF)" }.to_owned()
    } else {
        format!("{x:e}f")
    }
}

/// The C name of the memory of an area.
pub(super) fn memory(area: Area) -> &'static str {
    match area {
        Area::Lane => "c.L",
        Area::Before => "c.B",
        Area::Record => "c.R",
        Area::RecordBefore => "c.RB",
        Area::Shared => "c.S",
    }
}

/// The C name of the memory that results of a sweep go to.
pub(super) fn written(area: Area) -> &'static str {
    match area {
        Area::Before => "c.B",
        Area::Lane | Area::Record | Area::RecordBefore | Area::Shared => "c.L",
    }
}

/// Element `index` of the value at a place.
pub(super) fn at(place: Place, index: &str) -> String {
    let memory = memory(place.area);
    match place.stride {
        0 => format!("{memory}[{}]", place.at),
        1 => format!("{memory}[{} + {index}]", place.at),
        stride => format!("{memory}[{} + {stride} * ({index})]", place.at),
    }
}

/// The expression of `f` for these operands.
pub(super) fn expression(f: Element, operands: &[String]) -> String {
    let [a, b, c] = [0, 1, 2].map(|k| operands.get(k).map_or("", String::as_str));
    let bound = |bits: Bits| number(bits.get() as f32);
    match f {
        Element::Unary(f) => unary(f, a),
        Element::Binary(f) => binary(f, a, b),
        Element::Select => format!("({a} == 0.0f ? {c} : {b})"),
        Element::Copy => a.to_owned(),
        Element::Clip(lo, hi) => format!("f_clip({a}, {}, {})", bound(lo), bound(hi)),
        Element::ClipMask(lo, hi, boundary) => inside(a, &bound(lo), &bound(hi), boundary),
        Element::MulAdd => format!("fmaf({a}, {b}, {c})"),
        Element::MulSub => format!("fmaf({a}, {b}, -({c}))"),
        Element::NegMulAdd => format!("fmaf(-({a}), {b}, {c})"),
        Element::PowerOfTwo => format!("exp2f({a})"),
        Element::Gate => format!("({b} == 0.0f ? 0.0f : {a})"),
    }
}

/// The expression of a truth that is a mask, a C condition; `masks` says which operands are.
pub(super) fn condition(f: Element, operands: &[String], masks: [bool; 2]) -> String {
    let [a, b] = [0, 1].map(|k| operands.get(k).map_or("", String::as_str));
    let bound = |bits: Bits| number(bits.get() as f32);
    let holds = |x: &str, mask: bool| match mask {
        true => x.to_owned(),
        false => format!("{x} != 0.0f"),
    };
    match f {
        Element::Binary(Binary::Less) => format!("{a} < {b}"),
        Element::Binary(Binary::LessEqual) => format!("{a} <= {b}"),
        Element::Binary(Binary::Equal) => format!("{a} == {b}"),
        Element::Binary(Binary::And) => {
            format!("{} && {}", holds(a, masks[0]), holds(b, masks[1]))
        }
        Element::ClipMask(lo, hi, Boundary::Exclusive) => {
            format!("{a} > {} && {a} < {}", bound(lo), bound(hi))
        }
        Element::ClipMask(lo, hi, _) => format!("{a} >= {} && {a} <= {}", bound(lo), bound(hi)),
        other => format!("{} != 0.0f", expression(other, operands)),
    }
}

/// The expression of what a mask opens or chooses.
pub(super) fn opened(f: Element, operands: &[String]) -> String {
    match (f, operands) {
        (Element::Gate, [x, mask]) => format!("({mask} ? {x} : 0.0f)"),
        (Element::Select, [mask, x, y]) => format!("({mask} ? {x} : {y})"),
        (other, _) => expression(other, operands),
    }
}

fn unary(f: Unary, a: &str) -> String {
    match f {
        Unary::Neg => format!("(-({a}))"),
        Unary::Tanh => format!("tanhf({a})"),
        Unary::Sigmoid => format!("f_sigmoid({a})"),
        Unary::Relu => format!("({a} < 0.0f ? 0.0f : {a})"),
        Unary::Softplus => format!("f_softplus({a})"),
        Unary::Exp => format!("expf({a})"),
        Unary::Log => format!("logf({a})"),
        Unary::Sqrt => format!("sqrtf({a})"),
        Unary::Abs => format!("fabsf({a})"),
        Unary::Sign => format!("(f_truth({a} > 0.0f) - f_truth({a} < 0.0f))"),
        Unary::Square => format!("({a} * {a})"),
        Unary::Recip => format!("(1.0f / {a})"),
        Unary::Sin => format!("sinf({a})"),
        Unary::Cos => format!("cosf({a})"),
        Unary::Not => format!("f_truth({a} == 0.0f)"),
    }
}

fn binary(f: Binary, a: &str, b: &str) -> String {
    match f {
        Binary::Add => format!("({a} + {b})"),
        Binary::Sub => format!("({a} - {b})"),
        Binary::Mul => format!("({a} * {b})"),
        Binary::Div => format!("({a} / {b})"),
        Binary::Min => format!("({b} < {a} ? {b} : {a})"),
        Binary::Max => format!("({a} < {b} ? {b} : {a})"),
        Binary::Pow => format!("powf({a}, {b})"),
        Binary::Less => format!("f_truth({a} < {b})"),
        Binary::LessEqual => format!("f_truth({a} <= {b})"),
        Binary::Equal => format!("f_truth({a} == {b})"),
        Binary::And => format!("f_truth({a} != 0.0f && {b} != 0.0f)"),
        Binary::Or => format!("f_truth({a} != 0.0f || {b} != 0.0f)"),
    }
}

/// The expression of a clip's derivative.
fn inside(x: &str, lo: &str, hi: &str, boundary: Boundary) -> String {
    match boundary {
        Boundary::Inclusive => format!("f_truth({x} >= {lo} && {x} <= {hi})"),
        Boundary::Exclusive => format!("f_truth({x} > {lo} && {x} < {hi})"),
        Boundary::Half => format!(
            "(0.5f * (f_truth({x} >= {lo} && {x} <= {hi}) + f_truth({x} > {lo} && {x} < {hi})))"
        ),
        Boundary::StraightThrough => "1.0f".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_c_and_keep_their_bits() {
        assert_eq!(number(1.0), "1e0f");
        assert_eq!(number(f32::NEG_INFINITY), "(-INF)");
        for x in [0.1, -1.0 / 3.0, f32::MIN_POSITIVE, f32::MAX, -0.0] {
            let text = number(x);
            let back: f32 = text.trim_end_matches('f').parse().unwrap();
            assert_eq!(back.to_bits(), x.to_bits(), "{text}");
        }
    }
}
