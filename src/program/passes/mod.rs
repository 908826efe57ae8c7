//! Passes over programs: [`KERNEL_PASSES`], one ordered list.
//!
//! A pass rewrites a program. The program that is built runs as its graphs say: every operation of a sweep by itself,
//! updates of traces at the end of their step, gradients added at once, every trace kept, a place for every vector. All else is a
//! pass. The verifier (`program::verify`) runs after building and after each pass.
//!
//! # The order
//!
//! 1. `time_hoisting` first: it looks at vector code alone.
//! 2. `gates` before `factoring`: a gate passes factors.
//! 3. `factoring` before `elementwise_fusion`: products are taken apart before they are contracted.
//! 4. `elementwise_fusion` before `plastic_fusion`: a value is rounded alike in whichever sweep it is computed.
//! 5. `gate_forms` after `plastic_fusion`: the clips that a joined sweep computes are known.
//! 6. `recomputation` may come anywhere.
//! 7. `buffer_planning` last: which vectors are alive together depends on the order in which all else runs.

mod buffer_planning;
mod elementwise_fusion;
mod factoring;
mod gate_forms;
mod gates;
mod plastic_fusion;
mod recomputation;
mod time_hoisting;

use super::ir::Program;
#[cfg(test)]
pub(crate) use elementwise_fusion::contract;

/// A rewrite of programs.
#[derive(Clone, Copy, Debug)]
pub struct KernelPass {
    /// The name.
    pub name: &'static str,
    /// A summary in one line.
    pub summary: &'static str,
    /// The rewrite as an equation: before on the left, after on the right.
    pub equation: &'static str,
    /// The lowest `--opt` level that includes it.
    pub level: u8,
    /// The function that rewrites a program.
    pub run: fn(&mut Program),
}

/// All passes over programs, in order.
pub const KERNEL_PASSES: &[KernelPass] = &[
    KernelPass {
        name: "time_hoisting",
        summary: "add weight gradients up over many steps at once",
        equation: "sum_t(outer(a_t, b_t)) = A' B, row t of A and B being a_t and b_t",
        level: 2,
        run: time_hoisting::run,
    },
    KernelPass {
        name: "gates",
        summary: "choose instead of multiplying with 0 or 1",
        equation: "x * (lo <= y <= hi) = gate(x, lo <= y <= hi)",
        level: 2,
        run: gates::run,
    },
    KernelPass {
        name: "factoring",
        summary: "multiply factors of a column once a column, of a row once a row, add equal sums up once",
        equation: "c_j * e_ij * r_i * d_j = e_ij * (c_j * d_j) * r_i; sum_i(c_j * x_ij) = c_j * sum_i(x_ij)",
        level: 3,
        run: factoring::run,
    },
    KernelPass {
        name: "elementwise_fusion",
        summary: "contract operations of a row, and compute equal ones once a row",
        equation: "a * b + c = fma(a, b, c)",
        level: 2,
        run: elementwise_fusion::run,
    },
    KernelPass {
        name: "plastic_fusion",
        summary: "pass over a lane's traces once a step, forward and back",
        equation: "store(trace_t); transmit(trace_t) = one sweep; end of step t and begin of t - 1 = one sweep",
        level: 3,
        run: plastic_fusion::run,
    },
    KernelPass {
        name: "gate_forms",
        summary: "ask whether a clip changes its operand, or for its size",
        equation: "(lo <= x <= hi) = (clip(x) = x); (-c <= x <= c) = (|x| <= c)",
        level: 3,
        run: gate_forms::run,
    },
    KernelPass {
        name: "recomputation",
        summary: "keep traces at some steps only and replay the steps between",
        equation: "memory T * traces  =>  2 sqrt(T) * traces",
        level: 2,
        run: recomputation::run,
    },
    KernelPass {
        name: "buffer_planning",
        summary: "let values that are not alive together share a place in memory",
        equation: "lifetime(a), lifetime(b) disjoint  =>  place(a) = place(b)",
        level: 3,
        run: buffer_planning::run,
    },
];
