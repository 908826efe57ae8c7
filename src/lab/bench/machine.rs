//! The peak rates of this machine, from which floors are computed.
//!
//! There are three rates, each of one thread and of all threads together: multiply-adds in registers, bytes
//! of an array that stays in a core's L2 cache, and bytes of an array too large for it. Each measurement
//! takes about a tenth of a second. The rates of a GPU are multiply-adds, bytes of shared memory and bytes of
//! device memory; they are measured for one block and for as many blocks as run at once.

pub mod device;
mod loops;

use crate::lab::statistics::quantile;
use loops::{Line, Loops};
use serde::{Deserialize, Serialize};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The time that each rate is measured for.
const SPAN: Duration = Duration::from_millis(80);

/// The size of a core's L2 cache in bytes, if the system does not report it.
const USUAL_CACHE: usize = 512 << 10;

/// Bytes that all threads together read to stay outside the caches, and the least that one thread reads.
const FAR_BYTES: usize = 128 << 20;
const FAR_LEAST: usize = 8 << 20;

/// A rate of one thread, and of all threads together.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rates {
    /// The rate of one thread.
    pub one: f64,
    /// The rate of all threads together.
    pub all: f64,
}

/// The peak rates of one machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// The name of the GPU; `None` on the CPU. On a GPU a "thread" is a block of threads, and the "L2 cache"
    /// is the shared memory of a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The number of threads behind the rates "of all threads".
    pub threads: usize,
    /// The width of the vectors in the measuring loops, in bits.
    pub vector_bits: usize,
    /// Arithmetic operations (f32) per second; a multiply-add counts as two.
    pub operations_per_second: Rates,
    /// The size in bytes of the array that a thread reads in its L2 cache.
    pub near_bytes: usize,
    /// Bytes read and written per second in the L2 cache.
    pub near_bytes_per_second: Rates,
    /// Bytes read and written per second in arrays too large for the L2 cache.
    pub far_bytes_per_second: Rates,
}

impl Machine {
    /// Measures this machine with one thread and with `threads` threads.
    pub fn measure(threads: usize) -> Machine {
        let loops = Loops::best();
        let threads = threads.max(1);
        let both = |measure: &dyn Fn(usize) -> f64| {
            let one = measure(1);
            Rates {
                one,
                all: if threads == 1 { one } else { measure(threads) },
            }
        };
        let near = (cache() / 2).clamp(128 << 10, 1 << 20);
        Machine {
            device: None,
            threads,
            vector_bits: loops.bits(),
            operations_per_second: both(&|threads| {
                rate(threads, || (), |()| loops.multiply_add(20_000))
            }),
            near_bytes: near,
            near_bytes_per_second: both(&|threads| in_place(loops, threads, near, 16)),
            far_bytes_per_second: both(&|threads| {
                let bytes = (FAR_BYTES / (threads + 1)).max(FAR_LEAST);
                in_place(loops, threads, bytes, 1)
            }),
        }
    }
}

/// Measures bytes read and written per second by threads that each change an array of `bytes` bytes again and
/// again.
fn in_place(loops: Loops, threads: usize, bytes: usize, times: usize) -> f64 {
    let lines = bytes / std::mem::size_of::<Line>();
    rate(
        threads,
        || vec![Line::default(); lines],
        |array| (0..times).map(|_| loops.add_in_place(array)).sum(),
    )
}

/// Measures the units per second of `work`, which returns the number of units it did; the rates of threads
/// that run at the same time are added. Each thread measures many short stretches, and the upper quartile
/// counts: an interrupted stretch says nothing about the machine, nor does one that ran while the other
/// threads stood still.
fn rate<S>(
    threads: usize,
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S) -> f64 + Sync,
) -> f64 {
    let together = Barrier::new(threads);
    let one = || {
        let mut state = prepare();
        work(&mut state);
        together.wait();
        let start = Instant::now();
        let mut rates = Vec::new();
        while start.elapsed() < SPAN {
            let stretch = Instant::now();
            let units = work(&mut state);
            rates.push(units / stretch.elapsed().as_secs_f64().max(1e-9));
        }
        rates.sort_by(f64::total_cmp);
        quantile(&rates, 0.75).unwrap_or(0.0)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let mine = one();
        // A thread that failed counts as 0.
        let theirs = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or(0.0));
        mine + theirs.sum::<f64>()
    })
}

/// The size of a core's L2 cache in bytes.
fn cache() -> usize {
    let place = |k: usize, what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{k}/{what}");
        std::fs::read_to_string(path).ok()
    };
    (0..8)
        .find(|k| place(*k, "level").is_some_and(|level| level.trim() == "2"))
        .and_then(|k| cache_size(&place(k, "size")?))
        .unwrap_or(USUAL_CACHE)
}

/// Converts a size such as `1024K` to bytes.
fn cache_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 10),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 20),
            None => (text, 0),
        },
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << unit)
}

#[cfg(test)]
mod tests {
    use super::{cache_size, Machine};

    #[test]
    fn cache_sizes_have_units() {
        assert_eq!(cache_size("1024K\n"), Some(1 << 20));
        assert_eq!(cache_size("2M"), Some(2 << 20));
        assert_eq!(cache_size("512"), Some(512));
        assert_eq!(cache_size("none"), None);
    }

    #[test]
    fn rates_are_those_of_a_computer() {
        let start = std::time::Instant::now();
        let machine = Machine::measure(2);
        // The six rates take far less; tests run side by side.
        assert!(start.elapsed().as_secs_f64() < 6.0 * 2.0);
        let rates = [
            machine.operations_per_second,
            machine.near_bytes_per_second,
            machine.far_bytes_per_second,
        ];
        for rates in rates {
            assert!(rates.one > 1e8 && rates.one < 1e13, "{machine:?}");
            assert!(rates.all > 1e8 && rates.all < 1e13, "{machine:?}");
        }
        assert_eq!(machine.threads, 2);
    }
}
