//! The stages of a network over a chunk of all lanes, forward and back.

mod lanes;
mod rows;

use super::reader::{ChunkRan, Gradients, Judge, OutputAdjoints, Outputs, Reader};
use super::stream::Chunk;
use crate::engine::episode::States;
use crate::engine::experiment::{Experiment, Program};
use crate::engine::fused::{LaneMemory, Shared};
use crate::engine::params::ParamStore;
use crate::engine::staged::rows::Scratch;
use crate::engine::BackendError;
use crate::ir::rng::noise;
use crate::ir::NoiseKind;
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// A chunk being run.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// Words read, row `lane * steps + step`.
    pub words: &'a [u32],
    /// The words that follow, and their weights.
    pub targets: (&'a [u32], &'a [f32]),
    /// Steps.
    pub steps: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Iteration, which with the seed fixes noise and masks.
    pub iteration: u32,
    /// True if masks are drawn; else they are at their means.
    pub learn: bool,
}

impl<'a> Passage<'a> {
    /// A chunk to learn from.
    pub fn learned(chunk: &'a Chunk, seed: u64, iteration: u32) -> Passage<'a> {
        Passage {
            words: &chunk.inputs,
            targets: (&chunk.targets, &chunk.weights),
            steps: chunk.steps,
            seed,
            iteration,
            learn: true,
        }
    }

    /// A chunk whose cost is asked for only.
    pub fn judged(chunk: &'a Chunk, seed: u64) -> Passage<'a> {
        Passage {
            learn: false,
            ..Passage::learned(chunk, seed, u32::MAX)
        }
    }
}

/// Lanes of a network with their states, stage by stage.
#[derive(Debug)]
pub struct StagedReader {
    experiment: Arc<Experiment>,
    lanes: usize,
    /// By stage, lane by lane; empty for stages without states.
    memories: Vec<Vec<LaneMemory<f32>>>,
    /// By stage.
    shared: Vec<Shared<f32>>,
    /// True if lanes go on where they were.
    started: bool,
    /// True if they did in the last chunk.
    had_started: bool,
    scratch: Scratch,
    /// Values given from stage to stage, row after row.
    tables: Vec<Vec<f32>>,
    noises: Vec<Vec<f32>>,
}

impl StagedReader {
    /// A runner of some lanes at the beginning of a text.
    pub fn new(experiment: Arc<Experiment>, lanes: usize) -> StagedReader {
        StagedReader {
            lanes,
            memories: experiment
                .stages
                .iter()
                .map(|stage| match &stage.program {
                    Program::Rows | Program::Graphs => Vec::new(),
                    Program::Lanes(_) => (0..lanes).map(|_| LaneMemory::new()).collect(),
                })
                .collect(),
            shared: vec![Shared::default(); experiment.stages.len()],
            started: false,
            had_started: false,
            scratch: Scratch::default(),
            tables: vec![Vec::new(); experiment.sizes.len()],
            noises: Vec::new(),
            experiment,
        }
    }

    /// Runs a chunk; states go on from the last one.
    fn forward(
        &mut self,
        experiment: &Experiment,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError> {
        self.draw(experiment, passage);
        for (k, stage) in experiment.stages.iter().enumerate() {
            match &stage.program {
                Program::Rows | Program::Graphs => {
                    self.rows_forward(experiment, k, &stage.graphs.step, parameters, passage);
                }
                Program::Lanes(fused) => {
                    self.lanes_forward(experiment, k, fused, parameters, passage)?;
                }
            }
        }
        self.had_started = self.started;
        self.started = true;
        Ok(())
    }

    /// Goes back through the last chunk.
    fn backward(
        &mut self,
        experiment: &Experiment,
        parameters: &ParamStore,
        passage: Passage<'_>,
        adjoints: OutputAdjoints,
    ) -> Result<Gradients, BackendError> {
        let mut gradients: Gradients = vec![None; experiment.step.params.len()];
        let mut waiting: Vec<Option<Vec<f32>>> = vec![None; experiment.sizes.len()];
        for (slot, values) in adjoints {
            add(&mut waiting[experiment.outputs[slot]], Cow::Owned(values));
        }
        for (k, stage) in experiment.stages.iter().enumerate().rev() {
            match &stage.program {
                Program::Rows | Program::Graphs => self.rows_backward(
                    experiment,
                    k,
                    &stage.graphs.adjoint,
                    parameters,
                    passage,
                    &mut waiting,
                    &mut gradients,
                ),
                Program::Lanes(fused) => self.lanes_backward(
                    experiment,
                    k,
                    fused,
                    parameters,
                    passage,
                    &mut waiting,
                    &mut gradients,
                )?,
            }
            for number in &stage.cut.outputs {
                if let Some(values) = waiting[*number].take() {
                    self.scratch.give(values);
                }
            }
        }
        Ok(gradients)
    }

    /// Draws noise and masks of a chunk: `[lane][size]` for masks, `[lane][step][size]` for what is new at every step.
    fn draw(&mut self, experiment: &Experiment, passage: Passage<'_>) {
        self.noises
            .resize_with(experiment.step.noises.len(), Vec::new);
        for (k, (slot, out)) in experiment
            .step
            .noises
            .iter()
            .zip(&mut self.noises)
            .enumerate()
        {
            let size: usize = slot.dims.iter().product();
            let draws = match (slot.kind, passage.learn) {
                (NoiseKind::Mask, true) => 1,
                (NoiseKind::Mask, false) => 0,
                (NoiseKind::Step, _) => passage.steps,
            };
            out.resize(self.lanes * draws * size, 0.0);
            if size == 0 || draws == 0 {
                continue;
            }
            out.par_chunks_exact_mut(size)
                .enumerate()
                .for_each(|(number, out)| {
                    let [lane, step] = [number / draws, number % draws].map(|k| k as u32);
                    let mut values = vec![0.0; size];
                    let how = (passage.seed, passage.learn);
                    noise(slot, k, how, [passage.iteration, step, lane], &mut values);
                    for (to, x) in out.iter_mut().zip(values) {
                        *to = x as f32;
                    }
                });
        }
    }
}

impl Reader for StagedReader {
    fn lanes(&self) -> usize {
        self.lanes
    }

    fn restart(&mut self) {
        self.started = false;
    }

    fn read(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
        judge: &mut Judge<'_>,
    ) -> Result<ChunkRan, BackendError> {
        let experiment = Arc::clone(&self.experiment);
        let mut ran = ChunkRan::default();
        let mut start = Instant::now();
        let mut lap = |time: &mut f64| {
            let now = Instant::now();
            *time = (now - start).as_secs_f64();
            start = now;
        };
        self.forward(&experiment, parameters, passage)?;
        lap(&mut ran.times.forward);
        let adjoints = judge(Outputs {
            tables: &mut self.tables,
            numbers: &experiment.outputs,
        });
        lap(&mut ran.times.environment);
        if passage.learn {
            ran.gradients = self.backward(&experiment, parameters, passage, adjoints)?;
            lap(&mut ran.times.backward);
        }
        Ok(ran)
    }

    fn take_back(&mut self) {
        for memory in self.memories.iter_mut().flatten() {
            memory.take_back();
        }
        self.started = self.had_started;
    }

    fn give_back(&mut self, gradients: Vec<Vec<f32>>) {
        for values in gradients {
            self.scratch.give(values);
        }
    }

    fn states(&mut self) -> Result<States, BackendError> {
        let mut out: States = vec![None; self.experiment.step.states.len()];
        if !self.started {
            return Ok(out);
        }
        for (k, stage) in self.experiment.stages.iter().enumerate() {
            let Program::Lanes(fused) = &stage.program else {
                continue;
            };
            for (slot, state) in stage.cut.states.iter().enumerate() {
                let lanes = self.memories[k].iter_mut();
                let values = lanes.flat_map(|memory| memory.state(fused, &self.shared[k], slot));
                out[*state] = Some(values.collect());
            }
        }
        Ok(out)
    }

    fn set_states(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        self.started = false;
        for (k, stage) in self.experiment.stages.iter().enumerate() {
            let Program::Lanes(fused) = &stage.program else {
                continue;
            };
            for (lane, memory) in self.memories[k].iter_mut().enumerate() {
                memory.start(fused, 0, 1);
                for (slot, state) in stage.cut.states.iter().enumerate() {
                    if let Some(Some(values)) = states.get(*state) {
                        let size = values.len() / self.lanes;
                        let mine = &values[lane * size..(lane + 1) * size];
                        memory.set_state(fused, slot, mine);
                        self.started = true;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Adds values to what is there.
fn add(total: &mut Option<Vec<f32>>, values: Cow<'_, [f32]>) {
    match total {
        None => *total = Some(values.into_owned()),
        Some(total) => {
            for (to, x) in total.iter_mut().zip(values.iter()) {
                *to += x;
            }
        }
    }
}
