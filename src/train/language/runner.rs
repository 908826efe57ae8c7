//! The stages of a network over a chunk of all lanes, forward and back.

use crate::autodiff::Options;
use crate::backend::bptt::least_memory_interval;
use crate::backend::fused::{Fused, LaneMemory, Shared, Unsupported};
use crate::backend::staged::rows::{evaluate, Leaves, Scratch, Table};
use crate::backend::staged::{split, Source, Split, Stage};
use crate::backend::BackendError;
use crate::driver::{prepare, InternalFault};
use crate::ir::{Graph, NoiseKind, ResultKind};
use crate::passes::Selection;
use crate::rng::{fill, Key, Stream};
use crate::train::params::ParamStore;
use rayon::prelude::*;
use std::borrow::Cow;

/// A network in stages, compiled.
#[derive(Debug)]
pub struct Staged {
    split: Split,
    programs: Vec<Program>,
    step: Graph,
}

/// What runs a stage.
#[derive(Debug)]
enum Program {
    /// All rows at once: the step and its adjoint.
    Rows(Box<[Graph; 2]>),
    /// Each lane through the chunk.
    Lanes(Box<Fused>),
}

/// Why a network has no stages.
#[derive(Debug, thiserror::Error)]
pub enum StagedError {
    /// A stage holds something that its kernels do not know.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// The compiler failed when it cut the step.
    #[error("the step cannot be cut into stages: {0}")]
    Shape(#[from] crate::ir::ShapeError),
}

impl Staged {
    /// Cuts a step into stages and compiles each with its adjoint.
    ///
    /// # Errors
    /// Where a stage holds what the kernels do not know.
    pub fn new(step: &Graph, passes: &Selection) -> Result<Staged, StagedError> {
        let split = split(step)?;
        let mut programs = Vec::with_capacity(split.stages.len());
        for stage in &split.stages {
            // The adjoint of what earlier stages give is wanted, that of the words is not.
            let inputs = stage
                .inputs
                .iter()
                .any(|input| matches!(input, Source::Earlier(_)));
            let prepared = prepare(&stage.graph, Options { inputs }, passes, None)?;
            programs.push(if stage.recurrent {
                let fused = Fused::with(&prepared.step, &prepared.adjoint, prepared.choices)?;
                Program::Lanes(Box::new(fused))
            } else {
                Program::Rows(Box::new([prepared.step, prepared.adjoint]))
            });
        }
        Ok(Staged {
            split,
            programs,
            step: step.clone(),
        })
    }

    /// Its stages.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// The whole step.
    pub fn step(&self) -> &Graph {
        &self.step
    }

    /// Bytes of a chunk: what is kept of every lane, and of all rows.
    pub fn bytes(&self, lanes: usize, steps: usize) -> u64 {
        let interval = least_memory_interval(steps);
        let rows = (lanes * steps) as u64;
        let tables: u64 = self.split.sizes.iter().map(|size| *size as u64).sum();
        let lanes_bytes: u64 = self
            .programs
            .iter()
            .map(|program| match program {
                Program::Rows(_) => 0,
                Program::Lanes(fused) => {
                    let bytes = fused.bytes(steps, fused.interval(interval));
                    let lane = bytes.records + bytes.traces + bytes.sums + bytes.working;
                    bytes.shared + lane * lanes as u64
                }
            })
            .sum();
        // Each value and its adjoint.
        lanes_bytes + 2 * 4 * rows * tables
    }
}

/// A chunk being run.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// Words read, row `lane * steps + step`.
    pub words: &'a [u32],
    /// Steps.
    pub steps: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Iteration, which with the seed fixes noise and masks.
    pub iteration: u32,
    /// Whether masks are drawn; else they are at their means.
    pub learn: bool,
}

/// Lanes of a network with their states.
#[derive(Debug)]
pub struct Runner {
    lanes: usize,
    /// By stage, lane by lane; empty for stages without states.
    memories: Vec<Vec<LaneMemory<f32>>>,
    /// By stage.
    shared: Vec<Shared<f32>>,
    /// Whether lanes go on where they were.
    started: bool,
    scratch: Scratch,
    /// Values given from stage to stage, row after row.
    tables: Vec<Vec<f32>>,
    noises: Vec<Vec<f32>>,
}

/// Gradients by parameter of the network.
pub type Gradients = Vec<Option<Vec<f32>>>;

impl Runner {
    /// So many lanes, at the beginning of a text.
    pub fn new(staged: &Staged, lanes: usize) -> Runner {
        Runner {
            lanes,
            memories: staged
                .programs
                .iter()
                .map(|program| match program {
                    Program::Rows(_) => Vec::new(),
                    Program::Lanes(_) => (0..lanes).map(|_| LaneMemory::new()).collect(),
                })
                .collect(),
            shared: vec![Shared::default(); staged.programs.len()],
            started: false,
            scratch: Scratch::default(),
            tables: vec![Vec::new(); staged.split.sizes.len()],
            noises: Vec::new(),
        }
    }

    /// Goes back to the beginning: states are at their first values when the next chunk begins.
    pub fn restart(&mut self) {
        self.started = false;
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// An output of the last chunk by slot, row after row.
    pub fn output(&mut self, staged: &Staged, slot: usize) -> &mut Vec<f32> {
        &mut self.tables[staged.split.outputs[slot]]
    }

    /// Runs a chunk; states go on from the last one.
    ///
    /// # Errors
    /// Where parameters do not fit.
    pub fn forward(
        &mut self,
        staged: &Staged,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError> {
        self.draw(staged, passage);
        for k in 0..staged.programs.len() {
            match &staged.programs[k] {
                Program::Rows(graphs) => {
                    self.rows_forward(staged, k, &graphs[0], parameters, passage);
                }
                Program::Lanes(fused) => {
                    self.lanes_forward(staged, k, fused, parameters, passage)?;
                }
            }
        }
        self.started = true;
        Ok(())
    }

    /// Goes back through the last chunk. `adjoints` are by output slot, row after row; outputs without have none.
    ///
    /// # Errors
    /// Where parameters do not fit.
    pub fn backward(
        &mut self,
        staged: &Staged,
        parameters: &ParamStore,
        passage: Passage<'_>,
        adjoints: Vec<(usize, Vec<f32>)>,
    ) -> Result<Gradients, BackendError> {
        let mut gradients: Gradients = vec![None; staged.step.params.len()];
        let mut waiting: Vec<Option<Vec<f32>>> = vec![None; staged.split.sizes.len()];
        for (slot, values) in adjoints {
            add(&mut waiting[staged.split.outputs[slot]], Cow::Owned(values));
        }
        for k in (0..staged.programs.len()).rev() {
            match &staged.programs[k] {
                Program::Rows(graphs) => self.rows_backward(
                    staged,
                    k,
                    &graphs[1],
                    parameters,
                    passage,
                    &mut waiting,
                    &mut gradients,
                ),
                Program::Lanes(fused) => self.lanes_backward(
                    staged,
                    k,
                    fused,
                    parameters,
                    passage,
                    &mut waiting,
                    &mut gradients,
                )?,
            }
            for number in &staged.split.stages[k].outputs {
                if let Some(values) = waiting[*number].take() {
                    self.scratch.give(values);
                }
            }
        }
        Ok(gradients)
    }

    /// Draws noise and masks of a chunk: `[lane][size]` for masks, `[lane][step][size]` for what is new at every step.
    fn draw(&mut self, staged: &Staged, passage: Passage<'_>) {
        self.noises.resize_with(staged.step.noises.len(), Vec::new);
        for (k, (slot, out)) in staged.step.noises.iter().zip(&mut self.noises).enumerate() {
            let size: usize = slot.dims.iter().product();
            let draws = match (slot.kind, passage.learn) {
                (NoiseKind::Mask, true) => 1,
                (NoiseKind::Mask, false) => 0,
                (NoiseKind::Step, _) => passage.steps,
            };
            out.resize(self.lanes * draws * size, 0.0);
            let key = Key::new(passage.seed, Stream::Noise(k as u32));
            let columns = slot.dims.last().copied().unwrap_or(1);
            if size == 0 || draws == 0 {
                continue;
            }
            out.par_chunks_exact_mut(size)
                .enumerate()
                .for_each(|(number, out)| {
                    let (lane, step) = (number / draws, number % draws);
                    let place = key.at(passage.iteration, step as u32, lane as u32);
                    let mut values = vec![0.0; size];
                    fill(&slot.draw, place, columns, &mut values);
                    for (to, x) in out.iter_mut().zip(values) {
                        *to = x as f32;
                    }
                });
        }
    }

    /// What a stage of rows starts from, but for seeds.
    fn leaves<'a>(
        &'a self,
        staged: &'a Staged,
        stage: &Stage,
        parameters: &'a ParamStore,
        passage: Passage<'a>,
    ) -> Leaves<'a> {
        let all: Vec<&[f32]> = parameters.iter().map(|p| p.values.as_slice()).collect();
        let noise = |k: &usize| {
            let (slot, values) = (&staged.step.noises[*k], &self.noises[*k]);
            match (slot.kind, passage.learn) {
                (NoiseKind::Step, _) => Table::rows(values),
                (NoiseKind::Mask, true) => Table::Repeated(Cow::Borrowed(values), passage.steps),
                (NoiseKind::Mask, false) => {
                    let size = slot.dims.iter().product();
                    Table::Shared(Cow::Owned(vec![slot.draw.mean() as f32; size]))
                }
            }
        };
        Leaves {
            params: stage.params.iter().map(|k| all[*k]).collect(),
            inputs: stage
                .inputs
                .iter()
                .map(|source| match source {
                    Source::Input(_) => Table::hot(passage.words),
                    Source::Earlier(number) => Table::rows(&self.tables[*number]),
                })
                .collect(),
            noises: stage.noises.iter().map(noise).collect(),
            seeds: Vec::new(),
        }
    }

    fn rows_forward(
        &mut self,
        staged: &Staged,
        k: usize,
        graph: &Graph,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) {
        let stage = &staged.split.stages[k];
        let rows = passage.words.len();
        let mut scratch = std::mem::take(&mut self.scratch);
        for number in &stage.outputs {
            scratch.give(std::mem::take(&mut self.tables[*number]));
        }
        let leaves = self.leaves(staged, stage, parameters, passage);
        let results: Vec<(usize, Vec<f32>)> = evaluate(graph, rows, &leaves, &mut scratch)
            .into_iter()
            .filter_map(|(result, table)| match result {
                ResultKind::Output(id) => {
                    let number = stage.outputs[id.index()];
                    Some((number, table.into_rows(rows, staged.split.sizes[number])))
                }
                _ => None,
            })
            .collect();
        drop(leaves);
        for (number, values) in results {
            self.tables[number] = values;
        }
        self.scratch = scratch;
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is what a stage reads and writes"
    )]
    fn rows_backward(
        &mut self,
        staged: &Staged,
        k: usize,
        graph: &Graph,
        parameters: &ParamStore,
        passage: Passage<'_>,
        waiting: &mut [Option<Vec<f32>>],
        gradients: &mut Gradients,
    ) {
        let stage = &staged.split.stages[k];
        let rows = passage.words.len();
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut leaves = self.leaves(staged, stage, parameters, passage);
        let seeds: Vec<Cow<'_, [f32]>> = stage
            .outputs
            .iter()
            .map(|number| match &waiting[*number] {
                Some(values) => Cow::Borrowed(values.as_slice()),
                None => Cow::Owned(vec![0.0; rows * staged.split.sizes[*number]]),
            })
            .collect();
        leaves.seeds = seeds.iter().map(|values| Table::rows(values)).collect();
        let mut earlier: Vec<(usize, Vec<f32>)> = Vec::new();
        for (result, table) in evaluate(graph, rows, &leaves, &mut scratch) {
            match result {
                ResultKind::Gradient(id) => {
                    let size: usize = graph.params[id.index()].dims.iter().product();
                    let values = table.into_rows(1, size);
                    add(&mut gradients[stage.params[id.index()]], Cow::Owned(values));
                }
                ResultKind::InputAdjoint(id) => {
                    if let Source::Earlier(number) = stage.inputs[id.index()] {
                        let values = table.into_rows(rows, staged.split.sizes[number]);
                        earlier.push((number, values));
                    }
                }
                ResultKind::Output(_) | ResultKind::Next(_) | ResultKind::AdjointOut(_) => {}
            }
        }
        drop(leaves);
        drop(seeds);
        for (number, values) in earlier {
            add(&mut waiting[number], Cow::Owned(values));
        }
        self.scratch = scratch;
    }

    /// The parameters of a stage in f64, by its slots.
    fn parameters(stage: &Stage, parameters: &ParamStore) -> Vec<Vec<f64>> {
        let all: Vec<&[f32]> = parameters.iter().map(|p| p.values.as_slice()).collect();
        stage
            .params
            .iter()
            .map(|k| all[*k].iter().map(|x| f64::from(*x)).collect())
            .collect()
    }

    fn lanes_forward(
        &mut self,
        staged: &Staged,
        k: usize,
        fused: &Fused,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError> {
        let stage = &staged.split.stages[k];
        let steps = passage.steps;
        self.shared[k] = fused.shared(&Self::parameters(stage, parameters))?;
        let interval = least_memory_interval(steps);
        let mut memories = std::mem::take(&mut self.memories[k]);
        let (this, shared, started) = (&*self, &self.shared[k], self.started);
        let results: Vec<Vec<Vec<f32>>> = memories
            .par_iter_mut()
            .enumerate()
            .map(|(lane, memory)| {
                if started {
                    memory.go_on(fused, steps, interval);
                } else {
                    memory.start(fused, steps, interval);
                }
                let mut outputs: Vec<Vec<f32>> = stage
                    .outputs
                    .iter()
                    .map(|number| Vec::with_capacity(steps * staged.split.sizes[*number]))
                    .collect();
                for step in 0..steps {
                    this.feed(staged, stage, fused, memory, [lane, step], passage);
                    memory.step(fused, shared);
                    for (slot, out) in outputs.iter_mut().enumerate() {
                        memory.append_output(fused, shared, slot, out);
                    }
                }
                memory.settle(fused, shared);
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
        staged: &Staged,
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
                    let size = staged.split.sizes[*number];
                    let values = &self.tables[*number][row * size..(row + 1) * size];
                    memory.set_input(fused, slot, values, |x| x);
                }
                Source::Input(input) => {
                    let size: usize = staged.step.inputs[*input].dims.iter().product();
                    let word = passage.words[row] as usize;
                    let values: Vec<f32> =
                        (0..size).map(|k| f32::from(u8::from(k == word))).collect();
                    memory.set_input(fused, slot, &values, |x| x);
                }
            }
        }
        for (slot, number) in stage.noises.iter().enumerate() {
            let noise = &staged.step.noises[*number];
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

    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is what a stage reads and writes"
    )]
    fn lanes_backward(
        &mut self,
        staged: &Staged,
        k: usize,
        fused: &Fused,
        parameters: &ParamStore,
        passage: Passage<'_>,
        waiting: &mut [Option<Vec<f32>>],
        gradients: &mut Gradients,
    ) -> Result<(), BackendError> {
        let stage = &staged.split.stages[k];
        let steps = passage.steps;
        let shared = &self.shared[k];
        let seeds = &*waiting;
        self.memories[k]
            .par_iter_mut()
            .enumerate()
            .for_each(|(lane, memory)| {
                memory.start_back(fused);
                memory.back(fused, shared, |step, slot, out| {
                    let number = stage.outputs[slot];
                    let size = staged.split.sizes[number];
                    match &seeds[number] {
                        Some(values) => {
                            let row = (lane * steps + step) * size;
                            out.copy_from_slice(&values[row..row + size]);
                        }
                        None => out.fill(0.0),
                    }
                });
            });
        let memories = &self.memories[k];
        for (slot, source) in stage.inputs.iter().enumerate() {
            let Source::Earlier(number) = source else {
                continue;
            };
            let mut values = self
                .scratch
                .take(passage.words.len() * staged.split.sizes[*number]);
            let lane_size = steps * staged.split.sizes[*number];
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
        // Lane after lane, whichever thread adds them.
        let mut sums = vec![0.0f64; fused.sums_size()];
        let piece = 4096;
        sums.par_chunks_mut(piece)
            .enumerate()
            .for_each(|(number, out)| {
                for memory in memories {
                    let at = number * piece;
                    let lane = &memory.sums()[at..at + out.len()];
                    for (to, x) in out.iter_mut().zip(lane) {
                        *to += f64::from(*x);
                    }
                }
            });
        let found = fused.gradients(&Self::parameters(stage, parameters), &sums)?;
        for (slot, values) in found.into_iter().enumerate() {
            if let Some(values) = values {
                let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
                add(&mut gradients[stage.params[slot]], Cow::Owned(values));
            }
        }
        Ok(())
    }

    /// Takes back the memory of gradients.
    pub fn give_back(&mut self, gradients: Vec<Vec<f32>>) {
        for values in gradients {
            self.scratch.give(values);
        }
    }

    /// States of all lanes, by slot of the network; nothing before the first chunk.
    pub fn states(&mut self, staged: &Staged) -> Vec<Option<Vec<f64>>> {
        let mut out: Vec<Option<Vec<f64>>> = vec![None; staged.step.states.len()];
        if !self.started {
            return out;
        }
        for (k, program) in staged.programs.iter().enumerate() {
            let Program::Lanes(fused) = program else {
                continue;
            };
            for (slot, state) in staged.split.stages[k].states.iter().enumerate() {
                let lanes = self.memories[k].iter_mut();
                let values = lanes.flat_map(|memory| memory.state(fused, &self.shared[k], slot));
                out[*state] = Some(values.collect());
            }
        }
        out
    }

    /// Goes on from states that [`Runner::states`] gave.
    pub fn set_states(&mut self, staged: &Staged, states: &[Option<Vec<f64>>]) {
        self.started = false;
        if states.is_empty() {
            return;
        }
        for (k, program) in staged.programs.iter().enumerate() {
            let Program::Lanes(fused) = program else {
                continue;
            };
            for (lane, memory) in self.memories[k].iter_mut().enumerate() {
                memory.start(fused, 0, 1);
                for (slot, state) in staged.split.stages[k].states.iter().enumerate() {
                    if let Some(Some(values)) = states.get(*state) {
                        let size = values.len() / self.lanes;
                        let mine = &values[lane * size..(lane + 1) * size];
                        memory.set_state(fused, slot, mine);
                        self.started = true;
                    }
                }
            }
        }
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
