//! What a program is: the order in which a step runs forward and back, and where everything lies.

use super::code::{Instr, OuterSum, Place, Sweep};
use super::layout::{filled, Layout, Slot};
use super::parameters::{Epilogue, Placed, Prologue};
use std::collections::BTreeMap;

/// A vector of a lane's memory. Instructions name its elements by `start`; `at` is where they lie when the program runs,
/// and vectors that are not alive together may lie at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Name of its first element; regions have names of their own.
    pub start: usize,
    /// Elements, without filling.
    pub n: usize,
    /// Offset of its first element in the memory.
    pub at: usize,
}

impl Region {
    /// Elements that it takes, with filling.
    pub(crate) fn size(self) -> usize {
        filled(self.n)
    }
}

/// The vectors of a lane's memory, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regions {
    pub all: Vec<Region>,
    /// Elements of the memory when the program runs.
    pub size: usize,
}

impl Regions {
    /// Adds a region after all others; returns the name of its first element.
    pub(crate) fn reserve(&mut self, n: usize) -> usize {
        // Whole cache lines, so that vectors do not share one and sweeps can read past their end.
        let start = self.size;
        self.all.push(Region {
            start,
            n,
            at: start,
        });
        self.size += filled(n);
        start
    }

    /// The number of the region that holds the element of this name.
    pub(crate) fn find(&self, name: usize) -> Option<usize> {
        let after = self.all.partition_point(|region| region.start <= name);
        let k = after.checked_sub(1)?;
        (name < self.all[k].start + self.all[k].size()).then_some(k)
    }
}

/// A state or trace, where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the lane's memory, at an offset of the step's and of the adjoint's.
    Vector {
        step: Option<usize>,
        adjoint: Option<usize>,
        n: usize,
    },
    /// A block of connections.
    Block { index: usize, layout: Layout },
}

/// A step forward.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    pub instrs: Vec<Instr>,
    pub sweeps: Vec<Sweep>,
    /// Updates of traces alone, reading the record of their own step.
    pub updates: Vec<Sweep>,
    /// Whether updates wait for the next step; else they run at the end of their own.
    pub deferred: bool,
    /// For each sweep the one that also applies the waiting updates of its block.
    pub merged: Vec<Option<usize>>,
    /// Waiting updates of blocks that have no sweep to be merged with.
    pub apart: Vec<usize>,
}

/// A step back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Back {
    pub sweeps: Vec<Sweep>,
    /// What the opening sweeps need of this step.
    pub early: Vec<Instr>,
    pub opening: Vec<Opening>,
    /// What follows from closing sweeps, in the memory of their own step.
    pub late: Vec<Instr>,
    /// Everything else.
    pub main: Vec<Instr>,
    /// The closing sweeps alone.
    pub closing: Vec<usize>,
}

/// The first sweep of a block in a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// With the closing sweep of the step before.
    pub merged: usize,
    /// Without.
    pub alone: usize,
}

/// What slots are called, by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotNames {
    pub inputs: Vec<String>,
    pub noises: Vec<String>,
    pub states: Vec<String>,
    pub outputs: Vec<String>,
}

/// A step and its adjoint as a lane runs them, with what is computed once an iteration.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) ahead: Ahead,
    pub(crate) back: Back,
    /// The lane's memory forward.
    pub(crate) lane: Regions,
    /// How many elements from the first on are kept of every step.
    pub(crate) record_size: usize,
    /// The lane's memory on the way back.
    pub(crate) adjoint: Regions,
    /// Elements of what depends on parameters alone.
    pub(crate) shared_size: usize,
    /// Elements of the gradient sums.
    pub(crate) sums_size: usize,
    /// Whether traces are kept at some steps only, and the steps between are replayed.
    pub(crate) replayed: bool,
    /// Outer products of which the vectors of many steps are multiplied at once.
    pub(crate) outers: Vec<OuterSum>,
    pub(crate) step_prologue: Prologue,
    pub(crate) adjoint_prologue: Prologue,
    pub(crate) epilogue: Epilogue,
    /// By slot: where inputs and noise go before a step.
    pub(crate) inputs: Vec<Option<Slot>>,
    pub(crate) noises: Vec<Option<Slot>>,
    /// By slot: where outputs are after a step.
    pub(crate) outputs: Vec<(Place, usize)>,
    /// By slot: where states live.
    pub(crate) homes: Vec<Home>,
    /// Leaving values of vector states: slot and where.
    pub(crate) nexts: Vec<(usize, Place, usize)>,
    /// By slot: where seeds go before an adjoint step.
    pub(crate) seeds: Vec<Option<Slot>>,
    /// Adjoints of entering vector states: slot and where.
    pub(crate) adjoints_out: Vec<(usize, Place, usize)>,
    /// Adjoints of inputs, where the adjoint graph has them: slot and where.
    pub(crate) input_adjoints: Vec<(usize, Place, usize)>,
    /// Blocks of connections.
    pub(crate) blocks: Vec<Layout>,
    /// Those that no update writes.
    pub(crate) constant: Vec<usize>,
    /// First values of states, by slot.
    pub(crate) first: Vec<f64>,
    /// Where vectors that the spec names are in what is kept of every step.
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
