//! Machine code of the vector code between sweeps: one function for every run of instructions, and for every product with
//! a matrix.
//!
//! Vectors have 256 bits, on CPUs with wider ones too. Results have the bits of [`crate::machine::run`], which runs what has no
//! machine code. `parts` holds what runs together in one loop, `values` what a loop does with a vector of each, `body` its
//! registers and instructions, `products` the products.

mod body;
mod parts;
mod products;
mod series;
mod values;

use super::assembler::{Arg, Assembler, At, Op};
use super::scalars::{Low, Part};
use super::values::ZERO;
use super::{fixed, Isa};
use crate::machine::abi::PARTIAL;
use crate::program::code::Instr;
use body::{Body, Position};
use iced_x86::Register;
use parts::{Parts, Spot, SLOTS};
use std::collections::{BTreeMap, BTreeSet};
use values::Values;

/// The table of addresses.
const TABLE: Register = Register::RDI;
/// The offset in the vectors of a loop.
const INDEX: Register = Register::RAX;
/// An address without a register of its own.
const OTHER: Register = Register::R11;
/// The registers of addresses.
const BASES: [Register; 6] = [
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::R8,
    Register::R9,
    Register::R10,
];

/// The largest offset of an element.
const FARTHEST: usize = i32::MAX as usize / 16;

/// Machine code of some instructions.
#[derive(Debug)]
pub struct Piece {
    /// The instructions.
    pub from: usize,
    pub to: usize,
    /// The offset of the function.
    pub start: usize,
    /// The outer products whose vectors it keeps.
    pub outers: Vec<usize>,
    /// The elements of scratch memory that it needs.
    pub scratch: usize,
}

/// Compiles what it can of a list of instructions.
pub fn compile(instrs: &[Instr]) -> (Vec<u8>, Vec<Piece>) {
    let mut asm = Assembler::new(Isa::Avx2);
    let masks = asm.here();
    for k in 0..16 {
        let bits = if k < 8 { u32::MAX } else { 0 };
        asm.data(&bits.to_le_bytes());
    }
    let mut out = Output {
        asm,
        masks,
        pieces: Vec::new(),
    };
    let mut parts = Parts::default();
    let mut from = 0;
    for (k, instr) in instrs.iter().enumerate() {
        let before = parts.all.len() + parts.outers.len();
        // A loop that an instruction joined does not change their number, so every instruction is tried apart first.
        let alone = is_near(instr) && Parts::default().push(instr).is_some() && has_values(instr);
        if alone && parts.push(instr).is_some() {
            if before == 0 {
                from = k;
            }
            continue;
        }
        out.straight(std::mem::take(&mut parts), from, k);
        if is_near(instr) {
            out.product(instr, k);
        }
    }
    out.straight(parts, from, instrs.len());
    (out.asm.finish(), out.pieces)
}

/// Returns true if all functions of the instruction have machine code.
fn has_values(instr: &Instr) -> bool {
    let mut parts = Parts::default();
    parts.push(instr).is_some()
        && parts.all.iter().all(|part| match part {
            parts::Part::Loop { statements, .. } => Values::of(statements).is_some(),
            _ => true,
        })
}

/// Returns true if all offsets fit into the 32 bits that instructions have for them.
fn is_near(instr: &Instr) -> bool {
    use crate::program::access::{reads, writes};
    let sum = match *instr {
        Instr::AddTo { sum, n, .. } => sum + n,
        _ => 0,
    };
    let mut all = reads(instr).into_iter().chain(writes(instr));
    sum < FARTHEST && all.all(|access| access.at + access.n < FARTHEST)
}

/// The code of a list of instructions.
struct Output {
    asm: Assembler,
    /// The offset of eight words with all bits set and eight with none.
    masks: u64,
    pieces: Vec<Piece>,
}

impl Output {
    /// Writes the function of some parts.
    fn straight(&mut self, parts: Parts, from: usize, to: usize) {
        if parts.all.is_empty() {
            return;
        }
        let values = |part: &parts::Part| match part {
            parts::Part::Loop { statements, .. } => Values::of(statements),
            _ => None,
        };
        let values: Vec<Option<Values>> = parts.all.iter().map(values).collect();
        let mut writer = Writer::new(self, values.iter().flatten());
        let start = writer.asm.here() as usize;
        writer.enter(&parts, &values);
        let mut slots = 0;
        for (part, values) in parts.all.iter().zip(&values) {
            slots = slots.max(writer.part(part, values.as_ref()));
        }
        writer.asm.leave();
        self.pieces.push(Piece {
            from,
            to,
            start,
            outers: parts.outers,
            scratch: SLOTS + slots * 8,
        });
    }
}

/// Writes one function.
pub struct Writer<'a> {
    pub asm: &'a mut Assembler,
    masks: u64,
    /// The offsets of constants, by their bits.
    constants: BTreeMap<u32, u64>,
    /// The registers of addresses, by their position in the table.
    bases: BTreeMap<usize, Register>,
}

impl<'a> Writer<'a> {
    fn new<'v>(out: &'a mut Output, values: impl Iterator<Item = &'v Values>) -> Writer<'a> {
        let constants: BTreeSet<u32> = values.flat_map(Values::constants).collect();
        let mut pool = BTreeMap::new();
        for bits in constants.into_iter().chain([ZERO]) {
            pool.insert(bits, out.asm.here());
            for _ in 0..8 {
                out.asm.data(&bits.to_le_bytes());
            }
        }
        Writer {
            asm: &mut out.asm,
            masks: out.masks,
            constants: pool,
            bases: BTreeMap::new(),
        }
    }

    /// Reads the addresses that are used most.
    fn enter(&mut self, parts: &Parts, values: &[Option<Values>]) {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for (part, values) in parts.all.iter().zip(values) {
            let spots: Vec<Spot> = match part {
                parts::Part::Loop { .. } => values.iter().flat_map(Values::spots).collect(),
                parts::Part::Copy { to, a, .. } => a.iter().copied().chain([*to]).collect(),
                parts::Part::Sum { to, a, .. } | parts::Part::Max { to, a, .. } => vec![*to, *a],
            };
            for spot in spots {
                *counts.entry(spot.base).or_insert(0) += 1;
            }
        }
        let mut order: Vec<(usize, usize)> = counts.into_iter().collect();
        order.sort_by_key(|(k, count)| (std::cmp::Reverse(*count), *k));
        for ((k, _), register) in order.into_iter().zip(BASES) {
            self.bases.insert(k, register);
            self.load(register, k);
        }
    }

    /// Reads an address of the table.
    fn load(&mut self, to: Register, k: usize) {
        let at = At {
            base: TABLE,
            index: Register::None,
            offset: 8 * k as i64,
        };
        self.asm.load_address(to, at);
    }

    /// The register of an address.
    fn base(&mut self, k: usize) -> Register {
        match self.bases.get(&k) {
            Some(register) => *register,
            None => {
                self.load(OTHER, k);
                OTHER
            }
        }
    }

    fn constant(&self, bits: u32) -> At {
        fixed(self.constants[&bits])
    }

    /// The mask of the first `n` elements.
    fn mask(&self, n: usize) -> At {
        fixed(self.masks + (8 - n as u64) * 4)
    }

    fn at(&mut self, spot: Spot, element: usize) -> At {
        At {
            base: self.base(spot.base),
            index: Register::None,
            offset: ((spot.at + element) * 4) as i64,
        }
    }

    /// Writes a part; returns how many values found no register.
    fn part(&mut self, part: &parts::Part, values: Option<&Values>) -> usize {
        match (part, values) {
            (parts::Part::Loop { n, .. }, Some(values)) => return self.repeat(*n, values),
            (parts::Part::Loop { .. }, None) => {}
            (parts::Part::Copy { to, a, n }, _) => self.copy(*to, *a, *n),
            (parts::Part::Sum { to, a, n }, _) => self.sum(*to, *a, *n),
            (parts::Part::Max { to, a, n }, _) => self.max(*to, *a, *n),
        }
        0
    }

    /// Writes a loop over vectors, and its last vector with padding.
    fn repeat(&mut self, n: usize, values: &Values) -> usize {
        let (whole, rest) = (n / 8, n % 8);
        let mut slots = 0;
        let mut body = |writer: &mut Writer<'a>, index, offset, tail| {
            let position = Position {
                index,
                offset,
                tail,
            };
            slots = slots.max(Body::new(writer, values, position, n == 1).emit());
        };
        match whole {
            0 => {}
            1 => body(self, Register::None, 0, None),
            _ => {
                self.asm.clear(INDEX);
                let start = self.asm.here();
                body(self, INDEX, 0, None);
                self.asm.add(INDEX, 32);
                self.asm.while_below(INDEX, (whole * 32) as i32, start);
            }
        }
        if rest > 0 {
            body(self, Register::None, whole * 32, Some(rest));
        }
        slots
    }

    fn copy(&mut self, to: Spot, a: Option<Spot>, n: usize) {
        match a {
            None => self.asm.zero(0),
            Some(a) if !a.row => {
                let at = self.at(a, 0);
                self.asm.stretch(0, at);
            }
            Some(_) => {}
        }
        let mut k = 0;
        while k < n {
            let part = Part::of(n - k);
            if let Some(a) = a.filter(|a| a.row) {
                let at = self.at(a, k);
                self.asm.load_part(part, 0, at);
            }
            let at = self.at(to, k);
            self.asm.store_part(part, at, 0);
            k += part.size();
        }
    }

    /// Sixteen partial sums, then their sum from the first on.
    fn sum(&mut self, to: Spot, a: Spot, n: usize) {
        self.asm.zero(0);
        self.asm.zero(1);
        for k in (0..n).step_by(8) {
            let sum = (k / 8 % 2) as u32;
            let at = self.at(a, k);
            if n - k < 8 {
                let mask = self.mask(n - k);
                self.asm.load(2, at);
                self.asm.op(Op::And, 2, 2, Arg::Memory(mask));
                self.asm.op(Op::Add, sum, sum, Arg::Vector(2));
            } else {
                self.asm.op(Op::Add, sum, sum, Arg::Memory(at));
            }
        }
        let partial = Spot {
            base: PARTIAL,
            at: 0,
            row: true,
        };
        for half in 0..2 {
            let at = self.at(partial, half * 8);
            self.asm.store(at, half as u32);
        }
        self.asm.zero(0);
        for k in 0..16 {
            let at = self.at(partial, k);
            self.asm.add_number(0, 0, at);
        }
        let at = self.at(to, 0);
        self.asm.store_part(Part::One, at, 0);
    }

    /// The largest from the first on; NaN counts only as the first.
    fn max(&mut self, to: Spot, a: Spot, n: usize) {
        let at = self.at(a, 0);
        self.asm.load_part(Part::One, 0, at);
        for k in 1..n {
            let at = self.at(a, k);
            self.asm.load_part(Part::One, 1, at);
            self.asm.low(Low::Max, 0, 1, 0);
        }
        let at = self.at(to, 0);
        self.asm.store_part(Part::One, at, 0);
    }
}
