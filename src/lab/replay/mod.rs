//! Replay: an episode of training run again, with the values of any state, trace, modulator or other
//! variable.
//!
//! [`record`] repeats one iteration of a run and stores the values that [`probes()`] name. A [`RecordPlan`]
//! does the same for other episodes, such as those of an [`super::evaluation::Evaluator`]. The replayed
//! episode is bit-identical to the one that was trained on. So are its states, traces, inputs, outputs and
//! the values that the kernels store, except for rounding if training stores a trace in [another
//! form](crate::step::passes::Form). Other values are computed by the 64-bit reference backend from the
//! states that entered the step, and rounded to the precision of the run; [`Series::source`] tells which.

mod keep;
mod npz;
mod outline;
mod part;
mod probes;
mod recorder;
mod tensors;

pub use keep::{Keep, Notes, Sheet};
pub use npz::{archive, Npz};
pub use outline::{Format, Outline};
pub use part::split_names;
pub(in crate::lab) use probes::Kind;
pub use probes::{find_part, find_probe, probes, Probe, ProbeError, UnknownProbe};
pub use recorder::{RecordPlan, Recorder};
pub use tensors::{tensors, Safetensors};

use crate::engine::params::ParamStore;
use crate::learn::block::EpisodeOptions;
use crate::learn::checkpoint::{Checkpoint, CheckpointError};
use crate::learn::episodes::{Batch, Episodes, LaneResult};
use crate::learn::replace::Replacement;
use crate::learn::trainer::{BackendKind, TrainError, TrainerOptions};
use crate::step::Compiled;
use std::path::{Path, PathBuf};

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
    /// The values, `[steps, lanes, dims...]`, last dimension contiguous; empty if they went to a file.
    pub values: Vec<f64>,
    /// The origin of the values.
    pub source: Source,
}

/// The recorded values of one batch of episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The number of the iteration, counted from 1.
    pub iteration: u64,
    /// The number of recorded steps per episode.
    pub steps: usize,
    /// The recorded lanes, counted from 0.
    pub lanes: Vec<usize>,
    /// The series, in the order they were asked for.
    pub series: Vec<Series>,
    /// The reward of each recorded lane's episode; empty for supervised tasks.
    pub rewards: Vec<f64>,
    /// The loss of the whole batch.
    pub loss: f64,
    /// True if the run has 64 bits.
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
    /// The file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: std::io::Error,
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

/// The values to record.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The probes.
    pub probes: &'a [Probe],
    /// The lanes; an empty slice means all lanes.
    pub lanes: &'a [usize],
    /// The distance of recorded steps, from step 0 on.
    pub every: usize,
}

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
    let wanted = Wanted {
        probes: wanted,
        lanes,
        every: 1,
    };
    let memory = options.memory.unwrap_or(MOST_BYTES);
    let mut replay = Replay::new(program, options, before, wanted)?;
    let steps = replay.steps();
    let bytes = replay.plan.bytes(steps);
    if bytes > memory {
        return Err(ReplayError::TooLarge {
            lanes: replay.lanes.len(),
            steps,
            bytes,
        });
    }
    let (episodes, plan) = (&mut replay.episodes, &replay.plan);
    let run = |first, count| plan.recorder(first, count);
    let Batch {
        lanes: done,
        observers,
        ..
    } = episodes.run(replay.run, &replay.carried, run)?;
    let series = plan.series(observers, steps);
    Ok(replay.recording(&done, series))
}

/// As [`record`], with the numbers written to a file as they come: the memory does not grow with it.
///
/// # Errors
/// [`ReplayError`]; then the file is as it was.
pub fn record_to(
    program: &Compiled,
    options: TrainerOptions,
    before: &Checkpoint,
    wanted: Wanted<'_>,
    (path, format): (&Path, &dyn Format),
) -> Result<Recording, ReplayError> {
    let failed = |error| ReplayError::Write {
        path: path.to_owned(),
        error,
    };
    let mut replay = Replay::new(program, options, before, wanted)?;
    let recorded = replay.plan.recorded(replay.steps());
    let (iteration, lanes) = (before.header.iteration + 1, &replay.lanes);
    let outline = Outline::new(iteration, recorded, lanes, wanted.probes, replay.wide);
    let (places, length) = format.places(&outline);
    let replacement = Replacement::begin(path).map_err(failed)?;
    let file = replacement.file().map_err(failed)?;
    file.set_len(length).map_err(failed)?;
    let places = places.iter().enumerate();
    let arrays = places
        .map(|(k, place)| (*place, outline.width(k)))
        .collect();
    let sheet = Sheet::new(file, path.to_owned(), arrays, lanes.len(), replay.wide);
    let (episodes, plan) = (&mut replay.episodes, &replay.plan);
    let run = |first, count| plan.recorder_to(&sheet, first, count);
    let Batch {
        lanes: done,
        observers,
        ..
    } = episodes.run(replay.run, &replay.carried, run)?;
    let sources = plan.sources(&observers);
    drop(observers);
    let mut file = sheet.into_file();
    format
        .finish(&outline, &sources, &mut file)
        .and_then(|()| replacement.commit(&file))
        .map_err(failed)?;
    let series = outline.arrays.into_iter().zip(sources);
    let series = series.map(|((name, dims), source)| Series {
        name,
        dims,
        values: Vec::new(),
        source,
    });
    Ok(replay.recording(&done, series.collect()))
}

/// An iteration that is ready to be run again.
struct Replay {
    episodes: Episodes,
    plan: RecordPlan,
    lanes: Vec<usize>,
    carried: Vec<Option<Vec<f64>>>,
    run: EpisodeOptions,
    /// The iteration that is run again, counted from 1.
    iteration: u64,
    wide: bool,
}

impl Replay {
    fn new(
        program: &Compiled,
        options: TrainerOptions,
        before: &Checkpoint,
        wanted: Wanted<'_>,
    ) -> Result<Replay, ReplayError> {
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
        let wide = options.backend == BackendKind::Reference;
        let mut episodes = Episodes::new(&program.model, &program.step, options)?;
        let batch = episodes.batch();
        let lanes: Vec<usize> = if wanted.lanes.is_empty() {
            (0..batch).collect()
        } else {
            wanted.lanes.to_vec()
        };
        if let Some(lane) = lanes.iter().find(|lane| **lane >= batch) {
            return Err(ReplayError::NoLane {
                lane: *lane,
                last: batch - 1,
            });
        }
        let plan = RecordPlan::new(program, &parameters, wanted.probes, &lanes, wide);
        episodes.set_parameters(&parameters);
        Ok(Replay {
            plan: plan.every(wanted.every),
            lanes,
            carried,
            run: episodes.after(&before.header),
            iteration: before.header.iteration + 1,
            episodes,
            wide,
        })
    }

    /// The steps that are run.
    fn steps(&self) -> usize {
        self.run.steps(self.episodes.steps())
    }

    fn recording(self, done: &[LaneResult], series: Vec<Series>) -> Recording {
        let rewards = self.lanes.iter();
        let rewards = rewards.filter_map(|lane| done[*lane].loss.rewards.first().copied());
        Recording {
            iteration: self.iteration,
            steps: self.plan.recorded(self.steps()).len(),
            rewards: rewards.collect(),
            loss: done.iter().map(|lane| lane.loss.loss).sum(),
            series,
            lanes: self.lanes,
            wide: self.wide,
        }
    }
}
