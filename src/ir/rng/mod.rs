//! Random numbers by address.
//!
//! A number is a pure function of (seed, stream, iteration, step, lane, index). It does not depend on which
//! other numbers were drawn, in which order, or on how many threads. The seed and the [`Stream`] give a
//! [`Key`]; the key, an iteration, a step and a lane give a [`Place`]; at a place an index tells the numbers
//! apart.
//!
//! Use one kind of draw per place: `uniform(3)` and `below(3, n)` come from the same bits.

mod fill;
mod philox;

pub use fill::{fill, noise};
pub use philox::philox4x32;

use rand_core::RngCore;

/// The purpose of random numbers. Streams are independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The initial value of the parameter with this [`path_hash`].
    Init(u64),
    /// Events in an episode of a task.
    Task,
    /// Actions of the agent.
    Action,
    /// The noise source with this number.
    Noise(u32),
    /// The order of data.
    Shuffle,
    /// The dropout mask with this number.
    Dropout(u32),
}

impl Stream {
    /// A tag and 64 bits that differ between streams.
    fn words(self) -> [u32; 3] {
        let (tag, bits) = match self {
            Stream::Init(hash) => (1, hash),
            Stream::Task => (2, 0),
            Stream::Action => (3, 0),
            Stream::Noise(number) => (4, u64::from(number)),
            Stream::Shuffle => (5, 0),
            Stream::Dropout(number) => (6, u64::from(number)),
        };
        [tag, bits as u32, (bits >> 32) as u32]
    }
}

/// A 64-bit hash of a parameter's path for [`Stream::Init`] (FNV-1a). A parameter keeps its initial values
/// when other parameters are added or removed.
pub fn path_hash(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A seed and a stream, ready to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    words: [u32; 2],
}

impl Key {
    /// The key of a stream. Every bit of the seed matters: the seed is itself a Philox key, with the stream
    /// as counter.
    pub fn new(seed: u64, stream: Stream) -> Key {
        let [tag, low, high] = stream.words();
        let block = philox4x32([low, high, tag, 0], [seed as u32, (seed >> 32) as u32]);
        Key {
            words: [block[0], block[1]],
        }
    }

    /// The 64 bits of the key, for draws outside this module.
    pub fn words(self) -> [u32; 2] {
        self.words
    }

    /// The 128 random bits with this address.
    pub fn block(self, iteration: u32, step: u32, lane: u32, index: u32) -> [u32; 4] {
        philox4x32([index, lane, step, iteration], self.words)
    }

    /// The place of this iteration, step and lane.
    pub fn at(self, iteration: u32, step: u32, lane: u32) -> Place {
        Place {
            key: self,
            iteration,
            step,
            lane,
        }
    }
}

/// The address of random numbers without the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    key: Key,
    iteration: u32,
    step: u32,
    lane: u32,
}

impl Place {
    /// The 128 random bits at an index.
    pub fn block(self, index: u32) -> [u32; 4] {
        self.key.block(self.iteration, self.step, self.lane, index)
    }

    /// A uniform number on `[0, 1)`, a multiple of 2⁻⁵³.
    pub fn uniform(self, index: u32) -> f64 {
        let block = self.block(index);
        unit(join(block[0], block[1]))
    }

    /// A uniform number on `[0, 1)`, a multiple of 2⁻²⁴.
    pub fn uniform_f32(self, index: u32) -> f32 {
        (self.block(index)[0] >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// A whole number of `0..n`, each with exactly the same probability; 0 if `n` is 0.
    pub fn below(self, index: u32, n: usize) -> usize {
        let mut block = self.block(index);
        loop {
            for word in [join(block[0], block[1]), join(block[2], block[3])] {
                if let Some(value) = scaled(word, n) {
                    return value;
                }
            }
            // Both words fell into the short remainder. The next bits come from the key's permutation, so
            // that neighbouring indices stay unused.
            block = philox4x32(block, self.key.words);
        }
    }

    /// A normal number with mean 0 and standard deviation 1 (Box–Muller; indices `2k` and `2k + 1` are the
    /// two values of one pair).
    pub fn normal(self, index: u32) -> f64 {
        let block = self.block(index / 2);
        let radius = (-2.0 * (1.0 - unit(join(block[0], block[1]))).ln()).sqrt();
        let angle = std::f64::consts::TAU * unit(join(block[2], block[3]));
        if index.is_multiple_of(2) {
            radius * angle.cos()
        } else {
            radius * angle.sin()
        }
    }

    /// A Bernoulli number: true with probability `p`.
    pub fn bernoulli(self, index: u32, p: f64) -> bool {
        self.uniform(index) < p
    }

    /// The numbers of this place in sequence, from index 0.
    pub fn draws(self) -> Draws {
        Draws {
            place: self,
            index: 0,
            block: [0; 4],
            used: 4,
        }
    }
}

/// The bits of a [`Place`] in sequence, for an unknown number of draws.
#[derive(Clone, Debug)]
pub struct Draws {
    place: Place,
    index: u32,
    block: [u32; 4],
    used: usize,
}

impl Draws {
    /// A uniform number on `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        unit(self.next_u64())
    }

    /// A whole number of `0..n`, each with exactly the same probability; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        loop {
            if let Some(value) = scaled(self.next_u64(), n) {
                return value;
            }
        }
    }

    /// Shuffles `items`, every order equally likely (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

impl RngCore for Draws {
    fn next_u32(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = self.place.block(self.index);
            self.index = self.index.wrapping_add(1);
            self.used = 0;
        }
        let word = self.block[self.used];
        self.used += 1;
        word
    }

    fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        join(low, self.next_u32())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, bytes);
    }
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Scales `word` to `0..n`; `None` if that would favour some values (Lemire 2019).
fn scaled(word: u64, n: usize) -> Option<usize> {
    let n = n as u64;
    let product = u128::from(word) * u128::from(n);
    let low = product as u64;
    if low < n && low < n.wrapping_neg() % n {
        return None;
    }
    Some((product >> 64) as usize)
}

#[cfg(test)]
mod tests;
