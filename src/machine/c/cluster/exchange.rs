//! Exchanges: what the sweeps of a unit add up goes to all blocks of the cluster.

use super::super::text::Text;
use super::kernels::Kernels;
use super::memory::whole;
use super::ops::{Op, Work};
use super::plan::{Shape, Tile};
use super::sweeps::{Sweeps, Tiles, Way};
use crate::program::code::{Root, RootKind, Sweep};

/// The exchange after some sweeps: what arrives, and how many floats.
#[derive(Default)]
pub(super) struct Exchange {
    /// The vectors that arrive.
    pub ops: Vec<Op>,
    /// The floats that arrive in a block.
    pub floats: usize,
    /// The floats of partial sums of warps.
    pub partial: usize,
    /// Code that adds partial sums and sends them.
    pub together: Vec<String>,
}

impl Sweeps<'_> {
    /// Writes what becomes of the sums of a warp.
    pub(super) fn result(
        &self,
        r: usize,
        kind: RootKind,
        tile: Tile,
        exchange: &mut Exchange,
        text: &mut Text,
    ) {
        let Some(to) = kind.target() else {
            return;
        };
        let top = if kind.is_max() { "TOP_" } else { "" };
        let (rows, cols) = (tile.layout.rows, tile.layout.cols);
        let Shape { blocks, warps, .. } = *self.shape;
        let columns = tile.columns;
        let at = exchange.floats;
        let combined = |parts: Vec<String>| {
            parts.into_iter().reduce(|all, part| match kind.is_max() {
                true => format!("f_larger({all}, {part})"),
                false => format!("({all} + {part})"),
            })
        };
        let arrived = |n: usize, value: String| Op::new(Work::Arrived { to, n, value });
        if kind.is_over_pre() {
            let lanes = 32 / tile.sums();
            text.line(&format!("{top}COLUMNS32(c{r}, a{r}, {});", tile.sums()));
            text.open("LANES32");
            text.line(&format!("const int k = l / {lanes}, column = first + k;"));
            text.open(&format!("if (k < {columns} && column < {cols}) {{"));
            text.line(&format!(
                "for (int b = l % {lanes}; b < {blocks}; b += {lanes}) SEND(b, ARRIVED + {at} + column, AT32(c{r}));"
            ));
            text.close("}");
            text.close("END32");
            exchange.floats += cols;
            let index = if cols == 1 { "0" } else { "i" };
            exchange
                .ops
                .push(arrived(cols, format!("arrived[{at} + {index}]")));
            return;
        }
        let partial = self.partial + exchange.partial;
        let n = if kind.is_over_post() { rows } else { 1 };
        if kind.is_over_post() {
            text.open("LANES32");
            text.line("UNROLL");
            text.line(&format!(
                "for (int r = 0; r < {}; r++) if (r * 32 + l < {rows}) BASE[{partial} + warp * {rows} + r * 32 + l] = ATS32(a{r}, r);",
                tile.rows
            ));
            text.close("END32");
        } else {
            let all = if kind.is_max() { "MAX32" } else { "SUM32" };
            text.line(&format!("const float all{r} = {all}(a{r});"));
            text.line(&format!(
                "LANES32 if (l == 0) BASE[{partial} + warp] = all{r}; END32"
            ));
        }
        let parts = (0..warps).map(|w| format!("BASE[{partial} + {} + i]", w * n));
        let sum = combined(parts.collect()).unwrap_or_default();
        exchange.together.push(format!(
            "for (int i = tid; i < {n}; i += {}) {{ const float sum = {sum}; UNROLL for (int b = 0; b < {blocks}; b++) SEND(b, ARRIVED + {at} + blk * {n} + i, sum); }}",
            warps * 32
        ));
        exchange.partial += warps * n;
        exchange.floats += blocks * n;
        let index = if n == 1 { "0" } else { "i" };
        let parts = (0..blocks).map(|b| format!("arrived[{} + {index}]", at + b * n));
        let value = combined(parts.collect()).unwrap_or_default();
        exchange.ops.push(arrived(n, value));
    }
}

impl Kernels<'_> {
    /// Writes a group of sweeps with their exchange; returns what arrives, and whether a wait for it must follow. `beside` is code of the other warps,
    /// `after` of the warps that hold connections, once they have sent.
    pub(super) fn sweeps(
        &self,
        sweeps: &[&Sweep],
        writer: &Sweeps<'_>,
        (head, warps): (&[String], usize),
        [after, beside]: [&[String]; 2],
        text: &mut Text,
    ) -> (Vec<Op>, bool) {
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
        (exchange.ops, exchanges)
    }

    /// Adds a number from every block to an exchange in which some block would send nothing. Blocks wait for each other only
    /// by what they send: without it, the others would run ahead of such a block and write over what it still reads.
    fn token(&self, sweeps: &[&Sweep], exchange: &mut Exchange) -> Option<String> {
        let Shape { blocks, warps, .. } = *self.shape;
        let from_all = sweeps.iter().any(|sweep| {
            let before_last = (blocks - 1) * warps * self.tile(sweep.layout).columns;
            let over_pre = |root: &Root| root.kind.is_over_pre();
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
    pub(super) fn exchange_sizes(
        &self,
        groups: &[Vec<&Sweep>],
        way: Way,
        tiles: &Tiles,
    ) -> [usize; 2] {
        let writer = self.writer(way, tiles, 0);
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
}
