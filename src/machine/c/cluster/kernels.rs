//! The kernels of a cluster: what the forward and the backward pass share.

use super::super::text::Text;
use super::super::{Episode, Product as OuterProduct};
use super::memory::{Copied, Offsets, BARRIERS};
use super::plan::{Held, Shape, Tile};
use super::sweeps::{of_tile, Hold, Sweeps, Tiles, Way};
use super::task::TaskMemory;
use super::vectors::Names;
use crate::program::layout::Layout;
use crate::program::Program;
use std::collections::BTreeMap;

/// The kernels of a program under construction.
pub(super) struct Kernels<'a> {
    pub program: &'a Program,
    pub episode: &'a Episode<'a>,
    pub held: &'a Held,
    pub shape: &'a Shape,
    pub products: &'a [OuterProduct],
    /// The gradient sums that a lane adds up: offset in all, offset in its own, number.
    pub sums: &'a [(usize, usize, usize)],
    /// The position of each state among those that outlive an episode, and its number of elements.
    pub carried: &'a [Option<(usize, usize)>],
    pub copied: Copied,
    /// The task, if it is on the device.
    pub task_memory: Option<TaskMemory>,
}

impl Kernels<'_> {
    pub(super) fn threads(&self) -> usize {
        self.shape.threads()
    }

    pub(super) fn tile(&self, layout: Layout) -> Tile {
        self.shape.tile(layout)
    }

    /// The writer of sweeps of a pass; `partial` is the first float of partial sums.
    pub(super) fn writer<'b>(&'b self, way: Way, tiles: &'b Tiles, partial: usize) -> Sweeps<'b> {
        Sweeps {
            way,
            tiles,
            copied: &self.copied,
            shape: self.shape,
            partial,
        }
    }

    /// The names of vector code in blocks of so many warps; `sums` are the offsets of vector sums in shared memory.
    pub(super) fn names<'b>(&'b self, sums: &'b BTreeMap<usize, usize>, warps: usize) -> Names<'b> {
        Names {
            copied: &self.copied,
            sums,
            products: self.products,
            blocks: self.shape.blocks,
            warps,
        }
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
    pub(super) fn head(&self, at: &Offsets, size: usize) -> Vec<String> {
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

    /// The place of a tile in shared memory or registers; `next` is the first free float of shared memory.
    pub(super) fn hold(&self, shared: bool, layout: Layout, next: &mut usize) -> Hold {
        if !shared {
            return Hold::Registers;
        }
        let from = *next;
        *next += self.tile(layout).size() * self.threads();
        Hold::Shared(from)
    }

    pub(super) fn hold_matrices(&self, way: usize, tiles: &mut Tiles, next: &mut usize) {
        for (m, layout) in &self.held.matrices[way] {
            let hold = self.hold(self.shape.matrices_shared[way], *layout, next);
            tiles.matrices.insert(*m, hold);
        }
    }

    pub(super) fn declare_matrices(&self, way: usize, tiles: &Tiles, text: &mut Text) {
        for (m, layout) in &self.held.matrices[way] {
            if tiles.matrices[m] == Hold::Registers {
                text.line(&format!("TILE(m{m}, {});", self.tile(*layout).size()));
            }
        }
    }

    /// Fills the tiles of matrices.
    pub(super) fn matrices(&self, tiles: &Tiles, way: usize, text: &mut Text) {
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
                    format!(
                        "const bool exists = row < {} && column < {};",
                        layout.rows, layout.cols
                    ),
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
    pub(super) fn each_connection(&self, tile: Tile, body: &[String], text: &mut Text) {
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
    pub(super) fn clear(&self, at: &Offsets, warps: usize, text: &mut Text) {
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

    /// The memory of a step's traces of a block of connections, from a thread's first float on.
    pub(super) fn stored(&self, trace_size: usize, at: usize, tile: Tile, step: &str) -> String {
        format!(
            "a.checkpoints + ((u64)(lane - a.wave) * a.steps + ({step})) * {trace_size} + {at} + blk * {} + 4 * tid",
            tile.stored(self.threads())
        )
    }
}
