//! Machine code for the vector code between sweeps, generated when a program is compiled.
//!
//! A run of instructions becomes one function, with addresses and constants in it; a product with a matrix is one of its
//! own. Results have the bits of `run`, which runs what has no machine code: functions without a short formula (`log`, `sin`),
//! long maxima, other CPUs.

#[cfg(test)]
mod tests;

use crate::machine::abi::{address, Function, PARTIAL};
use crate::machine::lane::Memory;
use crate::machine::processor::{processor, Processor};
use crate::program::code::{Instr, OuterSum};
use crate::program::cost::of_vectors;
use std::ops::Range;

/// The machine code of a list of instructions.
#[derive(Debug, Default)]
pub struct VectorCode {
    /// The operations and bytes of all instructions before each, and how many of them have machine code.
    before: Vec<VectorUse>,
    /// By instruction, the function that begins with it.
    starts: Vec<Option<Box<Run>>>,
    /// The memory of the code.
    #[cfg(all(target_arch = "x86_64", unix))]
    _pages: Option<crate::machine::pages::Pages>,
}

/// What some vector code does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VectorUse {
    pub operations: u64,
    pub bytes: u64,
    /// The number of instructions.
    pub instructions: usize,
    /// The number of those with machine code.
    pub compiled: usize,
}

/// A function for some instructions.
#[derive(Debug)]
struct Run {
    function: Function,
    /// The instruction after them.
    next: usize,
    /// The outer products whose vectors are kept, by their numbers.
    outers: Vec<usize>,
    /// The elements of scratch memory that it needs.
    scratch: usize,
}

impl VectorCode {
    /// Compiles what it can for this CPU. The list must be one of a verified program.
    pub(crate) fn new(instrs: &[Instr]) -> VectorCode {
        let mut code = match processor() {
            Processor::Avx512 | Processor::Avx2 => VectorCode::compiled(instrs),
            Processor::Other => VectorCode::default(),
        };
        let (mut sum, mut end) = (VectorUse::default(), 0);
        code.before.push(sum);
        for (k, instr) in instrs.iter().enumerate() {
            if let Some(Some(run)) = code.starts.get(k) {
                end = run.next;
            }
            let (operations, bytes) = of_vectors(instr);
            sum.operations += operations;
            sum.bytes += bytes;
            sum.instructions += 1;
            sum.compiled += usize::from(k < end);
            code.before.push(sum);
        }
        code
    }

    /// What some of the instructions do, once.
    pub(crate) fn uses(&self, range: Range<usize>) -> VectorUse {
        let (from, to) = (self.before[range.start], self.before[range.end]);
        VectorUse {
            operations: to.operations - from.operations,
            bytes: to.bytes - from.bytes,
            instructions: to.instructions - from.instructions,
            compiled: to.compiled - from.compiled,
        }
    }

    #[cfg(not(all(target_arch = "x86_64", unix)))]
    fn compiled(_: &[Instr]) -> VectorCode {
        VectorCode::default()
    }

    #[cfg(all(target_arch = "x86_64", unix))]
    fn compiled(instrs: &[Instr]) -> VectorCode {
        let (code, pieces) = crate::machine::x86::vectors::compile(instrs);
        let Some(pages) = crate::machine::pages::Pages::new(&code) else {
            return VectorCode::default();
        };
        let mut starts: Vec<Option<Box<Run>>> = instrs.iter().map(|_| None).collect();
        for piece in pieces {
            let at = pages.address(piece.start);
            // SAFETY: a function with this signature begins at this address.
            let function = unsafe { std::mem::transmute::<*const u8, Function>(at) };
            starts[piece.from] = Some(Box::new(Run {
                function,
                next: piece.to,
                outers: piece.outers,
                scratch: piece.scratch,
            }));
        }
        VectorCode {
            starts,
            _pages: Some(pages),
            ..VectorCode::default()
        }
    }

    /// Returns true if machine code begins with instruction `k`.
    pub(crate) fn begins(&self, k: usize) -> bool {
        self.starts.get(k).is_some_and(Option::is_some)
    }

    /// Runs the machine code that begins with instruction `k`; returns the instruction after it, or `None` without code.
    pub(crate) fn run(
        &self,
        k: usize,
        outers: &[OuterSum],
        memory: &mut Memory<'_, f32>,
    ) -> Option<usize> {
        let run = self.starts.get(k)?.as_ref()?;
        let scratch = &mut *memory.scratch;
        scratch.partial.grow(run.scratch);
        let addresses = &mut scratch.addresses.0;
        addresses.clear();
        addresses.extend([
            memory.lane.as_mut_ptr(),
            memory.before.as_mut_ptr(),
            memory.record.as_ptr().cast_mut(),
            memory.record_before.as_ptr().cast_mut(),
            memory.shared.as_ptr().cast_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        ]);
        for index in &run.outers {
            // A full batch is multiplied before its vectors are written.
            let of = outers[*index];
            let (a, b) = memory.outers[*index].next(of, memory.sums);
            addresses.extend([a.as_mut_ptr(), b.as_mut_ptr()]);
        }
        addresses[address::SUMS] = memory.sums.as_mut_ptr();
        addresses[PARTIAL] = scratch.partial.as_mut_ptr();
        // SAFETY: the function was generated for the sizes of these memories: the program was verified, memories fill whole
        // cache lines, and vectors of outer products are filled up to them. Records and shared memory are only read.
        unsafe { (run.function)(addresses.as_ptr()) };
        Some(run.next)
    }
}
