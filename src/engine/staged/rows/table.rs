//! Tables: the values of all rows.

use std::borrow::Cow;

/// One-hot rows: row `r` is `scale[r]` at `index[r]` and 0 elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Hot<'a> {
    /// The position of the nonzero element.
    pub index: Cow<'a, [u32]>,
    /// The value of that element.
    pub scale: Cow<'a, [f32]>,
}

/// A value of all rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Table<'a> {
    /// One row for all.
    Shared(Cow<'a, [f32]>),
    /// All rows, row-major.
    Rows(Cow<'a, [f32]>),
    /// A mask for blocks of this many steps: row `r` reads entry `r / steps`.
    Repeated(Cow<'a, [f32]>, usize),
    /// One nonzero element per row.
    Hot(Hot<'a>),
}

impl<'a> Table<'a> {
    /// Borrows rows.
    pub fn rows(values: &'a [f32]) -> Table<'a> {
        Table::Rows(Cow::Borrowed(values))
    }

    /// Borrows one-hot rows with factor 1.
    pub fn hot(index: &'a [u32]) -> Table<'a> {
        Table::Hot(Hot {
            index: Cow::Borrowed(index),
            scale: Cow::Owned(vec![1.0; index.len()]),
        })
    }

    /// Borrows one-hot rows with their factors.
    pub fn scaled((index, scale): (&'a [u32], &'a [f32])) -> Table<'a> {
        Table::Hot(Hot {
            index: Cow::Borrowed(index),
            scale: Cow::Borrowed(scale),
        })
    }

    /// Expands to `rows` rows of `width` numbers.
    pub fn into_rows(self, rows: usize, width: usize) -> Vec<f32> {
        match self {
            Table::Rows(values) => values.into_owned(),
            Table::Shared(values) => values.repeat(rows),
            Table::Repeated(values, steps) => (0..rows)
                .flat_map(|row| {
                    let at = row / steps * width;
                    values[at..at + width].iter().copied()
                })
                .collect(),
            Table::Hot(hot) => {
                let mut out = vec![0.0; rows * width];
                for (row, (index, scale)) in hot.index.iter().zip(hot.scale.iter()).enumerate() {
                    out[row * width + *index as usize] = *scale;
                }
                out
            }
        }
    }

    /// Element `k` of a row, in a table of this width.
    pub(super) fn at(&self, row: usize, k: usize, width: usize) -> f32 {
        match self {
            Table::Shared(values) => values[k],
            Table::Rows(values) => values[row * width + k],
            Table::Repeated(values, steps) => values[row / steps * width + k],
            Table::Hot(hot) => {
                if hot.index[row] as usize == k {
                    hot.scale[row]
                } else {
                    0.0
                }
            }
        }
    }

    /// One row of a table of this width that stores whole rows.
    pub(super) fn row(&self, row: usize, width: usize) -> &[f32] {
        match self {
            Table::Shared(values) => values,
            Table::Rows(values) => &values[row * width..(row + 1) * width],
            Table::Repeated(values, steps) => {
                let at = row / steps * width;
                &values[at..at + width]
            }
            Table::Hot(_) => &[],
        }
    }
}
