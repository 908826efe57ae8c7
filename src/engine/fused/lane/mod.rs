//! The memory of one lane. `forward` runs an episode and stores vectors; `back` runs it backwards and
//! recomputes traces.

mod back;
mod forward;

use crate::engine::fused::compiled::Fused;
use crate::ir::Real;
use crate::machine::aligned::Aligned;
use crate::machine::lane::{Scratch, Shared};
use crate::machine::native::Native;
use crate::machine::outer::OuterBatch;
use crate::machine::profile::Profile;
use crate::program::code::{Area, Place};
use crate::program::ir::Home;
use crate::program::layout::{Form, Slot};

/// The memory in which lanes run, one after another. Its buffers are reused between episodes.
#[derive(Clone, Debug, Default)]
pub struct LaneMemory<T> {
    step: Aligned<T>,
    /// The memory of the current backward step, and of the one before.
    adjoint: Aligned<T>,
    adjoint_before: Aligned<T>,
    /// The current traces, except for pending updates of the last step.
    blocks: Vec<Aligned<T>>,
    pending: bool,
    block_adjoints: Vec<Aligned<T>>,
    /// The record of every step.
    records: Aligned<T>,
    /// The traces on entry to step `k * interval`.
    checkpoints: Vec<Vec<Aligned<T>>>,
    /// The traces on entry to each step of a segment except the first.
    segment: Vec<Vec<Aligned<T>>>,
    sums: Aligned<T>,
    outers: Vec<OuterBatch<T>>,
    scratch: Scratch<T>,
    moved: Vec<T>,
    /// The memory of a step at the beginning of a chunk.
    entered: Aligned<T>,
    /// The adjoints of initial states, one after another.
    first_adjoints: Vec<T>,
    /// The adjoints of inputs, step by step.
    input_adjoints: Vec<T>,
    steps: usize,
    interval: usize,
}

impl<T: Native> LaneMemory<T> {
    /// An empty memory, which grows with the programs that run in it.
    pub fn new() -> LaneMemory<T> {
        LaneMemory::default()
    }

    /// Starts or stops measuring the times of kernels.
    pub fn measure_kernels(&mut self, on: bool) {
        self.scratch.profile = on.then(Box::default);
    }

    /// The times of kernels since [`LaneMemory::measure_kernels`].
    pub fn profile(&self) -> Option<&Profile> {
        self.scratch.profile.as_deref()
    }

    /// Begins an episode with states at their initial values.
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

    /// Stores the data that [`LaneMemory::take_back`] needs, at the beginning of a chunk.
    pub fn remember(&mut self) {
        self.entered.clone_from(&self.step);
    }

    /// Returns to the beginning of the last chunk, after [`LaneMemory::remember`].
    pub fn take_back(&mut self) {
        if self.steps > 0 {
            self.step.clone_from(&self.entered);
            self.blocks.clone_from(&self.checkpoints[0]);
            self.pending = false;
            self.steps = 0;
        }
    }

    /// Sets a state to its initial value.
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

    /// Sets a state on entry, by slot, before the first step.
    pub fn set_state<U: Real>(&mut self, program: &Fused, slot: usize, values: &[U]) {
        match program.homes[slot] {
            Home::Vector {
                step: Some(at), n, ..
            } => {
                for (o, x) in self.step[at..at + n].iter_mut().zip(values) {
                    *o = cast(*x);
                }
            }
            Home::Vector { step: None, .. } => {}
            Home::Block { index, layout } => {
                layout.pack(values, &mut self.blocks[index], cast);
            }
        }
    }

    /// The current value of a state, by slot; the initial value if nothing reads it.
    pub fn state<U: Real>(&mut self, program: &Fused, shared: &Shared<T>, slot: usize) -> Vec<U> {
        match program.homes[slot] {
            Home::Vector {
                step: Some(at), n, ..
            } => numbers(&self.step[at..at + n]),
            Home::Vector { step: None, n, .. } => {
                // Nothing in the step reads the state, so its value is that of the last step's exit.
                match program.nexts.iter().find(|(k, _, _)| *k == slot) {
                    Some((_, place, _)) if self.steps > 0 => {
                        let memory: &[T] = match place.area {
                            Area::Shared => &shared.values,
                            Area::Lane | Area::Before | Area::Record | Area::RecordBefore => {
                                &self.step
                            }
                        };
                        if place.stride == 0 {
                            vec![cast(memory[place.at]); n]
                        } else {
                            numbers(&memory[place.at..place.at + n])
                        }
                    }
                    Some(_) | None => vec![U::from_f64(program.first[slot]); n],
                }
            }
            Home::Block { index, layout } => {
                self.settle(program, shared);
                let mut out = vec![U::ZERO; layout.rows * layout.cols];
                layout.unpack(&self.blocks[index], &mut out, cast);
                out
            }
        }
    }

    /// Writes an input before a step; nothing happens if no instruction reads it.
    pub fn set_input<U: Copy>(
        &mut self,
        program: &Fused,
        slot: usize,
        values: &[U],
        convert: impl Fn(U) -> T,
    ) {
        put(&mut self.step, program.inputs[slot], values, convert);
    }

    /// Appends an output of the last step to a vector.
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

    /// Writes noise before a step; nothing happens if no instruction reads it.
    pub fn set_noise(&mut self, program: &Fused, slot: usize, values: &[f64]) {
        put(&mut self.step, program.noises[slot], values, T::from_f64);
    }

    /// An output of the last step.
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

    /// A vector of the last step by its name, if the kernels stored it.
    pub fn named(&self, program: &Fused, name: &str) -> Option<Vec<f64>> {
        let (place, n) = *program.named.get(name)?;
        let start = self.steps.checked_sub(1)? * program.record_size;
        let record = &self.records[start..start + program.record_size];
        let value = |k: usize| record.get(place.at + k * place.stride).copied();
        (0..n).map(|k| value(k).map(Real::to_f64)).collect()
    }
}

fn numbers<T: Real, U: Real>(values: &[T]) -> Vec<U> {
    values.iter().map(|x| cast(*x)).collect()
}

/// A number in another precision.
fn cast<T: Real, U: Real>(x: T) -> U {
    U::from_f64(x.to_f64())
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
