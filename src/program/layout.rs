//! The memory layout of a `[pre, post]` block.

/// The number of columns in a panel: one cache line of f32, one vector of the widest CPUs.
pub const PANEL: usize = 16;

/// A `[rows, cols]` block in panels of [`PANEL`] columns, each panel row-major; the last panel is padded. A
/// sweep reads every panel as one stream, and no row has a remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    /// The number of presynaptic neurons.
    pub rows: usize,
    /// The number of postsynaptic neurons.
    pub cols: usize,
}

impl Layout {
    /// The number of panels.
    pub fn panels(self) -> usize {
        self.cols.div_ceil(PANEL)
    }

    /// The number of elements with padding.
    pub fn size(self) -> usize {
        self.panels() * PANEL * self.rows
    }

    /// The number of columns in a panel without padding.
    pub fn columns(self, panel: usize) -> usize {
        (self.cols - panel * PANEL).min(PANEL)
    }

    /// Converts from row-major order.
    pub fn pack<T: Copy, U: Copy>(self, from: &[T], to: &mut [U], convert: impl Fn(T) -> U) {
        for panel in 0..self.panels() {
            let n = self.columns(panel);
            for row in 0..self.rows {
                let at = (panel * self.rows + row) * PANEL;
                let start = row * self.cols + panel * PANEL;
                for k in 0..n {
                    to[at + k] = convert(from[start + k]);
                }
            }
        }
    }

    /// Converts to row-major order.
    pub fn unpack<T: Copy, U: Copy>(self, from: &[T], to: &mut [U], convert: impl Fn(T) -> U) {
        for panel in 0..self.panels() {
            let n = self.columns(panel);
            for row in 0..self.rows {
                let at = (panel * self.rows + row) * PANEL;
                let start = row * self.cols + panel * PANEL;
                for k in 0..n {
                    to[start + k] = convert(from[at + k]);
                }
            }
        }
    }
}

/// The arrangement of elements in a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Elements in sequence, matrices row-major.
    Plain,
    /// A block of connections in panels.
    Panels(Layout),
    /// A matrix with its dimensions exchanged, in panels.
    Transposed(Layout),
    /// A row-major matrix with padded rows.
    Rows(Layout),
    /// A matrix with its dimensions exchanged, row-major with padded rows.
    TransposedRows(Layout),
}

/// A value at an offset of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub at: usize,
    /// The number of elements, without padding.
    pub n: usize,
    pub form: Form,
}

impl Slot {
    /// The number of elements in memory, with padding.
    pub(crate) fn size(self) -> usize {
        match self.form {
            Form::Plain => filled(self.n),
            Form::Panels(layout) | Form::Transposed(layout) => layout.size(),
            Form::Rows(layout) | Form::TransposedRows(layout) => layout.rows * filled(layout.cols),
        }
    }
}

/// A length padded to whole panels.
pub fn filled(n: usize) -> usize {
    n.div_ceil(PANEL) * PANEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_and_unpacking_are_inverse() {
        for (rows, cols) in [(1, 1), (3, 16), (2, 17), (5, 33), (7, 1)] {
            let layout = Layout { rows, cols };
            let from: Vec<f32> = (0..rows * cols).map(|k| k as f32 + 1.0).collect();
            let mut packed = vec![0.0f32; layout.size()];
            layout.pack(&from, &mut packed, |x| x);
            assert_eq!(packed.iter().filter(|x| **x != 0.0).count(), rows * cols);
            let mut back = vec![0.0f64; rows * cols];
            layout.unpack(&packed, &mut back, f64::from);
            assert!(back.iter().zip(&from).all(|(a, b)| *a == f64::from(*b)));
        }
    }
}
