//! The operations of a row: which register holds what, and the instructions of each operation.

use super::super::super::code::{Element, Root, RootKind};
use super::assembler::{Arg, Compare, Op, MASK, MASK2, TAIL};
use super::values::{constants, Unit, Value, BIAS, HALF, MINUS_ONE, ONE, SIGN, SIZE, ZERO};
use super::{fixed, frame, Emitter, Isa, SPILLS};
use crate::ir::{Binary, Boundary, Unary};
use std::collections::{BTreeMap, VecDeque};

/// The rows of some panels.
pub struct Row<'e, 'a> {
    pub emitter: &'e mut Emitter<'a>,
    units: &'e [Unit],
    masked: bool,
    /// When each value is read again.
    uses: BTreeMap<Value, VecDeque<usize>>,
    /// Values that stay in a register from row to row.
    lasting: BTreeMap<Value, u32>,
    /// Values in registers now, and who holds which.
    held: BTreeMap<Value, u32>,
    owners: Vec<Option<Value>>,
    /// Registers the current instruction needs.
    pinned: u32,
    spilled: BTreeMap<Value, usize>,
    now: usize,
}

/// Intermediate results.
fn scratch(isa: Isa, k: u32) -> u32 {
    isa.vectors() + k
}

impl<'e, 'a> Row<'e, 'a> {
    pub fn new(emitter: &'e mut Emitter<'a>, units: &'e [Unit], masked: bool) -> Row<'e, 'a> {
        let count = emitter.isa.vectors() as usize;
        Row {
            emitter,
            units,
            masked,
            uses: BTreeMap::new(),
            lasting: BTreeMap::new(),
            held: BTreeMap::new(),
            owners: vec![None; count],
            pinned: 0,
            spilled: BTreeMap::new(),
            now: 0,
        }
    }

    /// Roots in the order in which they are given: what is stored in blocks comes last, when all of the vector was read.
    fn roots(&self) -> Vec<(usize, Root)> {
        let mut roots: Vec<(usize, Root)> = self
            .emitter
            .sweep
            .roots
            .iter()
            .copied()
            .enumerate()
            .collect();
        roots.sort_by_key(|(_, root)| {
            matches!(root.kind, RootKind::State(_) | RootKind::Adjoint(_))
        });
        roots
    }

    fn count_uses(&mut self) {
        let mut uses: BTreeMap<Value, VecDeque<usize>> = BTreeMap::new();
        let mut time = 0;
        let sweep = self.emitter.sweep;
        for u in 0..self.units.len() {
            for op in &sweep.ops {
                time += 1;
                for operand in &op.operands[..op.f.arity()] {
                    uses.entry(Value::of(*operand, u))
                        .or_default()
                        .push_back(time);
                }
                for bits in constants(op.f) {
                    uses.entry(Value::Constant(bits))
                        .or_default()
                        .push_back(time);
                }
            }
            for (k, root) in self.roots() {
                time += 1;
                uses.entry(Value::of(root.value, u))
                    .or_default()
                    .push_back(time);
                if let Some(times) = root.times {
                    uses.entry(Value::of(times, u)).or_default().push_back(time);
                }
                if matches!(root.kind, RootKind::SumPost(..)) {
                    uses.entry(Value::Partial(k)).or_default().push_back(time);
                }
            }
        }
        self.uses = uses;
    }

    /// Before the first row: sums are 0, what is the same in all rows is read.
    pub fn enter(&mut self) {
        self.count_uses();
        let mut next = 0;
        for (k, root) in self.emitter.sweep.roots.iter().enumerate() {
            let sums: Vec<Value> = match root.kind {
                RootKind::SumPre(..) => (0..self.units.len()).map(|u| Value::Sum(k, u)).collect(),
                RootKind::SumBoth(..) => vec![Value::Sum(k, 0)],
                _ => Vec::new(),
            };
            for sum in sums {
                if next + 6 < self.emitter.isa.vectors() {
                    self.lasting.insert(sum, next);
                    self.emitter.asm.zero(next);
                    next += 1;
                }
            }
        }
        let fixed = |value: &Value| match value {
            Value::Vector(_, super::super::super::code::Source::Post(_)) | Value::Constant(_) => {
                true
            }
            Value::Number(source) => match source {
                super::super::super::code::Source::Post(_) => true,
                super::super::super::code::Source::Pre(place) => place.stride == 0,
                _ => false,
            },
            _ => false,
        };
        let mut wanted: Vec<(usize, Value)> = self
            .uses
            .iter()
            .filter(|(value, _)| fixed(value))
            .map(|(value, times)| (times.len(), *value))
            .collect();
        wanted.sort_by_key(|(count, value)| (std::cmp::Reverse(*count), *value));
        for (_, value) in wanted {
            if next + self.emitter.isa.passing() >= self.emitter.isa.vectors() {
                break;
            }
            self.lasting.insert(value, next);
            self.fetch(value, next);
            next += 1;
        }
    }

    /// After the last row: sums go to memory.
    pub fn exit(&mut self) {
        for (k, root) in self.emitter.sweep.roots.iter().enumerate() {
            match root.kind {
                RootKind::SumPre(area, to) => {
                    for (u, unit) in self.units.iter().enumerate() {
                        let at = self.emitter.vector(area, to, *unit);
                        let register = self.lasting[&Value::Sum(k, u)];
                        self.emitter.asm.store(at, register);
                    }
                }
                RootKind::SumBoth(..) => {
                    let bytes = self.emitter.partial(k);
                    let register = self.lasting[&Value::Sum(k, 0)];
                    let at =
                        self.emitter
                            .memory(super::PARTIAL, iced_x86::Register::None, 0, bytes);
                    self.emitter
                        .asm
                        .op(Op::Add, register, register, Arg::Memory(at));
                    self.emitter.asm.store(at, register);
                }
                _ => {}
            }
        }
    }

    /// One row; `None` where there are not enough registers.
    pub fn emit(&mut self) -> Option<()> {
        // Every sum must have found a register.
        for (k, root) in self.emitter.sweep.roots.iter().enumerate() {
            let complete = match root.kind {
                RootKind::SumPre(..) => {
                    (0..self.units.len()).all(|u| self.lasting.contains_key(&Value::Sum(k, u)))
                }
                RootKind::SumBoth(..) => self.lasting.contains_key(&Value::Sum(k, 0)),
                _ => true,
            };
            if !complete {
                return None;
            }
        }
        let ops = self.emitter.sweep.ops.clone();
        for u in 0..self.units.len() {
            for op in &ops {
                self.now += 1;
                let operands: Vec<Value> = op.operands[..op.f.arity()]
                    .iter()
                    .map(|source| Value::of(*source, u))
                    .collect();
                self.element(op.f, Value::Temporary(u, op.to), &operands)?;
                self.done();
            }
            for (k, root) in self.roots() {
                self.now += 1;
                self.root(k, root, u)?;
                self.done();
            }
        }
        Some(())
    }

    /// What is never read again gives its register back.
    fn done(&mut self) {
        let now = self.now;
        for times in self.uses.values_mut() {
            while times.front().is_some_and(|t| *t <= now) {
                times.pop_front();
            }
        }
        self.pinned = 0;
        self.release();
    }

    fn release(&mut self) {
        let now = self.now;
        let over: Vec<Value> = self
            .held
            .keys()
            .copied()
            .filter(|value| {
                let later = self
                    .uses
                    .get(value)
                    .is_some_and(|t| t.iter().any(|t| *t > now));
                !later && !matches!(value, Value::Partial(_))
            })
            .collect();
        for value in over {
            self.drop_value(value);
        }
    }

    fn drop_value(&mut self, value: Value) {
        if let Some(register) = self.held.remove(&value) {
            self.owners[register as usize] = None;
        }
    }

    fn next_use(&self, value: Value) -> usize {
        self.uses
            .get(&value)
            .and_then(|times| times.iter().find(|t| **t > self.now))
            .copied()
            .unwrap_or(usize::MAX)
    }

    fn pin(&mut self, register: u32) {
        self.pinned |= 1 << register;
    }

    /// A register for something new.
    fn free(&mut self) -> Option<u32> {
        let lasting = self.lasting.len() as u32;
        let range = lasting..self.emitter.isa.vectors();
        for register in range.clone() {
            if self.owners[register as usize].is_none() && self.pinned & (1 << register) == 0 {
                self.pin(register);
                return Some(register);
            }
        }
        let (register, value) = range
            .filter(|r| self.pinned & (1 << r) == 0)
            .filter_map(|r| self.owners[r as usize].map(|value| (r, value)))
            .max_by_key(|(r, value)| (self.next_use(*value), std::cmp::Reverse(*r)))?;
        match value {
            Value::Temporary(..) => {
                if !self.spilled.contains_key(&value) {
                    let slot = self.spilled.len();
                    if slot >= SPILLS {
                        return None;
                    }
                    self.spilled.insert(value, slot);
                    let at = frame(64 + slot * 64);
                    self.emitter.asm.store(at, register);
                }
            }
            Value::Partial(_) => {
                let (at, _) = self.emitter.origin(value, self.units);
                self.emitter.asm.store(at, register);
            }
            Value::Vector(..) | Value::Number(_) | Value::Constant(_) | Value::Sum(..) => {}
        }
        self.drop_value(value);
        self.pin(register);
        Some(register)
    }

    fn fetch(&mut self, value: Value, register: u32) {
        if let Some(slot) = self.spilled.get(&value) {
            let at = frame(64 + slot * 64);
            self.emitter.asm.load(register, at);
            return;
        }
        if value == Value::Constant(ZERO) {
            self.emitter.asm.zero(register);
            return;
        }
        let (at, number) = self.emitter.origin(value, self.units);
        if number {
            self.emitter.asm.stretch(register, at);
        } else {
            self.emitter.asm.load(register, at);
        }
    }

    /// A value in a register.
    fn get(&mut self, value: Value) -> Option<u32> {
        if let Some(register) = self.lasting.get(&value) {
            return Some(*register);
        }
        if let Some(register) = self.held.get(&value).copied() {
            self.pin(register);
            return Some(register);
        }
        let register = self.free()?;
        self.fetch(value, register);
        self.held.insert(value, register);
        self.owners[register as usize] = Some(value);
        Some(register)
    }

    fn constant(&mut self, bits: u32) -> Option<u32> {
        self.get(Value::Constant(bits))
    }

    fn in_register(&self, value: Value) -> bool {
        self.lasting.contains_key(&value) || self.held.contains_key(&value)
    }

    /// A value as the last operand: from memory where it is not needed again.
    fn arg(&mut self, value: Value) -> Option<Arg> {
        if self.in_register(value) || self.next_use(value) != usize::MAX {
            return Some(Arg::Vector(self.get(value)?));
        }
        if let Some(slot) = self.spilled.get(&value) {
            return Some(Arg::Memory(frame(64 + slot * 64)));
        }
        match value {
            Value::Vector(..) => Some(Arg::Memory(self.emitter.origin(value, self.units).0)),
            Value::Number(_) if self.emitter.isa == Isa::Avx512 => {
                Some(Arg::Stretched(self.emitter.origin(value, self.units).0))
            }
            _ => Some(Arg::Vector(self.get(value)?)),
        }
    }

    /// The register of a result; it may be that of an operand that is not read again.
    fn result(&mut self, value: Value) -> Option<u32> {
        // Operands that end here may be overwritten: an instruction reads before it writes.
        self.release_pins();
        let register = self.free()?;
        self.held.insert(value, register);
        self.owners[register as usize] = Some(value);
        Some(register)
    }

    fn release_pins(&mut self) {
        let now = self.now;
        let over: Vec<Value> = self
            .held
            .keys()
            .copied()
            .filter(|value| {
                let later = self
                    .uses
                    .get(value)
                    .is_some_and(|t| t.iter().any(|t| *t > now));
                !later && !matches!(value, Value::Partial(_))
            })
            .collect();
        for value in over {
            if let Some(register) = self.held.get(&value).copied() {
                self.pinned &= !(1 << register);
            }
            self.drop_value(value);
        }
    }

    /// Whether a register's value is not read after the current instruction.
    fn ends(&self, value: Value) -> bool {
        !self.lasting.contains_key(&value)
            && self.held.contains_key(&value)
            && self.next_use(value) == usize::MAX
            && matches!(
                value,
                Value::Temporary(..) | Value::Vector(..) | Value::Number(_)
            )
    }

    /// Gives the register of an operand that ends to a result.
    fn take_over(&mut self, from: Value, to: Value) -> u32 {
        let register = self.held[&from];
        self.held.remove(&from);
        self.held.insert(to, register);
        self.owners[register as usize] = Some(to);
        register
    }

    fn two(&mut self, op: Op, to: Value, a: Value, b: Value, commutes: bool) -> Option<()> {
        let (a, b) = if commutes && !self.in_register(a) && self.in_register(b) {
            (b, a)
        } else {
            (a, b)
        };
        let x = self.get(a)?;
        let y = self.arg(b)?;
        let d = self.result(to)?;
        self.emitter.asm.op(op, d, x, y);
        Some(())
    }

    fn fused(&mut self, f: Element, to: Value, operands: &[Value]) -> Option<()> {
        let (a, b, c) = (operands[0], operands[1], operands[2]);
        let (onto, times) = match f {
            Element::MulSub => (Op::MulSubTo, Op::TimesSub),
            Element::NegMulAdd => (Op::NegMulAddTo, Op::NegTimesAdd),
            _ => (Op::MulAddTo, Op::TimesAdd),
        };
        if self.in_register(c) && self.ends(c) && c != a && c != b {
            let (a, b) = if self.in_register(a) { (a, b) } else { (b, a) };
            self.get(c)?;
            let x = self.get(a)?;
            let y = self.arg(b)?;
            let d = self.take_over(c, to);
            self.emitter.asm.op(onto, d, x, y);
            return Some(());
        }
        for (dying, other) in [(a, b), (b, a)] {
            if self.in_register(dying) && self.ends(dying) && dying != other && dying != c {
                self.get(dying)?;
                let x = self.get(other)?;
                let z = self.arg(c)?;
                let d = self.take_over(dying, to);
                self.emitter.asm.op(times, d, x, z);
                return Some(());
            }
        }
        let (a, b) = if self.in_register(a) { (a, b) } else { (b, a) };
        let z = self.get(c)?;
        let x = self.get(a)?;
        let y = self.arg(b)?;
        if self.ends(c) && c != a && c != b {
            let d = self.take_over(c, to);
            self.emitter.asm.op(onto, d, x, y);
            return Some(());
        }
        let t = scratch(self.emitter.isa, 0);
        self.emitter.asm.copy(t, z);
        self.emitter.asm.op(onto, t, x, y);
        let d = self.result(to)?;
        self.emitter.asm.copy(d, t);
        Some(())
    }

    /// 1 or another number where a comparison holds, else 0.
    fn truth(&mut self, to: Value, how: Compare, a: u32, b: u32, number: u32) -> Option<()> {
        let one = self.constant(number)?;
        match self.emitter.isa {
            Isa::Avx512 => {
                self.emitter.asm.compare_mask(MASK, None, how, a, b);
                let d = self.result(to)?;
                self.emitter.asm.copy_where(MASK, false, d, one);
            }
            Isa::Avx2 => {
                let t = scratch(Isa::Avx2, 0);
                self.emitter.asm.compare(t, how, a, b);
                let d = self.result(to)?;
                self.emitter.asm.op(Op::And, d, t, Arg::Vector(one));
            }
        }
        Some(())
    }

    /// Where both hold: in the mask register or the first intermediate vector.
    fn both(&mut self, first: (Compare, u32, u32), second: (Compare, u32, u32)) {
        let isa = self.emitter.isa;
        let asm = &mut self.emitter.asm;
        match isa {
            Isa::Avx512 => {
                asm.compare_mask(MASK, None, first.0, first.1, first.2);
                asm.compare_mask(MASK, Some(MASK), second.0, second.1, second.2);
            }
            Isa::Avx2 => {
                let (t, s) = (scratch(isa, 0), scratch(isa, 1));
                asm.compare(t, first.0, first.1, first.2);
                asm.compare(s, second.0, second.1, second.2);
                asm.op(Op::And, t, t, Arg::Vector(s));
            }
        }
    }

    /// `number` where the mask of [`Row::both`] is set, else 0.
    fn where_both(&mut self, to: Value, number: u32) -> Option<()> {
        let d = self.result(to)?;
        match self.emitter.isa {
            Isa::Avx512 => self.emitter.asm.copy_where(MASK, false, d, number),
            Isa::Avx2 => {
                let t = scratch(Isa::Avx2, 0);
                self.emitter.asm.op(Op::And, d, t, Arg::Vector(number));
            }
        }
        Some(())
    }

    fn element(&mut self, f: Element, to: Value, operands: &[Value]) -> Option<()> {
        let a = operands[0];
        let isa = self.emitter.isa;
        let bits = |x: crate::ir::Bits| (x.get() as f32).to_bits();
        match f {
            Element::MulAdd | Element::MulSub | Element::NegMulAdd => {
                return self.fused(f, to, operands);
            }
            Element::Copy => {
                let x = self.get(a)?;
                let d = self.result(to)?;
                self.emitter.asm.copy(d, x);
            }
            Element::PowerOfTwo => {
                let x = self.get(a)?;
                let bias = self.constant(BIAS)?;
                let t = scratch(isa, 0);
                self.emitter.asm.whole(t, x);
                self.emitter.asm.op(Op::AddWhole, t, t, Arg::Vector(bias));
                let d = self.result(to)?;
                self.emitter.asm.exponent(d, t);
            }
            Element::Unary(f) => return self.unary(f, to, a),
            Element::Binary(f) => return self.binary(f, to, a, operands[1]),
            Element::Select => {
                let c = self.get(a)?;
                let x = self.get(operands[1])?;
                let y = self.get(operands[2])?;
                let zero = self.constant(ZERO)?;
                match isa {
                    Isa::Avx512 => {
                        let how = Compare::NotEqual;
                        self.emitter.asm.compare_mask(MASK, None, how, c, zero);
                        let d = self.result(to)?;
                        self.emitter.asm.blend_mask(MASK, d, x, y);
                    }
                    Isa::Avx2 => {
                        let t = scratch(isa, 0);
                        self.emitter.asm.compare(t, Compare::NotEqual, c, zero);
                        let d = self.result(to)?;
                        self.emitter.asm.blend(t, d, x, y);
                    }
                }
            }
            Element::Clip(lo, hi) => {
                let lo = self.constant(bits(lo))?;
                let hi = self.constant(bits(hi))?;
                let x = self.arg(a)?;
                let t = scratch(isa, 0);
                // What is no number comes through, since it is the second operand of both.
                self.emitter.asm.op(Op::Max, t, lo, x);
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Min, d, hi, Arg::Vector(t));
            }
            Element::ClipMask(lo, hi, boundary) => {
                let x = self.get(a)?;
                return self.clip_mask(bits(lo), bits(hi), boundary, to, x);
            }
            Element::Keep(lo, hi, boundary) => {
                let kept = self.get(a)?;
                let x = self.get(operands[1])?;
                let lo = self.constant(bits(lo))?;
                let hi = self.constant(bits(hi))?;
                let (above, below) = match boundary {
                    Boundary::Exclusive => (Compare::Greater, Compare::Less),
                    _ => (Compare::GreaterEqual, Compare::LessEqual),
                };
                self.both((above, x, lo), (below, x, hi));
                return self.where_both(to, kept);
            }
        }
        Some(())
    }

    fn clip_mask(&mut self, lo: u32, hi: u32, boundary: Boundary, to: Value, x: u32) -> Option<()> {
        if boundary == Boundary::StraightThrough {
            let one = self.constant(ONE)?;
            let d = self.result(to)?;
            self.emitter.asm.copy(d, one);
            return Some(());
        }
        let lo = self.constant(lo)?;
        let hi = self.constant(hi)?;
        let closed = ((Compare::GreaterEqual, x, lo), (Compare::LessEqual, x, hi));
        let open = ((Compare::Greater, x, lo), (Compare::Less, x, hi));
        match boundary {
            Boundary::Inclusive => {
                let one = self.constant(ONE)?;
                self.both(closed.0, closed.1);
                self.where_both(to, one)
            }
            Boundary::Exclusive => {
                let one = self.constant(ONE)?;
                self.both(open.0, open.1);
                self.where_both(to, one)
            }
            Boundary::Half | Boundary::StraightThrough => {
                let half = self.constant(HALF)?;
                // Half where closed, and as much again where open.
                let sum = self.free()?;
                self.both(closed.0, closed.1);
                match self.emitter.isa {
                    Isa::Avx512 => {
                        let asm = &mut self.emitter.asm;
                        asm.copy_where(MASK, false, sum, half);
                        asm.compare_mask(MASK, None, open.0 .0, x, lo);
                        asm.compare_mask(MASK, Some(MASK), open.1 .0, x, hi);
                        asm.op_where(Op::Add, MASK, sum, sum, Arg::Vector(half));
                    }
                    Isa::Avx2 => {
                        let t = scratch(Isa::Avx2, 0);
                        self.emitter.asm.op(Op::And, sum, t, Arg::Vector(half));
                        self.both(open.0, open.1);
                        let asm = &mut self.emitter.asm;
                        asm.op(Op::And, t, t, Arg::Vector(half));
                        asm.op(Op::Add, sum, sum, Arg::Vector(t));
                    }
                }
                self.held.insert(to, sum);
                self.owners[sum as usize] = Some(to);
                Some(())
            }
        }
    }

    fn unary(&mut self, f: Unary, to: Value, a: Value) -> Option<()> {
        let isa = self.emitter.isa;
        match f {
            Unary::Neg => {
                let sign = self.constant(SIGN)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Xor, d, sign, x);
            }
            Unary::Abs => {
                let size = self.constant(SIZE)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::And, d, size, x);
            }
            Unary::Relu => {
                let zero = self.constant(ZERO)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Max, d, zero, x);
            }
            Unary::Sqrt => {
                let x = self.get(a)?;
                let d = self.result(to)?;
                self.emitter.asm.sqrt(d, x);
            }
            Unary::Square => {
                let x = self.get(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Mul, d, x, Arg::Vector(x));
            }
            Unary::Recip => {
                let one = self.constant(ONE)?;
                let x = self.arg(a)?;
                let d = self.result(to)?;
                self.emitter.asm.op(Op::Div, d, one, x);
            }
            Unary::Not => {
                let x = self.get(a)?;
                let zero = self.constant(ZERO)?;
                return self.truth(to, Compare::Equal, x, zero, ONE);
            }
            Unary::Sign => {
                let x = self.get(a)?;
                let zero = self.constant(ZERO)?;
                let one = self.constant(ONE)?;
                let minus = self.constant(MINUS_ONE)?;
                let t = scratch(isa, 0);
                match isa {
                    Isa::Avx512 => {
                        let asm = &mut self.emitter.asm;
                        asm.compare_mask(MASK, None, Compare::Greater, x, zero);
                        asm.compare_mask(MASK2, None, Compare::Less, x, zero);
                        asm.copy_where(MASK, false, t, one);
                        asm.copy_where(MASK2, true, t, minus);
                    }
                    Isa::Avx2 => {
                        let s = scratch(isa, 1);
                        let asm = &mut self.emitter.asm;
                        asm.compare(t, Compare::Greater, x, zero);
                        asm.op(Op::And, t, t, Arg::Vector(one));
                        asm.compare(s, Compare::Less, x, zero);
                        asm.op(Op::And, s, s, Arg::Vector(minus));
                        asm.op(Op::Add, t, t, Arg::Vector(s));
                    }
                }
                let d = self.result(to)?;
                self.emitter.asm.copy(d, t);
            }
            Unary::Tanh
            | Unary::Sigmoid
            | Unary::Softplus
            | Unary::Exp
            | Unary::Log
            | Unary::Sin
            | Unary::Cos => return None,
        }
        Some(())
    }

    fn binary(&mut self, f: Binary, to: Value, a: Value, b: Value) -> Option<()> {
        let op = match f {
            Binary::Add => return self.two(Op::Add, to, a, b, true),
            Binary::Mul => return self.two(Op::Mul, to, a, b, true),
            Binary::Sub => return self.two(Op::Sub, to, a, b, false),
            Binary::Div => return self.two(Op::Div, to, a, b, false),
            // `b` where it is smaller or larger, else `a`, also where one is no number.
            Binary::Min => return self.two(Op::Min, to, b, a, false),
            Binary::Max => return self.two(Op::Max, to, b, a, false),
            Binary::Less => Compare::Less,
            Binary::LessEqual => Compare::LessEqual,
            Binary::Equal => Compare::Equal,
            Binary::And | Binary::Or => return self.logic(f, to, a, b),
            Binary::Pow => return None,
        };
        let x = self.get(a)?;
        let y = self.get(b)?;
        self.truth(to, op, x, y, ONE)
    }

    fn logic(&mut self, f: Binary, to: Value, a: Value, b: Value) -> Option<()> {
        let x = self.get(a)?;
        let y = self.get(b)?;
        let zero = self.constant(ZERO)?;
        let one = self.constant(ONE)?;
        let first = (Compare::NotEqual, x, zero);
        let second = (Compare::NotEqual, y, zero);
        if f == Binary::And {
            self.both(first, second);
            return self.where_both(to, one);
        }
        let isa = self.emitter.isa;
        let (t, s) = (scratch(isa, 0), scratch(isa, 1));
        let asm = &mut self.emitter.asm;
        match isa {
            Isa::Avx512 => {
                asm.compare_mask(MASK, None, Compare::NotEqual, x, zero);
                asm.compare_mask(MASK2, None, Compare::NotEqual, y, zero);
                asm.or_masks(MASK, MASK, MASK2);
            }
            Isa::Avx2 => {
                asm.compare(t, Compare::NotEqual, x, zero);
                asm.compare(s, Compare::NotEqual, y, zero);
                // Either: what is set in one of two masks is set in their blend by the first.
                asm.blend(t, t, t, s);
            }
        }
        self.where_both(to, one)
    }

    fn root(&mut self, k: usize, root: Root, u: usize) -> Option<()> {
        let unit = self.units[u];
        let value = Value::of(root.value, u);
        let times = root.times.map(|source| Value::of(source, u));
        let masked = self.masked && unit.masked;
        match root.kind {
            RootKind::SumPre(..) => {
                let sum = self.lasting[&Value::Sum(k, u)];
                self.add_onto(sum, value, times, false, unit)
            }
            RootKind::SumBoth(..) => {
                let sum = self.lasting[&Value::Sum(k, 0)];
                self.add_onto(sum, value, times, masked, unit)
            }
            RootKind::SumPost(..) => {
                let partial = Value::Partial(k);
                let sum = self.get(partial)?;
                self.pin(sum);
                self.add_onto(sum, value, times, masked, unit)?;
                if u + 1 == self.units.len() {
                    let (at, _) = self.emitter.origin(partial, self.units);
                    self.emitter.asm.store(at, sum);
                    self.drop_value(partial);
                }
                Some(())
            }
            RootKind::Gradient(_) => {
                let x = self.get(value)?;
                let t = scratch(self.emitter.isa, 0);
                match times {
                    Some(times) => {
                        let y = self.get(times)?;
                        let at = self.emitter.target(root.kind, unit);
                        self.emitter.asm.load(t, at);
                        self.emitter.asm.op(Op::MulAddTo, t, x, Arg::Vector(y));
                    }
                    None => {
                        let at = self.emitter.target(root.kind, unit);
                        self.emitter.asm.op(Op::Add, t, x, Arg::Memory(at));
                    }
                }
                let at = self.emitter.target(root.kind, unit);
                self.emitter.asm.store(at, t);
                Some(())
            }
            RootKind::State(_) | RootKind::Adjoint(_) => {
                let x = self.get(value)?;
                let at = self.emitter.target(root.kind, unit);
                self.emitter.asm.store(at, x);
                Some(())
            }
            RootKind::MaxPre(..) | RootKind::MaxPost(..) | RootKind::MaxBoth(..) => None,
        }
    }

    fn add_onto(
        &mut self,
        sum: u32,
        value: Value,
        times: Option<Value>,
        masked: bool,
        unit: Unit,
    ) -> Option<()> {
        let isa = self.emitter.isa;
        let (value, times) = match times {
            Some(times) if !self.in_register(value) && self.in_register(times) => {
                (times, Some(value))
            }
            other => (value, other),
        };
        if masked && isa == Isa::Avx2 {
            let x = self.get(value)?;
            let t = scratch(isa, 0);
            match times {
                Some(times) => {
                    let y = self.arg(times)?;
                    self.emitter.asm.op(Op::Mul, t, x, y);
                }
                None => self.emitter.asm.copy(t, x),
            }
            let at = fixed(self.emitter.tail + unit.part as u64);
            self.emitter.asm.op(Op::And, t, t, Arg::Memory(at));
            self.emitter.asm.op(Op::Add, sum, sum, Arg::Vector(t));
            return Some(());
        }
        let (op, x, y) = match times {
            Some(times) => {
                let x = self.get(value)?;
                (Op::MulAddTo, x, self.arg(times)?)
            }
            None => (Op::Add, sum, self.arg(value)?),
        };
        if masked {
            self.emitter.asm.op_where(op, TAIL, sum, x, y);
        } else {
            self.emitter.asm.op(op, sum, x, y);
        }
        Some(())
    }
}
