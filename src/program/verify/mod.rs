//! The verifier: what must hold of every program, checked after building and after each pass, always.
//!
//! Memories
//! 1. Regions of a lane's memory have names that do not overlap, and lie inside it. Those of the record come first, each
//!    where its name says. Values of the shared memory and gradient sums lie inside theirs and do not overlap.
//! 2. Every place that an instruction names lies inside one region, or one shared value, with all elements that are read or
//!    written there; a sweep reads and writes vectors over post in whole panels. A matrix has the form in which it is read.
//! 3. An instruction names only memories that are there when it runs: of the step itself the lane's, its record on the way
//!    back, and the shared one; of the step that ran before only sweeps that join two steps.
//! 4. Lengths are at least 1, and a place's stride is 0 or 1.
//!
//! Order
//!
//! 5. What is read was written before in its step, or was fed: inputs, noise, entering states, seeds and adjoints of leaving
//!    states. What is read of a record was written by the end of the step forward, what is read of the step that ran before by
//!    the end of that.
//! 6. No element is written twice, but for zeros that are written over, and none that was fed or that a sweep reads.
//! 7. Regions that are alive together lie apart. Fed ones and those of the record are always alive, others from the first
//!    write to the last read.
//!
//! Sweeps
//!
//! 8. Operations are numbered in order and read temporaries of earlier ones; operands beyond the arity repeat the first.
//! 9. Blocks have the layout of the sweep that names them; what is stored in a block is a temporary; no two roots of a sweep
//!    have one target.
//! 10. Instructions name sweeps that exist; none is among those before an opening sweep or after a closing one. A sweep that
//!     joins two gives all that these give.
//!
//! Traces
//!
//! 11. A trace that is updated is stored once a step, by updates alone, and no sweep reads it between the end of its step and
//!     that. A trace that is not updated is constant.
//! 12. The adjoint of a trace is stored once a step back, after all sweeps of that step that read it.
//!
//! Gradients
//!
//! 13. Every gradient sum is added to once a step, with all its elements, in its form.
//! 14. Each trained parameter has one gradient with its elements, from sums that exist; no other has one.
//!
//! Slots
//!
//! 15. What is fed has a region of its own, as large as it is. Each state is a block of its layout or a vector.
//! 16. A vector state has one leaving value and the adjoint of one, of its length; there is one place for each output, and
//!     no state has it.

mod flow;
mod gradients;
mod memories;
mod order;
mod slots;
mod sweeps;
#[cfg(test)]
mod tests;
mod traces;
mod walk;

use super::ir::Program;
use crate::ir::InternalFault;
use std::ops::Deref;

/// A verified program. Machines take nothing else.
#[derive(Clone, Debug)]
pub struct Verified<P> {
    source: P,
    placed: P,
}

impl Verified<Program> {
    /// Checks a program as the stage `stage` left it.
    ///
    /// # Errors
    /// All faults, where there are any.
    pub fn new(stage: &'static str, program: Program) -> Result<Verified<Program>, InternalFault> {
        let faults = verify(&program);
        if !faults.is_empty() {
            return Err(InternalFault { stage, faults });
        }
        Ok(Verified {
            placed: program.placed(),
            source: program,
        })
    }

    /// The program with elements of a lane's memory by their names, as passes and people read it.
    pub fn source(&self) -> &Program {
        &self.source
    }

    /// The same, to be rewritten.
    pub fn into_source(self) -> Program {
        self.source
    }
}

impl<P> Deref for Verified<P> {
    type Target = P;

    /// The program as machines run it, elements of a lane's memory by their offsets.
    fn deref(&self) -> &P {
        &self.placed
    }
}

/// All faults of a program, as text for the compiler's developers; empty where it is sound.
pub(crate) fn verify(program: &Program) -> Vec<String> {
    let mut faults = Faults::default();
    memories::check(program, &mut faults);
    slots::check(program, &mut faults);
    sweeps::check(program, &mut faults);
    // What follows takes numbers of sweeps, blocks and regions as they stand.
    if faults.0.is_empty() {
        order::check(program, &mut faults);
        traces::check(program, &mut faults);
        gradients::check(program, &mut faults);
    }
    faults.0
}

/// The findings.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, rule: u8, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.0.push(format!("rule {rule}: {}", fault()));
        }
    }
}
