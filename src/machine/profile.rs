//! The time of lanes, kernel by kernel.

use crate::machine::kernel::KernelReport;
use crate::machine::vectors::VectorUse;
use crate::program::code::Sweep;
use crate::program::cost::per_element;
use crate::program::layout::Layout;
use std::collections::BTreeMap;
use std::time::Duration;

/// The identity of a kernel: its operations, block and form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    /// The operations, such as `update, transmit`; `vectors` for everything outside blocks.
    pub name: &'static str,
    /// The numbers of presynaptic and postsynaptic neurons of the block; `None` for vector code.
    pub block: Option<(usize, usize)>,
    /// The form, such as `machine code, 512 bits`.
    pub form: &'static str,
}

/// The statistics of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelUse {
    /// The number of calls.
    pub calls: u64,
    /// The CPU time.
    pub time: Duration,
    /// The number of arithmetic operations on elements; a multiply-add counts as two.
    pub operations: u64,
    /// The bytes read and written: of blocks in sweeps, of vectors and matrices in vector code.
    pub bytes: u64,
}

/// The kernels of some lanes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    kernels: BTreeMap<Kernel, KernelUse>,
}

impl Profile {
    /// All kernels with their statistics.
    pub fn kernels(&self) -> impl Iterator<Item = (&Kernel, &KernelUse)> {
        self.kernels.iter()
    }

    /// The statistics in the form of reports.
    pub fn reports(&self) -> Vec<KernelReport> {
        let mut out: Vec<KernelReport> = self
            .kernels()
            .map(|(kernel, took)| KernelReport {
                name: match kernel.block {
                    Some((rows, cols)) => format!("{} [{rows},{cols}]", kernel.name),
                    None => kernel.name.to_owned(),
                },
                form: kernel.form.to_owned(),
                calls: took.calls as f64,
                seconds: took.time.as_secs_f64(),
                bytes: took.bytes as f64,
                operations: took.operations as f64,
            })
            .collect();
        out.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        out
    }

    /// Adds another profile.
    pub fn merge(&mut self, other: &Profile) {
        for (kernel, took) in &other.kernels {
            let sum = self.kernels.entry(kernel.clone()).or_default();
            sum.calls += took.calls;
            sum.time += took.time;
            sum.operations += took.operations;
            sum.bytes += took.bytes;
        }
    }

    /// Records a call of a sweep.
    pub(crate) fn sweep(&mut self, sweep: &Sweep, form: &'static str, time: Duration) {
        let Layout { rows, cols } = sweep.layout;
        let elements = sweep.layout.size() as u64;
        let (operations, bytes) = per_element(sweep);
        self.add(
            Kernel {
                name: sweep.name,
                block: Some((rows, cols)),
                form,
            },
            KernelUse {
                calls: 1,
                time,
                operations: operations * elements,
                bytes: bytes * elements,
            },
        );
    }

    /// Records vector code between sweeps of `lanes` lanes.
    pub(crate) fn vectors(&mut self, time: Duration, uses: VectorUse, lanes: usize) {
        self.add(
            Kernel {
                name: "vectors",
                block: None,
                form: match uses.compiled == uses.instructions {
                    true => "machine code, 256 bits",
                    false => "compiled ahead",
                },
            },
            KernelUse {
                calls: 1,
                time,
                operations: uses.operations * lanes as u64,
                bytes: uses.bytes * lanes as u64,
            },
        );
    }

    fn add(&mut self, kernel: Kernel, took: KernelUse) {
        let sum = self.kernels.entry(kernel).or_default();
        sum.calls += took.calls;
        sum.time += took.time;
        sum.operations += took.operations;
        sum.bytes += took.bytes;
    }
}
