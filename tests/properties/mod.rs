//! What must hold for any spec: random specs compile, backends agree on them and their adjoints are finite differences.
//!
//! | variable | sets |
//! |---|---|
//! | `BPMC_PROPERTY_CASES` | the number of random specs; 2 000 |
//! | `BPMC_PROPERTY_SEED` | what they are drawn from; 7 |
//! | `BPMC_PROPERTY_FIRST` | the number of the first; 0 |
//! | `BPMC_FAILURES` | the directory for a failing spec, shrunk; the system's temporary directory |
//!
//! The cases are the same in every run; more cases continue the sequence.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod agreement;
mod case;
mod cases;
mod chance;
mod differences;
mod differential;
mod edits;
mod generate;
mod report;
mod rounding;
mod shrink;
mod tensors;
mod texts;

/// A number from the environment.
fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text}")),
        Err(_) => default,
    }
}
