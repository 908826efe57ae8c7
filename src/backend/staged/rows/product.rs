//! Products of matrices, cut into pieces of fixed sizes that threads share.

use rayon::prelude::*;

/// A matrix in memory: element `(r, c)` is at `r * row + c * column`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// Elements from a row to the next.
    pub row: usize,
    /// Elements from a column to the next.
    pub column: usize,
}

impl<'a> Matrix<'a> {
    /// Row after row.
    pub fn new(values: &'a [f32], columns: usize) -> Matrix<'a> {
        Matrix {
            values,
            row: columns,
            column: 1,
        }
    }

    /// With rows and columns exchanged.
    #[must_use]
    pub fn turned(self) -> Matrix<'a> {
        Matrix {
            row: self.column,
            column: self.row,
            ..self
        }
    }
}

/// Rows and columns of a piece of the result.
const PIECE: (usize, usize) = (192, 1024);

/// Where threads write: pieces that do not overlap.
struct Target(*mut f32);
// SAFETY: pieces of the result do not overlap, and nobody reads it before all are done.
unsafe impl Sync for Target {}

/// `out (+)= a b` for `a: [m, k]`, `b: [k, n]` and `out: [m, n]` row after row.
///
/// # Panics
/// Where a matrix is too small for its dimensions.
pub fn product(out: &mut [f32], add: bool, [m, k, n]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>) {
    let reach = |matrix: Matrix<'_>, rows: usize, columns: usize| {
        (rows - 1) * matrix.row + (columns - 1) * matrix.column < matrix.values.len()
    };
    if m == 0 || n == 0 {
        return;
    }
    assert!(out.len() >= m * n, "the result holds m × n elements");
    if k == 0 {
        if !add {
            out[..m * n].fill(0.0);
        }
        return;
    }
    assert!(
        reach(a, m, k) && reach(b, k, n),
        "operands hold what is read"
    );
    let (down, across) = (m.div_ceil(PIECE.0), n.div_ceil(PIECE.1));
    let target = Target(out.as_mut_ptr());
    let piece = |number: usize| {
        let target = &target;
        let (row, column) = (number / across * PIECE.0, number % across * PIECE.1);
        let (rows, columns) = (PIECE.0.min(m - row), PIECE.1.min(n - column));
        // SAFETY: the piece lies within the result, whose size was checked, and no other piece overlaps it; the
        // operands hold all that is read, which was checked.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                k,
                target.0.add(row * n + column),
                1,
                n as isize,
                add,
                a.values.as_ptr().add(row * a.row),
                a.column as isize,
                a.row as isize,
                b.values.as_ptr().add(column * b.column),
                b.column as isize,
                b.row as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    };
    match down * across {
        1 => piece(0),
        pieces => (0..pieces).into_par_iter().for_each(piece),
    }
}
