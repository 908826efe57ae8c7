//! The report of a backend on its kernels.

use serde::{Deserialize, Serialize};

/// The statistics of one kernel in an iteration, over all lanes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KernelReport {
    /// The name, from its operations: `step: apply, transmit`.
    pub name: String,
    /// The form: `machine code, 256 bits`, or `interpreted`.
    pub form: String,
    /// The number of calls.
    pub calls: f64,
    /// The CPU time in seconds.
    pub seconds: f64,
    /// The bytes moved between memory and registers.
    pub bytes: f64,
    /// The number of arithmetic operations; a multiply-add counts as two.
    pub operations: f64,
}

impl KernelReport {
    /// Adds the statistics of the same kernel for other lanes.
    pub fn absorb(&mut self, other: &KernelReport) {
        self.calls += other.calls;
        self.seconds += other.seconds;
        self.bytes += other.bytes;
        self.operations += other.operations;
    }
}
