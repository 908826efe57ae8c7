//! The published systems of the gallery against a program that knows nothing of bpmc: `systems.py` has their equations in NumPy.
//! Needs a Python with NumPy, as in [`python`]; else the test says that it is skipped.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::python::python;
use crate::runs_support::run;
use crate::scratch::scratch;
use bpmc::lang::library::SYSTEMS;
use serde_json::Value;
use std::path::Path;

const PROGRAM: &str = include_str!("systems.py");

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

#[test]
fn systems_name_their_papers_and_have_no_warnings() {
    assert!(SYSTEMS.len() >= 25);
    let folder = scratch("systems_checked");
    for (name, text) in SYSTEMS {
        let spec = folder.join(format!("{name}.bpm"));
        std::fs::write(&spec, text).unwrap();
        let (code, out, err) = run(
            &folder,
            &["check", "--deny-warnings", spec.to_str().unwrap()],
        );
        assert_eq!(code, Some(0), "{name}: {out}{err}");
        let (code, _, err) = run(&folder, &["fmt", "--check", spec.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{name} is not formatted: {err}");
        let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
        let page = lines.collect::<Vec<_>>().join(" ");
        let head = page.split_once("): ").or_else(|| page.split_once("), "));
        let head = head.unwrap_or_else(|| panic!("{name}: no paper")).0;
        let years = head.split(|c: char| !c.is_ascii_digit());
        assert!(
            years.filter(|year| year.len() == 4).count() > 0,
            "{name}: {head}"
        );
    }
}

#[test]
fn systems_have_the_numbers_of_their_equations() {
    let folder = scratch("systems");
    for (name, text) in SYSTEMS {
        std::fs::write(folder.join(format!("{name}.bpm")), text).unwrap();
        let (code, out, err) = run(&folder, &["grad", &format!("{name}.bpm"), "--template"]);
        assert_eq!(code, Some(0), "{name}: {err}");
        std::fs::write(folder.join(format!("{name}_template.json")), out).unwrap();
    }
    if python("numpy", PROGRAM, &folder).is_none() {
        return;
    }
    for (name, _) in SYSTEMS {
        for (backend, dtype, tolerance) in [
            ("reference", "f64", 1e-11),
            ("candle", "f64", 1e-11),
            ("fused", "f64", 1e-11),
            ("fused", "f32", 2e-4),
        ] {
            compare(&folder, name, backend, dtype, tolerance);
        }
    }
}

fn compare(folder: &Path, name: &str, backend: &str, dtype: &str, tolerance: f64) {
    let what = format!("{name} ({backend}, {dtype})");
    let file = std::fs::read_to_string(folder.join(format!("{name}_expected.json"))).unwrap();
    let expected: Value = serde_json::from_str(&file).unwrap();
    let (spec, values) = (format!("{name}.bpm"), format!("{name}_values.json"));
    let how = ["--backend", backend, "--dtype", dtype];
    let (code, out, err) = run(
        folder,
        &[&["grad", &spec, "--values", &values], &how[..]].concat(),
    );
    assert_eq!(code, Some(0), "{what}: {err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let (loss, wanted) = (flat(&found["loss"])[0], flat(&expected["loss"])[0]);
    let off = (loss - wanted).abs() / wanted;
    assert!(off <= tolerance, "{what}: loss {loss} instead of {wanted}");
    for (path, wanted) in expected["gradients"].as_object().unwrap() {
        let (found, wanted) = (flat(&found["gradients"][path]), flat(wanted));
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
