//! Traces stored at some steps and recomputed in between: of `T` steps about `2 √T` traces are in memory at
//! once instead of `T`, and every trace update is computed twice.

use crate::program::ir::Program;

/// Makes the backward pass recompute the steps between checkpoints.
pub(super) fn run(program: &mut Program) {
    program.replayed = true;
}
