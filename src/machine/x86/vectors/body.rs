//! The instructions of a loop's body, with registers for its vectors.

use super::parts::{Spot, SLOTS};
use super::values::{Action, Id, Node, Values};
use super::Writer;
use crate::machine::abi::PARTIAL;
use crate::machine::x86::assembler::{Arg, At, Op};
use iced_x86::Register;

/// The registers for vectors; the two after them are for intermediate results.
const VECTORS: usize = 14;
const SCRATCH: u32 = 14;

/// Where a vector can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Memory(Spot),
    Constant(u32),
    Slot(usize),
}

/// Where in its vectors a body is.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The register with the offset in bytes, or none.
    pub index: Register,
    /// The offset in bytes that is known.
    pub offset: usize,
    /// The elements of the last vector, if it is not whole.
    pub tail: Option<usize>,
}

/// Writes the body of a loop once.
pub struct Body<'w, 'a> {
    writer: &'w mut Writer<'a>,
    values: &'w Values,
    position: Position,
    /// One element instead of vectors.
    single: bool,
    /// For each vector the actions that use it.
    uses: Vec<Vec<usize>>,
    holds: [Option<Id>; VECTORS],
    registers: Vec<Option<u32>>,
    homes: Vec<Option<Home>>,
    slots: usize,
}

impl<'w, 'a> Body<'w, 'a> {
    pub fn new(
        writer: &'w mut Writer<'a>,
        values: &'w Values,
        position: Position,
        single: bool,
    ) -> Body<'w, 'a> {
        let mut uses = vec![Vec::new(); values.nodes.len()];
        for (time, action) in values.actions.iter().enumerate() {
            match action {
                Action::Compute(id) => {
                    for operand in values.nodes[*id].operands() {
                        uses[operand].push(time);
                    }
                }
                Action::Store(_, id) | Action::Add(_, id) => uses[*id].push(time),
            }
        }
        Body {
            writer,
            values,
            position,
            single,
            uses,
            holds: [None; VECTORS],
            registers: vec![None; values.nodes.len()],
            homes: vec![None; values.nodes.len()],
            slots: 0,
        }
    }

    /// Writes everything; returns how many values found no register.
    pub fn emit(mut self) -> usize {
        for (time, action) in self.values.actions.iter().enumerate() {
            match *action {
                Action::Compute(id) => self.compute(id, time),
                Action::Store(spot, id) => self.store(spot, id, time),
                Action::Add(spot, id) => self.add(spot, id, time),
            }
            for register in 0..VECTORS {
                if let Some(id) = self.holds[register] {
                    if self.next_use(id, time).is_none() {
                        self.forget(id);
                    }
                }
            }
        }
        self.slots
    }

    /// The first use after an action.
    fn next_use(&self, id: Id, time: usize) -> Option<usize> {
        let uses = &self.uses[id];
        uses.get(uses.partition_point(|t| *t <= time)).copied()
    }

    fn forget(&mut self, id: Id) {
        if let Some(register) = self.registers[id].take() {
            self.holds[register as usize] = None;
        }
    }

    fn at(&mut self, spot: Spot) -> At {
        let base = self.writer.base(spot.base);
        let (index, offset) = match spot.row {
            true => (self.position.index, self.position.offset),
            false => (Register::None, 0),
        };
        At {
            base,
            index,
            offset: (spot.at * 4 + offset) as i64,
        }
    }

    fn home(&mut self, home: Home) -> At {
        match home {
            Home::Memory(spot) => self.at(spot),
            Home::Constant(bits) => self.writer.constant(bits),
            Home::Slot(k) => {
                let base = self.writer.base(PARTIAL);
                At {
                    base,
                    index: Register::None,
                    offset: (SLOTS * 4 + k * 32) as i64,
                }
            }
        }
    }

    /// A register for a vector, taken from the one that is used last if none is free.
    fn take(&mut self, id: Id, time: usize, keep: &[Id]) -> u32 {
        let free = (0..VECTORS).find(|k| self.holds[*k].is_none());
        let register = free.unwrap_or_else(|| {
            let others =
                (0..VECTORS).filter(|k| !self.holds[*k].is_some_and(|id| keep.contains(&id)));
            let latest = |k: &usize| self.holds[*k].and_then(|id| self.next_use(id, time));
            let chosen = others.max_by_key(latest);
            chosen.expect("an operation has fewer operands than there are registers")
        });
        if let Some(old) = self.holds[register] {
            if self.homes[old].is_none() {
                let home = Home::Slot(self.slots);
                self.slots += 1;
                let at = self.home(home);
                self.writer.asm.store(at, register as u32);
                self.homes[old] = Some(home);
            }
            self.forget(old);
        }
        self.holds[register] = Some(id);
        self.registers[id] = Some(register as u32);
        register as u32
    }

    /// The register of a vector, read again if it has none.
    fn get(&mut self, id: Id, time: usize, keep: &[Id]) -> u32 {
        if let Some(register) = self.registers[id] {
            return register;
        }
        let home = self.homes[id].expect("a vector without a register lies in memory");
        let register = self.take(id, time, keep);
        let at = self.home(home);
        match home {
            Home::Memory(spot) if !spot.row => self.writer.asm.stretch(register, at),
            _ => self.writer.asm.load(register, at),
        }
        register
    }

    /// The last operand of an operation.
    fn arg(&mut self, id: Id, time: usize, keep: &[Id]) -> Arg {
        if let (None, Some(home)) = (self.registers[id], self.homes[id]) {
            let whole = !matches!(home, Home::Memory(spot) if !spot.row);
            let again = matches!(home, Home::Memory(_)) && self.next_use(id, time).is_some();
            if whole && !again {
                return Arg::Memory(self.home(home));
            }
        }
        Arg::Vector(self.get(id, time, keep))
    }

    fn compute(&mut self, id: Id, time: usize) {
        let node = self.values.nodes[id];
        let keep = node.operands();
        match node {
            Node::Read(spot) => self.homes[id] = Some(Home::Memory(spot)),
            Node::Constant(bits) => self.homes[id] = Some(Home::Constant(bits)),
            Node::Two(op, a, b) => {
                let op = Op::from(op);
                let commutes = matches!(op, Op::Add | Op::Mul | Op::And | Op::Xor | Op::AddWhole);
                let swap = commutes && self.registers[a].is_none() && self.registers[b].is_some();
                let (a, b) = if swap { (b, a) } else { (a, b) };
                let x = self.get(a, time, &keep);
                let y = self.arg(b, time, &keep);
                let d = self.result(id, time, &keep);
                self.writer.asm.op(op, d, x, y);
            }
            Node::Fused(signs, [a, b, c]) => {
                let sum = self.get(c, time, &keep);
                let x = self.get(a, time, &keep);
                let y = self.arg(b, time, &keep);
                // The sum is made in a register of its own, because a factor may be the same vector.
                self.writer.asm.copy(SCRATCH, sum);
                self.writer.asm.op(Op::from(signs), SCRATCH, x, y);
                let d = self.result(id, time, &keep);
                self.writer.asm.copy(d, SCRATCH);
            }
            Node::Compare(how, a, b) => {
                let x = self.get(a, time, &keep);
                let y = self.arg(b, time, &keep);
                let d = self.result(id, time, &keep);
                self.writer.asm.compare(d, how.into(), x, y);
            }
            Node::Blend([mask, a, b]) => {
                let mask = self.get(mask, time, &keep);
                let x = self.get(a, time, &keep);
                let y = self.get(b, time, &keep);
                let d = self.result(id, time, &keep);
                self.writer.asm.blend(mask, d, x, y);
            }
            Node::Sqrt(a) => {
                let x = self.get(a, time, &keep);
                let d = self.result(id, time, &keep);
                self.writer.asm.sqrt(d, x);
            }
            Node::Whole(a) => {
                let x = self.get(a, time, &keep);
                let d = self.result(id, time, &keep);
                self.writer.asm.whole(d, x);
            }
            Node::Exponent(a) => {
                let x = self.get(a, time, &keep);
                let d = self.result(id, time, &keep);
                self.writer.asm.exponent(d, x);
            }
        }
    }

    /// A register for a result; that of an operand which is used no more is free.
    fn result(&mut self, id: Id, time: usize, operands: &[Id]) -> u32 {
        for operand in operands {
            if self.next_use(*operand, time).is_none() {
                self.forget(*operand);
            }
        }
        self.take(id, time, operands)
    }

    /// Before a memory is written, what it held goes to registers if it is used later.
    fn rescue(&mut self, spot: Spot, except: Id, time: usize) {
        for id in 0..self.homes.len() {
            if self.homes[id] == Some(Home::Memory(spot)) && id != except {
                if self.next_use(id, time).is_some() {
                    self.get(id, time, &[except]);
                }
                self.homes[id] = None;
            }
        }
    }

    fn store(&mut self, spot: Spot, id: Id, time: usize) {
        let mut value = self.get(id, time, &[]);
        self.rescue(spot, id, time);
        if self.single {
            let at = self.at(spot);
            self.writer.asm.store_part(super::Part::One, at, value);
        } else {
            if let Some(n) = self.position.tail {
                // What fills up a vector stays 0.
                let mask = self.writer.mask(n);
                self.writer
                    .asm
                    .op(Op::And, SCRATCH, value, Arg::Memory(mask));
                value = SCRATCH;
            }
            let at = self.at(spot);
            self.writer.asm.store(at, value);
        }
        self.homes[id].get_or_insert(Home::Memory(spot));
    }

    fn add(&mut self, spot: Spot, id: Id, time: usize) {
        let value = self.get(id, time, &[]);
        if self.single {
            let at = self.at(spot);
            self.writer.asm.add_number(SCRATCH, value, at);
            self.writer.asm.store_part(super::Part::One, at, SCRATCH);
            return;
        }
        let mut from = value;
        if let Some(n) = self.position.tail {
            let mask = self.writer.mask(n);
            self.writer
                .asm
                .op(Op::And, SCRATCH, value, Arg::Memory(mask));
            from = SCRATCH;
        }
        let at = self.at(spot);
        self.writer.asm.op(Op::Add, SCRATCH, from, Arg::Memory(at));
        self.writer.asm.store(at, SCRATCH);
    }
}
