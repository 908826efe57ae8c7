//! Random rules: they compile, backends agree on them, and adjoints are finite differences.

use crate::generate;
use crate::run::{
    assert_close, candle, central_difference, forward_loss, fused, reference, run, Draws, Numbers,
    Outcome,
};
use bpmc::backend::candle::Precision;
use bpmc::backend::reference::Reference;
use bpmc::driver;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;

/// Derivatives looked at in one case.
const SAMPLES: usize = 12;

/// What has been compared so far.
#[derive(Default)]
struct Counts {
    compared: Cell<usize>,
    skipped: Cell<usize>,
    exact: Cell<usize>,
    saturated: Cell<usize>,
}

fn add(cell: &Cell<usize>, more: usize) {
    cell.set(cell.get() + more);
}

#[test]
fn random_rules_compile_agree_and_differentiate() {
    let cases = crate::cases("BPMC_PROPERTY_CASES", 200);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let counts = Counts::default();
    let choices = prop::collection::vec(any::<u32>(), 20..200);
    TestRunner::new_with_rng(config, rng)
        .run(&choices, |list| {
            check(&list, &counts);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let (compared, skipped) = (counts.compared.get(), counts.skipped.get());
    // The property would hold of nothing if all were skipped.
    assert!(
        skipped * 10 < compared,
        "{compared} compared, {skipped} skipped"
    );
    assert!(
        counts.exact.get() * 3 > cases as usize,
        "{}",
        counts.exact.get()
    );
    assert!(
        counts.saturated.get() > cases as usize / 10,
        "{}",
        counts.saturated.get()
    );
}

fn check(list: &[u32], counts: &Counts) {
    let spec = generate::spec(list);
    let compilation = driver::compile("random.bpm", &spec.text, &[], &driver::from_disk).unwrap();
    let errors: Vec<String> = compilation
        .diagnostics
        .iter()
        .map(|d| format!("{} {}", d.code.text(), d.message))
        .collect();
    let Some(compiled) = compilation.program else {
        panic!("{errors:#?}\n{}", spec.text)
    };
    let graph = compiled.step;
    let mut numbers = Draws(list.len() as u64).numbers(&graph, spec.lanes, spec.steps, 0.9);
    for inputs in &mut numbers.inputs {
        for (slot, values) in graph.inputs.iter().zip(inputs) {
            if slot.path == bpmc::lower::TRIAL_START {
                values
                    .iter_mut()
                    .for_each(|x| *x = f64::from(u8::from(*x > 0.4)));
            }
        }
    }
    let mut oracle = reference(&graph, spec.lanes);
    let expected = run(&mut oracle, &numbers, 2);
    assert!(
        expected.flat().iter().all(|x| x.is_finite()),
        "{}",
        spec.text
    );
    let found = run(
        &mut candle(&graph, spec.lanes, Precision::Double),
        &numbers,
        2,
    );
    assert_close(&found, &expected, 1e-9, &spec.text);
    // Single precision can fall on the other side of a comparison, so only the double one is compared.
    let double = fused::<f64>(
        &graph,
        spec.lanes,
        &numbers,
        2,
        bpmc::backend::fused::Choices::default(),
    )
    .unwrap();
    let without_inputs = Outcome {
        inputs: Vec::new(),
        ..expected.clone()
    };
    assert_close(&double, &without_inputs, 1e-9, &spec.text);
    let on_bound = |values: &Vec<f64>| values.iter().any(|x| x.abs() == 0.5);
    add(
        &counts.saturated,
        usize::from(expected.last_states.iter().any(on_bound)),
    );
    if !spec.exact {
        return;
    }
    add(&counts.exact, 1);
    let loss = forward_loss(&mut oracle, &numbers);
    let params = expected.params.iter().enumerate();
    let mut all: Vec<(bool, usize, usize, f64)> = params
        .flat_map(|(k, g)| {
            g.iter()
                .flatten()
                .enumerate()
                .map(move |(i, x)| (true, k, i, *x))
        })
        .collect();
    let states = expected.states.iter().enumerate();
    all.extend(states.flat_map(|(k, g)| g.iter().enumerate().map(move |(i, x)| (false, k, i, *x))));
    let mut draws = Draws(list.len() as u64 + 1);
    for _ in 0..SAMPLES {
        let at = ((draws.next() + 1.0) / 2.0 * all.len() as f64) as usize;
        let (is_param, k, i, found) = all[at.min(all.len() - 1)];
        let change = |n: &mut Numbers, step: f64| {
            let values = if is_param {
                &mut n.params
            } else {
                &mut n.states
            };
            values[k][i] += step;
        };
        match smooth_difference(&mut oracle, &numbers, loss, change) {
            None => add(&counts.skipped, 1),
            Some(expected) => {
                add(&counts.compared, 1);
                let name = if is_param {
                    &graph.params[k].path
                } else {
                    &graph.states[k].path
                };
                assert!(
                    (found - expected).abs() <= 1e-5 * (1.0 + expected.abs()),
                    "{name}[{i}]: adjoint {found}, finite difference {expected}\n{}",
                    spec.text
                );
            }
        }
    }
}

/// A finite difference, unless the loss bends or jumps within the step.
fn smooth_difference(
    executor: &mut Reference,
    numbers: &Numbers,
    loss: f64,
    change: impl Fn(&mut Numbers, f64) + Copy,
) -> Option<f64> {
    let central = central_difference(executor, numbers, change);
    let mut one_side = |step: f64| {
        let mut moved = numbers.clone();
        change(&mut moved, step);
        (forward_loss(executor, &moved) - loss) / step
    };
    let (right, left) = (one_side(1e-5), one_side(-1e-5));
    // Where it is smooth the sides differ by the step times the second derivative.
    ((right - left).abs() <= 2e-3 * (1.0 + central.abs())).then_some(central)
}
