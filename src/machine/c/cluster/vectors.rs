//! Vector code of a cluster as units: thread `i` handles element `i`, and every thread computes what is one number. Code shares a
//! unit as long as no thread needs what another thread of the unit writes.

use super::super::element::{self, expression, number};
use super::super::text::Text;
use super::super::vectors::of_step;
use super::super::Product as OuterProduct;
use super::memory::Copied;
use super::ops::{Op, Work};
use super::unit::{each_of_warp, Group, Unit};
use crate::program::access::Access;
use crate::program::code::{Area, Instr, Place};
use std::collections::BTreeMap;

/// How a range was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Element `i` by thread `i`.
    Own,
    /// One number, known to every thread of the unit.
    Scalar,
    /// Visible to others in the next unit only.
    Memory,
}

struct Producer {
    range: Access,
    unit: usize,
    made: Made,
}

/// The names that vector code refers to.
pub(super) struct Names<'a> {
    pub copied: &'a Copied,
    /// The offsets of a lane's vector sums in shared memory, by their offset in all sums.
    pub sums: &'a BTreeMap<usize, usize>,
    pub products: &'a [OuterProduct],
    /// The number of blocks of a cluster.
    pub blocks: usize,
    /// The warps of a block.
    pub warps: usize,
}

pub(super) fn letter(area: Area) -> &'static str {
    match area {
        Area::Lane => "L",
        Area::Before => "B",
        Area::Record => "R",
        Area::RecordBefore => "RB",
        Area::Shared => "S",
    }
}

/// The row of an operation's step among those of all lanes.
fn row_of(op: &Op) -> &'static str {
    match op.before {
        true => "(c.row + 1)",
        false => "c.row",
    }
}

/// A schedule of vector code.
pub(super) struct Schedule<'a> {
    pub names: &'a Names<'a>,
    units: Vec<Unit>,
    producers: Vec<Producer>,
    /// The ranges that arrive, and those that the first unit computes from them.
    awaited: Vec<Access>,
    /// The part of a unit's code to which the present piece belongs: 1 if it needs what arrives.
    pub part: usize,
}

/// The end of the last unit of vector code.
pub(super) enum End<'a> {
    /// Some code, and a barrier.
    Barrier(&'a [String]),
    /// No barrier, since another follows.
    Open,
}

/// What surrounds vector code.
pub(super) struct Frame<'a> {
    /// The beginning of each unit.
    pub head: &'a [String],
    /// True if sums arrive, for which the first unit waits as late as it can.
    pub arrive: bool,
    pub end: End<'a>,
}

/// Writes vector code as units.
pub(super) fn units(ops: &[Op], names: &Names<'_>, frame: &Frame<'_>, text: &mut Text) {
    let Frame {
        head,
        arrive,
        ref end,
    } = *frame;
    let (tail, last_end) = match *end {
        End::Barrier(tail) => (tail, "END_UNIT"),
        End::Open => (&[][..], "END_PART"),
    };
    let mut schedule = Schedule {
        names,
        units: Vec::new(),
        producers: Vec::new(),
        awaited: Vec::new(),
        part: 0,
    };
    for op in ops {
        schedule.add(op);
    }
    if schedule.units.is_empty() && (arrive || !tail.is_empty()) {
        schedule.units.push(Unit::default());
    }
    let last = schedule.units.len().saturating_sub(1);
    for (k, unit) in schedule.units.iter().enumerate() {
        text.open(&format!("UNIT({})", names.warps));
        head.iter().for_each(|line| text.line(line));
        unit.warps.iter().for_each(|line| text.line(line));
        text.open("LANES32");
        unit.write(names.warps * 32, arrive && k == 0, text);
        if k == last {
            tail.iter().for_each(|line| text.line(line));
        }
        text.close("END32");
        text.close(if k == last { last_end } else { "END_UNIT" });
    }
}

impl Schedule<'_> {
    /// The first unit in which a range can be read: each element by its own thread if `own` is its length, by all if not.
    pub(super) fn ready(&self, range: Access, own: Option<usize>) -> usize {
        let overlapping = self.producers.iter().filter(|p| p.range.meets(range));
        overlapping
            .map(|p| {
                let same = p.range.at == range.at && p.range.n == range.n;
                match p.made {
                    Made::Scalar if same || own == Some(range.n) => p.unit,
                    Made::Own if same && own == Some(range.n) => p.unit,
                    _ => p.unit + 1,
                }
            })
            .max()
            .unwrap_or(0)
    }

    /// The producer of exactly this range in a unit.
    fn local(&self, range: Access, unit: usize) -> Option<Made> {
        let found = self
            .producers
            .iter()
            .rfind(|p| p.unit == unit && p.range == range);
        found.map(|p| p.made)
    }

    pub(super) fn unit(&mut self, k: usize) -> &mut Unit {
        while self.units.len() <= k {
            self.units.push(Unit::default());
        }
        &mut self.units[k]
    }

    /// The expression of element `i` of an operand, in a unit, in code for vectors of length `n`.
    pub(super) fn operand(&self, place: Place, n: usize, unit: usize, index: &str) -> String {
        let range = Access::of(place, n);
        let name = |kind: &str| format!("{kind}{}{}", letter(place.area), place.at);
        match self.local(range, unit) {
            Some(Made::Scalar) if range.n == 1 => name("k"),
            Some(Made::Own) if place.stride == 1 && n > 1 => name("v"),
            _ => self.with_scalars(range, unit, self.names.copied.at(place, index)),
        }
    }

    /// Element `i` of a range in memory, of which some elements are numbers that the unit made.
    fn with_scalars(&self, range: Access, unit: usize, memory: String) -> String {
        let of_unit = self.producers.iter().filter(|p| p.unit == unit);
        let inside = of_unit.filter(|p| p.made == Made::Scalar && p.range.meets(range));
        inside.fold(memory, |other, p| {
            let (name, at) = (letter(range.area), p.range.at);
            format!("(i == {} ? k{name}{at} : {other})", at - range.at)
        })
    }

    pub(super) fn group(&mut self, unit: usize, n: usize) -> &mut Group {
        self.unit(unit).group(n)
    }

    pub(super) fn made(&mut self, range: Access, unit: usize, made: Made) {
        self.producers.push(Producer { range, unit, made });
    }

    /// The first unit in which a range is in memory.
    pub(super) fn in_memory(&self, range: Access) -> usize {
        let overlapping = self.producers.iter().filter(|p| p.range.meets(range));
        overlapping.map(|p| p.unit + 1).max().unwrap_or(0)
    }

    fn add(&mut self, op: &Op) {
        let (read, written) = op.accesses();
        let arrives = matches!(op.work, Work::Arrived { .. });
        let needs = |range: &Access| self.awaited.iter().any(|awaited| awaited.meets(*range));
        self.part = usize::from(arrives || read.iter().any(needs));
        if self.part == 1 {
            self.awaited.extend(written);
        }
        match &op.work {
            Work::Given { n, value, .. } | Work::Arrived { n, value, .. } => {
                let range = written.expect("it writes");
                self.element(range, *n, 0, value.clone());
            }
            Work::Move { from, n, .. } => {
                let range = written.expect("it writes");
                let unit = read.iter().map(|r| self.ready(*r, Some(*n)));
                let unit = unit.max().unwrap_or(0);
                let index = if *n == 1 { "0" } else { "i" };
                let value = self.operand(*from, *n, unit, index);
                self.element(range, *n, unit, value);
            }
            Work::InputAdjoint { from, n, to } => {
                let unit = read.iter().map(|r| self.ready(*r, Some(*n)));
                let unit = unit.max().unwrap_or(0);
                let index = if *n == 1 { "0" } else { "i" };
                let value = self.operand(op.place(*from), *n, unit, index);
                let block = to % self.names.blocks;
                let row = row_of(op);
                let name = format!("j{to}{}", if op.before { "B" } else { "" });
                let part = self.part;
                let group = self.group(unit, *n);
                group.value(part, &name, &value);
                group.writes.push(format!(
                    "if (blk == {block}) ADD_TO(a.input_adjoints + (c.vectors * {to} + {row} * {n} + i), {name});"
                ));
            }
            Work::Instr(instr) => self.instr(op, instr, &read, written),
        }
    }

    /// Adds a value of `n` elements, each by its own expression.
    pub(super) fn element(&mut self, range: Access, n: usize, unit: usize, value: String) {
        let memory = element::memory(range.area);
        let (name, at, part) = (letter(range.area), range.at, self.part);
        if n == 1 {
            let to = self.unit(unit);
            to.scalars[part].push(format!("const float k{name}{at} = {value};"));
            to.scalar_writes
                .push(format!("{memory}[{at}] = k{name}{at};"));
            self.made(range, unit, Made::Scalar);
        } else {
            let group = self.group(unit, n);
            group.value(part, &format!("v{name}{at}"), &value);
            group
                .writes
                .push(format!("{memory}[{at} + i] = v{name}{at};"));
            self.made(range, unit, Made::Own);
        }
    }

    fn instr(&mut self, op: &Op, instr: &Instr, read: &[Access], written: Option<Access>) {
        let latest = |this: &Self, own: Option<usize>| {
            let units = read.iter().map(|r| match own {
                Some(_) => this.ready(*r, own),
                None => this.in_memory(*r),
            });
            units.max().unwrap_or(0)
        };
        let part = self.part;
        match *instr {
            Instr::Element { f, operands, n, .. } => {
                let unit = latest(self, Some(n));
                let index = if n == 1 { "0" } else { "i" };
                let values: Vec<String> = operands[..f.arity()]
                    .iter()
                    .map(|place| self.operand(op.place(*place), n, unit, index))
                    .collect();
                self.element(written.expect("it writes"), n, unit, expression(f, &values));
            }
            Instr::Copy { a, n, .. } => {
                let unit = latest(self, Some(n));
                let index = if n == 1 { "0" } else { "i" };
                let value = self.operand(op.place(a), n, unit, index);
                self.element(written.expect("it writes"), n, unit, value);
            }
            Instr::Zero { n, .. } => {
                self.element(written.expect("it writes"), n, 0, number(0.0));
            }
            Instr::Sum { a, n: 1, .. } | Instr::Max { a, n: 1, .. } => {
                let unit = latest(self, Some(1));
                let value = self.operand(op.place(a), 1, unit, "0");
                self.element(written.expect("it writes"), 1, unit, value);
            }
            Instr::Sum { a, n, .. } | Instr::Max { a, n, .. } => {
                let top = matches!(instr, Instr::Max { .. });
                let unit = latest(self, None);
                let value = self.names.copied.at(op.place(a), "i");
                let range = written.expect("it writes");
                let name = format!("{}{}", letter(range.area), range.at);
                let memory = element::memory(range.area);
                let at = range.at;
                let (first, next, all) = match top {
                    true => ("-INF", format!("f_larger(AT32(w{name}), {value})"), "MAX32"),
                    false => ("0.0f", format!("AT32(w{name}) + {value}"), "SUM32"),
                };
                let unit_of = self.unit(unit);
                unit_of.warps.extend([
                    format!("VAR32(w{name});"),
                    format!("LANES32 AT32(w{name}) = {first}; END32"),
                    each_of_warp(n, &format!("AT32(w{name}) = {next};")),
                    format!("const float k{name} = {all}(w{name});"),
                ]);
                unit_of
                    .scalar_writes
                    .push(format!("{memory}[{at}] = k{name};"));
                self.made(range, unit, Made::Scalar);
            }
            Instr::Softmax { a, n, .. } => {
                let unit = latest(self, None);
                let value = self.names.copied.at(op.place(a), "i");
                let range = written.expect("it writes");
                let memory = element::memory(range.area);
                let at = range.at;
                self.unit(unit).warps.extend([
                    "if (warp == 0) {".to_owned(),
                    "    VAR32(top); VAR32(weight);".to_owned(),
                    format!("    LANES32 AT32(top) = -INF; for (int i = l; i < {n}; i += 32) AT32(top) = f_larger(AT32(top), {value}); END32"),
                    "    const float largest = MAX32(top);".to_owned(),
                    format!("    LANES32 for (int i = l; i < {n}; i += 32) {{ const float e = expf({value} - largest); {memory}[{at} + i] = e; AT32(weight) += e; }} END32"),
                    "    const float scale = 1.0f / SUM32(weight);".to_owned(),
                    format!("    LANES32 for (int i = l; i < {n}; i += 32) {memory}[{at} + i] *= scale; END32"),
                    "}".to_owned(),
                ]);
                self.made(range, unit, Made::Memory);
            }
            Instr::MatVec {
                v,
                m,
                rows,
                cols,
                form,
                ..
            } => self.product(op.place(v), (m, rows, cols), form, read, written),
            Instr::AddTo { sum, a, n } => {
                let place = op.place(of_step(a));
                let unit = latest(self, Some(n));
                let value = self.operand(place, n, unit, if n == 1 { "0" } else { "i" });
                let to = self.names.sums[&sum];
                self.group(unit, n).add(part, to, &value);
            }
            Instr::AddOuter {
                sum,
                a,
                b,
                rows,
                cols,
            } => {
                let unit = latest(self, None);
                let side = |place: Place, index: String| {
                    self.names.copied.at(op.place(of_step(place)), &index)
                };
                let value = format!(
                    "{} * {}",
                    side(a, format!("(i / {cols})")),
                    side(b, format!("(i % {cols})"))
                );
                let to = self.names.sums[&sum];
                self.group(unit, rows * cols).add(part, to, &value);
            }
            Instr::KeepOuter {
                index,
                a,
                b,
                rows,
                cols,
            } => {
                let product = self.names.products[index];
                let block = index % self.names.blocks;
                let row = row_of(op);
                for (place, n, at) in [(a, rows, product.a), (b, cols, product.b)] {
                    let place = op.place(of_step(place));
                    let unit = self.ready(Access::of(place, n), Some(n));
                    let value = self.operand(place, n, unit, if n == 1 { "0" } else { "i" });
                    let name = format!("o{at}");
                    let group = self.group(unit, n);
                    group.value(part, &name, &value);
                    group.writes.push(format!(
                        "if (blk == {block}) c.outers[c.vectors * {at} + {row} * {n} + i] = {name};"
                    ));
                }
            }
            // Devices refuse sparse bundles (learn/device_block/plan.rs).
            Instr::Gather { .. } | Instr::Scatter { .. } | Instr::Sweep(_) => {}
        }
    }
}
