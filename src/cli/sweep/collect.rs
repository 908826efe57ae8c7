//! The command `bpmc sweep collect`.

use super::super::screen::Screen;
use super::super::Outcome;
use super::{count, open, table};
use crate::lab::sweep::collect::{self, Collection, Method, Selection};
use clap::Args;
use std::path::PathBuf;

/// The number of missing cells that are named; the rest are counted.
const NAMED: usize = 20;

const AFTER_HELP: &str = "\
Examples:
  bpmc sweep collect runs/maze -o results
  bpmc sweep collect runs/maze -o results --partial
  bpmc sweep collect runs/rates -o results --metric loss --last 0.2

Writes curves.csv (median and quartiles over seeds at each recorded iteration), final.csv (the mean over \
the last part of each cell), tests.csv (Wilcoxon rank-sum tests between groups, two-sided, at the end and \
at each recorded iteration) and summary.json (all of these, and the missing cells).";

/// Gather the metrics of all cells: curves, final values and tests between groups.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The directory of the sweep, or its file
    #[arg(value_name = "DIR|FILE")]
    sweep: PathBuf,

    /// Directory to write to
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,

    /// Metric of the tests [default: reward, else test or validation perplexity, else loss]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,

    /// The last part of a run, as a share of its iterations, whose mean is its final value
    #[arg(long, value_name = "PART", default_value_t = 0.1, value_parser = part)]
    last: f64,

    /// Include unfinished cells
    #[arg(long)]
    partial: bool,
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if part > 0.0 && part <= 1.0 => Ok(part),
        _ => Err("expected a number above 0, up to 1, as in 0.1".to_owned()),
    }
}

/// Collects the metrics, writes the files and shows the final values.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let directory = open(&arguments.sweep, screen)?;
    let selection = Selection {
        metric: arguments.metric.clone(),
        last: arguments.last,
        partial: arguments.partial,
    };
    let collection = collect::collect(&directory, &selection).map_err(anyhow::Error::new)?;
    let metrics = collection
        .groups
        .iter()
        .flat_map(|group| group.finals.keys());
    let metrics: std::collections::BTreeSet<&String> = metrics.collect();
    if let Some(asked) = arguments
        .metric
        .as_ref()
        .filter(|asked| !metrics.contains(asked))
    {
        if !metrics.is_empty() {
            let known: Vec<&str> = metrics.iter().map(|name| name.as_str()).collect();
            return Err(super::super::Failure::Usage(format!(
                "no cell has the metric `{asked}`; there are {}",
                known.join(", ")
            )));
        }
    }
    collect::write(&collection, &arguments.out).map_err(anyhow::Error::new)?;
    screen.print(&shown(&collection))?;
    if !collection.missing.is_empty() {
        screen.say(&missing(&collection, arguments.partial));
    }
    screen.say(&format!("written to {}", arguments.out.display()));
    Ok(())
}

fn shown(collection: &Collection) -> String {
    let metric = &collection.metric;
    let rows: Vec<Vec<String>> = collection
        .groups
        .iter()
        .map(|group| {
            let mut row = vec![
                group.group.name.clone(),
                format!("{}/{}", group.seeds.len(), group.cells),
            ];
            let number = |number: f64| format!("{number:.4}");
            match group.finals.get(metric) {
                Some(quartiles) => row.extend([
                    number(quartiles.median),
                    number(quartiles.lower_quartile),
                    number(quartiles.upper_quartile),
                ]),
                None => row.extend(["-".to_owned(), "-".to_owned(), "-".to_owned()]),
            }
            row
        })
        .collect();
    let percent = collection.last * 100.0;
    let mut text = format!("{metric}, mean over the last {percent}% of each cell\n\n");
    let header = [
        "group",
        "cells",
        "median",
        "lower quartile",
        "upper quartile",
    ];
    text.push_str(&table(&header, &[false, true, true, true, true], &rows));
    if !collection.tests.is_empty() {
        text.push_str("\nWilcoxon rank-sum tests, two-sided\n\n");
        let rows: Vec<Vec<String>> = collection
            .tests
            .iter()
            .map(|test| {
                let method = match test.result.method {
                    Method::Exact => "exact",
                    Method::Normal => "normal",
                };
                vec![
                    test.first.clone(),
                    test.second.clone(),
                    test.result.u.to_string(),
                    format!("{:.4}", test.result.p),
                    method.to_owned(),
                ]
            })
            .collect();
        let header = ["first", "second", "U", "p", "method"];
        text.push_str(&table(&header, &[false, false, true, true, false], &rows));
    }
    text
}

fn missing(collection: &Collection, partial: bool) -> String {
    let all = &collection.missing;
    let taken = if partial {
        "are not done (what they have is taken)"
    } else {
        "are missing"
    };
    let cells: usize = collection.groups.iter().map(|group| group.cells).sum();
    let mut text = format!(
        "warning: {} of {} {taken}:",
        all.len(),
        count(cells, "cell")
    );
    for cell in all.iter().take(NAMED) {
        text.push_str(&format!("\n  {} ({}", cell.name, cell.state.name()));
        if cell.iterations > 0 {
            text.push_str(&format!(" after {} iterations", cell.iterations));
        }
        text.push(')');
    }
    if all.len() > NAMED {
        text.push_str(&format!("\n  and {} more", all.len() - NAMED));
    }
    text
}
