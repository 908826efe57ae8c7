//! The optimizer: one ordered list of passes, [`static@PIPELINE`].
//!
//! A pass rewrites the step before it is differentiated ([`StepPass`]), or step and adjoint ([`GraphPass`]), or the
//! program made of both ([`KernelPass`]). All are named,
//! can be switched ([`Selection`]) and are checked after they ran: a pass that breaks a graph or a program is an
//! [`InternalFault`](crate::ir::InternalFault), never a wrong number.
//!
//! Graph passes see the step and its adjoint as one graph, in which a value that both compute is one value.
//! They are told apart again by their results: [`Output`](crate::ir::ResultKind::Output) and
//! [`Next`](crate::ir::ResultKind::Next) are the step's. So whatever a pass does to a value it does in both
//! graphs, and backends that keep forward values for the adjoint find every one of them again.
//!
//! # The order
//!
//! 1. `attention_form` before differentiation, which gives its adjoint; it changes the states of the step, so only what
//!    trains asks for it ([`rewrite_step`]).
//! 2. `constant_folding` then: what it takes away hides patterns from the others.
//! 3. `common_subexpressions` next, so that a pattern is looked for once.
//! 4. `weight_gradients` before `gate_merging`: it makes the outer products which that joins.
//! 5. `matrix_products`, whose products `gate_merging` may join, too.
//! 6. `gate_merging`, which builds new matrices and cuts.
//! 7. `dead_code` last of the rewrites: it takes away what they left behind.
//! 8. Then [the passes over programs](KERNEL_PASSES), in an order of their own.
//!
//! # Levels
//!
//! | `--opt` | turns on |
//! |---|---|
//! | 0 | nothing; the graph runs as it is, operation by operation |
//! | 1 | the fused kernels, and the rewrites of graphs but one |
//! | 2 | also gate merging, elementwise fusion, time hoisting and recomputation |
//! | 3 | all |

mod attention_form;
mod common_subexpressions;
mod constant_folding;
mod dead_code;
mod factors;
mod gate_merging;
mod joint;
mod matrix_products;
mod optimise;
mod rewrite;
mod selection;
mod weight_gradients;

pub use attention_form::{BundleSide, Dense, Form, Place};
pub use optimise::{optimise, optimise_through, rewrite_step, Applied, Optimised, Rewritten};
pub use rewrite::Budget;
pub use selection::{Selection, UnknownPass};

use super::Horizon;
use crate::ir::{Graph, ShapeError};
use crate::program::passes::{KernelPass, KERNEL_PASSES};
use std::sync::LazyLock;

/// The highest `--opt` level, and the default.
pub const MAX_LEVEL: u8 = 3;

/// A pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Its name, everywhere.
    pub name: &'static str,
    /// The purpose, in one line.
    pub summary: &'static str,
    /// The rewrite as an equation: left before, right after.
    pub equation: &'static str,
    /// The lowest `--opt` level that turns it on.
    pub level: u8,
    /// The implementation.
    pub run: Run,
}

/// The implementation of a pass.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A rewrite of the step before differentiation.
    Step(StepPass),
    /// A rewrite of graphs.
    Graph(GraphPass),
    /// A rewrite of programs.
    Kernels(&'static KernelPass),
}

/// Gives a rewritten step, with the parameters, inputs, noises and outputs of the one it is given, but states of its own
/// where the horizon allows it, and which form each of its traces has.
///
/// # Errors
/// As for [`GraphPass`].
pub type StepPass = fn(&Graph, Horizon, &mut Budget) -> Result<(Graph, Vec<Form>), ShapeError>;

/// Gives a rewritten graph, with the slots and results of the one it is given. Each single rewrite is taken
/// from the budget, and none is done that it does not allow.
///
/// # Errors
/// Where the pass itself is wrong, and builds a value whose operands do not fit.
pub type GraphPass = fn(&Graph, &mut Budget) -> Result<Graph, ShapeError>;

/// All passes, in the order in which they run: those over graphs, then [those over programs](KERNEL_PASSES).
pub static PIPELINE: LazyLock<Vec<Pass>> = LazyLock::new(|| {
    let kernels = KERNEL_PASSES.iter().map(|pass| Pass {
        name: pass.name,
        summary: pass.summary,
        equation: pass.equation,
        level: pass.level,
        run: Run::Kernels(pass),
    });
    GRAPH_PASSES.iter().copied().chain(kernels).collect()
});

const GRAPH_PASSES: &[Pass] = &[
    Pass {
        name: "attention_form",
        summary: "read the vectors that a trace is made of instead of the trace, where that is exact and cheaper",
        equation: "sum_i(x_i * H_ij) = sum_s((A x)_s * c_s * B_sj) where H' = d * H + outer(a, b), 3 T (pre + post) < 2 pre post",
        level: 3,
        run: Run::Step(attention_form::run),
    },
    Pass {
        name: "constant_folding",
        summary: "compute what is known already, and drop what changes nothing",
        equation: "f(c1, c2) = c, x * 1 = x, x + 0 = x, -(-x) = x, slice(concat(a, b)) = a",
        level: 1,
        run: Run::Graph(constant_folding::run),
    },
    Pass {
        name: "common_subexpressions",
        summary: "compute equal values once, also with operands exchanged",
        equation: "y1 = f(a, b), y2 = f(a, b) or f(b, a)  =>  y2 = y1",
        level: 1,
        run: Run::Graph(common_subexpressions::run),
    },
    Pass {
        name: "weight_gradients",
        summary: "make gradients of weights outer products of vectors, outside the sweep over connections",
        equation: "sum_lanes(a_i * b_j) = outer(a, b), sum_ij(sum_lanes(x)) = sum_lanes(sum_ij(x))",
        level: 1,
        run: Run::Graph(weight_gradients::run),
    },
    Pass {
        name: "matrix_products",
        summary: "make sums over connections of weights alone products of a vector and a matrix",
        equation: "sum_i(a_i * w_ij) = a W, sum_j(w_ij * b_j) = b W'",
        level: 1,
        run: Run::Graph(matrix_products::run),
    },
    Pass {
        name: "gate_merging",
        summary: "make linear maps of the same vector, and their adjoints, one product",
        equation: "v W1, v W2 = v [W1 W2]; d1 W1' + d2 W2' = [d1 d2] [W1 W2]'; outer(v, d1), outer(v, d2) = outer(v, [d1 d2])",
        level: 2,
        run: Run::Graph(gate_merging::run),
    },
    Pass {
        name: "dead_code",
        summary: "drop values that no result needs",
        equation: "y = f(x), y unused  =>  nothing",
        level: 1,
        run: Run::Graph(dead_code::run),
    },
];

/// The pass of this name.
///
/// # Errors
/// Where there is none.
pub fn find(name: &str) -> Result<&'static Pass, UnknownPass> {
    PIPELINE
        .iter()
        .find(|pass| pass.name == name)
        .ok_or_else(|| UnknownPass::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_snake_case_and_found() {
        for (k, pass) in PIPELINE.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(pass.name.chars().all(plain), "{}", pass.name);
            assert_eq!(find(pass.name).unwrap().summary, pass.summary);
            assert!(PIPELINE[..k].iter().all(|other| other.name != pass.name));
            assert!((1..=MAX_LEVEL).contains(&pass.level));
            for line in [pass.summary, pass.equation] {
                assert!(!line.is_empty() && !line.contains('\n') && !line.ends_with('.'));
            }
        }
        assert!(PIPELINE.len() <= 32, "a selection is a set of 32");
    }

    #[test]
    fn the_documentation_has_a_row_for_each_in_order() {
        let text = include_str!("../../../docs/passes.md");
        let rows: String = PIPELINE
            .iter()
            .map(|pass| {
                // A table needs the bar of an absolute value escaped.
                let equation = pass.equation.replace('|', "\\|");
                format!("| `{}` | {} | `{equation}` |\n", pass.name, pass.level)
            })
            .collect();
        assert!(text.contains(&rows), "{rows}");
    }

    #[test]
    fn rewrites_of_the_step_come_first() {
        let step = |pass: &Pass| matches!(pass.run, Run::Step(_));
        let count = PIPELINE.iter().filter(|pass| step(pass)).count();
        assert!(count > 0 && PIPELINE[..count].iter().all(step));
    }

    #[test]
    fn graphs_come_before_programs() {
        let first = PIPELINE
            .iter()
            .position(|pass| matches!(pass.run, Run::Kernels(_)))
            .unwrap();
        let kernels = &PIPELINE[first..];
        assert!(kernels.iter().all(|p| matches!(p.run, Run::Kernels(_))));
    }
}
