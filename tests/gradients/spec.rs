//! Whole specs, compiled, with numbers for everything they read.

use crate::gradients::run::{
    adjoint_of, check_differences, reference, run, Draws, Numbers, Outcome,
};
use bpmc::driver;
use bpmc::ir::Graph;
use bpmc::step::Compiled;
use std::path::Path;

/// Compiles a spec that must have no error; warnings are of no interest here.
pub fn compile(text: &str) -> Compiled {
    compile_set(text, &[])
}

/// As [`compile`], with `--set` arguments.
pub fn compile_set(text: &str, set: &[String]) -> Compiled {
    compile_named("spec.bpm", text, set)
}

/// As [`compile_set`], a file with its imports.
pub fn compile_file(path: &Path, set: &[String]) -> Compiled {
    let text = std::fs::read_to_string(path).unwrap();
    compile_named(&path.display().to_string(), &text, set)
}

fn compile_named(name: &str, text: &str, set: &[String]) -> Compiled {
    let compilation = driver::compile(name, text, set, &driver::from_disk).unwrap();
    let errors: Vec<String> = compilation
        .diagnostics
        .iter()
        .map(|d| format!("{} {}", d.code.text(), d.message))
        .collect();
    match compilation.program {
        Some(compiled) => compiled,
        None => panic!("{errors:#?}\n{text}"),
    }
}

/// Inputs that only say yes or no, which no difference can move.
fn is_event(path: &str) -> bool {
    path == bpmc::step::lower::TRIAL_START
}

/// Numbers for a spec: all within `scale`, traces within `trace_scale` at the start, events 0 or 1.
pub fn numbers(
    graph: &Graph,
    seed: u64,
    (lanes, steps): (usize, usize),
    scale: f64,
    trace_scale: f64,
) -> Numbers {
    let mut numbers = Draws(seed).numbers(graph, lanes, steps, scale);
    for (slot, values) in graph.states.iter().zip(&mut numbers.states) {
        if slot.trace {
            values.iter_mut().for_each(|x| *x *= trace_scale / scale);
        }
    }
    for inputs in &mut numbers.inputs {
        for (slot, values) in graph.inputs.iter().zip(inputs) {
            if is_event(&slot.path) {
                values
                    .iter_mut()
                    .for_each(|x| *x = f64::from(u8::from(*x > 0.0)));
            }
        }
    }
    numbers
}

/// Finite differences against the adjoint, for everything the loss depends on. Returns the outcome.
pub fn check(graph: &Graph, numbers: &Numbers, lanes: usize, label: &str) -> Outcome {
    let mut executor = reference(graph, lanes);
    let mut outcome = run(&mut executor, numbers, 2);
    let flat = outcome.flat();
    assert!(flat.iter().all(|x| x.is_finite()), "{label}: {outcome:?}");
    let whole = outcome.clone();
    for inputs in &mut outcome.inputs {
        for (slot, values) in graph.inputs.iter().zip(inputs) {
            if is_event(&slot.path) {
                values.clear();
            }
        }
    }
    check_differences(&mut executor, numbers, &outcome, 1e-6, label);
    assert_eq!(adjoint_of(graph).inputs.len(), graph.inputs.len());
    whole
}
