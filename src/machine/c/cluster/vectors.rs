//! Vector code of a cluster as units: thread `i` handles element `i`, and every thread computes what is one number. Code shares a
//! unit as long as no thread needs what another thread of the unit writes.

use super::super::element::{self, expression, number};
use super::super::text::Text;
use super::super::vectors::of_step;
use super::super::Product as OuterProduct;
use super::memory::Copied;
use super::ops::{Op, Work};
use crate::program::access::Access;
use crate::program::code::{Area, Instr, Place, Product};
use crate::program::layout::filled;
use std::collections::BTreeMap;

/// How a range was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
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

/// A unit under construction.
#[derive(Default)]
struct Unit {
    /// Code of whole warps.
    warps: Vec<String>,
    /// Code of every thread for single numbers.
    scalars: Vec<String>,
    /// Code for vectors, by their length.
    groups: Vec<(usize, Vec<String>)>,
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

fn letter(area: Area) -> &'static str {
    match area {
        Area::Lane => "L",
        Area::Before => "B",
        Area::Record => "R",
        Area::RecordBefore => "RB",
        Area::Shared => "S",
    }
}

/// A schedule of vector code.
struct Schedule<'a> {
    names: &'a Names<'a>,
    units: Vec<Unit>,
    producers: Vec<Producer>,
}

/// Writes vector code as units. `head` is written at the beginning of each, `tail` at the end of the last.
pub(super) fn units(
    ops: &[Op],
    names: &Names<'_>,
    head: &[String],
    tail: &[String],
    text: &mut Text,
) {
    let mut schedule = Schedule {
        names,
        units: Vec::new(),
        producers: Vec::new(),
    };
    for op in ops {
        schedule.add(op);
    }
    if schedule.units.is_empty() && !tail.is_empty() {
        schedule.units.push(Unit::default());
    }
    let last = schedule.units.len().saturating_sub(1);
    for (k, unit) in schedule.units.iter().enumerate() {
        text.open(&format!("UNIT({})", names.warps));
        head.iter().for_each(|line| text.line(line));
        unit.warps.iter().for_each(|line| text.line(line));
        text.open("LANES32");
        unit.scalars.iter().for_each(|line| text.line(line));
        for (n, lines) in &unit.groups {
            let threads = names.warps * 32;
            if *n <= threads {
                text.open(&format!("if (tid < {n}) {{"));
                text.line("const int i = tid;");
            } else {
                text.open(&format!("for (int i = tid; i < {n}; i += {threads}) {{"));
            }
            lines.iter().for_each(|line| text.line(line));
            text.close("}");
        }
        if k == last {
            tail.iter().for_each(|line| text.line(line));
        }
        text.close("END32");
        text.close("END_UNIT");
    }
}

impl Schedule<'_> {
    /// The first unit in which a range can be read: by the threads that made its elements if `own` is its length, by all
    /// if not.
    fn ready(&self, range: Access, own: Option<usize>) -> usize {
        let overlapping = self.producers.iter().filter(|p| p.range.meets(range));
        overlapping
            .map(|p| {
                let same = p.range.at == range.at && p.range.n == range.n;
                match p.made {
                    Made::Scalar if same => p.unit,
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

    fn unit(&mut self, k: usize) -> &mut Unit {
        while self.units.len() <= k {
            self.units.push(Unit::default());
        }
        &mut self.units[k]
    }

    /// The expression of element `i` of an operand, in a unit, in code for vectors of length `n`.
    fn operand(&self, place: Place, n: usize, unit: usize, index: &str) -> String {
        let range = Access::of(place, n);
        let name = |kind: &str| format!("{kind}{}{}", letter(place.area), place.at);
        match self.local(range, unit) {
            Some(Made::Scalar) if range.n == 1 => name("k"),
            Some(Made::Own) if place.stride == 1 && n > 1 => name("v"),
            _ => self.names.copied.at(place, index),
        }
    }

    fn group(&mut self, unit: usize, n: usize, line: String) {
        let groups = &mut self.unit(unit).groups;
        match groups.iter_mut().find(|(of, _)| *of == n) {
            Some((_, lines)) => lines.push(line),
            None => groups.push((n, vec![line])),
        }
    }

    fn made(&mut self, range: Access, unit: usize, made: Made) {
        self.producers.push(Producer { range, unit, made });
    }

    fn add(&mut self, op: &Op) {
        let (read, written) = op.accesses();
        match &op.work {
            Work::Given { n, value, .. } => {
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
            Work::Instr(instr) => self.instr(op, instr, &read, written),
        }
    }

    /// Adds a value of `n` elements, each by its own expression.
    fn element(&mut self, range: Access, n: usize, unit: usize, value: String) {
        let memory = element::memory(range.area);
        let (name, at) = (letter(range.area), range.at);
        if n == 1 {
            let scalars = &mut self.unit(unit).scalars;
            scalars.push(format!("const float k{name}{at} = {value};"));
            scalars.push(format!("if (tid == 0) {memory}[{at}] = k{name}{at};"));
            self.made(range, unit, Made::Scalar);
        } else {
            self.group(unit, n, format!("const float v{name}{at} = {value};"));
            self.group(unit, n, format!("{memory}[{at} + i] = v{name}{at};"));
            self.made(range, unit, Made::Own);
        }
    }

    fn instr(&mut self, op: &Op, instr: &Instr, read: &[Access], written: Option<Access>) {
        let latest = |this: &Self, own: Option<usize>| {
            read.iter().map(|r| this.ready(*r, own)).max().unwrap_or(0)
        };
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
                    format!("LANES32 AT32(w{name}) = {first}; for (int i = l; i < {n}; i += 32) AT32(w{name}) = {next}; END32"),
                    format!("const float k{name} = {all}(w{name});"),
                ]);
                unit_of
                    .scalars
                    .push(format!("if (tid == 0) {memory}[{at}] = k{name};"));
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
                self.group(unit, n, format!("c.sums[{to} + i] += {value};"));
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
                let line = format!(
                    "c.sums[{} + i] += {} * {};",
                    self.names.sums[&sum],
                    side(a, format!("(i / {cols})")),
                    side(b, format!("(i % {cols})"))
                );
                self.group(unit, rows * cols, line);
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
                let row = if op.before { "(c.row + 1)" } else { "c.row" };
                for (place, n, at) in [(a, rows, product.a), (b, cols, product.b)] {
                    let place = op.place(of_step(place));
                    let unit = self.ready(Access::of(place, n), Some(n));
                    let value = self.operand(place, n, unit, if n == 1 { "0" } else { "i" });
                    let line = format!(
                        "if (blk == {block}) c.outers[c.vectors * {at} + {row} * {n} + i] = {value};"
                    );
                    self.group(unit, n, line);
                }
            }
            Instr::Sweep(_) => {}
        }
    }

    /// Adds a product with a matrix of parameters.
    fn product(
        &mut self,
        v: Place,
        (m, rows, cols): (usize, usize, usize),
        form: Product,
        read: &[Access],
        written: Option<Access>,
    ) {
        let range = written.expect("it writes");
        let scalar = form == Product::ScaledRows && rows == 1;
        let unit = read.iter().map(|r| self.ready(*r, None)).max().unwrap_or(0);
        let copied = self.names.copied;
        match form {
            Product::ScaledRows => {
                let from = copied.parameters(m);
                if cols == 1 {
                    // One column is one number.
                    let terms: Vec<String> = (0..rows)
                        .map(|r| match scalar {
                            true => format!("{} * {from}]", self.operand(v, 1, unit, "0")),
                            false => {
                                format!("{} * {from} + {}]", copied.at(v, &r.to_string()), r * 16)
                            }
                        })
                        .collect();
                    self.element(range, 1, unit, terms.join(" + "));
                } else if scalar {
                    let v = self.operand(v, 1, unit, "0");
                    self.element(range, cols, unit, format!("{v} * {from} + i]"));
                } else {
                    let name = format!("s{}{}", letter(range.area), range.at);
                    let v = copied.at(v, "r");
                    self.group(unit, cols, format!("float {name} = 0.0f;"));
                    self.group(
                        unit,
                        cols,
                        format!(
                            "for (int r = 0; r < {rows}; r++) {name} += {v} * {from} + (i / 16 * {rows} + r) * 16 + i % 16];"
                        ),
                    );
                    self.element(range, cols, unit, name);
                }
            }
            Product::RowProducts => {
                let stride = filled(cols);
                let memory = element::memory(range.area);
                let (to, warps) = (range.at, self.names.warps);
                let (v, from) = (copied.at(v, "i"), copied.parameters(m));
                self.unit(unit).warps.extend([
                    format!("for (int j = warp; j < {rows}; j += {warps}) {{"),
                    "    VAR32(part);".to_owned(),
                    format!("    LANES32 for (int i = l; i < {cols}; i += 32) AT32(part) += {v} * {from} + j * {stride} + i]; END32"),
                    "    const float all = SUM32(part);".to_owned(),
                    format!("    LANES32 if (l == 0) {memory}[{to} + j] = all; END32"),
                    "}".to_owned(),
                ]);
                self.made(range, unit, Made::Memory);
            }
        }
    }
}
