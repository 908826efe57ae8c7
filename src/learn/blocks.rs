//! The choice of blocks for the lanes of an experiment, and of the reader of a text. No other file knows all backends and devices.

use super::again::Again;
use super::average::Average;
use super::block::{Block, Objective};
use super::chunks::Chunks;
use super::device_block::{no_sparse_bundles, DeviceBlock, DevicePlan};
use super::drive::EpisodeDrive;
use super::language::device::{DeviceReader, DeviceStages, TextGoal};
use super::language::in_step::InStepReader;
use super::language::objective::TextObjective;
use super::language::reader::{is_target, Reader};
use super::language::runner::StagedReader;
use super::language::stream;
use super::trainer::{BackendKind, TrainError, TrainerOptions};
use crate::engine::bptt::least_memory_interval;
use crate::engine::candle::{Candle, Precision};
use crate::engine::episode::Engine;
use crate::engine::experiment::{Experiment, Stage};
use crate::engine::fused::Fused;
use crate::engine::in_step::InStep;
use crate::engine::lanes::{Lanes, Shape};
use crate::engine::plan::{Limits, Plan, Together};
use crate::engine::reference::Reference;
use crate::ir::Graph;
use crate::lang::settings::Settings;
use crate::learn::tasks::Task;
use crate::machine::c::Update;
use crate::machine::device::{self, DeviceError, DeviceKind};
use crate::step::{Prepared, Stopwatch};
use std::sync::Arc;

/// The work of a block.
pub(super) struct Work<'a> {
    /// The stages.
    pub experiment: &'a Arc<Experiment>,
    /// The task.
    pub task: &'a dyn Task,
    /// The objective.
    pub objective: Objective,
    /// The steps of the optimizer, for devices that do them.
    pub update: Update,
    /// Lanes of an iteration.
    pub lanes: usize,
    /// The chunks that episodes are run in.
    pub chunks: Chunks,
    /// The limits on the run's memory.
    pub limits: Limits,
}

type Planned = (Plan, Box<dyn Block>);

/// Refuses what does not fit.
pub(super) fn fits(plan: &Plan, limits: Limits) -> Result<(), TrainError> {
    match plan.refusal(limits) {
        Some(refusal) => Err(TrainError::Memory(refusal)),
        None => Ok(()),
    }
}

/// The plan of a run and what runs its episodes. Nothing of the size of the run is allocated before it is known to fit.
pub(super) fn blocks(
    work: &Work<'_>,
    options: &TrainerOptions,
    watch: &mut Stopwatch,
) -> Result<Planned, TrainError> {
    let on_device = options.device.kind != DeviceKind::Cpu;
    match options.backend {
        BackendKind::Fused if on_device => on_a_device(work, options, watch),
        BackendKind::Fused => lane_by_lane(work, options),
        BackendKind::Candle | BackendKind::Reference => in_step(work, options),
    }
}

/// The plan of a run on a text, and what reads it for training and for evaluation.
pub(super) fn readers(
    work: &Work<'_>,
    options: &TrainerOptions,
    (objective, settings): (TextObjective, &Settings),
    watch: &mut Stopwatch,
) -> Result<(Plan, [Box<dyn Reader>; 2]), TrainError> {
    let Work {
        experiment,
        lanes,
        limits,
        ..
    } = *work;
    let size = [lanes, work.task.steps()];
    let eval_lanes = settings.int("eval_batch");
    if options.backend != BackendKind::Fused {
        let candle = device_of(options)?;
        let plan = experiment.plan(size, options.threads, limits);
        fits(&plan, limits)?;
        let reader = |lanes: usize| -> Result<Box<dyn Reader>, TrainError> {
            let mut plan = plan.clone();
            plan.together = Together::Blocks(vec![lanes]);
            let graphs = &experiment.whole().graphs;
            let engine = executors(graphs, options.backend, &plan, &candle)?;
            Ok(Box::new(InStepReader::new(engine)))
        };
        let both = [reader(lanes)?, reader(eval_lanes)?];
        return Ok((plan, both));
    }
    if options.device.kind != DeviceKind::Cpu {
        let step = &experiment.step;
        if (0..step.inputs.len()).any(|input| is_target(step, input)) {
            return Err(TrainError::Device(DeviceError::Absent {
                what: "on a device the rules of a language model cannot read targets".to_owned(),
                help: "use `--device cpu`".to_owned(),
            }));
        }
        no_arrays(step)?;
        no_sparse_bundles(step)?;
        let limits = device::open(options.device)?;
        let (free, limits) = (limits.free(), limits.limits());
        let longest = longest(work);
        let interval = least_memory_interval(longest);
        let size = [lanes.max(eval_lanes), longest];
        let goal = TextGoal {
            objective,
            update: work.update.clone(),
            averages: Average::new(settings).is_wanted(),
        };
        let stages = DeviceStages::new(Arc::clone(experiment), size, limits, &goal);
        let (once, lane) = stages.bytes(true);
        // The lanes of evaluation are there, too.
        let (eval_once, eval_lane) = stages.bytes(false);
        let bytes = (once + eval_once + eval_lanes as u64 * eval_lane, lane);
        let plan = Plan::device(&experiment.step, lanes, longest, interval, bytes);
        let limits = Limits {
            free,
            ..work.limits
        };
        fits(&plan, limits)?;
        let stages = Arc::new(stages);
        let reader = |lanes, learns| -> Result<Box<dyn Reader>, TrainError> {
            let reader = DeviceReader::new(Arc::clone(&stages), lanes, learns, options.device)?;
            Ok(Box::new(reader))
        };
        let both = [reader(lanes, true)?, reader(eval_lanes, false)?];
        watch.lap("device");
        return Ok((plan, both));
    }
    let plan = experiment.plan(size, options.threads, limits);
    fits(&plan, limits)?;
    let reader =
        |lanes| Box::new(StagedReader::new(Arc::clone(experiment), lanes)) as Box<dyn Reader>;
    Ok((plan, [reader(lanes), reader(eval_lanes)]))
}

/// Refuses states with arrays of first values where a device runs iterations by itself.
fn no_arrays(step: &Graph) -> Result<(), TrainError> {
    match step.states.iter().find(|state| state.first.is_some()) {
        Some(state) => Err(TrainError::Device(DeviceError::Absent {
            what: format!(
                "on a device `{}` cannot begin with an array in this training",
                state.path
            ),
            help: "use `--device cpu`, or begin with a number".to_owned(),
        })),
        None => Ok(()),
    }
}

/// Steps of the longest chunk.
fn longest(work: &Work<'_>) -> usize {
    let text = work.task.text();
    text.map_or(work.task.steps(), |text| {
        stream::longest(text.steps, text.random_lengths)
    })
}

/// Candle's name of the device; the reference knows one only.
fn device_of(options: &TrainerOptions) -> Result<candle_core::Device, TrainError> {
    if options.backend == BackendKind::Reference && options.device.kind != DeviceKind::Cpu {
        return Err(TrainError::Device(DeviceError::Absent {
            what: "the reference is a plain interpreter for the processor".to_owned(),
            help: "use `--device cpu`, or another backend".to_owned(),
        }));
    }
    Ok(device::of_candle(options.device)?)
}

/// The only stage of episodes, its step and its kernels.
fn only<'a>(work: &Work<'a>) -> (&'a Graph, &'a Arc<Fused>) {
    let stage: &Stage = work.experiment.whole();
    let fused = stage.fused();
    (
        &stage.graphs.step,
        fused.expect("episodes on kernels were compiled for them"),
    )
}

/// Fused kernels on the processor.
fn lane_by_lane(work: &Work<'_>, options: &TrainerOptions) -> Result<Planned, TrainError> {
    let (step, program) = only(work);
    let size = [work.lanes, work.chunks.longest()];
    let mut plan = work.experiment.plan(size, options.threads, work.limits);
    if let Some(count) = work.task.groups() {
        // A group is what one process serves.
        plan.in_step = plan.lanes.div_ceil(count);
    }
    fits(&plan, work.limits)?;
    let shape = Shape {
        lanes: plan.lanes,
        in_step: plan.in_step,
        running: plan.running(),
        interval: plan.interval,
    };
    let graph = Arc::new(step.clone());
    let lanes = |shape| -> Box<dyn Engine> {
        Box::new(Lanes::<f32>::new(
            Arc::clone(program),
            Arc::clone(&graph),
            shape,
        ))
    };
    let drive = EpisodeDrive::new(lanes(shape), work.task, work.objective.clone())?;
    let learner = |count: usize| {
        let size = [count, work.task.steps()];
        let plan = work.experiment.plan(size, options.threads, work.limits);
        fits(&plan, work.limits)?;
        Ok(lanes(Shape {
            lanes: count,
            in_step: plan.in_step,
            running: plan.running(),
            interval: plan.interval,
        }))
    };
    let block = learned(work, drive, learner)?;
    Ok((plan, block))
}

/// Episodes as they are learned from: once, or several times with an engine for the lanes of a minibatch.
fn learned(
    work: &Work<'_>,
    drive: EpisodeDrive,
    learner: impl FnOnce(usize) -> Result<Box<dyn Engine>, TrainError>,
) -> Result<Box<dyn Block>, TrainError> {
    let Objective::Ppo(ppo) = work.objective else {
        return Ok(Box::new(drive));
    };
    let parts = ppo.minibatches;
    if !work.lanes.is_multiple_of(parts) {
        return Err(TrainError::Settings {
            message: format!(
                "{} lanes cannot be dealt into {parts} minibatches of equal size",
                work.lanes
            ),
            help: format!(
                "set `batch` to a multiple of `minibatches`, as {}",
                work.lanes.next_multiple_of(parts)
            ),
        });
    }
    let engine = learner(work.lanes / parts)?;
    Ok(Box::new(Again::new(drive, engine, ppo)))
}

/// Generated kernels on a device.
fn on_a_device(
    work: &Work<'_>,
    options: &TrainerOptions,
    watch: &mut Stopwatch,
) -> Result<Planned, TrainError> {
    let (step, program) = only(work);
    let rewards = matches!(work.objective, Objective::A2c(_) | Objective::Ppo(_));
    if rewards && work.task.substeps() > 1 {
        return Err(TrainError::Device(DeviceError::Absent {
            what: "the kernels of devices take one step of the network in each step of the task"
                .to_owned(),
            help: "use `--device cpu`, or `--backend candle`, or leave `substeps` at 1".to_owned(),
        }));
    }
    if rewards && work.task.device().is_none() {
        return Err(TrainError::Device(DeviceError::Absent {
            what: "the task has no device code, and what it shows depends on actions".to_owned(),
            help: "use `--backend candle`, or `--device cpu`".to_owned(),
        }));
    }
    if matches!(work.objective, Objective::Ppo(_)) {
        return Err(TrainError::Device(DeviceError::Absent {
            what: "the kernels of devices do not run episodes again, as `ppo` and `normalise` do"
                .to_owned(),
            help: "use `--device cpu`, or `--backend candle`".to_owned(),
        }));
    }
    if matches!(&work.objective, Objective::A2c(a2c) if a2c.lambda != 1.0) {
        return Err(TrainError::Device(DeviceError::Absent {
            what: "the kernels of devices have no other returns than those of `lambda = 1`"
                .to_owned(),
            help: "use `--device cpu`, or `--backend candle`".to_owned(),
        }));
    }
    if work.task.device().is_some() {
        no_arrays(step)?;
    }
    no_sparse_bundles(step)?;
    let device = device::open(options.device)?;
    let update = work.update.clone();
    let limits = device.limits();
    let task = (work.task, work.lanes, work.chunks);
    let kernels = DevicePlan::new(program, step, task, work.objective.clone(), update, limits);
    let plan = kernels.plan(program, step, work.lanes);
    let limits = Limits {
        free: device.free(),
        ..work.limits
    };
    fits(&plan, limits)?;
    let graph = Arc::new(step.clone());
    let all = DeviceBlock::new(
        Arc::clone(program),
        graph,
        work.task,
        plan.lanes,
        work.objective.clone(),
        kernels,
        device,
    )?;
    watch.lap("device");
    Ok((plan, Box::new(all)))
}

/// Executors, each with a block of lanes in step.
fn in_step(work: &Work<'_>, options: &TrainerOptions) -> Result<Planned, TrainError> {
    let Work {
        experiment,
        task,
        lanes,
        limits,
        ..
    } = *work;
    let candle = device_of(options)?;
    let prepared = &experiment.whole().graphs;
    let size = [lanes, work.chunks.longest()];
    let mut plan = experiment.plan(size, options.threads, limits);
    if options.device.kind != DeviceKind::Cpu {
        // A GPU is one worker.
        plan.together = Together::Blocks(vec![plan.lanes]);
    }
    fits(&plan, limits)?;
    let engine = executors(prepared, options.backend, &plan, &candle)?;
    let drive = EpisodeDrive::new(engine, task, work.objective.clone())?;
    let learner = |count: usize| {
        let mut plan = experiment.plan([count, task.steps()], options.threads, limits);
        if options.device.kind != DeviceKind::Cpu {
            plan.together = Together::Blocks(vec![plan.lanes]);
        }
        executors(prepared, options.backend, &plan, &candle)
    };
    let block = learned(work, drive, learner)?;
    Ok((plan, block))
}

/// Executors for the lanes of a plan, each with a block of them in step.
///
/// # Errors
/// Those of the device.
pub(super) fn executors(
    prepared: &Prepared,
    backend: BackendKind,
    plan: &Plan,
    device: &candle_core::Device,
) -> Result<Box<dyn Engine>, TrainError> {
    let sizes = match &plan.together {
        Together::Blocks(sizes) => sizes.clone(),
        Together::Lanes(_) => vec![plan.lanes],
    };
    let graphs = || (prepared.step.clone(), prepared.adjoint.clone());
    Ok(match backend {
        BackendKind::Candle => {
            let blocks = sizes.into_iter().map(|lanes| {
                let (step, adjoint) = graphs();
                Candle::new(step, adjoint, lanes, Precision::Single, device)
            });
            let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
            Box::new(InStep::new(blocks, plan.interval))
        }
        BackendKind::Fused | BackendKind::Reference => {
            let blocks = sizes.into_iter().map(|lanes| {
                let (step, adjoint) = graphs();
                Reference::new(step, adjoint, lanes)
            });
            Box::new(InStep::new(blocks.collect(), plan.interval))
        }
    })
}
