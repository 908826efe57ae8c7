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
//! | file | holds |
//! |---|---|
//! | `code` | the instructions |
//! | `layout` | how blocks of connections lie in memory |
//! | `sweep` | building sweeps |
//! | `build` | graph to instructions |
//! | `parameters` | what is computed of parameters alone |
//! | `passes` | which sweeps are joined, which vectors share a place |
//! | `relocate` | giving places other offsets |
//! | `print` | a program as text |
//! | `choices` | which ways of being fast are taken |

pub(crate) mod build;
mod choices;
pub(crate) mod code;
pub(crate) mod layout;
pub(crate) mod parameters;
pub(crate) mod passes;
mod print;
pub(crate) mod relocate;
pub(crate) mod sweep;

pub use choices::Choices;
