//! Weight gradients over many steps at once: `Σ_t a_t b_tᵀ = Aᵀ B`, where row `t` of `A` and `B` is `a_t` and
//! `b_t`.
//!
//! An outer product that would be added to its gradient sums at every step stores its two vectors instead.
//! The vectors of many steps are multiplied as two matrices, which reads and writes the sums once for all of
//! them.

use crate::program::code::{Instr, OuterSum};
use crate::program::ir::Program;

/// Stores the vectors of all outer products.
pub(super) fn run(program: &mut Program) {
    let back = &mut program.back;
    let lists = [&mut back.early, &mut back.main, &mut back.late];
    for instr in lists.into_iter().flatten() {
        if let Instr::AddOuter {
            sum,
            a,
            b,
            rows,
            cols,
        } = *instr
        {
            let index = program.outers.len();
            program.outers.push(OuterSum { sum, rows, cols });
            *instr = Instr::KeepOuter {
                index,
                a,
                b,
                rows,
                cols,
            };
        }
    }
}
