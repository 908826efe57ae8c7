//! `bpmc sweep run`.

use super::super::options::from_one;
use super::super::screen::Screen;
use super::super::{Failure, Outcome};
use super::display::Display;
use super::{count, count_interrupts, default_directory, SweepArguments};
use crate::lab::shell::quoted;
use crate::lab::sweep::local::{self, CoreAllocation, Summary};
use crate::lab::sweep::{arguments as train_arguments, slurm, state, Directory, State, SweepFile};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc sweep run sweep.yaml                       on all cores of this machine
  bpmc sweep run sweep.yaml --workers 4 --threads 2
  bpmc sweep run sweep.yaml --scale 0.05          a trial with a twentieth of the iterations
  bpmc sweep run sweep.yaml --engine slurm        as a job array
  bpmc sweep run sweep.yaml --engine slurm --dry-run

Ctrl-C lets every cell save where it is. The same command goes on from there, and does only what is \
missing: cells that are done are left alone, cells that failed are tried again.";

/// Run the cells of a sweep that are not done.
///
/// Each cell is trained by a process of its own, in a run directory of its own; one that fails does not stop the
/// others.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    source: SweepArguments,

    /// The directory of the sweep [default: runs/ and its name, as in runs/maze]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Engine of the cells
    #[arg(long, value_enum, default_value_t = EngineKind::Local)]
    engine: EngineKind,

    /// Cells at a time [default: as the file says, or such that all cores are used]
    #[arg(long, value_name = "N", value_parser = from_one)]
    workers: Option<NonZeroUsize>,

    /// Threads of each cell [default: as the file says, or 1 where cells are enough for all cores]
    #[arg(long, value_name = "N", value_parser = from_one)]
    threads: Option<NonZeroUsize>,

    /// Print the commands, or the script for Slurm, and run nothing
    #[arg(long)]
    dry_run: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// The engines of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// Processes on this machine
    Local,
    /// A job array of the Slurm workload manager
    Slurm,
}

/// Runs what is missing.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let (file, plan) = arguments.source.plan(screen)?;
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| default_directory(&plan.name, plan.scale));
    let directory = if arguments.dry_run {
        Directory::imagine(&out, plan).map_err(anyhow::Error::new)?
    } else {
        Directory::prepare(&out, plan).map_err(anyhow::Error::new)?
    };
    let program = crate::machine::own::program().context("cannot find the command bpmc")?;
    match arguments.engine {
        EngineKind::Local => run_here(arguments, &file, &directory, &program, screen),
        EngineKind::Slurm => run_slurm(arguments, &file, &directory, &program, screen),
    }
}

fn run_here(
    arguments: &Arguments,
    file: &SweepFile,
    directory: &Directory,
    program: &Path,
    screen: &Screen,
) -> Outcome {
    let cells = directory.plan.cells.iter();
    let missing: Vec<_> = cells
        .filter(|cell| state(directory, cell).state != State::Done)
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = CoreAllocation::new(
        cores,
        missing.len(),
        arguments
            .workers
            .map(NonZeroUsize::get)
            .or(file.engine.workers),
        arguments
            .threads
            .map(NonZeroUsize::get)
            .or(file.engine.threads),
    );
    if arguments.dry_run {
        let mut text = String::new();
        for cell in missing {
            let words = train_arguments(directory, cell, share.threads, false);
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            text.push_str(&format!("bpmc {}\n", words.join(" ")));
        }
        return screen.print(&text);
    }
    if !arguments.quiet {
        screen.say(&format!(
            "{}: {} to do of {}, {} at a time with {} each\nin {}",
            directory.plan.name,
            missing.len(),
            count(directory.plan.cells.len(), "cell"),
            share.workers,
            count(share.threads, "thread"),
            directory.path().display()
        ));
        if share.workers * share.threads > cores && !missing.is_empty() {
            screen.say(&format!(
                "note: {} workers with {} are more than the {} of this machine",
                share.workers,
                count(share.threads, "thread"),
                count(cores, "core")
            ));
        }
    }
    let interrupts = count_interrupts(
        "\nstopping: the cells finish an iteration and save; again to stop at once\n",
    )?;
    let mut display = Display::new(screen, directory, share.workers, arguments.quiet);
    let summary = local::run(
        directory,
        program,
        share,
        &|_| true,
        &interrupts,
        &mut |event| display.show(&event),
    );
    drop(display);
    let summary = summary.map_err(anyhow::Error::new)?;
    finish(arguments, directory, &summary, screen)
}

fn finish(
    arguments: &Arguments,
    directory: &Directory,
    summary: &Summary,
    screen: &Screen,
) -> Outcome {
    let all = directory.plan.cells.len();
    let done = summary.before + summary.done;
    let again = || {
        // Before it stands what started bpmc, which may be a Python with words of its own.
        let words = std::env::args().skip_while(|word| word != "sweep");
        let words: Vec<String> = words.map(|word| quoted(&word)).collect();
        format!("bpmc {}", words.join(" "))
    };
    let stopped = summary.interrupted + summary.left;
    let failed = match summary.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    if stopped > 0 {
        screen.say(&format!(
            "interrupted: {done} of {} done{failed}; go on with\n  {}",
            count(all, "cell"),
            again()
        ));
        return Err(Failure::Interrupted);
    }
    if summary.failed > 0 {
        screen.error(&format!(
            "{} of {} failed, {done} done; the others were not affected",
            summary.failed,
            count(all, "cell")
        ));
        for cell in &directory.plan.cells {
            let now = state(directory, cell);
            if let (State::Failed, Some(error)) = (now.state, now.error) {
                screen.say(&format!(
                    "  {}: {error}\n    log: {}",
                    cell.name,
                    directory.cell(cell).join("stderr.log").display()
                ));
            }
        }
        screen.say(&format!("try them again with\n  {}", again()));
        return Err(Failure::Reported);
    }
    if summary.elsewhere > 0 {
        screen.say(&format!(
            "{done} of {} done; {} trained by other processes",
            count(all, "cell"),
            summary.elsewhere
        ));
        return Ok(());
    }
    let path = directory.path().display().to_string();
    if arguments.quiet {
        return Ok(());
    }
    screen.print(&format!(
        "{} done\nbpmc sweep collect {} -o results\n",
        count(all, "cell"),
        quoted(&path)
    ))
}

fn run_slurm(
    arguments: &Arguments,
    file: &SweepFile,
    directory: &Directory,
    program: &Path,
    screen: &Screen,
) -> Outcome {
    let cells = slurm::cells(directory);
    let root = std::path::absolute(directory.path()).context("cannot find the directory")?;
    let threads = arguments
        .threads
        .map(NonZeroUsize::get)
        .or(file.engine.threads)
        .unwrap_or(1);
    let mut settings = file.engine.slurm.clone();
    settings.at_once = arguments
        .workers
        .map(NonZeroUsize::get)
        .or(settings.at_once);
    let script = slurm::script(directory, &cells, &settings, threads, &root, program);
    if arguments.dry_run {
        return screen.print(&script);
    }
    if cells.is_empty() {
        screen.say("no cell is left to submit; `bpmc sweep status` shows them");
        return Ok(());
    }
    let job = slurm::submit(directory, &script).map_err(anyhow::Error::new)?;
    screen.print(&format!(
        "submitted job {job}: {}\nbpmc sweep status {}\n",
        count(cells.len(), "cell"),
        quoted(&directory.path().display().to_string())
    ))
}
