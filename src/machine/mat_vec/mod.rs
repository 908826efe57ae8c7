//! Products of a vector and a matrix of parameters.

pub(crate) mod together;

use super::elements::Operand;
use crate::ir::Real;
use crate::program::code::Product;
use crate::program::layout::{filled, PANEL};

impl Product {
    /// The sizes of the result and of the vector, for a stored matrix of `rows` × `cols`.
    #[inline(always)]
    pub(crate) fn sizes(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Product::ScaledRows => (cols, rows),
            Product::RowProducts => (rows, cols),
        }
    }
}

/// Computes `out = v m`; the matrix is in panels for [`Product::ScaledRows`], else row-major with padded
/// rows.
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

/// Returns true if most of the elements are nonzero.
#[inline(always)]
pub(crate) fn is_dense<T: Real>(v: &[T]) -> bool {
    let zeros: u32 = v.iter().map(|x| u32::from(*x == T::ZERO)).sum();
    zeros as usize * 2 < v.len()
}

/// The sum of a panel: halves are added repeatedly.
#[inline(always)]
fn folded<T: Real>(mut sums: [T; PANEL]) -> T {
    let mut half = PANEL / 2;
    while half > 0 {
        for k in 0..half {
            sums[k] += sums[k + half];
        }
        half /= 2;
    }
    sums[0]
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
    // Inputs are often mostly zeros; then only the other rows are added up.
    let dense = match v {
        Operand::Row(v) => is_dense(&v[..rows]),
        Operand::One(_) => true,
    };
    order.clear();
    if !dense {
        order.extend((0..rows).filter(|k| element(v, *k) != T::ZERO));
    }
    for (p, out) in out.chunks_mut(PANEL).enumerate() {
        let panel = &matrix[p * rows * PANEL..(p + 1) * rows * PANEL];
        let row = |k: usize| &panel[k * PANEL..(k + 1) * PANEL];
        let mut sums = [[T::ZERO; PANEL]; 4];
        if dense {
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

/// The number of rows whose products are computed together.
const ROWS: usize = 4;

#[inline(always)]
fn row_products<T: Real>(out: &mut [T], v: Operand<'_, T>, matrix: &[T], cols: usize) {
    let stride = filled(cols);
    let outs = out.chunks_exact_mut(ROWS);
    for (out, rows) in outs.zip(matrix.chunks_exact(ROWS * stride)) {
        some_products::<T, ROWS>(out, v, rows, cols);
    }
    let rest = out.len() / ROWS * ROWS;
    for k in rest..out.len() {
        some_products::<T, 1>(
            &mut out[k..=k],
            v,
            &matrix[k * stride..(k + 1) * stride],
            cols,
        );
    }
}

/// Computes products with `R` rows.
#[inline(always)]
fn some_products<T: Real, const R: usize>(
    out: &mut [T],
    v: Operand<'_, T>,
    matrix: &[T],
    cols: usize,
) {
    let stride = filled(cols);
    let mut sums = [[T::ZERO; PANEL]; R];
    match v {
        Operand::Row(v) => {
            let mut panels = v[..cols].chunks_exact(PANEL);
            let mut at = 0;
            for y in &mut panels {
                for (r, sums) in sums.iter_mut().enumerate() {
                    let row = &matrix[r * stride + at..][..PANEL];
                    for ((sum, x), y) in sums.iter_mut().zip(row).zip(y) {
                        *sum = x.mul_add(*y, *sum);
                    }
                }
                at += PANEL;
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = &matrix[r * stride + at..];
                for ((sum, x), y) in sums.iter_mut().zip(row).zip(panels.remainder()) {
                    *sum = x.mul_add(*y, *sum);
                }
            }
        }
        Operand::One(y) => {
            for (r, sums) in sums.iter_mut().enumerate() {
                for x in &matrix[r * stride..][..cols] {
                    sums[0] = x.mul_add(y, sums[0]);
                }
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        *out = folded(sums);
    }
}
