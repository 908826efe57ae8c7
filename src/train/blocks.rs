//! Which blocks run the lanes of an experiment: the one place that knows all backends and devices.

use super::block::{Block, LaneBlock, Objective};
use super::device_block::{DeviceBlock, DevicePlan};
use super::fused_block::FusedBlock;
use super::trainer::{BackendKind, TrainError, TrainerOptions};
use crate::backend::candle::{Candle, Precision};
use crate::backend::fused::Fused;
use crate::backend::reference::Reference;
use crate::device::{self, DeviceError, DeviceKind};
use crate::driver::{Prepared, Stopwatch};
use crate::plan::{Limits, Plan, Together};
use crate::tasks::Task;
use std::sync::Arc;

/// What is to be run.
pub(super) struct Work<'a> {
    /// The step and its adjoint.
    pub prepared: &'a Prepared,
    /// The task.
    pub task: &'a dyn Task,
    /// What is learned from it.
    pub objective: Objective,
    /// Lanes of an iteration.
    pub lanes: usize,
    /// What of the memory the run may take.
    pub limits: Limits,
}

type Blocks = (Plan, Vec<Box<dyn Block>>);

/// Refuses what does not fit.
pub(super) fn fits(plan: &Plan, limits: Limits) -> Result<(), TrainError> {
    match plan.refusal(limits) {
        Some(refusal) => Err(TrainError::Memory(refusal)),
        None => Ok(()),
    }
}

/// The plan of a run and its blocks. Nothing of the size of the run is allocated before it is known to fit.
pub(super) fn blocks(
    work: &Work<'_>,
    options: &TrainerOptions,
    watch: &mut Stopwatch,
) -> Result<Blocks, TrainError> {
    let on_device = options.device.kind != DeviceKind::Cpu;
    match options.backend {
        BackendKind::Fused if on_device => on_a_device(work, options, watch),
        BackendKind::Fused => lane_by_lane(work, options, watch),
        BackendKind::Reference if on_device => Err(TrainError::Device(DeviceError::Absent {
            what: "the reference is a plain interpreter for the processor".to_owned(),
            help: "use `--device cpu`, or another backend".to_owned(),
        })),
        BackendKind::Candle | BackendKind::Reference => in_step(work, options),
    }
}

fn fused(work: &Work<'_>) -> Result<Fused, TrainError> {
    let prepared = work.prepared;
    Ok(Fused::with(
        &prepared.step,
        &prepared.adjoint,
        prepared.choices,
    )?)
}

/// Fused kernels on the processor.
fn lane_by_lane(
    work: &Work<'_>,
    options: &TrainerOptions,
    watch: &mut Stopwatch,
) -> Result<Blocks, TrainError> {
    let step = &work.prepared.step;
    let program = fused(work)?;
    watch.lap("kernels");
    let steps = work.task.steps();
    let limits = work.limits;
    let plan = Plan::lane_major(step, &program, work.lanes, steps, options.threads, limits);
    fits(&plan, limits)?;
    let graph = Arc::new(step.clone());
    let all = FusedBlock::new(Arc::new(program), graph, work.task, &plan, work.objective);
    Ok((plan, vec![Box::new(all)]))
}

/// Generated kernels on a device.
fn on_a_device(
    work: &Work<'_>,
    options: &TrainerOptions,
    watch: &mut Stopwatch,
) -> Result<Blocks, TrainError> {
    let step = &work.prepared.step;
    let device = device::open(options.device)?;
    let program = fused(work)?;
    watch.lap("kernels");
    let kernels = DevicePlan::new(&program, step, work.task, work.objective, device.limits());
    let plan = kernels.plan(&program, step, work.lanes);
    let limits = Limits {
        free: device.free(),
        ..work.limits
    };
    fits(&plan, limits)?;
    let graph = Arc::new(step.clone());
    let all = DeviceBlock::new(
        Arc::new(program),
        graph,
        work.task,
        plan.lanes,
        work.objective,
        kernels,
        device,
    )?;
    watch.lap("device");
    Ok((plan, vec![Box::new(all)]))
}

/// Blocks of lanes in step.
fn in_step(work: &Work<'_>, options: &TrainerOptions) -> Result<Blocks, TrainError> {
    let Work {
        prepared,
        task,
        objective,
        lanes,
        limits,
    } = *work;
    let candle = device::of_candle(options.device)?;
    let mut plan = Plan::batched(&prepared.step, &prepared.adjoint, lanes, task.steps());
    if options.device.kind != DeviceKind::Cpu {
        // A GPU is one worker.
        plan.together = Together::Blocks(vec![plan.lanes]);
    }
    fits(&plan, limits)?;
    let Together::Blocks(sizes) = plan.together.clone() else {
        return Ok((plan, Vec::new()));
    };
    let mut blocks: Vec<Box<dyn Block>> = Vec::with_capacity(sizes.len());
    let mut first = 0;
    for lanes in sizes {
        let (step, backward) = (prepared.step.clone(), prepared.adjoint.clone());
        let interval = plan.interval;
        blocks.push(if options.backend == BackendKind::Candle {
            let executor = Candle::new(step, backward, lanes, Precision::Single, &candle)?;
            Box::new(LaneBlock::new(executor, task, first, interval, objective))
        } else {
            let executor = Reference::new(step, backward, lanes);
            Box::new(LaneBlock::new(executor, task, first, interval, objective))
        });
        first += lanes;
    }
    Ok((plan, blocks))
}
