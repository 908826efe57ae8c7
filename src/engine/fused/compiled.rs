//! A program with machine code for its sweeps, and what depends on parameters alone.

use crate::engine::BackendError;
use crate::ir::Graph;
use crate::ir::Real;
use crate::machine::jit::Machine;
use crate::machine::lane::Shared;
use crate::machine::mat_vec::together::LANES;
use crate::machine::run::Code;
use crate::machine::vectors::VectorCode;
use crate::program::code::Instr;
use crate::program::{compile, Choices, Program, ProgramError, Verified};
use std::ops::Deref;
use std::sync::Arc;

/// Machine code of a program.
#[derive(Debug)]
pub(super) struct Machines {
    pub ahead: Machine,
    pub updates: Machine,
    pub back: Machine,
    ahead_vectors: VectorCode,
    early: VectorCode,
    late: VectorCode,
    main: VectorCode,
}

impl Machines {
    fn new(program: &Verified<Program>) -> Machines {
        let blocks = program.blocks.len();
        Machines {
            ahead: Machine::new(&program.ahead.sweeps, blocks),
            updates: Machine::new(&program.ahead.updates, blocks),
            back: Machine::new(&program.back.sweeps, blocks),
            ahead_vectors: VectorCode::new(&program.ahead.instrs),
            early: VectorCode::new(&program.back.early),
            late: VectorCode::new(&program.back.late),
            main: VectorCode::new(&program.back.main),
        }
    }
}

/// A compiled step with its adjoint.
#[derive(Clone, Debug)]
pub struct Fused {
    program: Verified<Program>,
    /// Machine code of all sweeps.
    pub(super) machines: Arc<Machines>,
}

impl Deref for Fused {
    type Target = Verified<Program>;

    fn deref(&self) -> &Verified<Program> {
        &self.program
    }
}

/// Bytes of the fused kernels in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneBytes {
    /// Parameters as the kernels read them; once.
    pub shared: u64,
    /// Vectors kept of every step; for each lane that runs, as what follows.
    pub records: u64,
    /// Traces kept and replayed.
    pub traces: u64,
    /// Gradient sums.
    pub sums: u64,
    /// Traces, their adjoints and the vectors of a step.
    pub working: u64,
}

impl From<Verified<Program>> for Fused {
    /// The program with machine code for this processor.
    fn from(program: Verified<Program>) -> Fused {
        Fused {
            machines: Arc::new(Machines::new(&program)),
            program,
        }
    }
}

impl Fused {
    /// Compiles a step and its adjoint with all kernel passes.
    ///
    /// # Errors
    /// Where the graph holds something the kernels do not know.
    pub fn new(step: &Graph, adjoint: &Graph) -> Result<Fused, ProgramError> {
        Fused::with(step, adjoint, Choices::default())
    }

    /// As [`Fused::new`], with some passes left out.
    ///
    /// # Errors
    /// As above.
    pub fn with(step: &Graph, adjoint: &Graph, choices: Choices) -> Result<Fused, ProgramError> {
        compile(step, adjoint, choices).map(Fused::from)
    }

    /// The instructions of a forward step.
    pub(super) fn ahead_code(&self) -> Code<'_> {
        Code {
            instrs: &self.program.ahead.instrs,
            vectors: &self.machines.ahead_vectors,
            sweeps: &self.program.ahead.sweeps,
            machine: &self.machines.ahead,
        }
    }

    fn back_code<'a>(&'a self, instrs: &'a [Instr], vectors: &'a VectorCode) -> Code<'a> {
        Code {
            instrs,
            vectors,
            sweeps: &self.program.back.sweeps,
            machine: &self.machines.back,
        }
    }

    /// The instructions of a backward step that its first sweeps need.
    pub(super) fn early_code(&self) -> Code<'_> {
        self.back_code(&self.program.back.early, &self.machines.early)
    }

    /// The instructions that finish the later step.
    pub(super) fn late_code(&self) -> Code<'_> {
        self.back_code(&self.program.back.late, &self.machines.late)
    }

    /// All other instructions of a backward step.
    pub(super) fn main_code(&self) -> Code<'_> {
        self.back_code(&self.program.back.main, &self.machines.main)
    }

    /// The program as text.
    pub fn listing(&self) -> String {
        self.program.source().to_string()
    }

    /// The instructions of each sweep for 8 connections in 256-bit code for x86-64, as text.
    #[cfg(all(target_arch = "x86_64", unix))]
    pub fn instructions(&self) -> String {
        let program = &self.program;
        let lists = [
            ("forward", &program.ahead.sweeps),
            ("update", &program.ahead.updates),
            ("back", &program.back.sweeps),
        ];
        let mut out = String::new();
        for (way, sweeps) in lists {
            let counts = crate::machine::jit::instructions(sweeps, program.blocks.len());
            for (sweep, counts) in sweeps.iter().zip(counts) {
                let text = counts.map_or("interpreted".to_owned(), |(count, spills)| {
                    format!("{count:.1} instructions, {spills} spills")
                });
                out += &format!("{way} ({}): {text}\n", sweep.name);
            }
        }
        out
    }

    /// Computes the values that depend on parameters alone (given by slot).
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn shared<T: Real>(&self, parameters: &[Vec<f64>]) -> Result<Shared<T>, BackendError> {
        let mut shared = Shared::default();
        self.share(parameters, &mut shared)?;
        Ok(shared)
    }

    /// As [`Fused::shared`], from parameters of either precision, into memory that is there.
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn share<S: Real, T: Real>(
        &self,
        parameters: &[impl AsRef<[S]>],
        shared: &mut Shared<T>,
    ) -> Result<(), BackendError> {
        // What fills up rows is 0, and stays so.
        shared.values.grow(self.shared_size);
        self.step_prologue.compute(parameters, &mut shared.values)?;
        self.adjoint_prologue
            .compute(parameters, &mut shared.values)
    }

    /// The best number of lanes that go in step: those with traces would take the cache from each other, others read
    /// each matrix once for all.
    pub fn best_together(&self) -> usize {
        if self.blocks.is_empty() {
            LANES
        } else {
            1
        }
    }

    /// Elements of what depends on parameters alone.
    pub fn shared_size(&self) -> usize {
        self.shared_size
    }

    /// Elements of the gradient sums.
    pub fn sums_size(&self) -> usize {
        self.sums_size
    }

    /// The bytes of lanes with some steps, with traces kept every `interval` steps.
    pub fn bytes(&self, steps: usize, interval: usize) -> LaneBytes {
        let size = std::mem::size_of::<f32>() as u64;
        let traces: u64 = self.blocks.iter().map(|b| b.size() as u64).sum();
        let interval = interval.max(1);
        let kept = steps.div_ceil(interval) + interval - 1;
        LaneBytes {
            shared: self.shared_size as u64 * size,
            records: (self.record_size as u64)
                .saturating_mul(steps as u64)
                .saturating_mul(size),
            traces: traces.saturating_mul(kept as u64).saturating_mul(size),
            // Those of the lane, and of another that may wait for its turn.
            sums: 2 * self.sums_size as u64 * size,
            working: (2 * traces + (self.lane.size + 2 * self.adjoint.size) as u64) * size,
        }
    }

    /// Steps between checkpoints of the traces, where `wanted` would be best.
    pub fn interval(&self, wanted: usize) -> usize {
        if self.replayed {
            wanted.max(1)
        } else {
            1
        }
    }

    /// Gradients by slot from sums over steps and lanes.
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn gradients(
        &self,
        parameters: &[Vec<f64>],
        sums: &[f64],
    ) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        self.gradients_in(parameters, sums, |n| vec![0.0; n])
    }

    /// As [`Fused::gradients`], of either precision, in memory that `take` gives for so many elements.
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn gradients_in<S: Real>(
        &self,
        parameters: &[impl AsRef<[S]>],
        sums: &[S],
        take: impl FnMut(usize) -> Vec<S>,
    ) -> Result<Vec<Option<Vec<S>>>, BackendError> {
        self.epilogue.gradients(parameters, sums, take)
    }
}
