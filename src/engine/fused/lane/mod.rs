//! One lane's memory. `forward` takes it through an episode, keeping vectors; `back` through it again, replaying traces.

mod back;
mod forward;

use crate::engine::fused::compiled::Fused;
use crate::machine::aligned::Aligned;
use crate::machine::lane::{Scratch, Shared};
use crate::machine::math::Real;
use crate::machine::native::Native;
use crate::machine::outer::OuterBatch;
use crate::machine::profile::Profile;
use crate::program::code::{Area, Place};
use crate::program::ir::Home;
use crate::program::layout::{Form, Slot};

/// The memory in which lanes run, one after another. Buffers are kept from one episode to the next.
#[derive(Clone, Debug, Default)]
pub struct LaneMemory<T> {
    step: Aligned<T>,
    /// Memory of the step back that runs, and of the one before.
    adjoint: Aligned<T>,
    adjoint_before: Aligned<T>,
    /// Traces as they are now, but for the updates of the last step while these are pending.
    blocks: Vec<Aligned<T>>,
    pending: bool,
    block_adjoints: Vec<Aligned<T>>,
    /// What is kept of every step.
    records: Aligned<T>,
    /// Traces that entered step `k * interval`.
    checkpoints: Vec<Vec<Aligned<T>>>,
    /// Traces that entered each step of a segment but the first.
    segment: Vec<Vec<Aligned<T>>>,
    sums: Aligned<T>,
    outers: Vec<OuterBatch<T>>,
    scratch: Scratch<T>,
    moved: Vec<T>,
    /// What the memory of a step was where a chunk began.
    entered: Aligned<T>,
    /// Adjoints of first states, one after another.
    first_adjoints: Vec<T>,
    /// Adjoints of inputs, step by step.
    input_adjoints: Vec<T>,
    steps: usize,
    interval: usize,
}

impl<T: Native> LaneMemory<T> {
    /// An empty memory; it grows with what runs in it.
    pub fn new() -> LaneMemory<T> {
        LaneMemory::default()
    }

    /// Takes the times of kernels from now on, or no longer.
    pub fn measure_kernels(&mut self, on: bool) {
        self.scratch.profile = on.then(Box::default);
    }

    /// The times of kernels since [`LaneMemory::measure_kernels`].
    pub fn profile(&self) -> Option<&Profile> {
        self.scratch.profile.as_deref()
    }

    /// Begins an episode with states at their first values.
    pub fn start(&mut self, program: &Fused, steps: usize, interval: usize) {
        self.step.reset(program.lane.size, T::ZERO);
        self.blocks.resize_with(program.blocks.len(), Aligned::new);
        self.records.grow(program.record_size * steps);
        self.steps = 0;
        self.pending = false;
        self.interval = program.interval(interval);
        for slot in 0..program.first.len() {
            self.set_first(program, slot);
        }
    }

    /// Begins the next chunk of a sequence where the last one ended, after [`LaneMemory::settle`].
    pub fn go_on(&mut self, program: &Fused, steps: usize, interval: usize) {
        self.records.grow(program.record_size * steps);
        self.steps = 0;
        self.interval = program.interval(interval);
    }

    /// Keeps what [`LaneMemory::take_back`] needs, where a chunk begins.
    pub fn remember(&mut self) {
        self.entered.clone_from(&self.step);
    }

    /// Goes back to where the last chunk began, after [`LaneMemory::remember`].
    pub fn take_back(&mut self) {
        if self.steps > 0 {
            self.step.clone_from(&self.entered);
            self.blocks.clone_from(&self.checkpoints[0]);
            self.pending = false;
            self.steps = 0;
        }
    }

    /// Sets a state to its first value.
    fn set_first(&mut self, program: &Fused, slot: usize) {
        let value = T::from_f64(program.first[slot]);
        match program.homes[slot] {
            Home::Vector {
                step: Some(at), n, ..
            } => self.step[at..at + n].fill(value),
            Home::Vector { step: None, .. } => {}
            Home::Block { index, layout } => self.blocks[index].reset(layout.size(), value),
        }
    }

    /// Sets an entering state by slot, before the first step.
    pub fn set_state(&mut self, program: &Fused, slot: usize, values: &[f64]) {
        match program.homes[slot] {
            Home::Vector {
                step: Some(at), n, ..
            } => {
                for (o, x) in self.step[at..at + n].iter_mut().zip(values) {
                    *o = T::from_f64(*x);
                }
            }
            Home::Vector { step: None, .. } => {}
            Home::Block { index, layout } => {
                layout.pack(values, &mut self.blocks[index], T::from_f64);
            }
        }
    }

    /// A state as it is now, by slot; the first value where nothing reads it.
    pub fn state(&mut self, program: &Fused, shared: &Shared<T>, slot: usize) -> Vec<f64> {
        match program.homes[slot] {
            Home::Vector {
                step: Some(at), n, ..
            } => numbers(&self.step[at..at + n]),
            Home::Vector { step: None, n, .. } => {
                // Nothing in the step reads it, so its value is what last left a step.
                match program.nexts.iter().find(|(k, _, _)| *k == slot) {
                    Some((_, place, _)) if self.steps > 0 => {
                        let memory: &[T] = match place.area {
                            Area::Shared => &shared.values,
                            Area::Lane | Area::Before | Area::Record | Area::RecordBefore => {
                                &self.step
                            }
                        };
                        if place.stride == 0 {
                            vec![memory[place.at].to_f64(); n]
                        } else {
                            numbers(&memory[place.at..place.at + n])
                        }
                    }
                    Some(_) | None => vec![program.first[slot]; n],
                }
            }
            Home::Block { index, layout } => {
                self.settle(program, shared);
                let mut out = vec![0.0; layout.rows * layout.cols];
                layout.unpack(&self.blocks[index], &mut out, T::to_f64);
                out
            }
        }
    }

    /// Writes an input before a step; nothing happens where nothing reads it.
    pub fn set_input<U: Copy>(
        &mut self,
        program: &Fused,
        slot: usize,
        values: &[U],
        convert: impl Fn(U) -> T,
    ) {
        put(&mut self.step, program.inputs[slot], values, convert);
    }

    /// An output after a step, added to a vector.
    pub fn append_output(
        &self,
        program: &Fused,
        shared: &Shared<T>,
        slot: usize,
        out: &mut Vec<T>,
    ) {
        let (place, n) = program.outputs[slot];
        let memory: &[T] = match place.area {
            Area::Shared => &shared.values,
            Area::Lane | Area::Before | Area::Record | Area::RecordBefore => &self.step,
        };
        append(out, memory, place, n);
    }

    /// Writes noise before a step; nothing happens where nothing reads it.
    pub fn set_noise(&mut self, program: &Fused, slot: usize, values: &[f64]) {
        put(&mut self.step, program.noises[slot], values, T::from_f64);
    }

    /// An output after a step.
    pub fn output(&self, program: &Fused, shared: &Shared<T>, slot: usize, out: &mut Vec<f64>) {
        let (place, n) = program.outputs[slot];
        out.clear();
        let memory: &[T] = match place.area {
            Area::Shared => &shared.values,
            Area::Lane | Area::Before | Area::Record | Area::RecordBefore => &self.step,
        };
        for k in 0..n {
            out.push(memory[place.at + k * place.stride].to_f64());
        }
    }

    /// A vector of the last step by its name, where the kernels kept it.
    pub fn named(&self, program: &Fused, name: &str) -> Option<Vec<f64>> {
        let (place, n) = *program.named.get(name)?;
        let start = self.steps.checked_sub(1)? * program.record_size;
        let record = &self.records[start..start + program.record_size];
        let value = |k: usize| record.get(place.at + k * place.stride).copied();
        (0..n).map(|k| value(k).map(Real::to_f64)).collect()
    }
}

fn numbers<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| x.to_f64()).collect()
}

fn append<T: Real>(out: &mut Vec<T>, memory: &[T], place: Place, n: usize) {
    if place.stride == 0 {
        out.extend(std::iter::repeat_n(memory[place.at], n));
    } else {
        out.extend_from_slice(&memory[place.at..place.at + n]);
    }
}

fn put<T: Real, U: Copy>(
    memory: &mut [T],
    slot: Option<Slot>,
    values: &[U],
    convert: impl Fn(U) -> T,
) {
    let Some(Slot { at, n, form }) = slot else {
        return;
    };
    match form {
        Form::Panels(layout) => layout.pack(values, &mut memory[at..], convert),
        Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
            for (to, x) in memory[at..at + n].iter_mut().zip(values) {
                *to = convert(*x);
            }
        }
    }
}
