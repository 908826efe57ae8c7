//! Choices drawn from a seed.

use crate::gradients::run::Draws;

/// A source of choices; the same seed gives the same.
pub struct Chance(Draws);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(Draws(seed))
    }

    /// For the case `index` of a run.
    pub fn of_case(seed: u64, index: u64) -> Chance {
        Chance::named(seed, &index.to_string())
    }

    /// One of its own for each name, so that what is drawn for one does not depend on the others.
    pub fn named(seed: u64, name: &str) -> Chance {
        // FNV-1a.
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Chance::new(name.as_bytes().iter().fold(start, mix))
    }

    /// A number between -1 and 1.
    pub fn unit(&mut self) -> f64 {
        self.0.next()
    }

    /// A number below `count`.
    pub fn pick(&mut self, count: usize) -> usize {
        let at = (self.unit() + 1.0) / 2.0 * count as f64;
        (at as usize).min(count - 1)
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, these: &[T]) -> T {
        these[self.pick(these.len())].clone()
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.pick(count) == 0
    }
}
