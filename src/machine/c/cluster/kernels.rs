//! The kernels of a cluster: an episode forward and back.

use super::super::element::number;
use super::super::slots::{draw, panelled};
use super::super::text::Text;
use super::super::{Episode, Feed, Product as OuterProduct};
use super::plan::{Held, Shape, Tile};
use super::sweeps::{of_tile, Exchange, Hold, Sweeps, Tiles, Way};
use super::vectors::{matrix_size, units, Copied, Names, Op, Work};
use crate::ir::NoiseKind;
use crate::program::access::{reads, sweep_reads, writes, Access};
use crate::program::code::{Area, Instr, Place, Root, RootKind, Sweep};
use crate::program::ir::{Home, Regions};
use crate::program::layout::{Form, Layout, Slot};
use crate::program::Program;
use std::collections::BTreeMap;

/// The floats of shared memory before all others: the barriers of exchanges.
const BARRIERS: usize = 4;

/// The floats of the largest matrices of parameters that vector code reads from shared memory.
const MOST_COPIED: usize = 12 * 1024;

/// The offsets in the shared memory of a block, in floats.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    /// Two memories of a step's vectors.
    memory: usize,
    arrived: usize,
    values: usize,
    partial: usize,
    /// Forward: the task, after the weights of actions. Backward: gradient sums of vectors.
    own: usize,
    /// The records of three steps.
    ring: usize,
    pub(super) size: usize,
}

/// The kernels of a program under construction.
pub(super) struct Kernels<'a> {
    pub program: &'a Program,
    pub episode: &'a Episode<'a>,
    pub held: &'a Held,
    pub shape: &'a Shape,
    pub products: &'a [OuterProduct],
    /// The gradient sums that a lane adds up: offset in all, offset in its own, number.
    pub sums: &'a [(usize, usize, usize)],
    pub copied: Copied,
}

/// The floats of seeds that a step has.
fn seeds(program: &Program) -> usize {
    program.seeds.iter().flatten().map(|slot| slot.n).sum()
}

/// The floats of a step's vectors, none of which share a place.
fn memory(regions: &Regions) -> usize {
    let ends = regions
        .all
        .iter()
        .map(|region| region.start + region.size());
    whole(ends.max().unwrap_or(0))
}

/// A multiple of four floats, the unit of transfers.
fn whole(n: usize) -> usize {
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
        for source in crate::program::access::sources(sweep) {
            use crate::program::code::Source;
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
            RootKind::SumPre(..) | RootKind::MaxPre(..) => 2 * cols,
            RootKind::SumPost(..) | RootKind::MaxPost(..) => (2 * blocks + warps) * rows,
            RootKind::SumBoth(..) | RootKind::MaxBoth(..) => 2 * blocks + warps,
            RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => 0,
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
    let task = episode.task.as_ref().map_or(0, |task| task.words) + 2 * 64;
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
fn vector_sums(
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

/// Vector code up to a sweep, and the sweep.
type Segment = (Vec<Op>, Option<usize>);

/// The instructions of a step in segments: each sweep as early as its operands are there.
fn segments(program: &Program, instrs: &[Instr]) -> Vec<Segment> {
    let mut left: Vec<&Instr> = instrs.iter().collect();
    let mut segments: Vec<Segment> = Vec::new();
    while let Some(at) = left.iter().position(|instr| instr.is_sweep()) {
        let Instr::Sweep(k) = *left[at] else { break };
        let mut needed: Vec<Access> = sweep_reads(&program.ahead.sweeps[k]).collect();
        let mut first = Vec::new();
        let mut kept = Vec::new();
        for instr in left[..at].iter().rev() {
            let feeds = writes(instr).is_some_and(|written| {
                needed.iter().any(|read| {
                    read.area == written.area
                        && read.at < written.at + written.n
                        && written.at < read.at + read.n
                })
            });
            if feeds {
                needed.extend(reads(instr));
                first.push((*instr).clone());
            } else {
                kept.push(*instr);
            }
        }
        first.reverse();
        kept.reverse();
        kept.extend(&left[at + 1..]);
        left = kept;
        let ops = first.into_iter().map(|i| Op::new(Work::Instr(i)));
        segments.push((ops.collect(), Some(k)));
    }
    let rest = left.into_iter().map(|i| Op::new(Work::Instr(i.clone())));
    segments.push((rest.collect(), None));
    segments
}

/// The same place as the next step sees it.
fn aged(place: Place) -> Place {
    Place {
        area: place.area.aged(),
        ..place
    }
}

impl Kernels<'_> {
    fn threads(&self) -> usize {
        self.shape.threads()
    }

    fn tile(&self, layout: Layout) -> Tile {
        self.shape.tile(layout)
    }

    /// The floats that all blocks store of a step's traces, and the offset of each block of connections.
    pub(super) fn traces(&self) -> (usize, Vec<usize>) {
        let mut size = 0;
        let offsets = self.held.blocks.iter().map(|layout| {
            let at = size;
            size += self.shape.blocks * self.tile(*layout).stored(self.threads());
            at
        });
        let offsets = offsets.collect();
        (size, offsets)
    }

    /// The head of every unit: the memories of a step.
    fn head(&self, at: &Offsets, size: usize) -> Vec<String> {
        vec![
            "Context c;".to_owned(),
            format!("c.L = BASE + {} + (step & 1) * {size};", at.memory),
            format!("c.B = BASE + {} + ((step + 1) & 1) * {size};", at.memory),
            "c.R = c.B; c.RB = c.B; c.S = a.shared;".to_owned(),
            "c.outers = a.outers;".to_owned(),
            "c.vectors = (u64)a.lanes * a.steps;".to_owned(),
            "c.row = (u64)lane * a.steps + step;".to_owned(),
            format!("const float *const V = BASE + {};", at.values),
            "const float *const arrived = BASE + ARRIVED;".to_owned(),
            "(void)V; (void)arrived;".to_owned(),
        ]
    }

    /// Writes a group of sweeps with their exchange; returns what arrives. `beside` is code of the other warps,
    /// `before` and `after` of the warps that hold connections.
    fn sweeps(
        &self,
        sweeps: &[&Sweep],
        writer: &Sweeps<'_>,
        (head, warps): (&[String], usize),
        [before, after, beside]: [&[String]; 3],
        text: &mut Text,
    ) -> Vec<Op> {
        let mut exchange = Exchange::default();
        let mut body = Text::default();
        for sweep in sweeps {
            writer.write(sweep, &mut exchange, &mut body);
        }
        let token = self.token(sweeps, &mut exchange);
        let exchanges = exchange.floats > 0;
        if exchanges {
            text.line("exchanges++;");
        }
        text.open(&format!("UNIT({warps})"));
        head.iter().for_each(|line| text.line(line));
        if exchanges {
            text.line(&format!("EXPECT({});", 4 * exchange.floats));
        }
        text.open(&format!("if (warp < {}) {{", self.shape.warps));
        before.iter().for_each(|line| text.line(line));
        text.raw(&body.finish());
        token.iter().for_each(|line| text.line(line));
        after.iter().for_each(|line| text.line(line));
        text.close("}");
        if !beside.is_empty() {
            text.open("else {");
            beside.iter().for_each(|line| text.line(line));
            text.close("}");
        }
        text.close("END_UNIT");
        if !exchange.together.is_empty() {
            text.open(&format!("UNIT({warps})"));
            text.open(&format!("if (warp < {}) {{", self.shape.warps));
            text.open("LANES32");
            exchange.together.iter().for_each(|line| text.line(line));
            text.close("END32");
            text.close("}");
            text.close("END_UNIT");
        }
        if exchanges {
            text.line("WAIT;");
        }
        exchange.ops
    }

    /// Adds a number from every block to an exchange in which some block would send nothing. Blocks wait for each other only
    /// by what they send: without it, the others would run ahead of such a block and write over what it still reads.
    fn token(&self, sweeps: &[&Sweep], exchange: &mut Exchange) -> Option<String> {
        let Shape { blocks, warps, .. } = *self.shape;
        let from_all = sweeps.iter().any(|sweep| {
            let before_last = (blocks - 1) * warps * self.tile(sweep.layout).columns;
            let over_pre =
                |root: &Root| matches!(root.kind, RootKind::SumPre(..) | RootKind::MaxPre(..));
            before_last < sweep.layout.cols && sweep.roots.iter().any(over_pre)
        });
        if exchange.floats == 0 || from_all || !exchange.together.is_empty() {
            return None;
        }
        let at = exchange.floats;
        exchange.floats += blocks;
        Some(format!(
            "LANES32 if (warp == 0 && l < {blocks}) SEND(l, ARRIVED + {at} + blk, 0.0f); END32"
        ))
    }

    /// The largest exchange and the largest partial sums of a kernel, in floats.
    fn exchange_sizes(&self, groups: &[Vec<&Sweep>], way: Way, tiles: &Tiles) -> [usize; 2] {
        let tile = |sweep: &Sweep| self.tile(sweep.layout);
        let writer = Sweeps {
            way,
            tiles,
            copied: &self.copied,
            blocks: self.shape.blocks,
            warps: self.shape.warps,
            tile: &tile,
            partial: 0,
        };
        let mut largest = [0; 2];
        for group in groups {
            let mut exchange = Exchange::default();
            for sweep in group {
                writer.write(sweep, &mut exchange, &mut Text::default());
            }
            self.token(group, &mut exchange);
            largest[0] = largest[0].max(whole(exchange.floats));
            largest[1] = largest[1].max(whole(exchange.partial));
        }
        largest
    }

    /// The place of a tile in shared memory or registers; `next` is the first free float of shared memory.
    fn hold(&self, shared: bool, layout: Layout, next: &mut usize) -> Hold {
        if !shared {
            return Hold::Registers;
        }
        let from = *next;
        *next += self.tile(layout).size() * self.threads();
        Hold::Shared(from)
    }

    fn hold_matrices(&self, way: usize, tiles: &mut Tiles, next: &mut usize) {
        for (m, layout) in &self.held.matrices[way] {
            let hold = self.hold(self.shape.matrices_shared[way], *layout, next);
            tiles.matrices.insert(*m, hold);
        }
    }

    fn declare_matrices(&self, way: usize, tiles: &Tiles, text: &mut Text) {
        for (m, layout) in &self.held.matrices[way] {
            if tiles.matrices[m] == Hold::Registers {
                text.line(&format!("TILE(m{m}, {});", self.tile(*layout).size()));
            }
        }
    }

    /// Fills the tiles of matrices.
    fn matrices(&self, tiles: &Tiles, way: usize, text: &mut Text) {
        let threads = self.threads();
        for (at, layout) in &self.held.matrices[way] {
            let tile = self.tile(*layout);
            let hold = tiles.matrices[at];
            let to = of_tile(
                hold,
                &format!("m{at}"),
                threads,
                &format!("k * {} + r", tile.rows),
            );
            self.each_connection(
                tile,
                &[
                    "const bool exists = row < ROWS && column < COLUMNS;"
                        .replace("ROWS", &layout.rows.to_string())
                        .replace("COLUMNS", &layout.cols.to_string()),
                    format!(
                        "{to} = exists ? a.shared[{at} + (column / 16 * {} + row) * 16 + column % 16] : 0.0f;",
                        layout.rows
                    ),
                ],
                text,
            );
        }
    }

    /// Writes a loop over the connections of a tile, inside of a unit.
    fn each_connection(&self, tile: Tile, body: &[String], text: &mut Text) {
        text.open(&format!("if (warp < {}) {{", self.shape.warps));
        text.open("LANES32");
        text.line("UNROLL");
        text.open(&format!("for (int k = 0; k < {}; k++) {{", tile.columns));
        text.line("UNROLL");
        text.open(&format!("for (int r = 0; r < {}; r++) {{", tile.rows));
        text.line(&format!(
            "const int row = r * 32 + l, column = (blk * {} + warp) * {} + k;",
            self.shape.warps, tile.columns
        ));
        text.line("(void)row; (void)column;");
        body.iter().for_each(|line| text.line(line));
        text.close("}");
        text.close("}");
        text.close("END32");
        text.close("}");
    }

    /// Code that clears memory and copies parameters, inside of a unit of so many warps.
    fn clear(&self, at: &Offsets, warps: usize, text: &mut Text) {
        let threads = warps * 32;
        text.open("LANES32");
        text.line(&format!(
            "for (int i = {BARRIERS} + tid; i < {}; i += {threads}) if (i < {} || i >= {}) BASE[i] = 0.0f;",
            at.size,
            at.values,
            at.values + self.copied.size
        ));
        for (from, to, n) in &self.copied.ranges {
            text.line(&format!(
                "for (int i = tid; i < {n}; i += {threads}) BASE[{} + i] = a.shared[{from} + i];",
                at.values + to
            ));
        }
        text.close("END32");
    }

    /// The kernel of the forward pass; returns the bytes of shared memory per block.
    pub(super) fn forward(&self, text: &mut Text) -> usize {
        let program = self.program;
        let ahead = &program.ahead;
        let mut tiles = Tiles::default();
        let mut next = BARRIERS;
        self.hold_matrices(0, &mut tiles, &mut next);
        // Updates that wait run before the sweeps of the next step.
        let updates: Vec<Sweep> = ahead.updates.iter().map(older).collect();
        let groups: Vec<Vec<&Sweep>> = ahead.sweeps.iter().map(|sweep| vec![sweep]).collect();
        let [arrived, partial] = self.exchange_sizes(&groups, Way::Forward, &tiles);
        let lane = memory(&program.lane);
        let mut at = Offsets {
            memory: whole(next),
            ..Offsets::default()
        };
        at.arrived = at.memory + 2 * lane;
        at.values = at.arrived + 2 * arrived;
        at.partial = at.values + whole(self.copied.size);
        at.own = at.partial + partial;
        let actions = self.actions();
        let words = self.episode.task.as_ref().map_or(0, |task| task.words);
        at.size = whole(at.own + 2 * (actions + 1) + words);
        let warps = self.shape.warps + 1;
        let (trace_size, trace_at) = self.traces();

        text.raw(&format!(
            "#undef ARRIVED\n#undef BLOCK_FLOATS\n#define BLOCK_FLOATS {}\n#define ARRIVED ({} + (exchanges & 1) * {arrived})\n",
            at.size, at.arrived
        ));
        text.open(&format!("CLUSTER_KERNEL(forward, {warps}) {{"));
        text.line("CLUSTER_BEGIN");
        text.line("if (stopped(&a)) return;");
        text.line("int step = 0;");
        self.declare_matrices(0, &tiles, text);
        for (b, layout) in self.held.blocks.iter().enumerate() {
            text.line(&format!("TILE(p{b}, {});", self.tile(*layout).size()));
        }
        text.open(&format!("UNIT({warps})"));
        self.clear(&at, warps, text);
        self.matrices(&tiles, 0, text);
        for (slot, home) in program.homes.iter().enumerate() {
            if let Home::Block { index, layout } = home {
                let tile = self.tile(*layout);
                let first = number(program.first[slot] as f32);
                self.each_connection(
                    tile,
                    &[format!(
                        "OF_TILE(p{index}, k * {} + r) = {first};",
                        tile.rows
                    )],
                    text,
                );
            }
        }
        text.close("END_UNIT");
        let head = self.head(&at, lane);
        // The first values of states, and the task at its beginning.
        text.open(&format!("UNIT({warps})"));
        head.iter().for_each(|line| text.line(line));
        text.open("LANES32");
        for (slot, home) in program.homes.iter().enumerate() {
            if let Home::Vector {
                step: Some(to), n, ..
            } = home
            {
                let first = number(program.first[slot] as f32);
                text.line(&format!(
                    "for (int i = tid; i < {n}; i += {}) {{ c.L[{to} + i] = {first}; c.B[{to} + i] = {first}; }}",
                    warps * 32
                ));
            }
        }
        text.close("END32");
        if self.episode.task.is_some() {
            text.open(&format!("if (warp == {}) {{", self.shape.warps));
            text.line(&format!(
                "int *task = (int *)(BASE + {});",
                at.own + 2 * (actions + 1)
            ));
            text.line("LANES32 if (l == 0) { const Place episode = place_of(a.keys, a.iteration, 0, lane); task_reset(task, &episode); } END32");
            text.close("}");
        }
        text.close("END_UNIT");
        text.line("EXCHANGE_BEGIN;");
        text.line("exchanges--;");

        let tile_of = |sweep: &Sweep| self.tile(sweep.layout);
        let writer = Sweeps {
            way: Way::Forward,
            tiles: &tiles,
            copied: &self.copied,
            blocks: self.shape.blocks,
            warps: self.shape.warps,
            tile: &tile_of,
            partial: at.partial,
        };
        let names = Names {
            copied: &self.copied,
            sums: &BTreeMap::new(),
            products: self.products,
            blocks: self.shape.blocks,
            warps,
        };
        let segments = segments(program, &ahead.instrs);
        // The task must be ahead of code that leads to the first sweep, if that reads what it gives.
        let inputs: Vec<Slot> = program
            .inputs
            .iter()
            .chain(&program.noises)
            .flatten()
            .copied()
            .collect();
        let is_input = |access: &Access| {
            access.area == Area::Lane
                && inputs
                    .iter()
                    .any(|slot| access.at < slot.at + slot.n && slot.at < access.at + access.n)
        };
        let first_reads = segments.first().is_some_and(|(ops, sweep)| {
            let of_ops = ops.iter().any(|op| match &op.work {
                Work::Instr(instr) => reads(instr).iter().any(is_input),
                _ => false,
            });
            let of_sweep = sweep
                .is_some_and(|k| sweep_reads(&ahead.sweeps[k]).any(|access| is_input(&access)));
            of_ops || of_sweep
        });
        for first in [true, false] {
            text.open(if first {
                "if (a.steps > 0) {"
            } else {
                "for (step = 1; step < a.steps; step++) {"
            });
            let task = self.task(&at, first);
            let mut task_left = true;
            let alone = first_reads || segments.first().is_none_or(|(_, sweep)| sweep.is_none());
            let keep_record = if first {
                Vec::new()
            } else {
                self.keep_record()
            };
            let mut record_left = !keep_record.is_empty();
            if alone {
                text.open(&format!("UNIT({warps})"));
                head.iter().for_each(|line| text.line(line));
                text.open(&format!("if (warp < {}) {{", self.shape.warps));
                keep_record.iter().for_each(|line| text.line(line));
                text.close("}");
                text.open("else {");
                task.iter().for_each(|line| text.line(line));
                text.close("}");
                text.close("END_UNIT");
                task_left = false;
                record_left = false;
            }
            let mut waiting: Vec<Op> = Vec::new();
            let mut updated = false;
            for (k, (ops, sweep)) in segments.iter().enumerate() {
                waiting.extend(ops.iter().cloned());
                let Some(sweep) = sweep else {
                    waiting.extend(self.moves());
                    units(&waiting, &names, &head, &[], text);
                    continue;
                };
                units(&waiting, &names, &head, &[], text);
                let mut group: Vec<&Sweep> = Vec::new();
                // Updates of the step before.
                if !first && !updated && !ahead.deferred {
                    group.extend(&updates);
                }
                if !first && !updated && ahead.deferred {
                    group.extend(ahead.apart.iter().map(|k| &ahead.sweeps[*k]));
                }
                let merged = ahead.merged[*sweep].filter(|_| !first && ahead.deferred);
                group.push(&ahead.sweeps[merged.unwrap_or(*sweep)]);
                // The traces on entry are complete after the sweeps that update them.
                let mut after = Vec::new();
                for (b, layout) in self.held.blocks.iter().enumerate() {
                    let here = match (first, ahead.deferred) {
                        (true, _) | (_, false) => k == 0,
                        (false, true) => group.iter().any(|sweep| writes_block(sweep, b)),
                    };
                    if here {
                        after.extend(self.keep_trace(b, *layout, trace_size, trace_at[b]));
                    }
                }
                updated = true;
                let before: &[String] = if record_left { &keep_record } else { &[] };
                let beside: &[String] = if task_left { &task } else { &[] };
                (record_left, task_left) = (false, false);
                waiting = self.sweeps(
                    &group,
                    &writer,
                    (&head, warps),
                    [before, &after, beside],
                    text,
                );
            }
            text.close("}");
        }
        // The record and the action of the last step.
        text.line("step = a.steps;");
        text.open(&format!("UNIT({warps})"));
        head.iter().for_each(|line| text.line(line));
        text.open(&format!("if (warp < {}) {{", self.shape.warps));
        self.keep_record().iter().for_each(|line| text.line(line));
        text.close("}");
        if self.episode.task.is_some() {
            text.open("else {");
            self.act(&at).iter().for_each(|line| text.line(line));
            text.close("}");
        }
        text.close("END_UNIT");
        text.line("CLUSTER_END;");
        text.close("}");
        4 * at.size
    }

    /// The number of actions of the task, 0 without one on the device.
    fn actions(&self) -> usize {
        let policy = self.episode.read.first();
        let on_device = self.episode.task.is_some();
        policy
            .filter(|_| on_device)
            .map_or(0, |(slot, _)| self.program.outputs[*slot].1)
    }

    /// Code of one warp that takes the action of the step before.
    fn act(&self, at: &Offsets) -> Vec<String> {
        let (Some(_), Some((slot, _))) = (&self.episode.task, self.episode.read.first()) else {
            return Vec::new();
        };
        let (place, n) = self.program.outputs[*slot];
        let logit = |index: &str| self.copied.at(aged(place), index);
        let own = at.own;
        vec![
            format!("double *const weights = (double *)(BASE + {own});"),
            format!("int *const task = (int *)(BASE + {});", own + 2 * (n + 1)),
            // Each lane weighs an action, as `choose` does, and the last one draws.
            "LANES32".to_owned(),
            "    double largest = -INF;".to_owned(),
            format!(
                "    for (int k = 0; k < {n}; k++) largest = fmax(largest, (double){});",
                logit("k")
            ),
            format!(
                "    for (int k = l; k < {n}; k += 32) weights[k] = exp((double){} - largest);",
                logit("k")
            ),
            "    if (l == 31) {".to_owned(),
            "        const Place place = place_of(a.keys + 2, a.iteration, step - 1, lane);"
                .to_owned(),
            format!("        weights[{n}] = a.greedy ? 0.0 : place_uniform(&place, 0);"),
            "    }".to_owned(),
            "END32".to_owned(),
            "WARP_SYNC;".to_owned(),
            "LANES32".to_owned(),
            "    if (l == 0) {".to_owned(),
            "        int action = 0;".to_owned(),
            "        if (a.greedy) {".to_owned(),
            format!(
                "            for (int k = 1; k < {n}; k++) action = {} > {} ? k : action;",
                logit("k"),
                logit("action")
            ),
            "        } else {".to_owned(),
            "            double total = 0.0, below = 0.0;".to_owned(),
            format!("            for (int k = 0; k < {n}; k++) total += weights[k];"),
            format!("            const double threshold = weights[{n}] * total;"),
            format!("            int last = {};", n - 1),
            "            action = -1;".to_owned(),
            format!("            for (int k = 0; k < {n}; k++) {{"),
            "                below += weights[k];".to_owned(),
            "                if (action < 0 && threshold < below) action = k;".to_owned(),
            "                if (weights[k] > 0.0) last = k;".to_owned(),
            "            }".to_owned(),
            "            if (action < 0) action = last;".to_owned(),
            "        }".to_owned(),
            "        const Place chance = place_of(a.keys, a.iteration, step, lane);".to_owned(),
            "        const float reward = task_act(task, &chance, action);".to_owned(),
            "        if (blk == 0) {".to_owned(),
            "            a.actions[c.row - 1] = action;".to_owned(),
            "            a.rewards[c.row - 1] = reward;".to_owned(),
            "        }".to_owned(),
            "    }".to_owned(),
            "END32".to_owned(),
            "WARP_SYNC;".to_owned(),
        ]
    }

    /// Code of one warp between two steps: the action, and what the task shows.
    fn task(&self, at: &Offsets, first: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if self.episode.task.is_some() {
            if first {
                lines.push(format!(
                    "int *const task = (int *)(BASE + {});",
                    at.own + 2 * (self.actions() + 1)
                ));
            } else {
                lines.extend(self.act(at));
            }
        }
        let (program, episode) = (self.program, self.episode);
        lines.push("LANES32".to_owned());
        let put = |to: Slot, value: &str| {
            let Slot { at, n, form } = to;
            let index = match form {
                Form::Panels(layout) => panelled(layout, "i"),
                _ => "i".to_owned(),
            };
            format!("    for (int i = l; i < {n}; i += 32) c.L[{at} + {index}] = {value};")
        };
        for (slot, feed) in episode.feeds.iter().enumerate() {
            let n: usize = episode.graph.inputs[slot].dims.iter().product();
            let value = match feed {
                Feed::Observation(from) => format!("task_observation(task, {from} + i)"),
                Feed::Signal(k) => format!("task_signal(task, {k})"),
                Feed::TrialStart => "f_truth(task_trial_starts(task))".to_owned(),
                Feed::Given(from) => format!("a.inputs[c.vectors * {from} + c.row * {n} + i]"),
                Feed::Word => "0.0f".to_owned(),
            };
            if let Some(to) = program.inputs[slot] {
                lines.push(put(to, &value));
            }
        }
        for (slot, noise) in episode.graph.noises.iter().enumerate() {
            let Some(to) = program.noises[slot] else {
                continue;
            };
            let (step, still) = match noise.kind {
                NoiseKind::Step => ("a.first + step", None),
                NoiseKind::Mask => ("0", Some(noise.draw.mean())),
            };
            let columns = noise.dims.last().copied().unwrap_or(1).max(1);
            let drawn = draw(&noise.draw, columns);
            let value = match still {
                Some(mean) => format!("(a.learn ? {drawn} : {})", number(mean as f32)),
                None => drawn,
            };
            lines.push("    {".to_owned());
            lines.push(format!(
                "    const Place place = place_of(a.keys + {}, a.iteration, {step}, lane);",
                4 + 2 * episode.noises[slot]
            ));
            lines.push(put(to, &value));
            lines.push("    (void)place;".to_owned());
            lines.push("    }".to_owned());
        }
        lines.push("END32".to_owned());
        lines
    }

    /// Code that keeps the vectors and the outputs of the step before.
    fn keep_record(&self) -> Vec<String> {
        let threads = self.threads();
        let record = self.program.record_size;
        let mut lines = vec![
            "LANES32".to_owned(),
            format!("    float *const record = a.records + (c.row - 1) * {record};"),
            format!(
                "    for (int i = blk * {threads} + tid; i < {record}; i += {}) record[i] = c.B[i];",
                threads * self.shape.blocks
            ),
            "    (void)record;".to_owned(),
        ];
        for (k, (slot, to)) in self.episode.read.iter().enumerate() {
            let (place, n) = self.program.outputs[*slot];
            let value = self.copied.at(aged(place), "i");
            lines.push(format!(
                "    if (blk == {}) for (int i = tid; i < {n}; i += {threads}) a.outputs[c.vectors * {to} + (c.row - 1) * {n} + i] = {value};",
                k % self.shape.blocks
            ));
        }
        lines.push("END32".to_owned());
        lines
    }

    /// The memory of a step's traces of a block of connections, from a thread's first float on.
    fn stored(&self, trace_size: usize, at: usize, tile: Tile, step: &str) -> String {
        format!(
            "a.checkpoints + ((u64)(lane - a.wave) * a.steps + ({step})) * {trace_size} + {at} + blk * {} + 4 * tid",
            tile.stored(self.threads())
        )
    }

    /// Code that keeps the traces with which a step begins.
    fn keep_trace(&self, b: usize, layout: Layout, size: usize, at: usize) -> Vec<String> {
        let tile = self.tile(layout);
        let fours = tile.padded_rows() / 4;
        let value = |j: usize| {
            // The rows of padding repeat the last one.
            format!(
                "OF_TILE(p{b}, k * {rows} + (4 * r + {j} < {rows} ? 4 * r + {j} : {last}))",
                rows = tile.rows,
                last = tile.rows - 1
            )
        };
        vec![
            "LANES32".to_owned(),
            format!("    float *const kept = {};", self.stored(size, at, tile, "step")),
            "    UNROLL".to_owned(),
            format!("    for (int k = 0; k < {}; k++) {{", tile.columns),
            "        UNROLL".to_owned(),
            format!(
                "        for (int r = 0; r < {fours}; r++) keep4(kept + (k * {fours} + r) * {}, {}, {}, {}, {});",
                4 * self.threads(),
                value(0),
                value(1),
                value(2),
                value(3)
            ),
            "    }".to_owned(),
            "END32".to_owned(),
        ]
    }

    /// Moves of states into the memory of the next step.
    fn moves(&self) -> Vec<Op> {
        let program = self.program;
        let moved = program.nexts.iter().filter_map(|(slot, place, n)| {
            let Home::Vector { step: Some(at), .. } = program.homes[*slot] else {
                return None;
            };
            Some(Op::new(Work::Move {
                to: (Area::Before, at),
                from: *place,
                n: *n,
            }))
        });
        moved.collect()
    }

    /// The kernel of the backward pass; returns the bytes of shared memory per block.
    pub(super) fn backward(&self, text: &mut Text) -> usize {
        let program = self.program;
        let back = &program.back;
        let threads = self.threads();
        let warps = self.shape.warps;
        let merged: Vec<&Sweep> = back
            .opening
            .iter()
            .map(|o| &back.sweeps[o.merged])
            .collect();
        let alone: Vec<&Sweep> = back.opening.iter().map(|o| &back.sweeps[o.alone]).collect();
        let closing: Vec<&Sweep> = back.closing.iter().map(|k| &back.sweeps[*k]).collect();
        let (sum_at, sum_size) = vector_sums(program, self.sums);
        let record = whole(program.record_size);
        let ring = record + whole(seeds(program));

        // The place of every tile; fetched traces first, whose transfers are of 16 bytes.
        let mut at = Offsets {
            memory: BARRIERS,
            ..Offsets::default()
        };
        let mut tiles = Tiles::default();
        let mut next = BARRIERS;
        for (b, layout) in self.held.blocks.iter().enumerate() {
            tiles.fetched.insert(b, next);
            next += self.tile(*layout).stored(threads);
        }
        self.hold_matrices(1, &mut tiles, &mut next);
        for (sum, layout) in &self.held.sums {
            let hold = self.hold(self.shape.sums_shared, *layout, &mut next);
            tiles.sums.insert(*sum, hold);
        }
        let groups = [merged.clone(), alone.clone(), closing.clone()];
        let [arrived, partial] = self.exchange_sizes(&groups, Way::Backward, &tiles);
        let lane = memory(&program.adjoint);
        at.memory = whole(next);
        at.arrived = at.memory + 2 * lane;
        at.values = at.arrived + 2 * arrived;
        at.partial = at.values + whole(self.copied.size);
        at.own = at.partial + partial;
        at.ring = at.own + whole(sum_size);
        at.size = at.ring + 3 * ring;
        let (trace_size, trace_at) = self.traces();

        text.raw(&format!(
            "#undef ARRIVED\n#undef BLOCK_FLOATS\n#define BLOCK_FLOATS {}\n#define ARRIVED ({} + (exchanges & 1) * {arrived})\n",
            at.size, at.arrived
        ));
        text.open(&format!("CLUSTER_KERNEL(backward, {warps}) {{"));
        text.line("CLUSTER_BEGIN");
        text.line("if (stopped(&a)) return;");
        text.line("int step = a.steps - 1;");
        text.line("if (step < 0) return;");
        self.declare_matrices(1, &tiles, text);
        for (b, layout) in self.held.blocks.iter().enumerate() {
            text.line(&format!("TILE(d{b}, {});", self.tile(*layout).size()));
        }
        for (sum, layout) in &self.held.sums {
            if tiles.sums[sum] == Hold::Registers {
                text.line(&format!("TILE(s{sum}, {});", self.tile(*layout).size()));
            }
        }
        text.open(&format!("UNIT({warps})"));
        self.clear(&at, warps, text);
        text.close("END_UNIT");
        let mut head = self.head(&at, lane);
        head.extend([
            format!("c.R = BASE + {} + step % 3 * {ring};", at.ring),
            format!("c.RB = BASE + {} + (step + 1) % 3 * {ring};", at.ring),
            format!("c.sums = BASE + {};", at.own),
        ]);
        text.open(&format!("UNIT({warps})"));
        head.iter().for_each(|line| text.line(line));
        self.matrices(&tiles, 1, text);
        for (b, layout) in self.held.blocks.iter().enumerate() {
            let tile = self.tile(*layout);
            let line = format!("OF_TILE(d{b}, k * {} + r) = 0.0f;", tile.rows);
            self.each_connection(tile, &[line], text);
        }
        for (sum, layout) in &self.held.sums {
            let tile = self.tile(*layout);
            let q = format!("k * {} + r", tile.rows);
            let to = of_tile(tiles.sums[sum], &format!("s{sum}"), threads, &q);
            self.each_connection(tile, &[format!("{to} = 0.0f;")], text);
        }
        let fetch_record = |of: &str| self.fetch_record(of, at.ring, (record, ring));
        let fetch_traces = |of: &str| -> Vec<String> {
            let each = self.held.blocks.iter().enumerate();
            each.flat_map(|(b, layout)| {
                self.fetch_trace(
                    tiles.fetched[&b],
                    self.tile(*layout),
                    (trace_size, trace_at[b]),
                    of,
                )
            })
            .collect()
        };
        fetch_record("step").iter().for_each(|line| text.line(line));
        fetch_traces("step").iter().for_each(|line| text.line(line));
        text.line("FETCHED;");
        text.close("END_UNIT");
        text.line("EXCHANGE_BEGIN;");
        text.line("exchanges--;");

        let tile_of = |sweep: &Sweep| self.tile(sweep.layout);
        let writer = Sweeps {
            way: Way::Backward,
            tiles: &tiles,
            copied: &self.copied,
            blocks: self.shape.blocks,
            warps,
            tile: &tile_of,
            partial: at.partial,
        };
        let names = Names {
            copied: &self.copied,
            sums: &sum_at,
            products: self.products,
            blocks: self.shape.blocks,
            warps,
        };
        let instrs = |list: &[Instr], before: bool| -> Vec<Op> {
            let ops = list.iter().filter(|instr| !instr.is_sweep());
            ops.map(|instr| Op {
                work: Work::Instr(instr.clone()),
                before,
            })
            .collect()
        };
        let fetched = ["FETCHED;".to_owned()];
        let is_seed = |access: Access| {
            let mut slots = program.seeds.iter().flatten();
            access.area == Area::Lane
                && slots.any(|slot| access.at < slot.at + slot.n && slot.at < access.at + access.n)
        };
        let of_sweeps = merged.iter().chain(&alone);
        let seeds_first =
            !back.early.is_empty() || of_sweeps.flat_map(|sweep| sweep_reads(sweep)).any(is_seed);
        for last in [true, false] {
            text.open(if last {
                "{"
            } else {
                "for (step = a.steps - 2; step >= 0; step--) {"
            });
            // Adjoints of outputs are read after the sweeps if these can do without.
            let mut seeds = self.read_seeds(record);
            let mut early = Vec::new();
            if seeds_first {
                early.append(&mut seeds);
            }
            early.extend(instrs(&back.early, false));
            units(&early, &names, &head, &[], text);
            let before = guarded("step > 0", fetch_record("step - 1"));
            let after = guarded("step > 0", fetch_traces("step - 1"));
            let group = if last { &alone } else { &merged };
            let mut ops = self.sweeps(group, &writer, (&head, warps), [&before, &after, &[]], text);
            ops.append(&mut seeds);
            if !last {
                ops.extend(instrs(&back.late, true));
                for (slot, place, n) in &program.adjoints_out {
                    if let Home::Vector {
                        adjoint: Some(to), ..
                    } = program.homes[*slot]
                    {
                        ops.push(Op::new(Work::Move {
                            to: (Area::Lane, to),
                            from: aged(*place),
                            n: *n,
                        }));
                    }
                }
            }
            ops.extend(instrs(&back.main, false));
            units(&ops, &names, &head, &fetched, text);
            text.close("}");
        }
        // What the first step's own adjoints add.
        text.line("step = 0;");
        let mut ops = self.sweeps(&closing, &writer, (&head, warps), [&[], &[], &[]], text);
        ops.extend(instrs(&back.late, false));
        units(&ops, &names, &head, &[], text);
        text.open(&format!("UNIT({warps})"));
        text.line(&format!(
            "float *const sums = a.sums + (u64)lane * SUMS; const float *const own = BASE + {};",
            at.own
        ));
        text.open("LANES32");
        for (sum, own, n) in self.sums {
            if let Some(from) = sum_at.get(sum) {
                text.line(&format!(
                    "if (blk == 0) for (int i = tid; i < {n}; i += {threads}) sums[{own} + i] = own[{from} + i];"
                ));
            }
        }
        text.line("(void)own;");
        text.close("END32");
        for (sum, layout) in &self.held.sums {
            let tile = self.tile(*layout);
            let q = format!("k * {} + r", tile.rows);
            let value = of_tile(tiles.sums[sum], &format!("s{sum}"), threads, &q);
            let own = self.sums.iter().find(|(at, _, _)| at == sum);
            let own = own.map_or(0, |(_, own, _)| *own);
            let line = format!(
                "if (row < {} && column < {}) sums[{own} + (column / 16 * {} + row) * 16 + column % 16] = {value};",
                layout.rows, layout.cols, layout.rows
            );
            self.each_connection(tile, &[line], text);
        }
        text.close("END_UNIT");
        text.line("CLUSTER_END;");
        text.close("}");
        4 * at.size
    }

    /// The adjoints of outputs, from where they were fetched to.
    fn read_seeds(&self, record: usize) -> Vec<Op> {
        let mut from = record;
        let mut ops = Vec::new();
        for slot in self.program.seeds.iter().flatten() {
            let Slot { at, n, .. } = *slot;
            let index = if n == 1 { "0" } else { "i" };
            ops.push(Op::new(Work::Given {
                to: (Area::Lane, at),
                n,
                value: format!("c.R[{from} + {index}]"),
            }));
            from += n;
        }
        ops
    }

    /// Code that fetches the record and the adjoints of outputs of a step.
    fn fetch_record(&self, of: &str, at: usize, (record, ring): (usize, usize)) -> Vec<String> {
        let threads = self.threads();
        let size = self.program.record_size;
        let mut lines = vec![
            "LANES32".to_owned(),
            format!("    float *const to = BASE + {at} + ({of}) % 3 * {ring};"),
            format!("    const u64 row = (u64)lane * a.steps + ({of});"),
            format!("    const float *const record = a.records + row * {size};"),
        ];
        lines.push(match size.is_multiple_of(4) {
            true => format!(
                "    for (int i = 4 * tid; i < {size}; i += {}) fetch4(to + i, record + i);",
                4 * threads
            ),
            false => format!(
                "    for (int i = tid; i < {size}; i += {threads}) fetch1(to + i, record + i);"
            ),
        });
        let mut to = record;
        for (slot, seed) in self.program.seeds.iter().enumerate() {
            let Some(Slot { n, .. }) = seed else { continue };
            let read = self.episode.read.iter().find(|(read, _)| *read == slot);
            if let Some((_, from)) = read {
                lines.push(format!(
                    "    for (int i = tid; i < {n}; i += {threads}) fetch1(to + {to} + i, a.seeds + c.vectors * {from} + row * {n} + i);"
                ));
            }
            to += n;
        }
        lines.push("    (void)record; (void)row; (void)to;".to_owned());
        lines.push("END32".to_owned());
        lines
    }

    /// Code that fetches a thread's own part of a step's traces.
    fn fetch_trace(
        &self,
        to: usize,
        tile: Tile,
        (size, at): (usize, usize),
        of: &str,
    ) -> Vec<String> {
        let pieces = tile.padded_rows() / 4 * tile.columns;
        vec![
            "LANES32".to_owned(),
            format!("    const float *const kept = {};", self.stored(size, at, tile, of)),
            "    UNROLL".to_owned(),
            format!(
                "    for (int q = 0; q < {pieces}; q++) fetch4(BASE + {to} + (q * {threads} + tid) * 4, kept + q * {});",
                4 * self.threads(),
                threads = self.threads()
            ),
            "END32".to_owned(),
        ]
    }
}

fn guarded(condition: &str, lines: Vec<String>) -> Vec<String> {
    let mut out = vec![format!("if ({condition}) {{")];
    out.extend(lines);
    out.push("}".to_owned());
    out
}

fn writes_block(sweep: &Sweep, b: usize) -> bool {
    let mut roots = sweep.roots.iter();
    roots.any(|root| root.kind == RootKind::State(b))
}

/// An update of traces as the next step runs it.
fn older(update: &Sweep) -> Sweep {
    use crate::program::code::Source;
    let age = |source: Source| match source {
        Source::Post(place) => Source::Post(aged(place)),
        Source::Pre(place) => Source::Pre(aged(place)),
        other => other,
    };
    let mut update = update.clone();
    for op in &mut update.ops {
        op.operands = op.operands.map(age);
    }
    for root in &mut update.roots {
        root.value = age(root.value);
        root.times = root.times.map(age);
        root.kind = root.kind.aged();
    }
    update
}
