//! The metrics of all cells in one: curves, final values and tests.
//!
//! | file | what |
//! |---|---|
//! | `curves.csv` | a row for each group, metric and iteration: median and quartiles over seeds |
//! | `final.csv` | a row for each cell and metric: the mean over the last part of the run |
//! | `tests.csv` | a row for each pair of groups and iteration, and one for the final values: the rank-sum test |
//! | `summary.json` | all of it, and which cells are missing |

mod rank_sum;
mod statistics;
mod write;

pub use rank_sum::{rank_sum, Method, RankSum};
pub use statistics::Quartiles;
pub use write::{write, CURVES, FINAL, SUMMARY, TESTS};

use super::directory::Directory;
use super::plan::{Cell, Group};
use super::state::{state, State};
use super::SweepError;
use crate::lab::run::{Manifest, MANIFEST, METRICS};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

/// The measures compared between groups; the first available one is used.
const MEASURES: [&str; 4] = ["reward", TEST, "valid_perplexity", "loss"];
/// The test perplexity in the manifest of a finished language model.
pub const TEST: &str = "test_perplexity";
/// The test loss in bits per word.
const TEST_BITS: &str = "test_bits_per_word";

/// The selection of what to collect.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The metric of the tests; by default the reward, else the perplexity of the test or validation text,
    /// else the loss.
    pub metric: Option<String>,
    /// The last part of a run, as a share of its iterations, whose mean is its final value: above 0, up to 1.
    pub last: f64,
    /// True to include unfinished cells.
    pub partial: bool,
}

impl Default for Selection {
    /// Selects the last tenth of finished cells.
    fn default() -> Selection {
        Selection {
            metric: None,
            last: 0.1,
            partial: false,
        }
    }
}

/// The collected metrics of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collection {
    /// The name of the sweep.
    pub name: String,
    /// The factor on the number of iterations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// The metric of the tests.
    pub metric: String,
    /// The share of a run whose mean is its final value.
    pub last: f64,
    /// The groups, in order.
    pub groups: Vec<GroupResult>,
    /// The tests between the final values of groups.
    pub tests: Vec<Test>,
    /// The tests between groups at each iteration.
    pub tests_over_time: Vec<Test>,
    /// The cells that are not included.
    pub missing: Vec<Missing>,
}

/// The results of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupResult {
    /// The group.
    #[serde(flatten)]
    pub group: Group,
    /// The number of cells it should have.
    pub cells: usize,
    /// The final values over its cells, by metric.
    pub finals: BTreeMap<String, Quartiles>,
    /// The final values of each cell.
    pub seeds: Vec<CellResult>,
    /// The medians and quartiles, by metric and iteration.
    pub curves: BTreeMap<String, Vec<Point>>,
}

/// The final values of a cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellResult {
    /// The name.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// The number of recorded iterations.
    pub iterations: u64,
    /// The mean of each metric over the last part of the run.
    pub finals: BTreeMap<String, f64>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The number of iterations done.
    pub iteration: u64,
    /// The median and quartiles over the seeds.
    #[serde(flatten)]
    pub quartiles: Quartiles,
}

/// A test between two groups.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Test {
    /// The name of the first group.
    pub first: String,
    /// The name of the second group.
    pub second: String,
    /// The iteration; `None` for final values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
    /// The number of values in the first group.
    pub first_count: usize,
    /// The number of values in the second group.
    pub second_count: usize,
    /// The result of the test.
    #[serde(flatten)]
    pub result: RankSum,
}

/// A cell that is not included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// The name.
    pub name: String,
    /// The name of its group.
    pub group: String,
    /// The state of the cell.
    pub state: State,
    /// The number of iterations done.
    pub iterations: u64,
    /// The error, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The values of a cell, by metric and iteration.
type Series = BTreeMap<String, BTreeMap<u64, f64>>;

/// Collects the metrics of the cells of a sweep.
///
/// # Errors
/// Fails if the metrics of a cell exist and cannot be read.
pub fn collect(directory: &Directory, selection: &Selection) -> Result<Collection, SweepError> {
    let plan = &directory.plan;
    let mut missing = Vec::new();
    let mut cells: Vec<Vec<(&Cell, Series)>> = plan.groups.iter().map(|_| Vec::new()).collect();
    for cell in &plan.cells {
        let now = state(directory, cell);
        let whole = now.state == State::Done;
        let usable = whole || (selection.partial && now.state != State::Different);
        let mut series = Series::new();
        if usable {
            let path = directory.cell(cell).join(METRICS);
            series = match read(&path) {
                Ok(series) => series,
                Err(e) if !whole && e.kind() == std::io::ErrorKind::NotFound => Series::new(),
                Err(e) => return Err(SweepError::file("read", &path, e)),
            };
        }
        if whole {
            add_test(&mut series, &directory.cell(cell))?;
        }
        if !series.is_empty() {
            cells[cell.group].push((cell, series));
        }
        if !whole {
            missing.push(Missing {
                name: cell.name.clone(),
                group: plan.group(cell).name.clone(),
                state: now.state,
                iterations: now.iterations,
                error: now.error,
            });
        }
    }
    for members in &mut cells {
        members.sort_by_key(|(cell, _)| cell.seed);
    }
    let metric = metric(selection, &cells);
    let mut collection = Collection {
        name: plan.name.clone(),
        scale: plan.scale,
        last: selection.last,
        groups: Vec::new(),
        tests: Vec::new(),
        tests_over_time: Vec::new(),
        missing,
        metric,
    };
    for (number, group) in plan.groups.iter().enumerate() {
        let planned = plan.cells.iter().filter(|cell| cell.group == number);
        let result = GroupResult::new(group, planned.count(), &cells[number], selection.last);
        collection.groups.push(result);
    }
    collection.test(&cells);
    Ok(collection)
}

/// The metric of the tests: the one asked for, or the first available measure.
fn metric(selection: &Selection, cells: &[Vec<(&Cell, Series)>]) -> String {
    let there = |name: &&str| {
        let mut all = cells.iter().flatten();
        all.any(|(_, series)| series.contains_key(*name))
    };
    let measure = MEASURES.iter().copied().find(there);
    let asked = selection.metric.clone();
    asked.unwrap_or_else(|| measure.unwrap_or(MEASURES[0]).to_owned())
}

impl GroupResult {
    fn new(group: &Group, planned: usize, cells: &[(&Cell, Series)], last: f64) -> GroupResult {
        let seeds: Vec<CellResult> = cells
            .iter()
            .map(|(cell, series)| CellResult::new(cell, group, series, last))
            .collect();
        let mut finals: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (metric, value) in seeds.iter().flat_map(|cell| &cell.finals) {
            finals.entry(metric.clone()).or_default().push(*value);
        }
        let mut points: BTreeMap<&String, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
        for (metric, values) in cells.iter().flat_map(|(_, series)| series) {
            let metric = points.entry(metric).or_default();
            for (iteration, value) in values {
                metric.entry(*iteration).or_default().push(*value);
            }
        }
        let curve = |points: BTreeMap<u64, Vec<f64>>| {
            let points = points.into_iter();
            points
                .filter_map(|(iteration, values)| {
                    let quartiles = Quartiles::of(&values)?;
                    Some(Point {
                        iteration,
                        quartiles,
                    })
                })
                .collect()
        };
        GroupResult {
            group: group.clone(),
            cells: planned,
            finals: finals
                .into_iter()
                .filter_map(|(metric, values)| Some((metric, Quartiles::of(&values)?)))
                .collect(),
            seeds,
            curves: points
                .into_iter()
                .map(|(metric, points)| (metric.clone(), curve(points)))
                .collect(),
        }
    }
}

impl CellResult {
    fn new(cell: &Cell, group: &Group, series: &Series, last: f64) -> CellResult {
        let iterations = series
            .values()
            .filter_map(|values| values.keys().next_back())
            .max();
        let iterations = iterations.copied().unwrap_or(0);
        let from = (group.iterations.min(iterations) as f64 * (1.0 - last)).floor() as u64;
        let mean = |values: &BTreeMap<u64, f64>| {
            let late: Vec<f64> = values.range(from + 1..).map(|(_, value)| *value).collect();
            let sum: f64 = late.iter().sum();
            (!late.is_empty()).then(|| sum / late.len() as f64)
        };
        let series = series.iter();
        CellResult {
            name: cell.name.clone(),
            seed: cell.seed,
            iterations,
            finals: series
                .filter_map(|(metric, values)| Some((metric.clone(), mean(values)?)))
                .collect(),
        }
    }
}

impl Collection {
    /// Tests each pair of groups, over time and at the end.
    fn test(&mut self, cells: &[Vec<(&Cell, Series)>]) {
        let mut over_time: Vec<BTreeMap<u64, Vec<f64>>> = Vec::new();
        for members in cells {
            let mut values: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
            for series in members
                .iter()
                .filter_map(|(_, series)| series.get(&self.metric))
            {
                for (iteration, value) in series {
                    values.entry(*iteration).or_default().push(*value);
                }
            }
            over_time.push(values);
        }
        let finals: Vec<Vec<f64>> = self
            .groups
            .iter()
            .map(|group| {
                let seeds = group.seeds.iter();
                seeds
                    .filter_map(|cell| cell.finals.get(&self.metric).copied())
                    .collect()
            })
            .collect();
        for second in 0..self.groups.len() {
            for first in 0..second {
                let test = |iteration, a: &[f64], b: &[f64]| {
                    Some(Test {
                        first: self.groups[first].group.name.clone(),
                        second: self.groups[second].group.name.clone(),
                        iteration,
                        first_count: a.len(),
                        second_count: b.len(),
                        result: rank_sum(a, b)?,
                    })
                };
                self.tests
                    .extend(test(None, &finals[first], &finals[second]));
                for (iteration, a) in &over_time[first] {
                    if let Some(b) = over_time[second].get(iteration) {
                        self.tests_over_time.extend(test(Some(*iteration), a, b));
                    }
                }
            }
        }
    }
}

/// Adds the test loss of a finished cell, if it has one.
fn add_test(series: &mut Series, cell: &Path) -> Result<(), SweepError> {
    let path = cell.join(MANIFEST);
    let manifest = Manifest::read(&path).map_err(|e| SweepError::file("read", &path, e))?;
    if let Some(test) = &manifest.test {
        for (name, value) in [(TEST, test.perplexity), (TEST_BITS, test.bits_per_word)] {
            if value.is_finite() {
                let values = BTreeMap::from([(manifest.iterations, value)]);
                series.insert(name.to_owned(), values);
            }
        }
    }
    Ok(())
}

/// Reads the finite numbers of a metrics file. An incomplete last line is skipped.
fn read(path: &Path) -> std::io::Result<Series> {
    let mut series = Series::new();
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    for line in file.lines() {
        let Ok(Value::Object(record)) = serde_json::from_str(&line?) else {
            continue;
        };
        let Some(iteration) = record.get("iteration").and_then(Value::as_u64) else {
            continue;
        };
        for (name, value) in &record {
            if let (true, Some(value)) = (name != "iteration", value.as_f64()) {
                let values = series.entry(name.clone()).or_default();
                values.insert(iteration, value);
            }
        }
    }
    Ok(series)
}
