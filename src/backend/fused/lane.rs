//! One lane's memory: forward through an episode, keeping vectors, and back, replaying traces.

use super::aligned::Aligned;
use super::assemble::{Form, Slot};
use super::code::{Area, Place};
use super::machine::{run, run_sweep, Blocks, Memory, Scratch};
use super::math::Real;
use super::outer::OuterBatch;
use super::profile::Profile;
use super::program::{Fused, Home, Shared};

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
    /// Adjoints of first states, one after another.
    first_adjoints: Vec<T>,
    /// Adjoints of inputs, step by step.
    input_adjoints: Vec<T>,
    steps: usize,
    interval: usize,
}

impl<T: Real> LaneMemory<T> {
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
        self.step.reset(program.lane_size, T::ZERO);
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

    /// Applies pending updates of traces: before parameters change, where a sequence goes on.
    pub fn settle(&mut self, program: &Fused, shared: &Shared<T>) {
        if !self.pending {
            return;
        }
        self.pending = false;
        let record = (self.steps - 1) * program.record_size;
        let mut memory = Memory {
            lane: &mut [],
            before: &mut [],
            record: &self.records[record..record + program.record_size],
            record_before: &[],
            shared: &shared.values,
            sums: &mut [],
            blocks: Blocks::InPlace(&mut self.blocks),
            adjoints: &mut [],
            outers: &mut [],
            scratch: &mut self.scratch,
        };
        for (k, sweep) in program.ahead.replay.iter().enumerate() {
            run_sweep(k, sweep, &program.machines.replay, &mut memory);
        }
    }

    /// One step: reads inputs, writes outputs, moves states on.
    pub fn step(&mut self, program: &Fused, shared: &Shared<T>) {
        if self.steps.is_multiple_of(self.interval) {
            self.settle(program, shared);
            let k = self.steps / self.interval;
            if self.checkpoints.len() <= k {
                self.checkpoints.push(Vec::new());
            }
            self.checkpoints[k].clone_from(&self.blocks);
        }
        let size = program.record_size;
        let (earlier, record) = self.records.split_at_mut(self.steps * size);
        let before = earlier.len().saturating_sub(size);
        let mut memory = Memory {
            lane: &mut self.step,
            before: &mut [],
            record: &[],
            record_before: &earlier[before..],
            shared: &shared.values,
            sums: &mut [],
            blocks: Blocks::InPlace(&mut self.blocks),
            adjoints: &mut [],
            outers: &mut [],
            scratch: &mut self.scratch,
        };
        let ahead = &program.ahead;
        let machine = &program.machines.ahead;
        if self.pending {
            for k in &ahead.apart {
                run_sweep(*k, &ahead.sweeps[*k], machine, &mut memory);
            }
        }
        let pending = self.pending;
        run(
            program,
            &ahead.instrs,
            &ahead.sweeps,
            machine,
            &mut memory,
            |k| ahead.merged[k].filter(|_| pending).unwrap_or(k),
        );
        record[..size].copy_from_slice(&self.step[..size]);
        let targets =
            program
                .nexts
                .iter()
                .filter_map(|(slot, place, n)| match program.homes[*slot] {
                    Home::Vector { step: Some(at), .. } => Some((at, *place, *n)),
                    Home::Vector { step: None, .. } | Home::Block { .. } => None,
                });
        // All at once: no target is read after another was written.
        self.moved.clear();
        for (_, place, n) in targets.clone() {
            let memory: &[T] = match place.area {
                Area::Shared => &shared.values,
                Area::Lane | Area::Before | Area::Record | Area::RecordBefore => &self.step,
            };
            append(&mut self.moved, memory, place, n);
        }
        let mut from = 0;
        for (to, _, n) in targets {
            self.step[to..to + n].copy_from_slice(&self.moved[from..from + n]);
            from += n;
        }
        self.steps += 1;
        self.pending = true;
        if !program.choices.one_pass {
            self.settle(program, shared);
        }
    }

    /// Begins the way back: adjoints of the final states and gradient sums are 0.
    pub fn start_back(&mut self, program: &Fused) {
        self.sums.reset(program.sums_size(), T::ZERO);
        self.outers.iter_mut().for_each(OuterBatch::clear);
        self.start_adjoints(program);
    }

    /// Begins the way back after that of another lane, with its memory for it and adding to its gradient sums.
    pub fn start_back_after(&mut self, program: &Fused, other: &mut LaneMemory<T>) {
        self.exchange_way_back(other);
        self.start_adjoints(program);
    }

    /// Exchanges with another lane what only the way back needs, gradient sums among it.
    pub fn exchange_way_back(&mut self, other: &mut LaneMemory<T>) {
        std::mem::swap(&mut self.adjoint, &mut other.adjoint);
        std::mem::swap(&mut self.adjoint_before, &mut other.adjoint_before);
        std::mem::swap(&mut self.block_adjoints, &mut other.block_adjoints);
        std::mem::swap(&mut self.segment, &mut other.segment);
        std::mem::swap(&mut self.sums, &mut other.sums);
        std::mem::swap(&mut self.outers, &mut other.outers);
    }

    fn start_adjoints(&mut self, program: &Fused) {
        self.adjoint.reset(program.adjoint_size, T::ZERO);
        self.adjoint_before.reset(program.adjoint_size, T::ZERO);
        let width: usize = program.input_adjoints.iter().map(|(_, _, n)| n).sum();
        self.input_adjoints.resize(self.steps * width, T::ZERO);
        self.outers
            .resize_with(program.outers.len(), OuterBatch::default);
        self.block_adjoints
            .resize_with(program.blocks.len(), Aligned::new);
        for (adjoint, layout) in self.block_adjoints.iter_mut().zip(&program.blocks) {
            adjoint.reset(layout.size(), T::ZERO);
        }
    }

    /// Sets the adjoint of a final state, by slot, after [`LaneMemory::start_back`].
    pub fn set_state_adjoint(&mut self, program: &Fused, slot: usize, values: &[f64]) {
        match program.homes[slot] {
            Home::Vector {
                adjoint: Some(at),
                n,
                ..
            } => {
                for (o, x) in self.adjoint[at..at + n].iter_mut().zip(values) {
                    *o = T::from_f64(*x);
                }
            }
            Home::Vector { adjoint: None, .. } => {}
            Home::Block { index, layout } => {
                layout.pack(values, &mut self.block_adjoints[index], T::from_f64);
            }
        }
    }

    /// Goes back through the whole episode. `seed(step, slot, out)` writes the adjoint of an output, from the
    /// last step to the first.
    pub fn back(
        &mut self,
        program: &Fused,
        shared: &Shared<T>,
        mut seed: impl FnMut(usize, usize, &mut [T]),
    ) {
        let mut end = self.steps;
        while end > 0 {
            let start = (end - 1) / self.interval * self.interval;
            self.replay(program, shared, start, end);
            for step in (start..end).rev() {
                for (slot, place) in program.seeds.iter().enumerate() {
                    if let Some(Slot { at, n, .. }) = place {
                        seed(step, slot, &mut self.adjoint[*at..at + n]);
                    }
                }
                self.step_back(program, shared, step, start);
            }
            end = start;
        }
        self.finish_back(program, shared);
    }

    /// One step back, with the states that entered it at hand.
    fn step_back(&mut self, program: &Fused, shared: &Shared<T>, step: usize, start: usize) {
        let back = &program.back;
        let machine = &program.machines.back;
        let size = program.record_size;
        let later = step + 1 < self.steps;
        let states = match step - start {
            _ if program.blocks.is_empty() => &self.blocks,
            0 => &self.checkpoints[start / self.interval],
            k => &self.segment[k],
        };
        let record = &self.records[step * size..(step + 1) * size];
        let record_before = if later {
            &self.records[(step + 1) * size..(step + 2) * size]
        } else {
            &[]
        };
        let mut memory = Memory {
            lane: &mut self.adjoint,
            before: &mut self.adjoint_before,
            record,
            record_before,
            shared: &shared.values,
            sums: &mut self.sums,
            blocks: Blocks::Read(states),
            adjoints: &mut self.block_adjoints,
            outers: &mut self.outers,
            scratch: &mut self.scratch,
        };
        run(
            program,
            &back.early,
            &back.sweeps,
            machine,
            &mut memory,
            |k| k,
        );
        for opening in &back.opening {
            let k = if later { opening.merged } else { opening.alone };
            run_sweep(k, &back.sweeps[k], machine, &mut memory);
        }
        if later {
            let mut memory = memory.of_before();
            run(
                program,
                &back.late,
                &back.sweeps,
                machine,
                &mut memory,
                |k| k,
            );
            for (slot, place, n) in &program.adjoints_out {
                if let Home::Vector {
                    adjoint: Some(at), ..
                } = program.homes[*slot]
                {
                    let from: &[T] = match place.area {
                        Area::Shared => &shared.values,
                        Area::Record | Area::RecordBefore => record_before,
                        Area::Lane | Area::Before => &self.adjoint_before,
                    };
                    let to = &mut self.adjoint[at..at + n];
                    if place.stride == 0 {
                        to.fill(from[place.at]);
                    } else {
                        to.copy_from_slice(&from[place.at..place.at + n]);
                    }
                }
            }
            keep(
                &mut self.input_adjoints,
                program,
                step + 1,
                [&shared.values, record_before, &self.adjoint_before],
            );
        }
        let mut memory = Memory {
            lane: &mut self.adjoint,
            before: &mut self.adjoint_before,
            record,
            record_before,
            shared: &shared.values,
            sums: &mut self.sums,
            blocks: Blocks::Read(states),
            adjoints: &mut self.block_adjoints,
            outers: &mut self.outers,
            scratch: &mut self.scratch,
        };
        run(
            program,
            &back.main,
            &back.sweeps,
            machine,
            &mut memory,
            |k| k,
        );
        std::mem::swap(&mut self.adjoint, &mut self.adjoint_before);
    }

    /// What is pending after the first step, and the adjoints of first states.
    fn finish_back(&mut self, program: &Fused, shared: &Shared<T>) {
        let back = &program.back;
        let machine = &program.machines.back;
        let size = program.record_size;
        if self.steps > 0 {
            let mut memory = Memory {
                lane: &mut self.adjoint_before,
                before: &mut [],
                record: &self.records[..size],
                record_before: &[],
                shared: &shared.values,
                sums: &mut self.sums,
                blocks: Blocks::Read(&self.checkpoints[0]),
                adjoints: &mut self.block_adjoints,
                outers: &mut self.outers,
                scratch: &mut self.scratch,
            };
            for k in &back.closing {
                run_sweep(*k, &back.sweeps[*k], machine, &mut memory);
            }
            run(
                program,
                &back.late,
                &back.sweeps,
                machine,
                &mut memory,
                |k| k,
            );
        }
        if self.steps > 0 {
            keep(
                &mut self.input_adjoints,
                program,
                0,
                [&shared.values, &self.records, &self.adjoint_before],
            );
        }
        self.first_adjoints.clear();
        for (_, place, n) in &program.adjoints_out {
            let memory: &[T] = match place.area {
                Area::Shared => &shared.values,
                Area::Record | Area::RecordBefore => &self.records,
                Area::Lane | Area::Before => &self.adjoint_before,
            };
            append(&mut self.first_adjoints, memory, *place, *n);
        }
    }

    /// The adjoint of a first state, by slot, after [`LaneMemory::back`].
    pub fn state_adjoint(&self, program: &Fused, slot: usize) -> Vec<f64> {
        if let Home::Block { index, layout } = program.homes[slot] {
            let mut out = vec![0.0; layout.rows * layout.cols];
            layout.unpack(&self.block_adjoints[index], &mut out, T::to_f64);
            return out;
        }
        let mut at = 0;
        for (k, _, n) in &program.adjoints_out {
            if *k == slot {
                return numbers(&self.first_adjoints[at..at + n]);
            }
            at += n;
        }
        Vec::new()
    }

    /// The adjoint of an input at a step, by slot, after [`LaneMemory::back`]; empty where the adjoint graph has none.
    pub fn input_adjoint(&self, program: &Fused, slot: usize, step: usize) -> &[T] {
        let width: usize = program.input_adjoints.iter().map(|(_, _, n)| n).sum();
        let mut at = step * width;
        for (k, _, n) in &program.input_adjoints {
            if *k == slot {
                return &self.input_adjoints[at..at + n];
            }
            at += n;
        }
        &[]
    }

    /// This lane's gradient sums, with those of the lanes it began after, once outer products that wait are added.
    pub fn sums(&mut self, program: &Fused) -> &[T] {
        for (batch, of) in self.outers.iter_mut().zip(&program.outers) {
            batch.flush(*of, &mut self.sums);
        }
        &self.sums
    }

    /// Adds this lane's gradient sums to a total.
    pub fn add_sums(&mut self, program: &Fused, total: &mut [f64]) {
        for (t, x) in total.iter_mut().zip(self.sums(program)) {
            *t += x.to_f64();
        }
    }

    /// Traces that entered each step of `start..end`, from the checkpoint at `start`.
    fn replay(&mut self, program: &Fused, shared: &Shared<T>, start: usize, end: usize) {
        if self.blocks.is_empty() {
            return;
        }
        while self.segment.len() < end - start {
            let mut blocks: Vec<Aligned<T>> = Vec::new();
            for layout in &program.blocks {
                let mut block = Aligned::new();
                block.reset(layout.size(), T::ZERO);
                blocks.push(block);
            }
            self.segment.push(blocks);
        }
        for step in start..end - 1 {
            let (earlier, later) = self.segment.split_at_mut(step + 1 - start);
            let from: &[Aligned<T>] = if step == start {
                &self.checkpoints[start / self.interval]
            } else {
                &earlier[step - start]
            };
            let to = &mut later[0];
            for k in &program.constant {
                to[*k].copy_from_slice(&from[*k]);
            }
            let size = program.record_size;
            let mut memory = Memory {
                lane: &mut [],
                before: &mut [],
                record: &self.records[step * size..(step + 1) * size],
                record_before: &[],
                shared: &shared.values,
                sums: &mut [],
                blocks: Blocks::Apart { from, to },
                adjoints: &mut [],
                outers: &mut [],
                scratch: &mut self.scratch,
            };
            for (k, sweep) in program.ahead.replay.iter().enumerate() {
                run_sweep(k, sweep, &program.machines.replay, &mut memory);
            }
        }
    }
}

/// Keeps the adjoints of inputs of a step, from the shared memory, the record of the step or the adjoint's memory.
fn keep<T: Real>(
    out: &mut [T],
    program: &Fused,
    step: usize,
    [shared, record, adjoint]: [&[T]; 3],
) {
    let width: usize = program.input_adjoints.iter().map(|(_, _, n)| n).sum();
    let mut at = step * width;
    for (_, place, n) in &program.input_adjoints {
        let from = match place.area {
            Area::Shared => shared,
            Area::Record | Area::RecordBefore => record,
            Area::Lane | Area::Before => adjoint,
        };
        let to = &mut out[at..at + n];
        if place.stride == 0 {
            to.fill(from[place.at]);
        } else {
            to.copy_from_slice(&from[place.at..place.at + n]);
        }
        at += n;
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
