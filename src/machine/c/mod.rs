//! Lane programs as CUDA C: the same instructions and sweeps in the same memories, one lane a block of threads.
//!
//! An episode is one launch forward and one back: traces, their adjoints and the vectors of a step stay in shared memory as far
//! as there is room, the task's device code ([`TaskSource`]) gives observations and rewards between steps, and `reduce` adds what
//! the lanes have in their order. No sum is made by atomic operations: the same numbers give the same bits.
//!
//! The source is also C for the CPU (`prelude.h` says how), which is how it is tested where there is no GPU.
//!
//! | file | what it writes |
//! |---|---|
//! | `prelude.h` | phases, groups of threads, random numbers |
//! | `kernels.h` | the episode forward and back, the loss |
//! | `source` | all of it, for a program: begin here |
//! | `writer` | definitions, the order of a step, calls |
//! | `slots` | states, inputs, noise, outputs and their adjoints |
//! | `vectors` | vector code |
//! | `sweeps` | sweeps |
//! | `element` | operations on single numbers |
//! | `arena` | where arrays lie: shared memory or not |
//! | `parameters` | parameters as kernels read them, and their gradients |
//! | `update`, `update.h` | whole iterations: the step of the optimizer |
//! | `values` | what is computed of parameters alone |
//! | `cluster` | an episode on clusters of blocks, for programs and devices that can |
//!
//! [`crate::engine::device`] runs them.

mod arena;
mod cluster;
pub(crate) mod element;
mod parameters;
pub(crate) mod slots;
mod source;
mod sweeps;
pub(crate) mod text;
mod update;
pub(crate) mod values;
mod vectors;
mod writer;

pub use cluster::ClusterSizes;
pub use parameters::{ParamPlace, ParamPlaces};
pub(crate) use update::write_update;
pub use update::{Update, UpdateSizes};

use crate::ir::Graph;
use crate::machine::device::TaskSource;
use text::Text;

/// The beginning of a source for independent blocks of `threads` threads.
pub(crate) fn opening(threads: usize) -> Text {
    let mut text = Text::default();
    text.raw(&format!(
        "/* Written by bpmc. */\n\n#define THREADS {threads}\n#define TEAM 1\n#define RESIDENT 1\n\n"
    ));
    text.raw(include_str!("prelude.h"));
    text.raw(include_str!("context.h"));
    text
}

/// The number of threads of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threads(usize);

impl Threads {
    fn groups(self) -> usize {
        self.0 / 16
    }
}

/// The origin of an input's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The task's observation, from this element on.
    Observation(usize),
    /// A signal of the task.
    Signal(usize),
    /// 1 in the first step of a trial, else 0.
    TrialStart,
    /// A table of given values, after tables of this many elements per step and lane.
    Given(usize),
    /// A one-hot vector of the word.
    Word,
}

/// The coefficients of the reward loss.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients {
    /// The discount.
    pub gamma: f64,
    /// The coefficient of the squared value error.
    pub value: f64,
    /// The coefficient of the sum of squared probabilities.
    pub concentration: f64,
    /// The coefficient of the entropy.
    pub entropy: f64,
}

/// The properties of an episode that kernels depend on, besides the program.
#[derive(Clone, Debug)]
pub struct Episode<'a> {
    /// The step, for its slots.
    pub graph: &'a Graph,
    /// The largest number of lanes.
    pub lanes: usize,
    /// The largest number of steps.
    pub steps: usize,
    /// The number of steps between checkpoints of the traces.
    pub interval: usize,
    /// The origin of each input, by slot.
    pub feeds: Vec<Feed>,
    /// The stored output slots, each in a table after tables of this many elements; with a reward loss,
    /// policy and value.
    pub read: Vec<(usize, usize)>,
    /// The input slots whose adjoints are added to tables, likewise.
    pub input_adjoints: Vec<(usize, usize)>,
    /// The number of each noise slot among the keys of the run.
    pub noises: Vec<usize>,
    /// True if it is a passage of a text: all states continue, not only those that outlive an episode, and
    /// tables are shared with other stages.
    pub passage: bool,
    /// True if the host gives and takes all states, as where episodes are run in chunks.
    pub carries: bool,
    /// The places of the parameters; `None` if the host lays them out for the kernels.
    pub places: Option<ParamPlaces>,
    /// The task, if it runs on the device.
    pub task: Option<TaskSource>,
    /// The reward loss, if the device computes it.
    pub objective: Option<Coefficients>,
    /// The optimizer step, if the device makes it; requires the task and the reward loss.
    pub update: Option<Update>,
}

/// The sizes of a lane's arrays, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The number of threads of a lane.
    pub threads: usize,
    /// The number of blocks that share them.
    pub team: usize,
    /// The number of lanes that share a multiprocessor.
    pub resident: usize,
    /// The floats that do not fit in shared memory.
    pub arena: usize,
    /// The floats of the vectors stored at every step.
    pub record: usize,
    /// The floats of the traces.
    pub traces: usize,
    /// The number of checkpoints of the traces.
    pub checkpoints: usize,
    /// The number of steps between checkpoints.
    pub interval: usize,
    /// The floats of the gradient sums, except outer products.
    pub sums: usize,
    /// The floats of the vectors of outer products, per step.
    pub outers: usize,
    /// The floats of the inputs in tables, per step.
    pub inputs: usize,
    /// The floats of the stored outputs, per step.
    pub outputs: usize,
    /// The floats of the values computed from parameters and sums.
    pub values: usize,
    /// The floats of the largest value that kernels read.
    pub widest: usize,
    /// The floats of the network's trained parameters.
    pub trained: usize,
    /// True if values are computed from parameters, and for gradients.
    pub computes: [bool; 2],
    /// The floats of the states that outlive an episode.
    pub carried: usize,
    /// The words of the task's memory.
    pub task: usize,
    /// The number of steps.
    pub steps: usize,
    /// The bytes of shared memory in the forward pass.
    pub shared_forward: usize,
    /// The bytes of shared memory in the backward pass.
    pub shared_backward: usize,
    /// The sizes of clusters, if forward and backward pass run on them.
    pub cluster: Option<ClusterSizes>,
}

/// An outer product over lanes and time, `Σ aᵀ b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// The offset in the gradient sums, where it lies row-major.
    pub sum: usize,
    /// The number of elements of `a`.
    pub rows: usize,
    /// The number of elements of `b`.
    pub cols: usize,
    /// The start of `a` among the vectors of outer products, in vectors of all lanes and steps.
    pub a: usize,
    /// The start of `b`.
    pub b: usize,
}

/// The kernels of a program.
#[derive(Clone, Debug)]
pub struct DeviceSource {
    /// The source.
    pub text: String,
    /// The distribution of a lane over the device, in words.
    pub form: String,
    /// Sizes.
    pub sizes: Sizes,
    /// Outer products.
    pub products: Vec<Product>,
    /// The gradient sums as ranges: offset in the program's, offset in a lane's, and length.
    pub sums: Vec<(usize, usize, usize)>,
    /// The position of each state that outlives an episode among the carried ones, and its number of
    /// elements, by slot.
    pub carried: Vec<Option<(usize, usize)>>,
    /// The sizes for whole iterations, if the device runs them.
    pub update: Option<UpdateSizes>,
}
