//! The command `bpmc compare`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::lab::report;
use crate::lab::report::figures::number::short;
use crate::lab::report::gather::compare::Comparison;
use crate::learn::replace::replace;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc compare runs/agent-0 runs/agent-1
  bpmc compare runs/agent-* --metric loss --last 0.2
  bpmc compare runs/a-0 runs/a-1 runs/b-0 runs/b-1 -o compared.html
  bpmc compare runs/agent-* --json

Runs with the same settings but for the seed are a group. A rank-sum test compares each two groups, if one of them has \
two runs or more.";

/// Compare runs: settings that differ, final metrics, curves over each other, rank-sum tests.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The directories of the runs
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub runs: Vec<PathBuf>,

    /// Metric of the tests [default: reward, else test or validation perplexity, else loss]
    #[arg(long, value_name = "NAME")]
    pub metric: Option<String>,

    /// Last part of each run that final metrics are means over
    #[arg(long, value_name = "PART", default_value = "0.1", value_parser = part)]
    pub last: f64,

    /// Write a page with the curves, an HTML file
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if part > 0.0 && part <= 1.0 => Ok(part),
        _ => Err("a number above 0, at most 1, is needed".to_owned()),
    }
}

/// Compares the runs.
///
/// # Errors
/// Directories without a run, and output that cannot be written.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let metric = arguments.metric.as_deref();
    let compared = report::gather::compare::compare(&arguments.runs, metric, arguments.last);
    let compared = compared.map_err(|error| match error {
        report::ReportError::NoMetric { .. } => Failure::Usage(format!("--metric: {error}")),
        error => Failure::Run(anyhow::Error::new(error)),
    })?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&compared).context("cannot write JSON")?;
        screen.print(&format!("{text}\n"))?;
    } else {
        screen.print(&table(&compared))?;
    }
    if let Some(output) = &arguments.out {
        let page = report::comparison(&compared).map_err(anyhow::Error::new)?;
        replace(output, page.as_bytes())
            .with_context(|| format!("cannot write {}", output.display()))?;
        screen.say(&format!("wrote {}", output.display()));
    }
    Ok(())
}

/// The comparison as a table for people.
fn table(compared: &Comparison) -> String {
    let mut rows = vec![vec!["setting".to_owned()]];
    rows[0].extend(compared.runs.iter().map(|run| run.name.clone()));
    for one in &compared.differences {
        rows.push(
            std::iter::once(&one.setting)
                .chain(&one.values)
                .cloned()
                .collect(),
        );
    }
    if compared.differences.is_empty() {
        rows.push(vec!["all the same".to_owned()]);
    }
    rows.push(Vec::new());
    let last = format!("mean of last {} %", short(compared.last * 100.0));
    rows.push(vec![last]);
    let iterations = compared.runs.iter().map(|run| run.iterations.to_string());
    rows.push(
        std::iter::once("iterations".to_owned())
            .chain(iterations)
            .collect(),
    );
    for metric in compared.metrics() {
        let values = compared.runs.iter().map(|run| {
            run.last
                .get(metric)
                .map_or("–".to_owned(), |value| format!("{value:.4}"))
        });
        rows.push(std::iter::once(metric.to_owned()).chain(values).collect());
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let gap = width - cell.chars().count();
            format!("{cell}{}", " ".repeat(gap))
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for test in &compared.tests {
        let [first, second] = [test.first, test.second].map(|group| compared.group(group));
        text.push_str(&format!(
            "\n{first} against {second}: {}, U = {}, p = {:.4} (two-sided rank-sum test)\n",
            compared.metric, test.result.u, test.result.p
        ));
    }
    text
}
