//! The names of places and functions, and instructions as text.

use crate::program::code::{
    Area, Element, Instr, Place, Product, Root, RootKind, RowOp, Source, Sweep,
};
use crate::program::cost::per_element;
use crate::program::ir::Program;

/// The memory that the code of a lane runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Back,
}

/// A writer of a program's terms.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub program: &'a Program,
    pub way: Way,
}

/// The name of a region from `letter` and its number, and of an element of it.
fn inside(letter: &str, k: usize, offset: usize) -> String {
    match offset {
        0 => format!("{letter}{k}"),
        _ => format!("{letter}{k}+{offset}"),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

impl Terms<'_> {
    /// An element of a memory.
    pub(crate) fn at(self, area: Area, at: usize) -> String {
        let region = |back: bool| {
            let (letter, regions) = match back {
                false => ("x", &self.program.lane),
                true => ("d", &self.program.adjoint),
            };
            regions.find(at).map_or_else(
                || format!("{letter}?{at}"),
                |k| inside(letter, k, at - regions.all[k].start),
            )
        };
        match area {
            Area::Lane => region(self.way == Way::Back),
            Area::Before => format!("before.{}", region(self.way == Way::Back)),
            Area::Record => format!("record.{}", region(false)),
            Area::RecordBefore => format!("record_before.{}", region(false)),
            Area::Shared => self.shared(at),
        }
    }

    fn shared(self, at: usize) -> String {
        let places = self.program.shared_places();
        let k = places.partition_point(|placed| placed.slot.at <= at);
        match k.checked_sub(1) {
            Some(k) => inside("s", k, at - places[k].slot.at),
            None => format!("s?{at}"),
        }
    }

    /// Gradient sums.
    pub(crate) fn sum(self, at: usize) -> String {
        let sums = &self.program.epilogue.sums;
        match sums.iter().position(|slot| slot.at == at) {
            Some(k) => format!("g{k}"),
            None => format!("g?{at}"),
        }
    }

    /// A scalar or a vector.
    pub(crate) fn place(self, place: Place) -> String {
        self.at(place.area, place.at)
    }

    /// An operand of `n` elements; a scalar is marked as one.
    fn operand(self, place: Place, n: usize) -> String {
        match place.stride {
            0 if n > 1 => format!("one {}", self.place(place)),
            _ => self.place(place),
        }
    }

    /// The text of an instruction that is not a sweep.
    pub(crate) fn instr(self, instr: &Instr) -> String {
        let lane = |at: usize| self.at(Area::Lane, at);
        match *instr {
            Instr::Element { f, to, operands, n } => {
                let operands = operands[..f.arity()].iter();
                let operands = list(operands.map(|place| self.operand(*place, n)));
                format!("{} = {}({operands}) [{n}]", lane(to), function(f))
            }
            Instr::Sum { to, a, n } => {
                format!("{} = sum({}) [{n}]", lane(to), self.operand(a, n))
            }
            Instr::Max { to, a, n } => {
                format!("{} = max({}) [{n}]", lane(to), self.operand(a, n))
            }
            Instr::Copy { to, a, n } => format!("{} = {} [{n}]", lane(to), self.operand(a, n)),
            Instr::Zero { to, n } => format!("{} = 0 [{n}]", lane(to)),
            Instr::Softmax { to, a, n } => {
                format!("{} = softmax({}) [{n}]", lane(to), self.operand(a, n))
            }
            Instr::Gather {
                to,
                a,
                indices,
                from,
                n,
            } => {
                let a = self.operand(a, from);
                format!("{} = gather{indices}({a}) [{n}]", lane(to))
            }
            Instr::Scatter {
                to,
                a,
                indices,
                from,
                n,
            } => {
                let a = self.operand(a, from);
                format!("{} = scatter{indices}({a}) [{n}]", lane(to))
            }
            Instr::MatVec {
                to,
                v,
                m,
                rows,
                cols,
                form,
            } => {
                let (_, ins) = form.sizes(rows, cols);
                let form = match form {
                    Product::ScaledRows => "by scaled rows",
                    Product::RowProducts => "by products of rows",
                };
                format!(
                    "{} = mat_vec({}, {}) [{rows},{cols}] {form}",
                    lane(to),
                    self.operand(v, ins),
                    self.at(Area::Shared, m)
                )
            }
            Instr::AddTo { sum, a, n } => {
                format!("{} += {} [{n}]", self.sum(sum), self.operand(a, n))
            }
            Instr::AddOuter {
                sum,
                a,
                b,
                rows,
                cols,
            } => format!(
                "{} += outer({}, {}) [{rows},{cols}]",
                self.sum(sum),
                self.operand(a, rows),
                self.operand(b, cols)
            ),
            Instr::KeepOuter {
                index,
                a,
                b,
                rows,
                cols,
            } => format!(
                "keep for outer {index}: {}, {} [{rows},{cols}]",
                self.operand(a, rows),
                self.operand(b, cols)
            ),
            Instr::Sweep(k) => format!("sweep {k}"),
        }
    }

    /// The first line of a sweep.
    pub(crate) fn heading(self, kind: &str, k: usize, sweep: &Sweep) -> String {
        let (operations, bytes) = per_element(sweep);
        format!(
            "{kind} {k} ({}) [{},{}]: {operations} operations, {bytes} bytes a connection",
            sweep.name, sweep.layout.rows, sweep.layout.cols
        )
    }

    /// The text of an operation of a sweep.
    pub(crate) fn op(self, op: &RowOp) -> String {
        let operands = op.operands[..op.f.arity()].iter();
        let operands = list(operands.map(|source| self.source(*source)));
        format!("t{} = {}({operands})", op.to, function(op.f))
    }

    fn source(self, source: Source) -> String {
        match source {
            Source::Temporary(k) => format!("t{k}"),
            Source::State(k) => format!("trace{k}"),
            Source::Adjoint(k) => format!("adjoint{k}"),
            Source::Matrix(area, at) => format!("matrix {}", self.at(area, at)),
            Source::Post(place) if place.stride == 0 => self.place(place),
            Source::Post(place) => format!("post {}", self.place(place)),
            Source::Pre(place) if place.stride == 0 => self.place(place),
            Source::Pre(place) => format!("pre {}", self.place(place)),
            Source::Gathered(gathered) => {
                format!("gather{}({})", gathered.indices, self.place(gathered.from))
            }
            Source::Number(bits) => f32::from_bits(bits).to_string(),
        }
    }

    /// The text of a root.
    pub(crate) fn root(self, root: &Root) -> String {
        let value = match root.times {
            Some(times) => format!("{} * {}", self.source(root.value), self.source(times)),
            None => self.source(root.value),
        };
        let to = |area: Area, at: usize| self.at(area, at);
        match root.kind {
            RootKind::SumPre(area, at) => format!("{} = sum over pre of {value}", to(area, at)),
            RootKind::MaxPre(area, at) => {
                format!("{} = largest over pre of {value}", to(area, at))
            }
            RootKind::SumPost(area, at) => format!("{} = sum over post of {value}", to(area, at)),
            RootKind::MaxPost(area, at) => {
                format!("{} = largest over post of {value}", to(area, at))
            }
            RootKind::SumBoth(area, at) => format!("{} = sum of {value}", to(area, at)),
            RootKind::MaxBoth(area, at) => format!("{} = largest of {value}", to(area, at)),
            RootKind::Gradient(at) => format!("{} += {value}", self.sum(at)),
            RootKind::State(k) => format!("trace{k} = {value}"),
            RootKind::Adjoint(k) => format!("adjoint{k} = {value}"),
        }
    }
}

fn function(f: Element) -> String {
    match f {
        Element::Unary(f) => f.mnemonic().to_owned(),
        Element::Binary(f) => f.mnemonic().to_owned(),
        Element::Select => "select".to_owned(),
        Element::Copy => "copy".to_owned(),
        Element::Clip(lo, hi) => format!("clip {lo}..{hi} "),
        Element::ClipMask(lo, hi, boundary) => format!("inside {lo}..{hi} {boundary:?} "),
        Element::MulAdd => "mul_add".to_owned(),
        Element::MulSub => "mul_sub".to_owned(),
        Element::NegMulAdd => "neg_mul_add".to_owned(),
        Element::PowerOfTwo => "power_of_two".to_owned(),
        Element::Gate => "gate".to_owned(),
    }
}
