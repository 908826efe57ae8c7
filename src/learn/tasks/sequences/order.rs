//! The order in which sequences are shown: a permutation of each epoch that needs no list of them.

use crate::ir::rng::{Key, Stream};

/// Rounds of the permutation; four make it indistinguishable from a random one (Luby and Rackoff 1988), for halves that
/// are not as small as here.
const ROUNDS: u32 = 8;

/// The sequence that is shown as number `index` of a run over `count` of them: every one once in each epoch of `count`,
/// in an order of its own. A Feistel network over the least square of a power of two that holds them all; numbers
/// outside are sent through it again until they fall inside.
pub(super) fn shuffled(seed: u64, index: u64, count: usize) -> usize {
    let count = (count as u64).max(1);
    let (epoch, mut at) = (index / count, index % count);
    let key = Key::new(seed, Stream::Shuffle);
    let bits = (u64::BITS - (count - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1 << bits) - 1;
    loop {
        let (mut left, mut right) = (at >> bits, at & mask);
        for round in 0..ROUNDS {
            let noise = key.block(epoch as u32, round, (epoch >> 32) as u32, right as u32)[0];
            (left, right) = (right, left ^ (u64::from(noise) & mask));
        }
        at = left << bits | right;
        if at < count {
            return at as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shuffled;

    #[test]
    fn every_epoch_shows_every_sequence_once() {
        for count in [1, 2, 3, 5, 16, 17, 1000] {
            for epoch in [0, 1, 7, 1 << 33] {
                let mut seen = vec![false; count];
                for k in 0..count as u64 {
                    let at = shuffled(3, epoch * count as u64 + k, count);
                    assert!(
                        !std::mem::replace(&mut seen[at], true),
                        "{count} {epoch} {k}"
                    );
                }
            }
        }
    }

    #[test]
    fn orders_depend_on_seed_and_epoch() {
        let order = |seed: u64, epoch: u64| -> Vec<usize> {
            (0..100)
                .map(|k| shuffled(seed, epoch * 100 + k, 100))
                .collect()
        };
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn every_place_and_every_pair_is_equally_likely() {
        const COUNT: usize = 6;
        const EPOCHS: u64 = 30_000;
        let mut at = [[0u32; COUNT]; COUNT];
        let mut follows = [[0u32; COUNT]; COUNT];
        for epoch in 0..EPOCHS {
            let order: Vec<usize> = (0..COUNT as u64)
                .map(|k| shuffled(9, epoch * COUNT as u64 + k, COUNT))
                .collect();
            for (place, sequence) in order.iter().enumerate() {
                at[place][*sequence] += 1;
            }
            for pair in order.windows(2) {
                follows[pair[0]][pair[1]] += 1;
            }
        }
        // Five standard deviations of counts with these means.
        let near = |count: u32, mean: f64| (f64::from(count) - mean).abs() < 5.0 * mean.sqrt();
        for (place, row) in at.iter().enumerate() {
            assert!(
                row.iter().all(|n| near(*n, EPOCHS as f64 / COUNT as f64)),
                "{place}: {row:?}"
            );
        }
        for (first, row) in follows.iter().enumerate() {
            for (second, n) in row.iter().enumerate() {
                assert!(
                    first == second || near(*n, EPOCHS as f64 / COUNT as f64),
                    "{first} {second} {n}"
                );
            }
        }
    }
}
