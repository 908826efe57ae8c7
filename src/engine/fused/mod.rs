//! Fused kernels on the CPU, one lane at a time.
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
//! A lane is carried through its whole episode before the next begins, with its traces in the cache of one
//! core. Nothing here depends on the number of threads or on how lanes are grouped.
//!
//! | file | holds |
//! |---|---|
//! | `partition` | classes, levels and what of the forward step the adjoint needs |
//! | `code` | the instructions |
//! | `assemble` | graph to instructions |
//! | `machine` | runs instructions |
//! | `jit` | machine code for sweeps |
//! | `choices` | which ways of being fast are taken |
//! | `math` | element functions for both precisions |
//! | `lane` | a lane's memory, forward through an episode and back |

mod aligned;
mod assemble;
mod choices;
mod code;
pub mod device;
mod dispatch;
mod elements;
mod interpret;
mod jit;
mod lane;
mod layout;
mod listing;
mod machine;
mod mat_vec;
mod math;
mod outer;
mod partition;
mod profile;
mod program;
mod relocate;
mod reuse;
mod schedule;
mod sweep;

pub(crate) use code::Element;
pub(crate) use dispatch::dispatch;
pub(crate) use elements::{element, Operand};
pub(crate) use jit::{processor, Processor};

pub use choices::Choices;
pub use lane::LaneMemory;
pub use math::Real;
pub use profile::{Kernel, KernelUse, Profile};
pub use program::{Fused, LaneBytes, Shared, Unsupported};
