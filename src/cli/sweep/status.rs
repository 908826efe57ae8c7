//! The command `bpmc sweep status`.

use super::super::progress::clock;
use super::super::screen::Screen;
use super::super::Outcome;
use super::{open, table};
use crate::lab::sweep::{state, Cell, CellState, Directory, State};
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc sweep status runs/maze
  bpmc sweep status specs/sweeps/maze.yaml        if it runs in runs/maze
  bpmc sweep status runs/maze --json";

/// Show the progress of a sweep's cells.
///
/// Reads the directories of the cells, whatever runs them: local workers, Slurm or both.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The directory of the sweep, or its file
    #[arg(value_name = "DIR|FILE")]
    sweep: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    name: &'a str,
    directory: &'a Path,
    cells: Vec<Row<'a>>,
    /// The seconds until all cells are done, with as many at a time as run now.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    group: &'a str,
    seed: u64,
    iterations_planned: u64,
    #[serde(flatten)]
    now: CellState,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<f64>,
}

/// Reads the states and prints them.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let directory = open(&arguments.sweep, screen)?;
    let report = report(&directory);
    if arguments.json {
        let text = serde_json::to_string(&report).context("cannot write the report as JSON")?;
        return screen.print(&(text + "\n"));
    }
    screen.print(&report.text())
}

fn report(directory: &Directory) -> Report<'_> {
    let plan = &directory.plan;
    let states: Vec<(&Cell, CellState)> = plan
        .cells
        .iter()
        .map(|cell| (cell, state(directory, cell)))
        .collect();
    // A waiting cell is assumed to take as long as the others of its group, else as any.
    let mean = |group: Option<usize>| {
        let of = states
            .iter()
            .filter(|(cell, _)| group.is_none_or(|g| cell.group == g));
        let rates: Vec<f64> = of
            .filter_map(|(_, now)| now.seconds_per_iteration)
            .collect();
        (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
    };
    let means: Vec<Option<f64>> = (0..plan.groups.len())
        .map(|group| mean(Some(group)).or_else(|| mean(None)))
        .collect();
    let mut left = Some(0.0);
    let mut running = 0usize;
    let cells = states
        .iter()
        .map(|(cell, now)| {
            let group = plan.group(cell);
            let rate = now.seconds_per_iteration.or(means[cell.group]);
            let iterations = match now.state {
                State::Done => 0,
                _ => group.iterations.saturating_sub(now.iterations),
            };
            let seconds = rate.map(|rate| rate * iterations as f64);
            if iterations > 0 {
                left = left.zip(seconds).map(|(sum, seconds)| sum + seconds);
            }
            running += usize::from(now.state == State::Running);
            Row {
                name: &cell.name,
                group: &group.name,
                seed: cell.seed,
                iterations_planned: group.iterations,
                seconds_left: seconds.filter(|_| now.state == State::Running),
                now: now.clone(),
            }
        })
        .collect();
    Report {
        name: &plan.name,
        directory: directory.path(),
        cells,
        seconds_left: left
            .filter(|_| running > 0)
            .map(|left| left / running as f64),
    }
}

impl Report<'_> {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .cells
            .iter()
            .map(|row| {
                let planned = row.iterations_planned;
                vec![
                    row.name.to_owned(),
                    row.now.state.name().to_owned(),
                    format!("{}/{planned}", row.now.iterations),
                    format!("{:.0}%", share(row.now.iterations, planned)),
                    row.seconds_left.map_or(String::new(), clock),
                ]
            })
            .collect();
        let header = ["cell", "state", "iterations", "", "left"];
        let mut text = table(&header, &[false, false, true, true, true], &rows);
        text.push('\n');
        for row in &self.cells {
            if let Some(error) = &row.now.error {
                text.push_str(&format!("{} {}: {error}\n", row.name, row.now.state.name()));
            }
        }
        text.push_str(&format!("{}\n", self.summary()));
        text
    }

    fn summary(&self) -> String {
        let counts: Vec<String> = State::ALL
            .iter()
            .filter_map(|state| {
                let cells = self.cells.iter().filter(|row| row.now.state == *state);
                let count = cells.count();
                (count > 0).then(|| format!("{count} {}", state.name()))
            })
            .collect();
        let sum = |of: fn(&Row<'_>) -> u64| self.cells.iter().map(of).sum::<u64>();
        let done = sum(|row| row.now.iterations.min(row.iterations_planned));
        let part = share(done, sum(|row| row.iterations_planned));
        let mut text = format!(
            "{} in {}: {}; {part:.0}% of the iterations",
            self.name,
            self.directory.display(),
            counts.join(", ")
        );
        if let Some(left) = self.seconds_left {
            text.push_str(&format!("; {} left", clock(left)));
        }
        text
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        100.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}
