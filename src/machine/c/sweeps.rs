//! Sweeps as C functions.
//!
//! A group of 16 threads handles the columns of one panel and a strided subset of its rows. Its reads are
//! then one stream, sums over pre stay in registers, and sums over post are sums of a group. A second phase
//! combines the results of the groups.

use super::element::{at, condition, expression, memory, number, opened, written};
use super::text::Text;
use super::Threads;
use crate::program::access::sources;
use crate::program::code::{Element, RootKind, RowOp, Source, Sweep};
use crate::program::extent::Extent;
use crate::program::layout::Layout;
use crate::program::masks::masks;
use std::collections::BTreeMap;

/// The arrangement of groups on a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// The number of panels in the block.
    pub panels: usize,
    /// The number of groups that share a panel.
    pub per_panel: usize,
    /// The number of groups.
    pub groups: usize,
}

impl Grid {
    pub(super) fn new(layout: Layout, threads: Threads) -> Grid {
        let panels = layout.panels();
        Grid {
            panels,
            per_panel: (threads.groups() / panels).clamp(1, layout.rows.max(1)),
            groups: threads.groups(),
        }
    }

    /// The loop over the panels of a group, left open; `panel` and `part` are defined in it.
    pub(super) fn open(self, text: &mut Text) {
        let Grid {
            panels,
            per_panel,
            groups,
        } = self;
        let units = panels * per_panel;
        text.open(&format!(
            "for (int unit = g; unit < {units}; unit += {groups}) {{"
        ));
        text.line(&format!(
            "const int panel = unit / {per_panel}, part = unit % {per_panel};"
        ));
    }
}

/// The position of a reduction's partial results.
struct Partial {
    kind: RootKind,
    /// The offset in the scratch memory.
    at: usize,
}

/// The floats of scratch memory that a sweep needs.
pub(super) fn scratch(sweep: &Sweep, threads: Threads) -> usize {
    let grid = Grid::new(sweep.layout, threads);
    let sizes = sweep
        .roots
        .iter()
        .map(|r| partial_size(r.kind, sweep.layout, grid));
    sizes.sum()
}

fn partial_size(kind: RootKind, layout: Layout, grid: Grid) -> usize {
    match kind {
        RootKind::SumPre(..) | RootKind::MaxPre(..) => grid.per_panel * grid.panels * 16,
        RootKind::SumPost(..) | RootKind::MaxPost(..) => grid.panels * layout.rows,
        RootKind::SumBoth(..) | RootKind::MaxBoth(..) => grid.per_panel * grid.panels,
        RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => 0,
    }
}

/// The function `name` for a sweep. `blocks` are the offsets of blocks of connections, `sums` those of gradient sums.
pub(super) fn function(
    name: &str,
    sweep: &Sweep,
    blocks: &[usize],
    sums: &BTreeMap<usize, usize>,
    threads: Threads,
    text: &mut Text,
) {
    let layout = sweep.layout;
    let grid = Grid::new(layout, threads);
    let (rows, cols) = (layout.rows, layout.cols);
    text.line(&format!("/* {} [{rows},{cols}] */", sweep.name));
    text.open(&format!("DEVICE void {name}(const Context c) {{"));
    let mut next = 0;
    let partials: Vec<Option<Partial>> = sweep
        .roots
        .iter()
        .map(|root| {
            let size = partial_size(root.kind, layout, grid);
            let at = next;
            next += size;
            (size > 0).then_some(Partial {
                kind: root.kind,
                at,
            })
        })
        .collect();
    text.open("GROUPS");
    grid.open(text);
    let posts = posts(sweep);
    for k in 0..posts.len() {
        text.line(&format!("VAR16(v{k});"));
    }
    // What is the same in all rows is computed before them.
    let extents = Extent::all(&sweep.ops);
    let is_fixed = |k: usize| matches!(extents[k], Extent::One | Extent::Column);
    let masks = masks(sweep, &extents);
    for op in sweep.ops.iter().filter(|op| is_fixed(op.to)) {
        text.line(&format!("VAR16(t{});", op.to));
    }
    for (r, partial) in partials.iter().enumerate() {
        if partial.as_ref().is_some_and(|p| !p.kind.is_over_post()) {
            text.line(&format!("VAR16(a{r});"));
        }
    }
    text.open("EACH16");
    for (k, source) in posts.iter().enumerate() {
        if let Source::Post(place) = source {
            text.line(&format!("AT16(v{k}) = {};", at(*place, "panel * 16 + k")));
        }
    }
    for op in sweep.ops.iter().filter(|op| is_fixed(op.to)) {
        let operands: Vec<String> = op.operands[..op.f.arity()]
            .iter()
            .map(|source| match source {
                Source::Temporary(k) => format!("AT16(t{k})"),
                Source::Number(bits) => number(f32::from_bits(*bits)),
                Source::Pre(place) => at(*place, "0"),
                other => posts
                    .iter()
                    .position(|post| post == other)
                    .map_or(String::new(), |k| format!("AT16(v{k})")),
            })
            .collect();
        text.line(&format!(
            "AT16(t{}) = {};",
            op.to,
            expression(op.f, &operands)
        ));
    }
    for (r, partial) in partials.iter().enumerate() {
        if partial
            .as_ref()
            .is_some_and(|p| p.kind.is_max() && !p.kind.is_over_post())
        {
            text.line(&format!("AT16(a{r}) = -INF;"));
        }
    }
    text.close("END16");
    text.open(&format!(
        "for (int row = part; row < {rows}; row += {}) {{",
        grid.per_panel
    ));
    for (r, partial) in partials.iter().enumerate() {
        if partial.as_ref().is_some_and(|p| p.kind.is_over_post()) {
            text.line(&format!("VAR16(b{r});"));
        }
    }
    text.open("EACH16");
    text.line(&format!("const int i = (panel * {rows} + row) * 16 + k;"));
    let names = loads(sweep, &posts, blocks, text);
    let name_of = |source: Source| match source {
        Source::Temporary(k) if is_fixed(k) => format!("AT16(t{k})"),
        Source::Temporary(k) => format!("t{k}"),
        Source::Number(bits) => number(f32::from_bits(bits)),
        other => names[&other].clone(),
    };
    for op in sweep.ops.iter().filter(|op| !is_fixed(op.to)) {
        let operands: Vec<String> = op.operands[..op.f.arity()]
            .iter()
            .map(|s| name_of(*s))
            .collect();
        let (kind, value) = operation(op, &operands, &masks);
        text.line(&format!("const {kind} t{} = {value};", op.to));
    }
    for (r, root) in sweep.roots.iter().enumerate() {
        let value = match root.times {
            Some(times) => format!("{} * {}", name_of(root.value), name_of(times)),
            None => name_of(root.value),
        };
        let inside = format!("panel * 16 + k < {cols}");
        text.line(&match root.kind {
            RootKind::State(b) => format!("c.out[{} + i] = {value};", blocks[b]),
            RootKind::Adjoint(b) => format!("c.adj[{} + i] = {value};", blocks[b]),
            RootKind::Gradient(sum) => format!("c.sums[{} + i] += {value};", sums[&sum]),
            RootKind::SumPre(..) => format!("AT16(a{r}) += {value};"),
            RootKind::MaxPre(..) => format!("AT16(a{r}) = f_larger(AT16(a{r}), {value});"),
            RootKind::SumBoth(..) => format!("AT16(a{r}) += {inside} ? {value} : 0.0f;"),
            RootKind::MaxBoth(..) => {
                format!("AT16(a{r}) = f_larger(AT16(a{r}), {inside} ? {value} : -INF);")
            }
            RootKind::SumPost(..) => format!("AT16(b{r}) = {inside} ? {value} : 0.0f;"),
            RootKind::MaxPost(..) => format!("AT16(b{r}) = {inside} ? {value} : -INF;"),
        });
    }
    text.close("END16");
    for (r, partial) in partials.iter().enumerate() {
        if let Some(Partial { kind, at }) = partial.as_ref().filter(|p| p.kind.is_over_post()) {
            let all = if kind.is_max() { "MAX16" } else { "SUM16" };
            text.line(&format!("const float s{r} = {all}(b{r});"));
            text.line(&format!(
                "FIRST16 c.scratch[{at} + panel * {rows} + row] = s{r};"
            ));
        }
    }
    text.close("}");
    for (r, partial) in partials.iter().enumerate() {
        match partial {
            Some(Partial {
                kind: RootKind::SumPre(..) | RootKind::MaxPre(..),
                at,
            }) => {
                let width = grid.panels * 16;
                text.line(&format!(
                    "EACH16 c.scratch[{at} + part * {width} + panel * 16 + k] = AT16(a{r}); END16"
                ));
            }
            Some(Partial {
                kind: kind @ (RootKind::SumBoth(..) | RootKind::MaxBoth(..)),
                at,
            }) => {
                let all = if kind.is_max() { "MAX16" } else { "SUM16" };
                text.line(&format!("const float s{r} = {all}(a{r});"));
                text.line(&format!("FIRST16 c.scratch[{at} + unit] = s{r};"));
            }
            _ => {}
        }
    }
    text.close("}");
    text.close("END_GROUPS");
    if partials.iter().any(Option::is_some) {
        text.open("PHASE");
        for partial in partials.iter().flatten() {
            together(partial, layout, grid, text);
        }
        text.close("END_PHASE");
    }
    text.close("}");
}

/// The C type and the expression of an operation, where `masks` says which temporaries are conditions.
pub(super) fn operation(op: &RowOp, operands: &[String], masks: &[bool]) -> (&'static str, String) {
    let is_mask = |k: usize| matches!(op.operands[k], Source::Temporary(t) if masks[t]);
    let opens = match op.f {
        Element::Gate => is_mask(1),
        Element::Select => is_mask(0),
        _ => false,
    };
    if masks[op.to] {
        ("bool", condition(op.f, operands, [is_mask(0), is_mask(1)]))
    } else if opens {
        ("float", opened(op.f, operands))
    } else {
        ("float", expression(op.f, operands))
    }
}

/// Combines the partial results of the groups.
fn together(partial: &Partial, layout: Layout, grid: Grid, text: &mut Text) {
    let at = partial.at;
    let (count, parts, stride, area, to) = match partial.kind {
        RootKind::SumPre(area, to) | RootKind::MaxPre(area, to) => {
            (layout.cols, grid.per_panel, grid.panels * 16, area, to)
        }
        RootKind::SumPost(area, to) | RootKind::MaxPost(area, to) => {
            (layout.rows, grid.panels, layout.rows, area, to)
        }
        RootKind::SumBoth(area, to) | RootKind::MaxBoth(area, to) => {
            (1, grid.per_panel * grid.panels, 1, area, to)
        }
        RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => return,
    };
    let add = if partial.kind.is_max() {
        format!("f_larger(s, c.scratch[{at} + p * {stride} + i])")
    } else {
        format!("s + c.scratch[{at} + p * {stride} + i]")
    };
    text.open(&format!("for (int i = tid; i < {count}; i += THREADS) {{"));
    text.line(&format!("float s = c.scratch[{at} + i];"));
    text.line(&format!("for (int p = 1; p < {parts}; p++) s = {add};"));
    text.line(&format!("{}[{to} + i] = s;", written(area)));
    text.close("}");
}

/// The vectors over post neurons, read once per group.
fn posts(sweep: &Sweep) -> Vec<Source> {
    let mut out = Vec::new();
    for source in sources(sweep) {
        if matches!(source, Source::Post(_)) && !out.contains(&source) {
            out.push(source);
        }
    }
    out
}

/// Writes the loads of a row, all before anything of the row is written; returns the name of each operand.
fn loads(
    sweep: &Sweep,
    posts: &[Source],
    blocks: &[usize],
    text: &mut Text,
) -> BTreeMap<Source, String> {
    let mut names = BTreeMap::new();
    for (k, source) in posts.iter().enumerate() {
        names.insert(*source, format!("AT16(v{k})"));
    }
    for source in sources(sweep) {
        if names.contains_key(&source) {
            continue;
        }
        let value = match source {
            Source::Temporary(_) | Source::Number(_) | Source::Post(_) => continue,
            Source::Gathered(_) => {
                unreachable!("devices refuse sparse bundles (learn/device_block/plan.rs)")
            }
            Source::State(b) => format!("c.in[{} + i]", blocks[b]),
            Source::Adjoint(b) => format!("c.adj[{} + i]", blocks[b]),
            Source::Matrix(area, offset) => format!("{}[{offset} + i]", memory(area)),
            Source::Pre(place) => at(place, "row"),
        };
        let name = format!("x{}", names.len());
        text.line(&format!("const float {name} = {value};"));
        names.insert(source, name);
    }
    names
}
