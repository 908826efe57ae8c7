//! Traces kept at some steps and replayed in between: of `T` steps about `2 √T` traces are in memory at once instead
//! of `T`, and every trace update is computed twice.

use crate::program::ir::Program;

/// Has the way back replay the steps between checkpoints.
pub(super) fn run(program: &mut Program) {
    program.replayed = true;
}
