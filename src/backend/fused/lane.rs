//! One lane's memory: forward through an episode, keeping vectors, and back, replaying traces.

use super::code::{Area, Place};
use super::machine::{run, run_sweeps, Memory};
use super::math::Real;
use super::program::{Fused, Home, Piece, Shared};

/// The memory in which lanes run, one after another. Buffers are kept from one episode to the next.
#[derive(Clone, Debug, Default)]
pub struct LaneMemory<T> {
    step: Vec<T>,
    adjoint: Vec<T>,
    rows: Vec<Vec<T>>,
    /// Traces as they are now.
    blocks: Vec<Vec<T>>,
    block_adjoints: Vec<Vec<T>>,
    /// What is kept of every step.
    records: Vec<T>,
    /// Traces that entered step `k * interval`.
    checkpoints: Vec<Vec<T>>,
    /// Traces that entered each step of a segment.
    segment: Vec<Vec<T>>,
    sums: Vec<T>,
    scratch: Vec<T>,
    partial: Vec<T>,
    steps: usize,
    interval: usize,
}

impl<T: Real> LaneMemory<T> {
    /// An empty memory; it grows with what runs in it.
    pub fn new() -> LaneMemory<T> {
        LaneMemory::default()
    }

    /// Begins an episode with states at their first values.
    pub fn start(&mut self, program: &Fused, steps: usize, interval: usize) {
        self.step.clear();
        self.step.resize(program.step.lane_size, T::ZERO);
        self.blocks.resize_with(program.block_sizes.len(), Vec::new);
        self.block_adjoints
            .resize_with(program.block_sizes.len(), Vec::new);
        self.records.resize(program.record_size * steps, T::ZERO);
        self.steps = 0;
        self.interval = interval.max(1);
        for (slot, first) in program.first.iter().enumerate() {
            let value = T::from_f64(*first);
            match program.homes[slot] {
                Home::Vector {
                    step: Some(at), n, ..
                } => self.step[at..at + n].fill(value),
                Home::Vector { step: None, .. } => {}
                Home::Block { index, n } => {
                    self.blocks[index].clear();
                    self.blocks[index].resize(n, value);
                }
            }
        }
    }

    /// Sets an entering state by slot.
    pub fn set_state(&mut self, program: &Fused, slot: usize, values: &[f64]) {
        let out = match program.homes[slot] {
            Home::Vector {
                step: Some(at), n, ..
            } => &mut self.step[at..at + n],
            Home::Vector { step: None, .. } => return,
            Home::Block { index, .. } => &mut self.blocks[index],
        };
        for (o, x) in out.iter_mut().zip(values) {
            *o = T::from_f64(*x);
        }
    }

    /// A state as it is now, by slot; the first value where nothing reads it.
    pub fn state(&self, program: &Fused, slot: usize) -> Vec<f64> {
        match program.homes[slot] {
            Home::Vector {
                step: Some(at), n, ..
            } => numbers(&self.step[at..at + n]),
            Home::Vector { step: None, n, .. } => {
                // Nothing in the step reads it, so its value is what last left a step.
                match program.nexts.iter().find(|(k, _, _)| *k == slot) {
                    Some((_, place, _)) if self.steps > 0 && place.area == Area::Lane => {
                        if place.stride == 0 {
                            vec![self.step[place.at].to_f64(); n]
                        } else {
                            numbers(&self.step[place.at..place.at + n])
                        }
                    }
                    Some(_) | None => vec![program.first[slot]; n],
                }
            }
            Home::Block { index, .. } => numbers(&self.blocks[index]),
        }
    }

    /// Where an input goes before a step; `None` where nothing reads it.
    pub fn input(&mut self, program: &Fused, slot: usize) -> Option<&mut [T]> {
        let (at, n) = program.inputs[slot]?;
        Some(&mut self.step[at..at + n])
    }

    /// Where noise goes before a step; `None` where nothing reads it.
    pub fn noise(&mut self, program: &Fused, slot: usize) -> Option<&mut [T]> {
        let (at, n) = program.noises[slot]?;
        Some(&mut self.step[at..at + n])
    }

    /// An output after a step.
    pub fn output(&self, program: &Fused, shared: &Shared<T>, slot: usize, out: &mut Vec<f64>) {
        let (place, n) = program.outputs[slot];
        out.clear();
        let memory = match place.area {
            Area::Lane => &self.step,
            Area::Shared => &shared.step,
        };
        for k in 0..n {
            out.push(memory[place.at + k * place.stride].to_f64());
        }
    }

    /// One step: reads inputs, writes outputs, moves states on.
    pub fn step(&mut self, program: &Fused, shared: &Shared<T>) {
        if self.steps.is_multiple_of(self.interval) {
            let k = self.steps / self.interval;
            if self.checkpoints.len() <= k {
                self.checkpoints.push(Vec::new());
            }
            join(&self.blocks, &mut self.checkpoints[k]);
        }
        run(
            &program.step,
            &program.machines.step,
            &mut Memory {
                lane: &mut self.step,
                shared: &shared.step,
                sums: &mut [],
                states: &mut self.blocks,
                adjoints: &mut [],
                rows: &mut self.rows,
                partial: &mut self.partial,
            },
        );
        let record = self.steps * program.record_size;
        for piece in &program.kept {
            let to = record + piece.record;
            self.records[to..to + piece.n]
                .copy_from_slice(&self.step[piece.lane..piece.lane + piece.n]);
        }
        let targets =
            program
                .nexts
                .iter()
                .filter_map(|(slot, place, n)| match program.homes[*slot] {
                    Home::Vector { step: Some(at), .. } => Some((at, *place, *n)),
                    Home::Vector { step: None, .. } | Home::Block { .. } => None,
                });
        move_vectors(&mut self.step, &shared.step, &mut self.scratch, targets);
        self.steps += 1;
    }

    /// Begins the way back: adjoints of the final states and gradient sums are 0.
    pub fn start_back(&mut self, program: &Fused) {
        self.adjoint.clear();
        self.adjoint.resize(program.adjoint.lane_size, T::ZERO);
        self.sums.clear();
        self.sums.resize(program.adjoint.sums_size, T::ZERO);
        for (adjoint, n) in self.block_adjoints.iter_mut().zip(&program.block_sizes) {
            adjoint.clear();
            adjoint.resize(*n, T::ZERO);
        }
    }

    /// Sets the adjoint of a final state, by slot, after [`LaneMemory::start_back`].
    pub fn set_state_adjoint(&mut self, program: &Fused, slot: usize, values: &[f64]) {
        let out = match program.homes[slot] {
            Home::Vector {
                adjoint: Some(at),
                n,
                ..
            } => &mut self.adjoint[at..at + n],
            Home::Vector { adjoint: None, .. } => return,
            Home::Block { index, .. } => &mut self.block_adjoints[index],
        };
        for (o, x) in out.iter_mut().zip(values) {
            *o = T::from_f64(*x);
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
                split(&self.segment[step - start], &mut self.blocks);
                let record = step * program.record_size;
                for piece in &program.restored {
                    let from = record + piece.record;
                    self.adjoint[piece.lane..piece.lane + piece.n]
                        .copy_from_slice(&self.records[from..from + piece.n]);
                }
                for (slot, place) in program.seeds.iter().enumerate() {
                    if let Some((at, n)) = place {
                        seed(step, slot, &mut self.adjoint[*at..at + n]);
                    }
                }
                run(
                    &program.adjoint,
                    &program.machines.adjoint,
                    &mut Memory {
                        lane: &mut self.adjoint,
                        shared: &shared.adjoint,
                        sums: &mut self.sums,
                        states: &mut self.blocks,
                        adjoints: &mut self.block_adjoints,
                        rows: &mut self.rows,
                        partial: &mut self.partial,
                    },
                );
                let last = step == 0;
                let targets = program.adjoints_out.iter().filter_map(|(slot, place, n)| {
                    match program.homes[*slot] {
                        Home::Vector {
                            adjoint: Some(at), ..
                        } => Some((at, *place, *n)),
                        Home::Vector { adjoint: None, .. } | Home::Block { .. } => None,
                    }
                });
                if last {
                    self.keep_adjoints(program, shared);
                }
                move_vectors(
                    &mut self.adjoint,
                    &shared.adjoint,
                    &mut self.scratch,
                    targets,
                );
            }
            end = start;
        }
    }

    /// The adjoints of first states stay readable after the last step back, also of those that no
    /// adjoint step reads.
    fn keep_adjoints(&mut self, program: &Fused, shared: &Shared<T>) {
        self.records.clear();
        for (_, place, n) in &program.adjoints_out {
            let memory = match place.area {
                Area::Lane => &self.adjoint,
                Area::Shared => &shared.adjoint,
            };
            for k in 0..*n {
                self.records.push(memory[place.at + k * place.stride]);
            }
        }
    }

    /// The adjoint of a first state, by slot, after [`LaneMemory::back`].
    pub fn state_adjoint(&self, program: &Fused, slot: usize) -> Vec<f64> {
        if let Home::Block { index, .. } = program.homes[slot] {
            return numbers(&self.block_adjoints[index]);
        }
        let mut at = 0;
        for (k, _, n) in &program.adjoints_out {
            if *k == slot {
                return numbers(&self.records[at..at + n]);
            }
            at += n;
        }
        Vec::new()
    }

    /// Adds this lane's gradient sums to a total.
    pub fn add_sums(&self, total: &mut [f64]) {
        for (t, x) in total.iter_mut().zip(&self.sums) {
            *t += x.to_f64();
        }
    }

    /// Traces that entered each step of `start..end`, from the checkpoint at `start`.
    fn replay(&mut self, program: &Fused, shared: &Shared<T>, start: usize, end: usize) {
        split(&self.checkpoints[start / self.interval], &mut self.blocks);
        while self.segment.len() < end - start {
            self.segment.push(Vec::new());
        }
        for step in start..end {
            join(&self.blocks, &mut self.segment[step - start]);
            if step + 1 == end || self.blocks.is_empty() {
                continue;
            }
            let record = step * program.record_size;
            for Piece {
                record: from,
                lane,
                n,
            } in &program.kept
            {
                let from = record + from;
                self.step[*lane..lane + n].copy_from_slice(&self.records[from..from + n]);
            }
            run_sweeps(
                &program.replay,
                &program.machines.replay,
                &mut Memory {
                    lane: &mut self.step,
                    shared: &shared.step,
                    sums: &mut [],
                    states: &mut self.blocks,
                    adjoints: &mut [],
                    rows: &mut self.rows,
                    partial: &mut self.partial,
                },
            );
        }
    }
}

fn numbers<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| x.to_f64()).collect()
}

/// All blocks, one after another.
fn join<T: Real>(blocks: &[Vec<T>], out: &mut Vec<T>) {
    out.clear();
    for block in blocks {
        out.extend_from_slice(block);
    }
}

fn split<T: Real>(from: &[T], blocks: &mut [Vec<T>]) {
    let mut rest = from;
    for block in blocks {
        let (mine, others) = rest.split_at(block.len());
        block.copy_from_slice(mine);
        rest = others;
    }
}

/// Moves vectors all at once: no target is read after another was written.
fn move_vectors<T: Real>(
    lane: &mut [T],
    shared: &[T],
    scratch: &mut Vec<T>,
    moves: impl Iterator<Item = (usize, Place, usize)> + Clone,
) {
    scratch.clear();
    for (_, place, n) in moves.clone() {
        let memory: &[T] = match place.area {
            Area::Lane => lane,
            Area::Shared => shared,
        };
        for k in 0..n {
            scratch.push(memory[place.at + k * place.stride]);
        }
    }
    let mut from = 0;
    for (to, _, n) in moves {
        lane[to..to + n].copy_from_slice(&scratch[from..from + n]);
        from += n;
    }
}
