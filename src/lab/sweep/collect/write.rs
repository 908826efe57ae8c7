//! The files of a collection.

use super::{Collection, Test};
use crate::lab::sweep::SweepError;
use crate::learn::replace::replace;
use std::path::Path;

/// The name of the file of curves.
pub const CURVES: &str = "curves.csv";
/// The name of the file of final values.
pub const FINAL: &str = "final.csv";
/// The name of the file of tests.
pub const TESTS: &str = "tests.csv";
/// The name of the summary file.
pub const SUMMARY: &str = "summary.json";

/// Writes all files into `directory`, which is created.
///
/// # Errors
/// Fails if a file cannot be written.
pub fn write(collection: &Collection, directory: &Path) -> Result<(), SweepError> {
    std::fs::create_dir_all(directory).map_err(|e| SweepError::file("create", directory, e))?;
    let summary = directory.join(SUMMARY);
    let text = serde_json::to_string(collection)
        .map_err(|e| SweepError::file("write", &summary, e.into()))?;
    for (name, text) in [
        (CURVES, curves(collection)),
        (FINAL, finals(collection)),
        (TESTS, tests(collection)),
        (SUMMARY, text + "\n"),
    ] {
        let path = directory.join(name);
        replace(&path, text.as_bytes()).map_err(|e| SweepError::file("write", &path, e))?;
    }
    Ok(())
}

/// The names of all varied settings, each of which is a column.
fn varied(collection: &Collection) -> Vec<&str> {
    let mut paths: Vec<&str> = Vec::new();
    for (path, _) in collection.groups.iter().flat_map(|g| &g.group.varied) {
        if !paths.contains(&path.as_str()) {
            paths.push(path);
        }
    }
    paths
}

/// The columns that identify the group of a row.
fn group_columns(collection: &Collection, number: usize) -> Vec<String> {
    let group = &collection.groups[number].group;
    let value = |path: &str| {
        let found = group.varied.iter().find(|(p, _)| p == path);
        found.map_or(String::new(), |(_, value)| value.clone())
    };
    let mut columns = vec![group.name.clone(), group.label.clone()];
    columns.extend(varied(collection).into_iter().map(value));
    columns
}

fn curves(collection: &Collection) -> String {
    let own = [
        "iteration",
        "metric",
        "seeds",
        "median",
        "lower_quartile",
        "upper_quartile",
    ];
    let mut text = header(collection, &own);
    for (number, group) in collection.groups.iter().enumerate() {
        let columns = group_columns(collection, number);
        for (metric, points) in &group.curves {
            for point in points {
                let quartiles = &point.quartiles;
                let own = [
                    point.iteration.to_string(),
                    metric.clone(),
                    quartiles.count.to_string(),
                    quartiles.median.to_string(),
                    quartiles.lower_quartile.to_string(),
                    quartiles.upper_quartile.to_string(),
                ];
                text.push_str(&row(columns.iter().chain(&own)));
            }
        }
    }
    text
}

fn finals(collection: &Collection) -> String {
    let mut text = header(
        collection,
        &["cell", "seed", "iterations", "metric", "value"],
    );
    for (number, group) in collection.groups.iter().enumerate() {
        let columns = group_columns(collection, number);
        for cell in &group.seeds {
            for (metric, value) in &cell.finals {
                let own = [
                    cell.name.clone(),
                    cell.seed.to_string(),
                    cell.iterations.to_string(),
                    metric.clone(),
                    value.to_string(),
                ];
                text.push_str(&row(columns.iter().chain(&own)));
            }
        }
    }
    text
}

fn tests(collection: &Collection) -> String {
    let names = [
        "metric",
        "first",
        "second",
        "iteration",
        "first_seeds",
        "second_seeds",
        "rank_sum",
        "u",
        "p",
        "method",
    ];
    let mut text = row(names.map(str::to_owned).iter());
    let line = |test: &Test| {
        let result = &test.result;
        let method = match result.method {
            super::Method::Exact => "exact",
            super::Method::Normal => "normal",
        };
        let iteration = test.iteration;
        let columns = [
            collection.metric.clone(),
            test.first.clone(),
            test.second.clone(),
            iteration.map_or_else(|| "final".to_owned(), |iteration| iteration.to_string()),
            test.first_count.to_string(),
            test.second_count.to_string(),
            result.rank_sum.to_string(),
            result.u.to_string(),
            result.p.to_string(),
            method.to_owned(),
        ];
        row(columns.iter())
    };
    for test in collection.tests.iter().chain(&collection.tests_over_time) {
        text.push_str(&line(test));
    }
    text
}

fn header(collection: &Collection, own: &[&str]) -> String {
    let mut names = vec!["group", "label"];
    names.extend(varied(collection));
    names.extend(own);
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    row(names.iter())
}

/// A line of comma-separated values (RFC 4180, with plain line ends).
fn row<'a>(columns: impl Iterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = columns
        .map(|text| {
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.clone()
            }
        })
        .collect();
    quoted.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::row;

    #[test]
    fn commas_are_quoted() {
        let columns = ["a", "uniform(0, 1)", "say \"x\""].map(str::to_owned);
        assert_eq!(
            row(columns.iter()),
            "a,\"uniform(0, 1)\",\"say \"\"x\"\"\"\n"
        );
    }
}
