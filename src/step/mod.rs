//! One time step as a graph: from a model to a step and its adjoint, optimised and verified.
//!
//! | module | holds |
//! |---|---|
//! | [`lower`] | model to step graph |
//! | [`autodiff`] | step graph to adjoint graph |
//! | [`passes`] | rewrites of both |
//! | [`prepare_through`] | all of them in their order |
//! | [`Horizon`] | how long states live, which passes that change them must know |
//! | [`split`] | the cut of a step into stages, for sequences that are known ahead |

pub mod autodiff;
mod fault;
mod horizon;
pub mod lower;
pub mod passes;
mod prepare;
mod rows;
pub mod split;
mod stopwatch;

pub(crate) use fault::verified;
pub use fault::InternalFault;
pub use horizon::{reads_text, truncated, Horizon};
pub use prepare::{adjoint, prepare_through, Compiled, Prepared};
pub use stopwatch::StageTime;
pub(crate) use stopwatch::Stopwatch;
