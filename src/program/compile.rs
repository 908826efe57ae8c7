//! The compilation of a step and its adjoint to a program that machines may run: built, rewritten by passes,
//! verified after each.

use super::choices::Choices;
use super::ir::Program;
use super::unsupported::Unsupported;
use super::verify::Verified;
use crate::ir::{Graph, InternalFault};

/// The reason why there is no program for a step.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A graph contains something that programs do not support.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The compiler made a program that violates its own rules.
    #[error(transparent)]
    Internal(#[from] InternalFault),
}

/// Builds a program and runs the chosen passes over it.
///
/// # Errors
/// Fails if a graph contains something that programs do not support. Also fails if building or a pass makes a
/// program that violates the rules of the IR: a fault of the compiler.
pub fn compile(
    step: &Graph,
    adjoint: &Graph,
    choices: Choices,
) -> Result<Verified<Program>, ProgramError> {
    let mut program = Verified::new("building the program", Program::build(step, adjoint)?)?;
    for pass in choices.passes() {
        let mut rewritten = program.into_source();
        (pass.run)(&mut rewritten);
        program = Verified::new(pass.name, rewritten)?;
    }
    Ok(program)
}
