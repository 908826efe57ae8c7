//! Vectors aligned to cache lines.

use crate::ir::Real;
use crate::program::layout::PANEL;
use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line<T>([T; PANEL]);

/// A vector whose first element begins a cache line. Its length is a multiple of [`PANEL`].
#[derive(Debug, Default)]
pub struct Aligned<T> {
    lines: Vec<Line<T>>,
}

impl<T: Clone> Clone for Aligned<T> {
    fn clone(&self) -> Aligned<T> {
        Aligned {
            lines: self.lines.clone(),
        }
    }

    fn clone_from(&mut self, source: &Aligned<T>) {
        self.lines.clone_from(&source.lines);
    }
}

impl<T: Real> Aligned<T> {
    /// An empty vector.
    pub fn new() -> Aligned<T> {
        Aligned { lines: Vec::new() }
    }

    /// Sets at least `n` elements to `value`; the memory is reused.
    pub fn reset(&mut self, n: usize, value: T) {
        self.lines.clear();
        self.lines.resize(n.div_ceil(PANEL), Line([value; PANEL]));
    }

    /// Grows to at least `n` elements; existing elements stay.
    pub fn grow(&mut self, n: usize) {
        if self.len() < n {
            self.lines.resize(n.div_ceil(PANEL), Line([T::ZERO; PANEL]));
        }
    }
}

impl<T: Real> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: lines are arrays of PANEL elements without padding: 64 or 128 bytes with alignment 64.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * PANEL) }
    }
}

impl<T: Real> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * PANEL)
        }
    }
}
