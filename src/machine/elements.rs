//! Elementwise functions over whole rows, written so that the compiler vectorizes the loops.

use crate::ir::element::{binary, clip, clip_mask, unary};
use crate::ir::{Binary, Boundary, Indices, Real, Unary};
use crate::program::code::Element;

/// A row, or one number for all of it.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a, T> {
    Row(&'a [T]),
    One(T),
}

impl<T: Real> Operand<'_, T> {
    /// Element `k`.
    #[inline(always)]
    pub(crate) fn get(&self, k: usize) -> T {
        match self {
            Operand::Row(row) => row[k],
            Operand::One(x) => *x,
        }
    }
}

#[inline(always)]
pub(crate) fn map1<T: Real>(out: &mut [T], a: Operand<'_, T>, f: impl Fn(T) -> T) {
    match a {
        Operand::Row(a) => {
            for (o, x) in out.iter_mut().zip(a) {
                *o = f(*x);
            }
        }
        Operand::One(x) => out.fill(f(x)),
    }
}

#[inline(always)]
fn map2<T: Real>(out: &mut [T], a: Operand<'_, T>, b: Operand<'_, T>, f: impl Fn(T, T) -> T) {
    match (a, b) {
        (Operand::Row(a), Operand::Row(b)) => {
            for ((o, x), y) in out.iter_mut().zip(a).zip(b) {
                *o = f(*x, *y);
            }
        }
        (Operand::Row(a), Operand::One(y)) => {
            for (o, x) in out.iter_mut().zip(a) {
                *o = f(*x, y);
            }
        }
        (Operand::One(x), Operand::Row(b)) => {
            for (o, y) in out.iter_mut().zip(b) {
                *o = f(x, *y);
            }
        }
        (Operand::One(x), Operand::One(y)) => out.fill(f(x, y)),
    }
}

#[inline(always)]
fn map3<T: Real>(
    out: &mut [T],
    a: Operand<'_, T>,
    b: Operand<'_, T>,
    c: Operand<'_, T>,
    f: impl Fn(T, T, T) -> T,
) {
    match (a, b, c) {
        (Operand::Row(a), Operand::Row(b), Operand::Row(c)) => {
            for (((o, x), y), z) in out.iter_mut().zip(a).zip(b).zip(c) {
                *o = f(*x, *y, *z);
            }
        }
        _ => {
            let pick = |operand: Operand<'_, T>, k: usize| match operand {
                Operand::Row(row) => row[k],
                Operand::One(x) => x,
            };
            for (k, o) in out.iter_mut().enumerate() {
                *o = f(pick(a, k), pick(b, k), pick(c, k));
            }
        }
    }
}

#[inline(always)]
fn select<T: Real>(out: &mut [T], c: Operand<'_, T>, a: Operand<'_, T>, b: Operand<'_, T>) {
    let pick = |operand: Operand<'_, T>, k: usize| match operand {
        Operand::Row(row) => row[k],
        Operand::One(x) => x,
    };
    for (k, o) in out.iter_mut().enumerate() {
        *o = if pick(c, k) == T::ZERO {
            pick(b, k)
        } else {
            pick(a, k)
        };
    }
}

#[inline(always)]
pub(crate) fn element<T: Real>(
    f: Element,
    out: &mut [T],
    a: Operand<'_, T>,
    b: Operand<'_, T>,
    c: Operand<'_, T>,
) {
    macro_rules! unaries {
        ($($name:ident),*) => {
            match f {
                Element::Unary(f) => match f {
                    $(Unary::$name => map1(out, a, |x| unary(Unary::$name, x)),)*
                },
                Element::Binary(f) => binaries(f, out, a, b),
                Element::Select => select(out, a, b, c),
                Element::MulAdd => map3(out, a, b, c, |x, y, z| x.mul_add(y, z)),
                Element::MulSub => map3(out, a, b, c, |x, y, z| x.mul_add(y, -z)),
                Element::NegMulAdd => map3(out, a, b, c, |x, y, z| (-x).mul_add(y, z)),
                Element::Gate => map2(out, a, b, |x, gate| {
                    if gate == T::ZERO {
                        T::ZERO
                    } else {
                        x
                    }
                }),
                Element::PowerOfTwo => map1(out, a, |x| T::from_f64(x.to_f64().exp2())),
                Element::Copy => map1(out, a, |x| x),
                Element::Clip(lo, hi) => {
                    let (lo, hi) = (T::from_f64(lo.get()), T::from_f64(hi.get()));
                    map1(out, a, |x| clip(x, lo, hi));
                }
                Element::ClipMask(lo, hi, boundary) => {
                    let (lo, hi) = (T::from_f64(lo.get()), T::from_f64(hi.get()));
                    match boundary {
                        Boundary::Inclusive => {
                            map1(out, a, |x| clip_mask(x, lo, hi, Boundary::Inclusive));
                        }
                        other => map1(out, a, |x| clip_mask(x, lo, hi, other)),
                    }
                }
            }
        };
    }
    unaries!(
        Neg, Tanh, Sigmoid, Relu, Softplus, Exp, Log, Sqrt, Abs, Sign, Square, Recip, Sin, Cos, Not
    );
}

#[inline(always)]
fn binaries<T: Real>(f: Binary, out: &mut [T], a: Operand<'_, T>, b: Operand<'_, T>) {
    macro_rules! each {
        ($($name:ident),*) => {
            match f {
                $(Binary::$name => map2(out, a, b, |x, y| binary(Binary::$name, x, y)),)*
            }
        };
    }
    each!(Add, Sub, Mul, Div, Min, Max, Pow, Less, LessEqual, Equal, And, Or);
}

/// The elements of a row at some positions.
#[inline(always)]
pub(crate) fn pick<T: Real>(out: &mut [T], a: Operand<'_, T>, positions: &[u32]) {
    match a {
        Operand::Row(a) => {
            for (o, k) in out.iter_mut().zip(positions) {
                *o = a[*k as usize];
            }
        }
        Operand::One(x) => out.fill(x),
    }
}

/// For each position the sum of the elements that belong to it. Positions that never fall have the elements of each side by
/// side.
#[inline(always)]
pub(crate) fn scatter<T: Real>(out: &mut [T], a: Operand<'_, T>, indices: &Indices) {
    let positions = indices.at().iter();
    match (a, indices.starts()) {
        (Operand::Row(a), Some(starts)) => {
            for (o, ends) in out.iter_mut().zip(starts.windows(2)) {
                *o = sum(&a[ends[0] as usize..ends[1] as usize]);
            }
        }
        (Operand::Row(a), None) => {
            out.fill(T::ZERO);
            for (k, x) in positions.zip(a) {
                out[*k as usize] += *x;
            }
        }
        (Operand::One(x), _) => {
            out.fill(T::ZERO);
            for k in positions {
                out[*k as usize] += x;
            }
        }
    }
}

/// A sum in a fixed order that vectorizes: sixteen partial sums, then their sum from the first on.
#[inline(always)]
pub(crate) fn sum<T: Real>(row: &[T]) -> T {
    let mut partial = [T::ZERO; 16];
    let mut chunks = row.chunks_exact(16);
    for chunk in &mut chunks {
        for (p, x) in partial.iter_mut().zip(chunk) {
            *p += *x;
        }
    }
    for (p, x) in partial.iter_mut().zip(chunks.remainder()) {
        *p += *x;
    }
    let mut total = T::ZERO;
    for p in partial {
        total += p;
    }
    total
}

#[inline(always)]
pub(crate) fn larger<T: Real>(a: T, b: T) -> T {
    if a < b {
        b
    } else {
        a
    }
}

#[inline(always)]
pub(crate) fn largest<T: Real>(a: Operand<'_, T>) -> T {
    match a {
        Operand::One(x) => x,
        Operand::Row(row) => row.iter().skip(1).fold(row[0], |m, x| larger(m, *x)),
    }
}

#[inline(always)]
pub(crate) fn add_to<T: Real>(out: &mut [T], a: Operand<'_, T>) {
    match a {
        Operand::Row(a) => {
            for (o, x) in out.iter_mut().zip(a) {
                *o += *x;
            }
        }
        Operand::One(x) => {
            for o in out.iter_mut() {
                *o += x;
            }
        }
    }
}
