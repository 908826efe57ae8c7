//! Stages of rows against the reference.

use super::{evaluate, Leaves, Scratch, Table};
use crate::driver::{compile, from_disk};
use crate::engine::reference::{evaluate as oracle, Leaves as Numbers};
use crate::ir::rng::{fill, Key, Stream};
use crate::ir::Draw;
use crate::ir::{Graph, ResultKind};
use crate::step::autodiff::{differentiate, Options};

/// Pseudo-random f32 numbers between -1 and 1.
fn drawn(number: u32, size: usize) -> Vec<f32> {
    let mut out = vec![0.0; size];
    let place = Key::new(3, Stream::Noise(number)).at(0, 0, 0);
    fill(&Draw::Uniform(-1.0, 1.0), place, 1, &mut out);
    out.into_iter().map(|x| x as f32).collect()
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

fn step(body: &str) -> Graph {
    let text = format!(
        "network net {{ {body} }}
         train supervised {{ loss = half_sum_squares, batch = 2, steps = 3 }}"
    );
    let compilation = compile("net.bpm", &text, &[], &from_disk).unwrap();
    compilation.program.unwrap().step
}

/// Compares all results of the step and of its adjoint; with `hot`, input 0 is one-hot.
fn agrees(step: &Graph, rows: usize, hot: Option<&[u32]>) {
    let adjoint = differentiate(
        step,
        Options {
            inputs: hot.is_none(),
        },
    );
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    let params: Vec<Vec<f32>> = step
        .params
        .iter()
        .zip(0..)
        .map(|(slot, k)| drawn(k, size(&slot.dims)))
        .collect();
    let table = |number: u32, dims: &[usize]| drawn(number, rows * size(dims));
    let mut inputs: Vec<Vec<f32>> = (100..)
        .zip(&step.inputs)
        .map(|(k, slot)| table(k, &slot.dims))
        .collect();
    if let Some(hot) = hot {
        let words = size(&step.inputs[0].dims);
        inputs[0] = Table::hot(hot).into_rows(rows, words);
    }
    let noises: Vec<Vec<f32>> = (200..)
        .zip(&step.noises)
        .map(|(k, slot)| table(k, &slot.dims))
        .collect();
    let seeds: Vec<Vec<f32>> = (300..)
        .zip(&step.outputs)
        .map(|(k, slot)| table(k, &slot.dims))
        .collect();
    let all = |values: &[Vec<f32>]| -> Vec<Vec<f64>> { values.iter().map(|v| double(v)).collect() };
    let (p, i, n, s) = (all(&params), all(&inputs), all(&noises), all(&seeds));
    let numbers = Numbers {
        params: &p,
        inputs: &i,
        noises: &n,
        seeds: &s,
        ..Numbers::default()
    };
    let mut leaves = Leaves {
        params: params.iter().map(Vec::as_slice).collect(),
        inputs: inputs.iter().map(|v| Table::rows(v)).collect(),
        noises: noises.iter().map(|v| Table::rows(v)).collect(),
        seeds: seeds.iter().map(|v| Table::rows(v)).collect(),
    };
    if let Some(hot) = hot {
        leaves.inputs[0] = Table::hot(hot);
    }
    let mut scratch = Scratch::default();
    for graph in [step, &adjoint] {
        let expected = oracle(graph, rows, &numbers).unwrap();
        // The evaluation runs twice, so that memory is reused.
        for _ in 0..2 {
            let found = evaluate(graph, rows, &leaves, &mut scratch);
            for ((result, table), expected) in found.into_iter().zip(&expected) {
                let id = graph.result(result).unwrap();
                let width = graph.shape(id).elements();
                let count = if matches!(result, ResultKind::Gradient(_)) {
                    1
                } else {
                    rows
                };
                let found = table.into_rows(count, width);
                assert_eq!(found.len(), expected.len(), "{result:?}");
                let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                for (x, y) in found.iter().zip(expected) {
                    assert!(
                        (f64::from(*x) - y).abs() <= 1e-5 * largest.max(1e-3),
                        "{result:?}: {x} {y}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_operation_is_that_of_the_reference() {
    let bodies = [
        "input x: [7]  output y = tanh(linear(x, 5)) * sigmoid(linear(x, 5))",
        "input x: [7]  output y = softmax(linear(x, 5)) + sum(x) * x[1 .. 6]",
        "input x: [6]  output y = concat(x[0 .. 2], clip(x, -0.5, 0.5), max(x), relu(x))",
        "input x: [4]  noise xi: [4] ~ normal(0, 1)
         output y = select(x > 0, stop(x), xi * mean(x))  output z = norm(x) * linear(x, 1)",
        "input x: [1]  output y = exp(x) - min(x, 0.2)  output z = linear(x, 3, bias = false)",
        "input x: [4]  output y = dropout(linear(x, 9), 0.5)  output z = x",
        "input x: [2]  r = relu(x)  least = -max(-r)
         output y = select(r > 0.3, log(r) / r, x)  output z = select(least > 0.3, linear(1 / r, 5), linear(x, 5))",
    ];
    for body in bodies {
        for rows in [1, 3, 300] {
            agrees(&step(body), rows, None);
        }
    }
}

#[test]
fn one_of_many_is_never_spelled_out() {
    let bodies = [
        "input word: [40]  x = embedding(word, 5)  output y = tied(tanh(x), x)",
        "input word: [40]  x = embedding(dropout(word, 0.2), 5)  output y = linear(x, 40)",
        "input word: [40]  output y = word + linear(word, 40)",
    ];
    for body in bodies {
        agrees(&step(body), 4, Some(&[3, 39, 0, 3]));
    }
}

#[test]
fn large_products_are_those_of_the_reference() {
    agrees(
        &step("input x: [33]  output y = linear(x, 1300)"),
        390,
        None,
    );
}
