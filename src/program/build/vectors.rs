//! Instructions on scalars and vectors, outside sweeps.

use super::partition::Class;
use super::{element, three, Assembler};
use crate::ir::{Op, Reduction, ValueId};
use crate::program::code::{Instr, Product};
use crate::program::layout::{Form, Layout};
use crate::program::unsupported::Unsupported;

impl Assembler<'_> {
    /// Returns true if a needed value has an instruction of its own outside sweeps.
    pub(crate) fn is_vector_code(&self, id: ValueId) -> bool {
        let value = self.graph.value(id);
        if self.is_given(id) || self.leaf(id).is_some() || self.behind(id).0 != id {
            return false;
        }
        match value.op {
            Op::Outer => true,
            // It is gathered where it is read.
            Op::Gather(_) => false,
            Op::LaneSum | Op::Reduce { .. } => self.rank(value.operands[0]) < 2,
            _ => value.shape.dims.len() < 2,
        }
    }

    pub(crate) fn vector(&mut self, id: ValueId) -> Result<(), Unsupported> {
        let value = self.graph.value(id).clone();
        let n = self.elements(id);
        match &value.op {
            Op::LaneSum => {
                let operand = value.operands[0];
                let a = self.place(operand)?;
                let sum = self.sum_at(id, Form::Plain);
                self.out.instrs.push(Instr::AddTo { sum, a, n });
                return Ok(());
            }
            Op::Outer => {
                let a = self.place(value.operands[0])?;
                let b = self.place(value.operands[1])?;
                let sum = self.sum_at(id, Form::Plain);
                let (rows, cols) = (value.shape.dims[0], value.shape.dims[1]);
                self.out.instrs.push(Instr::AddOuter {
                    sum,
                    a,
                    b,
                    rows,
                    cols,
                });
                return Ok(());
            }
            _ => {}
        }
        match &value.op {
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Clip { .. } | Op::ClipMask { .. } => {
                let f = element(&value.op)?;
                let mut places = Vec::with_capacity(3);
                for operand in &value.operands {
                    places.push(self.place(*operand)?);
                }
                let to = self.target(id);
                self.out.instrs.push(Instr::Element {
                    f,
                    to,
                    operands: three(&places),
                    n,
                });
            }
            Op::Reduce { kind, .. } => {
                let a = self.place(value.operands[0])?;
                let n = self.elements(value.operands[0]);
                let to = self.target(id);
                self.out.instrs.push(match kind {
                    Reduction::Sum => Instr::Sum { to, a, n },
                    Reduction::Max => Instr::Max { to, a, n },
                });
            }
            Op::Softmax => {
                let a = self.place(value.operands[0])?;
                let to = self.target(id);
                self.out.instrs.push(Instr::Softmax { to, a, n });
            }
            Op::Concat => {
                let mut parts = Vec::new();
                for operand in &value.operands {
                    parts.push((self.place(*operand)?, self.elements(*operand)));
                }
                let mut to = self.target(id);
                for (a, n) in parts {
                    self.out.instrs.push(Instr::Copy { to, a, n });
                    to += n;
                }
            }
            Op::Slice { start, .. } => {
                let mut a = self.place(value.operands[0])?;
                a.at += start * a.stride;
                let to = self.target(id);
                self.out.instrs.push(Instr::Copy { to, a, n });
            }
            Op::Pad { before, .. } => {
                let a = self.place(value.operands[0])?;
                let inner = self.elements(value.operands[0]);
                let to = self.target(id);
                self.out.instrs.push(Instr::Zero { to, n });
                self.out.instrs.push(Instr::Copy {
                    to: to + before,
                    a,
                    n: inner,
                });
            }
            Op::Scatter(indices) => {
                let indices = self.number(indices)?;
                let from = self.elements(value.operands[0]);
                let a = self.place(value.operands[0])?;
                let to = self.target(id);
                self.out.instrs.push(Instr::Scatter {
                    to,
                    a,
                    indices,
                    from,
                    n,
                });
            }
            Op::MatVec { transposed } => {
                let v = self.place(value.operands[0])?;
                let (matrix, _) = self.behind(value.operands[1]);
                if self.classes[matrix.index()] != Class::Prologue || self.rank(matrix) != 2 {
                    return Err(Unsupported("a matrix that changes from step to step"));
                }
                let layout = self.layout(matrix);
                let turned = Layout {
                    rows: layout.cols,
                    cols: layout.rows,
                };
                // The product maps `ins` elements to `outs`; the longer of the two makes the inner loop.
                let (ins, outs) = match *transposed {
                    false => (layout.rows, layout.cols),
                    true => (layout.cols, layout.rows),
                };
                let product = if outs >= ins {
                    Product::ScaledRows
                } else {
                    Product::RowProducts
                };
                let (form, rows, cols) = match (product, *transposed) {
                    (Product::ScaledRows, false) => (Form::Panels(layout), ins, outs),
                    (Product::ScaledRows, true) => (Form::Transposed(turned), ins, outs),
                    (Product::RowProducts, false) => (Form::TransposedRows(turned), outs, ins),
                    (Product::RowProducts, true) => (Form::Rows(layout), outs, ins),
                };
                let m = self.shared(matrix, form);
                let to = self.target(id);
                self.out.instrs.push(Instr::MatVec {
                    to,
                    v,
                    m,
                    rows,
                    cols,
                    form: product,
                });
            }
            Op::Broadcast { .. } | Op::Reshape { .. } => {
                return Err(Unsupported("a change of dimensions"));
            }
            Op::Param(_)
            | Op::Input(_)
            | Op::State(_)
            | Op::Noise(_)
            | Op::Const(_)
            | Op::Seed(_)
            | Op::AdjointIn(_)
            | Op::RangeMask { .. }
            | Op::Gather(_)
            | Op::StopGradient
            | Op::LaneSum
            | Op::Outer => {}
        }
        Ok(())
    }
}
