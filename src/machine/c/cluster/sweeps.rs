//! Sweeps of a cluster: each warp goes over the connections of its tile, and their sums go to all blocks.

use super::super::element::number;
use super::super::sweeps::operation;
use super::super::text::Text;
use super::exchange::Exchange;
use super::memory::Copied;
use super::plan::{Shape, Tile};
use crate::program::access::sources;
use crate::program::code::{RootKind, RowOp, Source, Sweep};
use crate::program::extent::Extent;
use crate::program::masks::masks;
use std::collections::BTreeMap;

/// The direction of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Forward,
    Backward,
}

/// The place of a value that a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Registers,
    /// Shared memory, from this float on.
    Shared(usize),
}

/// The tiles of a kernel, by what they hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Tiles {
    pub matrices: BTreeMap<usize, Hold>,
    pub sums: BTreeMap<usize, Hold>,
    /// The shared memory to which the traces of a step are fetched, by block of connections.
    pub fetched: BTreeMap<usize, usize>,
}

/// What sweeps are written with.
pub(super) struct Sweeps<'a> {
    pub way: Way,
    pub tiles: &'a Tiles,
    pub copied: &'a Copied,
    pub shape: &'a Shape,
    /// The first float of partial sums in shared memory.
    pub partial: usize,
}

/// A value of a tile, at position `q` of a thread.
pub(super) fn of_tile(hold: Hold, name: &str, threads: usize, q: &str) -> String {
    match hold {
        Hold::Registers => format!("OF_TILE({name}, {q})"),
        Hold::Shared(at) => format!("BASE[{at} + ({q}) * {threads} + tid]"),
    }
}

fn unrolled(loop_: &str, text: &mut Text) {
    text.line("UNROLL");
    text.open(loop_);
}

impl Sweeps<'_> {
    /// Writes a sweep for the warps that hold connections, and adds what it sends to an exchange.
    pub(super) fn write(&self, sweep: &Sweep, exchange: &mut Exchange, text: &mut Text) {
        let tile = self.shape.tile(sweep.layout);
        let Tile {
            layout,
            rows: each_rows,
            columns,
        } = tile;
        let (rows, cols) = (layout.rows, layout.cols);
        let sums = tile.sums();
        let extents = Extent::all(&sweep.ops);
        let masks = masks(sweep, &extents);
        let threads = self.shape.threads();
        text.line(&format!("/* {} [{rows},{cols}] */", sweep.name));
        text.open("{");
        text.line(&format!(
            "const int first = (blk * {} + warp) * {columns};",
            self.shape.warps
        ));
        for (r, root) in sweep.roots.iter().enumerate() {
            if root.kind.is_over_pre() {
                text.line(&format!("VARS32(a{r}, {sums});"));
            } else if root.kind.is_over_post() {
                text.line(&format!("VARS32(a{r}, {each_rows});"));
            } else if root.kind.is_over_both() {
                text.line(&format!("VAR32(a{r});"));
            }
        }
        text.open("LANES32");
        for (r, root) in sweep.roots.iter().enumerate() {
            let first = if root.kind.is_max() { "-INF" } else { "0.0f" };
            let n = match root.kind {
                kind if kind.is_over_pre() => sums,
                kind if kind.is_over_post() => each_rows,
                kind if kind.is_over_both() => {
                    text.line(&format!("AT32(a{r}) = {first};"));
                    continue;
                }
                _ => continue,
            };
            text.line("UNROLL");
            text.line(&format!(
                "for (int k = 0; k < {n}; k++) ATS32(a{r}, k) = {first};"
            ));
        }
        let whole_rows = rows.is_multiple_of(32);
        let whole_columns = cols.is_multiple_of(self.shape.blocks * self.shape.warps * columns);
        // The last row of a lane may be one too many.
        if !whole_rows {
            text.line(&format!(
                "const bool inside = {} + l < {rows};",
                (each_rows - 1) * 32
            ));
        }
        let row_inside = if whole_rows {
            "true".to_owned()
        } else {
            format!("(r < {} || inside)", each_rows - 1)
        };

        // Operands that are the same for a row, or everywhere.
        let mut names: BTreeMap<Source, String> = BTreeMap::new();
        let mut posts: Vec<(Source, String)> = Vec::new();
        for source in sources(sweep) {
            if names.contains_key(&source) {
                continue;
            }
            let k = names.len();
            let name = match source {
                Source::Pre(place) | Source::Post(place) if place.stride == 0 => {
                    text.line(&format!(
                        "const float u{k} = {};",
                        self.copied.at(place, "0")
                    ));
                    format!("u{k}")
                }
                Source::Pre(place) => {
                    text.line(&format!("float x{k}[{each_rows}];"));
                    text.line("UNROLL");
                    text.line(&format!(
                        "for (int r = 0; r < {each_rows}; r++) x{k}[r] = {row_inside} ? {} : 0.0f;",
                        self.copied.at(place, "(r * 32 + l)")
                    ));
                    format!("x{k}[r]")
                }
                Source::Post(place) => {
                    posts.push((source, self.copied.at(place, "column")));
                    format!("y{k}")
                }
                Source::Gathered(_) => {
                    unreachable!("devices refuse sparse bundles (learn/device_block/plan.rs)")
                }
                Source::Number(bits) => number(f32::from_bits(bits)),
                Source::State(b) => match self.way {
                    Way::Forward => format!("z{b}"),
                    Way::Backward => format!("w{b}[r]"),
                },
                Source::Adjoint(b) => format!("g{b}"),
                Source::Matrix(_, at) => format!("n{at}"),
                Source::Temporary(t) => match extents[t] {
                    Extent::Row => format!("t{t}[r]"),
                    Extent::One | Extent::Column | Extent::Connection => format!("t{t}"),
                },
            };
            names.insert(source, name);
        }
        let name_of = |source: Source| match source {
            Source::Temporary(t) if extents[t] == Extent::Row => format!("t{t}[r]"),
            Source::Temporary(t) => format!("t{t}"),
            other => names[&other].clone(),
        };
        let value_of = |op: &RowOp| {
            let operands: Vec<String> = op.operands[..op.f.arity()]
                .iter()
                .map(|s| name_of(*s))
                .collect();
            operation(op, &operands, &masks)
        };
        let extents = &extents;
        let of_extent =
            move |extent: Extent| sweep.ops.iter().filter(move |op| extents[op.to] == extent);
        for op in of_extent(Extent::One) {
            let (kind, value) = value_of(op);
            text.line(&format!("const {kind} t{} = {value};", op.to));
        }
        for op in of_extent(Extent::Row) {
            let (kind, value) = value_of(op);
            text.line(&format!("{kind} t{}[{each_rows}];", op.to));
            text.line("UNROLL");
            text.line(&format!(
                "for (int r = 0; r < {each_rows}; r++) t{}[r] = {value};",
                op.to
            ));
        }
        unrolled(&format!("for (int k = 0; k < {columns}; k++) {{"), text);
        let has = if whole_columns {
            text.line("const int column = first + k;");
            "true".to_owned()
        } else {
            text.line("const int column = first + k;");
            text.line(&format!("const bool exists = column < {cols};"));
            "exists".to_owned()
        };
        for (source, value) in &posts {
            text.line(&format!(
                "const float {} = {has} ? {value} : 0.0f;",
                names[source]
            ));
        }
        for op in of_extent(Extent::Column) {
            let (kind, value) = value_of(op);
            text.line(&format!("const {kind} t{} = {value};", op.to));
        }
        let states: Vec<usize> = names
            .keys()
            .filter_map(|source| match source {
                Source::State(b) => Some(*b),
                _ => None,
            })
            .collect();
        if self.way == Way::Backward {
            let padded = tile.padded_rows();
            for b in &states {
                let from = self.tiles.fetched[b];
                text.line(&format!("float w{b}[{padded}];"));
                text.line("UNROLL");
                text.line(&format!(
                    "for (int r = 0; r < {}; r++) take4(w{b} + 4 * r, BASE + {from} + ((k * {} + r) * {threads} + tid) * 4);",
                    padded / 4,
                    padded / 4
                ));
            }
        }
        unrolled(&format!("for (int r = 0; r < {each_rows}; r++) {{"), text);
        let q = format!("k * {each_rows} + r");
        for (source, name) in &names {
            match source {
                Source::State(b) if self.way == Way::Forward => {
                    text.line(&format!("const float {name} = OF_TILE(p{b}, {q});"));
                }
                Source::Adjoint(b) => {
                    text.line(&format!("const float {name} = OF_TILE(d{b}, {q});"));
                }
                Source::Matrix(_, at) => {
                    let value = of_tile(self.tiles.matrices[at], &format!("m{at}"), threads, &q);
                    text.line(&format!("const float {name} = {value};"));
                }
                _ => {}
            }
        }
        for op in of_extent(Extent::Connection) {
            let (kind, value) = value_of(op);
            text.line(&format!("const {kind} t{} = {value};", op.to));
        }
        for (r, root) in sweep.roots.iter().enumerate() {
            let value = match root.times {
                Some(times) => format!("{} * {}", name_of(root.value), name_of(times)),
                None => name_of(root.value),
            };
            let masked = |only_rows: bool, outside: &str| {
                let mut conditions = Vec::new();
                if !whole_rows {
                    conditions.push(row_inside.clone());
                }
                if !whole_columns && !only_rows {
                    conditions.push(has.clone());
                }
                match conditions.is_empty() {
                    true => value.clone(),
                    false => format!("({} ? {value} : {outside})", conditions.join(" && ")),
                }
            };
            let top = root.kind.is_max();
            let outside = if top { "-INF" } else { "0.0f" };
            let add = |to: String, value: String| match top {
                true => format!("{to} = f_larger({to}, {value});"),
                false => format!("{to} += {value};"),
            };
            text.line(&match root.kind {
                RootKind::State(b) => format!("OF_TILE(p{b}, {q}) = {value};"),
                RootKind::Adjoint(b) => format!("OF_TILE(d{b}, {q}) = {value};"),
                RootKind::Gradient(sum) => {
                    let to = of_tile(self.tiles.sums[&sum], &format!("s{sum}"), threads, &q);
                    format!("{to} += {value};")
                }
                kind if kind.is_over_pre() => add(format!("ATS32(a{r}, k)"), masked(true, outside)),
                kind if kind.is_over_post() => {
                    add(format!("ATS32(a{r}, r)"), masked(false, outside))
                }
                _ => add(format!("AT32(a{r})"), masked(false, outside)),
            });
        }
        text.close("}");
        text.close("}");
        text.close("END32");
        for (r, root) in sweep.roots.iter().enumerate() {
            self.result(r, root.kind, tile, exchange, text);
        }
        text.close("}");
    }
}
