//! Products of a vector and a matrix of parameters.

use super::code::Product;
use super::elements::Operand;
use super::layout::{filled, PANEL};
use super::math::Real;

impl Product {
    /// Elements of the result and of the vector, for a stored matrix of `rows` × `cols`.
    #[inline(always)]
    pub(super) fn sizes(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Product::ScaledRows => (cols, rows),
            Product::RowProducts => (rows, cols),
        }
    }
}

/// `out = v m`; the matrix is in panels for [`Product::ScaledRows`], else row after row, rows filled up.
#[inline(always)]
pub fn mat_vec<T: Real>(
    form: Product,
    out: &mut [T],
    v: Operand<'_, T>,
    matrix: &[T],
    rows: usize,
    cols: usize,
    order: &mut Vec<usize>,
) {
    match form {
        Product::ScaledRows => scaled_rows(out, v, matrix, rows, order),
        Product::RowProducts => row_products(out, v, matrix, cols),
    }
}

#[inline(always)]
fn element<T: Real>(v: Operand<'_, T>, k: usize) -> T {
    match v {
        Operand::Row(v) => v[k],
        Operand::One(x) => x,
    }
}

#[inline(always)]
fn add_scaled<T: Real>(sum: &mut [T; PANEL], x: T, row: &[T]) {
    for (s, m) in sum.iter_mut().zip(row) {
        *s = x.mul_add(*m, *s);
    }
}

#[inline(always)]
fn scaled_rows<T: Real>(
    out: &mut [T],
    v: Operand<'_, T>,
    matrix: &[T],
    rows: usize,
    order: &mut Vec<usize>,
) {
    // Inputs are mostly zeros: only the other rows are added up.
    order.clear();
    order.extend((0..rows).filter(|k| element(v, *k) != T::ZERO));
    for (p, out) in out.chunks_mut(PANEL).enumerate() {
        let panel = &matrix[p * rows * PANEL..(p + 1) * rows * PANEL];
        let row = |k: usize| &panel[k * PANEL..(k + 1) * PANEL];
        let mut sums = [[T::ZERO; PANEL]; 4];
        if order.len() == rows {
            let mut k = 0;
            while k + 4 <= rows {
                for (s, sum) in sums.iter_mut().enumerate() {
                    add_scaled(sum, element(v, k + s), row(k + s));
                }
                k += 4;
            }
            while k < rows {
                add_scaled(&mut sums[0], element(v, k), row(k));
                k += 1;
            }
        } else {
            for (n, k) in order.iter().enumerate() {
                if n % 2 == 0 {
                    add_scaled(&mut sums[0], element(v, *k), row(*k));
                } else {
                    add_scaled(&mut sums[1], element(v, *k), row(*k));
                }
            }
        }
        for (k, o) in out.iter_mut().enumerate() {
            *o = (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k]);
        }
    }
}

#[inline(always)]
fn row_products<T: Real>(out: &mut [T], v: Operand<'_, T>, matrix: &[T], cols: usize) {
    for (o, row) in out.iter_mut().zip(matrix.chunks_exact(filled(cols))) {
        let mut partial = [T::ZERO; PANEL];
        match v {
            Operand::Row(v) => {
                let mut a = row[..cols].chunks_exact(PANEL);
                let mut b = v.chunks_exact(PANEL);
                for (x, y) in (&mut a).zip(&mut b) {
                    for ((p, x), y) in partial.iter_mut().zip(x).zip(y) {
                        *p = x.mul_add(*y, *p);
                    }
                }
                let rest = a.remainder().iter().zip(b.remainder());
                for (p, (x, y)) in partial.iter_mut().zip(rest) {
                    *p = x.mul_add(*y, *p);
                }
            }
            Operand::One(y) => {
                for x in &row[..cols] {
                    partial[0] = x.mul_add(y, partial[0]);
                }
            }
        }
        let mut total = T::ZERO;
        for p in partial {
            total += p;
        }
        *o = total;
    }
}
