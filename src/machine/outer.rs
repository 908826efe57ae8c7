//! Sums of outer products over time: the vectors of many steps are stored and combined in one matrix product.

use super::aligned::Aligned;
use crate::ir::Real;
use crate::program::code::OuterSum;
use crate::program::layout::filled;

/// The number of steps per product.
const STEPS: usize = 64;

/// Vectors waiting for their product.
#[derive(Clone, Debug, Default)]
pub struct OuterBatch<T> {
    a: Aligned<T>,
    b: Aligned<T>,
    count: usize,
}

impl<T: Real> OuterBatch<T> {
    /// Space for the vectors of one more step; a full batch is multiplied first.
    pub fn next(&mut self, of: OuterSum, sums: &mut [T]) -> (&mut [T], &mut [T]) {
        if self.count == STEPS {
            self.flush(of, sums);
        }
        let (rows, cols) = (filled(of.rows), filled(of.cols));
        self.a.grow(rows * STEPS);
        self.b.grow(cols * STEPS);
        let k = self.count;
        self.count += 1;
        (
            &mut self.a[k * rows..k * rows + of.rows],
            &mut self.b[k * cols..k * cols + of.cols],
        )
    }

    /// Discards the waiting vectors.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds the products of the waiting vectors to the gradient sums.
    pub fn flush(&mut self, of: OuterSum, sums: &mut [T]) {
        if self.count == 0 {
            return;
        }
        let sums = &mut sums[of.sum..of.sum + of.rows * of.cols];
        let (rows, cols) = (filled(of.rows) as isize, filled(of.cols) as isize);
        // SAFETY: the target holds rows × cols elements row-major; `a` and `b` hold `count` padded vectors of
        // their lengths.
        unsafe {
            gemm::gemm(
                of.rows,
                of.cols,
                self.count,
                sums.as_mut_ptr(),
                1,
                of.cols as isize,
                true,
                self.a.as_ptr(),
                rows,
                1,
                self.b.as_ptr(),
                1,
                cols,
                T::ONE,
                T::ONE,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        self.count = 0;
    }
}
