//! Replay: an episode of training run again, with the values of any state, trace, modulator or other
//! variable.
//!
//! [`record`] repeats one iteration of a run and stores the values that [`probes`] name. A [`RecordPlan`]
//! does the same for other episodes, such as those of an [`super::evaluation::Evaluator`]. The replayed
//! episode is bit-identical to the one that was trained on. So are its states, traces, inputs, outputs and
//! the values that the kernels store, except for rounding if training stores a trace in [another
//! form](crate::step::passes::Form). Other values are computed by the 64-bit reference backend from the
//! states that entered the step, and rounded to the precision of the run; [`Series::source`] tells which.

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

/// The origin of the values of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The replayed episode itself, bit for bit.
    Run,
    /// The reference backend, given the states that entered each step.
    Reference,
}

impl Source {
    /// The name in files and output.
    pub fn name(self) -> &'static str {
        match self {
            Source::Run => "run",
            Source::Reference => "reference",
        }
    }
}

/// The values of one probe over the steps of some lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name of the probe.
    pub name: String,
    /// The dimensions within one step and lane.
    pub dims: Vec<usize>,
    /// The values, `[steps, lanes, dims...]`, last dimension contiguous.
    pub values: Vec<f64>,
    /// The origin of the values.
    pub source: Source,
}

/// The recorded values of one batch of episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The number of the iteration, counted from 1.
    pub iteration: u64,
    /// The number of steps per episode.
    pub steps: usize,
    /// The recorded lanes, counted from 0.
    pub lanes: Vec<usize>,
    /// The series, in the order they were asked for.
    pub series: Vec<Series>,
    /// The reward of each recorded lane's episode; empty for supervised tasks.
    pub rewards: Vec<f64>,
    /// The loss of the whole batch.
    pub loss: f64,
    /// Whether the run has 64 bits.
    pub wide: bool,
}

/// The reason why an episode could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The batch has no such lane.
    #[error("there is no lane {lane}; the batch has lanes 0 to {last}")]
    NoLane {
        /// The lane asked for.
        lane: usize,
        /// The last lane of the batch.
        last: usize,
    },
    /// The recording would take too much memory.
    #[error("the values of {lanes} lanes over {steps} steps take {bytes} bytes; choose fewer with `--lanes`")]
    TooLarge {
        /// The number of lanes.
        lanes: usize,
        /// The number of steps.
        steps: usize,
        /// The bytes of the recording.
        bytes: u64,
    },
    /// The episode cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The checkpoint does not fit the program.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// The largest recording in bytes if the free memory of the machine is unknown.
const MOST_BYTES: u64 = 4 << 30;

/// Repeats the iteration after `before` and records `wanted` in `lanes`; an empty slice means all lanes.
///
/// # Errors
/// [`ReplayError`]; the size is checked before anything runs.
pub fn record(
    program: &Compiled,
    options: TrainerOptions,
    before: &Checkpoint,
    wanted: &[Probe],
    lanes: &[usize],
) -> Result<Recording, ReplayError> {
    let mut store = ParamStore::init(&program.step.params, before.header.seed);
    before.restore_parameters(&mut store)?;
    let parameters = store.wide();
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
    episodes.set_parameters(&parameters);
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
