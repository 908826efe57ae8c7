//! Matrix products, divided into pieces of fixed sizes that threads share.

use rayon::prelude::*;

/// A matrix in memory: element `(r, c)` is at `r * row + c * column`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// The distance in elements from a row to the next.
    pub row: usize,
    /// The distance in elements from a column to the next.
    pub column: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix.
    pub fn new(values: &'a [f32], columns: usize) -> Matrix<'a> {
        Matrix {
            values,
            row: columns,
            column: 1,
        }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn turned(self) -> Matrix<'a> {
        Matrix {
            row: self.column,
            column: self.row,
            ..self
        }
    }
}

/// The largest numbers of rows and columns of a piece: its packed operands stay in the caches.
const LARGEST: [usize; 2] = [512, 1024];
/// The desired number of pieces for threads to share, if each is still worth a thread.
const PIECES: usize = 8;
/// The number of multiply-adds that is worth a thread.
const SHARED_WORK: usize = 1 << 20;
/// Pieces end at whole vectors.
const VECTOR: usize = 16;

/// The rows and columns of a piece of an `[m, n]` result with `k` multiply-adds per element. They depend only
/// on the sizes.
fn piece([m, k, n]: [usize; 3]) -> [usize; 2] {
    let mut parts = [m.div_ceil(LARGEST[0]), n.div_ceil(LARGEST[1])];
    let size = |parts: [usize; 2]| {
        let even = |whole: usize, parts: usize| whole.div_ceil(parts).next_multiple_of(VECTOR);
        [even(m, parts[0]), even(n, parts[1])]
    };
    loop {
        let [rows, columns] = size(parts);
        let pieces = m.div_ceil(rows) * n.div_ceil(columns);
        if pieces >= PIECES || rows * columns * k < 2 * SHARED_WORK {
            return [rows, columns];
        }
        // The longer side is divided, or the rows if both are equal.
        let side = usize::from(columns > 2 * rows);
        if size(parts)[side] == VECTOR {
            return [rows, columns];
        }
        parts[side] += 1;
    }
}

/// The target of the threads' writes: pieces that do not overlap.
struct Target(*mut f32);
// SAFETY: pieces of the result do not overlap, and nobody reads it before all are done.
unsafe impl Sync for Target {}

/// Computes `out (+)= a b` for `a: [m, k]`, `b: [k, n]` and `out: [m, n]`, row-major.
///
/// # Panics
/// Panics if a matrix is too small for its dimensions.
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
    let [height, width] = piece([m, k, n]);
    let (down, across) = (m.div_ceil(height), n.div_ceil(width));
    let target = Target(out.as_mut_ptr());
    let piece = |number: usize| {
        let target = &target;
        let (row, column) = (number / across * height, number % across * width);
        let (rows, columns) = (height.min(m - row), width.min(n - column));
        // SAFETY: the piece lies within the result, whose size was checked, and no other piece overlaps it;
        // the operands' sizes were checked, too.
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
