//! Stages with states: each lane from the first step of a chunk to the last, and back.

use super::{add, Gradients, Passage, StagedReader};
use crate::engine::bptt::least_memory_interval;
use crate::engine::experiment::{Experiment, Program};
use crate::engine::fused::{Fused, LaneMemory};
use crate::engine::params::ParamStore;
use crate::engine::plan::groups;
use crate::engine::BackendError;
use crate::ir::NoiseKind;
use crate::learn::gradient::PIECE;
use crate::learn::language::reader::is_target;
use crate::step::split::{Source, Stage};
use rayon::prelude::*;
use std::borrow::Cow;

impl StagedReader {
    /// The parameters of a stage by its slots.
    fn parameters<'a>(stage: &Stage, parameters: &'a ParamStore) -> Vec<&'a [f32]> {
        let all: Vec<&[f32]> = parameters.iter().map(|p| p.values.as_slice()).collect();
        stage.params.iter().map(|k| all[*k]).collect()
    }

    pub(super) fn lanes_forward(
        &mut self,
        experiment: &Experiment,
        k: usize,
        fused: &Fused,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError> {
        let stage = &experiment.stages[k].cut;
        let steps = passage.steps;
        fused.share(&Self::parameters(stage, parameters), &mut self.shared[k])?;
        let interval = least_memory_interval(steps);
        let mut memories = std::mem::take(&mut self.memories[k]);
        let (this, shared, started) = (&*self, &self.shared[k], self.started);
        // Lanes have the same bits in whatever groups they go.
        let count = groups(self.lanes).max(rayon::current_num_threads());
        let size = self.lanes.div_ceil(count).max(1);
        let results: Vec<Vec<Vec<f32>>> = memories
            .par_chunks_mut(size)
            .enumerate()
            .flat_map_iter(|(group, memories)| {
                let first = group * size;
                for memory in memories.iter_mut() {
                    if started {
                        memory.go_on(fused, steps, interval);
                    } else {
                        memory.start(fused, steps, interval);
                        for (slot, state) in stage.graph.states.iter().enumerate() {
                            if let Some(first) = state.first {
                                let values = &parameters.get(first).values;
                                let values: Vec<f64> =
                                    values.iter().map(|x| f64::from(*x)).collect();
                                memory.set_state(fused, slot, &values);
                            }
                        }
                    }
                    memory.remember();
                }
                let sizes = stage.outputs.iter().map(|k| experiment.sizes[*k]);
                let outputs: Vec<Vec<f32>> =
                    sizes.map(|size| Vec::with_capacity(steps * size)).collect();
                let mut outputs = vec![outputs; memories.len()];
                for step in 0..steps {
                    for (k, memory) in memories.iter_mut().enumerate() {
                        this.feed(experiment, stage, fused, memory, [first + k, step], passage);
                    }
                    LaneMemory::step_together(memories, fused, shared);
                    for (memory, outputs) in memories.iter().zip(&mut outputs) {
                        for (slot, out) in outputs.iter_mut().enumerate() {
                            memory.append_output(fused, shared, slot, out);
                        }
                    }
                }
                for memory in memories {
                    memory.settle(fused, shared);
                }
                outputs
            })
            .collect();
        self.memories[k] = memories;
        for (slot, number) in stage.outputs.iter().enumerate() {
            let table = &mut self.tables[*number];
            table.clear();
            for lane in &results {
                table.extend_from_slice(&lane[slot]);
            }
        }
        Ok(())
    }

    /// Inputs and noise of a lane at a step.
    fn feed(
        &self,
        experiment: &Experiment,
        stage: &Stage,
        fused: &Fused,
        memory: &mut LaneMemory<f32>,
        [lane, step]: [usize; 2],
        passage: Passage<'_>,
    ) {
        let row = lane * passage.steps + step;
        for (slot, source) in stage.inputs.iter().enumerate() {
            match source {
                Source::Earlier(number) => {
                    let size = experiment.sizes[*number];
                    let values = &self.tables[*number][row * size..(row + 1) * size];
                    memory.set_input(fused, slot, values, |x| x);
                }
                Source::Input(input) => {
                    let size: usize = experiment.step.inputs[*input].dims.iter().product();
                    let (word, one) = match is_target(&experiment.step, *input) {
                        true => (passage.targets.0[row] as usize, passage.targets.1[row]),
                        false => (passage.words[row] as usize, 1.0),
                    };
                    let mut values = vec![0.0; size];
                    values[word] = one;
                    memory.set_input(fused, slot, &values, |x| x);
                }
            }
        }
        for (slot, number) in stage.noises.iter().enumerate() {
            let noise = &experiment.step.noises[*number];
            let size: usize = noise.dims.iter().product();
            let values: Vec<f64> = match (noise.kind, passage.learn) {
                (NoiseKind::Mask, false) => vec![noise.draw.mean(); size],
                (kind, _) => {
                    let at = match kind {
                        NoiseKind::Mask => lane,
                        NoiseKind::Step => row,
                    } * size;
                    let drawn = &self.noises[*number][at..at + size];
                    drawn.iter().map(|x| f64::from(*x)).collect()
                }
            };
            memory.set_noise(fused, slot, &values);
        }
    }

    /// Only one stage goes back at a time, so one memory for replayed traces does for all whose traces are as large.
    fn take_way_back(&mut self, experiment: &Experiment, k: usize, fused: &Fused) {
        for (other, stage) in experiment.stages.iter().enumerate() {
            let Program::Lanes(program) = &stage.program else {
                continue;
            };
            if let Ok([own, others]) = self.memories.get_disjoint_mut([k, other]) {
                for (own, other) in own.iter_mut().zip(others) {
                    own.take_way_back(fused, other, program);
                }
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is what a stage reads and writes"
    )]
    pub(super) fn lanes_backward(
        &mut self,
        experiment: &Experiment,
        k: usize,
        fused: &Fused,
        parameters: &ParamStore,
        passage: Passage<'_>,
        waiting: &mut [Option<Vec<f32>>],
        gradients: &mut Gradients,
    ) -> Result<(), BackendError> {
        self.take_way_back(experiment, k, fused);
        let stage = &experiment.stages[k].cut;
        let steps = passage.steps;
        let shared = &self.shared[k];
        let seeds = &*waiting;
        let seed = |lane: usize, step: usize, slot: usize, out: &mut [f32]| {
            let number = stage.outputs[slot];
            let size = experiment.sizes[number];
            match &seeds[number] {
                Some(values) => {
                    let row = (lane * steps + step) * size;
                    out.copy_from_slice(&values[row..row + size]);
                }
                None => out.fill(0.0),
            }
        };
        // A group of lanes goes in step and adds to the same sums.
        let size = self.lanes.div_ceil(groups(self.lanes)).max(1);
        let sums_of_groups: Vec<&[f32]> = self.memories[k]
            .par_chunks_mut(size)
            .enumerate()
            .map(|(group, memories)| {
                for (number, memory) in memories.iter_mut().enumerate() {
                    if number == 0 {
                        memory.start_back(fused);
                    } else {
                        memory.start_back_beside(fused);
                    }
                }
                LaneMemory::back_together(memories, fused, shared, |number, step, slot, out| {
                    seed(group * size + number, step, slot, out);
                });
                match memories.first_mut() {
                    Some(first) => first.sums(fused),
                    None => &[],
                }
            })
            .collect();
        // Group after group, whichever thread adds them.
        let mut sums = self.scratch.take(fused.sums_size());
        sums.par_chunks_mut(PIECE)
            .enumerate()
            .for_each(|(number, out)| {
                let mut totals = [0.0f64; 256];
                for (k, out) in out.chunks_mut(totals.len()).enumerate() {
                    let at = number * PIECE + k * totals.len();
                    totals.fill(0.0);
                    for sums in &sums_of_groups {
                        for (total, x) in totals[..out.len()].iter_mut().zip(&sums[at..]) {
                            *total += f64::from(*x);
                        }
                    }
                    for (to, total) in out.iter_mut().zip(&totals) {
                        *to = *total as f32;
                    }
                }
            });
        let memories = &self.memories[k];
        for (slot, source) in stage.inputs.iter().enumerate() {
            let Source::Earlier(number) = source else {
                continue;
            };
            let mut values = self
                .scratch
                .take(passage.words.len() * experiment.sizes[*number]);
            let lane_size = steps * experiment.sizes[*number];
            values
                .par_chunks_exact_mut(lane_size)
                .zip(memories)
                .for_each(|(out, memory)| {
                    for (step, row) in out.chunks_exact_mut(lane_size / steps).enumerate() {
                        row.copy_from_slice(memory.input_adjoint(fused, slot, step));
                    }
                });
            add(&mut waiting[*number], Cow::Owned(values));
        }
        let scratch = &mut self.scratch;
        let given = Self::parameters(stage, parameters);
        let found = fused.gradients_in(&given, &sums, |n| scratch.take(n))?;
        for (slot, values) in found.into_iter().enumerate() {
            if let Some(values) = values {
                add(&mut gradients[stage.params[slot]], Cow::Owned(values));
            }
        }
        self.scratch.give(sums);
        Ok(())
    }
}
