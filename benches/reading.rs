//! The cost of reading sequences from files: batches of 64 sequences of 100 steps with 32 numbers each and two targets, next to
//! whole iterations of two networks that learn from them: `cargo bench --bench reading`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use bpmc::driver::{compile, from_disk};
use bpmc::lab::replay::archive;
use bpmc::learn::tasks::{of_model, EpisodeKey};
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::DeviceChoice;
use bpmc::step::passes::Selection;
use criterion::Criterion;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

const BATCH: u32 = 64;
const STEPS: usize = 100;
const SIZE: usize = 32;
const TARGETS: usize = 2;
const SEQUENCES: usize = 2000;

const RECURRENT: &str = "y = tanh(linear(x) + linear(h))";
const PLASTIC: &str = "plastic rec: h -> y using decay() {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1) per connection
  }
  y = tanh(linear(x) + rec)";

fn spec(body: &str, file: &Path) -> String {
    format!(
        "network net {{
  input x: [task.x]
  state h: [64] = 0
  {body}
  h <- y
  output guess = linear(y, task.guess)
}}
task sequences {{ train = \"{}\" }}
train supervised {{ loss = mean_squares, batch = {BATCH} }}
",
        file.display()
    )
}

/// The file as NumPy would save it, 32 bits a number, not compressed.
fn write(file: &Path) {
    let numbers = |size: usize| -> Vec<f64> {
        (0..SEQUENCES * STEPS * size)
            .map(|k| (k as f64 * 0.73).sin())
            .collect()
    };
    let (x, guess) = (numbers(SIZE), numbers(TARGETS));
    let arrays = [
        ("x".to_owned(), vec![SEQUENCES, STEPS, SIZE], x.as_slice()),
        (
            "guess".to_owned(),
            vec![SEQUENCES, STEPS, TARGETS],
            guess.as_slice(),
        ),
    ];
    std::fs::write(file, archive(&arrays, false)).unwrap();
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let folder = std::env::temp_dir().join(format!("bpmc-reading-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("train.npz");
    write(&file);
    for (name, body) in [("recurrent", RECURRENT), ("plastic", PLASTIC)] {
        let text = spec(body, &file);
        let compilation = compile(name, &text, &[], &from_disk).unwrap();
        let program = compilation.program.as_ref().unwrap();
        let options = TrainerOptions {
            threads: 1,
            backend: BackendKind::Fused,
            device: DeviceChoice::CPU,
            passes: Selection::default(),
            memory: None,
        };
        let mut trainer = Trainer::new(program, options).unwrap();
        let task = of_model(program.model.task.as_ref().unwrap()).unwrap();
        let mut lanes: Vec<_> = (0..BATCH).map(|_| task.lane()).collect();
        let (mut x, mut targets, mut weights) = ([0.0; SIZE], [0.0; TARGETS], [0.0; 1]);
        let mut iteration = 0;
        let mut group = criterion.benchmark_group(name);
        group.bench_function("reading a batch", |bencher| {
            bencher.iter(|| {
                for (number, lane) in lanes.iter_mut().enumerate() {
                    lane.reset(EpisodeKey {
                        iteration,
                        lane: number as u32,
                        batch: BATCH,
                        ..EpisodeKey::default()
                    });
                    for _ in 0..STEPS {
                        lane.observe(&mut x);
                        lane.target(&mut targets, &mut weights);
                        black_box((&x, &targets, &weights));
                    }
                    assert_eq!(lane.fault(), None);
                }
                iteration += 1;
            });
        });
        group.bench_function("iteration", |bencher| {
            bencher.iter(|| trainer.step().unwrap());
        });
        group.finish();
    }
    std::fs::remove_dir_all(&folder).unwrap();
    criterion.final_summary();
}
