//! Passes: whatever runs of them, the numbers are those of the graphs as they were.

use crate::gradients::discovered::graphs;
use crate::gradients::run::{
    adjoint_of, assert_close, fused_with, reference, run, Numbers, Outcome,
};
use crate::gradients::spec::{compile_file, numbers};
use bpmc::engine::reference::Reference;
use bpmc::ir::{Graph, Op, ValueId};
use bpmc::step::autodiff::{differentiate, Options};
use bpmc::step::passes::{find, optimise, Optimised, Run, Selection, PIPELINE};
use std::collections::BTreeMap;
use std::path::Path;

const LANES: usize = 3;

/// The specs of the case files and those that ship, these at small sizes.
fn all() -> Vec<(String, Graph)> {
    let mut all: Vec<(String, Graph)> = ["graph", "grad", "opt"]
        .into_iter()
        .flat_map(graphs)
        .collect();
    let shipped = shipped();
    assert!(all.len() > 50 && shipped.len() > 14);
    all.extend(shipped);
    all
}

fn shipped() -> Vec<(String, Graph)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("specs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "bpm") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if text.lines().any(|line| line.starts_with("network ")) {
                found.push(path);
            }
        }
    }
    found.sort();
    let step = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let mut set = Vec::new();
        // As small as the others, where there is a vocabulary.
        if text.contains("task.words") {
            set.extend(["E=3", "task.words=11"].map(str::to_owned));
        }
        // The files of these specs are made by a script; these have the same arrays.
        if text.contains("task sequences") {
            let files = crate::shipped::fixture(path);
            let parts = ["train", "valid", "test"];
            set.extend(parts.map(|part| format!("task.{part}={}", files.display())));
        } else if text.contains("dim N") || text.contains("import") {
            set.push("N=4".to_owned());
        }
        let compiled = compile_file(path, &set);
        (path.display().to_string(), compiled.step)
    };
    found.iter().map(step).collect()
}

/// A spec with numbers and what the reference makes of it.
struct Expected {
    name: String,
    step: Graph,
    /// With adjoints of the inputs.
    adjoint: Graph,
    numbers: Numbers,
    outcome: Outcome,
}

fn expected() -> Vec<Expected> {
    let expected = |(name, step): (String, Graph)| {
        let numbers = numbers(&step, 43, (LANES, 3), 0.5, 0.8);
        Expected {
            outcome: run(&mut reference(&step, LANES), &numbers, 2),
            adjoint: adjoint_of(&step),
            name,
            step,
            numbers,
        }
    };
    all().into_iter().map(expected).collect()
}

impl Expected {
    fn optimised(&self, selection: &Selection) -> Optimised {
        optimise(&self.step, Some(&self.adjoint), selection)
            .unwrap_or_else(|fault| panic!("{}: {fault}", self.name))
    }

    /// The reference on the optimised graphs.
    fn check(&self, selection: &Selection) {
        let out = self.optimised(selection);
        let mut executor = Reference::new(out.step, out.adjoint.unwrap(), LANES);
        let found = run(&mut executor, &self.numbers, 2);
        let label = format!("{}, {selection}", self.name);
        assert_close(&found, &self.outcome, 1e-11, &label);
    }
}

#[test]
fn each_level_and_each_pass_left_out_or_alone() {
    for spec in expected() {
        for level in 1..=3 {
            spec.check(&Selection::level(level));
        }
        for pass in PIPELINE.iter().filter(|p| matches!(p.run, Run::Graph(_))) {
            spec.check(&Selection::default().without(pass));
            spec.check(&Selection::level(0).with(pass));
        }
    }
}

#[test]
fn stopped_after_any_number_of_rewrites() {
    for spec in expected() {
        let rewrites = |selection: &Selection| -> usize {
            let report = spec.optimised(selection).report;
            report.iter().map(|applied| applied.rewrites).sum()
        };
        let all = rewrites(&Selection::default());
        for limit in 0..=all {
            let selection = Selection::default().stopping_after(limit);
            assert_eq!(rewrites(&selection), limit, "{}", spec.name);
            spec.check(&selection);
        }
    }
}

#[test]
fn fused_kernels_of_optimised_graphs_and_with_each_choice_left_out() {
    let mut supported = 0;
    for spec in expected() {
        let adjoint = differentiate(&spec.step, Options::default());
        let expected = Outcome {
            inputs: Vec::new(),
            ..spec.outcome.clone()
        };
        let mut selections: Vec<Selection> = (0..=3).map(Selection::level).collect();
        selections.extend(PIPELINE.iter().map(|p| Selection::default().without(p)));
        for selection in selections {
            let label = format!("{}, fused, {selection}", spec.name);
            let out = optimise(&spec.step, Some(&adjoint), &selection).unwrap();
            let graphs = (&out.step, out.adjoint.as_ref().unwrap());
            let double = fused_with::<f64>(graphs, out.choices, LANES, &spec.numbers, 2);
            let double = match double {
                Ok(outcome) => outcome,
                Err(error) => panic!("{label}: {error}"),
            };
            assert_close(&double, &expected, 1e-9, &label);
            let single = fused_with::<f32>(graphs, out.choices, LANES, &spec.numbers, 2).unwrap();
            assert_close(&single, &expected, 1e-4, &label);
            supported += 1;
        }
    }
    assert!(supported > 800, "{supported}");
}

/// How many values of an adjoint depend on no adjoint and are not values of the step either: what a backend
/// that keeps those of the step has to compute again.
fn recomputed(step: &Graph, adjoint: &Graph) -> usize {
    let mut map: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut forward = vec![false; adjoint.len()];
    for id in adjoint.ids() {
        let value = adjoint.value(id);
        let leaf = matches!(value.op, Op::Seed(_) | Op::AdjointIn(_));
        forward[id.index()] = !leaf
            && value.shape.lane
            && value
                .operands
                .iter()
                .all(|o| forward[o.index()] || !adjoint.shape(*o).lane);
        let operands: Option<Vec<ValueId>> =
            value.operands.iter().map(|o| map.get(o).copied()).collect();
        let same = operands.and_then(|operands| step.find(&value.op, &operands));
        if let Some(same) = same {
            map.insert(id, same);
        }
    }
    let live = adjoint.live_order();
    live.iter()
        .filter(|id| forward[id.index()] && !map.contains_key(id))
        .count()
}

#[test]
fn an_optimised_adjoint_computes_no_more_of_the_step_again() {
    // Not those of `opt`: a clip of a clip that the step does without, the adjoint may still read.
    let specs = ["graph", "grad"]
        .into_iter()
        .flat_map(graphs)
        .chain(shipped());
    for (name, step) in specs {
        // Its step and its adjoint take a common factor out of different sums: three values more.
        if name.ends_with("gallery/systems/short_term.bpm") {
            continue;
        }
        let adjoint = differentiate(&step, Options::default());
        let before = recomputed(&step, &adjoint);
        for level in 1..=3 {
            let out = optimise(&step, Some(&adjoint), &Selection::level(level)).unwrap();
            let after = recomputed(&out.step, out.adjoint.as_ref().unwrap());
            assert!(after <= before, "{name}, level {level}: {after} > {before}");
        }
    }
}

#[test]
fn the_paper_agents_have_weight_gradients_outside_the_sweep() {
    let ops = |selection: &Selection, step: &Graph| {
        let adjoint = differentiate(step, Options::default());
        let out = optimise(step, Some(&adjoint), selection).unwrap();
        let adjoint = out.adjoint.unwrap();
        let live = adjoint.live_order();
        let is_matrix = |id: &&ValueId| adjoint.dims(**id).len() == 2;
        let sums = live
            .iter()
            .filter(|id| adjoint.value(**id).op == Op::LaneSum);
        sums.filter(is_matrix).count()
    };
    let step = &compile_file(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/paper/cue_reward/retroactive.bpm"),
        &["N=4".to_owned()],
    )
    .step;
    let pass = find("weight_gradients").unwrap();
    // Of w, alpha and eta; alpha alone needs the trace.
    assert_eq!(ops(&Selection::default().without(pass), step), 3);
    assert_eq!(ops(&Selection::default(), step), 1);
}
