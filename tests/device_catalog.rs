//! All tasks with all optimizers, and all kernel passes left out, on the emulated device as on the processor. A new task needs
//! a shipped spec, a new optimizer nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::device::{assert_near, learned_as_on_the_processor, trainer_with};
use bpmc::driver::{compile, from_disk};
use bpmc::learn::optim::OPTIMIZERS;
use bpmc::learn::tasks::TASKS;
use bpmc::learn::trainer::BackendKind;
use bpmc::machine::device::DeviceKind;
use bpmc::step::passes::{Run, Selection, PIPELINE};
use bpmc::step::Compiled;
use std::path::{Path, PathBuf};

/// The settings that make specs small; each spec takes those that fit it.
const SMALL: &[&str] = &[
    "train.batch=3",
    "train.eval_batch=2",
    "train.epochs=1",
    "train.burn_in=0",
    "task.words=20",
    "task.steps=12",
    "N=9",
    "E=5",
];

/// A spec with another optimizer, as small as it can be; nothing where it is not a whole one.
fn small(path: &Path, optimizer: &str) -> Option<Compiled> {
    let load = |path: &Path| {
        let mut text = from_disk(path)?;
        if let Some(start) = text.find("optimizer ") {
            let end = start + text[start..].find('}').unwrap();
            text.replace_range(start..=end, optimizer);
        }
        Ok(text)
    };
    let text = load(path).unwrap();
    let name = path.to_str().unwrap();
    let program = |set: &[String]| compile(name, &text, set, &load).unwrap().program;
    let mut set = Vec::new();
    let mut found = program(&set)?;
    found.model.train.as_ref()?;
    for smaller in SMALL {
        set.push((*smaller).to_owned());
        match program(&set) {
            Some(program) => found = program,
            None => drop(set.pop()),
        }
    }
    Some(found)
}

/// The shipped specs, in a fixed order.
fn specs() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("specs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "bpm") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The first shipped spec with a task.
fn with_task(task: &str, optimizer: &str) -> Compiled {
    let specs = specs().into_iter();
    let mut programs = specs.filter_map(|path| small(&path, optimizer));
    let found = programs.find(|program| {
        let model = program.model.task.as_ref();
        model.is_some_and(|model| model.info.name == task)
    });
    found.unwrap_or_else(|| panic!("no shipped spec has the task `{task}`"))
}

#[test]
fn all_tasks_learn_with_all_optimizers_as_on_the_processor() {
    // The data of sequences are not shipped; `own_data` makes its own. Environments of one's own run on the processor only.
    let elsewhere = ["sequences", "process"];
    for task in TASKS
        .iter()
        .filter(|task| !elsewhere.contains(&task.info.name))
    {
        for optimizer in OPTIMIZERS {
            let (task, optimizer) = (task.info.name, optimizer.info.name);
            let program = with_task(task, &format!("optimizer {optimizer} {{ lr = 1e-3 }}"));
            // Those that divide by the gradient, however small, also divide what rounding says of it.
            learned_as_on_the_processor(&program, &format!("{task} with {optimizer}"), 1e-2);
        }
    }
}

#[test]
fn kernels_with_each_pass_left_out_agree_with_the_reference() {
    let kernels = PIPELINE.iter();
    let kernels: Vec<_> = kernels
        .filter(|pass| matches!(pass.run, Run::Kernels(_)))
        .collect();
    assert!(kernels.iter().any(|pass| pass.name == "time_hoisting"));
    for task in ["cue_reward", "text"] {
        let program = with_task(task, "optimizer adam { lr = 1e-3 }");
        let plain = Selection::default();
        let probe = |backend, device, passes| {
            let mut trainer = trainer_with(&program, backend, device, passes);
            trainer.probe().unwrap()
        };
        let expected = probe(BackendKind::Reference, DeviceKind::Cpu, plain);
        for pass in &kernels {
            let passes = plain.without(pass);
            let found = probe(BackendKind::Fused, DeviceKind::Emulated, passes);
            let what = format!("{task} without {}", pass.name);
            assert_near(&program, &found, &expected, &what);
        }
    }
}
