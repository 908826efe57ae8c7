//! A block of lanes on the fused kernels: each lane runs its whole episode before the next begins.

use super::block::{Block, BlockReport, EpisodeOptions, Objective};
use super::lane_episode::{LaneEpisode, Wiring};
use crate::backend::fused::{Fused, LaneMemory, Shared};
use crate::backend::BackendError;
use crate::ir::{Graph, Reset};
use crate::tasks::Task;
use std::sync::Arc;

/// Lanes that share one memory.
pub struct FusedBlock {
    program: Arc<Fused>,
    graph: Arc<Graph>,
    wiring: Wiring,
    lanes: Vec<LaneEpisode>,
    interval: usize,
    memory: LaneMemory<f32>,
    /// By slot, lane by lane.
    carried: Vec<Option<Vec<f64>>>,
}

impl FusedBlock {
    /// Lanes `first_lane .. first_lane + lanes` of a task.
    pub fn new(
        program: Arc<Fused>,
        graph: Arc<Graph>,
        task: &dyn Task,
        lanes: std::ops::Range<usize>,
        interval: usize,
        objective: Objective,
    ) -> FusedBlock {
        let wiring = Wiring::new(&graph, task, objective);
        FusedBlock {
            lanes: lanes
                .map(|lane| LaneEpisode::new(&wiring, task, lane))
                .collect(),
            carried: graph.states.iter().map(|_| None).collect(),
            program,
            graph,
            wiring,
            interval,
            memory: LaneMemory::new(),
        }
    }

    /// One lane's episode forward.
    fn forward(&mut self, lane: usize, shared: &Shared<f32>, options: &EpisodeOptions) {
        let program = &*self.program;
        let memory = &mut self.memory;
        let episode = &mut self.lanes[lane];
        episode.start(options);
        memory.start(program, self.wiring.steps(), self.interval);
        for (slot, carried) in self.carried.iter().enumerate() {
            if let Some(values) = carried {
                let width = self.graph.states[slot].dims.iter().product::<usize>();
                memory.set_state(program, slot, &values[lane * width..(lane + 1) * width]);
            }
        }
        let mut read: Vec<Vec<f64>> = self.wiring.read().map(|_| Vec::new()).collect();
        let mut noise = Vec::new();
        for step in 0..self.wiring.steps() {
            episode.observe(&self.wiring, |slot, values| {
                if let Some(place) = memory.input(program, slot) {
                    place.copy_from_slice(values);
                }
            });
            for (slot, source) in self.graph.noises.iter().enumerate() {
                if let Some(place) = memory.noise(program, slot) {
                    noise.resize(source.dims.iter().product(), 0.0);
                    episode.noise(&self.graph, slot, step, options, &mut noise);
                    for (to, x) in place.iter_mut().zip(&noise) {
                        *to = *x as f32;
                    }
                }
            }
            memory.step(program, shared);
            for (slot, values) in self.wiring.read().zip(&mut read) {
                memory.output(program, shared, slot, values);
            }
            episode.take(&self.wiring, step, options, read.iter().map(Vec::as_slice));
        }
    }

    fn keep_carried(&mut self, lane: usize, carried: &mut [Option<Vec<f64>>]) {
        for (slot, state) in self.graph.states.iter().enumerate() {
            if matches!(state.reset, Reset::Never | Reset::Carry) {
                let values = self.memory.state(&self.program, slot);
                debug_assert_eq!(
                    carried[slot].as_ref().map_or(0, Vec::len),
                    lane * values.len()
                );
                carried[slot].get_or_insert_default().extend(values);
            }
        }
    }
}

impl Block for FusedBlock {
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
    ) -> Result<BlockReport, BackendError> {
        let shared = self.program.shared::<f32>(parameters)?;
        let mut report = BlockReport::default();
        let mut sums = vec![0.0; self.program.sums_size()];
        let mut carried: Vec<Option<Vec<f64>>> = vec![None; self.carried.len()];
        let width = |seeds: &[f64], steps: usize| seeds.len() / steps;
        for lane in 0..self.lanes.len() {
            self.forward(lane, &shared, &options);
            self.keep_carried(lane, &mut carried);
            let seeds = report.add(&self.lanes[lane], &self.wiring, &options);
            if !options.learn {
                continue;
            }
            let steps = self.wiring.steps();
            let outputs: Vec<usize> = self.wiring.read().collect();
            self.memory.start_back(&self.program);
            self.memory.back(&self.program, &shared, |step, slot, out| {
                // Outputs the trainer does not read have no adjoint.
                match outputs.iter().position(|read| *read == slot) {
                    Some(k) => {
                        let width = width(&seeds[k], steps);
                        let values = &seeds[k][step * width..(step + 1) * width];
                        for (to, x) in out.iter_mut().zip(values) {
                            *to = *x as f32;
                        }
                    }
                    None => out.fill(0.0),
                }
            });
            self.memory.add_sums(&mut sums);
        }
        self.carried = carried;
        if options.learn {
            report.gradients = self.program.gradients(parameters, &sums)?;
        }
        Ok(report)
    }

    fn carried(&self) -> &[Option<Vec<f64>>] {
        &self.carried
    }

    fn set_carried(&mut self, carried: Vec<Option<Vec<f64>>>) {
        self.carried = carried;
    }

    fn lanes(&self) -> usize {
        self.lanes.len()
    }
}
