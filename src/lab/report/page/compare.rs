//! The page of a comparison of runs.

use super::{whole, Html, Section};
use crate::lab::report::figures::number::{probability, short, whole as count};
use crate::lab::report::figures::Figure;
use crate::lab::report::gather::compare::Comparison;
use crate::lab::report::ReportError;

/// The page of a comparison with its curves.
///
/// # Errors
/// Fails if a figure cannot be drawn.
pub fn comparison(compared: &Comparison, curves: &[Figure]) -> Result<String, ReportError> {
    let names: Vec<&str> = compared.runs.iter().map(|run| run.name.as_str()).collect();
    let title = match names.as_slice() {
        [first, second] => format!("{first} and {second}"),
        _ => format!("{} runs", names.len()),
    };
    let sections = vec![
        Section::new("settings", "Settings that differ", move |html| {
            settings(compared, html);
            Ok(())
        }),
        Section::new("results", "Final metrics", |html| {
            results(compared, html);
            Ok(())
        }),
        Section::new("curves", "Curves", move |html| {
            Ok(html.figures(curves.iter())?)
        }),
    ];
    whole(&title, |html| html.note("Runs side by side."), sections)
}

fn settings(compared: &Comparison, html: &mut Html) {
    if compared.differences.is_empty() {
        html.note("All settings are the same.");
        return;
    }
    let mut header = vec!["setting"];
    header.extend(compared.runs.iter().map(|run| run.name.as_str()));
    let rows: Vec<Vec<String>> = compared
        .differences
        .iter()
        .map(|one| {
            let mut row = vec![one.setting.clone()];
            row.extend(one.values.iter().cloned());
            row
        })
        .collect();
    html.table(&header, &rows);
}

fn results(compared: &Comparison, html: &mut Html) {
    let metrics = compared.metrics();
    let mut header = vec!["run", "iterations"];
    header.extend(&metrics);
    let rows: Vec<Vec<String>> = compared
        .runs
        .iter()
        .map(|run| {
            let mut row = vec![run.name.clone(), count(run.iterations)];
            row.extend(metrics.iter().map(|name| {
                run.last
                    .get(*name)
                    .map_or("–".to_owned(), |value| short(*value))
            }));
            row
        })
        .collect();
    html.table(&header, &rows);
    html.note(&format!(
        "Each number is the mean over the last {} % of the run.",
        short(compared.last * 100.0)
    ));
    for test in &compared.tests {
        let [first, second] = [test.first, test.second].map(|group| compared.group(group));
        html.note(&format!(
            "{first} against {second}: {}, U = {}, p {} (two-sided rank-sum test, runs that differ in their seeds alone).",
            compared.metric,
            short(test.result.u),
            match probability(test.result.p) {
                text if text.starts_with('<') => text,
                text => format!("= {text}"),
            }
        ));
    }
}
