//! The plan of a run: how lanes are split, which states are kept, and how much memory that takes.

mod estimate;

pub use estimate::seconds_per_iteration;

use crate::engine::bptt::least_memory_interval;
use crate::engine::fused::Fused;
use crate::ir::Graph;
use std::fmt::Write;

/// Elements of one value that keep a processor busy per operation.
const ELEMENTS_PER_BLOCK: usize = 1 << 14;

/// Most blocks of lanes.
const MAX_BLOCKS: usize = 16;

/// Bytes of an f32.
const BYTES: u64 = 4;

/// The plan of an experiment. The steps whose states are kept depend on the spec alone, never on the machine or the
/// number of threads, so that the bits of a run are the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Lanes of an iteration.
    pub lanes: usize,
    /// The lanes that run at once.
    pub together: Together,
    /// Lanes that go in step in the place of each of those: several where there are no traces and memory is enough.
    /// They have the same bits as alone.
    pub in_step: usize,
    /// Steps of an episode.
    pub steps: usize,
    /// Steps between checkpoints of the states.
    pub interval: usize,
    /// The parts of the memory.
    pub parts: Vec<Part>,
}

/// The lanes that run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Together {
    /// Blocks of lanes in step; their gradients are added in this order.
    Blocks(Vec<usize>),
    /// This number of lanes, each through its whole episode.
    Lanes(usize),
}

/// Some bytes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The content.
    pub what: &'static str,
    /// The bytes: all of them, those of a lane, or those of each lane that runs.
    pub bytes: u64,
    /// The number of copies.
    pub times: Times,
}

/// The number of copies of a [`Part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Once,
    /// For every lane.
    Lane,
    /// For every lane that runs at the same time.
    Running,
}

/// The limits on the memory of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes the machine has free, where it says so.
    pub free: Option<u64>,
    /// Bytes the spec allows (`train.memory`).
    pub allowed: Option<u64>,
}

impl Limits {
    /// The smaller of both.
    fn bytes(self) -> u64 {
        self.free
            .unwrap_or(u64::MAX)
            .min(self.allowed.unwrap_or(u64::MAX))
    }
}

impl Plan {
    /// The plan of a backend that runs blocks of lanes in step, for a step and its adjoint.
    pub fn batched(step: &Graph, adjoint: &Graph, lanes: usize, steps: usize) -> Plan {
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
        let kept = steps.div_ceil(interval) as u64 + interval as u64 + 2;
        let states: u64 = step.states.iter().map(|slot| elements(&slot.dims)).sum();
        let (once, lane) = adjoint
            .ids()
            .map(|id| adjoint.shape(id))
            .map(|shape| {
                let elements = elements(&shape.dims);
                if shape.lane {
                    (0, elements)
                } else {
                    (elements, 0)
                }
            })
            .fold((0u64, 0u64), |(a, b), (x, y)| {
                (a.saturating_add(x), b.saturating_add(y))
            });
        Plan {
            lanes,
            together: Together::Blocks(blocks),
            in_step: 1,
            steps,
            interval,
            parts: vec![
                parameters(step),
                Part {
                    what: "states kept for the way back",
                    bytes: states.saturating_mul(kept).saturating_mul(BYTES),
                    times: Times::Lane,
                },
                episodes(step, steps),
                Part {
                    what: "shared values of one step, at most",
                    bytes: once.saturating_mul(BYTES),
                    times: Times::Once,
                },
                Part {
                    what: "values of one step, at most",
                    bytes: lane.saturating_mul(BYTES),
                    times: Times::Lane,
                },
            ],
        }
    }

    /// The plan of the fused kernels: as many lanes at once as there are threads, or fewer where memory is short.
    pub fn lane_major(
        step: &Graph,
        program: &Fused,
        lanes: usize,
        steps: usize,
        threads: usize,
        limits: Limits,
    ) -> Plan {
        let lanes = lanes.max(1);
        let interval = program.interval(least_memory_interval(steps));
        let needs = program.bytes(steps, interval);
        let mut plan = Plan {
            lanes,
            together: Together::Lanes(threads.clamp(1, lanes)),
            // All threads shall have lanes.
            in_step: program
                .best_together()
                .min(lanes.div_ceil(threads.clamp(1, lanes))),
            steps,
            interval,
            parts: vec![
                parameters(step),
                Part {
                    what: "parameters as the kernels read them",
                    bytes: needs.shared,
                    times: Times::Once,
                },
                episodes(step, steps),
                Part {
                    what: "vectors kept of every step",
                    bytes: needs.records,
                    times: Times::Running,
                },
                Part {
                    what: "traces kept and replayed",
                    bytes: needs.traces,
                    times: Times::Running,
                },
                Part {
                    what: "gradient sums of a lane",
                    bytes: needs.sums,
                    times: Times::Running,
                },
                Part {
                    what: "one step forward and back",
                    bytes: needs.working,
                    times: Times::Running,
                },
            ],
        };
        if plan.bytes() > limits.bytes() {
            plan.in_step = 1;
        }
        while plan.running() > 1 && plan.bytes() > limits.bytes() {
            plan.together = Together::Lanes(plan.running() - 1);
        }
        plan
    }

    /// The plan of kernels on a device, all lanes at once: bytes of the device, once and for each lane.
    pub fn device(
        step: &Graph,
        lanes: usize,
        steps: usize,
        interval: usize,
        (once, lane): (u64, u64),
    ) -> Plan {
        Plan {
            lanes: lanes.max(1),
            together: Together::Lanes(lanes.max(1)),
            in_step: 1,
            steps,
            interval,
            parts: vec![
                parameters(step),
                Part {
                    what: "parameters as the kernels read them",
                    bytes: once,
                    times: Times::Once,
                },
                Part {
                    what: "traces, vectors and sums of a lane",
                    bytes: lane,
                    times: Times::Lane,
                },
            ],
        }
    }

    /// The plan of a step in stages, all lanes of which are kept: `bytes` for a chunk of all of them.
    pub fn staged(step: &Graph, lanes: usize, steps: usize, bytes: u64) -> Plan {
        Plan {
            lanes: lanes.max(1),
            together: Together::Lanes(lanes.max(1)),
            in_step: 1,
            steps,
            interval: least_memory_interval(steps),
            parts: vec![
                parameters(step),
                Part {
                    what: "stages over a chunk of all lanes",
                    bytes,
                    times: Times::Once,
                },
            ],
        }
    }

    /// Lanes that run at the same time.
    pub fn running(&self) -> usize {
        match &self.together {
            Together::Blocks(_) => self.lanes,
            Together::Lanes(count) => *count,
        }
    }

    /// Bytes of a part, all of them.
    pub fn bytes_of(&self, part: &Part) -> u64 {
        let times = match part.times {
            Times::Once => 1,
            Times::Lane => self.lanes,
            Times::Running => (self.running() * self.in_step).min(self.lanes),
        };
        part.bytes.saturating_mul(times as u64)
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| self.bytes_of(part))
            .fold(0, u64::saturating_add)
    }

    /// The plan as text, with the seconds an iteration will take where they are known.
    pub fn print(&self, seconds: Option<f64>) -> String {
        let mut out = String::new();
        let together = match &self.together {
            Together::Blocks(blocks) => {
                let sizes: Vec<String> = blocks.iter().map(usize::to_string).collect();
                format!("in {} blocks ({})", blocks.len(), sizes.join(" + "))
            }
            Together::Lanes(1) => "one after another".to_owned(),
            Together::Lanes(count) => format!("{count} at once"),
        };
        let lanes = match self.lanes {
            1 => "1 lane".to_owned(),
            n => format!("{n} lanes"),
        };
        writeln!(
            out,
            "{lanes}, {together}\n{} steps, states kept every {} steps\n",
            self.steps, self.interval
        )
        .expect("writing to a string");
        for part in &self.parts {
            let bytes = megabytes(self.bytes_of(part));
            writeln!(out, "{:<38}{bytes:>12}", part.what).expect("writing to a string");
        }
        let all = megabytes(self.bytes());
        writeln!(out, "{:<38}{all:>12}", "together, at most").expect("writing to a string");
        if let Some(seconds) = seconds {
            let time = if seconds < 1.0 {
                format!("{:.1} ms", seconds * 1e3)
            } else {
                format!("{seconds:.2} s")
            };
            writeln!(out, "\n{:<38}{time:>12}", "an iteration, about")
                .expect("writing to a string");
        }
        out
    }

    /// The reason why the plan exceeds the limits, with a remedy; `None` where it fits.
    pub fn refusal(&self, limits: Limits) -> Option<String> {
        let available = limits.bytes();
        if self.bytes() <= available {
            return None;
        }
        let of = |times: Times| -> u64 {
            let parts = self.parts.iter().filter(|part| part.times == times);
            parts.map(|part| part.bytes).fold(0, u64::saturating_add)
        };
        let running = match self.together {
            Together::Blocks(_) => 0,
            Together::Lanes(_) => of(Times::Running),
        };
        let fixed = of(Times::Once).saturating_add(running);
        let fit = available.saturating_sub(fixed) / of(Times::Lane).max(1);
        let help = if fit >= 1 && (fit as usize) < self.lanes {
            format!("`--set train.batch={fit}` would fit")
        } else {
            "make the network or the episode smaller".to_owned()
        };
        let allowed = limits.allowed.is_some_and(|allowed| allowed <= available);
        Some(if allowed {
            format!(
                "the run needs up to {} and `train.memory` allows {}: raise it, or {help}",
                megabytes(self.bytes()),
                megabytes(available)
            )
        } else {
            format!(
                "the run needs up to {} and {} are free: {help}",
                megabytes(self.bytes()),
                megabytes(available)
            )
        })
    }
}

/// Groups of lanes of a text that go back in step and have gradient sums of their own. Their number fixes the order of
/// additions, and is the most threads that can go back through a recurrent stage at once; the larger they are, the seldomer
/// matrices are read.
pub fn groups(lanes: usize) -> usize {
    let most = 1 << (lanes / 4).clamp(2, 8).ilog2();
    lanes.min(most).max(1)
}

fn elements(dims: &[usize]) -> u64 {
    dims.iter()
        .map(|d| *d as u64)
        .fold(1, |product, d| product.saturating_mul(d))
}

/// Parameters as the optimizer sees them, with gradients and moments.
fn parameters(step: &Graph) -> Part {
    let params = step.params.iter().map(|slot| elements(&slot.dims));
    Part {
        what: "parameters, gradients, moments",
        bytes: params
            .fold(0, u64::saturating_add)
            .saturating_mul(7 * BYTES),
        times: Times::Once,
    }
}

/// The memory that the trainer keeps of an episode.
fn episodes(step: &Graph, steps: usize) -> Part {
    let inputs = step.inputs.iter().map(|slot| elements(&slot.dims));
    let outputs = step.outputs.iter().map(|slot| elements(&slot.dims));
    let elements = inputs
        .chain(outputs.map(|n| n.saturating_mul(2)))
        .fold(0, u64::saturating_add);
    Part {
        what: "outputs of all steps, with adjoints",
        bytes: elements
            .saturating_mul(steps as u64)
            .saturating_mul(2 * BYTES),
        times: Times::Lane,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Op, ResultKind, StateSlot};
    use crate::step::autodiff::{differentiate, Options};

    fn plan(size: usize, lanes: usize, steps: usize) -> Plan {
        let mut step = Graph::new();
        let state = step.add_state(StateSlot::new("h", [size], 0.0));
        let value = step.add(Op::State(state), &[]).unwrap();
        step.set_result(ResultKind::Next(state), value);
        let adjoint = differentiate(&step, Options::default());
        Plan::batched(&step, &adjoint, lanes, steps)
    }

    fn free(bytes: u64) -> Limits {
        Limits {
            free: Some(bytes),
            allowed: None,
        }
    }

    fn blocks(plan: &Plan) -> &[usize] {
        match &plan.together {
            Together::Blocks(blocks) => blocks,
            Together::Lanes(_) => &[],
        }
    }

    #[test]
    fn lanes_are_split_evenly_and_all_used() {
        for lanes in 1..70 {
            for size in [1, 100, 100_000] {
                let plan = plan(size, lanes, 10);
                let blocks = blocks(&plan);
                assert_eq!(blocks.iter().sum::<usize>(), lanes);
                let (least, most) = (blocks.iter().min(), blocks.iter().max());
                assert!(most.unwrap() - least.unwrap() <= 1);
            }
        }
        assert_eq!(blocks(&plan(1, 1, 10)), [1]);
        assert_eq!(blocks(&plan(1, 30, 10)), [15, 15]);
        assert_eq!(blocks(&plan(10_000, 30, 10)).len(), 15);
    }

    #[test]
    fn a_run_that_does_not_fit_is_refused_with_what_would() {
        let plan = plan(1000, 10, 100);
        assert_eq!(plan.refusal(free(plan.bytes())), None);
        let text = plan.refusal(free(plan.bytes() / 2)).unwrap();
        assert!(text.contains("train.batch="), "{text}");
        assert!(plan.refusal(free(10)).unwrap().contains("smaller"));
        let allowed = Limits {
            free: Some(1 << 40),
            allowed: Some(plan.bytes() / 2),
        };
        let text = plan.refusal(allowed).unwrap();
        assert!(text.contains("train.memory"), "{text}");
    }

    #[test]
    fn fewer_lanes_run_at_once_where_memory_is_short() {
        let mut step = Graph::new();
        let trace = step.add_state(StateSlot::new("hebb", [40, 40], 0.0));
        let value = step.add(Op::State(trace), &[]).unwrap();
        step.set_result(ResultKind::Next(trace), value);
        let adjoint = differentiate(&step, Options::default());
        let program = Fused::new(&step, &adjoint).unwrap();
        let plan = |limits| Plan::lane_major(&step, &program, 30, 100, 8, limits);
        let all = plan(Limits::default());
        assert_eq!(all.running(), 8);
        let half = plan(free(all.bytes() / 2));
        assert!((1..8).contains(&half.running()), "{half:?}");
        assert!(half.bytes() <= all.bytes() / 2);
        assert_eq!(half.interval, all.interval);
        assert!(plan(free(10)).refusal(free(10)).is_some());
    }

    #[test]
    fn lanes_without_traces_go_in_step_where_memory_is_enough() {
        let mut step = Graph::new();
        let state = step.add_state(StateSlot::new("h", [40], 0.0));
        let value = step.add(Op::State(state), &[]).unwrap();
        step.set_result(ResultKind::Next(state), value);
        let adjoint = differentiate(&step, Options::default());
        let program = Fused::new(&step, &adjoint).unwrap();
        let plan = |lanes, limits| Plan::lane_major(&step, &program, lanes, 100, 2, limits);
        let all = plan(30, Limits::default());
        assert_eq!((all.running(), all.in_step), (2, 4));
        let short = plan(30, free(all.bytes() - 1));
        assert_eq!((short.running(), short.in_step), (2, 1));
        assert!(short.bytes() < all.bytes());
        // No thread is left without lanes.
        assert_eq!(plan(4, Limits::default()).in_step, 2);
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(megabytes(12), "12 B");
        assert_eq!(megabytes(12_345_678), "12.3 MB");
    }
}
