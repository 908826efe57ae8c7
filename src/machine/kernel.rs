//! What a backend tells about the kernels it is made of.

use serde::{Deserialize, Serialize};

/// One kernel and what it did in an iteration, all lanes together.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KernelReport {
    /// What it does: `step: apply, transmit`.
    pub name: String,
    /// What it is: `machine code, 256 bits`, or `interpreted`.
    pub form: String,
    /// How often it was called.
    pub calls: f64,
    /// Processor seconds spent in it.
    pub seconds: f64,
    /// Bytes it moved between memory and registers.
    pub bytes: f64,
    /// Arithmetic operations it did; a multiply-add counts as two.
    pub operations: f64,
}

impl KernelReport {
    /// Adds what the same kernel did for other lanes.
    pub fn absorb(&mut self, other: &KernelReport) {
        self.calls += other.calls;
        self.seconds += other.seconds;
        self.bytes += other.bytes;
        self.operations += other.operations;
    }
}
