//! Cells of the library against formulas written out here, and against Candle's own LSTM.

use crate::gradients::run::{assert_close, assert_fused, reference, run, Numbers};
use crate::gradients::spec::{check, compile, numbers};
use bpmc::ir::Graph;
use candle_core::{DType, Device, Tensor};
use candle_nn::rnn::{LSTMConfig, LSTMState, LSTM, RNN};
use candle_nn::VarBuilder;
use std::collections::HashMap;

const LANES: usize = 2;
const STEPS: usize = 4;
/// Sizes of the input and of the cell.
const FROM: usize = 4;
const SIZE: usize = 3;

fn graph(cell: &str) -> Graph {
    let text = format!(
        "network net {{
           input x: [{FROM}]
           cell memory: {cell}(x, {SIZE})
           output h = memory.h
         }}
         train supervised {{ loss = half_sum_squares, batch = 2, steps = 4 }}"
    );
    compile(&text).step
}

/// The numbers of a parameter or state of the cell.
struct Named<'a> {
    graph: &'a Graph,
    numbers: &'a Numbers,
}

impl Named<'_> {
    fn slot(&self, path: &str) -> usize {
        let path = format!("memory.{path}");
        let found = self.graph.params.iter().position(|slot| slot.path == path);
        found.unwrap_or_else(|| panic!("no parameter `{path}`"))
    }

    fn param(&self, path: &str) -> &[f64] {
        &self.numbers.params[self.slot(path)]
    }

    fn state(&self, path: &str, lane: usize) -> Vec<f64> {
        let path = format!("memory.{path}");
        let found = self.graph.states.iter().position(|slot| slot.path == path);
        self.numbers.states[found.unwrap()][lane * SIZE..(lane + 1) * SIZE].to_vec()
    }

    fn input(&self, step: usize, lane: usize) -> &[f64] {
        &self.numbers.inputs[step][0][lane * FROM..(lane + 1) * FROM]
    }

    /// `x W + b` of the linear map of this path.
    fn linear(&self, path: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.param(&format!("{path}.weight"));
        let bias = self.param(&format!("{path}.bias"));
        let column = |j: usize| {
            (0..x.len())
                .map(|i| x[i] * weight[i * SIZE + j])
                .sum::<f64>()
        };
        (0..SIZE).map(|j| column(j) + bias[j]).collect()
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn gru_agrees_with_its_formula() {
    let graph = graph("gru");
    let numbers = numbers(&graph, 31, (LANES, STEPS), 0.9, 0.9);
    let outcome = check(&graph, &numbers, LANES, "gru");
    assert_fused(&graph, LANES, &numbers, &outcome, (1e-9, 1e-4), "gru");
    let named = Named {
        graph: &graph,
        numbers: &numbers,
    };
    for lane in 0..LANES {
        let mut h = named.state("h_before", lane);
        for step in 0..STEPS {
            let x = named.input(step, lane);
            let (rx, rh) = (named.linear("r.linear", x), named.linear("r.linear2", &h));
            let (zx, zh) = (named.linear("z.linear", x), named.linear("z.linear2", &h));
            let (nx, nh) = (named.linear("n.linear", x), named.linear("n.linear2", &h));
            for j in 0..SIZE {
                let reset = sigmoid(rx[j] + rh[j]);
                let keep = sigmoid(zx[j] + zh[j]);
                let new = (nx[j] + reset * nh[j]).tanh();
                h[j] = (1.0 - keep) * new + keep * h[j];
                let found = outcome.outputs[step][0][lane * SIZE + j];
                assert!((found - h[j]).abs() < 1e-12, "{found} {}", h[j]);
            }
        }
    }
}

/// What an LSTM keeps of a step for the way back.
struct Stage {
    x: Vec<f64>,
    h_before: Vec<f64>,
    c_before: Vec<f64>,
    /// i, f, g, o.
    gates: [Vec<f64>; 4],
    c: Vec<f64>,
}

const GATES: [&str; 4] = ["i", "f", "g", "o"];

#[test]
fn lstm_and_its_gradient_agree_with_formulas() {
    let graph = graph("lstm");
    let numbers = numbers(&graph, 32, (LANES, STEPS), 0.9, 0.9);
    let outcome = run(&mut reference(&graph, LANES), &numbers, 2);
    let named = Named {
        graph: &graph,
        numbers: &numbers,
    };
    let mut expected = outcome.clone();
    for gradient in expected.params.iter_mut().flatten() {
        gradient.fill(0.0);
    }
    for lane in 0..LANES {
        let own = lane * SIZE..(lane + 1) * SIZE;
        let mut h = named.state("h_before", lane);
        let mut c = named.state("c_before", lane);
        let mut kept = Vec::new();
        for step in 0..STEPS {
            let x = named.input(step, lane);
            let gates = GATES.map(|gate| {
                let a = named.linear(&format!("{gate}.linear"), x);
                let b = named.linear(&format!("{gate}.linear2"), &h);
                let sums = a.iter().zip(b).map(|(a, b)| a + b);
                match gate {
                    "g" => sums.map(f64::tanh).collect::<Vec<f64>>(),
                    _ => sums.map(sigmoid).collect(),
                }
            });
            let [i, f, g, o] = &gates;
            let (h_before, c_before) = (h, c);
            c = (0..SIZE)
                .map(|j| f[j] * c_before[j] + i[j] * g[j])
                .collect();
            h = (0..SIZE).map(|j| o[j] * c[j].tanh()).collect();
            expected.outputs[step][0][own.clone()].copy_from_slice(&h);
            kept.push(Stage {
                x: x.to_vec(),
                h_before,
                c_before,
                gates,
                c: c.clone(),
            });
        }
        let state = |path: &str| {
            let path = format!("memory.{path}");
            graph
                .states
                .iter()
                .position(|slot| slot.path == path)
                .unwrap()
        };
        let (of_h, of_c) = (state("h_before"), state("c_before"));
        expected.last_states[of_h][own.clone()].copy_from_slice(&h);
        expected.last_states[of_c][own.clone()].copy_from_slice(&c);
        // The way back: dh and dc are the adjoints of what leaves the step.
        let mut dh = numbers.last[of_h][own.clone()].to_vec();
        let mut dc = numbers.last[of_c][own.clone()].to_vec();
        for (step, kept) in kept.iter().enumerate().rev() {
            let [i, f, g, o] = &kept.gates;
            let mut before = vec![0.0; SIZE];
            let mut dx = vec![0.0; FROM];
            let seed = &numbers.seeds[step][0][own.clone()];
            for j in 0..SIZE {
                let (dh, t) = (dh[j] + seed[j], kept.c[j].tanh());
                let dcell = dc[j] + dh * o[j] * (1.0 - t * t);
                let sums = [
                    dcell * g[j] * i[j] * (1.0 - i[j]),
                    dcell * kept.c_before[j] * f[j] * (1.0 - f[j]),
                    dcell * i[j] * (1.0 - g[j] * g[j]),
                    dh * t * o[j] * (1.0 - o[j]),
                ];
                dc[j] = dcell * f[j];
                for (gate, d) in GATES.iter().zip(sums) {
                    for (part, from, into) in [
                        ("linear", &kept.x, &mut dx),
                        ("linear2", &kept.h_before, &mut before),
                    ] {
                        let weight = named.slot(&format!("{gate}.{part}.weight"));
                        let bias = named.slot(&format!("{gate}.{part}.bias"));
                        expected.params[bias].as_mut().unwrap()[j] += d;
                        let gradient = expected.params[weight].as_mut().unwrap();
                        for (k, value) in from.iter().enumerate() {
                            gradient[k * SIZE + j] += d * value;
                            into[k] += d * numbers.params[weight][k * SIZE + j];
                        }
                    }
                }
            }
            dh = before;
            expected.inputs[step][0][lane * FROM..(lane + 1) * FROM].copy_from_slice(&dx);
        }
        expected.states[of_h][own.clone()].copy_from_slice(&dh);
        expected.states[of_c][own.clone()].copy_from_slice(&dc);
    }
    assert_close(&outcome, &expected, 1e-12, "lstm");
    assert_fused(&graph, LANES, &numbers, &expected, (1e-9, 1e-4), "lstm");
}

#[test]
fn lstm_agrees_with_the_one_of_candle() {
    let graph = graph("lstm");
    let numbers = numbers(&graph, 33, (LANES, STEPS), 0.9, 0.9);
    let outcome = run(&mut reference(&graph, LANES), &numbers, 2);
    let named = Named {
        graph: &graph,
        numbers: &numbers,
    };
    // Candle keeps the four gates in the rows of one matrix, `[4 to, from]`.
    let device = Device::Cpu;
    let tensor = |path: &str, rows: usize| {
        let parts = GATES.map(|gate| {
            let values = named.param(&format!("{gate}.{path}")).to_vec();
            let part = Tensor::from_vec(values, (rows, SIZE), &device).unwrap();
            part.t().unwrap().contiguous().unwrap()
        });
        Tensor::cat(&parts, 0).unwrap()
    };
    let bias = |path: &str| tensor(path, 1).flatten_all().unwrap();
    let tensors = HashMap::from([
        ("weight_ih_l0".to_owned(), tensor("linear.weight", FROM)),
        ("weight_hh_l0".to_owned(), tensor("linear2.weight", SIZE)),
        ("bias_ih_l0".to_owned(), bias("linear.bias")),
        ("bias_hh_l0".to_owned(), bias("linear2.bias")),
    ]);
    let variables = VarBuilder::from_tensors(tensors, DType::F64, &device);
    let lstm = LSTM::new(FROM, SIZE, LSTMConfig::default(), variables).unwrap();
    let state = |path: &str| {
        let lanes: Vec<f64> = (0..LANES)
            .flat_map(|lane| named.state(path, lane))
            .collect();
        Tensor::from_vec(lanes, (LANES, SIZE), &device).unwrap()
    };
    let mut state = LSTMState {
        h: state("h_before"),
        c: state("c_before"),
    };
    for step in 0..STEPS {
        let x = numbers.inputs[step][0].clone();
        let x = Tensor::from_vec(x, (LANES, FROM), &device).unwrap();
        state = lstm.step(&x, &state).unwrap();
        let expected: Vec<f64> = state.h().flatten_all().unwrap().to_vec1().unwrap();
        for (found, expected) in outcome.outputs[step][0].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}
