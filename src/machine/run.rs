//! The execution of a lane program's instructions.
//!
//! All loops are over slices and written so that the compiler vectorizes them. They are compiled for any CPU,
//! for AVX2 with fused multiply-adds, and for AVX-512; the choice is made at run time.

use super::dispatch::dispatch;
use super::elements::{add_to, element, largest, map1, pick, scatter, sum, Operand};
use super::interpret::interpreted;
use super::jit::Machine;
use super::lane::{view, Memory};
use super::mat_vec::{is_dense, mat_vec, together};
use super::native::Native;
use super::vectors::{VectorCode, VectorUse};
use crate::ir::Real;
use crate::program::code::{Area, Instr, OuterSum, Place, Product, Sweep};
use crate::program::{Program, Verified};
use smallvec::SmallVec;
use std::ops::Range;
use std::time::Instant;

/// Instructions with their machine code.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    pub instrs: &'a [Instr],
    pub vectors: &'a VectorCode,
    pub sweeps: &'a [Sweep],
    pub machine: &'a Machine,
}

/// Runs instructions for some lanes in step. Work of a single lane runs lane by lane. Products with a matrix
/// of parameters run for all lanes at once, because reading the matrix takes most of the time. `pick` may
/// replace one sweep by another.
pub fn run<T: Native>(
    program: &Verified<Program>,
    code: Code<'_>,
    lanes: &mut [Memory<'_, T>],
    pick: impl Fn(usize) -> usize,
) {
    let end = code.instrs.len();
    if let [memory] = lanes {
        return run_lane(program, code, 0..end, memory, &pick);
    }
    let mut at = 0;
    while at < end {
        let product = |instr: &Instr| matches!(instr, Instr::MatVec { .. });
        let next = code.instrs[at..].iter().position(product);
        let next = next.map_or(end, |n| at + n);
        if next > at {
            each(lanes, |memory| {
                run_lane(program, code, at..next, memory, &pick);
            });
        }
        if let Some(instr) = code.instrs.get(next) {
            let start = lanes[0].scratch.profile.is_some().then(Instant::now);
            products(instr, lanes);
            let count = lanes.len();
            if let (Some(start), Some(profile)) = (start, &mut lanes[0].scratch.profile) {
                // Products of several lanes are not those of machine code.
                let uses = VectorUse {
                    compiled: 0,
                    ..code.vectors.uses(next..next + 1)
                };
                profile.vectors(start.elapsed(), uses, count);
            }
        }
        at = next + 1;
    }
}

/// Runs `f` for one lane after another; lanes without gradient sums use those of the first.
pub fn each<'a, T: Real>(lanes: &mut [Memory<'a, T>], mut f: impl FnMut(&mut Memory<'a, T>)) {
    let Some((first, others)) = lanes.split_first_mut() else {
        return;
    };
    f(first);
    for memory in others {
        let shares = memory.sums.is_empty();
        if shares {
            std::mem::swap(&mut memory.sums, &mut first.sums);
            std::mem::swap(&mut memory.outers, &mut first.outers);
        }
        f(memory);
        if shares {
            std::mem::swap(&mut memory.sums, &mut first.sums);
            std::mem::swap(&mut memory.outers, &mut first.outers);
        }
    }
}

/// Runs some of the instructions for one lane.
fn run_lane<T: Native>(
    program: &Verified<Program>,
    code: Code<'_>,
    range: Range<usize>,
    memory: &mut Memory<'_, T>,
    pick: &impl Fn(usize) -> usize,
) {
    let mut at = range.start;
    while at < range.end {
        if let Instr::Sweep(k) = code.instrs[at] {
            let k = pick(k);
            run_sweep(k, &code.sweeps[k], code.machine, memory);
            at += 1;
            continue;
        }
        let rest = &code.instrs[at..range.end];
        let end = rest.iter().position(Instr::is_sweep);
        let end = end.map_or(range.end, |n| at + n);
        let start = memory.scratch.profile.is_some().then(Instant::now);
        let range = at..end;
        while at < end {
            at = match T::straight(code.vectors, at, &program.outers, memory) {
                Some(next) => next,
                None => {
                    let next = (at + 1..end).find(|k| code.vectors.begins(*k));
                    let next = next.unwrap_or(end);
                    vectors(&program.outers, &code.instrs[at..next], memory);
                    next
                }
            };
        }
        if let (Some(start), Some(profile)) = (start, &mut memory.scratch.profile) {
            profile.vectors(start.elapsed(), code.vectors.uses(range), 1);
        }
    }
}

/// Computes one product for some lanes in step.
fn products<T: Native>(instr: &Instr, lanes: &mut [Memory<'_, T>]) {
    let Instr::MatVec {
        to,
        v,
        m,
        rows,
        cols,
        form,
    } = *instr
    else {
        return;
    };
    let (outs, ins) = form.sizes(rows, cols);
    let mut order = std::mem::take(&mut lanes[0].scratch.rows);
    for some in lanes.chunks_mut(together::LANES) {
        let mut parts: SmallVec<[(&mut [T], &[T]); together::LANES]> = SmallVec::new();
        let mut matrix: &[T] = &[];
        for memory in some.iter_mut() {
            let (out, beside) = split(memory, to, outs);
            matrix = &beside.others[3][m..];
            match beside.at(v, ins) {
                Operand::Row(v) if form == Product::RowProducts || is_dense(v) => {
                    parts.push((out, v));
                }
                v => mat_vec_alone(form, out, v, matrix, [rows, cols], &mut order),
            }
        }
        if !T::products(form, &mut parts, matrix, [rows, cols]) {
            for (out, v) in parts {
                let v = Operand::Row(v);
                mat_vec_alone(form, out, v, matrix, [rows, cols], &mut order);
            }
        }
    }
    lanes[0].scratch.rows = order;
}

fn mat_vec_alone<T: Real>(
    form: Product,
    out: &mut [T],
    v: Operand<'_, T>,
    matrix: &[T],
    sizes: [usize; 2],
    order: &mut Vec<usize>,
) {
    dispatch!(<T> (form: Product, out: &mut [T], v: Operand<'_, T>, matrix: &[T], sizes: [usize; 2], order: &mut Vec<usize>) {
        let [rows, cols] = sizes;
        mat_vec(form, out, v, matrix, rows, cols, order);
    })
}

/// Runs one sweep.
pub fn run_sweep<T: Native>(k: usize, code: &Sweep, machine: &Machine, memory: &mut Memory<'_, T>) {
    let start = memory.scratch.profile.is_some().then(Instant::now);
    let compiled = T::compiled(machine, k, code, memory);
    if !compiled {
        interpreted(code, memory);
    }
    if let (Some(start), Some(profile)) = (start, &mut memory.scratch.profile) {
        let form = if compiled {
            machine.form(k)
        } else {
            "interpreted"
        };
        profile.sweep(code, form, start.elapsed());
    }
}

/// Runs vector code that has no machine code.
pub(crate) fn vectors<T: Real>(outers: &[OuterSum], instrs: &[Instr], memory: &mut Memory<'_, T>) {
    dispatch!(<T> (outers: &[OuterSum], instrs: &[Instr], memory: &mut Memory<'_, T>) {
        for instr in instrs {
            vector(outers, instr, memory);
        }
    })
}

/// Splits `n` elements at `to` out of the lane's memory, so that operands can be read beside them. Operands
/// never overlap the target, because every value has its own place.
#[inline(always)]
fn target<T>(lane: &mut [T], to: usize, n: usize) -> (&[T], &mut [T], &[T]) {
    let (before, rest) = lane.split_at_mut(to);
    let (out, after) = rest.split_at_mut(n);
    (before, out, after)
}

/// The memories beside a target, from which operands are read.
struct Beside<'a, T> {
    /// The lane's memory before the target, and the memory after it from an offset on.
    left: &'a [T],
    right: &'a [T],
    end: usize,
    others: [&'a [T]; 4],
}

impl<'a, T: Real> Beside<'a, T> {
    #[inline(always)]
    fn at(&self, place: Place, n: usize) -> Operand<'a, T> {
        let [before, record, record_before, shared] = self.others;
        let memory = match place.area {
            Area::Lane if place.at < self.left.len() => self.left,
            Area::Lane => return view(self.right, place.at - self.end, place.stride, n),
            Area::Before => before,
            Area::Record => record,
            Area::RecordBefore => record_before,
            Area::Shared => shared,
        };
        view(memory, place.at, place.stride, n)
    }
}

/// Splits a memory into the target and the rest.
#[inline(always)]
fn split<'m, T: Real>(
    memory: &'m mut Memory<'_, T>,
    to: usize,
    n: usize,
) -> (&'m mut [T], Beside<'m, T>) {
    let (left, out, right) = target(memory.lane, to, n);
    let beside = Beside {
        left,
        right,
        end: to + n,
        others: [
            memory.before,
            memory.record,
            memory.record_before,
            memory.shared,
        ],
    };
    (out, beside)
}

#[inline(always)]
fn vector<T: Real>(outers: &[OuterSum], instr: &Instr, memory: &mut Memory<'_, T>) {
    match *instr {
        Instr::Element { f, to, operands, n } => {
            let (out, beside) = split(memory, to, n);
            let [a, b, c] = operands;
            element(f, out, beside.at(a, n), beside.at(b, n), beside.at(c, n));
        }
        Instr::Sum { to, a, n } => {
            memory.lane[to] = match memory.at(a, n) {
                Operand::Row(row) => sum(row),
                Operand::One(x) => x * T::from_f64(n as f64),
            };
        }
        Instr::Max { to, a, n } => memory.lane[to] = largest(memory.at(a, n)),
        Instr::Copy { to, a, n } => {
            let (out, beside) = split(memory, to, n);
            map1(out, beside.at(a, n), |x| x);
        }
        Instr::Zero { to, n } => memory.lane[to..to + n].fill(T::ZERO),
        Instr::Softmax { to, a, n } => {
            let (out, beside) = split(memory, to, n);
            let a = beside.at(a, n);
            let top = largest(a);
            map1(out, a, |x| (x - top).exp());
            let scale = T::ONE / sum(out);
            for o in out.iter_mut() {
                *o = *o * scale;
            }
        }
        Instr::Gather {
            to,
            a,
            indices,
            from,
            n,
        } => {
            let indices = memory.indices[indices].at();
            let (out, beside) = split(memory, to, n);
            pick(out, beside.at(a, from), indices);
        }
        Instr::Scatter {
            to,
            a,
            indices,
            from,
            n,
        } => {
            let indices = &memory.indices[indices];
            let (out, beside) = split(memory, to, n);
            scatter(out, beside.at(a, from), indices);
        }
        Instr::MatVec {
            to,
            v,
            m,
            rows,
            cols,
            form,
        } => {
            let mut order = std::mem::take(&mut memory.scratch.rows);
            let (outs, ins) = form.sizes(rows, cols);
            let (out, beside) = split(memory, to, outs);
            let matrix = &beside.others[3][m..];
            mat_vec(form, out, beside.at(v, ins), matrix, rows, cols, &mut order);
            memory.scratch.rows = order;
        }
        Instr::AddTo { sum, a, n } => {
            let a = view_of(memory.lane, memory.record, memory.shared, a, n);
            add_to(&mut memory.sums[sum..sum + n], a);
        }
        Instr::AddOuter {
            sum,
            a,
            b,
            rows,
            cols,
        } => {
            let a = view_of(memory.lane, memory.record, memory.shared, a, rows);
            let b = view_of(memory.lane, memory.record, memory.shared, b, cols);
            add_outer(&mut memory.sums[sum..sum + rows * cols], a, b, cols);
        }
        Instr::KeepOuter {
            index,
            a,
            b,
            rows,
            cols,
        } => {
            let a = view_of(memory.lane, memory.record, memory.shared, a, rows);
            let b = view_of(memory.lane, memory.record, memory.shared, b, cols);
            let of = outers[index];
            let (to_a, to_b) = memory.outers[index].next(of, memory.sums);
            map1(to_a, a, |x| x);
            map1(to_b, b, |x| x);
        }
        Instr::Sweep(_) => {}
    }
}

/// An operand of gradient sums.
#[inline(always)]
fn view_of<'a, T: Real>(
    lane: &'a [T],
    record: &'a [T],
    shared: &'a [T],
    place: Place,
    n: usize,
) -> Operand<'a, T> {
    let memory = match place.area {
        Area::Lane | Area::Before => lane,
        Area::Record | Area::RecordBefore => record,
        Area::Shared => shared,
    };
    view(memory, place.at, place.stride, n)
}

#[inline(always)]
fn add_outer<T: Real>(sums: &mut [T], a: Operand<'_, T>, b: Operand<'_, T>, cols: usize) {
    for (i, row) in sums.chunks_exact_mut(cols).enumerate() {
        let x = match a {
            Operand::Row(a) => a[i],
            Operand::One(x) => x,
        };
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
