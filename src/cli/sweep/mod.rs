//! The command `bpmc sweep`.

mod cell;
mod collect;
mod display;
mod plan;
mod run;
mod status;

use super::options::Overrides;
use super::screen::{emergency, Screen};
use super::{Failure, Outcome};
use crate::lab::sweep::{Changes, Directory, Plan, PlanError, Problem, SweepFile};
use crate::machine::device::DeviceKind;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// The default parent directory of sweeps.
const RUNS: &str = "runs";

const AFTER_HELP: &str = "\
Examples:
  bpmc sweep plan specs/sweeps/maze.yaml
  bpmc sweep run specs/sweeps/maze.yaml --scale 0.05
  bpmc sweep run specs/sweeps/maze.yaml --engine slurm
  bpmc sweep status runs/maze
  bpmc sweep collect runs/maze -o results

A sweep file, in YAML:
  name: rates
  specs: [agent.bpm, other.bpm]
  set: { train.iterations: 5000 }
  vary:
    grid: { train.optimizer.lr: [1e-4, 1e-3] }
  seeds: 5

docs/sweeps.md describes all settings.";

/// Run many specs, settings and seeds, and collect the results.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::Arguments),
    Run(run::Arguments),
    Status(status::Arguments),
    Collect(collect::Arguments),
    #[command(hide = true)]
    Cell(cell::Arguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    match &arguments.command {
        Command::Plan(arguments) => plan::run(arguments, screen),
        Command::Run(arguments) => run::run(arguments, screen),
        Command::Status(arguments) => status::run(arguments, screen),
        Command::Collect(arguments) => collect::run(arguments, screen),
        Command::Cell(arguments) => cell::run(arguments, screen),
    }
}

/// A sweep file with changes from the command line.
#[derive(Args, Clone, Debug)]
struct SweepArguments {
    /// The sweep file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    overrides: Overrides,

    /// Multiply the iterations of each cell, or the epochs of a language model, by this factor; at least one
    /// remains. Use 0.05 for a short test
    #[arg(long, value_name = "FACTOR", value_parser = scale)]
    scale: Option<f64>,

    /// Directory of the text for language models [default: `data` of the file, else generated text]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Device of the cells: cpu, cuda, cuda:N [default: `device` of the file, else cpu]
    #[arg(long, value_name = "DEVICE", value_parser = str::parse::<DeviceKind>)]
    device: Option<DeviceKind>,
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("expected a number above 0, as in 0.05".to_owned()),
    }
}

impl SweepArguments {
    /// Reads and plans the file; shows its problems.
    fn plan(&self, screen: &Screen) -> Result<(SweepFile, Plan), Failure> {
        let file = SweepFile::read(&self.file).map_err(|problems| show(&problems, screen))?;
        let changes = Changes {
            set: self.overrides.set.clone(),
            scale: self.scale,
            data: self.data.clone(),
            device: self.device,
        };
        let plan = Plan::new(&file, &changes).map_err(|error| match error {
            PlanError::Problems(problems) => show(&problems, screen),
            PlanError::Refused(refusals) => {
                for refusal in &refusals {
                    screen.error(&refusal.problem.to_string());
                    let compilation = &refusal.compilation;
                    screen.show(&compilation.diagnostics, &compilation.sources);
                }
                Failure::Reported
            }
            PlanError::Internal(fault) => Failure::Run(anyhow::Error::new(fault)),
        })?;
        Ok((file, plan))
    }
}

fn show(problems: &[Problem], screen: &Screen) -> Failure {
    for problem in problems {
        screen.error(&problem.to_string());
    }
    Failure::Reported
}

/// The default directory of a sweep; a scaled sweep has its own.
fn default_directory(name: &str, scale: Option<f64>) -> PathBuf {
    let name = match scale {
        Some(scale) => format!("{name}-scale-{scale}"),
        None => name.to_owned(),
    };
    Path::new(RUNS).join(name)
}

/// Opens a sweep by its directory, or by its file if it runs in the default directory.
fn open(path: &Path, screen: &Screen) -> Result<Directory, Failure> {
    let directory = if path.is_file() {
        let file = SweepFile::read(path).map_err(|problems| show(&problems, screen))?;
        default_directory(&file.name, None)
    } else {
        path.to_owned()
    };
    let opened = Directory::open(&directory).map_err(anyhow::Error::new);
    Ok(opened.with_context(|| {
        format!(
            "cannot open the sweep {} (name the directory that `bpmc sweep run` worked in)",
            path.display()
        )
    })?)
}

/// Counts presses of Ctrl-C and signals to end; shows `message` at the first.
fn count_interrupts(message: &'static str) -> Result<Arc<AtomicUsize>, Failure> {
    let interrupts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&interrupts);
    ctrlc::set_handler(move || {
        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
            emergency(message);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(interrupts)
}

/// A number with its noun: "1 cell", "2 cells".
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A table of columns as wide as their widest entries; `right` tells which columns are aligned right.
fn table(header: &[&str], right: &[bool], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| {
        let lengths = all.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in all {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .zip(right)
            .map(|((cell, width), right)| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "200".to_owned()],
        ];
        assert_eq!(
            table(&["name", "n"], &[false, true], &rows),
            "name    n\na       1\nlong  200\n"
        );
    }

    #[test]
    fn factors_are_above_nothing() {
        assert_eq!(scale("0.05"), Ok(0.05));
        for wrong in ["0", "-1", "nan", "inf", "x"] {
            assert!(scale(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            default_directory("maze", Some(0.05)),
            Path::new("runs/maze-scale-0.05")
        );
    }
}
