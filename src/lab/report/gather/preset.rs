//! The difference between a run and the nearest experiment of the paper.

use crate::driver::{compile, Compilation};
use crate::lab::run::merged;
use crate::lang::diag::{Diagnostics, SourceMap};
use crate::lang::syntax;
use similar::{ChangeTag, TextDiff};
use std::io::{Error, ErrorKind};
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// The number of equal lines shown around a change.
const AROUND: usize = 2;

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A line in both specs.
    Same(String),
    /// A line of the preset only.
    Preset(String),
    /// A line of the run only.
    Run(String),
    /// A gap of equal lines.
    Gap,
}

/// The difference from a preset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path of the preset in `specs/paper`.
    pub preset: String,
    /// The different lines with some context; empty if nothing differs.
    pub lines: Vec<Change>,
    /// The number of different lines.
    pub count: usize,
}

/// The difference from the nearest preset with the same task; `None` if the paper has no such task. Presets
/// with the same rules are nearer than others, and then those with fewer different lines. `stem` is the file
/// name of the spec, which decides between equally near presets.
pub fn nearest(compilation: &Compilation, overrides: &[String], stem: &str) -> Option<Difference> {
    let task = task_of(compilation)?;
    let own = canonical(&merged(compilation));
    // A setting of the command line counts as a difference, even if the preset's file would set it elsewhere.
    // The seed does not count.
    let mut settings = String::new();
    for set in overrides
        .iter()
        .filter(|set| !set.starts_with("train.seed="))
    {
        settings.push_str(&format!("--set {set}\n"));
    }
    let own = own + &settings;
    let rules = rules_of(compilation);
    let mut found: Vec<((bool, usize, bool), Difference)> = Vec::new();
    for (path, text) in PRESETS {
        let Ok(preset) = compile(path, text, &[], &load) else {
            continue;
        };
        if task_of(&preset) != Some(task) {
            continue;
        }
        let difference = compared(path, &canonical(&merged(&preset)), &own);
        let same_name = Path::new(path).file_stem().is_some_and(|s| s == stem);
        let distance = (rules_of(&preset) != rules, difference.count, !same_name);
        found.push((distance, difference));
    }
    // Of equally near presets the first by path wins.
    let best = found.into_iter().min_by_key(|(distance, _)| *distance);
    best.map(|(_, difference)| difference)
}

/// The rules of the bundles of a spec.
fn rules_of(compilation: &Compilation) -> Vec<Option<String>> {
    let model = compilation.program.as_ref().map(|program| &program.model);
    let bundles = model.map_or(&[][..], |model| model.bundles.as_slice());
    bundles.iter().map(|bundle| bundle.rule.clone()).collect()
}

/// The task of a spec with a network.
fn task_of(compilation: &Compilation) -> Option<&'static str> {
    let model = &compilation.program.as_ref()?.model;
    model.task.as_ref().map(|task| task.info.name)
}

/// Loads a preset; presets import files that are presets, too.
fn load(path: &Path) -> std::io::Result<String> {
    let found = PRESETS.iter().find(|(name, _)| Path::new(name) == path);
    let text = found.map(|(_, text)| (*text).to_owned());
    text.ok_or_else(|| Error::from(ErrorKind::NotFound))
}

/// The formatted text of a spec without comments and empty lines.
fn canonical(text: &str) -> String {
    let mut sources = SourceMap::new();
    let source = sources.add("spec", text.to_owned());
    let mut diagnostics = Diagnostics::new();
    let mut file = syntax::parse(source, text, &mut diagnostics);
    file.comments.clear();
    let printed = syntax::print(&file, text);
    let lines = printed.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

fn compared(path: &str, preset: &str, run: &str) -> Difference {
    let diff = TextDiff::from_lines(preset, run);
    let changes = diff.iter_all_changes();
    let count = changes.filter(|c| c.tag() != ChangeTag::Equal).count();
    let mut lines = Vec::new();
    let groups = if count > 0 {
        diff.grouped_ops(AROUND)
    } else {
        Vec::new()
    };
    for (k, group) in groups.iter().enumerate() {
        if k > 0 {
            lines.push(Change::Gap);
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = change.value().trim_end().to_owned();
            lines.push(match change.tag() {
                ChangeTag::Equal => Change::Same(text),
                ChangeTag::Delete => Change::Preset(text),
                ChangeTag::Insert => Change::Run(text),
            });
        }
    }
    Difference {
        preset: path.to_owned(),
        lines,
        count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::from_disk;

    fn difference(path: &str, set: &[&str]) -> Option<Difference> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        let done = compile(path.to_str().unwrap(), &text, &set, &from_disk).unwrap();
        nearest(&done, &set, path.file_stem().unwrap().to_str().unwrap())
    }

    #[test]
    fn every_preset_is_its_own() {
        for (path, _) in PRESETS {
            let found = difference(&format!("specs/paper/{path}"), &[]);
            if path.contains("common") {
                assert_eq!(found, None, "it has no network");
            } else {
                let found = found.unwrap();
                assert_eq!((found.preset.as_str(), found.count), (*path, 0));
                assert!(found.lines.is_empty());
            }
        }
    }

    #[test]
    fn settings_are_differences_and_comments_are_not() {
        let found = difference(
            "specs/paper/maze/simple.bpm",
            &["N=50", "train.seed=3", "task.steps=60"],
        );
        let found = found.unwrap();
        assert_eq!(found.preset, "maze/simple.bpm");
        assert_eq!(found.count, 2);
        let run = |text: &str| Change::Run(text.to_owned());
        assert!(found
            .lines
            .ends_with(&[run("--set N=50"), run("--set task.steps=60")]));

        let quickstart = difference("specs/quickstart.bpm", &[]).unwrap();
        assert_eq!(quickstart.preset, "cue_reward/retroactive.bpm");
        let lines = &quickstart.lines;
        assert!(
            lines.contains(&Change::Preset("dim N = 200".to_owned())),
            "{lines:?}"
        );
        assert!(lines.contains(&run("dim N = 32")), "{lines:?}");
        assert_eq!(difference("specs/gallery/attention.bpm", &[]), None);
    }
}
