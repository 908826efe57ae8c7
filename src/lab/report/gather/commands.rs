//! The commands that reproduce a report and its run.

use crate::lab::report::Options;
use crate::lab::run::{Manifest, OnNan, Which, INIT, SPEC};
use crate::lab::shell::quoted;
use crate::learn::trainer::BackendKind;
use crate::step::passes::Selection;
use std::path::Path;

/// The command that trains a run again, from the spec in its directory.
pub fn train(directory: &Path, manifest: &Manifest) -> String {
    let mut words = vec!["train".to_owned(), shown(&directory.join(SPEC))];
    words.extend(["--out".to_owned(), "AGAIN".to_owned()]);
    if manifest.init.is_some() {
        words.extend(["--init".to_owned(), shown(&directory.join(INIT))]);
    }
    let mut seeded = false;
    for set in &manifest.overrides {
        match set.strip_prefix("train.seed=") {
            Some(seed) => {
                words.extend(["--seed".to_owned(), quoted(seed)]);
                seeded = true;
            }
            None => words.extend(["--set".to_owned(), quoted(set)]),
        }
    }
    if !seeded {
        words.extend(["--seed".to_owned(), manifest.seed.to_string()]);
    }
    if manifest.backend != BackendKind::default().name() {
        words.extend(["--backend".to_owned(), manifest.backend.clone()]);
    }
    if manifest.passes != Selection::default().to_string() {
        words.push(manifest.passes.clone());
    }
    match manifest.on_nan {
        OnNan::Stop => {}
        OnNan::Skip => words.push("--on-nan skip".to_owned()),
        OnNan::Rollback => words.push("--on-nan rollback".to_owned()),
    }
    if let Some(data) = &manifest.data {
        words.extend(["--data".to_owned(), quoted(data)]);
    }
    format!("bpmc {}", words.join(" "))
}

/// The command that evaluates a run on the same episodes.
pub fn eval(directory: &Path, options: &Options, ablations: &[String]) -> String {
    let mut text = format!("bpmc eval {}", shown(directory));
    text.push_str(&format!(
        " --episodes {}{}",
        options.episodes,
        checkpoint(options)
    ));
    for ablation in ablations {
        text.push_str(&format!(" --ablate {}", quoted(ablation)));
    }
    text
}

/// The command that shows values of a training episode.
pub fn replay(directory: &Path, iteration: u64, probes: &[String]) -> String {
    let probes = quoted(&probes.join(","));
    format!(
        "bpmc replay {} --iteration {iteration} --probe {probes} -o episode.npz",
        shown(directory)
    )
}

/// The command that makes the report.
pub fn report(directory: &Path, options: &Options) -> String {
    let mut text = format!("bpmc report {} -o report.html", shown(directory));
    text.push_str(&format!(
        " --episodes {}{}",
        options.episodes,
        checkpoint(options)
    ));
    if !options.ablations {
        text.push_str(" --no-ablations");
    }
    if options.partial {
        text.push_str(" --partial");
    }
    if let Some(baseline) = &options.baseline {
        text.push_str(&format!(" --baseline {}", quoted(baseline)));
    }
    text
}

fn checkpoint(options: &Options) -> String {
    match options.checkpoint {
        Which::Last => String::new(),
        Which::Best => " --checkpoint best".to_owned(),
        Which::At(iteration) => format!(" --checkpoint {iteration}"),
    }
}

/// A path, quoted for a shell.
pub fn shown(path: &Path) -> String {
    quoted(&path.display().to_string())
}
