//! Episodes looked into: any state, trace, modulator or other value over time.
//!
//! [`record`] runs an iteration of a run again and notes what [`probes`] are asked for. A [`RecordPlan`] does the
//! same for any other episodes, those of an [`super::evaluation::Evaluator`] for instance. The episode is the
//! same to the bit as the one that was trained on, and so are states, traces, inputs, outputs and the values that
//! the kernels keep; but for rounding where training stores a trace in [another form](crate::step::passes::Form). Other values are computed by the 64-bit reference from the states that entered the step, and
//! rounded to the precision of the run; [`Series::source`] tells which.

mod npz;
mod probes;
mod recorder;
mod tensors;

pub use npz::to_npz;
pub use probes::{find_probe, probes, Probe, UnknownProbe};
pub use recorder::{RecordPlan, Recorder};
pub use tensors::to_safetensors;

use crate::engine::params::ParamStore;
use crate::learn::block::EpisodeOptions;
use crate::learn::checkpoint::{Checkpoint, CheckpointError};
use crate::learn::episodes::Episodes;
use crate::learn::trainer::{episode_seed, BackendKind, TrainError, TrainerOptions};
use crate::step::Compiled;

/// Where the numbers of a series come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the episode as it ran, to the bit.
    Run,
    /// From the reference, given the states that entered each step.
    Reference,
}

impl Source {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Source::Run => "run",
            Source::Reference => "reference",
        }
    }
}

/// One value over the steps of some lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its dimensions within a step and lane.
    pub dims: Vec<usize>,
    /// `[steps, lanes, dims...]`, the last dimension contiguous.
    pub values: Vec<f64>,
    /// Where they come from.
    pub source: Source,
}

/// Some values over the steps of one batch of episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The iteration, counted from 1.
    pub iteration: u64,
    /// Steps of the episodes.
    pub steps: usize,
    /// Which lanes were recorded, counted from 0.
    pub lanes: Vec<usize>,
    /// The values, in the order they were asked for.
    pub series: Vec<Series>,
    /// Reward of each recorded lane's episode; empty for supervised tasks.
    pub rewards: Vec<f64>,
    /// Loss of the whole batch.
    pub loss: f64,
    /// Whether the run has 64 bits.
    pub wide: bool,
}

/// Why an episode could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such lane.
    #[error("there is no lane {lane}; the batch has lanes 0 to {last}")]
    NoLane {
        /// The lane.
        lane: usize,
        /// The last there is.
        last: usize,
    },
    /// It would take too much memory.
    #[error("the values of {lanes} lanes over {steps} steps take {bytes} bytes; choose fewer with `--lanes`")]
    TooLarge {
        /// Lanes.
        lanes: usize,
        /// Steps.
        steps: usize,
        /// Bytes they take.
        bytes: u64,
    },
    /// It cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The checkpoint is of something else.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Most bytes a recording may take where the machine does not say what it has free.
const MOST_BYTES: u64 = 4 << 30;

/// Runs the iteration that follows `before` again and records `wanted` in `lanes` (all where there are none).
///
/// # Errors
/// [`ReplayError`]; the size is known before anything is run.
pub fn record(
    program: &Compiled,
    options: TrainerOptions,
    before: &Checkpoint,
    wanted: &[Probe],
    lanes: &[usize],
) -> Result<Recording, ReplayError> {
    let mut store = ParamStore::init(&program.step.params, before.header.seed);
    before.restore_parameters(&mut store)?;
    let parameters: Vec<Vec<f64>> = store
        .iter()
        .map(|parameter| parameter.values.iter().map(|x| f64::from(*x)).collect())
        .collect();
    let states = program.step.states.iter();
    let carried: Vec<Option<Vec<f64>>> = states
        .map(|slot| {
            let saved = before.states.get(&slot.path)?;
            Some(saved.values.iter().map(|x| f64::from(*x)).collect())
        })
        .collect();
    let mut episodes = Episodes::new(&program.model, &program.step, options)?;
    let batch = episodes.batch();
    let lanes: Vec<usize> = if lanes.is_empty() {
        (0..batch).collect()
    } else {
        lanes.to_vec()
    };
    if let Some(lane) = lanes.iter().find(|lane| **lane >= batch) {
        return Err(ReplayError::NoLane {
            lane: *lane,
            last: batch - 1,
        });
    }
    let wide = options.backend == BackendKind::Reference;
    let plan = RecordPlan::new(program, &parameters, wanted, &lanes, wide);
    let bytes = plan.bytes(episodes.steps());
    if bytes > options.memory.unwrap_or(MOST_BYTES) {
        return Err(ReplayError::TooLarge {
            lanes: lanes.len(),
            steps: episodes.steps(),
            bytes,
        });
    }
    episodes.set_parameters(&parameters)?;
    let header = &before.header;
    let run = EpisodeOptions {
        seed: episode_seed(header.seed, header.rollbacks),
        iteration: header.iteration as u32,
        learn: false,
        greedy: false,
        batch,
    };
    let done = episodes.run(run, &carried, |first, count| plan.recorder(first, count))?;
    let rewards = lanes
        .iter()
        .filter_map(|lane| done.lanes[*lane].loss.reward);
    Ok(Recording {
        iteration: header.iteration + 1,
        steps: episodes.steps(),
        rewards: rewards.collect(),
        loss: done.lanes.iter().map(|lane| lane.loss.loss).sum(),
        series: plan.series(done.observers, episodes.steps()),
        lanes,
        wide,
    })
}
