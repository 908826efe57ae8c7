//! Shape rules, adjoints and backends: every operation alone, random graphs, graphs through time, and
//! whole specs.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod backends;
mod bounds;
mod cases;
mod cells;
mod discovered;
mod functions;
pub(crate) mod library;
mod operations;
mod passes;
mod plastic;
mod random;
pub mod run;
mod shapes;
pub mod slots;
mod sparse;
mod spec;
mod through_time;
mod zero_adjoints;
