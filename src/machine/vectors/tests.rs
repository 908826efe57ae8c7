//! Tests of vector code against the code that is compiled with the library: bit for bit.

use super::VectorCode;
use crate::ir::{Binary, Bits, Boundary, Unary};
use crate::machine::aligned::Aligned;
use crate::machine::jit::vector_bits;
use crate::machine::lane::{Blocks, Memory, Scratch};
use crate::machine::outer::OuterBatch;
use crate::machine::run::vectors;
use crate::program::code::{Area, Element, Instr, OuterSum, Place, Product};
use crate::program::layout::{filled, Layout, PANEL};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn number(&mut self) -> f32 {
        match self.below(24) {
            0..4 => 0.0,
            4 => -0.0,
            5 => 1.0,
            6 => -1.0,
            7 => 1e3 * (self.below(2001) as f32 / 1000.0 - 1.0),
            _ => self.below(8001) as f32 / 1000.0 - 4.0,
        }
    }
}

/// The elements of each area.
const SIZE: usize = 48 * PANEL;
const SIZES: [usize; 18] = [
    1, 1, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 65, 100,
];

#[derive(Clone)]
struct World {
    areas: Vec<Aligned<f32>>,
    sums: Aligned<f32>,
    outers: Vec<OuterBatch<f32>>,
}

impl World {
    fn new(random: &mut Random) -> World {
        let mut area = || {
            let mut out = Aligned::new();
            out.reset(SIZE, 0.0);
            out.iter_mut().for_each(|x| *x = random.number());
            out
        };
        let (areas, mut sums) = ((0..5).map(|_| area()).collect(), area());
        // A sum that began with 0 is never -0.
        sums.iter_mut().for_each(|x| *x += 0.0);
        World {
            areas,
            sums,
            outers: vec![OuterBatch::default(); 2],
        }
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
            blocks: Blocks::InPlace(&mut []),
            adjoints: &mut [],
            outers: &mut self.outers,
            scratch: &mut Scratch::default(),
        };
        run(&mut memory);
    }

    /// Runs instructions one by one; what fills up a vector that was written is 0 after it.
    fn interpret(&mut self, outers: &[OuterSum], instrs: &[Instr]) {
        for instr in instrs {
            self.with_memory(|memory| vectors(outers, std::slice::from_ref(instr), memory));
            let (to, n, whole) = match *instr {
                Instr::Element { to, n, .. } | Instr::Softmax { to, n, .. } if n > 1 => (to, n, 8),
                Instr::MatVec {
                    to,
                    cols,
                    form: Product::ScaledRows,
                    ..
                } => (to, cols, PANEL),
                _ => continue,
            };
            self.areas[0][to + n..to + n.next_multiple_of(whole)].fill(0.0);
        }
    }

    /// Runs instructions with machine code where there is some; returns how many had it.
    fn compiled(&mut self, outers: &[OuterSum], instrs: &[Instr]) -> usize {
        let code = VectorCode::new(instrs);
        let (mut k, mut compiled) = (0, 0);
        while k < instrs.len() {
            let mut next = None;
            self.with_memory(|memory| next = code.run(k, outers, memory));
            if next.is_none() {
                self.interpret(outers, &instrs[k..=k]);
            }
            compiled += next.map_or(0, |next| next - k);
            k = next.unwrap_or(k + 1);
        }
        compiled
    }

    fn finish(&mut self, outers: &[OuterSum]) {
        for (batch, of) in self.outers.iter_mut().zip(outers) {
            batch.flush(*of, &mut self.sums);
        }
    }

    fn bits(&self) -> Vec<u32> {
        let all = self.areas.iter().chain([&self.sums]);
        let bits = |x: &f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
        all.flat_map(|area| area.iter().map(bits)).collect()
    }
}

fn functions() -> Vec<Element> {
    let (lo, hi) = (Bits::from(-1.0), Bits::from(1.0));
    let mut out = vec![
        Element::Select,
        Element::Copy,
        Element::MulAdd,
        Element::MulSub,
        Element::NegMulAdd,
        Element::Gate,
        Element::Clip(lo, hi),
    ];
    for boundary in [
        Boundary::Inclusive,
        Boundary::Exclusive,
        Boundary::Half,
        Boundary::StraightThrough,
    ] {
        out.push(Element::ClipMask(lo, hi, boundary));
    }
    out.extend(Unary::ALL.into_iter().map(Element::Unary));
    out.extend(Binary::ALL.into_iter().map(Element::Binary));
    out
}

/// A place of `n` elements that does not meet a target.
fn operand(random: &mut Random, n: usize, to: usize, size: usize) -> Place {
    let areas = [
        Area::Lane,
        Area::Lane,
        Area::Before,
        Area::Record,
        Area::RecordBefore,
        Area::Shared,
    ];
    loop {
        let area = areas[random.below(areas.len())];
        let stride = usize::from(n > 1 && random.below(3) > 0);
        let (at, read) = match stride {
            0 => (random.below(SIZE), 1),
            _ => (random.below((SIZE - filled(n)) / PANEL) * PANEL, filled(n)),
        };
        if area != Area::Lane || at + read <= to || to + filled(size) <= at {
            return Place { area, at, stride };
        }
    }
}

fn random_instr(random: &mut Random, functions: &[Element], outers: &[OuterSum]) -> Instr {
    let n = SIZES[random.below(SIZES.len())];
    let to = random.below((SIZE - filled(n)) / PANEL) * PANEL;
    match random.below(14) {
        0 => Instr::Sum {
            to,
            a: operand(random, n, to, n),
            n,
        },
        1 => Instr::Max {
            to,
            a: operand(random, n, to, n),
            n,
        },
        2 => {
            let (to, mut a) = (to + random.below(9), operand(random, n + 24, to, n + 8));
            a.at += random.below(8) * a.stride;
            Instr::Copy { to, a, n }
        }
        3 => Instr::Zero {
            to: to + random.below(5),
            n,
        },
        4 => Instr::Softmax {
            to,
            a: operand(random, n, to, n),
            n,
        },
        5 => Instr::AddTo {
            sum: to,
            a: operand(random, n, SIZE, 0),
            n,
        },
        6 => {
            let index = random.below(outers.len());
            let OuterSum { rows, cols, .. } = outers[index];
            Instr::KeepOuter {
                index,
                a: operand(random, rows, SIZE, 0),
                b: operand(random, cols, SIZE, 0),
                rows,
                cols,
            }
        }
        _ => Instr::Element {
            f: functions[random.below(functions.len())],
            to,
            operands: [(); 3].map(|()| operand(random, n, to, n)),
            n,
        },
    }
}

fn has_code() -> bool {
    matches!(vector_bits(), Some(256 | 512))
}

#[test]
fn random_vector_code_gives_the_same_bits() {
    let mut random = Random(0x9876_5432_1abc_def1);
    let functions = functions();
    let outers = [(3, 5), (17, 1)].map(|(rows, cols)| OuterSum {
        sum: 40 * PANEL,
        rows,
        cols,
    });
    let (mut compiled, mut all) = (0, 0);
    for case in 0..400 {
        let count = 1 + random.below(30);
        let instrs: Vec<Instr> = (0..count)
            .map(|_| random_instr(&mut random, &functions, &outers))
            .collect();
        let mut expected = World::new(&mut random);
        let mut found = expected.clone();
        // Batches of outer products fill up and are multiplied in between.
        for _ in 0..3 {
            expected.interpret(&outers, &instrs);
            compiled += found.compiled(&outers, &instrs);
            all += count;
        }
        expected.finish(&outers);
        found.finish(&outers);
        let (expected, found) = (expected.bits(), found.bits());
        let first = (0..found.len()).find(|k| expected[*k] != found[*k]);
        if let Some(k) = first {
            panic!(
                "case {case}: element {} of area {} is {:e}, not {:e}\n{instrs:#?}",
                k % SIZE,
                k / SIZE,
                f32::from_bits(found[k]),
                f32::from_bits(expected[k])
            );
        }
    }
    assert!(
        !has_code() || compiled * 10 > all * 8,
        "{compiled} of {all}"
    );
}

/// The last vector of a loop is written whole. Here it would take the place of what a copy still reads, if the loop that it can
/// join stood before the copy.
#[test]
fn the_end_of_a_vector_is_copied_before_its_place_is_taken() {
    let lane = |at: usize, stride: usize| Place {
        area: Area::Lane,
        at,
        stride,
    };
    let product = |to: usize, a: Place, b: Place| Instr::Element {
        f: Element::Binary(Binary::Mul),
        to,
        operands: [a, b, a],
        n: 3,
    };
    let instrs = [
        product(192, lane(176, 0), lane(48, 1)),
        Instr::Copy {
            to: 144,
            a: lane(163, 1),
            n: 3,
        },
        product(160, lane(192, 1), lane(0, 0)),
    ];
    let mut random = Random(5);
    let mut expected = World::new(&mut random);
    let mut found = expected.clone();
    expected.interpret(&[], &instrs);
    assert_eq!(found.compiled(&[], &instrs), 3);
    assert_eq!(found.bits(), expected.bits());
}

#[test]
fn functions_have_the_same_bits_everywhere() {
    let mut random = Random(77);
    let special = [
        0.0,
        -0.0,
        0.35,
        -0.35,
        20.0,
        -87.3,
        -87.4,
        -103.9,
        -104.0,
        88.7,
        88.722_84,
        88.8,
        1e-30,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    for f in [
        Unary::Tanh,
        Unary::Exp,
        Unary::Sigmoid,
        Unary::Sqrt,
        Unary::Sign,
    ] {
        let instrs = [Instr::Element {
            f: Element::Unary(f),
            to: 0,
            operands: [Place {
                area: Area::Shared,
                at: 0,
                stride: 1,
            }; 3],
            n: SIZE,
        }];
        for round in 0..60 {
            let mut expected = World::new(&mut random);
            let scale = [0.2, 1.0, 30.0][round % 3];
            for x in expected.areas[4].iter_mut() {
                *x = scale * (random.below(2_000_001) as f32 / 2.5e5 - 4.0);
            }
            expected.areas[4][..special.len()].copy_from_slice(&special);
            let mut found = expected.clone();
            expected.interpret(&[], &instrs);
            assert_eq!(found.compiled(&[], &instrs), usize::from(has_code()));
            assert_eq!(found.bits(), expected.bits(), "{f:?}");
        }
    }
}

#[test]
fn products_give_the_same_bits() {
    let mut random = Random(0x1357_9bdf_2468_ace1);
    let sizes = [1, 2, 3, 4, 5, 6, 7, 8, 13, 15, 16, 17, 31, 33, 40, 49, 100];
    for case in 0..300 {
        let rows = sizes[random.below(sizes.len())];
        let cols = sizes[random.below(sizes.len())];
        let form = [Product::ScaledRows, Product::RowProducts][random.below(2)];
        let (_, ins) = form.sizes(rows, cols);
        let scaled = form == Product::ScaledRows;
        let mut world = World::new(&mut random);
        let layout = Layout { rows, cols };
        let plain: Vec<f32> = (0..rows * cols).map(|_| random.number()).collect();
        let mut matrix = vec![0.0f32; rows * filled(cols)];
        if scaled {
            layout.pack(&plain, &mut matrix, |x| x);
        } else {
            for (row, from) in matrix.chunks_mut(filled(cols)).zip(plain.chunks(cols)) {
                row[..cols].copy_from_slice(from);
            }
        }
        world.areas[4].reset(PANEL + matrix.len(), 0.0);
        world.areas[4][PANEL..PANEL + matrix.len()].copy_from_slice(&matrix);
        let area = [Area::Lane, Area::Record][random.below(2)];
        let v = Place {
            area,
            at: 16 * PANEL,
            stride: usize::from(ins > 1),
        };
        let memory = &mut world.areas[if area == Area::Lane { 0 } else { 2 }];
        // Vectors of mostly zeros are multiplied in another order.
        let zeros = random.below(5);
        for x in &mut memory[v.at..v.at + ins] {
            if random.below(4) < zeros {
                *x = [0.0, -0.0][random.below(2)];
            }
        }
        let instrs = [Instr::MatVec {
            to: 2 * PANEL,
            v,
            m: PANEL,
            rows,
            cols,
            form,
        }];
        let mut found = world.clone();
        world.interpret(&[], &instrs);
        let compiled = found.compiled(&[], &instrs);
        let number = v.stride == 0 && !scaled;
        assert_eq!(compiled, usize::from(has_code() && !number));
        assert!(
            found.bits() == world.bits(),
            "case {case}: {form:?} [{rows},{cols}], {zeros} of 4 are 0"
        );
    }
}
