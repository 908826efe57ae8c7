//! Where a number that is not finite comes from.
//!
//! The iteration is run again from the parameters and states before it, on the backend of the run and so to the same
//! bits, until an output or a state of some lane is not finite. That one step is then evaluated by the 64-bit
//! reference, value by value, from the states that entered it: the first value that is not finite, or too large
//! for 32 bits, is what the message names. Where the reference finds nothing, each value is rounded to 32 bits
//! as it is computed. Where the whole way forward is fine, the reference goes back through the episode.

mod backward;
mod forward;
mod message;

use crate::driver::Compilation;
use crate::engine::reference::{evaluate_with, Leaves};
use crate::engine::BackendError;
use crate::ir::{Graph, Op, ValueId};
use crate::lang::diag::{Diagnostics, SourceMap};
use crate::learn::block::EpisodeOptions;
use crate::learn::checkpoint::Checkpoint;
use crate::learn::episodes::Episodes;
use crate::learn::trainer::{episode_seed, NotFinite, TrainError, TrainerOptions};
use crate::step::Compiled;

/// Where a number that is not finite comes from, in words.
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
    /// Whether it is finite in 64 bits.
    rounding: bool,
}

/// What is not finite.
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

/// What goes into one step of one lane: by slot.
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
    let header = &before.header;
    let options = EpisodeOptions {
        seed: episode_seed(header.seed, header.rollbacks),
        iteration: header.iteration as u32,
        learn: true,
        greedy: false,
        batch: episodes.batch(),
    };
    let seen = forward::run(&mut episodes, options, &carried)?;
    if let Some(bad) = seen.first_bad() {
        return Ok(Some(bad.culprit(&program.step, &params)?));
    }
    match what {
        NotFinite::Gradient => backward::find(program, &episodes, &params, &carried, &seen),
        NotFinite::Loss | NotFinite::Parameter(_) => Ok(None),
    }
}

/// The first value of a graph, evaluated for one lane, that is not finite or too large for 32 bits.
fn first_bad_value(
    graph: &Graph,
    leaves: &Leaves<'_>,
    rounding: bool,
) -> Result<(Option<FirstBad>, Vec<Vec<f64>>), BackendError> {
    let mut first: Option<FirstBad> = None;
    let results = evaluate_with(graph, 1, leaves, |id, values| {
        if rounding {
            for value in values.iter_mut() {
                *value = f64::from(*value as f32);
            }
        }
        // What comes from outside is somebody else's fault.
        let leaf =
            graph.value(id).operands.is_empty() && !matches!(graph.value(id).op, Op::Const(_));
        if first.is_none() && !leaf {
            let bad = values.iter().position(|x| !fits(*x));
            first = bad.map(|element| FirstBad {
                id,
                element,
                number: values[element],
                operands: Vec::new(),
            });
        }
    })?;
    if let Some(first) = &mut first {
        let wanted = graph.value(first.id).operands.clone();
        let mut operands = vec![f64::NAN; wanted.len()];
        let elements = graph.shape(first.id).elements();
        let mut known = true;
        evaluate_with(graph, 1, leaves, |id, values| {
            if rounding {
                for value in values.iter_mut() {
                    *value = f64::from(*value as f32);
                }
            }
            for (operand, wanted) in operands.iter_mut().zip(&wanted) {
                if id == *wanted {
                    match values.len() {
                        1 => *operand = values[0],
                        length if length == elements => *operand = values[first.element],
                        _ => known = false,
                    }
                }
            }
        })?;
        if known {
            first.operands = operands;
        }
    }
    Ok((first, results))
}

/// Whether 32 bits hold it.
fn fits(value: f64) -> bool {
    value.abs() <= f64::from(f32::MAX)
}

struct FirstBad {
    id: ValueId,
    element: usize,
    number: f64,
    operands: Vec<f64>,
}

impl FirstBad {
    fn at(self, step: usize, lane: usize, adjoint: bool, rounding: bool) -> Culprit {
        Culprit {
            step,
            lane,
            what: What::Value {
                id: self.id,
                adjoint,
                element: self.element,
                number: self.number,
                operands: self.operands,
            },
            rounding,
        }
    }
}
