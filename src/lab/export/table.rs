//! The table of dialects: a row for an operation, a column for a dialect. ONNX has operators in the place of texts.
//!
//! `{0}`, `{1}` and `{2}` are the operands, `{all}` is all of them; `{shape}` is the shape of the result, `{spread}`
//! that of the operand among the axes of the result; the other words are attributes of the operation.

use super::Dialect;

/// One operation.
pub(super) struct Row {
    /// The name in printed graphs; attributes that change the text are part of it.
    pub op: &'static str,
    numpy: &'static str,
    pytorch: &'static str,
    /// An operator of ONNX: on its own, `twice` the operand, or giving a `truth` of numbers or of `truths`. Empty for
    /// operations with attributes, which have code of their own.
    pub onnx: &'static str,
}

impl Row {
    /// The text in a dialect.
    pub(super) fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Numpy => self.numpy,
            Dialect::Pytorch => self.pytorch,
        }
    }
}

const fn same(op: &'static str, text: &'static str, onnx: &'static str) -> Row {
    row(op, text, text, onnx)
}

const fn row(
    op: &'static str,
    numpy: &'static str,
    pytorch: &'static str,
    onnx: &'static str,
) -> Row {
    Row {
        op,
        numpy,
        pytorch,
        onnx,
    }
}

/// The row of an operation.
pub(super) fn find(op: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.op == op)
}

/// All operations of a step.
pub(super) const ROWS: &[Row] = &[
    same("neg", "-{0}", "Neg"),
    row("tanh", "np.tanh({0})", "torch.tanh({0})", "Tanh"),
    row("sigmoid", "np.exp(-np.logaddexp(0, -{0}))", "torch.sigmoid({0})", "Sigmoid"),
    row("relu", "np.maximum({0}, 0)", "torch.relu({0})", "Relu"),
    row("softplus", "np.logaddexp(0, {0})", "torch.logaddexp({0}, torch.zeros_like({0}))", "Softplus"),
    row("exp", "np.exp({0})", "torch.exp({0})", "Exp"),
    row("log", "np.log({0})", "torch.log({0})", "Log"),
    row("sqrt", "np.sqrt({0})", "torch.sqrt({0})", "Sqrt"),
    row("abs", "np.abs({0})", "torch.abs({0})", "Abs"),
    row("sign", "np.sign({0})", "torch.sign({0})", "Sign"),
    same("square", "{0} * {0}", "twice Mul"),
    same("recip", "1 / {0}", "Reciprocal"),
    row("sin", "np.sin({0})", "torch.sin({0})", "Sin"),
    row("cos", "np.cos({0})", "torch.cos({0})", "Cos"),
    same("not", "truth({0} == 0)", "truths Not"),
    same("add", "{0} + {1}", "Add"),
    same("sub", "{0} - {1}", "Sub"),
    same("mul", "{0} * {1}", "Mul"),
    same("div", "{0} / {1}", "Div"),
    row("min", "np.minimum({0}, {1})", "torch.minimum({0}, {1})", "Min"),
    row("max", "np.maximum({0}, {1})", "torch.maximum({0}, {1})", "Max"),
    same("pow", "{0} ** {1}", "Pow"),
    same("less", "truth({0} < {1})", "truth Less"),
    same("less_equal", "truth({0} <= {1})", "truth LessOrEqual"),
    same("equal", "truth({0} == {1})", "truth Equal"),
    same("and", "truth(({0} != 0) & ({1} != 0))", "truths And"),
    same("or", "truth(({0} != 0) | ({1} != 0))", "truths Or"),
    row("select", "np.where({0} != 0, {1}, {2})", "torch.where({0} != 0, {1}, {2})", ""),
    row("clip", "np.clip({0}, {lo}, {hi})", "torch.clamp({0}, {lo}, {hi})", ""),
    row("broadcast", "np.broadcast_to({0}.reshape({spread}), {shape})", "{0}.reshape({spread}).expand({shape})", ""),
    row("reduce_sum", "{0}.sum(axis={axes})", "{0}.sum(dim={axes})", ""),
    row("reduce_max", "{0}.max(axis={axes})", "{0}.amax(dim={axes})", ""),
    row("lane_sum", "{0}.sum(axis=0)", "{0}.sum(dim=0)", ""),
    same("reshape", "{0}.reshape({shape})", ""),
    row("concat", "np.concatenate([{all}], axis=-1)", "torch.cat([{all}], dim=-1)", ""),
    same("slice", "{0}[..., {start}:{end}]", ""),
    row("pad", "np.pad({0}, {widths})", "torch.nn.functional.pad({0}, ({before}, {after}))", ""),
    row("range_mask", "truth(np.arange({size}) == np.clip(np.arange({size}), {start}, {end} - 1))", "truth(torch.arange({size}, device=device) == torch.clamp(torch.arange({size}, device=device), {start}, {end} - 1))", ""),
    same("mat_vec", "{0} @ {1}", "MatMul"),
    same("mat_vec transposed", "{0} @ {1}.T", ""),
    row("outer", "np.einsum({form}, {0}, {1})", "torch.einsum({form}, {0}, {1})", ""),
    row("softmax", "softmax({0})", "torch.softmax({0}, dim=-1)", ""),
    row("stop_gradient", "{0}", "{0}.detach()", "Identity"),
];

/// Tells if a number can stand for an operand of this operation, beside another operand.
pub(super) fn takes_numbers(op: &str) -> bool {
    matches!(
        op,
        "add" | "sub" | "mul" | "div" | "pow" | "less" | "less_equal" | "equal"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, Unary};

    #[test]
    fn every_function_has_a_row() {
        for name in Unary::ALL.map(Unary::mnemonic) {
            assert!(find(name).is_some_and(|row| !row.onnx.is_empty()), "{name}");
        }
        for name in Binary::ALL.map(Binary::mnemonic) {
            assert!(find(name).is_some_and(|row| !row.onnx.is_empty()), "{name}");
        }
        for (k, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..k].iter().all(|other| other.op != row.op),
                "{}",
                row.op
            );
        }
    }
}
