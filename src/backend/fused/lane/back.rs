//! The way back through an episode: traces are replayed from those kept, adjoints go from step to step, gradients add up.

use super::{append, numbers, LaneMemory};
use crate::backend::fused::aligned::Aligned;
use crate::backend::fused::assemble::Slot;
use crate::backend::fused::code::Area;
use crate::backend::fused::machine::{run, run_sweep, Blocks, Memory};
use crate::backend::fused::math::Real;
use crate::backend::fused::outer::OuterBatch;
use crate::backend::fused::program::{Fused, Home, Shared};

impl<T: Real> LaneMemory<T> {
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
