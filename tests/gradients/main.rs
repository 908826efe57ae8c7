//! Shape rules, adjoints and backends: every operation alone, random graphs, and graphs through time.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bounds;
mod cases;
mod operations;
mod plastic;
mod random;
mod run;
mod shapes;
mod through_time;
