//! Whether all backends say the same of a case.
//!
//! A number counts as wrong where it is further from the reference than the tolerance times the largest of its tensor.
//! What is wrong by this may still be the work of rounding: a comparison of nearly equal numbers, a value next to
//! the bound of a clip, a long chaotic run. Such a tensor is *excused* where the reference itself moves as much
//! when its numbers are changed by a few units in the last place of the precision, or where Candle, in the same
//! precision, is as wrong. Numbers that sit exactly on bounds are not changed, so that an error in their derivatives has
//! no excuse.

use crate::case::{Case, Compiled};
use crate::chance::Chance;
use crate::run::{candle, fused, reference, run, Numbers, Outcome};
use bpmc::backend::candle::Precision;
use bpmc::backend::fused::Choices;
use bpmc::backend::reference::Reference;
use bpmc::ir::Graph;
use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// What is checked of a case, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The spec compiles.
    Compiles,
    /// Nothing panics.
    Panics,
    /// The reference gives finite numbers.
    Finite,
    /// Candle in f64 against the reference.
    Candle,
    /// The fused kernels in f64 against the reference.
    Double,
    /// The fused kernels in f32 against the reference.
    Single,
    /// The reference's adjoints against finite differences.
    Differences,
}

/// What is wrong with a case.
#[derive(Clone, Debug)]
pub struct Fault {
    pub check: Check,
    pub detail: String,
}

/// What was seen of a case without fault.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Checks in which some tensor was wrong by no more than rounding explains.
    pub excused: BTreeSet<Check>,
    /// Why the fused kernels do not take it.
    pub unsupported: Option<&'static str>,
    /// Whether a trace ended exactly on a usual bound.
    pub saturated: bool,
}

/// All numbers of one slot.
struct Tensor {
    what: String,
    backward: bool,
    values: Vec<f64>,
}

/// Checks a case on all backends.
pub fn check(case: &Case) -> Result<Verdict, Fault> {
    let checked = catch_unwind(AssertUnwindSafe(|| check_inner(case)));
    checked.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        });
        Err(Fault {
            check: Check::Panics,
            detail: text.unwrap_or_default(),
        })
    })
}

fn check_inner(case: &Case) -> Result<Verdict, Fault> {
    let fault = |check, detail| Fault { check, detail };
    let compiled = case.compile().map_err(|e| fault(Check::Compiles, e))?;
    let Compiled {
        graph,
        lanes,
        interval,
        numbers,
        ..
    } = &compiled;
    let mut oracle = reference(graph, *lanes);
    let expected = run(&mut oracle, numbers, *interval);
    if let Some(tensor) = tensors(graph, &expected)
        .iter()
        .find(|tensor| tensor.values.iter().any(|x| !x.is_finite()))
    {
        return Err(fault(
            Check::Finite,
            format!("{} is not finite", tensor.what),
        ));
    }
    let on_bound = |values: &Vec<f64>| values.iter().any(|x| [0.25, 0.5, 1.0].contains(&x.abs()));
    let mut verdict = Verdict {
        saturated: expected.last_states.iter().any(on_bound),
        ..Verdict::default()
    };
    let mut compare =
        |check: Check, found: &Outcome, expected: &Outcome, tolerance: f64, ulp: f64| {
            let wrong = wrong(graph, found, expected, tolerance);
            if wrong.is_empty() {
                return Ok(());
            }
            let mut moved = moved(&mut oracle, graph, numbers, expected, *interval, ulp);
            if check == Check::Single {
                witness(&mut moved, &compiled, expected);
            }
            match wrong.iter().find(|w| w.error > STEPS * moved[w.index]) {
                None => {
                    verdict.excused.insert(check);
                    Ok(())
                }
                Some(w) => Err(fault(
                    check,
                    format!(
                        "{}: {:e} instead of {:e}; the largest is {:e}, rounding explains {:e}",
                        w.what, w.found, w.expected, w.scale, moved[w.index]
                    ),
                )),
            }
        };
    let found = run(
        &mut candle(graph, *lanes, Precision::Double),
        numbers,
        *interval,
    );
    compare(Check::Candle, &found, &expected, 1e-9, DOUBLE)?;
    let expected = Outcome {
        inputs: Vec::new(),
        ..expected.clone()
    };
    match fused::<f64>(graph, *lanes, numbers, *interval, Choices::default()) {
        Err(reason) => {
            verdict.unsupported = Some(reason.0);
            return Ok(verdict);
        }
        Ok(found) => compare(Check::Double, &found, &expected, 1e-9, DOUBLE)?,
    }
    if let Ok(found) = fused::<f32>(graph, *lanes, numbers, *interval, Choices::default()) {
        compare(Check::Single, &found, &expected, 1e-4, SINGLE)?;
    }
    Ok(verdict)
}

/// Relative changes of numbers that stand for rounding: a few units in the last place.
const DOUBLE: f64 = 8.0 * f64::EPSILON;
const SINGLE: f64 = 4.0 * f32::EPSILON as f64;

/// How much more than the numbers of a case its steps may round, each of them anew.
const STEPS: f64 = 16.0;

/// A tensor that is further off than it may.
struct Wrong {
    /// Among the tensors.
    index: usize,
    what: String,
    error: f64,
    scale: f64,
    found: f64,
    expected: f64,
}

fn wrong(graph: &Graph, found: &Outcome, expected: &Outcome, tolerance: f64) -> Vec<Wrong> {
    let (found, expected) = (tensors(graph, found), tensors(graph, expected));
    let largest = |backward: bool| {
        let side = expected.iter().filter(|t| t.backward == backward);
        side.flat_map(|t| &t.values)
            .fold(0.0_f64, |a, x| a.max(x.abs()))
    };
    let most = [largest(false), largest(true)];
    let mut all = Vec::new();
    for (index, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert_eq!((&f.what, f.values.len()), (&e.what, e.values.len()));
        // Where all of a tensor is the rest of what cancelled, it is small beside the others.
        let own = e.values.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
        let scale = own.max(1e-3 * most[usize::from(e.backward)]).max(1e-30);
        let pairs = f.values.iter().zip(&e.values);
        let distance = |(a, b): (&f64, &f64)| {
            let d = (a - b).abs();
            if d.is_nan() {
                f64::INFINITY
            } else {
                d
            }
        };
        let worst = pairs.map(|(a, b)| (distance((a, b)), a, b));
        let worst = worst.max_by(|x, y| x.0.total_cmp(&y.0));
        if let Some((error, a, b)) = worst.filter(|w| w.0 > tolerance * scale) {
            all.push(Wrong {
                index,
                what: e.what.clone(),
                error,
                scale,
                found: *a,
                expected: *b,
            });
        }
    }
    assert_eq!(found.len(), expected.len());
    all
}

fn tensors(graph: &Graph, outcome: &Outcome) -> Vec<Tensor> {
    let mut all = Vec::new();
    let mut add = |what: String, backward, values: Vec<f64>| {
        all.push(Tensor {
            what,
            backward,
            values,
        });
    };
    let over_steps = |steps: &[Vec<Vec<f64>>], k: usize| -> Vec<f64> {
        steps
            .iter()
            .flat_map(|slots| slots[k].iter().copied())
            .collect()
    };
    for (k, slot) in graph.outputs.iter().enumerate() {
        add(
            format!("output {}", slot.path),
            false,
            over_steps(&outcome.outputs, k),
        );
    }
    for (slot, values) in graph.states.iter().zip(&outcome.last_states) {
        add(format!("final state {}", slot.path), false, values.clone());
    }
    for (slot, values) in graph.params.iter().zip(&outcome.params) {
        if let Some(values) = values {
            add(format!("gradient of {}", slot.path), true, values.clone());
        }
    }
    for (slot, values) in graph.states.iter().zip(&outcome.states) {
        add(
            format!("adjoint of first {}", slot.path),
            true,
            values.clone(),
        );
    }
    for (k, slot) in graph.inputs.iter().enumerate() {
        if !outcome.inputs.is_empty() {
            add(
                format!("adjoint of input {}", slot.path),
                true,
                over_steps(&outcome.inputs, k),
            );
        }
    }
    all
}

/// How far each tensor of the reference moves when its numbers are changed by `ulp`, at most over some draws.
fn moved(
    oracle: &mut Reference,
    graph: &Graph,
    numbers: &Numbers,
    expected: &Outcome,
    interval: usize,
    ulp: f64,
) -> Vec<f64> {
    let before = tensors(graph, expected);
    let mut most = vec![0.0_f64; before.len()];
    for draw in 0..8 {
        let changed = changed(numbers, ulp, draw);
        let mut outcome = run(oracle, &changed, interval);
        if expected.inputs.is_empty() {
            outcome.inputs.clear();
        }
        let after = tensors(graph, &outcome);
        for ((most, a), b) in most.iter_mut().zip(&before).zip(&after) {
            let pairs = a.values.iter().zip(&b.values);
            *most = pairs.fold(*most, |m, (x, y)| m.max((x - y).abs()));
        }
    }
    most
}

/// As [`moved`], by Candle in f32: what is lost between the numbers and the result, as in `log(1 + x)`, is lost there too.
fn witness(most: &mut [f64], compiled: &Compiled, expected: &Outcome) {
    let graph = &compiled.graph;
    let mut single = candle(graph, compiled.lanes, Precision::Single);
    let mut outcome = run(&mut single, &compiled.numbers, compiled.interval);
    outcome.inputs.clear();
    for wrong in wrong(graph, &outcome, expected, 0.0) {
        most[wrong.index] = most[wrong.index].max(wrong.error);
    }
}

fn changed(numbers: &Numbers, ulp: f64, draw: u64) -> Numbers {
    let mut chance = Chance::new(draw);
    let mut change = |values: &mut Vec<f64>| {
        for x in values {
            // Quarters are bounds, truths and zeros.
            if (*x * 4.0).fract() != 0.0 {
                *x *= 1.0 + ulp * chance.unit();
            }
        }
    };
    let mut moved = numbers.clone();
    moved.params.iter_mut().for_each(&mut change);
    moved.states.iter_mut().for_each(&mut change);
    moved.last.iter_mut().for_each(&mut change);
    for step in [&mut moved.inputs, &mut moved.noises, &mut moved.seeds] {
        step.iter_mut().flatten().for_each(&mut change);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::{moved, wrong, DOUBLE, STEPS};
    use crate::case::Case;
    use crate::run::{reference, run};

    #[test]
    fn a_slightly_wrong_number_is_wrong_and_has_no_excuse() {
        for index in 0..8 {
            let compiled = Case::draw(1, index).compile().unwrap();
            let (graph, numbers) = (&compiled.graph, &compiled.numbers);
            let mut oracle = reference(graph, compiled.lanes);
            let expected = run(&mut oracle, numbers, compiled.interval);
            assert!(wrong(graph, &expected, &expected, 1e-9).is_empty());
            let rounding = moved(&mut oracle, graph, numbers, &expected, 1, DOUBLE);
            let mut found = expected.clone();
            let gradient = found.params.iter_mut().flatten().flatten();
            let largest = gradient.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
            *largest *= 1.0 + 3e-9;
            let list = wrong(graph, &found, &expected, 1e-9);
            assert_eq!(list.len(), 1);
            assert!(list[0].what.starts_with("gradient of "), "{}", list[0].what);
            assert!(list[0].error > STEPS * rounding[list[0].index]);
            *found.outputs[0][0].last_mut().unwrap() = f64::NAN;
            assert_eq!(wrong(graph, &found, &expected, 1e-9).len(), 2);
        }
    }
}
