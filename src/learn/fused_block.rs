//! All lanes on the fused kernels: each lane runs its whole episode before the next begins.

use super::block::{Block, BlockReport, EpisodeOptions, Objective};
use super::lane_episode::{LaneEpisode, LaneLoss, Wiring};
use super::phases::Phases;
use crate::engine::fused::{Fused, LaneMemory, Profile, Shared};
use crate::engine::plan::Plan;
use crate::engine::BackendError;
use crate::ir::{Graph, Reset};
use crate::learn::tasks::Task;
use crate::machine::dispatch;
use crate::machine::kernel::KernelReport;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Lanes that take turns on the memories of the threads.
pub struct FusedBlock {
    program: Arc<Fused>,
    graph: Arc<Graph>,
    wiring: Wiring,
    lanes: Vec<LaneEpisode>,
    interval: usize,
    /// Lanes that run at once, at most.
    running: usize,
    /// Lanes that go in step on each thread.
    in_step: usize,
    /// Whether kernels are timed.
    measure: bool,
    /// As many as lanes have run at once.
    memories: Mutex<Vec<LaneMemory<f32>>>,
    /// By slot, lane by lane.
    carried: Vec<Option<Vec<f64>>>,
    /// What `carried` was before the last run.
    carried_before: Vec<Option<Vec<f64>>>,
}

/// What one lane gave.
struct LaneResult {
    loss: LaneLoss,
    /// By slot, of states that outlive an episode.
    carried: Vec<Option<Vec<f64>>>,
    phases: Phases,
}

/// Gradient sums over lanes, added up in the order of the lanes whichever is finished first.
struct Total {
    sums: Vec<f64>,
    next: usize,
    waiting: BTreeMap<usize, Vec<f32>>,
}

impl Total {
    fn add(&mut self, lane: usize, sums: &[f32]) {
        if lane != self.next {
            self.waiting.insert(lane, sums.to_vec());
            return;
        }
        add(&mut self.sums, sums);
        self.next += 1;
        while let Some(sums) = self.waiting.remove(&self.next) {
            add(&mut self.sums, &sums);
            self.next += 1;
        }
    }
}

fn add(total: &mut [f64], sums: &[f32]) {
    dispatch!((total: &mut [f64], sums: &[f32]) {
        for (total, x) in total.iter_mut().zip(sums) {
            *total += f64::from(*x);
        }
    })
}

impl FusedBlock {
    /// All lanes of a task, as planned.
    pub fn new(
        program: Arc<Fused>,
        graph: Arc<Graph>,
        task: &dyn Task,
        plan: &Plan,
        objective: Objective,
    ) -> FusedBlock {
        let wiring = Wiring::new(&graph, task, objective);
        FusedBlock {
            lanes: (0..plan.lanes)
                .map(|lane| LaneEpisode::new(&wiring, task, lane))
                .collect(),
            carried: graph.states.iter().map(|_| None).collect(),
            carried_before: graph.states.iter().map(|_| None).collect(),
            program,
            graph,
            wiring,
            interval: plan.interval,
            running: plan.running(),
            in_step: plan.in_step.max(1),
            measure: false,
            memories: Mutex::new(Vec::new()),
        }
    }
}

/// What lanes share while they run.
struct Run<'a> {
    program: &'a Fused,
    graph: &'a Graph,
    wiring: &'a Wiring,
    interval: usize,
    shared: &'a Shared<f32>,
    carried: &'a [Option<Vec<f64>>],
    options: EpisodeOptions,
}

impl Run<'_> {
    /// Episodes of some lanes in step, forward and, when learning, back.
    fn lanes(
        &self,
        first: usize,
        episodes: &mut [LaneEpisode],
        memories: &mut [LaneMemory<f32>],
    ) -> Vec<LaneResult> {
        let mut phases = self.forward(first, episodes, memories);
        let start = Instant::now();
        let mut results: Vec<LaneResult> = episodes
            .iter_mut()
            .zip(memories.iter_mut())
            .map(|(episode, memory)| LaneResult {
                carried: self.carried_out_of(memory),
                loss: episode.loss(self.wiring, &self.options),
                phases: Phases::default(),
            })
            .collect();
        phases.task += start.elapsed().as_secs_f64();
        if self.options.learn {
            let start = Instant::now();
            self.backward(&results, memories);
            phases.backward = start.elapsed().as_secs_f64();
        }
        if let Some(result) = results.first_mut() {
            result.phases = phases;
        }
        results
    }

    /// States that outlive the episode, by slot.
    fn carried_out_of(&self, memory: &mut LaneMemory<f32>) -> Vec<Option<Vec<f64>>> {
        let states = self.graph.states.iter().enumerate();
        states
            .map(|(slot, state)| {
                matches!(state.reset, Reset::Never | Reset::Carry)
                    .then(|| memory.state(self.program, self.shared, slot))
            })
            .collect()
    }

    fn forward(
        &self,
        first: usize,
        episodes: &mut [LaneEpisode],
        memories: &mut [LaneMemory<f32>],
    ) -> Phases {
        let mut phases = Phases::default();
        let mut last = Instant::now();
        let mut lap = |phase: &mut f64| {
            let now = Instant::now();
            *phase += (now - last).as_secs_f64();
            last = now;
        };
        let (program, options) = (self.program, &self.options);
        for (k, (episode, memory)) in episodes.iter_mut().zip(memories.iter_mut()).enumerate() {
            let lane = first + k;
            episode.start(options);
            memory.start(program, self.wiring.steps(), self.interval);
            for (slot, carried) in self.carried.iter().enumerate() {
                if let Some(values) = carried {
                    let width = self.graph.states[slot].dims.iter().product::<usize>();
                    memory.set_state(program, slot, &values[lane * width..(lane + 1) * width]);
                }
            }
        }
        let mut read: Vec<Vec<f64>> = self.wiring.read().map(|_| Vec::new()).collect();
        let mut noise = Vec::new();
        for step in 0..self.wiring.steps() {
            for (episode, memory) in episodes.iter_mut().zip(memories.iter_mut()) {
                episode.observe(self.wiring, |slot, values| {
                    memory.set_input(program, slot, values, |x| x);
                });
                for (slot, source) in self.graph.noises.iter().enumerate() {
                    noise.resize(source.dims.iter().product(), 0.0);
                    episode.noise(self.graph, slot, step, options, &mut noise);
                    memory.set_noise(program, slot, &noise);
                }
            }
            lap(&mut phases.task);
            LaneMemory::step_together(memories, program, self.shared);
            lap(&mut phases.forward);
            for (episode, memory) in episodes.iter_mut().zip(memories.iter()) {
                for (slot, values) in self.wiring.read().zip(&mut read) {
                    memory.output(program, self.shared, slot, values);
                }
                episode.take(self.wiring, step, options, read.iter().map(Vec::as_slice));
            }
        }
        lap(&mut phases.task);
        phases
    }

    /// The way back, each lane with gradient sums of its own.
    fn backward(&self, results: &[LaneResult], memories: &mut [LaneMemory<f32>]) {
        let steps = self.wiring.steps();
        let outputs: Vec<usize> = self.wiring.read().collect();
        for memory in memories.iter_mut() {
            memory.start_back(self.program);
        }
        let (program, shared) = (self.program, self.shared);
        LaneMemory::back_together(memories, program, shared, |lane, step, slot, out| {
            // Outputs the trainer does not read have no adjoint.
            match outputs.iter().position(|read| *read == slot) {
                Some(k) => {
                    let seeds = &results[lane].loss.seeds[k];
                    let width = seeds.len() / steps;
                    let values = &seeds[step * width..(step + 1) * width];
                    for (to, x) in out.iter_mut().zip(values) {
                        *to = *x as f32;
                    }
                }
                None => out.fill(0.0),
            }
        });
    }
}

impl Block for FusedBlock {
    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        options: EpisodeOptions,
    ) -> Result<BlockReport, BackendError> {
        let shared = self.program.shared::<f32>(parameters)?;
        let run = Run {
            program: &self.program,
            graph: &self.graph,
            wiring: &self.wiring,
            interval: self.interval,
            shared: &shared,
            carried: &self.carried,
            options,
        };
        let total = Mutex::new(Total {
            sums: vec![0.0; self.program.sums_size()],
            next: 0,
            waiting: BTreeMap::new(),
        });
        let count = self.lanes.len();
        let workers = rayon::current_num_threads().min(count);
        let together = self.in_step;
        // Lanes are begun in their order, so that few sums wait for their turn.
        let groups: Vec<Mutex<(&mut [LaneEpisode], Vec<LaneResult>)>> = self
            .lanes
            .chunks_mut(together)
            .map(|lanes| Mutex::new((lanes, Vec::new())))
            .collect();
        let next = AtomicUsize::new(0);
        let memories = &self.memories;
        let measure = self.measure;
        let workers = workers.min(self.running).min(groups.len());
        rayon::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|_| {
                    let mut own: Vec<LaneMemory<f32>> = {
                        let mut all = locked(memories);
                        let kept = all.len().saturating_sub(together);
                        all.split_off(kept)
                    };
                    own.resize_with(together, LaneMemory::default);
                    for memory in &mut own {
                        if measure != memory.profile().is_some() {
                            memory.measure_kernels(measure);
                        }
                    }
                    loop {
                        let group = next.fetch_add(1, Ordering::Relaxed);
                        let Some(lanes) = groups.get(group) else {
                            break;
                        };
                        let (lanes, results) = &mut *locked(lanes);
                        let first = group * together;
                        let own = &mut own[..lanes.len()];
                        *results = run.lanes(first, lanes, own);
                        if options.learn {
                            for (k, memory) in own.iter_mut().enumerate() {
                                let sums = memory.sums(run.program);
                                locked(&total).add(first + k, sums);
                            }
                        }
                    }
                    locked(memories).extend(own);
                });
            }
        });
        let mut report = BlockReport::default();
        let mut carried: Vec<Option<Vec<f64>>> = vec![None; self.carried.len()];
        for group in groups {
            let (lanes, results) = group.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (lane, result) in lanes.iter().zip(results) {
                report.add(lane, result.loss);
                report.phases += result.phases;
                for (all, values) in carried.iter_mut().zip(result.carried) {
                    if let Some(values) = values {
                        all.get_or_insert_default().extend(values);
                    }
                }
            }
        }
        self.carried_before = std::mem::replace(&mut self.carried, carried);
        if options.learn {
            let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
            report.gradients = self.program.gradients(parameters, &total.sums)?;
        }
        Ok(report)
    }

    fn carried(&self) -> &[Option<Vec<f64>>] {
        &self.carried
    }

    fn set_carried(&mut self, carried: Vec<Option<Vec<f64>>>) {
        self.carried = carried;
    }

    fn take_back(&mut self) {
        self.carried.clone_from(&self.carried_before);
    }

    fn lanes(&self) -> usize {
        self.lanes.len()
    }

    fn measure_kernels(&mut self, on: bool) {
        self.measure = on;
        for memory in locked(&self.memories).iter_mut() {
            memory.measure_kernels(on);
        }
    }

    fn kernels(&self) -> Vec<KernelReport> {
        let mut all = Profile::default();
        for memory in locked(&self.memories).iter() {
            if let Some(profile) = memory.profile() {
                all.merge(profile);
            }
        }
        all.reports()
    }
}

/// A lock that no panic can have left half written: what it holds is replaced, never changed in steps.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
