//! One step forwards and one back of a lane, by workload and size: `cargo bench --bench kernels`.
//!
//! Each time is that of a whole episode of 32 steps with its traces, replay included on the way back; the throughput
//! is in connections, so that 1 / throughput is the time of one connection and step.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use bpmc::driver::{compile, from_disk};
use bpmc::engine::experiment::{Experiment, Target};
use bpmc::engine::fused::{Fused, LaneMemory, Shared};
use bpmc::engine::params::ParamStore;
use bpmc::engine::plan::Plan;
use bpmc::step::passes::Selection;
use criterion::{BenchmarkId, Criterion, Throughput};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const STEPS: usize = 32;

/// A spec as lane programs, with parameters at their initial values.
struct Lane {
    program: Arc<Fused>,
    shared: Shared<f32>,
    memory: LaneMemory<f32>,
    interval: usize,
    inputs: Vec<usize>,
    widths: Vec<usize>,
    values: Vec<f32>,
}

impl Lane {
    fn new(spec: &str, size: usize) -> Lane {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(spec);
        let text = std::fs::read_to_string(&path).unwrap();
        let set = [format!("N={size}")];
        let compilation = compile(&path.display().to_string(), &text, &set, &from_disk).unwrap();
        let step = compilation.program.unwrap().step;
        let passes = Selection::default();
        let experiment = Experiment::observed(&step, Target::Kernels, &passes).unwrap();
        let stage = experiment.whole();
        let (step, backward) = (&stage.graphs.step, &stage.graphs.adjoint);
        let program = Arc::clone(stage.fused().unwrap());
        let parameters: Vec<Vec<f64>> = ParamStore::init(&step.params, 0)
            .iter()
            .map(|p| p.values.iter().map(|x| f64::from(*x)).collect())
            .collect();
        Lane {
            shared: program.shared(&parameters).unwrap(),
            memory: LaneMemory::new(),
            interval: Plan::batched(step, backward, 1, STEPS).interval,
            inputs: (0..step.inputs.len()).collect(),
            widths: step
                .inputs
                .iter()
                .map(|s| s.dims.iter().product())
                .collect(),
            values: vec![1.0; 1 << 12],
            program,
        }
    }

    fn forward(&mut self) {
        self.memory.start(&self.program, STEPS, self.interval);
        for step in 0..STEPS {
            for slot in &self.inputs {
                let value = (step % 3) as f32 - 1.0;
                let values = &self.values[..self.widths[*slot]];
                self.memory
                    .set_input(&self.program, *slot, values, |x: f32| x * value);
            }
            self.memory.step(&self.program, &self.shared);
        }
    }

    fn back(&mut self) {
        self.memory.start_back(&self.program);
        let seed = |step: usize, _slot: usize, out: &mut [f32]| {
            out.fill(0.1 * (step % 5) as f32 - 0.2);
        };
        self.memory.back(&self.program, &self.shared, seed);
    }
}

fn timed(rounds: u64, lane: &mut Lane, work: fn(&mut Lane), before: fn(&mut Lane)) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        before(lane);
        let start = Instant::now();
        work(lane);
        total += start.elapsed();
    }
    total
}

fn workload(criterion: &mut Criterion, name: &str, spec: &str) {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    for size in [50, 100, 200] {
        let mut lane = Lane::new(spec, size);
        group.throughput(Throughput::Elements((size * size * STEPS) as u64));
        group.bench_function(BenchmarkId::new("step", size), |bencher| {
            bencher.iter_custom(|rounds| timed(rounds, &mut lane, Lane::forward, |_| {}));
        });
        group.bench_function(BenchmarkId::new("adjoint", size), |bencher| {
            bencher.iter_custom(|rounds| timed(rounds, &mut lane, Lane::back, Lane::forward));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let workloads = [
        ("maze_fanout", "specs/paper/maze/simple_fanout.bpm"),
        ("cue_retroactive", "specs/paper/cue_reward/retroactive.bpm"),
    ];
    for (name, spec) in workloads {
        workload(&mut criterion, name, spec);
    }
    criterion.final_summary();
}
