//! Kernels for an experiment.

use crate::engine::bptt::least_memory_interval;
use crate::engine::device::bytes;
use crate::engine::experiment::Experiment;
use crate::engine::fused::Fused;
use crate::engine::plan::Plan;
use crate::ir::{Graph, Op};
use crate::lang::settings::Settings;
use crate::learn::block::Objective;
use crate::learn::chunks::Chunks;
use crate::learn::experiment::{built, experiment, optimizer};
use crate::learn::lane_episode::Wiring;
use crate::learn::optim::Optimizer;
use crate::learn::tasks::Task;
use crate::learn::trainer::TrainError;
use crate::machine::c::{Coefficients, DeviceSource, Episode, Feed, ParamPlaces, Update};
use crate::machine::device::{BlockLimits, DeviceError};
use crate::step::Compiled;

/// Kernels for a network in a task, and how large its lanes are.
pub struct DevicePlan {
    pub(super) source: DeviceSource,
    pub(super) on_device: bool,
}

impl DevicePlan {
    /// For so many lanes of a step whose slots were checked against the task and the trainer.
    pub fn new(
        program: &Fused,
        graph: &Graph,
        (task, lanes, chunks): (&dyn Task, usize, Chunks),
        objective: Objective,
        update: Update,
        limits: BlockLimits,
    ) -> DevicePlan {
        let interval = program.interval(least_memory_interval(task.steps()));
        let wiring = Wiring::new(graph, task, objective.clone());
        let coefficients = match objective {
            Objective::A2c(a2c) => Some(Coefficients {
                gamma: a2c.gamma,
                value: a2c.value,
                concentration: a2c.concentration,
                entropy: a2c.entropy,
            }),
            Objective::Ppo(_) | Objective::Supervised(_) => None,
        };
        let device = task.device().filter(|_| coefficients.is_some());
        let on_device = device.is_some();
        // One table after another.
        let mut next = 0;
        let mut table = |n: usize| {
            next += n;
            next - n
        };
        let feeds = if on_device {
            wiring.feeds()
        } else {
            let sizes = graph.inputs.iter().map(|slot| slot.dims.iter().product());
            sizes.map(|n| Feed::Given(table(n))).collect()
        };
        next = 0;
        let mut table = |n: usize| {
            next += n;
            next - n
        };
        let read = wiring.read().zip(wiring.read_sizes());
        let read = read.map(|(slot, n)| (slot, table(n))).collect();
        let episode = Episode {
            graph,
            lanes,
            steps: wiring.steps(),
            interval,
            feeds,
            read,
            input_adjoints: Vec::new(),
            noises: (0..graph.noises.len()).collect(),
            passage: false,
            carries: chunks.count() > 1
                || graph
                    .states
                    .iter()
                    .any(|state| state.given || state.first.is_some()),
            places: on_device.then(|| ParamPlaces::new(&graph.params)),
            task: device,
            objective: coefficients.filter(|_| on_device),
            update: on_device.then_some(update),
        };
        DevicePlan {
            source: program.device_source(&episode, limits),
            on_device,
        }
    }

    /// The plan of a run.
    pub fn plan(&self, program: &Fused, step: &Graph, lanes: usize) -> Plan {
        let sizes = self.source.sizes;
        let bytes = bytes(&self.source, program.shared_size());
        Plan::device(step, lanes, sizes.steps, sizes.interval, bytes)
    }
}

/// The kernels of an experiment as a source, for a device with these limits.
///
/// # Errors
/// Where the spec cannot be trained.
pub fn device_source(
    program: &Compiled,
    compiled: &Experiment,
    limits: BlockLimits,
) -> Result<DeviceSource, TrainError> {
    Ok(device_plan(program, compiled, limits)?.source)
}

/// Refuses sparse bundles, which kernels of devices do not have.
///
/// # Errors
/// If the step has one.
pub(in crate::learn) fn no_sparse_bundles(step: &Graph) -> Result<(), TrainError> {
    let sparse = |id| matches!(step.value(id).op, Op::Gather(_) | Op::Scatter(_));
    if step.ids().any(sparse) {
        return Err(TrainError::Device(DeviceError::Absent {
            what: "kernels of devices have no sparse bundles (`connect where`)".to_owned(),
            help: "use `--device cpu`, or multiply with the mask in the place of `connect where`"
                .to_owned(),
        }));
    }
    Ok(())
}

/// The kernels of an experiment, likewise.
pub(super) fn device_plan(
    program: &Compiled,
    compiled: &Experiment,
    limits: BlockLimits,
) -> Result<DevicePlan, TrainError> {
    no_sparse_bundles(&compiled.step)?;
    let (train, task) = experiment(&program.model)?;
    let stage = compiled.whole();
    let fused = stage
        .fused()
        .expect("episodes on kernels were compiled for them");
    let objective = Objective::new(train);
    let task = built(task)?;
    let task = task.as_ref();
    let optimizer = optimizer(train, &[])?;
    let update = update(optimizer.as_ref(), &train.settings);
    let lanes = train.settings.int("batch").max(1);
    let step = &stage.graphs.step;
    let work = (task, lanes, Chunks::new(train, task.steps()));
    Ok(DevicePlan::new(
        fused, step, work, objective, update, limits,
    ))
}

/// The steps of an optimizer on a device.
pub(in crate::learn) fn update(optimizer: &dyn Optimizer, settings: &Settings) -> Update {
    Update {
        optimizer: optimizer.device(),
        clip_norm: settings.real("clip_norm"),
    }
}
