//! A step of each optimizer, with the norm and the clipping of gradients before it:
//! `cargo bench --bench optimizer`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use bpmc::lang::settings::Settings;
use bpmc::learn::gradient::clip_global_norm;
use bpmc::learn::optim::OPTIMIZERS;
use criterion::{Criterion, Throughput};
use std::time::Duration;

/// Parameters of a plastic bundle of so many neurons: `w` and `alpha`, a bias, a rate.
fn lengths(size: usize) -> [usize; 4] {
    [size * size, size * size, size, 1]
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut group = criterion.benchmark_group("update");
    for size in [100, 200] {
        let lengths = lengths(size);
        group.throughput(Throughput::Elements(lengths.iter().sum::<usize>() as u64));
        let gradients: Vec<Vec<f32>> = lengths
            .iter()
            .map(|n| (0..*n).map(|k| 0.01 * (k % 7) as f32 - 0.03).collect())
            .collect();
        for row in OPTIMIZERS {
            let mut optimizer =
                (row.build)(&Settings::defaults(row.info.settings), &lengths).unwrap();
            let mut values: Vec<Vec<f32>> = lengths.iter().map(|n| vec![0.01; *n]).collect();
            group.bench_function(format!("{}/{size}", row.info.name), |bencher| {
                bencher.iter(|| {
                    let mut values: Vec<&mut [f32]> =
                        values.iter_mut().map(Vec::as_mut_slice).collect();
                    optimizer.step(&mut values, &gradients, 1.0);
                });
            });
        }
        let mut clipped = gradients.clone();
        group.bench_function(format!("clip/{size}"), |bencher| {
            bencher.iter(|| clip_global_norm(&mut clipped, 1e-3));
        });
    }
    group.finish();
    criterion.final_summary();
}
