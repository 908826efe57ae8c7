//! Vector code as phases: thread `i` handles element `i` of every vector. Instructions share a phase as long
//! as no thread needs a value that another thread of the phase writes.

use super::element::{at, expression};
use super::sweeps::Grid;
use super::text::Text;
use super::Threads;
use crate::program::code::{Area, Instr, Place, Product};
use crate::program::layout::{filled, Layout};
use std::collections::BTreeMap;

/// The names that vector code refers to.
pub(super) struct Names<'a> {
    /// The offsets of gradient sums among those of a lane.
    pub sums: &'a BTreeMap<usize, usize>,
    /// The threads of a block.
    pub threads: Threads,
}

/// A range of the lane's memory, with its distribution over threads.
#[derive(Clone, Copy)]
struct Range {
    at: usize,
    n: usize,
    /// True if thread `i` handles element `i`; otherwise every thread handles all of the range.
    own: bool,
}

impl Range {
    /// Returns true if accesses of different threads to these ranges may conflict.
    fn clashes(self, other: Range) -> bool {
        let apart = self.at + self.n <= other.at || other.at + other.n <= self.at;
        !(apart || self.own && other.own && self.at == other.at)
    }
}

/// An open phase.
#[derive(Default)]
struct Phase {
    lines: Vec<String>,
    read: Vec<Range>,
    written: Vec<Range>,
}

impl Phase {
    fn end(&mut self, text: &mut Text) {
        if self.lines.is_empty() {
            return;
        }
        text.open("PHASE");
        for line in self.lines.drain(..) {
            text.line(&line);
        }
        text.close("END_PHASE");
        self.read.clear();
        self.written.clear();
    }

    /// Adds a line with its reads and writes; ends the phase first if necessary.
    fn add(&mut self, line: String, read: &[Range], written: Option<Range>, text: &mut Text) {
        let clash = read
            .iter()
            .any(|r| self.written.iter().any(|w| r.clashes(*w)))
            || written.is_some_and(|w| {
                self.read
                    .iter()
                    .chain(&self.written)
                    .any(|other| w.clashes(*other))
            });
        if clash {
            self.end(text);
        }
        self.lines.push(line);
        self.read.extend(read);
        self.written.extend(written);
    }
}

/// The range of the lane's memory that reading `n` elements at a place touches.
fn reads(place: Place, n: usize) -> Option<Range> {
    let of_lane = place.area == Area::Lane;
    of_lane.then_some(match place.stride {
        0 => Range {
            at: place.at,
            n: 1,
            own: n == 1,
        },
        stride => Range {
            at: place.at,
            n: (n.max(1) - 1) * stride + 1,
            own: stride == 1,
        },
    })
}

fn writes(to: usize, n: usize) -> Range {
    Range {
        at: to,
        n,
        own: true,
    }
}

/// The floats of scratch memory that an instruction needs.
pub(super) fn scratch(instr: &Instr, threads: Threads) -> usize {
    match *instr {
        Instr::MatVec {
            rows,
            cols,
            form: Product::ScaledRows,
            ..
        } => {
            let grid = Grid::new(Layout { rows, cols }, threads);
            grid.per_panel * grid.panels * 16
        }
        _ => 0,
    }
}

/// Writes instructions in order; `sweep` writes the call of a sweep.
pub(super) fn instructions(
    instrs: &[Instr],
    names: &Names<'_>,
    text: &mut Text,
    sweep: impl Fn(usize, &mut Text),
) {
    let mut phase = Phase::default();
    for instr in instrs {
        match instr {
            Instr::Sweep(k) => {
                phase.end(text);
                sweep(*k, text);
            }
            Instr::MatVec { .. } => {
                phase.end(text);
                product(instr, names.threads, text);
            }
            Instr::Sum { .. } | Instr::Max { .. } | Instr::Softmax { .. } => {
                phase.end(text);
                whole(instr, text);
            }
            Instr::Gather { .. } | Instr::Scatter { .. } => {
                unreachable!("devices refuse sparse bundles (learn/device_block/plan.rs)")
            }
            Instr::Element { .. }
            | Instr::Copy { .. }
            | Instr::Zero { .. }
            | Instr::AddTo { .. }
            | Instr::AddOuter { .. }
            | Instr::KeepOuter { .. } => simple(instr, names, &mut phase, text),
        }
    }
    phase.end(text);
}

fn each(n: usize, body: &str) -> String {
    match n {
        1 => format!("if (tid == 0) {{ const int i = 0; {body} }}"),
        n => format!("for (int i = tid; i < {n}; i += THREADS) {body}"),
    }
}

/// Writes code in which thread `i` handles element `i`.
fn simple(instr: &Instr, names: &Names<'_>, phase: &mut Phase, text: &mut Text) {
    match *instr {
        Instr::Element { f, to, operands, n } => {
            let operands = &operands[..f.arity()];
            let values: Vec<String> = operands.iter().map(|p| at(*p, "i")).collect();
            let read: Vec<Range> = operands.iter().filter_map(|p| reads(*p, n)).collect();
            let body = format!("c.L[{to} + i] = {};", expression(f, &values));
            phase.add(each(n, &body), &read, Some(writes(to, n)), text);
        }
        Instr::Copy { to, a, n } => {
            let read: Vec<Range> = reads(a, n).into_iter().collect();
            let body = format!("c.L[{to} + i] = {};", at(a, "i"));
            phase.add(each(n, &body), &read, Some(writes(to, n)), text);
        }
        Instr::Zero { to, n } => {
            let body = format!("c.L[{to} + i] = 0.0f;");
            phase.add(each(n, &body), &[], Some(writes(to, n)), text);
        }
        Instr::AddTo { sum, a, n } => {
            let a = of_step(a);
            let read: Vec<Range> = reads(a, n).into_iter().collect();
            let body = format!("c.sums[{} + i] += {};", names.sums[&sum], at(a, "i"));
            phase.add(each(n, &body), &read, None, text);
        }
        Instr::AddOuter {
            sum,
            a,
            b,
            rows,
            cols,
        } => {
            let (a, b) = (of_step(a), of_step(b));
            let sides = reads(a, rows).into_iter().chain(reads(b, cols));
            let all = sides.map(|range| Range {
                own: false,
                ..range
            });
            let body = format!(
                "c.sums[{} + i] += {} * {};",
                names.sums[&sum],
                at(a, &format!("(i / {cols})")),
                at(b, &format!("(i % {cols})"))
            );
            phase.add(
                each(rows * cols, &body),
                &all.collect::<Vec<_>>(),
                None,
                text,
            );
        }
        Instr::KeepOuter {
            index,
            a,
            b,
            rows,
            cols,
        } => {
            for (k, (place, n)) in [(a, rows), (b, cols)].into_iter().enumerate() {
                let place = of_step(place);
                let read: Vec<Range> = reads(place, n).into_iter().collect();
                let side = ["outer_a", "outer_b"][k];
                let body = format!("{side}{index}(c)[i] = {};", at(place, "i"));
                phase.add(each(n, &body), &read, None, text);
            }
        }
        Instr::Sum { .. }
        | Instr::Max { .. }
        | Instr::Softmax { .. }
        | Instr::Gather { .. }
        | Instr::Scatter { .. }
        | Instr::MatVec { .. }
        | Instr::Sweep(_) => {}
    }
}

/// The place in the step's own memories of an operand of gradient sums.
pub(super) fn of_step(place: Place) -> Place {
    let area = match place.area {
        Area::Lane | Area::Before => Area::Lane,
        Area::Record | Area::RecordBefore => Area::Record,
        Area::Shared => Area::Shared,
    };
    Place { area, ..place }
}

/// Writes code that needs all of a vector, run by one group.
fn whole(instr: &Instr, text: &mut Text) {
    let (to, a, n, top) = match *instr {
        Instr::Sum { to, a, n } => (to, a, n, false),
        Instr::Max { to, a, n } | Instr::Softmax { to, a, n } => (to, a, n, true),
        _ => return,
    };
    let value = at(a, "i");
    text.open("GROUPS");
    text.open("if (g == 0) {");
    text.line("VAR16(part);");
    let (first, step, all) = if top {
        ("-INF", format!("f_larger(AT16(part), {value})"), "MAX16")
    } else {
        ("0.0f", format!("AT16(part) + {value}"), "SUM16")
    };
    text.line(&format!(
        "EACH16 AT16(part) = {first}; for (int i = k; i < {n}; i += 16) AT16(part) = {step}; END16"
    ));
    text.line(&format!("const float result = {all}(part);"));
    if matches!(instr, Instr::Softmax { .. }) {
        text.line("VAR16(weight);");
        text.open("EACH16");
        text.line("AT16(weight) = 0.0f;");
        text.open(&format!("for (int i = k; i < {n}; i += 16) {{"));
        text.line(&format!("const float e = expf({value} - result);"));
        text.line(&format!("c.L[{to} + i] = e;"));
        text.line("AT16(weight) += e;");
        text.close("}");
        text.close("END16");
        text.line("const float scale = 1.0f / SUM16(weight);");
        text.line(&format!(
            "EACH16 for (int i = k; i < {n}; i += 16) c.L[{to} + i] *= scale; END16"
        ));
    } else {
        text.line(&format!("FIRST16 c.L[{to}] = result;"));
    }
    text.close("}");
    text.close("END_GROUPS");
}

/// A product with a matrix of parameters.
fn product(instr: &Instr, threads: Threads, text: &mut Text) {
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
    text.open("GROUPS");
    match form {
        Product::ScaledRows => {
            let grid = Grid::new(Layout { rows, cols }, threads);
            let (per_panel, width) = (grid.per_panel, grid.panels * 16);
            grid.open(text);
            text.open("EACH16");
            text.line("float sum = 0.0f;");
            text.line(&format!(
                "for (int row = part; row < {rows}; row += {per_panel}) sum += {} * c.S[{m} + (panel * {rows} + row) * 16 + k];",
                at(v, "row")
            ));
            text.line(&format!(
                "c.scratch[part * {width} + panel * 16 + k] = sum;"
            ));
            text.close("END16");
            text.close("}");
            text.close("END_GROUPS");
            text.open("PHASE");
            text.open(&format!("for (int i = tid; i < {cols}; i += THREADS) {{"));
            text.line("float s = c.scratch[i];");
            text.line(&format!(
                "for (int p = 1; p < {per_panel}; p++) s += c.scratch[p * {width} + i];"
            ));
            text.line(&format!("c.L[{to} + i] = s;"));
            text.close("}");
            text.close("END_PHASE");
        }
        Product::RowProducts => {
            let stride = filled(cols);
            text.open(&format!(
                "for (int row = g; row < {rows}; row += {}) {{",
                threads.groups()
            ));
            text.line("VAR16(part);");
            text.line(&format!(
                "EACH16 AT16(part) = 0.0f; for (int i = k; i < {cols}; i += 16) AT16(part) += {} * c.S[{m} + row * {stride} + i]; END16",
                at(v, "i")
            ));
            text.line("const float result = SUM16(part);");
            text.line(&format!("FIRST16 c.L[{to} + row] = result;"));
            text.close("}");
            text.close("END_GROUPS");
        }
    }
}
