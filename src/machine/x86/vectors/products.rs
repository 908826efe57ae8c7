//! Products of a vector and a matrix of parameters, with the sums and the order of additions of [`crate::machine::mat_vec`].

use super::{is_near, Output, Piece, Writer, OTHER, TABLE};
use crate::machine::abi::{address, PARTIAL};
use crate::machine::x86::assembler::{Arg, At, Op};
use crate::machine::x86::scalars::{Low, Part};
use crate::program::code::{Area, Instr, Place, Product};
use crate::program::layout::{filled, PANEL};
use iced_x86::Register;
use std::iter;

/// The bytes of a panel's row.
const ROW: usize = PANEL * 4;

/// The addresses of the vector, of what is left of the matrix and of the result, and where the result ends.
const VECTOR: Register = Register::RSI;
const MATRIX: Register = Register::RDX;
const OUT: Register = Register::RCX;
const END: Register = Register::R8;
/// The list of elements that are not 0, and its bytes; those of its pairs.
const LIST: Register = Register::R10;
const LENGTH: Register = Register::R9;
const PAIRS: Register = Register::R11;
/// Offsets in the vector and in the matrix.
const INDEX: Register = Register::RAX;
const ENTRY: Register = Register::RDI;

/// The register of a broadcast element, and one of zeros.
const ELEMENT: u32 = 14;
const ZEROS: u32 = 15;

/// The rows that are unrolled: four sums take turns.
const TURN: usize = 4;

fn plain(base: Register, offset: usize) -> At {
    indexed(base, Register::None, offset)
}

fn indexed(base: Register, index: Register, offset: usize) -> At {
    At {
        base,
        index,
        offset: offset as i64,
    }
}

impl Output {
    /// Writes the function of a product, the instruction `k`; nothing if there is no code for it.
    pub(super) fn product(&mut self, instr: &Instr, k: usize) {
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
        let (aligned, size) = (v.stride == 0 || v.at.is_multiple_of(8), rows * filled(cols));
        let one = v.stride == 0 && form == Product::RowProducts;
        if one || !aligned || !is_near(instr) || size > super::FARTHEST || rows == 0 {
            return;
        }
        let mut writer = Writer::new(self, iter::empty());
        let start = writer.asm.here() as usize;
        writer.product_addresses(to, v, m);
        match form {
            Product::ScaledRows => writer.scaled_rows(rows, cols, v.stride != 0),
            Product::RowProducts => writer.row_products(rows, cols),
        }
        writer.asm.leave();
        self.pieces.push(Piece {
            from: k,
            to: k + 1,
            start,
            outers: Vec::new(),
            scratch: rows.next_multiple_of(PANEL),
        });
    }
}

impl Writer<'_> {
    fn product_addresses(&mut self, to: usize, v: Place, m: usize) {
        let places = [
            (VECTOR, address::area(v.area), v.at),
            (MATRIX, address::area(Area::Shared), m),
            (OUT, address::area(Area::Lane), to),
        ];
        for (register, base, at) in places {
            self.load(register, base);
            self.asm.address(register, plain(register, at * 4));
        }
        self.load(LIST, PARTIAL);
    }

    /// A sum of rows scaled by elements. Of a vector that is mostly zeros only the other rows are added up.
    fn scaled_rows(&mut self, rows: usize, cols: usize, is_row: bool) {
        let panels = cols.div_ceil(PANEL);
        self.asm.address(END, plain(OUT, panels * ROW));
        if !is_row {
            self.asm.stretch(ELEMENT, plain(VECTOR, 0));
            return self.dense_panels(rows, false);
        }
        self.count_zeros(rows);
        let dense = self.asm.if_below(LENGTH, rows.div_ceil(2) as i32);
        self.list(rows);
        self.asm.zero(ZEROS);
        let together = 3;
        if panels >= together {
            self.asm
                .address(END, plain(OUT, panels / together * together * ROW));
            self.sparse_panels(rows, together);
        }
        if !panels.is_multiple_of(together) {
            self.asm.address(END, plain(OUT, panels % together * ROW));
            self.sparse_panels(rows, 1);
        }
        let end = self.asm.jump();
        self.asm.land(dense);
        self.dense_panels(rows, true);
        self.asm.land(end);
    }

    /// Counts the zeros of the vector.
    fn count_zeros(&mut self, rows: usize) {
        let (bits, total) = (OTHER, LENGTH);
        self.asm.zero(ZEROS);
        self.asm.clear(total);
        let equal = crate::machine::x86::assembler::Compare::Equal;
        let (whole, rest) = (rows / 8, rows % 8);
        if whole > 0 {
            self.asm.clear(INDEX);
            let start = self.asm.here();
            let at = indexed(VECTOR, INDEX, 0);
            self.asm.compare(0, equal, ZEROS, Arg::Memory(at));
            self.asm.signs(Register::R11D, 0);
            self.asm.ones(Register::R11D, Register::R11D);
            self.asm.add_registers(total, bits);
            self.asm.add(INDEX, 32);
            self.asm.while_below(INDEX, (whole * 32) as i32, start);
        }
        if rest > 0 {
            let at = plain(VECTOR, whole * 32);
            self.asm.compare(0, equal, ZEROS, Arg::Memory(at));
            self.asm.signs(Register::R11D, 0);
            self.asm.and_bits(Register::R11D, (1 << rest) - 1);
            self.asm.ones(Register::R11D, Register::R11D);
            self.asm.add_registers(total, bits);
        }
    }

    /// Lists the offsets in bytes of the elements that are not 0.
    fn list(&mut self, rows: usize) {
        self.asm.clear(LENGTH);
        self.asm.clear(INDEX);
        let start = self.asm.here();
        self.asm
            .load_bits(Register::R11D, indexed(VECTOR, INDEX, 0));
        self.asm.store_bits(indexed(LIST, LENGTH, 0), Register::EAX);
        // The end of the result is not known yet.
        self.asm
            .count_nonzero(Register::R9D, Register::R11D, Register::R8D);
        self.asm.add(INDEX, 4);
        self.asm.while_below(INDEX, (rows * 4) as i32, start);
    }

    /// Adds the rows in the list to two sums in turns, for some panels at once.
    fn sparse_panels(&mut self, rows: usize, panels: usize) {
        let vectors = 2 * panels as u32;
        let next = self.asm.here();
        for sum in 0..2 * vectors {
            self.asm.zero(sum);
        }
        self.asm.clear(INDEX);
        self.asm.copy_register(PAIRS, LENGTH);
        self.asm.and_bits(Register::R11D, !7);
        let no_pair = self.asm.unless_below(INDEX, PAIRS);
        let start = self.asm.here();
        self.entry(0, 0, rows, panels);
        self.entry(4, vectors, rows, panels);
        self.asm.add(INDEX, 8);
        self.asm.while_below_register(INDEX, PAIRS, start);
        self.asm.land(no_pair);
        let even = self.asm.unless_below(INDEX, LENGTH);
        self.entry(0, 0, rows, panels);
        self.asm.land(even);
        for k in 0..vectors {
            self.asm.op(Op::Add, k, k, Arg::Vector(k + vectors));
            // The other two sums are 0.
            self.asm.op(Op::Add, k, k, Arg::Vector(ZEROS));
            self.asm.store(plain(OUT, k as usize * 32), k);
        }
        self.asm.add(OUT, (panels * ROW) as i32);
        self.asm.add(MATRIX, (panels * rows * ROW) as i32);
        self.asm.while_below_register(OUT, END, next);
    }

    /// Adds the row of an entry of the list to sums.
    fn entry(&mut self, offset: usize, sums: u32, rows: usize, panels: usize) {
        self.asm
            .load_bits(Register::EDI, indexed(LIST, INDEX, offset));
        self.asm.stretch(ELEMENT, indexed(VECTOR, ENTRY, 0));
        self.asm.shift_left(ENTRY, 4);
        for k in 0..2 * panels {
            let at = k / 2 * rows * ROW + k % 2 * 32;
            let row = indexed(MATRIX, ENTRY, at);
            self.asm
                .op(Op::MulAddTo, sums + k as u32, ELEMENT, Arg::Memory(row));
        }
    }

    /// Adds all rows to four sums in turns, panel by panel.
    fn dense_panels(&mut self, rows: usize, is_row: bool) {
        let next = self.asm.here();
        for sum in 0..8 {
            self.asm.zero(sum);
        }
        let turns = rows / TURN;
        let one = |writer: &mut Self, sum: usize, element: At, row: At| {
            if is_row {
                writer.asm.stretch(ELEMENT, element);
            }
            for half in 0..2 {
                let row = At {
                    offset: row.offset + half * 32,
                    ..row
                };
                let sum = (2 * sum) as u32 + half as u32;
                writer.asm.op(Op::MulAddTo, sum, ELEMENT, Arg::Memory(row));
            }
        };
        if turns > 0 {
            self.asm.clear(INDEX);
            self.asm.clear(ENTRY);
            let start = self.asm.here();
            for k in 0..TURN {
                let element = indexed(VECTOR, INDEX, k * 4);
                one(self, k, element, indexed(MATRIX, ENTRY, k * ROW));
            }
            self.asm.add(INDEX, 16);
            self.asm.add(ENTRY, (TURN * ROW) as i32);
            self.asm.while_below(INDEX, (turns * 16) as i32, start);
        }
        for k in turns * TURN..rows {
            one(self, 0, plain(VECTOR, k * 4), plain(MATRIX, k * ROW));
        }
        for half in 0..2 {
            self.asm.op(Op::Add, half, half, Arg::Vector(2 + half));
            self.asm
                .op(Op::Add, 4 + half, 4 + half, Arg::Vector(6 + half));
            self.asm.op(Op::Add, half, half, Arg::Vector(4 + half));
            self.asm.store(plain(OUT, half as usize * 32), half);
        }
        self.asm.add(OUT, ROW as i32);
        self.asm.add(MATRIX, (rows * ROW) as i32);
        self.asm.while_below_register(OUT, END, next);
    }

    /// The product of each row with the vector, four rows at a time.
    fn row_products(&mut self, rows: usize, cols: usize) {
        let groups = rows / 4;
        if groups > 0 {
            self.asm.address(END, plain(OUT, groups * 16));
            let next = self.asm.here();
            self.some_rows(4, cols);
            self.asm.store_part(Part::Four, plain(OUT, 0), 0);
            self.asm.add(OUT, 16);
            self.asm.add(MATRIX, (4 * filled(cols) * 4) as i32);
            self.asm.while_below_register(OUT, END, next);
        }
        let rest = rows % 4;
        if rest > 0 {
            self.some_rows(rest, cols);
            if rest > 1 {
                self.asm.store_part(Part::Two, plain(OUT, 0), 0);
            }
            if rest == 3 {
                self.asm.low(Low::Highs, 0, 0, 0);
            }
            if rest != 2 {
                let at = plain(OUT, (rest - 1) * 4);
                self.asm.store_part(Part::One, at, 0);
            }
        }
    }

    /// Writes the products of up to four rows to the first elements of vector 0.
    fn some_rows(&mut self, rows: usize, cols: usize) {
        let (low, high) = (ELEMENT, ZEROS);
        for sum in 0..8 {
            self.asm.zero(sum);
        }
        let stride = filled(cols) * 4;
        let (whole, rest) = (cols / PANEL, cols % PANEL);
        let add = |writer: &mut Self, half: usize, index, offset: usize| {
            for r in 0..rows {
                let at = indexed(MATRIX, index, r * stride + offset + half * 32);
                let (sum, y) = ((2 * r + half) as u32, [low, high][half]);
                writer.asm.op(Op::MulAddTo, sum, y, Arg::Memory(at));
            }
        };
        if whole > 0 {
            self.asm.clear(INDEX);
            let start = self.asm.here();
            for half in 0..2 {
                let at = indexed(VECTOR, INDEX, half * 32);
                self.asm.load([low, high][half], at);
                add(self, half, INDEX, 0);
            }
            self.asm.add(INDEX, ROW as i32);
            self.asm.while_below(INDEX, (whole * ROW) as i32, start);
        }
        for half in 0..2 {
            let n = rest.saturating_sub(half * 8).min(8);
            if n > 0 {
                let (y, mask) = ([low, high][half], self.mask(n));
                self.asm.load(y, plain(VECTOR, whole * ROW + half * 32));
                self.asm.op(Op::And, y, y, Arg::Memory(mask));
                add(self, half, Register::None, whole * ROW);
            }
        }
        // Halves are added repeatedly: sixteen, eight, four, two.
        for r in 0..4 {
            let (sum, upper) = (2 * r, 2 * r + 1);
            self.asm.op(Op::Add, sum, sum, Arg::Vector(upper));
            self.asm.upper(upper, sum);
            self.asm.low(Low::AddFour, sum, sum, upper);
        }
        for pair in [0, 4] {
            self.asm.low(Low::Lows, low, pair, pair + 2);
            self.asm.low(Low::Highs, high, pair + 2, pair);
            self.asm.low(Low::AddFour, pair, low, high);
        }
        self.asm.shuffle(low, 0, 4, 0x88);
        self.asm.shuffle(high, 0, 4, 0xdd);
        self.asm.low(Low::AddFour, 0, low, high);
    }
}

/// The table of addresses is read before its register holds entries.
const _: () = assert!(TABLE as u32 == ENTRY as u32);
