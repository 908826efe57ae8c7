//! Figures of metrics over iterations.

use crate::lab::report::figures::lines::{thinned, Line, Lines, Marks, MOST_POINTS};
use crate::lab::report::figures::palette::{series, SERIES};
use crate::lab::report::figures::{Drawing, Figure};
use crate::lab::report::gather::compare::Comparison;
use crate::lab::report::gather::metrics::Series;
use crate::lab::sweep::collect::{Collection, GroupResult, Point};
use std::collections::BTreeMap;

/// The number of groups that one figure can tell apart.
const TOGETHER: usize = SERIES.len();
/// The p value above which a difference is not marked (Miconi et al. 2019, Fig. 2).
const SIGNIFICANT: f64 = 0.05;
/// Metrics that are part of others, or are not curves.
const LEFT_OUT: [&str; 9] = [
    "policy_loss",
    "value_loss",
    "concentration_loss",
    "entropy_loss",
    "epoch",
    "valid_loss",
    "bits_per_word",
    "test_perplexity",
    "test_bits_per_word",
];
/// Metrics that come last.
const LAST: [&str; 3] = ["valid_perplexity", "loss", "gradient_norm"];

/// The drawn metrics in order: the measures of the task first.
fn drawn<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Vec<&'a String> {
    let own = names
        .clone()
        .filter(|name| !LEFT_OUT.contains(&name.as_str()) && !LAST.contains(&name.as_str()));
    let last = LAST
        .iter()
        .filter_map(|last| names.clone().find(|name| name == last));
    own.chain(last).collect()
}

/// The title of a metric, a few words.
pub fn title(metric: &str) -> String {
    match metric {
        "reward" => "Reward".to_owned(),
        "loss" => "Loss".to_owned(),
        "gradient_norm" => "Gradient norm".to_owned(),
        "valid_perplexity" => "Validation perplexity".to_owned(),
        "test_perplexity" => "Test perplexity".to_owned(),
        other => other.replace('_', " "),
    }
}

/// The axis label of a metric. `text` tells whether the task reads a text.
pub fn axis(metric: &str, text: bool) -> String {
    match metric {
        "reward" => "reward of an episode".to_owned(),
        "loss" if text => "loss, nats per word".to_owned(),
        "loss" => "loss of a batch".to_owned(),
        "gradient_norm" => "norm of the gradient before clipping".to_owned(),
        "valid_perplexity" => "perplexity of the validation text".to_owned(),
        "test_perplexity" => "perplexity of the test text".to_owned(),
        other => other.replace('_', " "),
    }
}

fn lines(metric: &str, text: bool, lines: Vec<Line>, marks: Vec<Marks>) -> Drawing {
    Drawing::Lines(Lines {
        x: "iteration".to_owned(),
        y: axis(metric, text),
        lines,
        marks,
        event: None,
        from_zero: true,
    })
}

/// One figure per metric of a run.
pub fn of_run(all: &Series) -> Vec<Figure> {
    let text = all.contains_key("bits_per_word");
    drawn(all.keys())
        .into_iter()
        .map(|metric| {
            let points: Vec<(f64, f64)> = all[metric]
                .iter()
                .map(|(k, value)| (*k as f64, *value))
                .collect();
            let together = points.len().div_ceil(MOST_POINTS);
            let caption = match together {
                0 | 1 => {
                    "Each point is a record: the mean over the iterations since the one before."
                        .to_owned()
                }
                n => format!("Each point is the mean of {n} records."),
            };
            let line = Line {
                name: metric.clone(),
                color: series(0),
                points: thinned(&points, MOST_POINTS),
                band: Vec::new(),
            };
            let drawing = lines(metric, text, vec![line], Vec::new());
            let title = format!("{} over the training", title(metric));
            Figure::new(&format!("curve-{metric}"), &title, &caption, drawing)
        })
        .collect()
}

/// One figure per metric of a comparison, with the curves of all runs.
pub fn of_runs(compared: &Comparison) -> Vec<Figure> {
    let runs = &compared.runs;
    let mut names: Vec<&String> = runs.iter().flat_map(|run| run.series.keys()).collect();
    names.sort();
    names.dedup();
    let text = names.iter().any(|name| *name == "bits_per_word");
    let mut figures = Vec::new();
    for metric in drawn(names.into_iter()) {
        let all: Vec<Line> = runs
            .iter()
            .enumerate()
            .filter_map(|(number, run)| {
                let points = run.series.get(metric)?.iter();
                let points: Vec<(f64, f64)> =
                    points.map(|(k, value)| (*k as f64, *value)).collect();
                Some(Line {
                    name: run.name.clone(),
                    color: series(number),
                    points: thinned(&points, MOST_POINTS),
                    band: Vec::new(),
                })
            })
            .collect();
        for (part, some) in all.chunks(TOGETHER).enumerate() {
            let (name, title) = match part {
                0 => (format!("curve-{metric}"), title(metric)),
                _ => (
                    format!("curve-{metric}-{}", part + 1),
                    format!("{}, part {}", title(metric), part + 1),
                ),
            };
            let title = format!("{title} over the training");
            let drawing = lines(metric, text, some.to_vec(), Vec::new());
            figures.push(Figure::new(&name, &title, "Each line is a run.", drawing));
        }
    }
    figures
}

/// One figure per metric of a sweep, with the curves of all groups; differences from `baseline` are marked.
pub fn of_sweep(collection: &Collection, baseline: &str) -> Vec<Figure> {
    let mut names: Vec<&String> = collection
        .groups
        .iter()
        .flat_map(|group| group.curves.keys())
        .collect();
    names.sort();
    names.dedup();
    let text = names.iter().any(|name| *name == "bits_per_word");
    let mut figures = Vec::new();
    for metric in drawn(names.into_iter()) {
        let groups: Vec<(usize, &GroupResult)> = collection
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.curves.contains_key(metric))
            .collect();
        for (part, some) in groups.chunks(TOGETHER).enumerate() {
            let all: Vec<Line> = some
                .iter()
                .map(|(k, group)| curve(*k, group, metric))
                .collect();
            let marks = match metric == &collection.metric {
                true => some
                    .iter()
                    .filter_map(|(k, group)| marks(collection, baseline, *k, group))
                    .collect(),
                false => Vec::new(),
            };
            let mut caption =
                "Median (line) and inter-quartile range (band) over seeds.".to_owned();
            if !marks.is_empty() {
                caption.push_str(&format!(
                    " Marks below the curves: the group differs from {baseline} (rank-sum test, p < {SIGNIFICANT}, not \
                     corrected for many tests)."
                ));
            }
            let (name, title) = match part {
                0 => (format!("curve-{metric}"), title(metric)),
                _ => (
                    format!("curve-{metric}-{}", part + 1),
                    format!("{}, part {}", title(metric), part + 1),
                ),
            };
            let title = format!("{title} over the training");
            figures.push(Figure::new(
                &name,
                &title,
                &caption,
                lines(metric, text, all, marks),
            ));
        }
    }
    figures
}

fn curve(number: usize, group: &GroupResult, metric: &str) -> Line {
    let points = group.curves.get(metric).map_or(&[][..], Vec::as_slice);
    let of = |value: fn(&Point) -> f64| {
        let all: Vec<(f64, f64)> = points
            .iter()
            .map(|p| (p.iteration as f64, value(p)))
            .collect();
        thinned(&all, MOST_POINTS)
    };
    let lower = of(|point| point.quartiles.lower_quartile);
    let upper = of(|point| point.quartiles.upper_quartile);
    let band = lower
        .iter()
        .zip(&upper)
        .map(|((x, lower), (_, upper))| (*x, *lower, *upper));
    Line {
        name: group.group.name.clone(),
        color: series(number),
        points: of(|point| point.quartiles.median),
        band: band.collect(),
    }
}

/// The stretches in which most records differ from the baseline.
fn marks(
    collection: &Collection,
    baseline: &str,
    number: usize,
    group: &GroupResult,
) -> Option<Marks> {
    let name = group.group.name.as_str();
    let pair = |first: &str, second: &str| {
        (first == baseline && second == name) || (first == name && second == baseline)
    };
    let found: BTreeMap<u64, f64> = collection
        .tests_over_time
        .iter()
        .filter(|test| pair(&test.first, &test.second))
        .filter_map(|test| Some((test.iteration?, test.result.p)))
        .collect();
    let below: Vec<(f64, f64)> = found
        .into_iter()
        .map(|(at, p)| (at as f64, f64::from(u8::from(p < SIGNIFICANT))))
        .collect();
    let places = thinned(&below, MOST_POINTS).into_iter();
    let places: Vec<f64> = places
        .filter(|(_, share)| *share >= 0.5)
        .map(|(at, _)| at)
        .collect();
    (!places.is_empty()).then(|| Marks {
        color: series(number),
        places,
    })
}
