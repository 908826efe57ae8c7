//! Fused kernels on the CPU: some lanes go in step through their whole episode before the next ones begin.

use super::bptt::least_memory_interval;
use super::episode::{
    extend, part, Engine, Environment, EpisodeRun, EpisodesRan, Running, States, Times,
};
use super::fused::{Fused, LaneMemory, Native, Profile, Real, Shared};
use super::BackendError;
use crate::ir::Graph;
use crate::machine::dispatch;
use crate::machine::kernel::KernelReport;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Lanes that take turns on the memories of the threads.
pub struct Lanes<T> {
    program: Arc<Fused>,
    graph: Arc<Graph>,
    shape: Shape,
    /// True if kernels are timed.
    measure: bool,
    /// One memory for each lane that has run at the same time.
    memories: Mutex<Vec<LaneMemory<T>>>,
}

/// The shape of a batch: lanes, steps and the lanes that run together.
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

impl Shape {
    /// All lanes in step, with the traces of so few steps kept that memory is least.
    pub fn together(lanes: usize, steps: usize) -> Shape {
        Shape {
            lanes,
            in_step: lanes,
            running: 1,
            interval: least_memory_interval(steps),
        }
    }
}

impl<T: Native> Lanes<T> {
    /// All lanes of a step with these kernels.
    pub fn new(program: Arc<Fused>, graph: Arc<Graph>, shape: Shape) -> Lanes<T> {
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
pub(super) struct Total<T> {
    sums: Vec<f64>,
    next: usize,
    waiting: BTreeMap<usize, Vec<T>>,
}

impl<T: Real> Total<T> {
    /// Sums of so many elements, all 0.
    pub(super) fn new(elements: usize) -> Total<T> {
        Total {
            sums: vec![0.0; elements],
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// The sums.
    pub(super) fn sums(&self) -> &[f64] {
        &self.sums
    }

    pub(super) fn add(&mut self, lane: usize, sums: &[T]) {
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

fn add<T: Real>(total: &mut [f64], sums: &[T]) {
    dispatch!(<T>(total: &mut [f64], sums: &[T]) {
        for (total, x) in total.iter_mut().zip(sums) {
            *total += x.to_f64();
        }
    })
}

/// The data that groups of lanes share while they run.
struct Shares<'a, T> {
    program: &'a Fused,
    graph: &'a Graph,
    shared: &'a Shared<T>,
    parameters: &'a [Vec<f64>],
    shape: Shape,
    run: EpisodeRun<'a>,
}

/// The result of a group of lanes.
type GroupRan = Result<EpisodesRan, BackendError>;

impl<T: Native> Shares<'_, T> {
    /// Episodes of some lanes in step, forward and, when learning, back.
    fn group(
        &self,
        first: usize,
        environment: &mut dyn Environment,
        memories: &mut [LaneMemory<T>],
    ) -> GroupRan {
        let mut times = self.forward(first, environment, memories)?;
        let mut states: States = vec![None; self.graph.states.len()];
        for (slot, state) in self.graph.states.iter().enumerate() {
            if self.run.gives(state) {
                let mut running = self.running(memories);
                states[slot] = Some(running.state(slot)?);
            }
        }
        let mut first_adjoints = States::new();
        let start = Instant::now();
        environment.finish();
        times.environment += start.elapsed().as_secs_f64();
        if self.run.learn {
            let start = Instant::now();
            self.backward(environment, memories);
            if self.run.first_adjoints {
                let adjoints = (0..states.len()).map(|slot| {
                    let lanes = memories.iter();
                    let own = lanes.flat_map(|lane| lane.state_adjoint(self.program, slot));
                    Some(own.collect())
                });
                first_adjoints = adjoints.collect();
            }
            times.backward = start.elapsed().as_secs_f64();
        }
        Ok(EpisodesRan {
            states,
            first_adjoints,
            times,
            ..EpisodesRan::default()
        })
    }

    fn running<'a>(&'a self, memories: &'a mut [LaneMemory<T>]) -> Group<'a, T> {
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
        memories: &mut [LaneMemory<T>],
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
        environment.start()?;
        for (k, memory) in memories.iter_mut().enumerate() {
            memory.start(self.program, steps, interval);
            for slot in 0..self.graph.states.len() {
                let mine = [first + k, 1, self.shape.lanes];
                let given = environment.first_state(k, slot);
                let first = self.graph.states[slot].first;
                let first = first.map(|first| self.parameters[first.index()].as_slice());
                let given = given.or(part(self.run.states, slot, mine));
                if let Some(values) = given.or(first) {
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
            if environment.is_over() {
                break;
            }
        }
        lap(&mut times.environment);
        Ok(times)
    }

    /// The way back, each lane with gradient sums of its own.
    fn backward(&self, environment: &dyn Environment, memories: &mut [LaneMemory<T>]) {
        for memory in memories.iter_mut() {
            memory.start_back(self.program);
        }
        let (program, shared) = (self.program, self.shared);
        LaneMemory::back_together(memories, program, shared, |lane, step, slot, out| {
            match environment.adjoint(lane, step, slot) {
                Some(values) => {
                    for (to, x) in out.iter_mut().zip(values) {
                        *to = T::from_f64(*x);
                    }
                }
                None => out.fill(T::ZERO),
            }
        });
    }
}

/// Lanes in step, between two steps.
struct Group<'a, T> {
    program: &'a Fused,
    graph: &'a Graph,
    shared: &'a Shared<T>,
    memories: &'a mut [LaneMemory<T>],
}

impl<T: Native> Running for Group<'_, T> {
    fn set_input(&mut self, lane: usize, slot: usize, values: &[f32]) {
        self.memories[lane].set_input(self.program, slot, values, |x| T::from_f64(x.into()));
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
            memory.set_input(self.program, slot, values, T::from_f64);
        }
    }

    fn set_noises(&mut self, slot: usize, values: &[f64]) {
        let width = values.len() / self.memories.len();
        for (memory, values) in self.memories.iter_mut().zip(values.chunks(width.max(1))) {
            memory.set_noise(self.program, slot, values);
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
                    memory.state::<f64>(self.program, self.shared, other);
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

impl<T: Native> Engine for Lanes<T> {
    fn graph(&self) -> &Graph {
        &self.graph
    }

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
        let shared = self.program.shared::<T>(parameters)?;
        let shares = Shares {
            program: &self.program,
            graph: &self.graph,
            shared: &shared,
            parameters,
            shape: self.shape,
            run,
        };
        let total = Mutex::new(Total::new(self.program.sums_size()));
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
                    let mut own: Vec<LaneMemory<T>> = {
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
        let mut out = EpisodesRan::default();
        for group in groups {
            let (_, ran) = group.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some(ran) = ran else { continue };
            let ran = ran?;
            out.times += ran.times;
            extend(&mut out.states, ran.states);
            extend(&mut out.first_adjoints, ran.first_adjoints);
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
pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
