//! What programs cannot be built for.

/// Why a graph has no program; it then runs on another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fused kernels do not know {0}")]
pub struct Unsupported(pub &'static str);
