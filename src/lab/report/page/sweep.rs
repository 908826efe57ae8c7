//! The page of a sweep.

use super::run::{ablated, machine};
use super::{experiment, network, Html, Section};
use crate::lab::report::figures::number::{probability, short, whole};
use crate::lab::report::gather::commands;
use crate::lab::report::gather::sweep::{Example, GroupReport, SweepReport};
use crate::lab::report::illustrate::{BehaviourFigures, SweepFigures};
use crate::lab::report::{Options, ReportError};
use crate::lab::shell::quoted;
use crate::lab::sweep::collect::{Method, TEST};
use crate::lab::sweep::State;

/// The number of missing cells that are named; the rest are counted.
const NAMED: usize = 40;

/// A number with its noun: "1 cell", "2 cells".
fn count(number: usize, what: &str) -> String {
    format!(
        "{} {what}{}",
        whole(number as u64),
        if number == 1 { "" } else { "s" }
    )
}

/// Writes the head of the page, above all sections.
pub fn head(report: &SweepReport, html: &mut Html) {
    let cells: usize = report.states.iter().map(|(_, count)| count).sum();
    let states: Vec<String> = report
        .states
        .iter()
        .map(|(state, count)| format!("{count} {}", state.name()))
        .collect();
    let mut facts = vec![
        ("file", report.file.display().to_string()),
        (
            "cells",
            format!(
                "{} in {}: {}",
                count(cells, "cell"),
                count(report.groups.len(), "condition"),
                states.join(", ")
            ),
        ),
    ];
    if let Some(scale) = report.scale {
        facts.push((
            "scale",
            format!("{} of the iterations of the specs", short(scale)),
        ));
    }
    html.facts(&facts);
    missing(report, html);
}

fn missing(report: &SweepReport, html: &mut Html) {
    let all = &report.collection.missing;
    if all.is_empty() {
        return;
    }
    html.element("div", &[("class", "missing")], |html| {
        let taken = report.collection.groups.iter().any(|group| {
            let ended = |name: &str| all.iter().any(|cell| cell.name == name);
            group.seeds.iter().any(|cell| ended(&cell.name))
        });
        html.text(&format!(
            "{} not done, {}:",
            count(all.len(), "cell"),
            match taken {
                true => "their records are in the curves",
                false => "and not in the curves (`--partial` includes them)",
            }
        ));
        html.element("ul", &[], |html| {
            for cell in all.iter().take(NAMED) {
                let mut text = format!("{}: {}", cell.name, cell.state.name());
                if cell.iterations > 0 && cell.state != State::Waiting {
                    text.push_str(&format!(" after {} iterations", whole(cell.iterations)));
                }
                if let Some(error) = &cell.error {
                    text.push_str(&format!(" ({error})"));
                }
                html.tag("li", &text);
            }
            if all.len() > NAMED {
                html.tag("li", &format!("and {} more", all.len() - NAMED));
            }
        });
    });
}

/// The sections of the page.
pub fn sections<'a>(
    report: &'a SweepReport,
    figures: &'a SweepFigures,
    options: &'a Options,
) -> Vec<Section<'a>> {
    let mut sections = vec![
        Section::new("training", "Training", |html| {
            if figures.curves.is_empty() {
                html.tag("p", "There is no finished cell with records yet.");
            }
            Ok(html.figures(figures.curves.iter())?)
        }),
        Section::new("results", "Results", |html| {
            results(report, html);
            Ok(html.figures(figures.finals.iter())?)
        }),
    ];
    for (k, (group, shown)) in report.groups.iter().zip(&figures.groups).enumerate() {
        let id = format!("condition-{}", k + 1);
        let write = move |html: &mut Html| condition(group, shown.as_ref(), html);
        sections.push(Section::new(
            &id,
            &format!("Condition {}", group.group.name),
            write,
        ));
    }
    sections.push(Section::new("reproduce", "Reproduce", move |html| {
        reproduce(report, options, html);
        Ok(())
    }));
    sections
}

fn results(report: &SweepReport, html: &mut Html) {
    let collection = &report.collection;
    let metric = collection.metric.replace('_', " ");
    let what = if collection.metric == TEST {
        "The perplexity of the test text, with the parameters of each cell's best epoch".to_owned()
    } else {
        let percent = short(collection.last * 100.0);
        format!("The {metric} of each cell, mean over the last {percent}\u{a0}% of its iterations")
    };
    let baseline = &report.baseline;
    html.tag(
        "p",
        &format!("{what}; the Wilcoxon rank-sum test against {baseline}, two-sided."),
    );
    let mut rows = Vec::new();
    for group in &collection.groups {
        let name = &group.group.name;
        let mut row = vec![
            name.clone(),
            format!("{}/{}", group.seeds.len(), group.cells),
        ];
        match group.finals.get(&collection.metric) {
            Some(quartiles) => row.extend([
                short(quartiles.median),
                short(quartiles.lower_quartile),
                short(quartiles.upper_quartile),
            ]),
            None => row.extend(["–".to_owned(), "–".to_owned(), "–".to_owned()]),
        }
        let test = collection.tests.iter().find(|test| {
            (test.first == report.baseline && test.second == *name)
                || (test.second == report.baseline && test.first == *name)
        });
        match test {
            Some(test) => {
                // The U of this group, whether it is first or second in the test.
                let pairs = (test.first_count * test.second_count) as f64;
                let u = match test.first == *name {
                    true => test.result.u,
                    false => pairs - test.result.u,
                };
                let method = match test.result.method {
                    Method::Exact => "exact",
                    Method::Normal => "normal",
                };
                row.extend([short(u), probability(test.result.p), method.to_owned()]);
            }
            None => row.extend([String::new(), String::new(), String::new()]),
        }
        rows.push(row);
    }
    let header = [
        "condition",
        "cells",
        "median",
        "lower quartile",
        "upper quartile",
        "U",
        "p",
        "method",
    ];
    html.table(&header, &rows);
    html.note("U is the number of pairs in which the condition has the larger value. The p values are not corrected for multiple tests.");
}

fn condition(
    group: &GroupReport,
    figures: Option<&BehaviourFigures>,
    html: &mut Html,
) -> Result<(), ReportError> {
    if !group.group.overrides.is_empty() {
        html.facts(&[("settings", group.group.overrides.join(", "))]);
    }
    html.tag("h3", "Equations");
    experiment::equations(&group.experiment, html);
    html.tag("h3", "Parameters");
    experiment::parameters(&group.experiment, html);
    html.tag("h3", "Difference from the paper");
    experiment::difference(&group.experiment, html);
    let Some(example) = &group.example else {
        html.element("p", &[("class", "missing")], |html| {
            html.text("No cell of this condition is finished yet, so there is no trained network.");
        });
        return Ok(());
    };
    let (Ok(behaviour), Some(figures)) = (&example.behaviour, figures) else {
        if let Err(why) = &example.behaviour {
            html.element("p", &[("class", "missing")], |html| html.text(why));
        }
        return Ok(());
    };
    html.tag("h3", "A trained network");
    html.note(&format!(
        "The rest of this section shows the cell {}, seed {}, after {} iterations.",
        example.name,
        example.manifest.seed,
        whole(behaviour.iteration)
    ));
    network::evaluation(behaviour, figures, html)?;
    html.tag("h3", "Modulators");
    network::modulators(behaviour, figures, html)?;
    html.tag("h3", "Traces");
    network::traces(behaviour, figures, html)?;
    html.tag("h3", "Ablations");
    network::ablations(behaviour, figures, html)?;
    Ok(())
}

fn reproduce(report: &SweepReport, options: &Options, html: &mut Html) {
    let directory = commands::shown(&report.directory);
    let mut run = format!("bpmc sweep run {}", commands::shown(&report.file));
    if let Some(scale) = report.scale {
        run.push_str(&format!(" --scale {scale}"));
    }
    for set in &report.set {
        run.push_str(&format!(" --set {}", quoted(set)));
    }
    let data = report
        .groups
        .iter()
        .find_map(|group| group.group.data.as_ref());
    if let Some(data) = data {
        run.push_str(&format!(" --data {}", commands::shown(data)));
    }
    html.commands(&[
        format!("{run} --out {directory}"),
        format!("bpmc sweep collect {directory} -o results"),
        commands::report(&report.directory, options),
    ]);
    let examples: Vec<&Example> = report
        .groups
        .iter()
        .filter_map(|g| g.example.as_ref())
        .collect();
    if !examples.is_empty() {
        html.tag(
            "p",
            "One cell of each condition by itself, and the evaluation above:",
        );
    }
    for example in &examples {
        let mut all = vec![commands::train(&example.directory, &example.manifest)];
        if let Ok(behaviour) = &example.behaviour {
            all.push(commands::eval(
                &example.directory,
                options,
                &ablated(behaviour),
            ));
        }
        html.commands(&all);
    }
    if let Some(first) = examples.first() {
        html.tag("h3", "Machine and version");
        html.note(&format!("Of the cell {}.", first.name));
        html.facts(&machine(&first.manifest));
    }
}
