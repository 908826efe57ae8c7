//! What reads chunks of a text: a network and the states of its lanes.

use super::loss::{cross_entropy, Loss};
use super::runner::{Gradients, Passage, Runner};
use super::stream::Chunk;
use crate::engine::experiment::Experiment;
use crate::engine::params::ParamStore;
use crate::engine::BackendError;
use crate::machine::c::{Held, Step, Trained};
use crate::machine::kernel::KernelReport;
use std::sync::Arc;

/// Reads a text in lanes, chunk by chunk. The rows of a table are those of [`Passage::words`].
pub trait Reader: Send {
    /// How many lanes there are.
    fn lanes(&self) -> usize;

    /// Goes back to the beginning: states are at their first values when the next chunk begins.
    fn restart(&mut self);

    /// Reads a chunk; states go on from the last one.
    ///
    /// # Errors
    /// Those of the backend.
    fn forward(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError>;

    /// An output of the last chunk by slot, row after row.
    fn output(&mut self, slot: usize) -> &mut Vec<f32>;

    /// Goes back through the last chunk. `adjoints` are by output slot, row after row; outputs without have none.
    ///
    /// # Errors
    /// Those of the backend.
    fn backward(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
        adjoints: Vec<(usize, Vec<f32>)>,
    ) -> Result<Gradients, BackendError>;

    /// What chunks cost that follow each other, nothing dropped; states go on from the last one. The words are predicted by
    /// the output of this slot, of so many.
    ///
    /// # Errors
    /// Those of the backend.
    fn cost(
        &mut self,
        parameters: &ParamStore,
        (output, words): (usize, usize),
        chunks: &mut dyn Iterator<Item = Chunk>,
        seed: u64,
    ) -> Result<Loss, BackendError> {
        let mut loss = Loss::default();
        for chunk in chunks {
            self.forward(parameters, Passage::judged(&chunk, seed))?;
            let logits = self.output(output);
            loss += cross_entropy(logits, words, &chunk.targets, &chunk.weights);
        }
        Ok(loss)
    }

    /// Itself, if it takes steps of the optimizer, too.
    fn by_itself(&mut self) -> Option<&mut dyn SelfTaught> {
        None
    }

    /// Goes back to the states that the last chunk began with, unless whoever learns by itself has done so.
    fn take_back(&mut self);

    /// Takes the times of kernels in what is read from now on, or no longer.
    fn measure_kernels(&mut self, _on: bool) {}

    /// What each kernel did since [`Reader::measure_kernels`]; nothing where the backend does not tell.
    fn kernels(&self) -> Vec<KernelReport> {
        Vec::new()
    }

    /// Takes back the memory of gradients.
    fn give_back(&mut self, gradients: Vec<Vec<f32>>);

    /// States of all lanes, by slot, lane by lane; nothing before the first chunk.
    ///
    /// # Errors
    /// Those of the backend.
    fn states(&mut self) -> Result<Vec<Option<Vec<f64>>>, BackendError>;

    /// Goes on from states that [`Reader::states`] gave.
    ///
    /// # Errors
    /// Those of the backend.
    fn set_states(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError>;
}

/// A reader that learns from chunk after chunk, without the host.
pub trait SelfTaught {
    /// Learns from chunks, with a step for each; states go on from the last one. Noise is that of the seed, from `iteration`
    /// on. Where something is not finite all is then as before that chunk.
    ///
    /// # Errors
    /// Those of the backend.
    fn learn(
        &mut self,
        steps: &[Step],
        held: &mut Held<'_>,
        chunks: &mut dyn Iterator<Item = Chunk>,
        noise: (u64, u32),
    ) -> Result<Trained, BackendError>;
}

/// The stages of a network, each with its own kernels.
pub struct StagedReader {
    experiment: Arc<Experiment>,
    runner: Runner,
}

impl StagedReader {
    /// So many lanes, at the beginning of a text.
    pub fn new(experiment: Arc<Experiment>, lanes: usize) -> StagedReader {
        StagedReader {
            runner: Runner::new(&experiment, lanes),
            experiment,
        }
    }
}

impl Reader for StagedReader {
    fn lanes(&self) -> usize {
        self.runner.lanes()
    }

    fn restart(&mut self) {
        self.runner.restart();
    }

    fn forward(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError> {
        self.runner.forward(&self.experiment, parameters, passage)
    }

    fn output(&mut self, slot: usize) -> &mut Vec<f32> {
        self.runner.output(&self.experiment, slot)
    }

    fn backward(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
        adjoints: Vec<(usize, Vec<f32>)>,
    ) -> Result<Gradients, BackendError> {
        self.runner
            .backward(&self.experiment, parameters, passage, adjoints)
    }

    fn take_back(&mut self) {
        self.runner.take_back();
    }

    fn give_back(&mut self, gradients: Vec<Vec<f32>>) {
        self.runner.give_back(gradients);
    }

    fn states(&mut self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        Ok(self.runner.states(&self.experiment))
    }

    fn set_states(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        self.runner.set_states(&self.experiment, states);
        Ok(())
    }
}
