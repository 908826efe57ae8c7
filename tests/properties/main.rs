//! What must hold for any spec: random rules compile and differentiate, random texts do no harm, and
//! long texts take no long time.
//!
//! `BPMC_PROPERTY_CASES` and `BPMC_FUZZ_CASES` set the number of random rules and texts. The cases are the
//! same in every run; more cases continue the sequence.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod agreement;
mod case;
mod chance;
mod differential;
mod generate;
mod long_texts;
mod random_texts;
#[expect(
    dead_code,
    reason = "shared with tests/gradients, of which this uses a part"
)]
#[path = "../gradients/run.rs"]
mod run;

/// A number from the environment.
fn cases(variable: &str, default: u32) -> u32 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text}")),
        Err(_) => default,
    }
}
