//! The IR of programs: the order of a forward and a backward step, and all places.

use super::code::{Instr, OuterSum, Place, Sweep};
use super::layout::{filled, Layout, Slot};
use super::parameters::{Epilogue, Placed, Prologue};
use crate::ir::Indices;
use std::collections::BTreeMap;

/// A vector of a lane's memory. Instructions name its elements by `start`; `at` is its offset at run time.
/// Vectors that are not alive together may share an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// The name of its first element; every region has its own names.
    pub start: usize,
    /// The number of elements, without padding.
    pub n: usize,
    /// The offset of its first element in the memory.
    pub at: usize,
}

impl Region {
    /// The number of elements with padding.
    pub(crate) fn size(self) -> usize {
        filled(self.n)
    }
}

/// The vectors of a lane's memory, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regions {
    pub all: Vec<Region>,
    /// The size of the memory at run time, in elements.
    pub size: usize,
}

impl Regions {
    /// Adds a region after all others; returns the name of its first element.
    pub(crate) fn reserve(&mut self, n: usize) -> usize {
        // Regions fill whole cache lines, so that vectors do not share one and sweeps can read past their
        // end.
        let start = self.size;
        self.all.push(Region {
            start,
            n,
            at: start,
        });
        self.size += filled(n);
        start
    }

    /// The number of the region that contains the element of this name.
    pub(crate) fn find(&self, name: usize) -> Option<usize> {
        let after = self.all.partition_point(|region| region.start <= name);
        let k = after.checked_sub(1)?;
        (name < self.all[k].start + self.all[k].size()).then_some(k)
    }
}

/// The place of a state or trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// An offset in the lane's memory of the step, and one in that of the adjoint.
    Vector {
        step: Option<usize>,
        adjoint: Option<usize>,
        n: usize,
    },
    /// A block of connections.
    Block { index: usize, layout: Layout },
}

/// A forward step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    pub instrs: Vec<Instr>,
    pub sweeps: Vec<Sweep>,
    /// Updates of traces alone, which read the record of their own step.
    pub updates: Vec<Sweep>,
    /// True if updates wait for the next step; otherwise they run at the end of their own step.
    pub deferred: bool,
    /// For each sweep, the sweep that also applies the waiting updates of its block.
    pub merged: Vec<Option<usize>>,
    /// Waiting updates of blocks that have no sweep to merge with.
    pub apart: Vec<usize>,
}

/// A backward step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Back {
    pub sweeps: Vec<Sweep>,
    /// The instructions that the opening sweeps need of this step.
    pub early: Vec<Instr>,
    pub opening: Vec<Opening>,
    /// The instructions that follow from closing sweeps, in the memory of their own step.
    pub late: Vec<Instr>,
    /// All other instructions.
    pub main: Vec<Instr>,
    /// The closing sweeps alone.
    pub closing: Vec<usize>,
}

/// The first sweep of a block in a backward step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The sweep merged with the closing sweep of the step before.
    pub merged: usize,
    /// The sweep alone.
    pub alone: usize,
}

/// The names of slots, by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotNames {
    pub inputs: Vec<String>,
    pub noises: Vec<String>,
    pub states: Vec<String>,
    pub outputs: Vec<String>,
}

/// A step and its adjoint as a lane runs them, with the values computed once per iteration.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) ahead: Ahead,
    pub(crate) back: Back,
    /// The lane's memory in the forward pass.
    pub(crate) lane: Regions,
    /// The number of elements, from the first on, that are recorded at every step.
    pub(crate) record_size: usize,
    /// The lane's memory in the backward pass.
    pub(crate) adjoint: Regions,
    /// The number of elements that depend only on parameters.
    pub(crate) shared_size: usize,
    /// The number of elements of the gradient sums.
    pub(crate) sums_size: usize,
    /// True if traces are stored only at some steps, and the steps between are recomputed.
    pub(crate) replayed: bool,
    /// Outer products whose vectors of many steps are multiplied at once.
    pub(crate) outers: Vec<OuterSum>,
    pub(crate) step_prologue: Prologue,
    pub(crate) adjoint_prologue: Prologue,
    pub(crate) epilogue: Epilogue,
    /// The places of inputs and noise before a step, by slot.
    pub(crate) inputs: Vec<Option<Slot>>,
    pub(crate) noises: Vec<Option<Slot>>,
    /// The places of outputs after a step, by slot.
    pub(crate) outputs: Vec<(Place, usize)>,
    /// The places of states, by slot.
    pub(crate) homes: Vec<Home>,
    /// The next values of vector states: slot and place.
    pub(crate) nexts: Vec<(usize, Place, usize)>,
    /// The places of seeds before an adjoint step, by slot.
    pub(crate) seeds: Vec<Option<Slot>>,
    /// The adjoints of vector states on entry: slot and place.
    pub(crate) adjoints_out: Vec<(usize, Place, usize)>,
    /// The adjoints of inputs, if the adjoint graph has them: slot and place.
    pub(crate) input_adjoints: Vec<(usize, Place, usize)>,
    /// The positions that gathers and scatters name by their numbers.
    pub(crate) indices: Vec<Indices>,
    /// The blocks of connections.
    pub(crate) blocks: Vec<Layout>,
    /// The blocks that no update writes.
    pub(crate) constant: Vec<usize>,
    /// The initial values of states, by slot.
    pub(crate) first: Vec<f64>,
    /// The places in the record of vectors that the spec names.
    pub(crate) named: BTreeMap<String, (Place, usize)>,
    pub(crate) names: SlotNames,
}

impl Program {
    /// The values of the shared memory, in their order.
    pub(crate) fn shared_places(&self) -> Vec<&Placed> {
        let prologues = [&self.step_prologue, &self.adjoint_prologue];
        let mut places: Vec<&Placed> = prologues.into_iter().flat_map(|p| &p.places).collect();
        places.sort_by_key(|placed| placed.slot.at);
        places
    }
}
