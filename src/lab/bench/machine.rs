//! What this machine can do at most: the measure that floors are made with.
//!
//! Three rates, each of one thread and of all of them together: multiply-adds in registers, and bytes of an
//! array that is changed in place, once for an array that stays in the second-level cache of a core and once for
//! one that does not. Each takes about a tenth of a second. Of a device: multiply-adds, shared memory, the device's memory; of one
//! block and of as many as are there at once.

pub mod device;
mod loops;

use crate::lab::statistics::quantile;
use loops::{Line, Loops};
use serde::{Deserialize, Serialize};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Time that a rate is measured for.
const SPAN: Duration = Duration::from_millis(80);

/// Bytes of the second-level cache of a core where the system does not tell.
const USUAL_CACHE: usize = 512 << 10;

/// Bytes that all threads together go through to stay outside caches, and the fewest of one.
const FAR_BYTES: usize = 128 << 20;
const FAR_LEAST: usize = 8 << 20;

/// A rate of one thread, and of all threads together.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rates {
    /// Of one thread.
    pub one: f64,
    /// Of all of them.
    pub all: f64,
}

/// The rates of this machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// The device, where it is not the processor; threads are blocks of threads then, and the second-level cache is the
    /// memory that the threads of a block share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// How many threads "all" are.
    pub threads: usize,
    /// Bits of the vectors that the measuring loops used.
    pub vector_bits: usize,
    /// Arithmetic operations in f32 a second; a multiply-add is two.
    pub operations_per_second: Rates,
    /// Bytes a thread went through in its second-level cache.
    pub near_bytes: usize,
    /// Bytes read and written a second, there.
    pub near_bytes_per_second: Rates,
    /// Bytes a second, read and written, in arrays that are too large for that cache.
    pub far_bytes_per_second: Rates,
}

impl Machine {
    /// Measures with one thread and with `threads`.
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

/// Bytes read and written a second by threads that each change an array of so many bytes again and again.
fn in_place(loops: Loops, threads: usize, bytes: usize, times: usize) -> f64 {
    let lines = bytes / std::mem::size_of::<Line>();
    rate(
        threads,
        || vec![Line::default(); lines],
        |array| (0..times).map(|_| loops.add_in_place(array)).sum(),
    )
}

/// Units a second of `work`, which returns how many it did, added over threads that work at the same time. Of
/// the many short stretches of a thread the upper quartile counts: a stretch that was interrupted says
/// nothing of the machine, and neither does one that ran while the others stood still.
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
        // A thread that failed adds nothing.
        let theirs = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or(0.0));
        mine + theirs.sum::<f64>()
    })
}

/// Bytes of the second-level cache of a core.
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

/// `1024K` in bytes.
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
        // Six rates; far more than they take, since tests run side by side.
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
