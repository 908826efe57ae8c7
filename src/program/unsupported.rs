//! The reasons why a program cannot be built.

/// The reason why a graph has no program; it then runs on another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fused kernels do not know {0}")]
pub struct Unsupported(pub &'static str);
