//! Values that stages without states can compute.

use crate::ir::{Graph, Op, ValueId};

/// Tells if all rows (steps of all lanes) of a value can be computed at once, and those of its adjoint, too.
pub(super) fn supported(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    if !value.shape.lane {
        return true;
    }
    let small = value.shape.dims.len() < 2
        && value.operands.iter().all(|o| {
            let shape = graph.shape(*o);
            !shape.lane || shape.dims.len() < 2
        });
    let known = match value.op {
        Op::Input(_)
        | Op::Noise(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Clip { .. }
        | Op::ClipMask { .. }
        | Op::Broadcast { .. }
        | Op::Reduce { .. }
        | Op::Reshape { .. }
        | Op::Concat
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Softmax
        | Op::StopGradient => true,
        Op::MatVec { .. } => !graph.shape(value.operands[1]).lane,
        Op::Param(_)
        | Op::State(_)
        | Op::Const(_)
        | Op::Seed(_)
        | Op::AdjointIn(_)
        | Op::LaneSum
        | Op::RangeMask { .. }
        | Op::Gather(_)
        | Op::Scatter(_)
        | Op::Outer => false,
    };
    small && known
}
