//! The forward steps of an episode.

use super::{append, LaneMemory};
use crate::engine::fused::compiled::Fused;
use crate::machine::lane::{Blocks, Memory, Shared};
use crate::machine::native::Native;
use crate::machine::run::{each, run, run_sweep};
use crate::program::code::Area;
use crate::program::ir::Home;
use smallvec::SmallVec;

impl<T: Native> LaneMemory<T> {
    /// Applies pending updates of traces, before parameters change in a continuing sequence.
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
            indices: &program.indices,
            sums: &mut [],
            blocks: Blocks::InPlace(&mut self.blocks),
            adjoints: &mut [],
            outers: &mut [],
            scratch: &mut self.scratch,
        };
        for (k, sweep) in program.ahead.updates.iter().enumerate() {
            run_sweep(k, sweep, &program.machines.updates, &mut memory);
        }
    }

    /// Runs one step: reads inputs, writes outputs, updates states.
    pub fn step(&mut self, program: &Fused, shared: &Shared<T>) {
        LaneMemory::step_together(std::slice::from_mut(self), program, shared);
    }

    /// Runs the same step for several lanes, each bit-identical to a single lane. All must have done equally
    /// many steps.
    pub fn step_together(lanes: &mut [LaneMemory<T>], program: &Fused, shared: &Shared<T>) {
        let Some(pending) = lanes.first().map(|lane| lane.pending) else {
            return;
        };
        let ahead = &program.ahead;
        let machine = &program.machines.ahead;
        let pending = pending && !lanes[0].steps.is_multiple_of(lanes[0].interval);
        let mut memories: SmallVec<[Memory<'_, T>; 1]> = lanes
            .iter_mut()
            .map(|lane| lane.enter(program, shared))
            .collect();
        if pending {
            each(&mut memories, |memory| {
                for k in &ahead.apart {
                    run_sweep(*k, &ahead.sweeps[*k], machine, memory);
                }
            });
        }
        run(program, program.ahead_code(), &mut memories, |k| {
            ahead.merged[k].filter(|_| pending).unwrap_or(k)
        });
        drop(memories);
        for lane in lanes {
            lane.leave(program, shared);
        }
    }

    /// The memories that a step reads and writes. Stores traces at the beginning of a segment.
    fn enter<'a>(&'a mut self, program: &'a Fused, shared: &'a Shared<T>) -> Memory<'a, T> {
        if self.steps.is_multiple_of(self.interval) {
            self.settle(program, shared);
            let k = self.steps / self.interval;
            if self.checkpoints.len() <= k {
                self.checkpoints.push(Vec::new());
            }
            self.checkpoints[k].clone_from(&self.blocks);
        }
        let size = program.record_size;
        let earlier = &self.records[..self.steps * size];
        Memory {
            lane: &mut self.step,
            before: &mut [],
            record: &[],
            record_before: &earlier[earlier.len().saturating_sub(size)..],
            shared: &shared.values,
            indices: &program.indices,
            sums: &mut [],
            blocks: Blocks::InPlace(&mut self.blocks),
            adjoints: &mut [],
            outers: &mut [],
            scratch: &mut self.scratch,
        }
    }

    /// Stores the record of a step and updates states.
    fn leave(&mut self, program: &Fused, shared: &Shared<T>) {
        let size = program.record_size;
        self.records[self.steps * size..(self.steps + 1) * size]
            .copy_from_slice(&self.step[..size]);
        let targets =
            program
                .nexts
                .iter()
                .filter_map(|(slot, place, n)| match program.homes[*slot] {
                    Home::Vector { step: Some(at), .. } => Some((at, *place, *n)),
                    Home::Vector { step: None, .. } | Home::Block { .. } => None,
                });
        // All moves happen at once: no target is read after another was written.
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
        if !program.ahead.deferred {
            self.settle(program, shared);
        }
    }
}
