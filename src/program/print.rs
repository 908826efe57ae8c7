//! A lane program as text, for `bpmc compile --emit kernels`.

use super::code::{Area, Element, Instr, Place, Product, Root, RootKind, Source, Sweep};
use crate::engine::fused::compiled::Fused;
use crate::machine::jit::Machine;
use crate::machine::profile::per_element;
use std::fmt::Write;

impl Fused {
    /// The program as text: the instructions of a step forward and back in their order, and every sweep with what it
    /// computes per connection, its operations and its bytes per connection.
    pub fn listing(&self) -> String {
        let mut out = Text(String::new());
        out.line(&format!(
            "a lane: {} elements forward, {} of them kept of every step; {} back",
            self.lane_size, self.record_size, self.adjoint_size
        ));
        out.line("\nstep forward");
        let (ahead, machines) = (&self.ahead, &self.machines);
        out.instrs(&ahead.instrs, |k| {
            format!(
                "{}{}",
                title(&ahead.sweeps[k], k),
                ahead.merged[k].map_or(String::new(), |m| format!(
                    ", with the pending update {}",
                    title(&ahead.sweeps[m], m)
                ))
            )
        });
        out.sweeps(&ahead.sweeps, &machines.ahead);
        out.line("\nreplay");
        out.sweeps(&ahead.replay, &machines.replay);
        out.line("\nstep back");
        let back = &self.back;
        let name = |k: usize| title(&back.sweeps[k], k);
        out.instrs(&back.early, name);
        for opening in &back.opening {
            out.line(&format!(
                "  {}, or without a later step {}",
                name(opening.merged),
                name(opening.alone)
            ));
        }
        if !back.late.is_empty() {
            out.line("  of the later step:");
            out.instrs(&back.late, name);
            out.line("  of this step:");
        }
        out.instrs(&back.main, name);
        for k in &back.closing {
            out.line(&format!("  after the first step: {}", name(*k)));
        }
        out.sweeps(&back.sweeps, &machines.back);
        out.0
    }
}

fn title(sweep: &Sweep, k: usize) -> String {
    format!("sweep {k} ({})", sweep.name)
}

struct Text(String);

impl Text {
    fn line(&mut self, text: &str) {
        writeln!(self.0, "{text}").expect("writing to a string");
    }

    fn instrs(&mut self, instrs: &[Instr], sweep: impl Fn(usize) -> String) {
        for instr in instrs {
            let text = match instr {
                Instr::Element { f, to, operands, n } => format!(
                    "lane@{to} = {}({}) [{n}]",
                    function(*f),
                    list(operands[..f.arity()].iter().map(|p| place(*p)))
                ),
                Instr::Sum { to, a, n } => format!("lane@{to} = sum({}) [{n}]", place(*a)),
                Instr::Max { to, a, n } => format!("lane@{to} = max({}) [{n}]", place(*a)),
                Instr::Copy { to, a, n } => format!("lane@{to} = {} [{n}]", place(*a)),
                Instr::Zero { to, n } => format!("lane@{to} = 0 [{n}]"),
                Instr::Softmax { to, a, n } => format!("lane@{to} = softmax({}) [{n}]", place(*a)),
                Instr::MatVec {
                    to,
                    v,
                    m,
                    rows,
                    cols,
                    form,
                } => format!(
                    "lane@{to} = mat_vec({}, shared@{m}) [{rows},{cols}] {}",
                    place(*v),
                    match form {
                        Product::ScaledRows => "by scaled rows",
                        Product::RowProducts => "by products of rows",
                    }
                ),
                Instr::AddTo { sum, a, n } => format!("sums@{sum} += {} [{n}]", place(*a)),
                Instr::AddOuter {
                    sum,
                    a,
                    b,
                    rows,
                    cols,
                    ..
                } => format!(
                    "sums@{sum} += outer({}, {}) [{rows},{cols}]",
                    place(*a),
                    place(*b)
                ),
                Instr::Sweep(k) => sweep(*k),
            };
            self.line(&format!("  {text}"));
        }
    }

    fn sweeps(&mut self, sweeps: &[Sweep], machine: &Machine) {
        for (k, sweep) in sweeps.iter().enumerate() {
            let (operations, bytes) = per_element(sweep);
            self.line(&format!(
                "\n  {} [{},{}] {}: {operations} operations, {bytes} bytes a connection",
                title(sweep, k),
                sweep.layout.rows,
                sweep.layout.cols,
                machine.form(k)
            ));
            for op in &sweep.ops {
                self.line(&format!(
                    "    t{} = {}({})",
                    op.to,
                    function(op.f),
                    list(op.operands[..op.f.arity()].iter().map(|s| source(*s)))
                ));
            }
            for root in &sweep.roots {
                self.line(&format!("    {}", give(root)));
            }
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn area(area: Area) -> &'static str {
    match area {
        Area::Lane => "lane",
        Area::Before => "before",
        Area::Record => "record",
        Area::RecordBefore => "record_before",
        Area::Shared => "shared",
    }
}

fn place(place: Place) -> String {
    format!("{}@{}", area(place.area), place.at)
}

fn source(source: Source) -> String {
    match source {
        Source::Temporary(k) => format!("t{k}"),
        Source::State(k) => format!("trace{k}"),
        Source::Adjoint(k) => format!("adjoint{k}"),
        Source::Matrix(of, at) => format!("matrix {}@{at}", area(of)),
        Source::Post(p) if p.stride == 0 => place(p),
        Source::Post(p) => format!("post {}", place(p)),
        Source::Pre(p) => format!("pre {}", place(p)),
        Source::Number(bits) => format!("{}", f32::from_bits(bits)),
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
        Element::Keep(lo, hi, boundary) => format!("keep_inside {lo}..{hi} {boundary:?} "),
    }
}

fn give(root: &Root) -> String {
    let value = match root.times {
        Some(times) => format!("{} * {}", source(root.value), source(times)),
        None => source(root.value),
    };
    let to = |of: Area, at: usize| format!("{}@{at}", area(of));
    match root.kind {
        RootKind::SumPre(of, at) => format!("{} = sum over pre of {value}", to(of, at)),
        RootKind::MaxPre(of, at) => format!("{} = largest over pre of {value}", to(of, at)),
        RootKind::SumPost(of, at) => format!("{} = sum over post of {value}", to(of, at)),
        RootKind::MaxPost(of, at) => format!("{} = largest over post of {value}", to(of, at)),
        RootKind::SumBoth(of, at) => format!("{} = sum of {value}", to(of, at)),
        RootKind::MaxBoth(of, at) => format!("{} = largest of {value}", to(of, at)),
        RootKind::Gradient(at) => format!("sums@{at} += {value}"),
        RootKind::State(k) => format!("trace{k} = {value}"),
        RootKind::Adjoint(k) => format!("adjoint{k} = {value}"),
    }
}
