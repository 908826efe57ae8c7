//! `bpmc sweep cell`: what a task of a job array runs.

use super::super::options::from_one;
use super::super::screen::Screen;
use super::super::{Failure, Outcome};
use super::count_interrupts;
use crate::lab::sweep::local::{self, CoreAllocation, Event};
use crate::lab::sweep::{state, Directory, Outcome as Ending, State, SweepError};
use anyhow::Context;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc sweep cell runs/maze simple-3
  bpmc sweep cell runs/maze simple-3 --threads 4

Exit status: 0 where the cell is done or another process trains it, 75 where the training process was killed.";

/// Train one cell of a sweep that `bpmc sweep run` has prepared.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The directory of the sweep
    #[arg(value_name = "DIR")]
    sweep: PathBuf,

    /// The name of the cell
    #[arg(value_name = "CELL")]
    cell: String,

    /// Threads to split the lanes over
    #[arg(long, value_name = "N", default_value = "1", value_parser = from_one)]
    threads: NonZeroUsize,
}

/// Trains the cell, from its checkpoint where there is one.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let directory = Directory::open(&arguments.sweep).map_err(anyhow::Error::new)?;
    let name = &arguments.cell;
    let Some(cell) = directory.plan.cell(name) else {
        return Err(Failure::Run(anyhow::Error::new(SweepError::NoCell {
            path: arguments.sweep.clone(),
            name: name.clone(),
        })));
    };
    if state(&directory, cell).state == State::Different {
        return Err(Failure::Run(anyhow::anyhow!(
            "{} holds a run of another spec or other settings; remove it to run the cell anew",
            directory.cell(cell).display()
        )));
    }
    let program = crate::machine::own::program().context("cannot find the command bpmc")?;
    let interrupts = count_interrupts("stopping: the cell finishes an iteration and saves\n")?;
    let share = CoreAllocation {
        workers: 1,
        threads: arguments.threads.get(),
    };
    let mut failed = None;
    let summary = local::run(
        &directory,
        &program,
        share,
        &|cell| cell.name == *name,
        &interrupts,
        &mut |event| match event {
            Event::Started { before, .. } => {
                screen.say(&format!("{name} from iteration {}", before.iterations));
            }
            Event::Ended { outcome, .. } => {
                if let Ending::Failed(failure) = outcome {
                    failed = Some(failure.clone());
                }
            }
            Event::Progress { .. } | Event::Elsewhere(_) => {}
        },
    )
    .map_err(anyhow::Error::new)?;
    if let Some(failure) = failed {
        screen.error(&format!("{name}: {}", failure.sentence()));
        for line in &failure.tail {
            screen.say(&format!("  {line}"));
        }
        return Err(if failure.killed {
            Failure::Killed
        } else {
            Failure::Reported
        });
    }
    if summary.interrupted + summary.left > 0 {
        let at = state(&directory, cell).iterations;
        screen.say(&format!("{name} stopped at iteration {at}"));
        return Err(Failure::Interrupted);
    }
    screen.say(&if summary.elsewhere > 0 {
        format!("another process trains {name}")
    } else {
        format!("{name} is done")
    });
    Ok(())
}
