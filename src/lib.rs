//! bpmc compiles `.bpm` specs of networks with plastic connections into training programs.

pub mod autodiff;
pub mod backend;
pub mod diag;
pub mod driver;
pub mod ir;
pub mod lower;
pub mod plan;
pub mod replace;
pub mod rng;
pub mod rules;
pub mod sema;
pub mod settings;
pub mod syntax;
pub mod tasks;
pub mod train;
