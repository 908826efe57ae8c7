//! A step cut into stages that each run through the whole sequence before the next begins, where the inputs are known
//! ahead (ARCHITECTURE §4.1).
//!
//! What does not depend on a recurrent state is computed for all steps and lanes at once, as products of matrices; what
//! does runs on the [fused kernels](super::fused), layer by layer. Each stage is a step graph of its own with an adjoint of its own:
//! what one stage gives and another reads is an output of the one and an input of the other.
//!
//! | module | what |
//! |---|---|
//! | [`crate::step::split`] | which value belongs to which stage |
//! | [`rows`] | stages without states: all rows at once, in f32 |
//! | [`device`] | the same on a device |

pub mod device;
pub mod rows;
