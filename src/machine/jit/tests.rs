//! Tests of machine code against the interpreter, on random sweeps.

use super::super::aligned::Aligned;
use super::super::interpret;
use super::{vector_bits, Machine, INTERPRETED};
use crate::ir::{Binary, Bits, Boundary, Unary};
use crate::machine::lane::{Blocks, Memory, Scratch};
#[cfg(all(target_arch = "x86_64", unix))]
use crate::machine::{processor, Processor};
use crate::program::code::{Area, Element, Place, Root, RootKind, Source, Sweep};
use crate::program::layout::{filled, Layout};
use crate::program::passes::contract;
use crate::program::sweep::SweepBuilder;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn number(&mut self) -> f32 {
        // Values are often a bound or 0, so that comparisons meet equal numbers.
        match self.below(8) {
            0 => 0.0,
            1 => 1.0,
            2 => -1.0,
            _ => self.below(4001) as f32 / 1000.0 - 2.0,
        }
    }
}

const BLOCKS: usize = 2;

fn elements() -> Vec<Element> {
    let (lo, hi) = (Bits::from(-1.0), Bits::from(1.0));
    let mut out = vec![
        Element::Select,
        Element::MulAdd,
        Element::MulSub,
        Element::NegMulAdd,
        Element::Clip(lo, hi),
        Element::Gate,
        Element::Gate,
    ];
    for boundary in [
        Boundary::Inclusive,
        Boundary::Exclusive,
        Boundary::Half,
        Boundary::StraightThrough,
    ] {
        out.push(Element::ClipMask(lo, hi, boundary));
    }
    for f in [
        Unary::Neg,
        Unary::Relu,
        Unary::Abs,
        Unary::Sign,
        Unary::Square,
        Unary::Not,
        Unary::Tanh,
        Unary::Exp,
        Unary::Sigmoid,
    ] {
        out.push(Element::Unary(f));
    }
    for f in Binary::ALL {
        if !matches!(f, Binary::Pow | Binary::Div) {
            out.push(Element::Binary(f));
        }
    }
    out
}

fn random_sweep(random: &mut Random, layout: Layout) -> Sweep {
    let vector = filled(layout.rows.max(layout.cols));
    let elements = elements();
    let mut builder = SweepBuilder::new("test", layout);
    let mut known: Vec<Source> = Vec::new();
    let areas = [
        Area::Lane,
        Area::Before,
        Area::Record,
        Area::RecordBefore,
        Area::Shared,
    ];
    let source = |random: &mut Random, known: &[Source]| {
        let place = |random: &mut Random| Place {
            area: areas[random.below(5)],
            at: random.below(3) * vector,
            stride: random.below(4).min(1),
        };
        match random.below(8) {
            0 => Source::State(random.below(BLOCKS)),
            1 => Source::Adjoint(random.below(BLOCKS)),
            2 => Source::Matrix(Area::Shared, 3 * vector),
            3 => Source::Post(place(random)),
            4 => Source::Pre(place(random)),
            _ if known.is_empty() => Source::Post(place(random)),
            _ => known[random.below(known.len())],
        }
    };
    for _ in 0..1 + random.below(24) {
        let f = elements[random.below(elements.len())];
        let operands = [(); 3].map(|()| source(random, &known));
        known.push(builder.add(f, operands));
    }
    let results = 4 * vector;
    let area = [Area::Lane, Area::Before];
    for k in 0..1 + random.below(5) {
        let kind = match random.below(6) {
            0 | 1 => RootKind::SumPre(area[random.below(2)], results + k * vector),
            2 | 3 => RootKind::SumPost(area[random.below(2)], results + k * vector),
            4 => RootKind::SumBoth(area[random.below(2)], results + k * vector),
            _ => RootKind::Gradient(k * layout.size()),
        };
        let value = source(random, &known);
        builder.root(kind, value);
    }
    for k in 0..BLOCKS {
        if random.below(2) == 0 {
            let value = source(random, &known);
            builder.root(RootKind::State(k), value);
        }
        if random.below(2) == 0 {
            let value = source(random, &known);
            builder.root(RootKind::Adjoint(k), value);
        }
    }
    builder.finish()
}

/// All memories of a sweep.
#[derive(Clone)]
struct World {
    areas: Vec<Aligned<f32>>,
    sums: Aligned<f32>,
    blocks: Vec<Aligned<f32>>,
    adjoints: Vec<Aligned<f32>>,
}

fn filled_with(random: &mut Random, n: usize) -> Aligned<f32> {
    let mut out = Aligned::new();
    out.reset(n, 0.0);
    for x in out.iter_mut() {
        *x = random.number();
    }
    out
}

impl World {
    fn new(random: &mut Random, layout: Layout) -> World {
        let vector = filled(layout.rows.max(layout.cols));
        let size = 10 * vector + layout.size();
        World {
            areas: (0..5).map(|_| filled_with(random, size)).collect(),
            sums: filled_with(random, 5 * layout.size()),
            blocks: (0..BLOCKS)
                .map(|_| filled_with(random, layout.size()))
                .collect(),
            adjoints: (0..BLOCKS)
                .map(|_| filled_with(random, layout.size()))
                .collect(),
        }
    }

    fn run(&mut self, sweep: &Sweep, machine: Option<&Machine>) {
        self.with_memory(|memory| match machine {
            Some(machine) => machine.run(0, sweep, memory),
            None => interpret::sweep(sweep, memory),
        });
    }

    fn with_memory(&mut self, run: impl FnOnce(&mut Memory<'_, f32>)) {
        let [lane, before, record, record_before, shared] = &mut self.areas[..] else {
            unreachable!("there are five areas");
        };
        let mut memory = Memory {
            lane,
            before,
            record,
            record_before,
            shared,
            indices: &[],
            sums: &mut self.sums,
            blocks: Blocks::InPlace(&mut self.blocks),
            adjoints: &mut self.adjoints,
            outers: &mut [],
            scratch: &mut Scratch::default(),
        };
        run(&mut memory);
    }

    /// The values that a sweep may write, without padding.
    fn results(&self, sweep: &Sweep) -> Vec<f32> {
        let mut out = Vec::new();
        let layout = sweep.layout;
        let mut plain = vec![0.0f32; layout.rows * layout.cols];
        for block in self.blocks.iter().chain(&self.adjoints) {
            layout.unpack(block, &mut plain, |x| x);
            out.extend(&plain);
        }
        for root in &sweep.roots {
            let at = |area: Area, at: usize, n: usize| {
                let memory = &self.areas[usize::from(area == Area::Before)];
                memory[at..at + n].to_vec()
            };
            match root.kind {
                RootKind::SumPre(area, to) => out.extend(at(area, to, layout.cols)),
                RootKind::SumPost(area, to) => out.extend(at(area, to, layout.rows)),
                RootKind::SumBoth(area, to) => out.extend(at(area, to, 1)),
                RootKind::Gradient(to) => {
                    layout.unpack(&self.sums[to..], &mut plain, |x| x);
                    out.extend(&plain);
                }
                _ => {}
            }
        }
        out
    }
}

fn assert_alike(found: &[f32], expected: &[f32], label: &str) {
    for (k, (a, b)) in found.iter().zip(expected).enumerate() {
        let same = (a.is_nan() && b.is_nan())
            || a == b
            || f64::from(a - b).abs() <= 2e-4 * (1.0 + f64::from(b.abs()));
        assert!(same, "{label}, number {k}: {a} instead of {b}");
    }
}

#[test]
fn random_sweeps_give_what_the_interpreter_gives() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for case in 0..600 {
        let sizes = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40, 64, 65];
        let layout = Layout {
            rows: sizes[random.below(sizes.len())],
            cols: sizes[random.below(sizes.len())],
        };
        let sweep = random_sweep(&mut random, layout);
        // Contraction may round a product differently, so powers stay small enough.
        let contracted = contract(&sweep);
        let world = World::new(&mut random, layout);
        for (name, sweep) in [("plain", &sweep), ("contracted", &contracted)] {
            let mut expected = world.clone();
            expected.run(sweep, None);
            let expected = expected.results(sweep);
            if expected.iter().any(|x| x.abs() > 1e4) {
                continue;
            }
            for (generated, machine) in machines(std::slice::from_ref(sweep), BLOCKS) {
                let form = machine.form(0);
                assert_eq!(
                    form != INTERPRETED,
                    generated,
                    "{form}, {layout:?}\n{sweep:#?}"
                );
                let mut found = world.clone();
                found.run(sweep, Some(&machine));
                let label = format!("case {case}, {name}, {form}, {layout:?}\n{sweep:#?}");
                assert_alike(&found.results(sweep), &expected, &label);
            }
        }
    }
}

/// The sweeps as each code generator for this CPU compiles them, and as they run without one; and whether there is one.
fn machines(sweeps: &[Sweep], blocks: usize) -> Vec<(bool, Machine)> {
    let mut machines = vec![(true, Machine::portable(sweeps, blocks))];
    #[cfg(all(target_arch = "x86_64", unix))]
    {
        let here = processor();
        for kind in [Processor::Avx512, Processor::Avx2, Processor::Other] {
            let lesser = kind == here || kind == Processor::Other || here == Processor::Avx512;
            if lesser {
                let generated = kind != Processor::Other;
                machines.push((generated, Machine::of(kind, sweeps, blocks)));
            }
        }
    }
    machines
}

/// Code for wider vectors than this CPU has runs in an emulator.
#[cfg(all(target_arch = "x86_64", unix))]
#[test]
fn code_for_the_widest_vectors_gives_what_the_interpreter_gives() {
    use crate::machine::{series, x86};
    let mut random = Random(0x1234_5678_9abc_def1);
    for case in 0..200 {
        let sizes = [1, 3, 8, 15, 16, 17, 31, 32, 33, 40, 48, 65];
        let layout = Layout {
            rows: 1 + random.below(12),
            cols: sizes[random.below(sizes.len())],
        };
        let sweep = contract(&random_sweep(&mut random, layout));
        let world = World::new(&mut random, layout);
        let mut expected = world.clone();
        expected.run(&sweep, None);
        let expected = expected.results(&sweep);
        if expected.iter().any(|x| x.abs() > 1e4) {
            continue;
        }
        let label = format!("case {case}, {layout:?}\n{sweep:#?}");
        let listing = x86::listing(x86::Isa::Avx512, &series::expand(&sweep), BLOCKS);
        let (code, start, instructions) = listing.unwrap_or_else(|| panic!("{label}"));
        let mut found = world.clone();
        found.with_memory(|memory| {
            // SAFETY: the code was generated for these memories.
            let run = |table| unsafe { x86::emulator::run(&code, start, &instructions, table) };
            Machine::call(&sweep, memory, run);
        });
        assert_alike(&found.results(&sweep), &expected, &label);
    }
}

#[test]
fn traces_can_exchange_their_values() {
    let layout = Layout { rows: 3, cols: 5 };
    let mut builder = SweepBuilder::new("test", layout);
    builder.root(RootKind::State(0), Source::State(1));
    builder.root(RootKind::State(1), Source::State(0));
    let sweep = contract(&builder.finish());
    let mut random = Random(7);
    let world = World::new(&mut random, layout);
    let machine = Machine::new(std::slice::from_ref(&sweep), BLOCKS);
    for machine in [None, Some(&machine)] {
        let mut after = world.clone();
        after.run(&sweep, machine);
        let mut plain = [vec![0.0f32; 15], vec![0.0f32; 15]];
        layout.unpack(&world.blocks[0], &mut plain[0], |x| x);
        layout.unpack(&after.blocks[1], &mut plain[1], |x| x);
        assert_eq!(plain[0], plain[1]);
    }
}

#[test]
fn maxima_and_series_are_left_to_the_interpreter() {
    let layout = Layout { rows: 2, cols: 2 };
    let mut builder = SweepBuilder::new("test", layout);
    let value = builder.add(Element::Unary(Unary::Sin), [Source::State(0); 3]);
    builder.root(RootKind::SumPre(Area::Lane, 0), value);
    let series = builder.finish();
    let root = Root {
        kind: RootKind::MaxPost(Area::Lane, 0),
        value: Source::State(0),
        times: None,
    };
    let maximum = Sweep {
        roots: vec![root],
        ops: Vec::new(),
        temporaries: 0,
        ..series.clone()
    };
    for (_, machine) in machines(&[series, maximum], 1) {
        assert_eq!(
            (machine.form(0), machine.form(1)),
            (INTERPRETED, INTERPRETED)
        );
    }
}

#[test]
fn machine_code_is_as_wide_as_the_cpu_allows() {
    let layout = Layout { rows: 2, cols: 2 };
    let mut builder = SweepBuilder::new("test", layout);
    builder.root(RootKind::State(0), Source::State(1));
    let sweeps = [builder.finish()];
    let form = |bits: u32| format!("machine code, {bits} bits");
    let widest = vector_bits().map_or(INTERPRETED.to_owned(), form);
    assert_eq!(Machine::new(&sweeps, BLOCKS).form(0), widest);
    for (_, machine) in machines(&sweeps, BLOCKS) {
        let known = [128, 256, 512].map(form);
        assert!(machine.form(0) == INTERPRETED || known.contains(&machine.form(0).to_owned()));
    }
}
