//! Truncated backpropagation through time: sequences in chunks of steps, with a step of the optimizer after each.
//!
//! An iteration is a chunk of a batch of sequences. States go on from each chunk to the next as numbers, so gradients end at
//! the first step of a chunk; with the last chunk of its sequences a batch ends.

use crate::lang::sema::model::TrainModel;
use crate::step::truncated;

/// Steps of an episode that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The first, counted from 0.
    pub first: usize,
    /// The number of steps.
    pub steps: usize,
}

/// The division of episodes into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Steps of an episode.
    whole: usize,
    /// Steps of a chunk; the last one may have less.
    length: usize,
}

impl Chunks {
    /// The chunks of a trainer, for episodes of so many steps.
    pub fn new(train: &TrainModel, whole: usize) -> Chunks {
        let length = truncated(Some(train), whole).unwrap_or(whole);
        Chunks { whole, length }
    }

    /// Steps of the longest chunk.
    pub fn longest(self) -> usize {
        self.length
    }

    /// Chunks of an episode.
    pub fn count(self) -> u64 {
        self.whole.div_ceil(self.length.max(1)).max(1) as u64
    }

    /// The batch of episodes that is shown in an iteration, both counted from 0.
    pub fn batch(self, iteration: u64) -> u64 {
        iteration / self.count()
    }

    /// The chunk that is shown in an iteration, counted from 0; `None` where it is the whole episode.
    pub fn chunk(self, iteration: u64) -> Option<Chunk> {
        if self.count() == 1 {
            return None;
        }
        let first = (iteration % self.count()) as usize * self.length;
        Some(Chunk {
            first,
            steps: self.length.min(self.whole - first),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunk, Chunks};

    #[test]
    fn chunks_follow_each_other_to_the_last_step() {
        let chunks = |whole, length| Chunks { whole, length };
        let all: Vec<(u64, Option<Chunk>)> = (0..5)
            .map(|k| (chunks(7, 3).batch(k), chunks(7, 3).chunk(k)))
            .collect();
        let chunk = |first, steps| Some(Chunk { first, steps });
        let expected = [
            (0, chunk(0, 3)),
            (0, chunk(3, 3)),
            (0, chunk(6, 1)),
            (1, chunk(0, 3)),
            (1, chunk(3, 3)),
        ];
        assert_eq!(all, expected);
        assert_eq!(chunks(6, 3).count(), 2);
        assert_eq!((chunks(6, 6).count(), chunks(6, 6).chunk(9)), (1, None));
    }
}
