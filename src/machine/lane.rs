//! The memories that a lane reads and writes while a program runs.

use super::aligned::Aligned;
use super::elements::Operand;
use super::outer::OuterBatch;
use super::profile::Profile;
use crate::ir::{Indices, Real};
use crate::program::code::{Area, Place};

/// The buffers of the interpreter.
#[derive(Clone, Debug, Default)]
pub struct Tiles<T> {
    /// The values computed in the sweep.
    pub temporaries: Vec<Vec<T>>,
    /// The vectors over post or pre, broadcast to whole rows.
    pub stretched: Vec<Vec<T>>,
    pub product: Vec<T>,
}

/// The traces from the point of view of a sweep.
pub enum Blocks<'a, T> {
    /// Traces updated in place.
    InPlace(&'a mut [Aligned<T>]),
    /// Separate traces on entry and on exit.
    Apart {
        from: &'a [Aligned<T>],
        to: &'a mut [Aligned<T>],
    },
    /// Traces that are only read.
    Read(&'a [Aligned<T>]),
}

impl<T: Real> Blocks<'_, T> {
    /// A trace on entry to the step.
    #[inline(always)]
    pub fn read(&self, k: usize) -> &[T] {
        match self {
            Blocks::InPlace(blocks) => &blocks[k],
            Blocks::Apart { from, .. } | Blocks::Read(from) => &from[k],
        }
    }

    /// The memory for a trace on exit from the step.
    #[inline(always)]
    pub fn write(&mut self, k: usize) -> &mut [T] {
        match self {
            Blocks::InPlace(blocks) | Blocks::Apart { to: blocks, .. } => &mut blocks[k],
            Blocks::Read(_) => &mut [],
        }
    }
}

/// The buffers of the machine, reused between steps.
#[derive(Clone, Debug, Default)]
pub struct Scratch<T> {
    pub tiles: Tiles<T>,
    /// The partial sums of rows.
    pub partial: Aligned<T>,
    /// The vectors that a sweep gathers.
    pub gathered: Aligned<T>,
    /// The addresses passed to machine code.
    pub addresses: Addresses,
    /// The times of kernels, if they are measured.
    pub profile: Option<Box<Profile>>,
    /// The rows of a matrix that are not multiplied by 0.
    pub rows: Vec<usize>,
}

/// A table of addresses, valid only during one call.
#[derive(Debug, Default)]
pub struct Addresses(pub Vec<*mut f32>);

impl Clone for Addresses {
    fn clone(&self) -> Addresses {
        Addresses::default()
    }
}

// SAFETY: the addresses are written again before every use.
unsafe impl Send for Addresses {}
// SAFETY: as above.
unsafe impl Sync for Addresses {}

/// The values that depend only on parameters, for one set of parameters.
#[derive(Clone, Debug, Default)]
pub struct Shared<T> {
    pub(crate) values: Aligned<T>,
}

/// The memories that a lane program reads and writes.
pub struct Memory<'a, T> {
    pub lane: &'a mut [T],
    pub before: &'a mut [T],
    pub record: &'a [T],
    pub record_before: &'a [T],
    pub shared: &'a [T],
    /// The positions of gathers and scatters.
    pub indices: &'a [Indices],
    pub sums: &'a mut [T],
    pub blocks: Blocks<'a, T>,
    /// The adjoints of traces, read and written by adjoint sweeps.
    pub adjoints: &'a mut [Aligned<T>],
    pub outers: &'a mut [OuterBatch<T>],
    pub scratch: &'a mut Scratch<T>,
}

impl<'a, T: Real> Memory<'a, T> {
    /// The memories as the step that ran before saw them.
    pub fn of_before(self) -> Memory<'a, T> {
        Memory {
            lane: self.before,
            before: &mut [],
            record: self.record_before,
            record_before: &[],
            ..self
        }
    }

    /// The memory that results of a sweep go to.
    #[inline(always)]
    pub fn written(&mut self, area: Area) -> &mut [T] {
        match area {
            Area::Before => self.before,
            Area::Lane | Area::Record | Area::RecordBefore | Area::Shared => self.lane,
        }
    }

    /// The memory of an area, for reading.
    #[inline(always)]
    pub fn read(&self, area: Area) -> &[T] {
        match area {
            Area::Lane => self.lane,
            Area::Before => self.before,
            Area::Record => self.record,
            Area::RecordBefore => self.record_before,
            Area::Shared => self.shared,
        }
    }

    /// The elements at a place.
    #[inline(always)]
    pub(crate) fn at(&self, place: Place, n: usize) -> Operand<'_, T> {
        view(self.read(place.area), place.at, place.stride, n)
    }
}

/// A view of a memory's elements; a stride of 0 means one number for all.
#[inline(always)]
pub fn view<T: Real>(memory: &[T], at: usize, stride: usize, n: usize) -> Operand<'_, T> {
    if stride == 0 {
        Operand::One(memory[at])
    } else {
        Operand::Row(&memory[at..at + n])
    }
}
