//! The interpreter of sweeps: every operation runs over several rows of a panel at a time.

use super::dispatch::dispatch;
use super::elements::{element, larger, largest, Operand};
use super::lane::{Memory, Tiles};
use crate::ir::Real;
use crate::program::code::{Gathered, Place, Root, RootKind, Source, Sweep};
use crate::program::layout::PANEL;

/// The number of rows per tile, so that all values of a tile stay in the L1 cache.
const ROWS: usize = 16;

const TILE: usize = ROWS * PANEL;

/// The position of a tile.
#[derive(Clone, Copy)]
struct Spot {
    panel: usize,
    row: usize,
    rows: usize,
    /// The number of columns in the panel, without padding.
    columns: usize,
    /// The offset in a block.
    at: usize,
}

impl Spot {
    fn n(self) -> usize {
        self.rows * PANEL
    }
}

/// Runs a sweep with the widest vectors of the CPU.
pub(crate) fn interpreted<T: Real>(code: &Sweep, memory: &mut Memory<'_, T>) {
    dispatch!(<T> (code: &Sweep, memory: &mut Memory<'_, T>) {
        sweep(code, memory);
    })
}

/// Runs a sweep.
#[inline(always)]
pub fn sweep<T: Real>(code: &Sweep, memory: &mut Memory<'_, T>) {
    let mut tiles = std::mem::take(&mut memory.scratch.tiles);
    while tiles.temporaries.len() < code.temporaries {
        tiles.temporaries.push(vec![T::ZERO; TILE]);
    }
    tiles.product.resize(TILE, T::ZERO);
    let vectors = vectors(code);
    while tiles.stretched.len() < vectors.len() {
        tiles.stretched.push(vec![T::ZERO; TILE]);
    }
    clear(code, memory);
    let layout = code.layout;
    for panel in 0..layout.panels() {
        for row in (0..layout.rows).step_by(ROWS) {
            let spot = Spot {
                panel,
                row,
                rows: ROWS.min(layout.rows - row),
                columns: layout.columns(panel),
                at: (panel * layout.rows + row) * PANEL,
            };
            for (source, out) in vectors.iter().zip(&mut tiles.stretched) {
                stretch(*source, spot, memory, out);
            }
            tile(code, memory, spot, &vectors, &mut tiles);
        }
    }
    memory.scratch.tiles = tiles;
}

/// The vectors that a sweep reads.
fn vectors(code: &Sweep) -> Vec<Source> {
    let mut out: Vec<Source> = Vec::new();
    let roots = code
        .roots
        .iter()
        .flat_map(|root| [Some(root.value), root.times]);
    let operands = code.ops.iter().flat_map(|op| op.operands);
    for source in operands.chain(roots.flatten()) {
        let vector = match source {
            Source::Post(place) => place.stride != 0,
            Source::Pre(_) | Source::Gathered(_) => true,
            Source::Temporary(_)
            | Source::State(_)
            | Source::Adjoint(_)
            | Source::Matrix(..)
            | Source::Number(_) => false,
        };
        if vector && !out.contains(&source) {
            out.push(source);
        }
    }
    out
}

/// Resets sums and maxima.
fn clear<T: Real>(code: &Sweep, memory: &mut Memory<'_, T>) {
    for root in &code.roots {
        match root.kind {
            RootKind::SumPre(area, to) => {
                memory.written(area)[to..to + code.layout.cols].fill(T::ZERO);
            }
            RootKind::SumPost(area, to) => {
                memory.written(area)[to..to + code.layout.rows].fill(T::ZERO);
            }
            RootKind::SumBoth(area, to) => memory.written(area)[to] = T::ZERO,
            RootKind::MaxPre(..)
            | RootKind::MaxPost(..)
            | RootKind::MaxBoth(..)
            | RootKind::Gradient(_)
            | RootKind::State(_)
            | RootKind::Adjoint(_) => {}
        }
    }
}

#[inline(always)]
fn stretch<T: Real>(source: Source, spot: Spot, memory: &Memory<'_, T>, out: &mut [T]) {
    match source {
        Source::Post(Place { area, at, .. }) => {
            let start = at + spot.panel * PANEL;
            let from = &memory.read(area)[start..start + PANEL];
            for row in out[..spot.n()].chunks_exact_mut(PANEL) {
                row.copy_from_slice(from);
            }
        }
        Source::Gathered(Gathered { from, n, indices }) => {
            let start = spot.panel * PANEL;
            let positions = &memory.indices[indices].at()[start..start + spot.columns];
            let from = memory.at(from, n);
            out[..PANEL].fill(T::ZERO);
            for (o, k) in out.iter_mut().zip(positions) {
                *o = from.get(*k as usize);
            }
        }
        Source::Pre(Place { area, at, stride }) => {
            let from = memory.read(area);
            for (k, row) in out[..spot.n()].chunks_exact_mut(PANEL).enumerate() {
                row.fill(from[at + (spot.row + k) * stride]);
            }
        }
        Source::Temporary(_)
        | Source::State(_)
        | Source::Adjoint(_)
        | Source::Matrix(..)
        | Source::Number(_) => {}
    }
}

#[inline(always)]
fn operand<'a, T: Real>(
    source: Source,
    spot: Spot,
    memory: &'a Memory<'_, T>,
    vectors: &[Source],
    tiles: &'a Tiles<T>,
) -> Operand<'a, T> {
    let n = spot.n();
    match source {
        Source::Temporary(k) => Operand::Row(&tiles.temporaries[k][..n]),
        Source::State(k) => Operand::Row(&memory.blocks.read(k)[spot.at..spot.at + n]),
        Source::Adjoint(k) => Operand::Row(&memory.adjoints[k][spot.at..spot.at + n]),
        Source::Matrix(area, at) => {
            Operand::Row(&memory.read(area)[at + spot.at..at + spot.at + n])
        }
        Source::Number(bits) => Operand::One(T::from_f64(f64::from(f32::from_bits(bits)))),
        Source::Post(place) if place.stride == 0 => Operand::One(memory.read(place.area)[place.at]),
        Source::Post(_) | Source::Pre(_) | Source::Gathered(_) => {
            let k = vectors.iter().position(|v| *v == source);
            let k = k.expect("all vectors of the sweep were stretched");
            Operand::Row(&tiles.stretched[k][..n])
        }
    }
}

#[inline(always)]
fn tile<T: Real>(
    code: &Sweep,
    memory: &mut Memory<'_, T>,
    spot: Spot,
    vectors: &[Source],
    tiles: &mut Tiles<T>,
) {
    let n = spot.n();
    for op in &code.ops {
        let mut out = std::mem::take(&mut tiles.temporaries[op.to]);
        let [a, b, c] = op.operands;
        let a = operand(a, spot, memory, vectors, tiles);
        let b = operand(b, spot, memory, vectors, tiles);
        let c = operand(c, spot, memory, vectors, tiles);
        element(op.f, &mut out[..n], a, b, c);
        tiles.temporaries[op.to] = out;
    }
    // The whole tile is computed before any of it is stored, so traces can be updated in place.
    for root in &code.roots {
        give(*root, memory, spot, vectors, tiles);
    }
}

#[inline(always)]
fn give<T: Real>(
    root: Root,
    memory: &mut Memory<'_, T>,
    spot: Spot,
    vectors: &[Source],
    tiles: &mut Tiles<T>,
) {
    let n = spot.n();
    let mut values = std::mem::take(&mut tiles.product);
    let whole = &mut values[..n];
    let value = operand(root.value, spot, memory, vectors, tiles);
    match root.times {
        Some(times) => {
            let times = operand(times, spot, memory, vectors, tiles);
            let f = crate::program::code::Element::Binary(crate::ir::Binary::Mul);
            element(f, whole, value, times, value);
        }
        None => super::elements::map1(whole, value, |x| x),
    }
    let inside = |k: usize| k * PANEL..k * PANEL + spot.columns;
    match root.kind {
        RootKind::State(k) => memory.blocks.write(k)[spot.at..spot.at + n].copy_from_slice(whole),
        RootKind::Adjoint(k) => {
            memory.adjoints[k][spot.at..spot.at + n].copy_from_slice(whole);
        }
        RootKind::Gradient(sums) => {
            let at = sums + spot.at;
            for (o, x) in memory.sums[at..at + n].iter_mut().zip(whole) {
                *o += *x;
            }
        }
        RootKind::SumPre(area, to) => {
            let at = to + spot.panel * PANEL;
            let out = &mut memory.written(area)[at..at + spot.columns];
            for row in whole.chunks_exact(PANEL) {
                for (o, x) in out.iter_mut().zip(row) {
                    *o += *x;
                }
            }
        }
        RootKind::MaxPre(area, to) => {
            let at = to + spot.panel * PANEL;
            let out = &mut memory.written(area)[at..at + spot.columns];
            for (k, row) in whole.chunks_exact(PANEL).enumerate() {
                for (o, x) in out.iter_mut().zip(row) {
                    *o = if spot.row + k == 0 {
                        *x
                    } else {
                        larger(*o, *x)
                    };
                }
            }
        }
        RootKind::SumPost(area, to) => {
            let out = &mut memory.written(area)[to + spot.row..to + spot.row + spot.rows];
            for (k, o) in out.iter_mut().enumerate() {
                *o += super::elements::sum(&whole[inside(k)]);
            }
        }
        RootKind::MaxPost(area, to) => {
            let out = &mut memory.written(area)[to + spot.row..to + spot.row + spot.rows];
            for (k, o) in out.iter_mut().enumerate() {
                let top = largest(Operand::Row(&whole[inside(k)]));
                *o = if spot.panel == 0 {
                    top
                } else {
                    larger(*o, top)
                };
            }
        }
        RootKind::SumBoth(area, to) => {
            let mut total = T::ZERO;
            for k in 0..spot.rows {
                total += super::elements::sum(&whole[inside(k)]);
            }
            memory.written(area)[to] += total;
        }
        RootKind::MaxBoth(area, to) => {
            for k in 0..spot.rows {
                let top = largest(Operand::Row(&whole[inside(k)]));
                let first = spot.panel == 0 && spot.row + k == 0;
                let o = &mut memory.written(area)[to];
                *o = if first { top } else { larger(*o, top) };
            }
        }
    }
    tiles.product = values;
}
