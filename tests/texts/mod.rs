//! What must hold for any text: random ones do no harm, and long ones take no long time.
//!
//! `BPMC_FUZZ_CASES` sets the number of random texts. They are the same in every run; more continue the sequence.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod long_texts;
mod random_texts;

/// A number from the environment.
fn cases(variable: &str, default: u32) -> u32 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text}")),
        Err(_) => default,
    }
}
