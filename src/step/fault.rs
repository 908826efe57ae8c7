//! Faults of the compiler itself.

use crate::ir::{verify, Graph, GraphKind};

/// The compiler broke one of its own invariants.
#[derive(Debug, thiserror::Error)]
#[error("the compiler made a graph that breaks its own rules ({stage}): {}", faults.join("; "))]
pub struct InternalFault {
    /// After which stage.
    pub stage: &'static str,
    /// What the verifier says.
    pub faults: Vec<String>,
}

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
