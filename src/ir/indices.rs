//! Positions in a vector: the neuron of each connection of a sparse bundle.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// One position in a vector of `size` elements for each element of another vector. Copies share their memory.
#[derive(Clone)]
pub struct Indices(Arc<Positions>);

struct Positions {
    at: Vec<u32>,
    size: usize,
    /// The first element of each position, and their number, if positions never fall.
    starts: Option<Vec<u32>>,
    /// A hash of both, so that graphs compare positions fast.
    hash: u64,
}

impl Indices {
    /// Positions in a vector of `size` elements.
    ///
    /// # Panics
    /// If a position lies outside.
    pub fn new(at: Vec<u32>, size: usize) -> Indices {
        assert!(
            at.iter().all(|k| (*k as usize) < size),
            "positions lie inside the vector"
        );
        let mut hasher = DefaultHasher::new();
        (&at, size).hash(&mut hasher);
        let hash = hasher.finish();
        let starts = at.is_sorted().then(|| {
            let starts = (0..=size).map(|k| at.partition_point(|at| (*at as usize) < k) as u32);
            starts.collect()
        });
        Indices(Arc::new(Positions {
            at,
            size,
            starts,
            hash,
        }))
    }

    /// The positions.
    pub fn at(&self) -> &[u32] {
        &self.0.at
    }

    /// The number of elements of the vector that they are positions in.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// The first element of each position, and their number at the end, if positions never fall.
    pub fn starts(&self) -> Option<&[u32]> {
        self.0.starts.as_deref()
    }

    /// The elements of a vector at the positions.
    pub fn gather<T: Copy>(&self, from: &[T]) -> Vec<T> {
        self.at().iter().map(|k| from[*k as usize]).collect()
    }

    /// For each position the sum of the elements that belong to it, from the first to the last.
    pub fn scatter(&self, from: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.size()];
        for (k, x) in self.at().iter().zip(from) {
            sums[*k as usize] += x;
        }
        sums
    }
}

impl PartialEq for Indices {
    fn eq(&self, other: &Indices) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash
                && self.size() == other.size()
                && self.at() == other.at())
    }
}

impl Eq for Indices {}

impl Hash for Indices {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

impl std::fmt::Debug for Indices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.at().len(), self.size())
    }
}
