//! Lane programs as CUDA C: the same instructions and sweeps in the same memories, one lane a block of threads.
//!
//! An episode is one launch forward and one back: traces, their adjoints and the vectors of a step stay in shared memory as far
//! as there is room, the task's device code ([`TaskSource`]) gives observations and rewards between steps, and `reduce` adds what
//! the lanes have in their order. No sum is made by atomic operations: the same numbers give the same bits.
//!
//! The source is also C for the processor (`prelude.h` says how), which is how it is tested where there is no GPU.
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
//! | `update`, `update.h` | whole iterations: the step of the optimiser |
//! | `values` | what is computed of parameters alone |
//!
//! `lanes` runs episodes and `passage` passages of a text; `iterations` is what whole iterations of both have in common, and
//! `lesson` those of episodes.

mod arena;
pub(crate) mod element;
mod iterations;
mod lanes;
mod lesson;
mod parameters;
mod passage;
pub(crate) mod slots;
mod source;
mod sweeps;
pub(crate) mod text;
mod update;
pub(crate) mod values;
mod vectors;
mod writer;

pub use iterations::{Held, Iterated, Iterations, Step, Stop, Trained, MOST, STATUS};
pub use lanes::{bytes, DeviceLanes, DeviceLoss, DeviceRun};
pub use parameters::{ParamPlace, ParamPlaces};
pub(crate) use update::write_update;
pub use update::{Update, UpdateSizes};

use crate::ir::Graph;
use crate::machine::device::TaskSource;
use text::Text;

/// How a source begins whose blocks have so many threads and nothing to do with each other.
pub(crate) fn opening(threads: usize) -> Text {
    let mut text = Text::default();
    text.raw(&format!(
        "/* Written by bpmc. */\n\n#define THREADS {threads}\n#define TEAM 1\n#define RESIDENT 1\n\n"
    ));
    text.raw(include_str!("prelude.h"));
    text.raw(include_str!("context.h"));
    text
}

/// Threads of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threads(usize);

impl Threads {
    fn groups(self) -> usize {
        self.0 / 16
    }
}

/// Where the values of an input come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The task's observation, from an element on.
    Observation(usize),
    /// A signal of the task.
    Signal(usize),
    /// Whether the step is the first of a trial.
    TrialStart,
    /// They stand in a table, after tables of so many elements for each step and lane.
    Given(usize),
    /// A 1 in the place of the word that is read, else 0.
    Word,
}

/// The coefficients of the reward loss.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients {
    /// Discount.
    pub gamma: f64,
    /// Of the squared value error.
    pub value: f64,
    /// Of the sum of squared probabilities.
    pub concentration: f64,
    /// Of the entropy.
    pub entropy: f64,
}

/// What kernels are made for, beside the program.
#[derive(Clone, Debug)]
pub struct Episode<'a> {
    /// The step, for its slots.
    pub graph: &'a Graph,
    /// Lanes, at most.
    pub lanes: usize,
    /// Steps, at most.
    pub steps: usize,
    /// Steps between checkpoints of the traces.
    pub interval: usize,
    /// By input slot.
    pub feeds: Vec<Feed>,
    /// Output slots that are kept, each in a table after tables of so many elements; with a reward loss, policy and value.
    pub read: Vec<(usize, usize)>,
    /// Input slots whose adjoints are added to tables, likewise.
    pub input_adjoints: Vec<(usize, usize)>,
    /// By noise slot: its number among the keys of the run.
    pub noises: Vec<usize>,
    /// Whether it is a passage of a text: all states go on from what they were, not only those that outlive an episode, and
    /// tables are shared with others.
    pub passage: bool,
    /// Where the parameters lie; nothing where the host lays them out for the kernels.
    pub places: Option<ParamPlaces>,
    /// The task, where it runs on the device.
    pub task: Option<TaskSource>,
    /// The reward loss, where it is computed there.
    pub objective: Option<Coefficients>,
    /// The step of the optimiser, where it is done there; needs the task and the reward loss.
    pub update: Option<Update>,
}

/// Sizes of the arrays of a lane, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Threads of a lane.
    pub threads: usize,
    /// Blocks that they are in.
    pub team: usize,
    /// Lanes that share a multiprocessor.
    pub resident: usize,
    /// What does not fit in shared memory: floats.
    pub arena: usize,
    /// Vectors kept of every step: floats.
    pub record: usize,
    /// Traces: floats.
    pub traces: usize,
    /// Checkpoints of the traces.
    pub checkpoints: usize,
    /// Steps between them.
    pub interval: usize,
    /// Gradient sums but for outer products: floats.
    pub sums: usize,
    /// Vectors of outer products of a step: floats.
    pub outers: usize,
    /// Inputs in tables, of a step: floats.
    pub inputs: usize,
    /// Outputs kept, of a step: floats.
    pub outputs: usize,
    /// What is computed of parameters and sums: floats.
    pub values: usize,
    /// The largest value that kernels read: floats.
    pub widest: usize,
    /// Trained parameters of the network: floats.
    pub trained: usize,
    /// Whether anything is computed of parameters, and for gradients.
    pub computes: [bool; 2],
    /// States that outlive an episode: floats.
    pub carried: usize,
    /// The task's memory: words.
    pub task: usize,
    /// Steps.
    pub steps: usize,
    /// Bytes of shared memory forward.
    pub shared_forward: usize,
    /// Bytes of shared memory back.
    pub shared_backward: usize,
}

/// An outer product over lanes and time, `Σ aᵀ b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Offset in the gradient sums, where it lies row after row.
    pub sum: usize,
    /// Elements of `a`.
    pub rows: usize,
    /// Elements of `b`.
    pub cols: usize,
    /// Where `a` begins among the vectors of outer products, in vectors of all lanes and steps.
    pub a: usize,
    /// Where `b` begins.
    pub b: usize,
}

/// Kernels for a program.
#[derive(Clone, Debug)]
pub struct DeviceSource {
    /// The source.
    pub text: String,
    /// Sizes.
    pub sizes: Sizes,
    /// Outer products.
    pub products: Vec<Product>,
    /// Offsets of gradient sums: in the program's, in a lane's, and how many.
    pub sums: Vec<(usize, usize, usize)>,
    /// By slot: where states that outlive an episode are among the carried ones, and how many elements.
    pub carried: Vec<Option<(usize, usize)>>,
    /// Whole iterations, where they are done there.
    pub update: Option<UpdateSizes>,
}
