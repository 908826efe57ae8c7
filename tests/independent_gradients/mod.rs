//! Losses and gradients of sequences from files against a program that knows nothing of bpmc: `gradients.py` has the
//! equations in NumPy. Needs a Python with NumPy, as in [`python`]; else the test says that it is skipped.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::python::python;
use crate::runs_support::run;
use crate::scratch::scratch;
use bpmc::driver::{compile, from_disk};
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::{DeviceChoice, DeviceKind};
use bpmc::step::passes::Selection;
use serde_json::Value;
use std::path::Path;

const PROGRAM: &str = include_str!("gradients.py");

fn told(stage: &str, case: &str, folder: &Path) -> Option<Value> {
    let program = format!("STAGE, CASE = {stage:?}, {case:?}\n{PROGRAM}");
    python("numpy", &program, folder)
}

fn flat(value: &Value, into: &mut Vec<f64>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flat(item, into)),
        other => into.push(other.as_f64().unwrap()),
    }
}

/// Compares a loss and gradients, by path, with the expected ones; differences are parts of the largest element.
fn compare(
    what: &str,
    expected: &Value,
    loss: f64,
    gradients: &[(String, Vec<f64>)],
    tolerance: f64,
) {
    let all = expected["gradients"].as_object().unwrap();
    assert_eq!(gradients.len(), all.len(), "{what}");
    let wanted = expected["loss"].as_f64().unwrap();
    let off = (loss - wanted).abs() / wanted;
    assert!(off <= tolerance, "{what}: loss {loss} instead of {wanted}");
    for (path, found) in gradients {
        let mut wanted = Vec::new();
        flat(&all[path], &mut wanted);
        assert_eq!(found.len(), wanted.len(), "{what}: {path}");
        let scale = wanted.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        assert!(scale > 1e-5, "{what}: {path} has no gradient");
        for (a, b) in found.iter().zip(&wanted) {
            let off = (a - b).abs() / scale;
            assert!(
                off <= tolerance,
                "{what}: {path}: {a} instead of {b}, off by {off:e}"
            );
        }
    }
}

/// The results of `bpmc grad` for given values.
fn of_values(folder: &Path, case: &str, expected: &Value) {
    let (spec, values) = (format!("{case}.bpm"), format!("{case}_values.json"));
    let grad = |more: &[&str]| {
        let all = [&["grad", &spec, "--values", &values], more].concat();
        let (code, out, err) = run(folder, &all);
        assert_eq!(code, Some(0), "{case} {more:?}: {err}");
        let found: Value = serde_json::from_str(&out).unwrap();
        let gradients = found["gradients"].as_object().unwrap();
        let gradients: Vec<(String, Vec<f64>)> = gradients
            .iter()
            .map(|(path, value)| {
                let mut all = Vec::new();
                flat(value, &mut all);
                (path.clone(), all)
            })
            .collect();
        (found["loss"].as_f64().unwrap(), gradients)
    };
    for (backend, dtype, tolerance) in [
        ("reference", "f64", 1e-9),
        ("candle", "f64", 1e-9),
        ("fused", "f64", 1e-9),
        ("candle", "f32", 2e-6),
        ("fused", "f32", 2e-6),
    ] {
        let (loss, gradients) = grad(&["--backend", backend, "--dtype", dtype]);
        let what = format!("{case}: grad {backend} {dtype}");
        compare(&what, expected, loss, &gradients, tolerance);
    }
}

/// The results of training on the file.
fn of_training(folder: &Path, case: &str, expected: &Value) {
    let path = folder.join(format!("{case}.bpm"));
    let text = std::fs::read_to_string(&path).unwrap();
    let name = path.display().to_string();
    let compilation = compile(&name, &text, &[], &from_disk).unwrap();
    let program = compilation.program.as_ref().unwrap();
    for (backend, kind, tolerance) in [
        (BackendKind::Reference, DeviceKind::Cpu, 1e-9),
        (BackendKind::Fused, DeviceKind::Cpu, 2e-6),
        (BackendKind::Candle, DeviceKind::Cpu, 2e-6),
        (BackendKind::Fused, DeviceKind::Emulated, 2e-6),
    ] {
        let device = DeviceChoice {
            kind,
            ..DeviceChoice::CPU
        };
        let options = TrainerOptions {
            threads: 1,
            backend,
            device,
            passes: Selection::level(3),
            memory: None,
        };
        let probe = Trainer::new(program, options).unwrap().probe().unwrap();
        let slots = program.step.params.iter().zip(&probe.gradients);
        let gradients: Vec<(String, Vec<f64>)> = slots
            .map(|(slot, found)| (slot.path.clone(), found.clone().unwrap()))
            .collect();
        let what = format!("{case}: training {backend:?} {kind:?}");
        compare(&what, expected, probe.loss, &gradients, tolerance);
    }
}

#[test]
fn gradients_of_sequences_are_those_of_an_independent_program() {
    let folder = scratch("independent-gradients");
    let Some(cases) = told("files", "classes", &folder) else {
        return;
    };
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases.iter().map(|case| case.as_str().unwrap()) {
        told("files", case, &folder);
        let (spec, template) = (format!("{case}.bpm"), format!("{case}_template.json"));
        let arguments = ["grad", &spec, "--template", "-o", &template];
        let (code, _, err) = run(&folder, &arguments);
        assert_eq!(code, Some(0), "{case}: {err}");
        let expected = told("expected", case, &folder).unwrap();
        of_training(&folder, case, &expected);
        of_values(&folder, case, &expected);
    }
}
