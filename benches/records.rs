//! What a run costs beside training: a record of the metrics in all its files, a checkpoint, and the watch over
//! numbers that are not finite, next to whole iterations: `cargo bench --bench records`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use bpmc::driver::{compile, from_disk};
use bpmc::lab::metrics::{MetricsWriter, Record};
use bpmc::learn::trainer::restore_point::{first_not_finite, RestorePoint};
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::DeviceChoice;
use bpmc::step::passes::Selection;
use criterion::Criterion;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

const SPECS: [&str; 2] = [
    "specs/quickstart.bpm",
    "specs/paper/cue_reward/retroactive.bpm",
];

fn trainer(path: &Path) -> Trainer {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.display().to_string();
    let compilation = compile(&name, &text, &[], &from_disk).unwrap();
    let options = TrainerOptions {
        threads: 1,
        backend: BackendKind::Fused,
        device: DeviceChoice::CPU,
        passes: Selection::default(),
        memory: None,
    };
    Trainer::new(compilation.program.as_ref().unwrap(), options).unwrap()
}

/// A record as runs write it.
fn record(iteration: u64) -> Record {
    let mut record = Record::new(iteration);
    for name in [
        "loss",
        "reward",
        "gradient_norm",
        "policy_loss",
        "value_loss",
        "concentration_loss",
        "entropy_loss",
    ] {
        record = record.set(name, 0.1 + iteration as f64 / 3.0);
    }
    record
        .time("seconds", iteration as f64 * 0.37)
        .time("seconds_per_iteration", 0.37)
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let folder = std::env::temp_dir().join(format!("bpmc-records-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();

    let mut group = criterion.benchmark_group("metrics");
    for events in [false, true] {
        let mut writer = MetricsWriter::create(&folder.join("metrics.jsonl"))
            .unwrap()
            .with_table(&folder.join("metrics.csv"), 0)
            .unwrap();
        if events {
            writer = writer.with_events(&folder, 0).unwrap();
        }
        let name = if events {
            "record, tensorboard"
        } else {
            "record"
        };
        let mut iteration = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                iteration += 1;
                writer.write(&record(iteration)).unwrap();
            });
        });
    }
    group.finish();

    for path in SPECS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut trainer = trainer(&root.join(path));
        let mut group = criterion.benchmark_group(path);
        let mut restore_point = RestorePoint::default();
        group.bench_function("watch", |bencher| {
            bencher.iter(|| {
                restore_point.save(trainer.parameters(), trainer.optimizer());
                black_box(first_not_finite(trainer.parameters()));
            });
        });
        let file = folder.join("checkpoint.safetensors");
        group.bench_function("checkpoint", |bencher| {
            bencher.iter(|| trainer.checkpoint("a", "b").unwrap().write(&file).unwrap());
        });
        group.bench_function("iteration", |bencher| {
            bencher.iter(|| trainer.step().unwrap());
        });
        group.finish();
    }
    std::fs::remove_dir_all(&folder).unwrap();
    criterion.final_summary();
}
