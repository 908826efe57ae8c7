//! Programs: what a lane runs at every step, forward and back.
//!
//! A step is cut into *sweeps* over the `[pre, post]` block of a bundle and small vector code between them. The
//! cut follows the data: a value per connection has the *level* of the latest vector it needs; a vector that
//! is a sum over connections of level `l` has level `l + 1`. One sweep a level computes, row by row, everything
//! per connection that is needed there: no value per connection is ever stored but the traces themselves, their
//! adjoints and the gradients of parameters per connection. What a later sweep needs again it computes again.
//!
//! Backward, the adjoint of a step is cut in the same way. Vectors of the forward step are kept for every
//! step (they are small); traces are kept every `interval` steps and replayed in between.
//!
//! [`compile`] builds a [`Program`], [passes](passes::KERNEL_PASSES) rewrite it, and the verifier checks it after each;
//! machines take only what it passed, [`Verified`]. A program prints as text (`bpmc compile --emit kernels`).
//!
//! | file | holds |
//! |---|---|
//! | `ir` | a program: steps, memories, slots |
//! | `code` | instructions and sweeps |
//! | `extent` | what the values of a sweep vary with |
//! | `masks` | truths that only open gates |
//! | `layout` | how blocks of connections lie in memory |
//! | `access` | which elements an instruction reads and writes |
//! | `cost` | operations and bytes of a sweep |
//! | `sweep` | building sweeps |
//! | `build` | graph to program |
//! | `parameters` | what is computed of parameters alone |
//! | `passes` | rewrites of programs |
//! | `choices` | which of them run |
//! | `verify` | what must hold of every program |
//! | `relocate` | giving places other offsets |
//! | `print` | a program as text |
//! | `compile` | all of it in order |

pub(crate) mod access;
pub(crate) mod build;
mod choices;
pub(crate) mod code;
mod compile;
pub(crate) mod cost;
pub(crate) mod extent;
pub(crate) mod ir;
pub(crate) mod layout;
pub(crate) mod masks;
pub(crate) mod parameters;
pub mod passes;
mod print;
mod relocate;
pub(crate) mod sweep;
mod unsupported;
mod verify;

pub use choices::Choices;
pub use compile::{compile, ProgramError};
pub use ir::Program;
pub use unsupported::Unsupported;
pub use verify::Verified;
