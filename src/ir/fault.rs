//! Faults of the compiler itself.

/// The compiler broke one of its own invariants.
#[derive(Debug, thiserror::Error)]
#[error("the compiler made something that breaks its own rules ({stage}): {}", faults.join("; "))]
pub struct InternalFault {
    /// After which stage.
    pub stage: &'static str,
    /// The verifier's findings.
    pub faults: Vec<String>,
}
