//! Products of several vectors with one matrix, each bit-identical to a single product: the matrix is read
//! once for all of them. The code is for AVX-512 and AVX2; other CPUs process one vector after another.

use crate::program::code::Product;

/// The largest number of vectors per product.
pub const LANES: usize = 4;

/// Computes `out = v m` for every part; returns whether the CPU has code for it. `sizes` are the rows and
/// columns of the stored matrix.
pub fn products(
    form: Product,
    parts: &mut [(&mut [f32], &[f32])],
    matrix: &[f32],
    sizes: [usize; 2],
) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::machine::{processor, Processor};
        use crate::program::layout::filled;
        let [rows, cols] = sizes;
        let (outs, ins) = form.sizes(rows, cols);
        let stored = filled(cols) * rows;
        assert!(matrix.len() >= stored, "a matrix of {rows} x {cols}");
        for (out, v) in parts.iter() {
            assert!(
                out.len() == outs && v.len() == ins,
                "a vector of the matrix"
            );
        }
        match processor() {
            // SAFETY: the CPU has AVX-512, and the lengths were checked.
            Processor::Avx512 => unsafe { x86::with_avx512(form, parts, matrix, sizes) },
            // SAFETY: the CPU has AVX2 and FMA, and the lengths were checked.
            Processor::Avx2 => unsafe { x86::with_avx2(form, parts, matrix, sizes) },
            Processor::Other => return false,
        }
        true
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (form, parts, matrix, sizes);
        false
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::machine::mat_vec::folded;
    use crate::program::code::Product;
    use crate::program::layout::{filled, PANEL};
    use std::arch::x86_64::*;

    type Part<'a, 'b> = (&'a mut [f32], &'b [f32]);

    /// A vector register of f32 values.
    trait Vector: Copy {
        const WIDTH: usize;
        unsafe fn zero() -> Self;
        unsafe fn splat(x: f32) -> Self;
        unsafe fn load(from: *const f32) -> Self;
        unsafe fn store(self, to: *mut f32);
        unsafe fn add(self, other: Self) -> Self;
        /// The fused multiply-add `a b + self`.
        unsafe fn fma(self, a: Self, b: Self) -> Self;
    }

    macro_rules! vector {
        ($t:ty, $width:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $add:ident, $fma:ident) => {
            impl Vector for $t {
                const WIDTH: usize = $width;
                #[inline(always)]
                unsafe fn zero() -> Self {
                    // SAFETY: the caller guarantees the CPU's features, here and below.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(x: f32) -> Self {
                    // SAFETY: as above.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: as above, and the caller guarantees that many numbers at the address.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: as above.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $fma(a, b, self) }
                }
            }
        };
    }

    vector!(
        __m512,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_fmadd_ps
    );
    vector!(
        __m256,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_fmadd_ps
    );

    /// # Safety
    /// The CPU must have AVX-512, and all lengths must fit the matrix.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub unsafe fn with_avx512(
        form: Product,
        parts: &mut [Part<'_, '_>],
        matrix: &[f32],
        sizes: [usize; 2],
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe { of_some::<__m512>(form, parts, matrix, sizes) }
    }

    /// # Safety
    /// The CPU must have AVX2 and FMA, and all lengths must fit the matrix.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn with_avx2(
        form: Product,
        parts: &mut [Part<'_, '_>],
        matrix: &[f32],
        sizes: [usize; 2],
    ) {
        if form == Product::ScaledRows {
            // SAFETY: guaranteed by the caller.
            unsafe {
                if let Some(parts) = parts.first_chunk_mut::<4>() {
                    return sums_in_turn::<__m256, 4>(parts, matrix, sizes);
                }
                if let Some(parts) = parts.first_chunk_mut::<3>() {
                    return sums_in_turn::<__m256, 3>(parts, matrix, sizes);
                }
            }
        }
        // Sixteen registers hold the sums of two vectors.
        for two in parts.chunks_mut(2) {
            // SAFETY: guaranteed by the caller.
            unsafe { of_some::<__m256>(form, two, matrix, sizes) }
        }
    }

    /// # Safety
    /// As above, with the CPU features that `V` needs.
    #[inline(always)]
    unsafe fn of_some<V: Vector>(
        form: Product,
        parts: &mut [Part<'_, '_>],
        matrix: &[f32],
        sizes: [usize; 2],
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if let Some(parts) = parts.first_chunk_mut::<4>() {
                of_all::<V, 4>(form, parts, matrix, sizes);
            } else if let Some(parts) = parts.first_chunk_mut::<3>() {
                of_all::<V, 3>(form, parts, matrix, sizes);
            } else if let Some(parts) = parts.first_chunk_mut::<2>() {
                of_all::<V, 2>(form, parts, matrix, sizes);
            } else if let Some(parts) = parts.first_chunk_mut::<1>() {
                of_all::<V, 1>(form, parts, matrix, sizes);
            }
        }
    }

    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn of_all<V: Vector, const L: usize>(
        form: Product,
        parts: &mut [Part<'_, '_>; L],
        matrix: &[f32],
        [rows, cols]: [usize; 2],
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match form {
                Product::ScaledRows => scaled_rows::<V, L>(parts, matrix, rows, cols),
                Product::RowProducts => row_products::<V, L>(parts, matrix, rows, cols),
            }
        }
    }

    /// Adds rows scaled by the vectors' elements: row `k` is added to sum `k mod 4`.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn scaled_rows<V: Vector, const L: usize>(
        parts: &mut [Part<'_, '_>; L],
        matrix: &[f32],
        rows: usize,
        cols: usize,
    ) {
        let vectors: [*const f32; L] = std::array::from_fn(|l| parts[l].1.as_ptr());
        for column in (0..cols).step_by(V::WIDTH) {
            let (panel, inside) = (column / PANEL, column % PANEL);
            // SAFETY: the panels have `rows` rows and are enough for the columns; the vectors have `rows`
            // elements.
            unsafe {
                let at = matrix.as_ptr().add(panel * rows * PANEL + inside);
                let mut sums = [[V::zero(); 4]; L];
                let mut k = 0;
                while k + 4 <= rows {
                    let row: [V; 4] = std::array::from_fn(|s| V::load(at.add((k + s) * PANEL)));
                    for (sums, v) in sums.iter_mut().zip(vectors) {
                        for s in 0..4 {
                            sums[s] = sums[s].fma(V::splat(*v.add(k + s)), row[s]);
                        }
                    }
                    k += 4;
                }
                while k < rows {
                    let row = V::load(at.add(k * PANEL));
                    for (sums, v) in sums.iter_mut().zip(vectors) {
                        sums[0] = sums[0].fma(V::splat(*v.add(k)), row);
                    }
                    k += 1;
                }
                for ((out, _), [a, b, c, d]) in parts.iter_mut().zip(sums) {
                    let mut total = [0.0f32; PANEL];
                    a.add(b).add(c.add(d)).store(total.as_mut_ptr());
                    for (o, x) in out[column..].iter_mut().zip(&total[..V::WIDTH]) {
                        *o = *x;
                    }
                }
            }
        }
    }

    /// As [`scaled_rows`] for half as wide vectors: one sum after another, so that few registers hold those of all vectors and
    /// the matrix is read once for them.
    ///
    /// # Safety
    /// As above; two of `V` are a panel wide.
    #[inline(always)]
    unsafe fn sums_in_turn<V: Vector, const L: usize>(
        parts: &mut [Part<'_, '_>; L],
        matrix: &[f32],
        [rows, cols]: [usize; 2],
    ) {
        let vectors: [*const f32; L] = std::array::from_fn(|l| parts[l].1.as_ptr());
        let turns = rows / 4 * 4;
        for panel in 0..cols.div_ceil(PANEL) {
            let mut totals = [[[0.0f32; PANEL]; 4]; L];
            // SAFETY: the panels have `rows` rows and are enough for the columns; the vectors have `rows` elements.
            unsafe {
                let at = matrix.as_ptr().add(panel * rows * PANEL);
                for s in 0..4 {
                    let mut sums = [[V::zero(); 2]; L];
                    let mut add = |k: usize| {
                        let row = at.add(k * PANEL);
                        let halves = [V::load(row), V::load(row.add(V::WIDTH))];
                        for (sums, v) in sums.iter_mut().zip(vectors) {
                            let x = V::splat(*v.add(k));
                            for (sum, half) in sums.iter_mut().zip(halves) {
                                *sum = sum.fma(x, half);
                            }
                        }
                    };
                    let mut k = s;
                    while k < turns {
                        add(k);
                        k += 4;
                    }
                    // The rows after the last turn belong to the first sum.
                    while s == 0 && k < rows {
                        add(k);
                        k += 1;
                    }
                    for (total, sums) in totals.iter_mut().zip(sums) {
                        sums[0].store(total[s].as_mut_ptr());
                        sums[1].store(total[s].as_mut_ptr().add(V::WIDTH));
                    }
                }
            }
            for ((out, _), [a, b, c, d]) in parts.iter_mut().zip(&totals) {
                for (k, o) in out[panel * PANEL..].iter_mut().take(PANEL).enumerate() {
                    *o = (a[k] + b[k]) + (c[k] + d[k]);
                }
            }
        }
    }

    /// The number of rows whose products are computed together.
    const ROWS: usize = 4;

    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn row_products<V: Vector, const L: usize>(
        parts: &mut [Part<'_, '_>; L],
        matrix: &[f32],
        rows: usize,
        cols: usize,
    ) {
        let mut row = 0;
        // SAFETY: guaranteed by the caller.
        unsafe {
            while row + ROWS <= rows {
                some_products::<V, L, ROWS>(parts, matrix, row, cols);
                row += ROWS;
            }
            while row < rows {
                some_products::<V, L, 1>(parts, matrix, row, cols);
                row += 1;
            }
        }
    }

    /// Computes the products of the vectors with `R` rows from `row` on.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn some_products<V: Vector, const L: usize, const R: usize>(
        parts: &mut [Part<'_, '_>; L],
        matrix: &[f32],
        row: usize,
        cols: usize,
    ) {
        let stride = filled(cols);
        let whole = cols / PANEL * PANEL;
        let mut totals = [[[0.0f32; PANEL]; R]; L];
        // The end of a vector is padded with zeros, like the rows of the matrix.
        let mut ends = [[0.0f32; PANEL]; L];
        for (end, (_, v)) in ends.iter_mut().zip(parts.iter()) {
            end[..cols - whole].copy_from_slice(&v[whole..cols]);
        }
        // Part of a panel at a time, with its sums in registers.
        for inside in (0..PANEL).step_by(V::WIDTH) {
            // SAFETY: there are `R` rows of `stride` elements from `row` on, and vectors of `cols` elements.
            unsafe {
                let at = matrix.as_ptr().add(row * stride + inside);
                let mut sums = [[V::zero(); R]; L];
                for column in (0..whole).step_by(PANEL) {
                    let rows: [V; R] =
                        std::array::from_fn(|r| V::load(at.add(r * stride + column)));
                    for (sums, (_, v)) in sums.iter_mut().zip(parts.iter()) {
                        let y = V::load(v.as_ptr().add(column + inside));
                        for r in 0..R {
                            sums[r] = sums[r].fma(rows[r], y);
                        }
                    }
                }
                if whole < cols {
                    for (sums, end) in sums.iter_mut().zip(&ends) {
                        let y = V::load(end.as_ptr().add(inside));
                        for (r, sum) in sums.iter_mut().enumerate() {
                            *sum = sum.fma(V::load(at.add(r * stride + whole)), y);
                        }
                    }
                }
                for (totals, sums) in totals.iter_mut().zip(sums) {
                    for (total, sum) in totals.iter_mut().zip(sums) {
                        sum.store(total.as_mut_ptr().add(inside));
                    }
                }
            }
        }
        for ((out, _), totals) in parts.iter_mut().zip(totals) {
            for (out, total) in out[row..row + R].iter_mut().zip(totals) {
                *out = folded(total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::rng::{Key, Stream};
    use crate::machine::elements::Operand;
    use crate::machine::mat_vec::mat_vec;
    use crate::program::layout::Layout;

    #[test]
    fn together_is_as_alone() {
        let place = Key::new(5, Stream::Init(3)).at(0, 0, 0);
        let mut draws = (0u32..).map(|k| place.uniform_f32(k) - 0.5);
        for [rows, cols] in [
            [1usize, 1usize],
            [3, 17],
            [16, 16],
            [37, 5],
            [50, 40],
            [64, 33],
        ] {
            let plain: Vec<f64> = draws.by_ref().take(rows * cols).map(f64::from).collect();
            for form in [Product::ScaledRows, Product::RowProducts] {
                let stride = cols.next_multiple_of(16);
                let mut matrix = vec![0.0f32; stride * rows];
                match form {
                    Product::ScaledRows => {
                        Layout { rows, cols }.pack(&plain, &mut matrix, |x| x as f32);
                    }
                    Product::RowProducts => {
                        for (to, from) in matrix.chunks_mut(stride).zip(plain.chunks(cols)) {
                            for (to, from) in to.iter_mut().zip(from) {
                                *to = *from as f32;
                            }
                        }
                    }
                }
                let (outs, ins) = form.sizes(rows, cols);
                let vectors: Vec<Vec<f32>> = (0..LANES)
                    .map(|_| draws.by_ref().take(ins).collect())
                    .collect();
                for lanes in 1..=LANES {
                    let mut found = vec![vec![f32::NAN; outs]; lanes];
                    let mut parts: Vec<(&mut [f32], &[f32])> = found
                        .iter_mut()
                        .zip(&vectors)
                        .map(|(out, v)| (out.as_mut_slice(), v.as_slice()))
                        .collect();
                    if !products(form, &mut parts, &matrix, [rows, cols]) {
                        return;
                    }
                    for (found, v) in found.iter().zip(&vectors) {
                        let mut alone = vec![0.0f32; outs];
                        let v = Operand::Row(v.as_slice());
                        mat_vec(form, &mut alone, v, &matrix, rows, cols, &mut Vec::new());
                        assert_eq!(found, &alone, "{form:?} {rows} {cols} {lanes}");
                    }
                }
            }
        }
    }
}
