//! All measurements, in the form that `bpmc bench --json` writes.

use super::machine::{Machine, Rates};
use super::work::Work;
use crate::lab::statistics::quantile;
use crate::learn::phases::Phases;
use crate::learn::trainer::IterationReport;
use crate::machine::kernel::KernelReport;
use serde::{Deserialize, Serialize};

/// All measurements of one call.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Document {
    /// The version of bpmc.
    pub version: String,
    /// The machine's peak rates; `None` if they were not asked for.
    pub machine: Option<Machine>,
    /// One report per spec, in the order of the command line.
    pub specs: Vec<SpecReport>,
}

/// The measurements of one spec.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SpecReport {
    /// The path of the spec.
    pub spec: String,
    /// The name of the backend.
    pub backend: String,
    /// The name of the device: `cpu` or `cuda`.
    pub device: String,
    /// The number of threads that shared the lanes.
    pub threads: usize,
    /// The number of lanes per iteration.
    pub lanes: usize,
    /// The number of steps per episode.
    pub steps: usize,
    /// The number of trained scalars.
    pub parameters: usize,
    /// The time from the text of the spec to a program ready to run, in milliseconds.
    pub compile_ms: f64,
    /// The number of measured iterations.
    pub iterations: usize,
    /// Quartiles of the time per iteration, in seconds.
    pub seconds: Quartiles,
    /// Iterations per second, from the median time.
    pub iterations_per_second: f64,
    /// Environment steps per second over all lanes, from the median time.
    pub environment_steps_per_second: f64,
    /// The peak memory of the process in bytes; `None` if the system does not report it.
    pub peak_memory_bytes: Option<u64>,
    /// The share of time in each phase; `None` if the backend does not report it.
    pub phases: Option<PhaseShares>,
    /// The bytes and operations of one iteration.
    pub work: Work,
    /// The origin of `work`.
    pub counted_from: WorkSource,
    /// The shortest possible time for `work` on this machine; `None` if the machine was not measured.
    pub floor: Option<Floor>,
    /// Kernels of one iteration; empty if the backend does not report them.
    pub kernels: Vec<KernelReport>,
}

/// The origin of a count of work.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkSource {
    /// The kernels that ran, with everything they moved.
    Kernels,
    /// The graphs of the step and its adjoint: the least that must be done.
    Graph,
}

/// The minimum and quartiles of one number per iteration.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Quartiles {
    /// The minimum.
    pub minimum: f64,
    /// The lower quartile.
    pub lower_quartile: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub upper_quartile: f64,
}

impl Quartiles {
    /// The quartiles of `values`; `None` if there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Quartiles> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Some(Quartiles {
            minimum: quantile(&sorted, 0.0)?,
            lower_quartile: quantile(&sorted, 0.25)?,
            median: quantile(&sorted, 0.5)?,
            upper_quartile: quantile(&sorted, 0.75)?,
        })
    }
}

/// The shares of the time of all threads, by phase; they add up to 1.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct PhaseShares {
    /// The forward pass.
    pub forward: f64,
    /// The environment or data, sampling and the loss.
    pub task: f64,
    /// The backward pass, with the steps recomputed for it.
    pub backward: f64,
    /// Summing and clipping gradients, and the optimizer.
    pub update: f64,
    /// The rest: idle threads, and the setup of each iteration.
    pub other: f64,
}

impl PhaseShares {
    /// The shares for iterations that took `seconds` in all on `threads` threads; `None` if only the update
    /// was measured.
    pub fn new(phases: Phases, seconds: f64, threads: usize) -> Option<PhaseShares> {
        if phases.forward + phases.task + phases.backward <= 0.0 {
            return None;
        }
        let had = (seconds * threads as f64).max(phases.total());
        Some(PhaseShares {
            forward: phases.forward / had,
            task: phases.task / had,
            backward: phases.backward / had,
            update: phases.update / had,
            other: (had - phases.total()) / had,
        })
    }
}

/// The shortest possible time of an iteration on a machine, by its two limits.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Floor {
    /// Seconds to move the bytes if all of them were in L2 caches, or in the shared memory of a GPU.
    pub bytes_seconds: f64,
    /// Seconds to do the operations if all of them were multiply-adds.
    pub operations_seconds: f64,
    /// The larger of the two divided by the median time; 1 means the floor is reached.
    pub reached: f64,
}

impl Floor {
    /// The floor of an iteration that takes `seconds`.
    pub fn new(work: Work, machine: &Machine, seconds: f64) -> Floor {
        let bytes_seconds = work.bytes / machine.near_bytes_per_second.all;
        let operations_seconds = work.operations / machine.operations_per_second.all;
        Floor {
            bytes_seconds,
            operations_seconds,
            reached: bytes_seconds.max(operations_seconds) / seconds,
        }
    }
}

/// The facts about a spec that are known before its iterations are measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The path of the spec.
    pub spec: String,
    /// The name of the backend.
    pub backend: String,
    /// The name of the device.
    pub device: String,
    /// The number of threads that share the lanes.
    pub threads: usize,
    /// The number of lanes per iteration.
    pub lanes: usize,
    /// The number of steps per episode.
    pub steps: usize,
    /// The number of trained scalars.
    pub parameters: usize,
    /// The time from the text to a program ready to run, in seconds.
    pub compile_seconds: f64,
    /// The work of one iteration, counted from the graphs.
    pub work: Work,
}

impl SpecReport {
    /// Builds the report; `None` without iterations. [`SpecReport::on`] adds the floor.
    pub fn new(
        setup: Setup,
        iterations: &[IterationReport],
        kernels: Vec<KernelReport>,
        peak_memory_bytes: Option<u64>,
    ) -> Option<SpecReport> {
        let seconds = Quartiles::of(iterations.iter().map(|report| report.seconds))?;
        let mut phases = Phases::default();
        for report in iterations {
            phases += report.phases;
        }
        let total: f64 = iterations.iter().map(|report| report.seconds).sum();
        let told = kernels.iter().any(|kernel| kernel.bytes > 0.0);
        let (work, counted_from) = if !told {
            (setup.work, WorkSource::Graph)
        } else {
            let work = Work {
                bytes: kernels.iter().map(|kernel| kernel.bytes).sum(),
                operations: kernels.iter().map(|kernel| kernel.operations).sum(),
            };
            (work, WorkSource::Kernels)
        };
        Some(SpecReport {
            spec: setup.spec,
            backend: setup.backend,
            device: setup.device,
            threads: setup.threads,
            lanes: setup.lanes,
            steps: setup.steps,
            parameters: setup.parameters,
            compile_ms: setup.compile_seconds * 1e3,
            iterations: iterations.len(),
            iterations_per_second: 1.0 / seconds.median,
            environment_steps_per_second: (setup.lanes * setup.steps) as f64 / seconds.median,
            seconds,
            peak_memory_bytes,
            phases: PhaseShares::new(phases, total, setup.threads),
            work,
            counted_from,
            floor: None,
            kernels,
        })
    }

    /// Adds the floor on `machine`.
    pub fn on(mut self, machine: &Machine) -> SpecReport {
        self.floor = Some(Floor::new(self.work, machine, self.seconds.median));
        self
    }
}

/// The shortest possible time of a kernel in seconds, by the tighter of its two limits: those of one CPU
/// thread, or of a whole GPU.
pub fn kernel_floor(kernel: &KernelReport, machine: &Machine) -> f64 {
    let of = |rates: Rates| match machine.device {
        None => rates.one,
        Some(_) => rates.all,
    };
    let bytes = kernel.bytes / of(machine.near_bytes_per_second);
    let operations = kernel.operations / of(machine.operations_per_second);
    bytes.max(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iteration(seconds: f64, phases: Phases) -> IterationReport {
        IterationReport {
            iteration: 1,
            loss: 0.0,
            parts: None,
            reward: None,
            scores: Vec::new(),
            epoch: None,
            reads_text: false,
            validation: None,
            gradient_norm: 0.0,
            phases,
            seconds,
        }
    }

    fn setup() -> Setup {
        Setup {
            spec: "a.bpm".to_owned(),
            backend: "fused".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            lanes: 30,
            steps: 20,
            parameters: 7,
            compile_seconds: 0.05,
            work: Work {
                bytes: 1e6,
                operations: 1e7,
            },
        }
    }

    fn machine() -> Machine {
        let rates = |one| Rates {
            one,
            all: 2.0 * one,
        };
        Machine {
            device: None,
            threads: 2,
            vector_bits: 256,
            operations_per_second: rates(1e8),
            near_bytes: 1 << 18,
            near_bytes_per_second: rates(1e8),
            far_bytes_per_second: rates(1e7),
        }
    }

    #[test]
    fn shares_are_of_the_time_all_threads_had() {
        let phases = Phases {
            forward: 0.4,
            task: 0.1,
            backward: 1.0,
            update: 0.1,
        };
        let report = SpecReport::new(setup(), &[iteration(1.0, phases)], Vec::new(), None).unwrap();
        let shares = report.phases.unwrap();
        assert_eq!((shares.forward, shares.backward), (0.2, 0.5));
        assert!((shares.other - 0.2).abs() < 1e-12);
        assert_eq!(report.environment_steps_per_second, 600.0);
        assert_eq!(report.floor, None);
        let silent = Phases {
            update: 0.1,
            ..Phases::default()
        };
        assert_eq!(PhaseShares::new(silent, 1.0, 2), None);
    }

    #[test]
    fn the_floor_is_the_tighter_limit() {
        let times = [0.3, 0.1, 0.2].map(|seconds| iteration(seconds, Phases::default()));
        let report = SpecReport::new(setup(), &times, Vec::new(), Some(9)).unwrap();
        assert_eq!((report.seconds.median, report.seconds.minimum), (0.2, 0.1));
        assert_eq!(report.counted_from, WorkSource::Graph);
        let floor = report.on(&machine()).floor.unwrap();
        assert_eq!(floor.bytes_seconds, 0.005);
        assert_eq!(floor.operations_seconds, 0.05);
        assert_eq!(floor.reached, 0.25);
        assert_eq!(SpecReport::new(setup(), &[], Vec::new(), None), None);
    }

    #[test]
    fn what_kernels_say_goes_before_the_graph() {
        let kernel = |name: &str| KernelReport {
            name: name.to_owned(),
            form: "machine code, 256 bits".to_owned(),
            calls: 600.0,
            seconds: 0.1,
            bytes: 2e6,
            operations: 1e6,
        };
        let kernels = vec![kernel("step"), kernel("adjoint")];
        let times = [iteration(1.0, Phases::default())];
        let report = SpecReport::new(setup(), &times, kernels, None).unwrap();
        assert_eq!(report.counted_from, WorkSource::Kernels);
        assert_eq!((report.work.bytes, report.work.operations), (4e6, 2e6));
        assert_eq!(kernel_floor(&report.kernels[0], &machine()), 0.02);
        let device = Machine {
            device: Some("a GPU".to_owned()),
            ..machine()
        };
        assert_eq!(kernel_floor(&report.kernels[0], &device), 0.01);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<SpecReport>(&json).unwrap(), report);
    }
}
