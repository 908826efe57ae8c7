//! Episodes of a task: the lanes of a task as what an engine acts in, with losses where they end.

use super::block::{Block, BlockReport, EpisodeOptions, Objective};
use super::lane_episode::{LaneEpisode, LaneLoss, Wiring};
use super::tasks::{Task, Together};
use crate::engine::episode::{Engine, Environment, EpisodeRun, Running, States};
use crate::engine::BackendError;
use crate::ir::{Graph, Reset};
use crate::machine::kernel::KernelReport;
use std::sync::Arc;

/// The world of lanes that run in step.
pub struct Group {
    graph: Arc<Graph>,
    wiring: Arc<Wiring>,
    /// The first lane, counted in the batch.
    pub(super) first: usize,
    pub(super) lanes: Vec<LaneEpisode>,
    pub(super) options: EpisodeOptions,
    /// By lane, once the episode is over.
    pub(super) losses: Vec<LaneLoss>,
    /// The exchange of the lanes between steps.
    together: Option<Box<dyn Together>>,
    /// True if a run may end when all lanes are over: no state outlives it.
    ends: bool,
    /// The values of a lane, by output that is read.
    read: Vec<Vec<f64>>,
    noise: Vec<f64>,
}

/// The lanes of a task, in groups as an engine wants them.
///
/// # Errors
/// Fails if something that the lanes need cannot be started.
pub(super) fn groups(
    engine: &dyn Engine,
    task: &dyn Task,
    (objective, steps): (Objective, usize),
) -> Result<Vec<Group>, BackendError> {
    let graph = Arc::new(engine.graph().clone());
    let wiring = Arc::new(Wiring::new(&graph, task, objective).with_steps(steps));
    let outlives = |reset| matches!(reset, Reset::Never | Reset::Carry);
    let ends = !graph.states.iter().any(|state| outlives(state.reset));
    let companies = task.companies(&engine.groups());
    let mut next = 0;
    let groups = companies.map_err(BackendError::Environment)?;
    let groups = groups.into_iter().map(|company| {
        let first = next;
        next += company.lanes.len();
        let lanes = company.lanes.into_iter().zip(first..);
        Group {
            graph: Arc::clone(&graph),
            first,
            lanes: lanes
                .map(|(lane, index)| LaneEpisode::new(&wiring, lane, index))
                .collect(),
            together: company.together,
            ends,
            options: EpisodeOptions::default(),
            losses: Vec::new(),
            read: wiring.read().map(|_| Vec::new()).collect(),
            noise: Vec::new(),
            wiring: Arc::clone(&wiring),
        }
    });
    Ok(groups.collect())
}

impl Group {
    /// Steps of an episode.
    pub fn steps(&self) -> usize {
        self.wiring.steps()
    }

    /// Slots of the outputs that the trainer reads.
    pub fn outputs(&self) -> Vec<usize> {
        self.wiring.read().collect()
    }

    /// The inputs of a lane at its current step: calls `put(slot, values)` for each slot that the task gives.
    pub(super) fn observe(&mut self, lane: usize, put: impl FnMut(usize, &[f32])) {
        self.lanes[lane].observe(&self.wiring, put);
    }

    /// Has the lanes do what they do together.
    fn exchange(&mut self, step: Option<usize>) -> Result<(), BackendError> {
        match &mut self.together {
            None => Ok(()),
            Some(together) => together.exchange(step).map_err(BackendError::Environment),
        }
    }

    /// The noise of a lane at a step.
    pub(super) fn noise(&self, lane: usize, slot: usize, step: usize, out: &mut [f64]) {
        self.lanes[lane].noise(&self.graph, slot, step, &self.options, out);
    }
}

impl Environment for Group {
    fn start(&mut self) -> Result<(), BackendError> {
        for lane in &mut self.lanes {
            lane.start(&self.wiring, &self.options);
        }
        self.exchange(None)
    }

    fn first_state(&self, lane: usize, slot: usize) -> Option<&[f64]> {
        self.lanes[lane].first_state(slot)
    }

    fn before(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        for (k, lane) in self.lanes.iter_mut().enumerate() {
            lane.observe(&self.wiring, |slot, values| {
                lanes.set_input(k, slot, values)
            });
            for (slot, source) in self.graph.noises.iter().enumerate() {
                self.noise.resize(source.dims.iter().product(), 0.0);
                let step = self.options.first() + step;
                lane.noise(&self.graph, slot, step, &self.options, &mut self.noise);
                lanes.set_noise(k, slot, &self.noise);
            }
        }
        Ok(())
    }

    fn after(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        for (k, lane) in self.lanes.iter_mut().enumerate() {
            for (slot, values) in self.wiring.read().zip(&mut self.read) {
                lanes.output(k, slot, values)?;
            }
            let outputs = self.read.iter().map(Vec::as_slice);
            lane.take(&self.wiring, step, &self.options, outputs);
        }
        self.exchange(Some(step))?;
        for lane in &mut self.lanes {
            lane.settle();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ends && self.lanes.iter().all(LaneEpisode::is_over)
    }

    fn finish(&mut self) {
        let lanes = self.lanes.iter();
        let losses = lanes.map(|lane| lane.loss(&self.wiring, &self.options));
        self.losses = losses.collect();
    }

    fn reads(&self) -> Vec<usize> {
        self.outputs()
    }

    fn adjoint(&self, lane: usize, step: usize, slot: usize) -> Option<&[f64]> {
        let number = self.wiring.read().position(|read| read == slot)?;
        let adjoints = &self.losses[lane].seeds[number];
        let width = self.graph.outputs[slot].dims.iter().product::<usize>();
        Some(&adjoints[step * width..(step + 1) * width])
    }
}

/// Episodes of a task on an engine.
pub struct EpisodeDrive {
    engine: Box<dyn Engine>,
    groups: Vec<Group>,
}

impl EpisodeDrive {
    /// The lanes of a task on an engine.
    ///
    /// # Errors
    /// Fails if something that the lanes need cannot be started.
    pub fn new(
        engine: Box<dyn Engine>,
        task: &dyn Task,
        objective: Objective,
    ) -> Result<EpisodeDrive, BackendError> {
        Ok(EpisodeDrive {
            groups: groups(engine.as_ref(), task, (objective, task.steps()))?,
            engine,
        })
    }
}

impl EpisodeDrive {
    /// All lanes, with what their last episodes gave.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &LaneEpisode> {
        self.groups.iter().flat_map(|group| &group.lanes)
    }

    /// The connections of the step with task and trainer.
    pub(super) fn wiring(&self) -> Arc<Wiring> {
        let group = self.groups.first();
        Arc::clone(&group.expect("an engine has a group of lanes").wiring)
    }

    /// Runs one episode in every lane; goes back only where `learn` says so.
    fn episodes(
        &mut self,
        parameters: &[Vec<f64>],
        (options, learn): (EpisodeOptions, bool),
        states: &States,
    ) -> Result<BlockReport, BackendError> {
        for group in &mut self.groups {
            group.options = options;
        }
        let whole = self.groups.first().map_or(0, Group::steps);
        let run = EpisodeRun {
            steps: options.steps(whole),
            learn,
            states,
            all_states: !options.ends(whole),
            first_adjoints: false,
        };
        let groups = self.groups.iter_mut();
        let mut environments: Vec<&mut dyn Environment> =
            groups.map(|group| group as &mut dyn Environment).collect();
        let ran = self.engine.run(parameters, run, &mut environments)?;
        let mut report = BlockReport {
            gradients: ran.gradients,
            states: as_kept(ran.states),
            phases: ran.times.into(),
            ..BlockReport::default()
        };
        for group in &mut self.groups {
            for (lane, loss) in group.lanes.iter().zip(group.losses.drain(..)) {
                report.add(lane, loss);
            }
        }
        Ok(report)
    }

    /// Runs one episode in every lane, as for learning but forward only.
    ///
    /// # Errors
    /// Fails as the engine does.
    pub(super) fn forward(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
        states: &States,
    ) -> Result<BlockReport, BackendError> {
        self.episodes(parameters, (options, false), states)
    }
}

impl Block for EpisodeDrive {
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
        states: &States,
    ) -> Result<BlockReport, BackendError> {
        self.episodes(parameters, (options, options.learn), states)
    }

    fn measure_kernels(&mut self, on: bool) {
        self.engine.measure_kernels(on);
    }

    fn kernels(&self) -> Vec<KernelReport> {
        self.engine.kernels()
    }
}

/// States as checkpoints keep them, so that a resumed run goes on from the same numbers.
pub(super) fn as_kept(mut states: States) -> States {
    for x in states.iter_mut().flatten().flatten() {
        *x = f64::from(*x as f32);
    }
    states
}
