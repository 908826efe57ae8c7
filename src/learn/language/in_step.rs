//! A reader on an engine of episodes: the unfused network, all lanes in step. Slow, and what the stages are checked against; on
//! a GPU it is how language models run.

use super::reader::{is_target, ChunkRan, Judge, Outputs, Reader};
use super::runner::Passage;
use crate::engine::episode::{Engine, Environment, EpisodeRun, Running, States};
use crate::engine::params::ParamStore;
use crate::engine::BackendError;
use crate::ir::rng::noise;
use crate::ir::Graph;
use crate::learn::drive::as_kept;

/// Lanes of a network with their states.
pub struct InStepReader {
    engine: Box<dyn Engine>,
    graph: Graph,
    lanes: usize,
    /// The states that enter the next chunk; empty at the beginning of a text.
    states: States,
    /// The states that entered the last chunk.
    entered: States,
    /// By slot, row after row.
    outputs: Vec<Vec<f32>>,
}

impl InStepReader {
    /// The lanes of an engine that all go in step, at the beginning of a text.
    pub fn new(engine: Box<dyn Engine>) -> InStepReader {
        let graph = engine.graph().clone();
        InStepReader {
            lanes: engine.groups().iter().sum(),
            states: Vec::new(),
            entered: Vec::new(),
            outputs: vec![Vec::new(); graph.outputs.len()],
            graph,
            engine,
        }
    }
}

/// A chunk as an environment.
struct Words<'a, 'b> {
    graph: &'a Graph,
    lanes: usize,
    passage: Passage<'a>,
    outputs: &'a mut [Vec<f32>],
    judge: &'a mut Judge<'b>,
    /// By output slot, row after row; empty where there are none.
    adjoints: Vec<Vec<f64>>,
}

impl Environment for Words<'_, '_> {
    fn start(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn before(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        let Passage {
            words,
            targets: (targets, weights),
            steps,
            ..
        } = self.passage;
        // All inputs are the word, or the one that follows it, as a vector with a 1 in its place.
        for (slot, input) in self.graph.inputs.iter().enumerate() {
            let width: usize = input.dims.iter().product();
            let mut hot = vec![0.0; self.lanes * width];
            for (lane, row) in hot.chunks_exact_mut(width).enumerate() {
                let at = lane * steps + step;
                let (word, one) = match is_target(self.graph, slot) {
                    true => (targets[at], f64::from(weights[at])),
                    false => (words[at], 1.0),
                };
                row[word as usize] = one;
            }
            lanes.set_inputs(slot, &hot);
        }
        for (slot, source) in self.graph.noises.iter().enumerate() {
            let mut values = vec![0.0; source.dims.iter().product()];
            let how = (self.passage.seed, self.passage.learn);
            for lane in 0..self.lanes {
                let at = [self.passage.iteration, step as u32, lane as u32];
                noise(source, slot, how, at, &mut values);
                lanes.set_noise(lane, slot, &values);
            }
        }
        Ok(())
    }

    fn after(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        for (slot, all) in self.outputs.iter_mut().enumerate() {
            let values = lanes.outputs(slot)?;
            let width = values.len() / self.lanes;
            all.resize(values.len() * self.passage.steps, 0.0);
            for (lane, values) in values.chunks_exact(width.max(1)).enumerate() {
                let row = lane * self.passage.steps + step;
                for (to, x) in all[row * width..].iter_mut().zip(values) {
                    *to = *x as f32;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.adjoints = vec![Vec::new(); self.outputs.len()];
        for (slot, rows) in (self.judge)(Outputs {
            tables: self.outputs,
            numbers: &[],
        }) {
            self.adjoints[slot].resize(rows.len(), 0.0);
            for (to, x) in self.adjoints[slot].iter_mut().zip(rows) {
                *to += f64::from(x);
            }
        }
    }

    fn reads(&self) -> Vec<usize> {
        (0..self.outputs.len()).collect()
    }

    fn adjoint(&self, lane: usize, step: usize, slot: usize) -> Option<&[f64]> {
        let width = self.adjoints[slot].len() / self.passage.words.len();
        let row = lane * self.passage.steps + step;
        (width > 0).then(|| &self.adjoints[slot][row * width..(row + 1) * width])
    }
}

impl Reader for InStepReader {
    fn lanes(&self) -> usize {
        self.lanes
    }

    fn restart(&mut self) {
        self.states.clear();
    }

    fn read(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
        judge: &mut Judge<'_>,
    ) -> Result<ChunkRan, BackendError> {
        let run = EpisodeRun {
            steps: passage.steps,
            learn: passage.learn,
            states: &self.states,
            all_states: true,
            first_adjoints: false,
        };
        let mut words = Words {
            graph: &self.graph,
            lanes: self.lanes,
            passage,
            outputs: &mut self.outputs,
            judge,
            adjoints: Vec::new(),
        };
        let ran = self
            .engine
            .run(&parameters.wide(), run, &mut [&mut words])?;
        self.entered = std::mem::replace(&mut self.states, as_kept(ran.states));
        let single = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
        let gradients = ran.gradients.into_iter();
        Ok(ChunkRan {
            gradients: gradients.map(|g| g.map(single)).collect(),
            times: ran.times,
        })
    }

    fn take_back(&mut self) {
        self.states.clone_from(&self.entered);
    }

    fn states(&mut self) -> Result<States, BackendError> {
        let mut states = self.states.clone();
        states.resize(self.graph.states.len(), None);
        Ok(states)
    }

    fn set_states(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        self.states = states.to_vec();
        Ok(())
    }
}
