//! All lanes on a device: one launch forward, one back.
//!
//! Tasks with device code run there, and whole iterations can follow each other there, too. Others are supervised: the host
//! gives all inputs before the episode and the adjoints of all outputs after it.

mod iterations;
mod plan;
#[cfg(test)]
mod tests;

pub use plan::{device_source, DevicePlan};
pub(super) use plan::{no_sparse_bundles, update};

use super::a2c::Parts;
use super::block::{Block, BlockReport, EpisodeOptions, Objective};
use super::lane_episode::{LaneEpisode, Wiring};
use super::learner::{IterationResult, IterationResults, Learner};
use super::phases::Phases;
use crate::engine::device::{DeviceLanes, DeviceRun};
use crate::engine::episode::States;
use crate::engine::fused::{Fused, Shared};
use crate::engine::BackendError;
use crate::ir::rng::{Key, Stream};
use crate::ir::Graph;
use crate::learn::tasks::Task;
use crate::machine::device::{Device, KernelTime};
use crate::machine::kernel::KernelReport;
use std::sync::Arc;
use std::time::Instant;

/// Lanes on a device.
pub struct DeviceBlock {
    program: Arc<Fused>,
    graph: Arc<Graph>,
    wiring: Wiring,
    on_device: bool,
    on: DeviceLanes,
    /// The lanes of a task that runs on the host.
    lanes: Vec<LaneEpisode>,
    shared: Shared<f32>,
    count: usize,
}

impl DeviceBlock {
    /// All lanes of a task.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(
        program: Arc<Fused>,
        graph: Arc<Graph>,
        task: &dyn Task,
        lanes: usize,
        objective: Objective,
        kernels: DevicePlan,
        device: Box<dyn Device>,
    ) -> Result<DeviceBlock, BackendError> {
        let wiring = Wiring::new(&graph, task, objective);
        let keys = 2 + graph.noises.len();
        let on_device = kernels.on_device;
        let shared = program.shared_size();
        let on = DeviceLanes::new(device, kernels.source, lanes, shared, keys)?;
        let host = if on_device { 0 } else { lanes };
        Ok(DeviceBlock {
            lanes: (0..host)
                .map(|lane| LaneEpisode::new(&wiring, task.lane(), lane))
                .collect(),
            shared: Shared::default(),
            count: lanes,
            program,
            graph,
            wiring,
            on_device,
            on,
        })
    }

    /// The options of the device's episodes.
    fn episodes(&self, options: &EpisodeOptions) -> DeviceRun {
        let noises = (0..self.graph.noises.len() as u32).map(Stream::Noise);
        let streams = [Stream::Task, Stream::Action].into_iter().chain(noises);
        DeviceRun {
            keys: streams.map(|s| Key::new(options.seed, s).words()).collect(),
            iteration: options.iteration,
            learn: options.learn,
            greedy: options.greedy,
            scale: 1.0 / (options.batch * self.wiring.steps().max(1)) as f64,
            steps: [options.first(), options.steps(self.wiring.steps())],
        }
    }

    /// The states that outlive an episode as the device has them: first values where none were.
    fn carried(&self, parameters: &[Vec<f64>], states: &States) -> Vec<f32> {
        let first = self.graph.states.iter().enumerate().map(|(slot, _)| {
            let lanes = self.lanes.iter();
            let given = lanes.map(|lane| lane.first_state(slot));
            let given = given.collect::<Option<Vec<_>>>()?;
            (!given.is_empty()).then(|| given.concat())
        });
        let first: States = first.collect();
        let slots = self.graph.states.iter();
        let arrays = slots.map(|state| {
            let array = &parameters[state.first?.index()];
            Some(array.repeat(self.count))
        });
        let arrays: States = arrays.collect();
        let given = |slot: usize| {
            let run = states.get(slot).and_then(Option::as_ref);
            first[slot].as_ref().or(run).or(arrays[slot].as_ref())
        };
        self.on.carried_from(&self.graph.states, given)
    }

    /// Inputs of all steps, a table of `[lanes, steps, n]` for each slot; what the task shows does not depend on outputs.
    fn inputs(&mut self, options: &EpisodeOptions) -> Vec<f32> {
        let sizes = self
            .graph
            .inputs
            .iter()
            .map(|slot| slot.dims.iter().product());
        let steps = options.steps(self.wiring.steps());
        let rows = self.lanes.len() * steps;
        let mut tables: Vec<Vec<f32>> =
            sizes.map(|n: usize| Vec::with_capacity(rows * n)).collect();
        let silent = self.wiring.silent();
        for lane in &mut self.lanes {
            lane.start(&self.wiring, options);
            for step in 0..steps {
                lane.observe(&self.wiring, |slot, values| {
                    tables[slot].extend_from_slice(values);
                });
                let outputs = silent.iter().map(Vec::as_slice);
                lane.take(&self.wiring, step, options, outputs);
            }
        }
        tables.concat()
    }

    /// Loss of the outputs, and their adjoints, a table of `[lanes, steps, n]` for each.
    fn host_loss(
        &mut self,
        options: &EpisodeOptions,
        report: &mut BlockReport,
    ) -> Result<Vec<f32>, BackendError> {
        let outputs = self.on.outputs()?;
        let steps = options.steps(self.wiring.steps());
        let rows = self.lanes.len() * steps;
        let mut rest = outputs.as_slice();
        let tables: Vec<(usize, Vec<f64>)> = self
            .wiring
            .read_sizes()
            .map(|n| {
                let (own, others) = rest.split_at(rows * n);
                rest = others;
                (n, own.iter().map(|x| f64::from(*x)).collect())
            })
            .collect();
        let mut seeds: Vec<Vec<f32>> = vec![Vec::new(); tables.len()];
        for (k, lane) in self.lanes.iter_mut().enumerate() {
            lane.start(&self.wiring, options);
            for step in 0..steps {
                let row = k * steps + step;
                let parts = tables.iter().map(|(n, own)| &own[row * n..(row + 1) * n]);
                lane.observe(&self.wiring, |_, _| {});
                lane.take(&self.wiring, step, options, parts);
            }
            let adjoints = report.add(lane, lane.loss(&self.wiring, options));
            for (seeds, adjoints) in seeds.iter_mut().zip(&adjoints) {
                seeds.extend(adjoints.iter().map(|x| *x as f32));
            }
        }
        Ok(seeds.concat())
    }
}

impl Block for DeviceBlock {
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
        states: &States,
    ) -> Result<BlockReport, BackendError> {
        let mut phases = Phases::default();
        let start = Instant::now();
        self.program.share(parameters, &mut self.shared)?;
        let run = self.episodes(&options);
        let inputs = if self.on_device {
            Vec::new()
        } else {
            self.inputs(&options)
        };
        let carried = self.carried(parameters, states);
        self.on.forward(&self.shared, &run, &carried, &inputs)?;
        let mut states = self.on.carried()?;
        if options.ends(self.wiring.steps()) {
            let slots = states.iter_mut().zip(&self.graph.states);
            for (state, _) in slots.filter(|(_, slot)| !slot.outlives()) {
                *state = None;
            }
        }
        let mut report = BlockReport {
            states,
            ..BlockReport::default()
        };
        let seeds = if self.on_device {
            None
        } else {
            Some(self.host_loss(&options, &mut report)?)
        };
        phases.forward = start.elapsed().as_secs_f64();
        let start = Instant::now();
        if options.learn {
            let sums = self.on.backward(&self.program, seeds.as_deref())?;
            report.gradients = self.program.gradients(parameters, &sums)?;
        }
        if self.on_device {
            let loss = self.on.loss(options.learn)?;
            for [policy, value, concentration, entropy, reward] in loss.lanes {
                let parts = Parts {
                    policy,
                    value,
                    concentration,
                    entropy,
                };
                report.parts += parts;
                report.loss += parts.total();
                report.rewards.push(reward);
            }
            report.step_rewards = loss.step_rewards;
        }
        phases.backward = start.elapsed().as_secs_f64();
        report.phases = phases;
        Ok(report)
    }

    fn learn(
        &mut self,
        learner: Learner<'_>,
        states: &mut States,
    ) -> Result<Option<IterationResults<IterationResult>>, BackendError> {
        self.whole_iterations(learner, states)
    }

    fn measure_kernels(&mut self, on: bool) {
        self.on.measure_kernels(on);
    }

    fn kernels(&self) -> Vec<KernelReport> {
        let times = self.on.device().kernel_times();
        times.iter().map(|time| report(time, "")).collect()
    }
}

/// The report of a device's kernel, its name after the place it belongs to.
pub(super) fn report(time: &KernelTime, of: &str) -> KernelReport {
    KernelReport {
        name: format!("{of}{}", time.name),
        form: "on the device".to_owned(),
        calls: time.calls as f64,
        seconds: time.seconds,
        bytes: 0.0,
        operations: time.operations,
    }
}
