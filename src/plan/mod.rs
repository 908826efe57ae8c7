//! The plan of a run: how lanes are split, which states are kept, and how much memory that takes.

use crate::backend::bptt::least_memory_interval;
use crate::ir::Graph;
use std::fmt::Write;

/// Elements of one value that keep a processor busy per operation.
const ELEMENTS_PER_BLOCK: usize = 1 << 14;

/// Most blocks of lanes.
const MAX_BLOCKS: usize = 16;

/// Bytes of an f32.
const BYTES: u64 = 4;

/// How an experiment is run. A function of the spec alone, never of the machine or the number of threads,
/// so that the bits of a run are the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Lanes of each block; blocks run in parallel, their gradients are added in this order.
    pub blocks: Vec<usize>,
    /// Steps of an episode.
    pub steps: usize,
    /// Steps between checkpoints of the states.
    pub interval: usize,
    /// Bytes of all parameters, their gradients and the optimiser's moments.
    pub parameters: u64,
    /// Bytes of the states kept for the way back, all lanes.
    pub checkpoints: u64,
    /// Bytes of inputs, outputs and their adjoints of all steps, all lanes.
    pub vectors: u64,
    /// Bytes of the values of one adjoint step, all lanes: an upper bound, since values are freed early.
    pub temporaries: u64,
}

impl Plan {
    /// The plan for a step and its adjoint.
    pub fn new(step: &Graph, adjoint: &Graph, lanes: usize, steps: usize) -> Plan {
        let lanes = lanes.max(1);
        let widest = step
            .ids()
            .map(|id| step.shape(id))
            .filter(|shape| shape.lane)
            .map(|shape| shape.elements())
            .max()
            .unwrap_or(1)
            .max(1);
        let per_block = ELEMENTS_PER_BLOCK.div_ceil(widest).max(1);
        let count = (lanes / per_block).clamp(2.min(lanes), MAX_BLOCKS.min(lanes));
        let blocks = (0..count)
            .map(|k| lanes * (k + 1) / count - lanes * k / count)
            .collect();
        let interval = least_memory_interval(steps);
        let elements = |dims: &[usize]| dims.iter().map(|d| *d as u64).product::<u64>();
        let states: u64 = step.states.iter().map(|slot| elements(&slot.dims)).sum();
        let inputs: u64 = step
            .inputs
            .iter()
            .map(|slot| elements(&slot.dims))
            .chain(step.noises.iter().map(|slot| elements(&slot.dims)))
            .sum();
        let outputs: u64 = step.outputs.iter().map(|slot| elements(&slot.dims)).sum();
        let params: u64 = step.params.iter().map(|slot| elements(&slot.dims)).sum();
        let lanes = lanes as u64;
        let kept = steps.div_ceil(interval) as u64 + interval as u64 + 2;
        let temporaries = adjoint
            .ids()
            .map(|id| adjoint.shape(id))
            .map(|shape| {
                let elements = elements(&shape.dims);
                if shape.lane {
                    elements.saturating_mul(lanes)
                } else {
                    elements
                }
            })
            .fold(0u64, u64::saturating_add);
        Plan {
            blocks,
            steps,
            interval,
            parameters: params.saturating_mul(5 * BYTES),
            checkpoints: states
                .saturating_mul(kept)
                .saturating_mul(lanes)
                .saturating_mul(BYTES),
            vectors: (inputs + 2 * outputs)
                .saturating_mul(steps as u64)
                .saturating_mul(lanes)
                .saturating_mul(2 * BYTES),
            temporaries: temporaries.saturating_mul(BYTES),
        }
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.parameters
            .saturating_add(self.checkpoints)
            .saturating_add(self.vectors)
            .saturating_add(self.temporaries)
    }

    /// The plan as text, for `--emit plan`.
    pub fn print(&self) -> String {
        let mut out = String::new();
        let lanes: usize = self.blocks.iter().sum();
        let sizes: Vec<String> = self.blocks.iter().map(usize::to_string).collect();
        let rows = [
            ("parameters, gradients, moments", self.parameters),
            ("states kept for the way back", self.checkpoints),
            ("inputs and outputs of all steps", self.vectors),
            ("values of one step, at most", self.temporaries),
            ("together, at most", self.bytes()),
        ];
        let written = writeln!(
            out,
            "{lanes} lanes in {} blocks ({})\n{} steps, states kept every {} steps\n",
            self.blocks.len(),
            sizes.join(" + "),
            self.steps,
            self.interval
        );
        written.expect("writing to a string");
        for (what, bytes) in rows {
            writeln!(out, "{what:<34}{:>12}", megabytes(bytes)).expect("writing to a string");
        }
        out
    }

    /// Why this cannot run in `available` bytes, with what would help; `None` where it can.
    pub fn refusal(&self, available: u64) -> Option<String> {
        if self.bytes() <= available {
            return None;
        }
        let lanes: usize = self.blocks.iter().sum();
        let per_lane = (self
            .checkpoints
            .saturating_add(self.vectors)
            .saturating_add(self.temporaries))
            / lanes as u64;
        let fit = available.saturating_sub(self.parameters) / per_lane.max(1);
        let help = if fit >= 1 {
            format!("`--set train.batch={fit}` would fit")
        } else {
            "make the network or the episode smaller".to_owned()
        };
        Some(format!(
            "the run needs up to {} and {} are free: {help}",
            megabytes(self.bytes()),
            megabytes(available)
        ))
    }
}

/// Bytes in a unit people read.
pub fn megabytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            return format!("{value:.*} {unit}", usize::from(unit != "B"));
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
}

/// Bytes of memory free on this machine, where it says so.
pub fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::{differentiate, Options};
    use crate::ir::{Op, ResultKind, StateSlot};

    fn plan(size: usize, lanes: usize, steps: usize) -> Plan {
        let mut step = Graph::new();
        let state = step.add_state(StateSlot::new("h", [size], 0.0));
        let value = step.add(Op::State(state), &[]).unwrap();
        step.set_result(ResultKind::Next(state), value);
        let adjoint = differentiate(&step, Options::default());
        Plan::new(&step, &adjoint, lanes, steps)
    }

    #[test]
    fn lanes_are_split_evenly_and_all_used() {
        for lanes in 1..70 {
            for size in [1, 100, 100_000] {
                let plan = plan(size, lanes, 10);
                assert_eq!(plan.blocks.iter().sum::<usize>(), lanes);
                let (least, most) = (plan.blocks.iter().min(), plan.blocks.iter().max());
                assert!(most.unwrap() - least.unwrap() <= 1);
            }
        }
        assert_eq!(plan(1, 1, 10).blocks, [1]);
        assert_eq!(plan(1, 30, 10).blocks, [15, 15]);
        assert_eq!(plan(10_000, 30, 10).blocks.len(), 15);
    }

    #[test]
    fn a_run_that_does_not_fit_is_refused_with_what_would() {
        let plan = plan(1000, 10, 100);
        assert_eq!(plan.refusal(plan.bytes()), None);
        let text = plan.refusal(plan.bytes() / 2).unwrap();
        assert!(text.contains("train.batch="), "{text}");
        assert!(plan.refusal(10).unwrap().contains("smaller"));
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(megabytes(12), "12 B");
        assert_eq!(megabytes(12_345_678), "12.3 MB");
    }
}
