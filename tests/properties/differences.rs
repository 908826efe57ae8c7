//! Random rules: the reference's adjoints are finite differences.

use crate::gradients::run::{central_difference, forward_loss, reference, run, Draws, Numbers};
use crate::properties::agreement::{Check, Fault};
use crate::properties::case::{Case, Compiled};
use crate::properties::cases::Cases;
use bpmc::engine::reference::Reference;

/// Derivatives looked at in one case.
const SAMPLES: usize = 12;

/// Derivatives compared, and those left out because the loss bends or jumps there.
#[derive(Clone, Copy, Default)]
struct Sampled {
    compared: usize,
    skipped: usize,
}

#[test]
fn adjoints_of_random_specs_are_finite_differences() {
    let cases = Cases::from_environment(10);
    let sampled = cases.run(Case::small, check);
    let exact = sampled.iter().filter(|s| s.compared > 0).count();
    let (compared, skipped) = sampled
        .iter()
        .fold((0, 0), |(a, b), s| (a + s.compared, b + s.skipped));
    // The property would hold of nothing if all were skipped.
    assert!(
        skipped * 10 < compared + 100,
        "{compared} compared, {skipped} skipped"
    );
    assert!(exact * 3 >= sampled.len(), "{exact} of {}", sampled.len());
}

fn check(case: &Case) -> Result<Sampled, Fault> {
    let Compiled {
        graph,
        lanes,
        numbers,
        ..
    } = case.compile().map_err(|detail| Fault {
        check: Check::Compiles,
        detail,
    })?;
    // Derivatives that are not meant as such.
    if ["stop(", "surrogate(", "straight_through"]
        .iter()
        .any(|word| case.text.contains(word))
    {
        return Ok(Sampled::default());
    }
    let mut oracle = reference(&graph, lanes);
    let outcome = run(&mut oracle, &numbers, 2);
    let loss = forward_loss(&mut oracle, &numbers);
    let params = outcome.params.iter().enumerate();
    let mut all: Vec<(bool, usize, usize, f64)> = params
        .flat_map(|(k, g)| {
            let numbers = g.iter().flatten().enumerate();
            numbers.map(move |(i, x)| (true, k, i, *x))
        })
        .collect();
    let states = outcome.states.iter().enumerate();
    all.extend(states.flat_map(|(k, g)| g.iter().enumerate().map(move |(i, x)| (false, k, i, *x))));
    let mut draws = Draws(case.seed);
    let mut sampled = Sampled::default();
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
        let Some(expected) = smooth_difference(&mut oracle, &numbers, loss, change) else {
            sampled.skipped += 1;
            continue;
        };
        sampled.compared += 1;
        if (found - expected).abs() > 1e-5 * (1.0 + expected.abs()) {
            let name = if is_param {
                &graph.params[k].path
            } else {
                &graph.states[k].path
            };
            return Err(Fault {
                check: Check::Differences,
                detail: format!("{name}[{i}]: adjoint {found}, finite difference {expected}"),
            });
        }
    }
    Ok(sampled)
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
