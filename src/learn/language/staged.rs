//! A network cut into stages and compiled, each with its adjoint.

use crate::engine::bptt::least_memory_interval;
use crate::engine::fused::{Fused, ProgramError};
use crate::ir::Graph;
use crate::step::autodiff::Options;
use crate::step::passes::Selection;
use crate::step::split::{split, Source, Split};
use crate::step::{prepare, InternalFault};
use std::fmt::Write;

/// A network in stages, compiled.
#[derive(Debug)]
pub struct Staged {
    pub(super) split: Split,
    pub(super) programs: Vec<Program>,
    pub(super) step: Graph,
}

/// What runs a stage.
#[derive(Debug)]
pub(super) enum Program {
    /// All rows at once: the step and its adjoint.
    Rows(Box<[Graph; 2]>),
    /// Each lane through the chunk.
    Lanes(Box<Fused>),
}

/// Why a network has no stages.
#[derive(Debug, thiserror::Error)]
pub enum StagedError {
    /// A stage has no program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// The compiler failed when it cut the step.
    #[error("the step cannot be cut into stages: {0}")]
    Shape(#[from] crate::ir::ShapeError),
}

impl Staged {
    /// Cuts a step into stages and compiles each with its adjoint.
    ///
    /// # Errors
    /// Where a stage holds what the kernels do not know.
    pub fn new(step: &Graph, passes: &Selection) -> Result<Staged, StagedError> {
        let split = split(step)?;
        let mut programs = Vec::with_capacity(split.stages.len());
        for stage in &split.stages {
            // The adjoint of what earlier stages give is wanted, that of the words is not.
            let inputs = stage
                .inputs
                .iter()
                .any(|input| matches!(input, Source::Earlier(_)));
            let prepared = prepare(&stage.graph, Options { inputs }, passes, None)?;
            programs.push(if stage.recurrent {
                let fused = Fused::with(&prepared.step, &prepared.adjoint, prepared.choices)?;
                Program::Lanes(Box::new(fused))
            } else {
                Program::Rows(Box::new([prepared.step, prepared.adjoint]))
            });
        }
        Ok(Staged {
            split,
            programs,
            step: step.clone(),
        })
    }

    /// Its stages.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// The whole step.
    pub fn step(&self) -> &Graph {
        &self.step
    }

    /// The stages as text, for `bpmc compile --emit kernels`.
    pub fn listing(&self) -> String {
        let mut out = String::new();
        for (k, program) in self.programs.iter().enumerate() {
            match program {
                Program::Rows(graphs) => {
                    let [step, adjoint] = graphs.as_ref();
                    let title = "all steps of all lanes at once";
                    write!(
                        out,
                        "stage {k}: {title}\n\n{step}\n// adjoint\n\n{adjoint}\n"
                    )
                }
                Program::Lanes(fused) => {
                    let listing = fused.listing();
                    write!(
                        out,
                        "stage {k}: step by step, some lanes at a time\n\n{listing}\n"
                    )
                }
            }
            .expect("writing to a string");
        }
        out
    }

    /// Bytes of a chunk: what is kept of every lane, and of all rows.
    pub fn bytes(&self, lanes: usize, steps: usize) -> u64 {
        let interval = least_memory_interval(steps);
        let rows = (lanes * steps) as u64;
        let tables: u64 = self.split.sizes.iter().map(|size| *size as u64).sum();
        let lanes_bytes: u64 = self
            .programs
            .iter()
            .map(|program| match program {
                Program::Rows(_) => 0,
                Program::Lanes(fused) => {
                    let bytes = fused.bytes(steps, fused.interval(interval));
                    let lane = bytes.records + bytes.traces + bytes.working;
                    let sums = bytes.sums * groups(lanes) as u64;
                    bytes.shared + sums + lane * lanes as u64
                }
            })
            .sum();
        // Each value and its adjoint.
        lanes_bytes + 2 * 4 * rows * tables
    }
}

/// Groups of lanes that go back in step and have gradient sums of their own. Their number fixes the order of additions,
/// and is the most threads that can go back through a recurrent stage at once; the larger they are, the seldomer
/// matrices are read.
pub(super) fn groups(lanes: usize) -> usize {
    let most = 1 << (lanes / 4).clamp(2, 8).ilog2();
    lanes.min(most).max(1)
}
