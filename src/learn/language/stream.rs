//! Text streams: a text divided into lanes, read in parallel chunk by chunk.

use crate::ir::rng::{Key, Stream as Random};

/// A text in lanes: lane `l` reads the `l`-th part. Every word is predicted once, the first ones from
/// `<eos>`.
#[derive(Clone, Debug)]
pub struct Lanes<'a> {
    words: &'a [u32],
    lanes: usize,
    per_lane: usize,
}

/// A chunk of all lanes, row by row: row `lane * steps + step`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// The number of steps.
    pub steps: usize,
    /// The words read.
    pub inputs: Vec<u32>,
    /// The words to predict.
    pub targets: Vec<u32>,
    /// The weights: 1 for a word of the text, 0 beyond its end.
    pub weights: Vec<f32>,
}

/// The number of the word at the end of lines.
const END: u32 = 1;

impl<'a> Lanes<'a> {
    /// Divides a text into lanes, of which the last may be shorter.
    pub fn new(words: &'a [u32], lanes: usize) -> Lanes<'a> {
        let lanes = lanes.max(1);
        Lanes {
            words,
            lanes,
            per_lane: words.len().div_ceil(lanes),
        }
    }

    /// The number of steps of the longest lane.
    pub fn steps(&self) -> usize {
        self.per_lane
    }

    /// The chunk of `steps` steps from `start`.
    pub fn chunk(&self, start: usize, steps: usize) -> Chunk {
        let mut chunk = Chunk {
            steps,
            ..Chunk::default()
        };
        for lane in 0..self.lanes {
            let first = lane * self.per_lane;
            let end = (first + self.per_lane).min(self.words.len());
            for at in first + start..first + start + steps {
                let inside = at < end;
                let before = at.checked_sub(1).filter(|_| inside);
                let word = |at: usize| self.words.get(at).copied().unwrap_or(END);
                chunk.inputs.push(before.map_or(END, word));
                chunk.targets.push(if inside { word(at) } else { END });
                chunk.weights.push(f32::from(u8::from(inside)));
            }
        }
        chunk
    }
}

/// The position of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The first step.
    pub start: usize,
    /// The number of steps.
    pub steps: usize,
}

/// The length of the longest possible chunk.
pub fn longest(steps: usize, random: bool) -> usize {
    steps + if random { 10 } else { 0 }
}

/// The chunks of one epoch over lanes of `total` steps.
pub fn epoch(epoch: usize, total: usize, steps: usize, random: bool, seed: u64) -> Vec<Place> {
    let key = Key::new(seed, Random::Shuffle);
    let mut out = Vec::new();
    let mut start = 0;
    while start < total {
        let length = if random {
            let place = key.at(epoch as u32, out.len() as u32, 0);
            // Merity et al. 2018, §5: chunks sometimes have half the length, and all lengths vary by five
            // steps.
            let base = if place.uniform(0) < 0.95 {
                steps as f64
            } else {
                steps as f64 / 2.0
            };
            let spread = 5.0 * normal(place.uniform(1), place.uniform(2));
            ((base + spread).round().max(5.0) as usize).min(longest(steps, random))
        } else {
            steps
        };
        let length = length.min(total - start).max(1);
        out.push(Place {
            epoch,
            start,
            steps: length,
        });
        start += length;
    }
    out
}

/// The Box–Muller normal deviate of two uniform numbers.
fn normal(a: f64, b: f64) -> f64 {
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

#[cfg(test)]
mod tests {
    use super::{epoch, Lanes};

    #[test]
    fn every_word_is_predicted_once_from_the_one_before() {
        let words: Vec<u32> = (10..33).collect();
        for lanes in [1, 2, 3, 7] {
            let stream = Lanes::new(&words, lanes);
            let mut seen = Vec::new();
            for place in epoch(0, stream.steps(), 4, false, 0) {
                let chunk = stream.chunk(place.start, place.steps);
                assert_eq!(chunk.inputs.len(), lanes * place.steps);
                for ((input, target), weight) in
                    chunk.inputs.iter().zip(&chunk.targets).zip(&chunk.weights)
                {
                    if *weight == 1.0 {
                        seen.push(*target);
                        let before = if *target == 10 { 1 } else { target - 1 };
                        assert_eq!(*input, before);
                    }
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, words, "{lanes}");
        }
    }

    #[test]
    fn random_chunks_cover_an_epoch() {
        let places = epoch(3, 5000, 70, true, 9);
        assert_eq!(places, epoch(3, 5000, 70, true, 9));
        assert_ne!(places, epoch(4, 5000, 70, true, 9));
        let mut next = 0;
        for place in &places {
            assert_eq!(place.start, next);
            assert!((1..=80).contains(&place.steps));
            next += place.steps;
        }
        assert_eq!(next, 5000);
        let mean = 5000.0 / places.len() as f64;
        assert!((60.0..75.0).contains(&mean), "{mean}");
    }
}
