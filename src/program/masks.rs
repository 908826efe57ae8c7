//! Masks: truths of a sweep that machines need not hold as the numbers 1 and 0.

use super::code::{Element, RowOp, Source, Sweep};
use super::extent::Extent;
use crate::ir::Binary;

/// The temporaries that are masks: truths that only open gates, choose, or are combined to such.
pub(crate) fn masks(sweep: &Sweep, extents: &[Extent]) -> Vec<bool> {
    let can = |op: &RowOp| {
        let has_mask = match op.f {
            Element::Binary(f) => f != Binary::Or,
            Element::ClipMask(..) => true,
            _ => false,
        };
        op.f.is_truth() && has_mask && extents[op.to] == Extent::Connection
    };
    let mut masks: Vec<bool> = sweep.ops.iter().map(can).collect();
    let refuse = |masks: &mut [bool], source: Source| {
        if let Source::Temporary(k) = source {
            masks[k] = false;
        }
    };
    for root in &sweep.roots {
        for source in [Some(root.value), root.times].into_iter().flatten() {
            refuse(&mut masks, source);
        }
    }
    for op in sweep.ops.iter().rev() {
        for (at, source) in op.operands[..op.f.arity()].iter().enumerate() {
            let opens = match op.f {
                Element::Gate => at == 1,
                Element::Select => at == 0,
                Element::Binary(Binary::And) => masks[op.to],
                _ => false,
            };
            if !opens {
                refuse(&mut masks, *source);
            }
        }
    }
    masks
}
