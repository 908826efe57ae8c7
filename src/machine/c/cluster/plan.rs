//! The choice of a cluster: how many blocks and warps share a lane, and where a tile's values lie.

use super::super::Episode;
use crate::machine::device::BlockLimits;
use crate::program::access::sources;
use crate::program::code::{Area, Instr, RootKind, Source, Sweep};
use crate::program::extent::Extent;
use crate::program::layout::Layout;
use crate::program::{Program, Verified};
use std::collections::BTreeMap;

/// The sizes of clusters that are tried; larger ones are not portable between devices.
const CLUSTERS: [usize; 4] = [1, 2, 4, 8];

/// The largest number of columns of a warp's tile: a warp has a lane for each of their sums.
const MOST_COLUMNS: usize = 32;

/// The largest number of multiplications in products of a step with matrices of parameters: all blocks compute all of them.
const MOST_PRODUCTS: usize = 32 * 1024;

/// The registers of a thread that vector code, addresses and sums take besides a tile.
const OVERHEAD: [usize; 2] = [56, 108];

/// The bytes of shared memory that a device reserves in every block.
const RESERVED: usize = 1024;

/// The connections of one warp: all rows of a few columns. A lane holds every 32nd row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub layout: Layout,
    /// The number of rows that a thread holds.
    pub rows: usize,
    /// The number of columns that a warp holds.
    pub columns: usize,
}

impl Tile {
    fn new(layout: Layout, warps: usize) -> Tile {
        Tile {
            layout,
            rows: layout.rows.div_ceil(32),
            columns: layout.cols.div_ceil(warps),
        }
    }

    /// The number of connections of a thread.
    pub(super) fn size(self) -> usize {
        self.rows * self.columns
    }

    /// The number of rows with padding, for transfers of four.
    pub(super) fn padded_rows(self) -> usize {
        self.rows.next_multiple_of(4)
    }

    /// The number of floats of a block's stored traces.
    pub(super) fn stored(self, threads: usize) -> usize {
        self.padded_rows() * self.columns * threads
    }

    /// The number of sums that a warp's reduction of columns takes: a power of two.
    pub(super) fn sums(self) -> usize {
        self.columns.next_power_of_two()
    }
}

/// The distribution of a lane over a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// The number of blocks of a cluster.
    pub blocks: usize,
    /// The number of warps of a block that hold connections.
    pub warps: usize,
    /// True if matrices lie in shared memory, forward and back.
    pub matrices_shared: [bool; 2],
    /// True if gradient sums lie in shared memory.
    pub sums_shared: bool,
    /// The number of registers per thread that the tiles need, forward and back, as estimated.
    pub registers: [usize; 2],
    /// The number of lanes that run at once.
    pub at_once: usize,
}

/// The values of a program that tiles hold.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The layouts of blocks of connections.
    pub blocks: Vec<Layout>,
    /// The matrices of the forward and the backward sweeps: offset in the shared memory of parameters, and layout.
    pub matrices: [BTreeMap<usize, Layout>; 2],
    /// The gradient sums per connection.
    pub sums: BTreeMap<usize, Layout>,
    /// The operations per connection, forward and back.
    operations: [usize; 2],
    /// The vectors over pre that a sweep reads or adds up, at most.
    rows_read: [usize; 2],
}

/// The sweeps that a kernel runs, forward and back.
fn sweeps(program: &Program) -> [Vec<&Sweep>; 2] {
    let ahead = program.ahead.sweeps.iter().chain(&program.ahead.updates);
    [ahead.collect(), program.back.sweeps.iter().collect()]
}

impl Held {
    /// Finds the values that tiles hold.
    ///
    /// # Errors
    /// The reason why a cluster cannot run this program.
    fn of(program: &Program) -> Result<Held, String> {
        let mut held = Held {
            blocks: program.blocks.clone(),
            matrices: [BTreeMap::new(), BTreeMap::new()],
            sums: BTreeMap::new(),
            operations: [0; 2],
            rows_read: [0; 2],
        };
        for (way, sweeps) in sweeps(program).into_iter().enumerate() {
            for sweep in sweeps {
                let mut pres = Vec::new();
                for source in sources(sweep) {
                    match source {
                        Source::Matrix(Area::Shared, at) => {
                            held.matrices[way].insert(at, sweep.layout);
                        }
                        Source::Matrix(..) => {
                            return Err("a matrix of connections changes every step".to_owned())
                        }
                        Source::Pre(place) if place.stride > 0 && !pres.contains(&place) => {
                            pres.push(place);
                        }
                        _ => {}
                    }
                }
                let extents = Extent::all(&sweep.ops);
                let of_connections = extents.iter().filter(|e| **e == Extent::Connection);
                let operations = of_connections.count() + sweep.roots.len();
                held.operations[way] = held.operations[way].max(operations);
                let mut rows = pres.len();
                for root in &sweep.roots {
                    match root.kind {
                        kind if kind.is_over_post() => rows += 1,
                        RootKind::Gradient(sum) => {
                            held.sums.insert(sum, sweep.layout);
                        }
                        _ => {}
                    }
                }
                held.rows_read[way] = held.rows_read[way].max(rows);
            }
        }
        Ok(held)
    }

    fn most_rows(&self) -> usize {
        let rows = self.blocks.iter().map(|layout| layout.rows.div_ceil(32));
        rows.max().unwrap_or(1)
    }
}

/// The number of registers that a thread of a block with so many warps can have.
fn registers_of(warps: usize) -> usize {
    match warps.next_multiple_of(4) {
        0..=8 => 255,
        9..=12 => 168,
        13..=16 => 128,
        _ => 0,
    }
}

/// Chooses the cluster for a program.
///
/// # Errors
/// The reason why none can run it.
pub(super) fn choose(
    program: &Verified<Program>,
    episode: &Episode<'_>,
    limits: BlockLimits,
    vectors: impl Fn(usize, usize) -> [usize; 2],
) -> Result<(Shape, Held), String> {
    let [least, most] = limits.clusters;
    if most == 0 {
        return Err("the device has no clusters of blocks".to_owned());
    }
    if program.blocks.is_empty() {
        return Err("it has no traces".to_owned());
    }
    if !program.constant.is_empty() {
        return Err("a trace is never updated".to_owned());
    }
    if !program.ahead.instrs.iter().any(Instr::is_sweep) {
        return Err("its forward step has no sweep".to_owned());
    }
    let back = &program.back;
    let mut of_back = back.early.iter().chain(&back.late).chain(&back.main);
    if of_back.any(Instr::is_sweep) {
        return Err("its backward step has sweeps in between".to_owned());
    }
    let lists = [&program.ahead.instrs, &back.early, &back.late, &back.main];
    let products = lists.into_iter().flatten().filter_map(|instr| match instr {
        Instr::MatVec { rows, cols, .. } => Some(rows * cols),
        _ => None,
    });
    if products.sum::<usize>() > MOST_PRODUCTS {
        return Err("every block would compute large products of vectors and matrices".to_owned());
    }
    let source = program.source();
    let held = Held::of(source)?;
    let mut best: Option<(usize, Shape)> = None;
    for blocks in CLUSTERS.into_iter().filter(|n| (least..=most).contains(n)) {
        for warps in 1..=15 {
            let candidate = Candidate {
                held: &held,
                blocks,
                warps,
            };
            let Some(shape) = candidate.shape(vectors(blocks, warps), limits) else {
                continue;
            };
            let cost = candidate.cost(&shape, episode.lanes);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, shape));
            }
        }
    }
    match best {
        Some((_, shape)) => Ok((shape, held)),
        None => Err("its connections do not fit in the registers of a cluster".to_owned()),
    }
}

/// A cluster to be judged.
struct Candidate<'a> {
    held: &'a Held,
    blocks: usize,
    warps: usize,
}

impl Candidate<'_> {
    fn tile(&self, layout: Layout) -> Tile {
        Tile::new(layout, self.blocks * self.warps)
    }

    /// The connections of a thread, over all layouts.
    fn sizes<'b>(&self, layouts: impl Iterator<Item = &'b Layout>) -> usize {
        layouts.map(|layout| self.tile(*layout).size()).sum()
    }

    /// The shape with as much in registers as fits; `vectors` are the bytes of shared memory that all else takes.
    fn shape(&self, vectors: [usize; 2], limits: BlockLimits) -> Option<Shape> {
        let held = self.held;
        let tiles = held.blocks.iter().map(|layout| self.tile(*layout));
        if tiles.clone().any(|tile| tile.columns > MOST_COLUMNS) {
            return None;
        }
        let threads = self.warps * 32;
        let traces = self.sizes(held.blocks.iter());
        let matrices = [0, 1].map(|way: usize| self.sizes(held.matrices[way].values()));
        let sums = self.sizes(held.sums.values());
        let rows = held.most_rows();
        let widest = tiles.clone().map(|tile| tile.columns).max().unwrap_or(1);
        let stored: usize = tiles.map(|tile| tile.stored(threads)).sum();
        // Forward, a warp beside the others runs the task.
        let most = [registers_of(self.warps + 1), registers_of(self.warps)];
        let mut registers = [0, 1].map(|way: usize| {
            OVERHEAD[way] + traces + matrices[way] + rows * held.rows_read[way] + widest
        });
        registers[1] += sums;
        let mut bytes = [vectors[0], vectors[1] + 4 * stored];
        let mut matrices_shared = [false; 2];
        for way in 0..2 {
            if registers[way] > most[way] {
                matrices_shared[way] = true;
                registers[way] -= matrices[way];
                bytes[way] += 4 * matrices[way] * threads;
            }
        }
        let sums_shared = registers[1] > most[1];
        if sums_shared {
            registers[1] -= sums;
            bytes[1] += 4 * sums * threads;
        }
        let fits = (0..2)
            .all(|way| registers[way] <= most[way] && bytes[way] + RESERVED <= limits.shared_bytes)
            && (self.warps + 1) * 32 <= limits.threads;
        fits.then(|| Shape {
            blocks: self.blocks,
            warps: self.warps,
            matrices_shared,
            sums_shared,
            registers,
            at_once: (limits.blocks / self.blocks).max(1),
        })
    }

    /// The estimated cycles of a step of all lanes. The coefficients are those of measured kernels: 1.7 cycles an instruction
    /// where two warps share a scheduler, 3.2 where one has it alone; an exchange takes 280, vector code some 700.
    fn cost(&self, shape: &Shape, lanes: usize) -> usize {
        let held = self.held;
        let rounds = lanes.div_ceil(shape.at_once);
        let size = self.sizes(held.blocks.iter().take(1));
        let instructions: usize = held.operations.iter().map(|n| n * size).sum();
        let shared = [
            shape.matrices_shared[0],
            shape.matrices_shared[1],
            shape.sums_shared,
        ];
        let in_shared = shared.iter().filter(|shared| **shared).count();
        let instructions = instructions * (6 + in_shared) / 6;
        let per_scheduler = self.warps.div_ceil(4);
        let cycles = (instructions * 16 * per_scheduler.max(2) / 20).max(instructions);
        let exchange = if self.blocks > 1 { 560 } else { 60 };
        // Barriers and partial sums of more warps take longer.
        rounds * (cycles + exchange + 1400 + 20 * self.warps)
    }
}

/// Numbers of a shape that a tile needs.
impl Shape {
    pub(super) fn tile(&self, layout: Layout) -> Tile {
        Tile::new(layout, self.blocks * self.warps)
    }

    /// The number of threads of a block that hold connections.
    pub(super) fn threads(&self) -> usize {
        self.warps * 32
    }
}
