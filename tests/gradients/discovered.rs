//! Every spec of `tests/cases/graph` and `tests/cases/grad`: the language as it is used.

use crate::gradients::run::{assert_close, candle, reference, run};
use crate::gradients::spec::{check, compile_set, numbers};
use bpmc::engine::candle::Precision;
use bpmc::ir::Graph;
use std::path::Path;

/// The step graphs of the specs of a stage, by name.
pub fn graphs(stage: &str) -> Vec<(String, Graph)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(stage);
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "bpm"))
        .collect();
    paths.sort();
    let graph = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let set: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("// set: "))
            .map(str::to_owned)
            .collect();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, compile_set(&text, &set).step)
    };
    paths.iter().map(graph).collect()
}

#[test]
fn specs_agree_with_finite_differences() {
    let all = graphs("graph");
    assert!(all.len() > 30, "{}", all.len());
    for (name, graph) in all {
        let numbers = numbers(&graph, 41, (2, 3), 0.7, 1.2);
        check(&graph, &numbers, 2, &name);
    }
}

#[test]
fn backends_agree_on_specs() {
    for (name, graph) in graphs("graph").into_iter().chain(graphs("grad")) {
        for lanes in [1, 7] {
            let numbers = numbers(&graph, 42, (lanes, 3), 0.5, 0.8);
            let expected = run(&mut reference(&graph, lanes), &numbers, 2);
            for (precision, tolerance) in [(Precision::Double, 1e-10), (Precision::Single, 1e-4)] {
                let found = run(&mut candle(&graph, lanes, precision), &numbers, 2);
                assert_close(
                    &found,
                    &expected,
                    tolerance,
                    &format!("{name}, {lanes} lanes"),
                );
            }
        }
    }
}
