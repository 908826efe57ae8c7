//! The search for the origin of a non-finite number.
//!
//! The iteration is run again from the parameters and states before it, on the backend of the run and so to the same
//! bits, until an output or a state of some lane is not finite. That one step is then evaluated by the 64-bit
//! reference, value by value, from the states that entered it: the first value that is not finite, or too large
//! for 32 bits, and that the results are made of, is what the message names (`origin`). Where the reference finds nothing,
//! each value is rounded to 32 bits as it is computed. Where the whole way forward is fine, the reference goes back through
//! the episode.

mod backward;
mod forward;
mod message;
mod origin;

use crate::driver::Compilation;
use crate::ir::ValueId;
use crate::lang::diag::{Diagnostics, SourceMap};
use crate::learn::block::EpisodeOptions;
use crate::learn::checkpoint::Checkpoint;
use crate::learn::episodes::Episodes;
use crate::learn::trainer::{NotFinite, TrainError, TrainerOptions};
use crate::step::Compiled;

/// The origin of a non-finite number, in words.
#[derive(Clone, Debug)]
pub struct Located {
    /// The iteration, counted from 1.
    pub iteration: u64,
    /// The step, counted from 0, where there is one.
    pub step: Option<usize>,
    /// The lane, counted from 0, where there is one.
    pub lane: Option<usize>,
    /// The name of the equation, or the path of the parameter, where one was found.
    pub equation: Option<String>,
    /// All of it in one sentence.
    pub sentence: String,
    /// The place in the spec, as a finding with [`crate::lang::diag::Code::NotFinite`]; empty where none was found.
    pub findings: Diagnostics,
    /// The texts that `findings` point into.
    pub sources: SourceMap,
}

/// A value that is not finite.
#[derive(Clone, Debug, PartialEq)]
struct Culprit {
    /// Counted from 0.
    step: usize,
    /// Counted from 0.
    lane: usize,
    what: What,
    /// True if it is finite in 64 bits.
    rounding: bool,
}

/// The kind of the non-finite number.
#[derive(Clone, Debug, PartialEq)]
enum What {
    /// A value of the step, or of its adjoint.
    Value {
        id: ValueId,
        adjoint: bool,
        element: usize,
        number: f64,
        /// The operands at that element, where they have it.
        operands: Vec<f64>,
    },
    /// An output that the kernels computed and the reference does not find.
    Output(usize),
    /// A state likewise.
    State(usize),
}

/// The leaves of one step of one lane, by slot.
#[derive(Clone, Debug, Default)]
struct Entry {
    states: Vec<Vec<f64>>,
    inputs: Vec<Vec<f64>>,
    noises: Vec<Vec<f64>>,
}

/// Finds out where the number comes from that made iteration `iteration` fail. `before` is the run before it.
///
/// # Errors
/// Where the iteration cannot be run again.
pub fn locate(
    compilation: &Compilation,
    options: TrainerOptions,
    before: &Checkpoint,
    what: &NotFinite,
) -> Result<Located, TrainError> {
    let program = compilation.program.as_ref().ok_or(TrainError::Missing(
        "network",
        "the spec of the run has errors",
    ))?;
    let culprit = match what {
        NotFinite::Parameter(_) => None,
        NotFinite::Loss | NotFinite::Gradient => find(program, options, before, what)?,
    };
    Ok(message::located(
        compilation,
        program,
        before,
        what,
        culprit,
    ))
}

fn find(
    program: &Compiled,
    options: TrainerOptions,
    before: &Checkpoint,
    what: &NotFinite,
) -> Result<Option<Culprit>, TrainError> {
    let params: Vec<Vec<f64>> = program
        .step
        .params
        .iter()
        .map(|slot| {
            let saved = before.parameters.get(&slot.path);
            let values = saved.map_or(&[][..], |tensor| tensor.values.as_slice());
            values.iter().map(|x| f64::from(*x)).collect()
        })
        .collect();
    let carried: Vec<Option<Vec<f64>>> = program
        .step
        .states
        .iter()
        .map(|slot| {
            let saved = before.states.get(&slot.path)?;
            Some(saved.values.iter().map(|x| f64::from(*x)).collect())
        })
        .collect();
    let mut episodes = Episodes::new(&program.model, &program.step, options)?;
    episodes.set_parameters(&params);
    let options = EpisodeOptions {
        learn: true,
        ..episodes.after(&before.header)
    };
    let seen = forward::run(&mut episodes, options, &carried)?;
    if let Some(bad) = seen.first_bad() {
        return Ok(Some(bad.culprit(&program.step, &params)?));
    }
    match what {
        NotFinite::Gradient => backward::find(program, &episodes, &params, &seen),
        NotFinite::Loss | NotFinite::Parameter(_) => Ok(None),
    }
}

/// Returns true if 32 bits hold it.
fn fits(value: f64) -> bool {
    value.abs() <= f64::from(f32::MAX)
}
