//! Learning from a batch of episodes several times: they are run once, and then run again, some lanes at a time, with the
//! actions that were taken and from the states they began with.

use super::a2c::Parts;
use super::block::{Block, BlockReport, EpisodeOptions};
use super::drive::EpisodeDrive;
use super::lane_episode::{LaneEpisode, Wiring};
use super::ppo::{normalise, Ppo, Taken};
use crate::engine::episode::{Engine, Environment, EpisodeRun, Running, States};
use crate::engine::BackendError;
use crate::ir::rng::{Key, Stream};
use crate::ir::Graph;
use crate::machine::kernel::KernelReport;
use std::sync::Arc;

/// Episodes that are learned from several times.
pub struct Again {
    drive: EpisodeDrive,
    /// The groups that run a part of the lanes again.
    learner: Box<dyn Engine>,
    ppo: Ppo,
    graph: Arc<Graph>,
    wiring: Arc<Wiring>,
    /// The episodes that were run last.
    options: EpisodeOptions,
    states: States,
    taken: Vec<Taken>,
}

impl Again {
    /// The lanes of `drive`, of which `learner` runs as many again as a minibatch has.
    pub fn new(drive: EpisodeDrive, learner: Box<dyn Engine>, ppo: Ppo) -> Again {
        Again {
            graph: Arc::new(learner.graph().clone()),
            wiring: drive.wiring(),
            drive,
            learner,
            ppo,
            options: EpisodeOptions::default(),
            states: States::new(),
            taken: Vec::new(),
        }
    }

    /// The lanes of a minibatch, in another order in each epoch.
    fn minibatch(&self, turn: u64) -> Vec<usize> {
        let parts = self.ppo.minibatches as u64;
        let (epoch, part) = (turn / parts, (turn % parts) as usize);
        let mut lanes: Vec<usize> = (0..self.taken.len()).collect();
        let place = Key::new(self.options.seed, Stream::Shuffle);
        let place = place.at(self.options.iteration, epoch as u32, 0);
        place.draws().shuffle(&mut lanes);
        let size = lanes.len() / self.ppo.minibatches;
        lanes[part * size..(part + 1) * size].to_vec()
    }
}

/// The states of some lanes, of so many.
fn of_lanes(states: &States, lanes: &[usize], of: usize) -> States {
    let pick = |values: &Vec<f64>| {
        let width = values.len() / of.max(1);
        let own = lanes
            .iter()
            .flat_map(|lane| &values[lane * width..(lane + 1) * width]);
        own.copied().collect()
    };
    states
        .iter()
        .map(|values| values.as_ref().map(pick))
        .collect()
}

impl Block for Again {
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
        states: &States,
    ) -> Result<BlockReport, BackendError> {
        if !options.learn {
            return self.drive.run(parameters, options, states);
        }
        let report = self.drive.forward(parameters, options, states)?;
        let lanes = self.drive.lanes();
        self.taken = lanes
            .map(|lane| Taken::new(&self.ppo.a2c, lane.episode(&self.wiring)))
            .collect();
        if self.ppo.normalise {
            normalise(&mut self.taken);
        }
        self.options = options;
        self.states.clone_from(states);
        Ok(report)
    }

    fn turns(&self) -> u64 {
        (self.ppo.epochs * self.ppo.minibatches) as u64
    }

    fn again(&mut self, parameters: &[Vec<f64>], turn: u64) -> Result<BlockReport, BackendError> {
        let minibatch = self.minibatch(turn);
        let states = of_lanes(&self.states, &minibatch, self.taken.len());
        let count: usize = minibatch.iter().map(|lane| self.taken[*lane].count()).sum();
        let all: Vec<&LaneEpisode> = self.drive.lanes().collect();
        let mut groups = Vec::new();
        let mut rest = minibatch.as_slice();
        for size in self.learner.groups() {
            let (own, others) = rest.split_at(size);
            rest = others;
            let lanes = own.iter().map(|lane| Lane {
                episode: all[*lane],
                taken: &self.taken[*lane],
                outputs: vec![Vec::new(); self.wiring.read().count()],
                adjoints: Vec::new(),
            });
            let lanes: Vec<Lane<'_>> = lanes.collect();
            let needed = lanes.iter().map(|lane| lane.taken.needed());
            groups.push(Group {
                steps: needed.max().unwrap_or(0).max(1),
                lanes,
                graph: &self.graph,
                wiring: &self.wiring,
                options: self.options,
                ppo: self.ppo,
                scale: 1.0 / count.max(1) as f64,
                done: 0,
                parts: Parts::default(),
                noise: Vec::new(),
            });
        }
        let run = EpisodeRun {
            steps: groups.iter().map(|group| group.steps).max().unwrap_or(0),
            learn: true,
            states: &states,
            all_states: false,
            first_adjoints: false,
        };
        let mut environments: Vec<&mut dyn Environment> = groups
            .iter_mut()
            .map(|group| group as &mut dyn Environment)
            .collect();
        let ran = self.learner.run(parameters, run, &mut environments)?;
        let mut report = BlockReport {
            gradients: ran.gradients,
            phases: ran.times.into(),
            ..BlockReport::default()
        };
        for group in &groups {
            report.parts += group.parts;
        }
        report.loss = report.parts.total();
        Ok(report)
    }

    fn measure_kernels(&mut self, on: bool) {
        self.learner.measure_kernels(on);
    }

    fn kernels(&self) -> Vec<KernelReport> {
        self.learner.kernels()
    }
}

/// A lane that is run again.
struct Lane<'a> {
    episode: &'a LaneEpisode,
    taken: &'a Taken,
    /// The outputs of the policy and the value, `[T * size]`.
    outputs: Vec<Vec<f64>>,
    adjoints: Vec<Vec<f64>>,
}

/// Lanes that are run again in step.
struct Group<'a> {
    lanes: Vec<Lane<'a>>,
    graph: &'a Graph,
    wiring: &'a Wiring,
    options: EpisodeOptions,
    ppo: Ppo,
    scale: f64,
    /// Steps to the last one that counts in some lane.
    steps: usize,
    /// Steps done.
    done: usize,
    parts: Parts,
    noise: Vec<f64>,
}

impl Environment for Group<'_> {
    fn start(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn before(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        for (k, lane) in self.lanes.iter().enumerate() {
            lane.episode
                .shown(step, |slot, values| lanes.set_input(k, slot, values));
            for (slot, source) in self.graph.noises.iter().enumerate() {
                self.noise.resize(source.dims.iter().product(), 0.0);
                // The noise depends on the lane of the batch, not of the minibatch.
                lane.episode
                    .noise(self.graph, slot, step, &self.options, &mut self.noise);
                lanes.set_noise(k, slot, &self.noise);
            }
        }
        Ok(())
    }

    fn after(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        let mut own = Vec::new();
        for (k, lane) in self.lanes.iter_mut().enumerate() {
            for (slot, values) in self.wiring.read().zip(&mut lane.outputs) {
                lanes.output(k, slot, &mut own)?;
                values.extend_from_slice(&own);
            }
        }
        self.done = step + 1;
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.done >= self.steps
    }

    fn finish(&mut self) {
        for lane in &mut self.lanes {
            lane.adjoints = lane
                .outputs
                .iter()
                .map(|all| vec![0.0; all.len()])
                .collect();
            self.parts += self.ppo.lane(
                lane.taken,
                (self.wiring.policy(), &lane.outputs),
                self.scale,
                &mut lane.adjoints,
            );
        }
    }

    fn reads(&self) -> Vec<usize> {
        self.wiring.read().collect()
    }

    fn adjoint(&self, lane: usize, step: usize, slot: usize) -> Option<&[f64]> {
        let number = self.wiring.read().position(|read| read == slot)?;
        let width = self.graph.outputs[slot].dims.iter().product::<usize>();
        Some(&self.lanes[lane].adjoints[number][step * width..(step + 1) * width])
    }
}
