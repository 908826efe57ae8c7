//! What is left of a failure: the spec, numbers for it, and a command that shows it.

use crate::gradients::run::{reference, run};
use crate::gradients::slots::place;
use crate::properties::agreement::{Check, Fault};
use crate::properties::case::{Case, Compiled};
use bpmc::learn::values::nested;
use serde_json::{json, Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where failures are written.
pub fn directory() -> PathBuf {
    std::env::var_os("BPMC_FAILURES").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Writes a failing case to `STEM.bpm` and `STEM.values.json`; says where, and how to see the failure.
pub fn write(case: &Case, fault: &Fault, directory: &Path, stem: &str) -> String {
    std::fs::create_dir_all(directory).unwrap();
    let spec = directory.join(format!("{stem}.bpm"));
    std::fs::write(&spec, &case.text).unwrap();
    let mut text = format!(
        "{:?}: {}\n\n{}\n{}\n",
        fault.check,
        fault.detail,
        spec.display(),
        case.text
    );
    let Ok(compiled) = case.compile() else {
        return text + &format!("bpmc check {}\n", spec.display());
    };
    let values = directory.join(format!("{stem}.values.json"));
    let file = serde_json::to_string(&values_file(&compiled)).unwrap();
    std::fs::write(&values, file).unwrap();
    let base = ["grad".to_owned(), spec.display().to_string()];
    let base = [
        &base[..],
        &["--values".to_owned(), values.display().to_string()],
    ]
    .concat();
    let with = |more: &[&str]| -> Vec<String> {
        let more = more.iter().map(|word| (*word).to_owned());
        base.iter().cloned().chain(more).collect()
    };
    let other = match fault.check {
        Check::Candle => with(&["--backend", "candle"]),
        Check::Single => with(&["--backend", "fused", "--dtype", "f32"]),
        Check::Compiles | Check::Panics | Check::Finite | Check::Double | Check::Differences => {
            with(&["--backend", "fused"])
        }
    };
    for command in [&base, &other] {
        text += &format!("bpmc {}\n", command.join(" "));
    }
    if case.last {
        text +=
            "The failure needs adjoints of the final states, which `bpmc grad` does not take.\n";
    }
    text + &difference(&base, &other)
}

/// Where the results of two commands are furthest apart.
fn difference(one: &[String], other: &[String]) -> String {
    let (one, other) = match (results(one), results(other)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(text), _) | (_, Err(text)) => return format!("which says\n{text}"),
    };
    let mut worst = (0.0, String::from("they agree"));
    for (tensor, (_, _, b)) in one.iter().zip(&other) {
        let (name, dims, a) = tensor;
        let scale = a.iter().fold(1e-30_f64, |m, x| m.max(x.abs()));
        for (k, (x, y)) in a.iter().zip(b).enumerate() {
            let apart = (x - y).abs() / scale;
            if apart > worst.0 {
                worst = (apart, format!("{name}{}: {x:e} and {y:e}", place(dims, k)));
            }
        }
    }
    format!(
        "furthest apart, {:e} of the largest: {}\n",
        worst.0, worst.1
    )
}

/// A tensor that `bpmc grad` prints: its name, its dimensions (outputs begin with steps and lanes), its numbers.
type Printed = (String, Vec<usize>, Vec<f64>);

/// The tensors that `bpmc grad` prints.
fn results(arguments: &[String]) -> Result<Vec<Printed>, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .args(arguments)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut all = Vec::new();
    for (section, values) in json.as_object().unwrap() {
        for (name, value) in values.as_object().into_iter().flatten() {
            let mut numbers = Vec::new();
            let mut stack = vec![value];
            while let Some(value) = stack.pop() {
                match value {
                    Value::Array(items) => stack.extend(items.iter().rev()),
                    number => numbers.push(number.as_f64().unwrap_or(f64::NAN)),
                }
            }
            let mut dims = Vec::new();
            let mut first = value;
            while let Value::Array(items) = first {
                dims.push(items.len());
                first = &items[0];
            }
            all.push((format!("{section}.{name}"), dims, numbers));
        }
    }
    Ok(all)
}

/// The numbers of a case as a file for `bpmc grad`. Targets are such that outputs get the adjoints of the case.
fn values_file(compiled: &Compiled) -> Value {
    let Compiled {
        graph,
        lanes,
        steps,
        interval,
        numbers,
    } = compiled;
    let outcome = run(&mut reference(graph, *lanes), numbers, *interval);
    let over_steps = |all: &[Vec<Vec<f64>>], k: usize, dims: &[usize]| {
        let flat: Vec<f64> = all
            .iter()
            .flat_map(|slots| slots[k].iter().copied())
            .collect();
        nested(&flat, &[&[*steps, *lanes], dims].concat())
    };
    let mut inputs = Map::new();
    for (k, slot) in graph.inputs.iter().enumerate() {
        inputs.insert(
            slot.path.clone(),
            over_steps(&numbers.inputs, k, &slot.dims),
        );
    }
    let mut noise = Map::new();
    for (k, slot) in graph.noises.iter().enumerate() {
        noise.insert(
            slot.path.clone(),
            over_steps(&numbers.noises, k, &slot.dims),
        );
    }
    let mut states = Map::new();
    for (slot, values) in graph.states.iter().zip(&numbers.states) {
        states.insert(
            slot.path.clone(),
            nested(values, &[&[*lanes], slot.dims.as_slice()].concat()),
        );
    }
    let mut parameters = Map::new();
    for (slot, values) in graph.params.iter().zip(&numbers.params) {
        parameters.insert(slot.path.clone(), nested(values, &slot.dims));
    }
    let minus = |(x, y): (&f64, &f64)| x - y;
    let target = |(outputs, seeds): (&Vec<Vec<f64>>, &Vec<Vec<f64>>)| -> Vec<Vec<f64>> {
        let slots = outputs.iter().zip(seeds);
        slots
            .map(|(o, s)| o.iter().zip(s).map(minus).collect())
            .collect()
    };
    let all: Vec<_> = outcome
        .outputs
        .iter()
        .zip(&numbers.seeds)
        .map(target)
        .collect();
    let mut targets = Map::new();
    for (k, slot) in graph.outputs.iter().enumerate() {
        targets.insert(slot.path.clone(), over_steps(&all, k, &slot.dims));
    }
    let mut file = Map::new();
    file.insert("steps".to_owned(), json!(steps));
    file.insert("lanes".to_owned(), json!(lanes));
    for (name, section) in [
        ("inputs", inputs),
        ("noise", noise),
        ("initial_state", states),
        ("parameters", parameters),
        ("targets", targets),
    ] {
        // A section that a spec has nothing for is unknown.
        if !section.is_empty() {
            file.insert(name.to_owned(), Value::Object(section));
        }
    }
    Value::Object(file)
}

#[cfg(test)]
mod tests {
    use super::{results, write};
    use crate::gradients::run::{reference, run};
    use crate::properties::agreement::{Check, Fault};
    use crate::properties::case::Case;
    use std::path::PathBuf;

    #[test]
    fn the_command_computes_the_case() {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("property-report");
        let fault = Fault {
            check: Check::Double,
            detail: "as if".to_owned(),
        };
        for index in 0..6 {
            let case = Case {
                last: false,
                ..Case::draw(3, index)
            };
            let text = write(&case, &fault, &directory, "case");
            assert!(text.contains("furthest apart"), "{text}");
            assert!(text.contains("--backend fused\n"), "{text}");
            let spec = directory.join("case.bpm").display().to_string();
            let values = directory.join("case.values.json").display().to_string();
            let command = ["grad".to_owned(), spec, "--values".to_owned(), values];
            let shown = results(&command).unwrap();
            let compiled = case.compile().unwrap();
            let mut oracle = reference(&compiled.graph, compiled.lanes);
            let outcome = run(&mut oracle, &compiled.numbers, 1);
            for (slot, gradient) in compiled.graph.params.iter().zip(&outcome.params) {
                let Some(gradient) = gradient else { continue };
                let name = format!("gradients.{}", slot.path);
                let (_, _, numbers) = shown.iter().find(|(n, ..)| *n == name).unwrap();
                let largest = gradient.iter().fold(1e-3_f64, |m, x| m.max(x.abs()));
                for (x, y) in numbers.iter().zip(gradient) {
                    assert!((x - y).abs() <= 1e-8 * largest, "{name}: {x} {y}\n{text}");
                }
                assert_eq!(numbers.len(), gradient.len());
            }
        }
    }
}
