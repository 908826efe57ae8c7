//! The command `bpmc sweep plan`.

use super::super::screen::Screen;
use super::super::Outcome;
use super::{count, table, SweepArguments};
use crate::lab::sweep::Plan;
use anyhow::Context;
use clap::Args;

const AFTER_HELP: &str = "\
Examples:
  bpmc sweep plan sweep.yaml
  bpmc sweep plan sweep.yaml --set train.batch=10 --scale 0.05
  bpmc sweep plan sweep.yaml --json";

/// Check a sweep and show its cells.
///
/// Compiles every spec with every combination of settings, so that errors appear now and not after a night.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    source: SweepArguments,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Plans the sweep and prints its cells.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let (_, plan) = arguments.source.plan(screen)?;
    if arguments.json {
        let text = serde_json::to_string(&plan).context("cannot write the plan as JSON")?;
        return screen.print(&(text + "\n"));
    }
    screen.print(&shown(&plan))
}

fn shown(plan: &Plan) -> String {
    let rows: Vec<Vec<String>> = plan
        .cells
        .iter()
        .map(|cell| {
            let group = plan.group(cell);
            vec![
                cell.name.clone(),
                group.name.clone(),
                cell.seed.to_string(),
                group.iterations.to_string(),
            ]
        })
        .collect();
    let header = ["cell", "group", "seed", "iterations"];
    let mut text = table(&header, &[false, false, true, true], &rows);
    text.push_str(&format!(
        "\n{}: {} in {}, {} iterations in all\n",
        plan.name,
        count(plan.cells.len(), "cell"),
        count(plan.groups.len(), "group"),
        plan.iterations()
    ));
    text
}
