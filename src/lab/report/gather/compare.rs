//! The contents of a comparison of runs: settings that differ, final metrics, tests between groups.

use super::metrics::{read, Series};
use crate::lab::report::ReportError;
use crate::lab::run::{self, Manifest, METRICS};
use crate::lab::sweep::collect::{rank_sum, RankSum};
use crate::lang::sema::Model;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The value of a setting that a run does not have.
const NONE: &str = "–";

/// A comparison of runs.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The runs, in the order given.
    pub runs: Vec<ComparedRun>,
    /// The settings that are not the same in all runs, each with its value in each run.
    pub differences: Vec<Difference>,
    /// The metric of the tests.
    pub metric: String,
    /// The last part of each run that final metrics are means over.
    pub last: f64,
    /// The runs that differ in their seeds alone, as indices.
    pub groups: Vec<Vec<usize>>,
    /// The tests between groups.
    pub tests: Vec<GroupTest>,
}

/// A run of a comparison.
#[derive(Debug, Serialize)]
pub struct ComparedRun {
    /// The shortest end of its path that no other run has.
    pub name: String,
    /// The directory.
    pub directory: PathBuf,
    /// The iterations done.
    pub iterations: u64,
    /// The mean of each metric over the last part of the run.
    pub last: BTreeMap<String, f64>,
    /// The metrics.
    #[serde(skip)]
    pub series: Series,
    #[serde(skip)]
    settings: BTreeMap<String, String>,
}

/// A setting with its value in each run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The setting.
    pub setting: String,
    /// The values, in the order of the runs.
    pub values: Vec<String>,
}

/// A test between two groups.
#[derive(Debug, Serialize)]
pub struct GroupTest {
    /// The index of a group.
    pub first: usize,
    /// The index of another.
    pub second: usize,
    /// The result.
    #[serde(flatten)]
    pub result: RankSum,
}

/// Compares the runs in directories by the means over the last part `last` of each. `metric` is that of the tests.
///
/// # Errors
/// [`ReportError`]. The directories are not changed.
pub fn compare(
    directories: &[PathBuf],
    metric: Option<&str>,
    last: f64,
) -> Result<Comparison, ReportError> {
    let mut runs = Vec::new();
    for (name, directory) in names(directories).into_iter().zip(directories) {
        let opened = run::open_apart(directory)?;
        let series = read(&directory.join(METRICS))?;
        let model = opened.compilation.program.as_ref();
        let model = model.map(|program| &program.model);
        runs.push(ComparedRun {
            name,
            directory: directory.clone(),
            iterations: opened.manifest.iterations,
            last: ends(&series, last),
            series,
            settings: settings(&opened.manifest, model),
        });
    }
    let known: BTreeSet<&String> = runs.iter().flat_map(|run| run.last.keys()).collect();
    let metric = match metric {
        Some(metric) if known.iter().any(|name| *name == metric) => metric.to_owned(),
        Some(metric) => {
            return Err(ReportError::NoMetric {
                name: metric.to_owned(),
                known: known.into_iter().cloned().collect(),
            })
        }
        None => usual(&known),
    };
    let differences = differences(&runs);
    let groups = groups(&runs);
    let tests = tests(&runs, &groups, &metric);
    Ok(Comparison {
        runs,
        differences,
        metric,
        last,
        groups,
        tests,
    })
}

impl Comparison {
    /// The metrics that any run has, that of the tests first.
    pub fn metrics(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self
            .runs
            .iter()
            .flat_map(|run| run.last.keys())
            .map(String::as_str)
            .collect();
        let others = all.iter().copied().filter(|name| *name != self.metric);
        let own = all.iter().copied().filter(|name| *name == self.metric);
        own.chain(others).collect()
    }

    /// The name of a group: that of its run, or of its first run and how many more there are.
    pub fn group(&self, group: usize) -> String {
        match self.groups[group].as_slice() {
            [] => String::new(),
            [only] => self.runs[*only].name.clone(),
            [first, more @ ..] => format!("{} and {} more", self.runs[*first].name, more.len()),
        }
    }
}

/// The shortest ends of paths that tell them apart.
fn names(directories: &[PathBuf]) -> Vec<String> {
    let end = |path: &Path, parts: usize| {
        let all: Vec<String> = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        all[all.len().saturating_sub(parts)..].join("/")
    };
    let one = |path: &PathBuf| {
        let clear = |parts: &usize| {
            let same = directories
                .iter()
                .filter(|other| end(other, *parts) == end(path, *parts));
            same.count() == 1
        };
        let parts = (1..path.components().count()).find(clear);
        end(path, parts.unwrap_or(path.components().count()))
    };
    directories.iter().map(one).collect()
}

/// The means over the last part of each metric.
fn ends(series: &Series, last: f64) -> BTreeMap<String, f64> {
    let mean = |points: &Vec<(u64, f64)>| {
        let end = points.last()?.0;
        let from = end as f64 * (1.0 - last);
        let late: Vec<f64> = points
            .iter()
            .filter(|(at, _)| *at as f64 > from)
            .map(|(_, value)| *value)
            .collect();
        Some(late.iter().sum::<f64>() / late.len().max(1) as f64)
    };
    series
        .iter()
        .filter_map(|(name, points)| Some((name.clone(), mean(points)?)))
        .collect()
}

/// The metric that a task is judged by.
fn usual(known: &BTreeSet<&String>) -> String {
    let first = ["reward", "test_perplexity", "valid_perplexity", "loss"];
    let found = first
        .iter()
        .find(|name| known.iter().any(|known| known == *name));
    found.map_or_else(
        || {
            known
                .first()
                .map_or("loss", |name| name.as_str())
                .to_owned()
        },
        |name| (*name).to_owned(),
    )
}

/// All that a run was trained with, by name.
fn settings(manifest: &Manifest, model: Option<&Model>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([
        ("seed".to_owned(), manifest.seed.to_string()),
        ("device".to_owned(), manifest.device.clone()),
        ("backend".to_owned(), manifest.backend.clone()),
        ("passes".to_owned(), manifest.passes.clone()),
        ("version".to_owned(), manifest.version.clone()),
    ]);
    let mut put = |name: String, value: String| found.insert(name, value);
    let Some(model) = model else {
        put("spec".to_owned(), manifest.spec.clone());
        return found;
    };
    if let Some(task) = &model.task {
        put("task".to_owned(), task.info.name.to_owned());
        for (name, value) in task.settings.iter() {
            put(format!("task.{name}"), value.to_string());
        }
    }
    if let Some(train) = &model.train {
        put("train".to_owned(), train.trainer.name.to_owned());
        put(
            "train.optimizer".to_owned(),
            train.optimizer.name.to_owned(),
        );
        // The seed is that of the run.
        for (name, value) in train.settings.iter().filter(|(name, _)| *name != "seed") {
            put(format!("train.{name}"), value.to_string());
        }
        for (name, value) in train.optimizer_settings.iter() {
            put(format!("train.optimizer.{name}"), value.to_string());
        }
    }
    for bundle in &model.bundles {
        let rule = bundle.rule.as_deref().unwrap_or("its own statements");
        put(format!("rule of {}", bundle.name), rule.to_owned());
    }
    for state in &model.states {
        put(
            format!("size of {}", state.path),
            format!("{:?}", state.dims),
        );
    }
    for param in &model.params {
        put(format!("initial {}", param.path), param.init.to_string());
    }
    // Equations are too long for a table, so those that differ have different letters.
    let equations = super::equations::Equations::of(model).equations;
    put("equations".to_owned(), format!("{equations:?}"));
    found
}

fn differences(runs: &[ComparedRun]) -> Vec<Difference> {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let value = |run: &ComparedRun| run.settings.get(name).cloned();
        let mut values: Vec<String> = runs
            .iter()
            .map(|run| value(run).unwrap_or_else(|| NONE.to_owned()))
            .collect();
        let distinct: Vec<String> = BTreeSet::from_iter(values.clone()).into_iter().collect();
        if distinct.len() < 2 {
            continue;
        }
        if name == "equations" {
            let mut seen: Vec<&String> = Vec::new();
            let letters = values.iter().map(|value| {
                let known = seen.iter().position(|one| *one == value);
                let place = known.unwrap_or_else(|| {
                    seen.push(value);
                    seen.len() - 1
                });
                format!("form {}", place + 1)
            });
            values = letters.collect();
        }
        found.push(Difference {
            setting: name.clone(),
            values,
        });
    }
    found
}

/// Runs with the same settings but for the seed, the machine and the version.
fn groups(runs: &[ComparedRun]) -> Vec<Vec<usize>> {
    let own = |run: &ComparedRun| {
        let mut settings = run.settings.clone();
        for name in ["seed", "device", "backend", "passes", "version"] {
            settings.remove(name);
        }
        settings
    };
    let mut groups: Vec<(BTreeMap<String, String>, Vec<usize>)> = Vec::new();
    for (k, run) in runs.iter().enumerate() {
        let settings = own(run);
        match groups.iter_mut().find(|(known, _)| *known == settings) {
            Some((_, members)) => members.push(k),
            None => groups.push((settings, vec![k])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

fn tests(runs: &[ComparedRun], groups: &[Vec<usize>], metric: &str) -> Vec<GroupTest> {
    let values = |group: &Vec<usize>| -> Vec<f64> {
        group
            .iter()
            .filter_map(|run| runs[*run].last.get(metric).copied())
            .collect()
    };
    let mut found = Vec::new();
    for (first, a) in groups.iter().enumerate() {
        for (second, b) in groups.iter().enumerate().skip(first + 1) {
            let (a, b) = (values(a), values(b));
            // Two single runs have no spread to test against.
            if a.len() + b.len() > 2 {
                let result = rank_sum(&a, &b);
                found.extend(result.map(|result| GroupTest {
                    first,
                    second,
                    result,
                }));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let of = |paths: &[&str]| names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["runs/a-0", "runs/a-1"]), ["a-0", "a-1"]);
        assert_eq!(of(&["x/a", "y/a", "y/b"]), ["x/a", "y/a", "b"]);
        assert_eq!(of(&["a", "a"]), ["a", "a"]);
    }

    #[test]
    fn the_end_of_a_curve_is_its_mean_over_the_last_part() {
        let points: Vec<(u64, f64)> = (1..=100).map(|k| (k, k as f64)).collect();
        let series = Series::from([("reward".to_owned(), points)]);
        assert_eq!(ends(&series, 0.1)["reward"], 95.5);
        assert_eq!(ends(&series, 1.0)["reward"], 50.5);
    }
}
