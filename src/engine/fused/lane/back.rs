//! The backward pass of an episode: traces are recomputed from stored ones, adjoints pass from step to step,
//! gradients add up.

use super::{append, cast, numbers, LaneMemory};
use crate::engine::fused::compiled::Fused;
use crate::ir::Real;
use crate::machine::aligned::Aligned;
use crate::machine::lane::{Blocks, Memory, Shared};
use crate::machine::native::Native;
use crate::machine::outer::OuterBatch;
use crate::machine::run::{each, run, run_sweep};
use crate::program::code::Area;
use crate::program::ir::Home;
use crate::program::layout::Slot;
use smallvec::SmallVec;

/// The memories of lanes in step; usually there is one.
type Memories<'a, T> = SmallVec<[Memory<'a, T>; 1]>;

impl<T: Native> LaneMemory<T> {
    /// Begins the backward pass: adjoints of the final states and gradient sums are set to 0.
    pub fn start_back(&mut self, program: &Fused) {
        self.sums.reset(program.sums_size(), T::ZERO);
        self.outers.iter_mut().for_each(OuterBatch::clear);
        self.outers
            .resize_with(program.outers.len(), OuterBatch::default);
        self.start_adjoints(program);
    }

    /// Begins the backward pass of a lane that runs together with another, which has begun and owns the
    /// gradient sums.
    pub fn start_back_beside(&mut self, program: &Fused) {
        self.sums = Aligned::new();
        self.outers.clear();
        self.start_adjoints(program);
    }

    /// Takes the memory that only the backward pass needs from a lane of another stage. Nothing happens if
    /// their traces have different sizes, or the other lane has no such memory. Its contents are lost.
    pub fn take_way_back(
        &mut self,
        program: &Fused,
        other: &mut LaneMemory<T>,
        other_program: &Fused,
    ) {
        if self.sums.is_empty() {
            std::mem::swap(&mut self.sums, &mut other.sums);
        }
        if program.blocks == other_program.blocks && self.segment.is_empty() {
            std::mem::swap(&mut self.segment, &mut other.segment);
            std::mem::swap(&mut self.block_adjoints, &mut other.block_adjoints);
        }
    }

    fn start_adjoints(&mut self, program: &Fused) {
        self.adjoint.reset(program.adjoint.size, T::ZERO);
        self.adjoint_before.reset(program.adjoint.size, T::ZERO);
        let width: usize = program.input_adjoints.iter().map(|(_, _, n)| n).sum();
        self.input_adjoints.resize(self.steps * width, T::ZERO);
        self.block_adjoints
            .resize_with(program.blocks.len(), Aligned::new);
        for (adjoint, layout) in self.block_adjoints.iter_mut().zip(&program.blocks) {
            adjoint.reset(layout.size(), T::ZERO);
        }
    }

    /// Sets the adjoint of a final state, by slot, after [`LaneMemory::start_back`].
    pub fn set_state_adjoint<U: Real>(&mut self, program: &Fused, slot: usize, values: &[U]) {
        match program.homes[slot] {
            Home::Vector {
                adjoint: Some(at),
                n,
                ..
            } => {
                for (o, x) in self.adjoint[at..at + n].iter_mut().zip(values) {
                    *o = cast(*x);
                }
            }
            Home::Vector { adjoint: None, .. } => {}
            Home::Block { index, layout } => {
                layout.pack(values, &mut self.block_adjoints[index], cast);
            }
        }
    }

    /// Runs the backward pass of the whole episode. `seed(step, slot, out)` writes the adjoint of an output,
    /// from the last step to the first.
    pub fn back(
        &mut self,
        program: &Fused,
        shared: &Shared<T>,
        mut seed: impl FnMut(usize, usize, &mut [T]),
    ) {
        let lanes = std::slice::from_mut(self);
        LaneMemory::back_together(lanes, program, shared, |_, step, slot, out| {
            seed(step, slot, out);
        });
    }

    /// Runs the backward pass of several lanes with equally many steps, after [`LaneMemory::start_back`] of
    /// the first. After that call, other lanes add to their own gradient sums; after
    /// [`LaneMemory::start_back_beside`] they add to those of the first lane. All other results are
    /// bit-identical to a single lane's. `seed(lane, step, slot, out)` is also told the lane.
    pub fn back_together(
        lanes: &mut [LaneMemory<T>],
        program: &Fused,
        shared: &Shared<T>,
        mut seed: impl FnMut(usize, usize, usize, &mut [T]),
    ) {
        let Some((mut end, interval)) = lanes.first().map(|lane| (lane.steps, lane.interval))
        else {
            return;
        };
        while end > 0 {
            let start = (end - 1) / interval * interval;
            for lane in lanes.iter_mut() {
                lane.replay(program, shared, start, end);
            }
            for step in (start..end).rev() {
                for (k, lane) in lanes.iter_mut().enumerate() {
                    for (slot, place) in program.seeds.iter().enumerate() {
                        if let Some(Slot { at, n, .. }) = place {
                            seed(k, step, slot, &mut lane.adjoint[*at..at + n]);
                        }
                    }
                }
                LaneMemory::step_back(lanes, program, shared, step, start);
            }
            end = start;
        }
        LaneMemory::finish_back(lanes, program, shared);
    }

    /// Runs one backward step, with the states on entry to the step available.
    fn step_back(
        lanes: &mut [LaneMemory<T>],
        program: &Fused,
        shared: &Shared<T>,
        step: usize,
        start: usize,
    ) {
        let back = &program.back;
        let machine = &program.machines.back;
        let later = lanes.first().is_some_and(|lane| step + 1 < lane.steps);
        let mut memories: Memories<'_, T> = lanes
            .iter_mut()
            .map(|lane| lane.way_back(program, shared, step, start))
            .collect();
        let same = |k| k;
        run(program, program.early_code(), &mut memories, same);
        each(&mut memories, |memory| {
            for opening in &back.opening {
                let k = if later { opening.merged } else { opening.alone };
                run_sweep(k, &back.sweeps[k], machine, memory);
            }
        });
        if later {
            let mut memories: Memories<'_, T> =
                memories.into_iter().map(Memory::of_before).collect();
            run(program, program.late_code(), &mut memories, same);
            drop(memories);
            for lane in lanes.iter_mut() {
                lane.hand_on(program, shared, step);
            }
        } else {
            drop(memories);
        }
        let mut memories: Memories<'_, T> = lanes
            .iter_mut()
            .map(|lane| lane.way_back(program, shared, step, start))
            .collect();
        run(program, program.main_code(), &mut memories, same);
        drop(memories);
        for lane in lanes {
            std::mem::swap(&mut lane.adjoint, &mut lane.adjoint_before);
        }
    }

    /// The memories that a backward step reads and writes.
    fn way_back<'a>(
        &'a mut self,
        program: &'a Fused,
        shared: &'a Shared<T>,
        step: usize,
        start: usize,
    ) -> Memory<'a, T> {
        let size = program.record_size;
        let states = match step - start {
            _ if program.blocks.is_empty() => &self.blocks,
            0 => &self.checkpoints[start / self.interval],
            k => &self.segment[k],
        };
        let record_before = if step + 1 < self.steps {
            &self.records[(step + 1) * size..(step + 2) * size]
        } else {
            &[]
        };
        Memory {
            lane: &mut self.adjoint,
            before: &mut self.adjoint_before,
            record: &self.records[step * size..(step + 1) * size],
            record_before,
            shared: &shared.values,
            indices: &program.indices,
            sums: &mut self.sums,
            blocks: Blocks::Read(states),
            adjoints: &mut self.block_adjoints,
            outers: &mut self.outers,
            scratch: &mut self.scratch,
        }
    }

    /// Moves the adjoints of states on entry to the later step to the place where this step reads them.
    fn hand_on(&mut self, program: &Fused, shared: &Shared<T>, step: usize) {
        let size = program.record_size;
        let record_before = &self.records[(step + 1) * size..(step + 2) * size];
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

    /// Runs the pending sweeps after the first step, and computes the adjoints of initial states.
    fn finish_back(lanes: &mut [LaneMemory<T>], program: &Fused, shared: &Shared<T>) {
        let back = &program.back;
        let machine = &program.machines.back;
        if lanes.first().is_some_and(|lane| lane.steps > 0) {
            let mut memories: Memories<'_, T> = lanes
                .iter_mut()
                .map(|lane| Memory {
                    lane: &mut lane.adjoint_before,
                    before: &mut [],
                    record: &lane.records[..program.record_size],
                    record_before: &[],
                    shared: &shared.values,
                    indices: &program.indices,
                    sums: &mut lane.sums,
                    blocks: Blocks::Read(&lane.checkpoints[0]),
                    adjoints: &mut lane.block_adjoints,
                    outers: &mut lane.outers,
                    scratch: &mut lane.scratch,
                })
                .collect();
            each(&mut memories, |memory| {
                for k in &back.closing {
                    run_sweep(*k, &back.sweeps[*k], machine, memory);
                }
            });
            run(program, program.late_code(), &mut memories, |k| k);
        }
        for lane in lanes {
            lane.keep_first(program, shared);
        }
    }

    /// Stores the adjoints of initial states and of the first step's inputs.
    fn keep_first(&mut self, program: &Fused, shared: &Shared<T>) {
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

    /// The adjoint of an initial state, by slot, after [`LaneMemory::back`].
    pub fn state_adjoint<U: Real>(&self, program: &Fused, slot: usize) -> Vec<U> {
        if let Home::Block { index, layout } = program.homes[slot] {
            let mut out = vec![U::ZERO; layout.rows * layout.cols];
            layout.unpack(&self.block_adjoints[index], &mut out, cast);
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

    /// The adjoint of an input at a step, by slot, after [`LaneMemory::back`]; empty if the adjoint graph has
    /// none.
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

    /// The gradient sums of this lane, with those of the lanes that ran together with it, after adding
    /// pending outer products.
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

    /// Recomputes the traces on entry to each step of `start..end`, from the checkpoint at `start`.
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
                indices: &program.indices,
                sums: &mut [],
                blocks: Blocks::Apart { from, to },
                adjoints: &mut [],
                outers: &mut [],
                scratch: &mut self.scratch,
            };
            for (k, sweep) in program.ahead.updates.iter().enumerate() {
                run_sweep(k, sweep, &program.machines.updates, &mut memory);
            }
        }
    }
}

/// Stores the adjoints of a step's inputs, from the shared memory, the record of the step or the adjoint's
/// memory.
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
