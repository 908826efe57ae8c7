//! Sweeps on this machine: several cells at a time, each in its own process.

use super::cell::{Outcome, Training};
use super::directory::Directory;
use super::plan::Cell;
use super::state::{state, CellState, State};
use super::SweepError;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The time between checks of the processes.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The time between reads of the metrics.
const PROGRESS_EVERY: Duration = Duration::from_millis(1000);

/// The division of the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreAllocation {
    /// The number of cells at a time.
    pub workers: usize,
    /// The number of threads per cell.
    pub threads: usize,
}

impl CoreAllocation {
    /// Divides `cores`: given numbers are used as they are, others are chosen so that workers times threads
    /// is at most `cores`. Workers with one thread never wait for each other, so cells get more threads only
    /// if there are fewer cells than cores.
    pub fn new(
        cores: usize,
        cells: usize,
        workers: Option<usize>,
        threads: Option<usize>,
    ) -> CoreAllocation {
        let (cores, cells) = (cores.max(1), cells.max(1));
        let workers = match (workers, threads) {
            (Some(workers), _) => workers,
            (None, Some(threads)) => cores / threads.max(1),
            (None, None) => cores,
        };
        let workers = workers.clamp(1, cells);
        CoreAllocation {
            workers,
            threads: threads.unwrap_or(cores / workers).max(1),
        }
    }
}

/// An event while a sweep runs. A slot is the number of a worker.
#[derive(Debug)]
pub enum Event<'a> {
    /// A cell starts or continues.
    Started {
        /// The worker.
        slot: usize,
        /// The cell.
        cell: &'a Cell,
        /// Its state before the start.
        before: CellState,
    },
    /// A cell has made progress.
    Progress {
        /// The worker.
        slot: usize,
        /// The cell.
        cell: &'a Cell,
        /// Its current state.
        now: CellState,
    },
    /// A cell has ended.
    Ended {
        /// The worker.
        slot: usize,
        /// The cell.
        cell: &'a Cell,
        /// The outcome.
        outcome: &'a Outcome,
        /// The time since its last start.
        took: Duration,
    },
    /// Another process trains this cell.
    Elsewhere(&'a Cell),
}

/// The numbers of cells by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cells that were finished before.
    pub before: usize,
    /// Cells finished now.
    pub done: usize,
    /// Cells that failed.
    pub failed: usize,
    /// Cells that were interrupted.
    pub interrupted: usize,
    /// Cells that another process trains.
    pub elsewhere: usize,
    /// Cells that were not started.
    pub left: usize,
}

struct Slot<'a> {
    cell: &'a Cell,
    training: Training,
    started: Instant,
    looked: Instant,
}

/// Runs the `wanted` cells that are not done, with `program` as the command `bpmc`. A cell that fails does
/// not stop the others. If `interrupts` is 1, running cells save and stop, and no more are started; if it is
/// greater, they are killed.
///
/// # Errors
/// Fails only if processes cannot be watched; running ones are then told to stop.
pub fn run(
    directory: &Directory,
    program: &Path,
    share: CoreAllocation,
    wanted: &dyn Fn(&Cell) -> bool,
    interrupts: &AtomicUsize,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Summary, SweepError> {
    let mut summary = Summary::default();
    let mut waiting = Vec::new();
    for cell in directory.plan.cells.iter().filter(|cell| wanted(cell)) {
        let before = state(directory, cell);
        if before.state == State::Done {
            summary.before += 1;
        } else {
            waiting.push((cell, before));
        }
    }
    let mut waiting = waiting.into_iter();
    let mut slots: Vec<Option<Slot<'_>>> = (0..share.workers).map(|_| None).collect();
    loop {
        let stop = interrupts.load(Ordering::Relaxed);
        for (number, place) in slots.iter_mut().enumerate() {
            if let Some(slot) = place {
                if look(directory, slot, number, stop, &mut summary, observe)? {
                    *place = None;
                }
            }
            while place.is_none() && stop == 0 {
                let Some((cell, before)) = waiting.next() else {
                    break;
                };
                let begun = begin(directory, program, share, cell);
                *place = match begun {
                    Ok(Some(slot)) => {
                        observe(Event::Started {
                            slot: number,
                            cell,
                            before,
                        });
                        Some(slot)
                    }
                    Ok(None) => {
                        summary.elsewhere += 1;
                        observe(Event::Elsewhere(cell));
                        None
                    }
                    Err(error) => {
                        summary.failed += 1;
                        let outcome = Outcome::Failed(super::Failure {
                            reason: error.to_string(),
                            killed: false,
                            tail: Vec::new(),
                        });
                        observe(Event::Ended {
                            slot: number,
                            cell,
                            outcome: &outcome,
                            took: Duration::ZERO,
                        });
                        None
                    }
                };
            }
        }
        if slots.iter().all(Option::is_none) {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    summary.left = waiting.count();
    Ok(summary)
}

fn begin<'a>(
    directory: &Directory,
    program: &Path,
    share: CoreAllocation,
    cell: &'a Cell,
) -> Result<Option<Slot<'a>>, SweepError> {
    if crate::lab::lock::is_held(&directory.cell(cell)) {
        return Ok(None);
    }
    let training = Training::start(program, directory, cell, share.threads)?;
    let now = Instant::now();
    Ok(Some(Slot {
        cell,
        training,
        started: now,
        looked: now,
    }))
}

/// Checks a running cell; returns whether it has ended.
fn look(
    directory: &Directory,
    slot: &mut Slot<'_>,
    number: usize,
    stop: usize,
    summary: &mut Summary,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<bool, SweepError> {
    match stop {
        0 => {}
        1 => slot.training.stop(),
        _ => slot.training.kill(),
    }
    if let Some(outcome) = slot.training.poll()? {
        match &outcome {
            Outcome::Done => summary.done += 1,
            Outcome::Failed(_) => summary.failed += 1,
            Outcome::Interrupted => summary.interrupted += 1,
        }
        observe(Event::Ended {
            slot: number,
            cell: slot.cell,
            outcome: &outcome,
            took: slot.started.elapsed(),
        });
        return Ok(true);
    }
    if slot.looked.elapsed() >= PROGRESS_EVERY {
        slot.looked = Instant::now();
        observe(Event::Progress {
            slot: number,
            cell: slot.cell,
            now: state(directory, slot.cell),
        });
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::CoreAllocation;

    #[test]
    fn cores_are_shared() {
        for (cores, cells, workers, threads, wanted) in [
            (8, 40, None, None, (8, 1)),
            (8, 3, None, None, (3, 2)),
            (8, 1, None, None, (1, 8)),
            (2, 5, Some(4), None, (4, 1)),
            (8, 40, Some(2), None, (2, 4)),
            (8, 40, None, Some(4), (2, 4)),
            (8, 40, None, Some(16), (1, 16)),
            (8, 2, Some(8), Some(2), (2, 2)),
            (1, 0, None, None, (1, 1)),
        ] {
            let share = CoreAllocation::new(cores, cells, workers, threads);
            assert_eq!((share.workers, share.threads), wanted, "{cores} {cells}");
        }
    }
}
