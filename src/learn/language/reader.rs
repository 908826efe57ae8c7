//! The interface to readers of a text in chunks: a network and the states of its lanes.

use super::loss::{cross_entropy, Loss};
use super::runner::Passage;
use super::stream::Chunk;
use crate::engine::device::{HostArrays, Step, Trained};
use crate::engine::episode::Times;
use crate::engine::params::ParamStore;
use crate::engine::BackendError;
use crate::ir::Graph;
use crate::lang::sema::targets::TARGET;
use crate::machine::kernel::KernelReport;

/// Tells if an input of the network is the word to predict, for rules that read it; the others are the word that is read.
pub fn is_target(step: &Graph, input: usize) -> bool {
    step.inputs[input].path.starts_with(TARGET)
}

/// Adjoints of outputs by slot, row after row; outputs without have none.
pub type OutputAdjoints = Vec<(usize, Vec<f32>)>;

/// Gives the adjoints of the outputs of a chunk.
pub type Judge<'a> = dyn FnMut(Outputs<'_>) -> OutputAdjoints + Send + 'a;

/// Gradients by parameter of the network.
pub type Gradients = Vec<Option<Vec<f32>>>;

/// The outputs of a chunk.
pub struct Outputs<'a> {
    /// Tables, row after row.
    pub tables: &'a mut [Vec<f32>],
    /// By slot: the number of its table; its own where there are none.
    pub numbers: &'a [usize],
}

impl Outputs<'_> {
    /// An output by slot, row after row.
    pub fn get(&mut self, slot: usize) -> &mut Vec<f32> {
        &mut self.tables[self.numbers.get(slot).copied().unwrap_or(slot)]
    }
}

/// The results of reading a chunk.
#[derive(Debug, Default)]
pub struct ChunkRan {
    /// Gradients; empty unless the reader went back.
    pub gradients: Gradients,
    /// The time of each part.
    pub times: Times,
}

/// Reads a text in lanes, chunk by chunk. The rows of a table are those of [`Passage::words`].
pub trait Reader: Send {
    /// The number of lanes there are.
    fn lanes(&self) -> usize;

    /// Goes back to the beginning: states are at their first values when the next chunk begins.
    fn restart(&mut self);

    /// Reads a chunk; states go on from the last one. Has the outputs judged, and goes back through the chunk if it is one
    /// to learn from.
    ///
    /// # Errors
    /// Those of the backend.
    fn read(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
        judge: &mut Judge<'_>,
    ) -> Result<ChunkRan, BackendError>;

    /// The loss of consecutive chunks without dropout; states go on from the last one. The words are predicted by
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
            let mut judge = |mut outputs: Outputs<'_>| {
                let logits = outputs.get(output);
                loss += cross_entropy(logits, words, &chunk.targets, &chunk.weights);
                Vec::new()
            };
            self.read(parameters, Passage::judged(&chunk, seed), &mut judge)?;
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

    /// The work of each kernel since [`Reader::measure_kernels`]; empty where the backend does not tell.
    fn kernels(&self) -> Vec<KernelReport> {
        Vec::new()
    }

    /// Takes back the memory of gradients.
    fn give_back(&mut self, _gradients: Vec<Vec<f32>>) {}

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
        host: &mut HostArrays<'_>,
        chunks: &mut dyn Iterator<Item = Chunk>,
        noise: (u64, u32),
    ) -> Result<Trained, BackendError>;
}
