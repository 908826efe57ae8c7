//! What the fused kernels may do beyond running a graph as it stands. Each is a pass of its own in the pipeline.

/// Choices of the fused backend; every combination gives the same numbers to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Weight gradients that are outer products of vectors are added up over many steps at once, as one
    /// matrix product.
    pub over_time: bool,
    /// `a * b + c` as one fused multiply-add, and equal operations computed once a row.
    pub contract: bool,
    /// Pending trace updates merged with the next step's transmission, and in the adjoint the end of step
    /// `t` with the beginning of `t - 1`: one pass over the connections a step.
    pub one_pass: bool,
    /// Traces checkpointed every `√T` steps or so and replayed, rather than all kept.
    pub recompute: bool,
    /// Places in the lane's memory shared by values that are not alive together.
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
