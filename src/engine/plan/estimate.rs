//! The estimated time of an iteration, from a few steps on this machine.

use crate::engine::fused::{Fused, LaneMemory, Shared};
use crate::engine::BackendError;
use std::time::{Duration, Instant};

/// Steps that are timed.
const STEPS: usize = 64;

/// Longest time spent on timing.
const PATIENCE: Duration = Duration::from_millis(200);

/// Seconds the network of an iteration takes, forward and back, when `running` lanes run at once on as many cores:
/// some steps of one lane are timed with these parameters and inputs of 0. Task and optimizer are not in it.
///
/// # Errors
/// Those of the backend.
pub fn seconds_per_iteration(
    program: &Fused,
    parameters: &[Vec<f64>],
    (lanes, steps): (usize, usize),
    running: usize,
) -> Result<f64, BackendError> {
    let shared: Shared<f32> = program.shared(parameters)?;
    let timed = steps.clamp(1, STEPS);
    let interval = crate::engine::bptt::least_memory_interval(timed);
    let mut memory = LaneMemory::new();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    // The first time memory is touched does not count; after that the fastest does.
    let mut first = true;
    while first || begin.elapsed() < PATIENCE {
        let start = Instant::now();
        memory.start(program, timed, interval);
        for _ in 0..timed {
            memory.step(program, &shared);
        }
        memory.start_back(program);
        memory.back(program, &shared, |_, _, out| out.fill(1.0));
        if !first {
            best = best.min(start.elapsed().as_secs_f64());
        }
        if first && begin.elapsed() > PATIENCE {
            best = start.elapsed().as_secs_f64();
        }
        first = false;
    }
    let rounds = lanes.div_ceil(running.max(1)) as f64;
    Ok(best / timed as f64 * steps as f64 * rounds)
}
