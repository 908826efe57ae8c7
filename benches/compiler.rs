//! From the text of a shipped spec to a tree, to a verified step, and to a trainer that is ready to run:
//! `cargo bench --bench compiler`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use bpmc::driver::{compile, from_disk};
use bpmc::lang::diag::{Diagnostics, SourceMap};
use bpmc::lang::syntax;
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::DeviceChoice;
use bpmc::step::passes::Selection;
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OPTIONS: TrainerOptions = TrainerOptions {
    threads: 1,
    backend: BackendKind::Fused,
    device: DeviceChoice::CPU,
    passes: Selection::level(3),
    memory: None,
};

/// The specs of the paper's experiments, in order; files of shared parts left out.
fn specs() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/paper")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "bpm") && !name.ends_with("common") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `maze/simple` for `.../specs/paper/maze/simple.bpm`.
fn short(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap();
    let name = path.file_stem().unwrap();
    format!("{}/{}", folder.to_string_lossy(), name.to_string_lossy())
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for path in specs() {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut group = criterion.benchmark_group(short(&path));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("parse", |bencher| {
            bencher.iter(|| {
                let mut sources = SourceMap::new();
                let source = sources.add(name.clone(), text.clone());
                let mut diagnostics = Diagnostics::new();
                black_box(syntax::parse(source, black_box(&text), &mut diagnostics))
            });
        });
        group.bench_function("step graph", |bencher| {
            bencher.iter(|| compile(&name, black_box(&text), &[], &from_disk).unwrap());
        });
        group.bench_function("program", |bencher| {
            bencher.iter(|| {
                let compilation = compile(&name, black_box(&text), &[], &from_disk).unwrap();
                Trainer::new(compilation.program.as_ref().unwrap(), OPTIONS).unwrap()
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
