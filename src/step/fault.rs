//! Faults of the compiler itself.

pub use crate::ir::InternalFault;
use crate::ir::{verify, Graph, GraphKind};

/// Checks a graph that a stage has made.
///
/// # Errors
/// Where it breaks the rules of the IR.
pub(crate) fn verified(
    stage: &'static str,
    graph: &Graph,
    kind: GraphKind,
) -> Result<(), InternalFault> {
    let faults = verify(graph, kind);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(InternalFault { stage, faults })
    }
}
