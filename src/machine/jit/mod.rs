//! Machine code for sweeps, generated when a program is compiled.
//!
//! A sweep becomes one function: panels of columns, rows inside, every value of an element in a register; sums over
//! pre stay in registers, sums over post are kept a vector wide for every row and joined at the end. Whatever rule
//! the spec has takes this path. Sweeps with a function that needs a series (`tanh`, `exp`, ...) per
//! connection, and reductions by maximum, run in [`interpret`](crate::machine::interpret) instead.
//!
//! [`x86`](crate::machine) writes 512 or 256 bits for x86-64, and CPUs of that kind with neither are left to the interpreter.
//! Elsewhere [`portable`](crate::machine) writes 128 bits for any CPU that its code generator knows.

#[cfg(test)]
mod tests;

use crate::machine::abi::{gathers, has_short_offsets, partial_offset, Function};
use crate::machine::dispatch::dispatch;
use crate::machine::elements::pick;
use crate::machine::interpret::interpreted;
use crate::machine::lane::{Blocks, Memory};
#[cfg(all(target_arch = "x86_64", unix))]
use crate::machine::pages::Pages;
use crate::machine::processor::{processor, Processor};
use crate::machine::series;
#[cfg(all(target_arch = "x86_64", unix))]
use crate::machine::x86;
use crate::program::code::{Area, RootKind, Sweep};
use crate::program::layout::{filled, PANEL};

/// The machine code of some sweeps.
#[derive(Debug)]
pub struct Machine {
    functions: Vec<Option<Function>>,
    /// The sweeps with series expanded, for the interpreter: it rounds like machine code, whichever runs a
    /// sweep.
    sweeps: Vec<Sweep>,
    forms: Vec<&'static str>,
    /// The owner of the code.
    _owner: Option<Box<dyn Owner>>,
}

/// The owner of the memory of machine code.
trait Owner: std::fmt::Debug + Send + Sync {}

impl<T: std::fmt::Debug + Send + Sync> Owner for T {}

/// The form of a sweep without machine code.
const INTERPRETED: &str = "interpreted";

/// The bits of a vector in machine code for this CPU; `None` if the interpreter runs every sweep.
pub fn vector_bits() -> Option<u32> {
    match processor() {
        #[cfg(all(target_arch = "x86_64", unix))]
        Processor::Avx512 => Some(512),
        #[cfg(all(target_arch = "x86_64", unix))]
        Processor::Avx2 => Some(256),
        _ => (!cfg!(all(target_arch = "x86_64", unix))).then_some(128),
    }
}

/// The instructions of each sweep for 8 connections in 256-bit code, and how many of a row write values that found no
/// register; `None` for a sweep without machine code. The loop itself does not count.
#[cfg(all(target_arch = "x86_64", unix))]
pub(crate) fn instructions(sweeps: &[Sweep], blocks: usize) -> Vec<Option<(f64, usize)>> {
    let count = |sweep: &Sweep| {
        let counts = x86::count(x86::Isa::Avx2, &series::expand(sweep), blocks)?;
        Some((counts.instructions, counts.spills))
    };
    sweeps.iter().map(count).collect()
}

impl Machine {
    /// Compiles the sweeps for this CPU as far as possible; nothing without a code generator for it.
    pub(crate) fn new(sweeps: &[Sweep], blocks: usize) -> Machine {
        Machine::of(processor(), sweeps, blocks)
    }

    /// Compiles for a kind of CPU, which must be this one or a lesser one.
    #[cfg(all(target_arch = "x86_64", unix))]
    pub(crate) fn of(processor: Processor, sweeps: &[Sweep], blocks: usize) -> Machine {
        match processor {
            Processor::Avx512 => {
                Machine::wide(x86::Isa::Avx512, "machine code, 512 bits", sweeps, blocks)
            }
            Processor::Avx2 => {
                Machine::wide(x86::Isa::Avx2, "machine code, 256 bits", sweeps, blocks)
            }
            Processor::Other => Machine::interpreted(sweeps),
        }
    }

    /// Compiles for any kind of CPU.
    #[cfg(not(all(target_arch = "x86_64", unix)))]
    pub(crate) fn of(_: Processor, sweeps: &[Sweep], blocks: usize) -> Machine {
        Machine::portable(sweeps, blocks)
    }

    /// Leaves all sweeps to the interpreter.
    #[cfg(all(target_arch = "x86_64", unix))]
    fn interpreted(sweeps: &[Sweep]) -> Machine {
        Machine {
            functions: vec![None; sweeps.len()],
            sweeps: sweeps.iter().map(series::expand).collect(),
            forms: vec![INTERPRETED; sweeps.len()],
            _owner: None,
        }
    }

    /// Compiles with the portable code generator. On x86-64 it is built for tests alone, because it takes long to build.
    #[cfg(any(test, not(all(target_arch = "x86_64", unix))))]
    fn portable(sweeps: &[Sweep], blocks: usize) -> Machine {
        use crate::machine::portable::Portable;
        let sweeps: Vec<Sweep> = sweeps.iter().map(series::expand).collect();
        let (portable, functions) = Portable::new(&sweeps, blocks);
        Machine {
            forms: forms(&functions, "machine code, 128 bits"),
            sweeps,
            functions,
            _owner: portable.map(|portable| Box::new(portable) as _),
        }
    }

    #[cfg(all(target_arch = "x86_64", unix))]
    fn wide(isa: x86::Isa, form: &'static str, sweeps: &[Sweep], blocks: usize) -> Machine {
        let mut code = Vec::new();
        let mut starts = Vec::new();
        let sweeps: Vec<Sweep> = sweeps.iter().map(series::expand).collect();
        for sweep in &sweeps {
            let fits = has_short_offsets(sweep);
            starts.push(
                fits.then(|| x86::compile(isa, sweep, blocks))
                    .flatten()
                    .map(|(bytes, start)| {
                        // The constants of a function are aligned like the function.
                        code.resize(code.len().next_multiple_of(64), 0);
                        let at = code.len() + start;
                        code.extend(bytes);
                        at
                    }),
            );
        }
        let pages = Pages::new(&code);
        let functions: Vec<Option<Function>> = starts
            .into_iter()
            .map(|start| {
                let at = pages.as_ref()?.address(start?);
                // SAFETY: a function with this signature begins at this address.
                Some(unsafe { std::mem::transmute::<*const u8, Function>(at) })
            })
            .collect();
        Machine {
            forms: forms(&functions, form),
            sweeps,
            functions,
            _owner: pages.map(|pages| Box::new(pages) as _),
        }
    }

    /// The form in which sweep `k` runs, in words.
    pub(crate) fn form(&self, k: usize) -> &'static str {
        self.forms.get(k).copied().unwrap_or(INTERPRETED)
    }

    /// Runs sweep `k`, with machine code if there is some.
    pub(crate) fn run(&self, k: usize, sweep: &Sweep, memory: &mut Memory<'_, f32>) {
        let Some(function) = self.functions[k] else {
            interpreted(&self.sweeps[k], memory);
            return;
        };
        gather(&self.sweeps[k], memory);
        // SAFETY: the function was generated for the sizes of these memories: offsets of places and sums lie inside
        // the sizes the program was assembled with, vectors and blocks are filled up to whole panels. Records,
        // shared memory and blocks of `Blocks::Read` are only read: no sweep that runs with them stores traces.
        Machine::call(sweep, memory, |table| unsafe { function(table) });
    }

    /// Calls a sweep's function with the table of addresses, and joins its partial sums.
    fn call(sweep: &Sweep, memory: &mut Memory<'_, f32>, function: impl FnOnce(*const *mut f32)) {
        let scratch = &mut *memory.scratch;
        let sums = partial_offset(sweep, sweep.roots.len());
        scratch.partial.grow(sums);
        scratch.partial[..sums].fill(0.0);
        let addresses = &mut scratch.addresses.0;
        addresses.clear();
        addresses.push(memory.lane.as_mut_ptr());
        addresses.push(memory.before.as_mut_ptr());
        addresses.push(memory.record.as_ptr().cast_mut());
        addresses.push(memory.record_before.as_ptr().cast_mut());
        addresses.push(memory.shared.as_ptr().cast_mut());
        addresses.push(memory.sums.as_mut_ptr());
        addresses.push(scratch.partial.as_mut_ptr());
        addresses.push(scratch.gathered.as_mut_ptr());
        match &mut memory.blocks {
            Blocks::InPlace(blocks) => {
                for _ in 0..2 {
                    addresses.extend(blocks.iter_mut().map(|block| block.as_mut_ptr()));
                }
            }
            Blocks::Apart { from, to } => {
                addresses.extend(from.iter().map(|block| block.as_ptr().cast_mut()));
                addresses.extend(to.iter_mut().map(|block| block.as_mut_ptr()));
            }
            Blocks::Read(from) => {
                for _ in 0..2 {
                    addresses.extend(from.iter().map(|block| block.as_ptr().cast_mut()));
                }
            }
        }
        addresses.extend(memory.adjoints.iter_mut().map(|block| block.as_mut_ptr()));
        function(addresses.as_ptr());
        Machine::join(sweep, memory);
    }

    /// Computes sums over post of each row, and sums over both sides, from the partial sums.
    fn join(sweep: &Sweep, memory: &mut Memory<'_, f32>) {
        for (k, root) in sweep.roots.iter().enumerate() {
            let (area, to, n) = match root.kind {
                RootKind::SumPost(area, to) => (area, to, sweep.layout.rows),
                RootKind::SumBoth(area, to) => (area, to, 1),
                _ => continue,
            };
            let at = partial_offset(sweep, k);
            let partial = &memory.scratch.partial[at..at + n * PANEL];
            let out = match area {
                Area::Before => &mut memory.before[to..to + n],
                Area::Lane | Area::Record | Area::RecordBefore | Area::Shared => {
                    &mut memory.lane[to..to + n]
                }
            };
            join_rows(out, partial);
        }
    }
}

/// Gathers the vectors that a sweep reads by the positions of its connections.
fn gather(sweep: &Sweep, memory: &mut Memory<'_, f32>) {
    let all = gathers(sweep);
    if all.is_empty() {
        return;
    }
    let n = filled(sweep.layout.cols);
    let mut gathered = std::mem::take(&mut memory.scratch.gathered);
    gathered.grow(all.len() * n);
    for (g, out) in all.iter().zip(gathered.chunks_exact_mut(n)) {
        let (out, padding) = out.split_at_mut(sweep.layout.cols);
        pick(out, memory.at(g.from, g.n), memory.indices[g.indices].at());
        padding.fill(0.0);
    }
    memory.scratch.gathered = gathered;
}

/// Joins the partial sums of rows.
fn join_rows(out: &mut [f32], partial: &[f32]) {
    dispatch!((out: &mut [f32], partial: &[f32]) {
        for (out, row) in out.iter_mut().zip(partial.chunks_exact(PANEL)) {
            *out = across(row);
        }
    })
}

/// The sum of a panel's row: halves are added repeatedly.
#[inline(always)]
fn across(row: &[f32]) -> f32 {
    let mut eight = [0.0f32; 8];
    for (k, x) in eight.iter_mut().enumerate() {
        *x = row[k] + row[k + 8];
    }
    let four = [
        eight[0] + eight[4],
        eight[1] + eight[5],
        eight[2] + eight[6],
        eight[3] + eight[7],
    ];
    (four[0] + four[2]) + (four[1] + four[3])
}

fn forms(functions: &[Option<Function>], form: &'static str) -> Vec<&'static str> {
    functions
        .iter()
        .map(|f| if f.is_some() { form } else { INTERPRETED })
        .collect()
}
