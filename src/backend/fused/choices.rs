//! Choices of the fused kernels: each changes how fast and in how much memory, never what is computed
//! beyond rounding.

/// Which ways of being fast the kernels take; all by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Weight gradients that are outer products of vectors are added up over many steps at once, as one
    /// matrix product.
    pub over_time: bool,
    /// `a * b + c` is one fused multiply-add, and equal operations are computed once a row.
    pub contract: bool,
    /// Pending trace updates are merged with the transmission of the next step, and in the adjoint the end
    /// of step `t` with the beginning of step `t - 1`.
    pub one_pass: bool,
    /// Traces are kept every `⌈√T⌉` of `T` steps and replayed between, rather than all kept.
    pub recompute: bool,
    /// Values of a lane that are not alive together share a place in its memory.
    pub reuse: bool,
}

impl Default for Choices {
    fn default() -> Choices {
        Choices {
            over_time: true,
            contract: true,
            one_pass: true,
            recompute: true,
            reuse: true,
        }
    }
}
