//! The page of a run.

use super::{experiment, network, Html, Section};
use crate::lab::report::figures::number::{short, whole};
use crate::lab::report::gather::behaviour::Behaviour;
use crate::lab::report::gather::commands;
use crate::lab::report::gather::run::RunReport;
use crate::lab::report::illustrate::RunFigures;
use crate::lab::report::Options;
use crate::lab::run::{Manifest, Status};

/// The title of the page.
pub fn title(report: &RunReport) -> String {
    let name = report.directory.file_name();
    // `.` and `..` have no file name.
    name.map_or(report.manifest.name.clone(), |name| {
        name.to_string_lossy().into_owned()
    })
}

fn status(manifest: &Manifest) -> &'static str {
    match manifest.status {
        Status::Running => "running, or killed",
        Status::Finished => "finished",
        Status::Interrupted => "interrupted",
        Status::Failed => "failed",
    }
}

/// Writes the head of the page, above all sections.
pub fn head(report: &RunReport, html: &mut Html) {
    let manifest = &report.manifest;
    let mut facts = vec![
        ("spec", manifest.spec.clone()),
        (
            "status",
            format!(
                "{} after {} of {} iterations",
                status(manifest),
                whole(manifest.iterations),
                whole(manifest.iterations_planned)
            ),
        ),
    ];
    facts.extend(result(report).map(|text| ("result", text)));
    if let Some(test) = &manifest.test {
        facts.push((
            "test",
            format!(
                "perplexity {}, {} bits per word, {} words; parameters of iteration {}",
                short(test.perplexity),
                short(test.bits_per_word),
                whole(test.words),
                whole(test.iteration)
            ),
        ));
    }
    facts.push(("seed", manifest.seed.to_string()));
    if !manifest.overrides.is_empty() {
        facts.push(("overrides", manifest.overrides.join(", ")));
    }
    html.facts(&facts);
    if let Some(error) = &manifest.error {
        html.element("p", &[("class", "missing")], |html| html.text(error));
    }
    for part in &manifest.history {
        html.note(&format!(
            "After iteration {} the settings changed: {}.",
            whole(part.until),
            part.settings.join(", ")
        ));
    }
    for incident in &manifest.not_finite {
        html.note(&format!(
            "Iteration {}: a number was not finite ({}).",
            whole(incident.iteration),
            incident.found
        ));
    }
    if let Err(why) = &report.behaviour {
        html.element("p", &[("class", "missing")], |html| html.text(why));
    }
}

/// The result of the run: the perplexity of the validation text, or the task's measure, or else the loss.
fn result(report: &RunReport) -> Option<String> {
    let series = &report.series;
    if let Some((_, value)) = series
        .get("valid_perplexity")
        .and_then(|points| points.last())
    {
        return Some(format!(
            "validation perplexity {} at the end of the last epoch",
            short(*value)
        ));
    }
    let own = series
        .keys()
        .find(|name| !name.contains("loss") && *name != "gradient_norm");
    let name = own.map_or("loss", String::as_str);
    let points = series.get(name)?;
    let end = points.last()?.0;
    let from = (end as f64 * 0.9).floor() as u64;
    let late = points.iter().filter(|(at, _)| *at > from);
    let (sum, count) = late.fold((0.0, 0.0), |(sum, count), (_, x)| (sum + x, count + 1.0));
    Some(format!(
        "{} {}, mean over the last tenth of the iterations",
        name.replace('_', " "),
        short(sum / f64::max(count, 1.0))
    ))
}

/// The sections of the page.
pub fn sections<'a>(
    report: &'a RunReport,
    figures: &'a RunFigures,
    options: &'a Options,
) -> Vec<Section<'a>> {
    let mut sections = vec![Section::new("training", "Training", |html| {
        if figures.curves.is_empty() {
            html.tag("p", "There are no records yet.");
        }
        Ok(html.figures(figures.curves.iter())?)
    })];
    if let (Ok(behaviour), Some(shown)) = (&report.behaviour, &figures.behaviour) {
        sections.extend([
            Section::new("episodes", "Fresh episodes", move |html| {
                Ok(network::evaluation(behaviour, shown, html)?)
            }),
            Section::new("modulators", "Modulators", move |html| {
                Ok(network::modulators(behaviour, shown, html)?)
            }),
            Section::new("traces", "Traces", move |html| {
                Ok(network::traces(behaviour, shown, html)?)
            }),
            Section::new("ablations", "Ablations", move |html| {
                Ok(network::ablations(behaviour, shown, html)?)
            }),
        ]);
    }
    let of = &report.experiment;
    if !report.learned.is_empty() {
        sections.push(Section::new("rules", "Rules as trained", |html| {
            experiment::learned(&report.learned, html);
            Ok(())
        }));
    }
    sections.extend([
        Section::new("equations", "Equations", move |html| {
            experiment::equations(of, html);
            Ok(())
        }),
        Section::new("parameters", "Parameters", move |html| {
            experiment::parameters(of, html);
            Ok(())
        }),
        Section::new("paper", "Difference from the paper", move |html| {
            experiment::difference(of, html);
            Ok(())
        }),
        Section::new("reproduce", "Reproduce", move |html| {
            reproduce(report, options, html);
            Ok(())
        }),
    ]);
    sections
}

fn reproduce(report: &RunReport, options: &Options, html: &mut Html) {
    let (directory, manifest) = (&report.directory, &report.manifest);
    let mut all = vec![commands::train(directory, manifest)];
    if let Ok(behaviour) = &report.behaviour {
        all.push(commands::eval(directory, options, &ablated(behaviour)));
        let probes = probes(behaviour);
        if !probes.is_empty() {
            all.push(commands::replay(
                directory,
                behaviour.iteration.max(1),
                &probes,
            ));
        }
    }
    all.push(commands::report(directory, options));
    html.commands(&all);
    html.facts(&machine(manifest));
}

/// The ablations of a report, as arguments.
pub fn ablated(behaviour: &Behaviour) -> Vec<String> {
    let all = behaviour.ablations.iter().flatten();
    all.map(|one| one.ablation.to_string()).collect()
}

/// The names of modulators and traces.
fn probes(behaviour: &Behaviour) -> Vec<String> {
    let modulators = behaviour.modulators.iter().map(|one| one.name.clone());
    let traces = behaviour.traces.iter().map(|trace| trace.path.clone());
    modulators.chain(traces).collect()
}

/// The facts about the machine and program of a run.
pub fn machine(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let threads = match manifest.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let mut facts = vec![("bpmc", manifest.version.clone())];
    if let Some(machine) = &manifest.machine {
        facts.push(("machine", machine.clone()));
    }
    facts.extend([
        (
            "ran on",
            format!(
                "{}, backend {}, {threads}",
                manifest.device, manifest.backend
            ),
        ),
        ("passes", manifest.passes.clone()),
        ("started", manifest.started.clone()),
        (
            "ended",
            manifest.ended.clone().unwrap_or_else(|| "–".to_owned()),
        ),
        ("spec hash", manifest.spec_hash.clone()),
    ]);
    if let Some(data) = &manifest.data {
        facts.push(("text", data.clone()));
    }
    facts
}
