//! Fused kernels on the CPU: some lanes go in step through their whole episode before the next ones begin.

use super::episode::{part, Engine, Environment, EpisodeRun, EpisodesRan, Running, States, Times};
use super::fused::{Fused, LaneMemory, Profile, Shared};
use super::BackendError;
use crate::ir::{Graph, Reset};
use crate::machine::dispatch;
use crate::machine::kernel::KernelReport;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Lanes that take turns on the memories of the threads.
pub struct Lanes {
    program: Arc<Fused>,
    graph: Arc<Graph>,
    shape: Shape,
    /// Whether kernels are timed.
    measure: bool,
    /// As many as lanes have run at once.
    memories: Mutex<Vec<LaneMemory<f32>>>,
}

/// How lanes are run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// All of them.
    pub lanes: usize,
    /// Lanes that go in step on each thread.
    pub in_step: usize,
    /// Groups that run at once, at most.
    pub running: usize,
    /// Steps between those whose traces are kept for the way back.
    pub interval: usize,
}

impl Lanes {
    /// All lanes of a step with these kernels.
    pub fn new(program: Arc<Fused>, graph: Arc<Graph>, shape: Shape) -> Lanes {
        Lanes {
            program,
            graph,
            shape,
            measure: false,
            memories: Mutex::new(Vec::new()),
        }
    }
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

/// What groups of lanes share while they run.
struct Shares<'a> {
    program: &'a Fused,
    graph: &'a Graph,
    shared: &'a Shared<f32>,
    shape: Shape,
    run: EpisodeRun<'a>,
}

/// What a group of lanes gave.
type GroupRan = Result<(States, Times), BackendError>;

impl Shares<'_> {
    /// Episodes of some lanes in step, forward and, when learning, back.
    fn group(
        &self,
        first: usize,
        environment: &mut dyn Environment,
        memories: &mut [LaneMemory<f32>],
    ) -> GroupRan {
        let mut times = self.forward(first, environment, memories)?;
        let mut states = vec![None; self.graph.states.len()];
        for (slot, state) in self.graph.states.iter().enumerate() {
            if matches!(state.reset, Reset::Never | Reset::Carry) {
                let mut running = self.running(memories);
                states[slot] = Some(running.state(slot)?);
            }
        }
        let start = Instant::now();
        environment.finish();
        times.environment += start.elapsed().as_secs_f64();
        if self.run.learn {
            let start = Instant::now();
            self.backward(environment, memories);
            times.backward = start.elapsed().as_secs_f64();
        }
        Ok((states, times))
    }

    fn running<'a>(&'a self, memories: &'a mut [LaneMemory<f32>]) -> Group<'a> {
        Group {
            program: self.program,
            graph: self.graph,
            shared: self.shared,
            memories,
        }
    }

    fn forward(
        &self,
        first: usize,
        environment: &mut dyn Environment,
        memories: &mut [LaneMemory<f32>],
    ) -> Result<Times, BackendError> {
        let mut times = Times::default();
        let mut last = Instant::now();
        let mut lap = |time: &mut f64| {
            let now = Instant::now();
            *time += (now - last).as_secs_f64();
            last = now;
        };
        let steps = self.run.steps;
        // Where nothing goes back one checkpoint of the traces is as few as there can be.
        let interval = match self.run.learn {
            true => self.shape.interval,
            false => steps.max(1),
        };
        environment.start();
        for (k, memory) in memories.iter_mut().enumerate() {
            memory.start(self.program, steps, interval);
            for slot in 0..self.graph.states.len() {
                let mine = [first + k, 1, self.shape.lanes];
                if let Some(values) = part(self.run.states, slot, mine) {
                    memory.set_state(self.program, slot, values);
                }
            }
        }
        for step in 0..steps {
            environment.before(step, &mut self.running(memories))?;
            lap(&mut times.environment);
            LaneMemory::step_together(memories, self.program, self.shared);
            lap(&mut times.forward);
            environment.after(step, &mut self.running(memories))?;
        }
        lap(&mut times.environment);
        Ok(times)
    }

    /// The way back, each lane with gradient sums of its own.
    fn backward(&self, environment: &dyn Environment, memories: &mut [LaneMemory<f32>]) {
        for memory in memories.iter_mut() {
            memory.start_back(self.program);
        }
        let (program, shared) = (self.program, self.shared);
        LaneMemory::back_together(memories, program, shared, |lane, step, slot, out| {
            match environment.adjoint(lane, step, slot) {
                Some(values) => {
                    for (to, x) in out.iter_mut().zip(values) {
                        *to = *x as f32;
                    }
                }
                None => out.fill(0.0),
            }
        });
    }
}

/// Lanes in step, between two steps.
struct Group<'a> {
    program: &'a Fused,
    graph: &'a Graph,
    shared: &'a Shared<f32>,
    memories: &'a mut [LaneMemory<f32>],
}

impl Running for Group<'_> {
    fn set_input(&mut self, lane: usize, slot: usize, values: &[f32]) {
        self.memories[lane].set_input(self.program, slot, values, |x| x);
    }

    fn set_noise(&mut self, lane: usize, slot: usize, values: &[f64]) {
        self.memories[lane].set_noise(self.program, slot, values);
    }

    fn output(&mut self, lane: usize, slot: usize, out: &mut Vec<f64>) -> Result<(), BackendError> {
        self.memories[lane].output(self.program, self.shared, slot, out);
        Ok(())
    }

    fn set_inputs(&mut self, slot: usize, values: &[f64]) {
        let width = values.len() / self.memories.len();
        for (memory, values) in self.memories.iter_mut().zip(values.chunks(width.max(1))) {
            memory.set_input(self.program, slot, values, |x| x as f32);
        }
    }

    fn outputs(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        let (mut all, mut own) = (Vec::new(), Vec::new());
        for memory in self.memories.iter() {
            memory.output(self.program, self.shared, slot, &mut own);
            all.extend_from_slice(&own);
        }
        Ok(all)
    }

    fn state(&mut self, slot: usize) -> Result<Vec<f64>, BackendError> {
        let lanes = self.memories.iter_mut();
        let values = lanes.flat_map(|memory| memory.state(self.program, self.shared, slot));
        Ok(values.collect())
    }

    fn set_state(&mut self, slot: usize, values: &[f64]) -> Result<(), BackendError> {
        let width = values.len() / self.memories.len();
        for (memory, values) in self.memories.iter_mut().zip(values.chunks(width.max(1))) {
            // Reading applies the updates that are still pending.
            for (other, state) in self.graph.states.iter().enumerate() {
                if state.dims.len() == 2 {
                    memory.state(self.program, self.shared, other);
                }
            }
            memory.set_state(self.program, slot, values);
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Option<Vec<f64>> {
        let lanes = self.memories.iter();
        let values: Option<Vec<_>> = lanes.map(|m| m.named(self.program, name)).collect();
        values.map(|lanes| lanes.concat())
    }
}

impl Engine for Lanes {
    fn groups(&self) -> Vec<usize> {
        let (lanes, in_step) = (self.shape.lanes, self.shape.in_step.max(1));
        let firsts = (0..lanes).step_by(in_step);
        firsts.map(|first| in_step.min(lanes - first)).collect()
    }

    fn run(
        &mut self,
        parameters: &[Vec<f64>],
        run: EpisodeRun<'_>,
        environments: &mut [&mut dyn Environment],
    ) -> Result<EpisodesRan, BackendError> {
        let shared = self.program.shared::<f32>(parameters)?;
        let shares = Shares {
            program: &self.program,
            graph: &self.graph,
            shared: &shared,
            shape: self.shape,
            run,
        };
        let total = Mutex::new(Total {
            sums: vec![0.0; self.program.sums_size()],
            next: 0,
            waiting: BTreeMap::new(),
        });
        let (lanes, together) = (self.shape.lanes, self.shape.in_step.max(1));
        // Lanes are begun in their order, so that few sums wait for their turn.
        let groups: Vec<Mutex<(&mut dyn Environment, Option<GroupRan>)>> = environments
            .iter_mut()
            .map(|environment| Mutex::new((&mut **environment, None)))
            .collect();
        let next = AtomicUsize::new(0);
        let (memories, measure) = (&self.memories, self.measure);
        let workers = rayon::current_num_threads().min(lanes);
        let workers = workers.min(self.shape.running).min(groups.len());
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
                        let Some(environment) = groups.get(group) else {
                            break;
                        };
                        let (environment, ran) = &mut *locked(environment);
                        let first = group * together;
                        let own = &mut own[..together.min(lanes - first)];
                        let done = shares.group(first, *environment, own);
                        if run.learn && done.is_ok() {
                            for (k, memory) in own.iter_mut().enumerate() {
                                let sums = memory.sums(shares.program);
                                locked(&total).add(first + k, sums);
                            }
                        }
                        *ran = Some(done);
                    }
                    locked(memories).extend(own);
                });
            }
        });
        let mut out = EpisodesRan {
            states: vec![None; self.graph.states.len()],
            ..EpisodesRan::default()
        };
        for group in groups {
            let (_, ran) = group.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some(ran) = ran else { continue };
            let (states, times) = ran?;
            out.times += times;
            for (all, values) in out.states.iter_mut().zip(states) {
                if let Some(values) = values {
                    all.get_or_insert_default().extend(values);
                }
            }
        }
        if run.learn {
            let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
            out.gradients = self.program.gradients(parameters, &total.sums)?;
        }
        Ok(out)
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
