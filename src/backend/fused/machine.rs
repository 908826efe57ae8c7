//! Runs the instructions of a lane program.
//!
//! All loops are over slices and written so that the compiler makes vector code of them; the whole machine is
//! compiled once for any processor and once for those with AVX2, and chosen when it runs. No operation is
//! contracted, so that both give the same bits.

use super::code::{Area, Code, Element, Instr, Place, RootKind, Source, Sweep};
use super::jit::Machine;
use super::math::{binary, clip, clip_mask, unary, Real};
use crate::ir::{Binary, Boundary, Unary};

/// Columns handled at once, so that the rows of a sweep stay in the first-level cache.
const TILE: usize = 256;

/// What a lane program reads and writes.
pub struct Memory<'a, T> {
    pub lane: &'a mut [T],
    pub shared: &'a [T],
    pub sums: &'a mut [T],
    /// Traces, one block each: read by all sweeps, written by `RootKind::State`.
    pub states: &'a mut [Vec<T>],
    /// Adjoints of traces, read and written by adjoint sweeps.
    pub adjoints: &'a mut [Vec<T>],
    /// Rows of temporaries.
    pub rows: &'a mut Vec<Vec<T>>,
    /// Partial sums of rows.
    pub partial: &'a mut Vec<T>,
}

/// Runs a program, its sweeps by machine code where there is some.
pub fn run<T: Real>(code: &Code, machine: &Machine, memory: &mut Memory<'_, T>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        unsafe fn wide<T: Real>(code: &Code, machine: &Machine, memory: &mut Memory<'_, T>) {
            run_any(code, machine, memory);
        }
        // SAFETY: the processor has AVX2.
        unsafe { wide(code, machine, memory) };
        return;
    }
    run_any(code, machine, memory);
}

/// Runs some sweeps alone.
pub fn run_sweeps<T: Real>(sweeps: &[Sweep], machine: &Machine, memory: &mut Memory<'_, T>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        unsafe fn wide<T: Real>(sweeps: &[Sweep], machine: &Machine, memory: &mut Memory<'_, T>) {
            for (k, one) in sweeps.iter().enumerate() {
                either(k, one, machine, memory);
            }
        }
        // SAFETY: the processor has AVX2.
        unsafe { wide(sweeps, machine, memory) };
        return;
    }
    for (k, one) in sweeps.iter().enumerate() {
        either(k, one, machine, memory);
    }
}

#[inline(always)]
fn either<T: Real>(k: usize, code: &Sweep, machine: &Machine, memory: &mut Memory<'_, T>) {
    if !T::compiled(machine, k, code, memory) {
        sweep(code, memory);
    }
}

#[inline(always)]
fn run_any<T: Real>(code: &Code, machine: &Machine, memory: &mut Memory<'_, T>) {
    for instr in &code.instrs {
        match instr {
            Instr::Sweep(k) => either(*k, &code.sweeps[*k], machine, memory),
            other => vector(other, memory),
        }
    }
}

/// A row or one number for all of it.
#[derive(Clone, Copy)]
enum Operand<'a, T> {
    Row(&'a [T]),
    One(T),
}

#[inline(always)]
fn at<'a, T: Real>(place: Place, n: usize, lane: &'a [T], shared: &'a [T]) -> Operand<'a, T> {
    let memory = match place.area {
        Area::Lane => lane,
        Area::Shared => shared,
    };
    if place.stride == 0 {
        Operand::One(memory[place.at])
    } else {
        Operand::Row(&memory[place.at..place.at + n])
    }
}

#[inline(always)]
fn map1<T: Real>(out: &mut [T], a: Operand<'_, T>, f: impl Fn(T) -> T) {
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
fn element<T: Real>(
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
                Element::Copy => map1(out, a, |x| x),
                Element::Clip(lo, hi) => {
                    let (lo, hi) = (T::from_f64(lo), T::from_f64(hi));
                    map1(out, a, |x| clip(x, lo, hi));
                }
                Element::ClipMask(lo, hi, boundary) => {
                    let (lo, hi) = (T::from_f64(lo), T::from_f64(hi));
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

/// The sum in a fixed order that vector code can follow: sixteen partial sums, then these from the first on.
#[inline(always)]
fn sum<T: Real>(row: &[T]) -> T {
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
fn larger<T: Real>(a: T, b: T) -> T {
    if a < b {
        b
    } else {
        a
    }
}

#[inline(always)]
fn largest<T: Real>(a: Operand<'_, T>) -> T {
    match a {
        Operand::One(x) => x,
        Operand::Row(row) => row.iter().skip(1).fold(row[0], |m, x| larger(m, *x)),
    }
}

#[inline(always)]
fn add_to<T: Real>(out: &mut [T], a: Operand<'_, T>) {
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

/// Takes `n` elements at `to` out of the lane's memory, so that operands can be read beside them. Operands never
/// overlap the target: every value has a place of its own.
#[inline(always)]
fn target<T>(lane: &mut [T], to: usize, n: usize) -> (&[T], &mut [T], &[T]) {
    let (before, rest) = lane.split_at_mut(to);
    let (out, after) = rest.split_at_mut(n);
    (before, out, after)
}

/// An operand beside a target.
#[inline(always)]
fn beside<'a, T: Real>(
    place: Place,
    n: usize,
    before: &'a [T],
    after: &'a [T],
    end: usize,
    shared: &'a [T],
) -> Operand<'a, T> {
    match place.area {
        Area::Shared => at(place, n, before, shared),
        Area::Lane if place.at < before.len() => at(place, n, before, shared),
        Area::Lane => {
            let moved = Place {
                at: place.at - end,
                ..place
            };
            at(moved, n, after, shared)
        }
    }
}

#[inline(always)]
fn vector<T: Real>(instr: &Instr, memory: &mut Memory<'_, T>) {
    let shared = memory.shared;
    match *instr {
        Instr::Element { f, to, operands, n } => {
            let (before, out, after) = target(memory.lane, to, n);
            let [a, b, c] = operands;
            let a = beside(a, n, before, after, to + n, shared);
            let b = beside(b, n, before, after, to + n, shared);
            let c = beside(c, n, before, after, to + n, shared);
            element(f, out, a, b, c);
        }
        Instr::Sum { to, a, n } => {
            memory.lane[to] = match at(a, n, memory.lane, shared) {
                Operand::Row(row) => sum(row),
                Operand::One(x) => x * T::from_f64(n as f64),
            };
        }
        Instr::Max { to, a, n } => memory.lane[to] = largest(at(a, n, memory.lane, shared)),
        Instr::Copy { to, a, n } => {
            let (before, out, after) = target(memory.lane, to, n);
            map1(out, beside(a, n, before, after, to + n, shared), |x| x);
        }
        Instr::Zero { to, n } => memory.lane[to..to + n].fill(T::ZERO),
        Instr::Softmax { to, a, n } => {
            let (before, out, after) = target(memory.lane, to, n);
            let a = beside(a, n, before, after, to + n, shared);
            let top = largest(a);
            map1(out, a, |x| (x - top).exp());
            let scale = T::ONE / sum(out);
            for o in out.iter_mut() {
                *o = *o * scale;
            }
        }
        Instr::MatVec {
            to,
            v,
            m,
            rows,
            cols,
            transposed,
        } => {
            let n = if transposed { rows } else { cols };
            let (before, out, after) = target(memory.lane, to, n);
            let length = if transposed { cols } else { rows };
            let v = beside(v, length, before, after, to + n, shared);
            let matrix = &shared[m..m + rows * cols];
            mat_vec(out, v, matrix, cols, transposed);
        }
        Instr::AddTo { sum, a, n } => {
            let a = at(a, n, memory.lane, shared);
            add_to(&mut memory.sums[sum..sum + n], a);
        }
        Instr::AddOuter {
            sum,
            a,
            b,
            rows,
            cols,
        } => {
            let a = at(a, rows, memory.lane, shared);
            let b = at(b, cols, memory.lane, shared);
            let sums = &mut memory.sums[sum..sum + rows * cols];
            for (i, row) in sums.chunks_exact_mut(cols).enumerate() {
                let x = match a {
                    Operand::Row(a) => a[i],
                    Operand::One(x) => x,
                };
                // Inputs are mostly zeros.
                if x == T::ZERO {
                    continue;
                }
                match b {
                    Operand::Row(b) => {
                        for (o, y) in row.iter_mut().zip(b) {
                            *o += x * *y;
                        }
                    }
                    Operand::One(y) => {
                        for o in row.iter_mut() {
                            *o += x * y;
                        }
                    }
                }
            }
        }
        Instr::Sweep(_) => {}
    }
}

#[inline(always)]
fn mat_vec<T: Real>(out: &mut [T], v: Operand<'_, T>, matrix: &[T], cols: usize, transposed: bool) {
    let element = |k: usize| match v {
        Operand::Row(v) => v[k],
        Operand::One(x) => x,
    };
    if transposed {
        for (o, row) in out.iter_mut().zip(matrix.chunks_exact(cols)) {
            let mut partial = [T::ZERO; 16];
            match v {
                Operand::Row(v) => {
                    let mut a = row.chunks_exact(16);
                    let mut b = v.chunks_exact(16);
                    for (x, y) in (&mut a).zip(&mut b) {
                        for ((p, x), y) in partial.iter_mut().zip(x).zip(y) {
                            *p += *x * *y;
                        }
                    }
                    let rest = a.remainder().iter().zip(b.remainder());
                    for (p, (x, y)) in partial.iter_mut().zip(rest) {
                        *p += *x * *y;
                    }
                }
                Operand::One(y) => partial[0] = sum(row) * y,
            }
            *o = sum(&partial);
        }
        return;
    }
    out.fill(T::ZERO);
    for (k, row) in matrix.chunks_exact(cols).enumerate() {
        let x = element(k);
        if x == T::ZERO {
            continue;
        }
        for (o, m) in out.iter_mut().zip(row) {
            *o += x * *m;
        }
    }
}

#[inline(always)]
fn sweep<T: Real>(code: &Sweep, memory: &mut Memory<'_, T>) {
    let (rows, cols) = (code.rows, code.cols);
    while memory.rows.len() < code.temporaries {
        memory.rows.push(vec![T::ZERO; TILE]);
    }
    let mut start = 0;
    while start < cols {
        let end = (start + TILE).min(cols);
        for row in 0..rows {
            sweep_row(code, memory, row, start, end);
        }
        start = end;
    }
}

#[inline(always)]
fn source<'a, T: Real>(
    source: Source,
    temporaries: &'a [Vec<T>],
    view: &View<'a, T>,
) -> Operand<'a, T> {
    let n = view.end - view.start;
    let row = |block: &'a [T]| {
        let at = view.row * view.cols;
        Operand::Row(&block[at + view.start..at + view.end])
    };
    match source {
        Source::Temporary(k) => Operand::Row(&temporaries[k][..n]),
        Source::State(k) => row(&view.states[k]),
        Source::Adjoint(k) => row(&view.adjoints[k]),
        Source::Matrix(Area::Lane, at) => row(&view.lane[at..]),
        Source::Matrix(Area::Shared, at) => row(&view.shared[at..]),
        Source::Post(place) => {
            let moved = Place {
                at: place.at + place.stride * view.start,
                ..place
            };
            at(moved, n, view.lane, view.shared)
        }
        Source::Pre(place) => {
            let memory = match place.area {
                Area::Lane => view.lane,
                Area::Shared => view.shared,
            };
            Operand::One(memory[place.at + place.stride * view.row])
        }
    }
}

/// What one row of a sweep reads.
struct View<'a, T> {
    lane: &'a [T],
    shared: &'a [T],
    states: &'a [Vec<T>],
    adjoints: &'a [Vec<T>],
    row: usize,
    start: usize,
    end: usize,
    cols: usize,
}

#[inline(always)]
fn sweep_row<T: Real>(
    code: &Sweep,
    memory: &mut Memory<'_, T>,
    row: usize,
    start: usize,
    end: usize,
) {
    let n = end - start;
    let view = View {
        lane: memory.lane,
        shared: memory.shared,
        states: memory.states,
        adjoints: memory.adjoints,
        row,
        start,
        end,
        cols: code.cols,
    };
    for op in &code.ops {
        let mut out = std::mem::take(&mut memory.rows[op.to]);
        let [a, b, c] = op.operands;
        // Closures given to library functions would be compiled without vector instructions.
        let a = source(a, memory.rows, &view);
        match op.f {
            Element::Binary(f) => {
                let b = source(b, memory.rows, &view);
                binaries(f, &mut out[..n], a, b);
            }
            Element::Select => {
                let b = source(b, memory.rows, &view);
                let c = source(c, memory.rows, &view);
                select(&mut out[..n], a, b, c);
            }
            Element::Unary(_) | Element::Clip(..) | Element::ClipMask(..) | Element::Copy => {
                element(op.f, &mut out[..n], a, a, a);
            }
        }
        memory.rows[op.to] = out;
    }
    // All of the row is computed before any of it is stored, so traces can be written in place.
    let whole = row * code.cols + start..row * code.cols + end;
    for (kind, from) in &code.roots {
        let values = &memory.rows[*from][..n];
        match *kind {
            RootKind::State(k) => memory.states[k][whole.clone()].copy_from_slice(values),
            RootKind::Adjoint(k) => memory.adjoints[k][whole.clone()].copy_from_slice(values),
            RootKind::Gradient(sums) => {
                let sums = &mut memory.sums[sums + whole.start..sums + whole.end];
                add_to(sums, Operand::Row(values));
            }
            RootKind::SumPre(to) => {
                add_to(&mut memory.lane[to + start..to + end], Operand::Row(values));
            }
            RootKind::MaxPre(to) => {
                let out = &mut memory.lane[to + start..to + end];
                for (o, x) in out.iter_mut().zip(values) {
                    *o = if row == 0 { *x } else { larger(*o, *x) };
                }
            }
            RootKind::SumPost(to) => {
                let before = if start == 0 {
                    T::ZERO
                } else {
                    memory.lane[to + row]
                };
                memory.lane[to + row] = before + sum(values);
            }
            RootKind::MaxPost(to) => {
                let top = largest(Operand::Row(values));
                let o = &mut memory.lane[to + row];
                *o = if start == 0 { top } else { larger(*o, top) };
            }
            RootKind::SumBoth(to) => memory.lane[to] += sum(values),
            RootKind::MaxBoth(to) => {
                let top = largest(Operand::Row(values));
                let o = &mut memory.lane[to];
                *o = if start == 0 && row == 0 {
                    top
                } else {
                    larger(*o, top)
                };
            }
        }
    }
}
