//! One time step as a graph: from a model to a step and its adjoint, optimised and verified.
//!
//! | module | holds |
//! |---|---|
//! | [`lower`] | model to step graph |
//! | [`autodiff`] | step graph to adjoint graph |
//! | [`passes`] | rewrites of both |
//! | [`split`] | the cut of a step into stages, for sequences that are known ahead |

pub mod autodiff;
pub mod lower;
pub mod passes;
pub mod split;
