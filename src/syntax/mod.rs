//! Text to syntax tree and back. The only place that names pest.

pub mod ast;
