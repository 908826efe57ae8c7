//! Machine code of 256 or 512 bits for x86-64, written by ourselves: the portable code generator stops at 128.
//!
//! A sweep becomes one function: groups of panels, rows inside, and for every row its operations on one vector
//! after another. Sums over pre stay in registers for a whole group; sums over post are kept a vector wide for every row
//! and joined at the end. The last panel is a group of its own whose filling is left out of sums over post.
//!
//! `assembler` holds the instructions, `row` the operations of a row with their registers, `values` what lies in
//! registers. `vectors` writes the code between sweeps.

mod assembler;
#[cfg(test)]
pub(super) mod emulator;
mod row;
mod scalars;
mod values;
pub(super) mod vectors;

use crate::machine::abi::{address, gathered_at, PARTIAL};
use crate::program::code::{Area, RootKind, Source, Sweep};
use crate::program::extent::Extent;
use crate::program::layout::PANEL;
use crate::program::masks::masks;
use assembler::{Assembler, At, Counts, TAIL};
use iced_x86::Register;
use row::plan::Plan;
use row::Row;
use std::collections::BTreeMap;
use values::{constants, Unit, Value, ONE, ZERO};

/// The instruction set of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// The set AVX-512: 32 vectors of 16 elements.
    Avx512,
    /// The set AVX2: 16 vectors of 8 elements.
    Avx2,
}

impl Isa {
    /// The number of elements per vector.
    fn width(self) -> usize {
        match self {
            Isa::Avx512 => 16,
            Isa::Avx2 => 8,
        }
    }

    /// The number of vectors for values; the others are for intermediate results.
    fn vectors(self) -> u32 {
        match self {
            Isa::Avx512 => 30,
            Isa::Avx2 => 14,
        }
    }

    /// The least number of vectors for values that do not last for a whole group.
    fn least(self) -> u32 {
        6
    }

    /// The number of panels in a group.
    fn panels(self) -> usize {
        match self {
            Isa::Avx512 => 2,
            Isa::Avx2 => 1,
        }
    }
}

/// The table of addresses.
const TABLE: Register = Register::RDI;
/// The offset of a row's element in a vector over pre.
const ROW: Register = Register::RCX;
/// The offset of a panel's row in a block.
const BLOCK: Register = Register::RDX;
/// The offset of a panel in a vector over post.
const COLUMN: Register = Register::RSI;
/// The offset of a row in the partial sums.
const SUMS: Register = Register::R15;
/// The registers of the most used addresses.
const BASES: [Register; 9] = [
    Register::RBX,
    Register::RBP,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
];
/// The registers that the caller expects unchanged.
const SAVED: [Register; 6] = [
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// The bytes of the frame: a cache line of what is restored at the end, then values that have no register.
const FRAME: i32 = 64 + SLOTS as i32 * 64;
const SLOTS: usize = 160;
/// The offset of the caller's stack in the frame.
const STACK: usize = 16;

/// The code of a sweep and the offset of its start; `None` if the sweep needs anything unsupported.
pub fn compile(isa: Isa, sweep: &Sweep, blocks: usize) -> Option<(Vec<u8>, usize)> {
    let mut emitter = Emitter::new(isa, sweep, blocks);
    let start = emitter.asm.here();
    emitter.whole()?;
    Some((emitter.asm.finish(), start as usize))
}

/// The code of a sweep, the offset of its start, and its instructions with their offsets.
#[cfg(test)]
pub type Listing = (Vec<u8>, u64, Vec<(u64, iced_x86::Instruction)>);

/// The code of a sweep with its instructions, for the emulator.
#[cfg(test)]
pub fn listing(isa: Isa, sweep: &Sweep, blocks: usize) -> Option<Listing> {
    let mut emitter = Emitter::new(isa, sweep, blocks);
    let start = emitter.asm.here();
    emitter.whole()?;
    let log = std::mem::take(&mut emitter.asm.log);
    Some((emitter.asm.finish(), start, log))
}

/// The instructions of a row of panels without padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowCounts {
    /// Those for one vector.
    pub instructions: f64,
    /// Those of a row that write values which found no register.
    pub spills: usize,
}

/// Counts the instructions of a row; `None` if the sweep has no machine code.
pub fn count(isa: Isa, sweep: &Sweep, blocks: usize) -> Option<RowCounts> {
    let mut emitter = Emitter::new(isa, sweep, blocks);
    let units = emitter.units(isa.panels(), PANEL);
    let plan = Plan::best(&mut emitter, &units, false)?;
    let mut row = Row::new(&mut emitter, &units, false, &plan);
    row.enter()?;
    row.emitter.asm.counts = Counts::default();
    row.emit()?;
    let counts = row.emitter.asm.counts;
    Some(RowCounts {
        instructions: counts.instructions as f64 / units.len() as f64,
        spills: counts.spills,
    })
}

/// Writes a sweep.
struct Emitter<'a> {
    asm: Assembler,
    isa: Isa,
    sweep: &'a Sweep,
    blocks: usize,
    /// The offsets of constants, by their bits.
    constants: BTreeMap<u32, u64>,
    /// The offset of the mask of the last panel, one number per column.
    tail: u64,
    /// The registers of addresses, by their position in the table.
    bases: BTreeMap<usize, Register>,
    /// What temporaries vary with, and which of them are masks.
    extents: Vec<Extent>,
    masks: Vec<bool>,
    /// The plan of the panels before.
    plan: Option<Plan>,
}

impl<'a> Emitter<'a> {
    fn new(isa: Isa, sweep: &'a Sweep, blocks: usize) -> Emitter<'a> {
        let mut asm = Assembler::new(isa);
        let tail = asm.here();
        let columns = sweep.layout.columns(sweep.layout.panels() - 1);
        for k in 0..PANEL {
            let bits: u32 = if k < columns { u32::MAX } else { 0 };
            asm.data(&bits.to_le_bytes());
        }
        let mut pool = BTreeMap::from([(ZERO, 0), (ONE, 0)]);
        for bits in sweep.ops.iter().flat_map(|op| constants(op.f)) {
            pool.entry(bits).or_insert(0);
        }
        let operands = sweep.ops.iter().flat_map(|op| op.operands);
        let roots = sweep
            .roots
            .iter()
            .flat_map(|root| [Some(root.value), root.times]);
        for source in operands.chain(roots.flatten()) {
            if let Source::Number(bits) = source {
                pool.entry(bits).or_insert(0);
            }
        }
        for (bits, offset) in &mut pool {
            *offset = asm.here();
            for _ in 0..PANEL {
                asm.data(&bits.to_le_bytes());
            }
        }
        let extents = Extent::all(&sweep.ops);
        let mut emitter = Emitter {
            asm,
            isa,
            sweep,
            blocks,
            constants: pool,
            tail,
            bases: BTreeMap::new(),
            masks: masks(sweep, &extents),
            extents,
            plan: None,
        };
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for k in emitter.addresses() {
            *counts.entry(k).or_insert(0) += 1;
        }
        let mut order: Vec<(usize, usize)> = counts.into_iter().collect();
        // The partial sums always have a register: they are stored in between.
        order.sort_by_key(|(k, count)| (*k != PARTIAL, std::cmp::Reverse(*count), *k));
        for ((k, _), register) in order.into_iter().zip(BASES) {
            emitter.bases.insert(k, register);
        }
        emitter
    }

    /// The positions in the table of all memories that a row touches.
    fn addresses(&self) -> Vec<usize> {
        let blocks = self.blocks;
        let of = |source: Source| match source {
            Source::State(k) => Some(address::state_in(k)),
            Source::Adjoint(k) => Some(address::adjoint(k, blocks)),
            Source::Matrix(area, _) => Some(address::area(area)),
            Source::Post(place) | Source::Pre(place) => Some(address::area(place.area)),
            Source::Gathered(_) => Some(address::GATHERED),
            Source::Temporary(_) | Source::Number(_) => None,
        };
        let operands = self
            .sweep
            .ops
            .iter()
            .flat_map(|op| op.operands[..op.f.arity()].iter().copied());
        let mut out: Vec<usize> = operands.filter_map(of).collect();
        for root in &self.sweep.roots {
            out.extend(of(root.value));
            out.extend(root.times.and_then(of));
            match root.kind {
                RootKind::State(k) => out.push(address::state_out(k, blocks)),
                RootKind::Adjoint(k) => out.push(address::adjoint(k, blocks)),
                RootKind::Gradient(_) => out.extend([address::SUMS, address::SUMS]),
                RootKind::SumPost(..) => out.extend([PARTIAL, PARTIAL]),
                _ => {}
            }
        }
        out
    }

    fn whole(&mut self) -> Option<()> {
        for register in SAVED {
            self.asm.save(register);
        }
        self.asm.enter(FRAME, frame(STACK));
        self.asm.flush_small(frame(0));
        for (k, register) in self.bases.clone() {
            let at = At {
                base: TABLE,
                index: Register::None,
                offset: 8 * k as i64,
            };
            self.asm.load_address(register, at);
        }
        self.asm.clear(BLOCK);
        self.asm.clear(COLUMN);
        let layout = self.sweep.layout;
        let group = self.isa.panels();
        let filled = !layout.cols.is_multiple_of(PANEL);
        // Panels without padding form groups; then come the remaining panels, the last with padding.
        let whole = layout.cols / PANEL / group;
        if whole > 0 {
            let units = self.units(group, PANEL);
            let start = self.asm.here();
            self.group(&units, group, false)?;
            if whole > 1 {
                let end = (whole * group * PANEL * 4) as i32;
                self.asm.while_below(COLUMN, end, start);
            }
        }
        let left = layout.panels() - whole * group;
        if left > 0 {
            let last = layout.columns(layout.panels() - 1);
            let units = self.units(left, last);
            if filled && self.isa == Isa::Avx512 {
                self.asm.set_mask(TAIL, (1 << last) - 1);
            }
            self.group(&units, left, filled)?;
        }
        self.asm.keep_small(frame(0));
        self.asm.load_address(Register::RSP, frame(STACK));
        for register in SAVED.into_iter().rev() {
            self.asm.restore(register);
        }
        self.asm.leave();
        Some(())
    }

    /// The vectors of a row of some panels; `last` columns of the last panel are not padding.
    fn units(&self, panels: usize, last: usize) -> Vec<Unit> {
        let width = self.isa.width();
        let mut out = Vec::new();
        for panel in 0..panels {
            for part in 0..PANEL / width {
                let columns = if panel + 1 == panels { last } else { PANEL };
                if part * width >= columns {
                    continue;
                }
                out.push(Unit {
                    block: (panel * self.sweep.layout.rows * PANEL + part * width) * 4,
                    column: (panel * PANEL + part * width) * 4,
                    masked: columns < (part + 1) * width,
                    part: part * width * 4,
                });
            }
        }
        out
    }

    /// Writes all rows of some panels.
    fn group(&mut self, units: &[Unit], panels: usize, masked: bool) -> Option<()> {
        let rows = self.sweep.layout.rows;
        let posts = self.has_post_sums();
        let adapted = match self.plan.take() {
            Some(plan) => plan.adapted(self, units, masked),
            None => None,
        };
        let plan = match adapted {
            Some(plan) => plan,
            None => Plan::best(self, units, masked)?,
        };
        let mut row = Row::new(self, units, masked, &plan);
        row.enter()?;
        row.emitter.asm.clear(ROW);
        if posts {
            row.emitter.asm.clear(SUMS);
        }
        let start = row.emitter.asm.here();
        row.emit()?;
        let asm = &mut row.emitter.asm;
        asm.add(ROW, 4);
        asm.add(BLOCK, (PANEL * 4) as i32);
        if posts {
            asm.add(SUMS, (PANEL * 4) as i32);
        }
        asm.while_below(ROW, (rows * 4) as i32, start);
        row.exit();
        let asm = &mut self.asm;
        asm.add(BLOCK, ((panels - 1) * rows * PANEL * 4) as i32);
        asm.add(COLUMN, (panels * PANEL * 4) as i32);
        self.plan = Some(plan);
        Some(())
    }

    /// The number of running sums over pre of some vectors.
    fn sums(&self, units: &[Unit]) -> usize {
        let roots = self.sweep.roots.iter();
        let of = |kind: RootKind| match kind {
            RootKind::SumPre(..) => units.len(),
            RootKind::SumBoth(..) => 1,
            _ => 0,
        };
        roots.map(|root| of(root.kind)).sum()
    }

    fn has_post_sums(&self) -> bool {
        self.sweep
            .roots
            .iter()
            .any(|root| matches!(root.kind, RootKind::SumPost(..)))
    }

    /// The register of an address of the table.
    fn base(&mut self, k: usize) -> Register {
        if let Some(register) = self.bases.get(&k) {
            return *register;
        }
        let at = At {
            base: TABLE,
            index: Register::None,
            offset: 8 * k as i64,
        };
        self.asm.load_address(Register::RAX, at);
        Register::RAX
    }

    fn memory(&mut self, k: usize, index: Register, elements: usize, bytes: usize) -> At {
        At {
            base: self.base(k),
            index,
            offset: (elements * 4 + bytes) as i64,
        }
    }

    /// The start of a root's partial sums in bytes: those over post have a vector per row, then come those
    /// over both sides.
    fn partial(&self, root: usize) -> usize {
        crate::machine::abi::partial_offset(self.sweep, root) * 4
    }

    /// The origin of a value that is not computed; `true` if it is a scalar.
    fn origin(&mut self, value: Value, units: &[Unit]) -> (At, bool) {
        match value {
            Value::Vector(u, Source::State(k)) => {
                let k = address::state_in(k);
                (self.memory(k, BLOCK, 0, units[u].block), false)
            }
            Value::Vector(u, Source::Adjoint(k)) => {
                let k = address::adjoint(k, self.blocks);
                (self.memory(k, BLOCK, 0, units[u].block), false)
            }
            Value::Vector(u, Source::Matrix(area, at)) => {
                let k = address::area(area);
                (self.memory(k, BLOCK, at, units[u].block), false)
            }
            Value::Vector(u, Source::Post(place)) => {
                let k = address::area(place.area);
                (self.memory(k, COLUMN, place.at, units[u].column), false)
            }
            Value::Vector(u, Source::Gathered(gathered)) => {
                let at = gathered_at(self.sweep, gathered);
                let at = self.memory(address::GATHERED, COLUMN, at, units[u].column);
                (at, false)
            }
            Value::Number(Source::Pre(place)) if place.stride != 0 => {
                let k = address::area(place.area);
                (self.memory(k, ROW, place.at, 0), true)
            }
            Value::Number(Source::Pre(place) | Source::Post(place)) => {
                let k = address::area(place.area);
                (self.memory(k, Register::None, place.at, 0), true)
            }
            Value::Constant(bits) => (fixed(self.constants[&bits]), false),
            Value::Partial(root) => {
                let bytes = self.partial(root);
                (self.memory(PARTIAL, SUMS, 0, bytes), false)
            }
            Value::Temporary(..)
            | Value::Row(_)
            | Value::Column(..)
            | Value::Scalar(_)
            | Value::Sum(..)
            | Value::Vector(..)
            | Value::Number(_) => {
                unreachable!("computed values lie in registers or in the frame")
            }
        }
    }

    /// The target in a block of a root's vector.
    fn target(&mut self, kind: RootKind, unit: Unit) -> At {
        let (k, at) = match kind {
            RootKind::State(k) => (address::state_out(k, self.blocks), 0),
            RootKind::Adjoint(k) => (address::adjoint(k, self.blocks), 0),
            RootKind::Gradient(at) => (address::SUMS, at),
            _ => unreachable!("sums are in registers"),
        };
        self.memory(k, BLOCK, at, unit.block)
    }

    /// The target of a vector's sums over pre.
    fn vector(&mut self, area: Area, to: usize, unit: Unit) -> At {
        self.memory(address::area(area), COLUMN, to, unit.column)
    }
}

/// An address in the frame.
fn frame(offset: usize) -> At {
    At {
        base: Register::RSP,
        index: Register::None,
        offset: offset as i64,
    }
}

/// The address of a value in the frame.
fn slot(k: usize) -> At {
    frame(64 + k * 64)
}

/// An address in the code.
fn fixed(offset: u64) -> At {
    At {
        base: Register::RIP,
        index: Register::None,
        offset: offset as i64,
    }
}
