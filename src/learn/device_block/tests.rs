//! Faults planted into the kernels of clusters, which the emulated device must show.

use super::plan::device_plan;
use super::DeviceBlock;
use crate::driver::{compile, from_disk};
use crate::engine::experiment::{Experiment, Target};
use crate::engine::params::draw;
use crate::learn::block::{Block, EpisodeOptions, Objective};
use crate::learn::experiment::{built, experiment};
use crate::learn::tasks::Part;
use crate::machine::device::{self, BlockLimits, DeviceKind};
use crate::step::passes::Selection;
use std::sync::Arc;

/// A small maze with two traces, modulated.
const SPEC: &str = include_str!("../../../specs/paper/maze/retroactive.bpm");

/// The numbers of an iteration whose source was changed: the loss, and all gradients.
fn numbers(change: impl Fn(&str) -> Option<String>) -> Option<Vec<f64>> {
    numbers_of(change, 2)
}

/// The same, where the traces of so many lanes are stored at once.
fn numbers_of(change: impl Fn(&str) -> Option<String>, wave: usize) -> Option<Vec<f64>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/specs/paper/maze/agent.bpm");
    let set = ["N=19", "task.steps=7", "train.batch=2"].map(str::to_owned);
    let program = compile(path, SPEC, &set, &from_disk)
        .unwrap()
        .program
        .unwrap();
    let compiled = Experiment::trained(&program, Target::Kernels, &Selection::default()).unwrap();
    let limits = BlockLimits {
        clusters: [4, 4],
        ..BlockLimits::H100
    };
    let mut plan = device_plan(&program, &compiled, limits).unwrap();
    let cluster = plan.source.sizes.cluster.as_mut().unwrap();
    (cluster.wave, cluster.waves) = (wave, wave < 2);
    plan.source.text = change(&plan.source.text)?;
    let (train, task) = experiment(&program.model).unwrap();
    let stage = compiled.whole();
    let mut block = DeviceBlock::new(
        Arc::clone(stage.fused().unwrap()),
        Arc::new(stage.graphs.step.clone()),
        built(task).unwrap().as_ref(),
        2,
        Objective::new(train),
        plan,
        device::open(DeviceKind::Emulated.into()).unwrap(),
    )
    .unwrap();
    let slots = program.step.params.iter();
    let parameters: Vec<Vec<f64>> = slots.map(|slot| draw(slot, 1)).collect();
    let options = EpisodeOptions {
        seed: 1,
        iteration: 0,
        learn: true,
        greedy: false,
        batch: 2,
        part: Part::Train,
        chunk: None,
    };
    let report = block.run(&parameters, options, &Vec::new()).unwrap();
    let gradients = report.gradients.into_iter().flatten().flatten();
    Some([report.loss].into_iter().chain(gradients).collect())
}

/// The text without one wait.
fn without_wait(text: &str, number: usize) -> Option<String> {
    let (at, found) = kernels(text).match_indices("WAIT;").nth(number)?;
    let at = text.len() - kernels(text).len() + at;
    Some(format!("{}{}", &text[..at], &text[at + found.len()..]))
}

/// The text without one barrier between two units of a step: a warp runs the second at once after the first.
fn without_barrier(text: &str, number: usize) -> Option<String> {
    let ends = kernels(text).match_indices("END_UNIT");
    let mut between = ends.filter_map(|(at, end)| {
        let rest = &kernels(text)[at + end.len()..];
        let next = rest.trim_start().strip_prefix("UNIT(")?;
        let (_, after) = next.split_once(')')?;
        Some((at, after))
    });
    let (at, after) = between.nth(number)?;
    let at = text.len() - kernels(text).len() + at;
    Some(format!("{}}} {{{after}", &text[..at]))
}

/// The text after what defines its words.
fn kernels(text: &str) -> &str {
    &text[text.find("CLUSTER_KERNEL(forward").unwrap()..]
}

fn same(a: &[f64], b: &[f64]) -> bool {
    let near = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-6 * (1.0 + y.abs());
    a.len() == b.len() && a.iter().zip(b).all(near)
}

/// The changes that change nothing, by their number, and how many there are.
fn unseen(change: impl Fn(&str, usize) -> Option<String>) -> (Vec<usize>, usize) {
    let right = numbers(|text| Some(text.to_owned())).unwrap();
    let (mut unseen, mut all) = (Vec::new(), 0);
    while let Some(found) = numbers(|text| change(text, all)) {
        if same(&found, &right) {
            unseen.push(all);
        }
        all += 1;
    }
    (unseen, all)
}

#[test]
fn a_missing_wait_is_found() {
    // The first exchange of each pass brings zeros, and what the last one brings is not used.
    assert_eq!(unseen(without_wait), (vec![0, 2, 4], 5));
}

#[test]
fn a_missing_barrier_is_found() {
    // The emulated device runs the lanes of a warp one after another: it cannot see that a unit needs another one's numbers
    // where both are of one warp (8, 11, 14). States begin with the zeros of cleared memory (0). What the last step's and the
    // first step's sweep add up is 0 or unused (6, 12).
    let expected = (vec![0, 6, 8, 11, 12, 14], 15);
    assert_eq!(unseen(without_barrier), expected);
}

#[test]
fn waves_of_lanes_give_the_same_bits() {
    let all = numbers_of(|text| Some(text.to_owned()), 2);
    assert!(all.is_some());
    assert_eq!(numbers_of(|text| Some(text.to_owned()), 1), all);
}
