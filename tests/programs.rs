//! Programs of specs with their CUDA C and plans, compared with snapshots in `tests/cases/programs`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::cases::{compile, directory, shown, snapshots_of, Case};
use bpmc::driver::{self, Compilation};
use bpmc::engine::experiment::{Experiment, Target};
use bpmc::engine::plan::Limits;
use bpmc::learn::device_block::device_source;
use bpmc::learn::language::device::device_stages;
use bpmc::machine::device::BlockLimits;
use bpmc::step::passes::{find, Selection};
use bpmc::step::{Compiled, Horizon};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A case, or the shipped spec that it names.
fn compiled(case: &Case) -> Compiled {
    let compilation: Compilation = match &case.spec {
        Some(path) => {
            let text = std::fs::read_to_string(path).unwrap();
            let name = path.display().to_string();
            driver::compile(&name, &text, &case.set, &driver::from_disk).unwrap()
        }
        None => compile("programs", case),
    };
    let shown = shown(&compilation.diagnostics, &compilation.sources);
    compilation.program.unwrap_or_else(|| panic!("{shown}"))
}

fn experiment(compiled: &Compiled) -> Experiment {
    Experiment::trained(compiled, Target::Kernels, &Selection::default()).unwrap()
}

#[test]
fn kernels() {
    snapshots_of("programs", "kernels", |case| {
        experiment(&compiled(case)).listing()
    });
}

#[cfg(all(target_arch = "x86_64", unix))]
#[test]
fn instructions() {
    snapshots_of("programs", "instructions", |case| {
        experiment(&compiled(case)).instructions()
    });
}

/// Prints what docs/performance.md shows of the shipped agents: all sweeps, and the way back with fewer passes.
#[cfg(all(target_arch = "x86_64", unix))]
#[test]
fn passes_make_the_sweeps_of_shipped_agents_no_longer() {
    for spec in [
        "maze/simple_fanout",
        "maze/simple",
        "cue_reward/retroactive",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("specs/paper/{spec}.bpm"));
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let compilation = driver::compile(&name, &text, &[], &driver::from_disk).unwrap();
        let compiled = compilation.program.unwrap();
        let mut before = f64::INFINITY;
        for left_out in (0..4).rev() {
            let names = ["factoring", "gate_forms", "gates"];
            let selection = names[..left_out]
                .iter()
                .fold(Selection::default(), |all, name| {
                    all.without(find(name).unwrap())
                });
            let experiment = Experiment::trained(&compiled, Target::Kernels, &selection).unwrap();
            let listing = experiment.instructions();
            let line = listing
                .lines()
                .find(|line| line.starts_with("back (finish, begin)"));
            let line = line.unwrap_or_else(|| panic!("{listing}"));
            let count = line
                .split(": ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            let count: f64 = count.unwrap().parse().unwrap();
            assert!(
                count <= before,
                "{spec} without {:?}: {listing}",
                &names[..left_out]
            );
            before = count;
            #[expect(
                clippy::print_stdout,
                reason = "a report for people, shown by --nocapture"
            )]
            {
                println!("{spec} without {:?}: {line}", &names[..left_out]);
                if left_out == 0 {
                    println!("{listing}");
                }
            }
        }
    }
}

/// The way back of the paper's agents takes most of their time.
#[cfg(all(target_arch = "x86_64", unix))]
#[test]
fn sweeps_of_the_way_back_take_few_instructions_and_spill_nothing() {
    for (spec, most) in [
        ("maze/simple_fanout", 28.0),
        ("cue_reward/retroactive", 45.0),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("specs/paper/{spec}.bpm"));
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let compilation = driver::compile(&name, &text, &[], &driver::from_disk).unwrap();
        let listing = experiment(&compilation.program.unwrap()).instructions();
        let line = listing
            .lines()
            .find(|line| line.starts_with("back (finish, begin)"));
        let line = line.unwrap_or_else(|| panic!("{listing}"));
        let words: Vec<&str> = line.split(' ').collect();
        let at = words
            .iter()
            .position(|word| word.starts_with("instructions"))
            .unwrap();
        let count: f64 = words[at - 1].parse().unwrap();
        assert!(count <= most, "{spec}: {listing}");
        assert!(line.ends_with(" 0 spills"), "{spec}: {listing}");
    }
}

#[test]
fn cuda() {
    snapshots_of("programs", "cuda", |case| {
        let compiled = compiled(case);
        let experiment = experiment(&compiled);
        let limits = BlockLimits::H100;
        let text = match experiment.horizon {
            Horizon::Chunks => device_stages(&compiled, Arc::new(experiment), limits)
                .unwrap()
                .listing(),
            _ => device_source(&compiled, &experiment, limits).unwrap().text,
        };
        without_headers(text)
    });
}

#[test]
fn plans() {
    snapshots_of("programs", "plan", |case| {
        let compiled = compiled(case);
        let experiment = experiment(&compiled);
        let model = &compiled.model;
        let settings = &model.train.as_ref().unwrap().settings;
        let task = model.task.as_ref();
        let steps = task.map_or_else(|| settings.int("steps"), |task| task.ports.steps);
        let limits = Limits {
            free: None,
            allowed: None,
        };
        let lanes = settings.int("batch");
        let mut text = experiment.plan([lanes, steps], 2, limits).print(None);
        for form in experiment.forms() {
            text += &format!("{form}\n");
        }
        text
    });
}

/// A source with the names of the files that every source contains in the place of their text.
fn without_headers(mut text: String) -> String {
    for path in headers(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let header = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        text = text.replace(&header, &format!("/* {name} */\n"));
    }
    text
}

fn headers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(headers(&path));
        } else if path.extension().is_some_and(|end| end == "h") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn texts_and_episodes_are_among_the_cases() {
    let folder = std::fs::read_dir(directory("programs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| name.ends_with(".bpm")).collect();
    let texts = names
        .iter()
        .filter(|name| name.starts_with("text_"))
        .count();
    assert!(names.len() >= 20 && texts >= 2, "{names:?}");
}
