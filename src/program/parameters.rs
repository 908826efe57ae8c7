//! What is computed from parameters once an iteration, and how gradients of parameters follow from sums over steps and lanes.

use super::layout::Slot;
use crate::ir::Graph;

/// Values of the shared memory and how to compute them.
#[derive(Clone, Debug)]
pub(crate) struct Prologue {
    /// What is not a parameter itself.
    pub graph: Graph,
    /// Where values go, in the order of their places.
    pub places: Vec<Placed>,
}

/// A value in the shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub slot: Slot,
    pub dims: Vec<usize>,
    pub origin: Origin,
}

/// Where a value comes from. Matrices that are multiplied at once are joined and cut, which is worth a way of its own.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// This parameter, or this sum, as it is.
    Leaf(usize),
    /// These parameters side by side.
    Concat(Vec<usize>),
    /// So many columns of this sum, from one on.
    Slice {
        sum: usize,
        start: usize,
        width: usize,
    },
    /// This result of the graph.
    Result(usize),
}

/// Gradients from sums.
#[derive(Clone, Debug)]
pub(crate) struct Epilogue {
    /// What is not a sum itself. Its parameters are those of the network, then the sums.
    pub graph: Graph,
    /// Where the sums are.
    pub sums: Vec<Slot>,
    /// Parameters of the network.
    pub parameters: usize,
    /// By parameter that has a gradient; leaves are sums.
    pub gradients: Vec<(usize, Origin)>,
}
