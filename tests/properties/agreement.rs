//! Whether all backends say the same of a case.
//!
//! A number counts as wrong where it is further from the reference than the tolerance times the largest of its tensor.
//! What is wrong by this may still be the work of rounding: a comparison of nearly equal numbers, a value next to
//! the bound of a clip, a long chaotic run. Such a tensor is *excused* where the reference itself moves as much
//! when its numbers, or its sums, are changed by a few units in the last place of the precision, or where Candle, in
//! the same precision, is as wrong. Numbers that sit exactly on bounds are not changed, so that an error in their
//! derivatives has no excuse.

use crate::gradients::run::{candle, fused, reference, run, Outcome};
use crate::properties::case::{Case, Compiled};
use crate::properties::rounding::{explained, DOUBLE, SINGLE, STEPS};
use crate::properties::tensors::{tensors, wrong};
use bpmc::engine::candle::Precision;
use bpmc::engine::fused::{Choices, ProgramError};
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
    let expected = run(&mut reference(graph, *lanes), numbers, *interval);
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
            let moved = explained(&compiled, expected, ulp);
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
        Err(ProgramError::Unsupported(reason)) => {
            verdict.unsupported = Some(reason.0);
            return Ok(verdict);
        }
        Err(ProgramError::Internal(fault)) => panic!("{fault}"),
        Ok(found) => compare(Check::Double, &found, &expected, 1e-9, DOUBLE)?,
    }
    if let Ok(found) = fused::<f32>(graph, *lanes, numbers, *interval, Choices::default()) {
        compare(Check::Single, &found, &expected, 1e-4, SINGLE)?;
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::{explained, wrong, DOUBLE, STEPS};
    use crate::gradients::run::{reference, run};
    use crate::properties::case::Case;

    #[test]
    fn a_slightly_wrong_number_is_wrong_and_has_no_excuse() {
        for index in 0..8 {
            let compiled = Case::draw(1, index).compile().unwrap();
            let (graph, numbers) = (&compiled.graph, &compiled.numbers);
            let mut oracle = reference(graph, compiled.lanes);
            let expected = run(&mut oracle, numbers, compiled.interval);
            assert!(wrong(graph, &expected, &expected, 1e-9).is_empty());
            let rounding = explained(&compiled, &expected, DOUBLE);
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
