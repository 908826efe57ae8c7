//! The shared memory of a block: what vector code needs there.

use super::super::element;
use super::super::Episode;
use super::task::TaskMemory;
use crate::program::access::{reads, sources};
use crate::program::code::{Area, Instr, Place, Product, RootKind, Source, Sweep};
use crate::program::ir::Regions;
use crate::program::layout::{filled, Layout};
use crate::program::Program;
use std::collections::BTreeMap;
/// The floats of shared memory before all others: the barriers of exchanges.
pub(super) const BARRIERS: usize = 4;

/// The floats of the largest matrices of parameters that vector code reads from shared memory.
const MOST_COPIED: usize = 12 * 1024;

/// The offsets in the shared memory of a block, in floats.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    /// Two memories of a step's vectors.
    pub memory: usize,
    /// Two buffers of an exchange.
    pub arrived: usize,
    /// The parameters that vector code reads.
    pub values: usize,
    /// The sums of each warp.
    pub partial: usize,
    /// Forward: the task. Backward: gradient sums of vectors.
    pub own: usize,
    /// The records of three steps.
    pub ring: usize,
    /// The number of floats.
    pub size: usize,
}

/// The parts of the parameters' memory that are copied into shared memory: offset there, offset in shared memory, length.
#[derive(Clone, Debug, Default)]
pub(super) struct Copied {
    pub ranges: Vec<(usize, usize, usize)>,
    pub size: usize,
}

impl Copied {
    /// The C name of the parameters from an offset on.
    pub(super) fn parameters(&self, at: usize) -> String {
        let found = self
            .ranges
            .iter()
            .find(|(from, _, n)| (*from..from + n).contains(&at));
        match found {
            Some((from, to, _)) => format!("V[{}", to + (at - from)),
            None => format!("c.S[{at}"),
        }
    }

    /// Element `index` of the value at a place.
    pub(super) fn at(&self, place: Place, index: &str) -> String {
        if place.area != Area::Shared {
            return element::at(place, index);
        }
        let from = self.parameters(place.at);
        match place.stride {
            0 => format!("{from}]"),
            1 => format!("{from} + {index}]"),
            stride => format!("{from} + {stride} * ({index})]"),
        }
    }
}

/// The floats of a matrix in a product.
fn matrix_size(rows: usize, cols: usize, form: Product) -> usize {
    match form {
        Product::ScaledRows => Layout { rows, cols }.size(),
        Product::RowProducts => rows * filled(cols),
    }
}

/// The floats of seeds that a step has.
pub(super) fn seeds(program: &Program) -> usize {
    program.seeds.iter().flatten().map(|slot| slot.n).sum()
}

/// The floats of a step's vectors, none of which share a place.
pub(super) fn memory(regions: &Regions) -> usize {
    let ends = regions
        .all
        .iter()
        .map(|region| region.start + region.size());
    whole(ends.max().unwrap_or(0))
}

/// A multiple of four floats, the unit of transfers.
pub(super) fn whole(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// The parameters that vector code reads, as far as they fit into shared memory.
pub(super) fn copied(program: &Program) -> Copied {
    let mut found: BTreeMap<usize, usize> = BTreeMap::new();
    let back = &program.back;
    let lists = [&program.ahead.instrs, &back.early, &back.late, &back.main];
    let mut add = |at: usize, n: usize| {
        let longest = found.entry(at).or_insert(0);
        *longest = n.max(*longest);
    };
    for instr in lists.into_iter().flatten() {
        if let Instr::MatVec {
            m,
            rows,
            cols,
            form,
            ..
        } = *instr
        {
            add(m, matrix_size(rows, cols, form));
        }
        for access in reads(instr) {
            if access.area == Area::Shared {
                add(access.at, access.n);
            }
        }
    }
    let sweeps = program.ahead.sweeps.iter().chain(&program.ahead.updates);
    for sweep in sweeps.chain(&back.sweeps) {
        for source in sources(sweep) {
            if let Source::Post(place) | Source::Pre(place) = source {
                if place.area == Area::Shared {
                    let n = match (place.stride, source) {
                        (0, _) => 1,
                        (_, Source::Post(_)) => sweep.layout.cols,
                        _ => sweep.layout.rows,
                    };
                    add(place.at, n);
                }
            }
        }
    }
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (at, n) in found {
        match ranges.last_mut() {
            Some((from, len)) if at < *from + *len => *len = (*len).max(at + n - *from),
            _ => ranges.push((at, n)),
        }
    }
    let mut copied = Copied::default();
    for (at, n) in ranges {
        if copied.size + whole(n) <= MOST_COPIED {
            copied.ranges.push((at, copied.size, n));
            copied.size += whole(n);
        }
    }
    copied
}

/// The bytes of shared memory of a block without what tiles hold there, forward and back.
pub(super) fn vector_bytes(
    program: &Program,
    episode: &Episode<'_>,
    copied: &Copied,
    sums: &[(usize, usize, usize)],
    (blocks, warps): (usize, usize),
) -> [usize; 2] {
    // What a sweep sends, and what its warps add up before.
    let of_sweep = |sweep: &Sweep| {
        let Layout { rows, cols } = sweep.layout;
        let sizes = sweep.roots.iter().map(|root| match root.kind {
            kind if kind.is_over_pre() => 2 * cols,
            kind if kind.is_over_post() => (2 * blocks + warps) * rows,
            kind if kind.is_over_both() => 2 * blocks + warps,
            _ => 0,
        });
        sizes.sum::<usize>() + 2 * blocks + 16
    };
    let largest = |sweeps: &[Sweep]| sweeps.iter().map(of_sweep).max().unwrap_or(0);
    let opening: usize = program
        .back
        .opening
        .iter()
        .map(|opening| of_sweep(&program.back.sweeps[opening.merged]))
        .sum();
    let vector_sums = vector_sums(program, sums).1;
    let task = TaskMemory::of(program, episode).map_or(0, TaskMemory::floats);
    let ahead = largest(&program.ahead.sweeps);
    let forward = 2 * memory(&program.lane) + ahead + copied.size + task;
    let ring = 3 * (whole(program.record_size) + whole(seeds(program)));
    let backward = 2 * memory(&program.adjoint)
        + opening.max(largest(&program.back.sweeps))
        + copied.size
        + ring
        + vector_sums;
    [4 * forward, 4 * backward]
}

/// The vector sums in shared memory, by their offset in all sums, and their size.
pub(super) fn vector_sums(
    program: &Program,
    sums: &[(usize, usize, usize)],
) -> (BTreeMap<usize, usize>, usize) {
    let mut size = 0;
    let mut places = BTreeMap::new();
    let of_tiles: Vec<usize> = program
        .back
        .sweeps
        .iter()
        .flat_map(|sweep| &sweep.roots)
        .filter_map(|root| match root.kind {
            RootKind::Gradient(sum) => Some(sum),
            _ => None,
        })
        .collect();
    for (at, _, n) in sums {
        if !of_tiles.contains(at) {
            places.insert(*at, size);
            size += whole(*n);
        }
    }
    (places, size)
}
