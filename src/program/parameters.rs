//! The values computed from parameters once per iteration, and the gradients of parameters from sums over
//! steps and lanes.

use super::layout::Slot;
use crate::ir::Graph;

/// The values of the shared memory, and their computation.
#[derive(Clone, Debug)]
pub(crate) struct Prologue {
    /// The graph of the values that are not parameters themselves.
    pub graph: Graph,
    /// The places of the values, in order.
    pub places: Vec<Placed>,
}

/// A value in the shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub slot: Slot,
    pub dims: Vec<usize>,
    pub origin: Origin,
}

/// The origin of a value. Matrices of merged products are joined and cut, which has its own fast path.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// This parameter or sum, unchanged.
    Leaf(usize),
    /// These parameters, concatenated by columns.
    Concat(Vec<usize>),
    /// Some columns of this sum.
    Slice {
        sum: usize,
        start: usize,
        width: usize,
    },
    /// This result of the graph.
    Result(usize),
}

/// The computation of gradients from sums.
#[derive(Clone, Debug)]
pub(crate) struct Epilogue {
    /// The graph of the values that are not sums themselves. Its parameters are those of the network, then
    /// the sums.
    pub graph: Graph,
    /// The places of the sums.
    pub sums: Vec<Slot>,
    /// The number of the network's parameters.
    pub parameters: usize,
    /// The gradient of each parameter that has one; leaves are sums.
    pub gradients: Vec<(usize, Origin)>,
}
