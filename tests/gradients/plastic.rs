//! A recurrent network with retroactive neuromodulation, written with the builder (paper, §3).

use crate::gradients::run::{
    adjoint_of, assert_close, candle, check_differences, reference, run, Draws, Numbers,
};
use bpmc::engine::candle::Precision;
use bpmc::ir::{
    Binary, Boundary, Graph, InputSlot, Op, OutputSlot, ParamSlot, ResultKind, ShapeError,
    StateSlot, Unary, ValueId,
};
use bpmc::step::autodiff::reached_parameters;
use serde_json::Value;

pub struct Sizes {
    pub inputs: usize,
    pub hidden: usize,
    pub actions: usize,
}

/// Parameters in the order in which [`retroactive`] declares them.
pub const PARAMS: [&str; 11] = [
    "w_in", "b_in", "w", "alpha", "eta_et", "w_mod", "b_mod", "w_out", "b_out", "w_val", "b_val",
];

/// `x ← input; states h, trace, elig; outputs y, v, h`, with the trace clipped to ±1.
pub fn retroactive(sizes: &Sizes) -> Graph {
    build(sizes).unwrap()
}

fn linear(g: &mut Graph, x: ValueId, w: ValueId, b: ValueId) -> Result<ValueId, ShapeError> {
    let product = g.mat_vec(x, w, false)?;
    g.binary(Binary::Add, product, b)
}

fn build(sizes: &Sizes) -> Result<Graph, ShapeError> {
    let (i, n, a) = (sizes.inputs, sizes.hidden, sizes.actions);
    let mut g = Graph::new();
    let dims: [&[usize]; 11] = [
        &[i, n],
        &[n],
        &[n, n],
        &[n, n],
        &[1],
        &[n, 1],
        &[1],
        &[n, a],
        &[a],
        &[n, 1],
        &[1],
    ];
    let mut params = Vec::new();
    for (path, dims) in PARAMS.iter().zip(dims) {
        let slot = g.add_param(ParamSlot::new(*path, dims));
        params.push(g.add(Op::Param(slot), &[])?);
    }
    let [w_in, b_in, w, alpha, eta, w_mod, b_mod, w_out, b_out, w_val, b_val] = params[..] else {
        unreachable!("there are eleven parameters");
    };
    let x = g.add_input(InputSlot::new("x", [i]));
    let x = g.add(Op::Input(x), &[])?;
    let h_slot = g.add_state(StateSlot::new("h", [n], 0.0));
    let trace_slot = g.add_state(StateSlot::new("trace", [n, n], 0.0));
    let elig_slot = g.add_state(StateSlot::new("elig", [n, n], 0.0));
    let h_old = g.add(Op::State(h_slot), &[])?;
    let trace = g.add(Op::State(trace_slot), &[])?;
    let elig = g.add(Op::State(elig_slot), &[])?;

    let pre = g.broadcast_to(h_old, &[n, n], &[0])?;
    let plastic = g.binary(Binary::Mul, alpha, trace)?;
    let transmit = g.binary(Binary::Add, w, plastic)?;
    let sent = g.binary(Binary::Mul, transmit, pre)?;
    let received = g.sum(sent, &[0])?;
    let driven = linear(&mut g, x, w_in, b_in)?;
    let drive = g.binary(Binary::Add, driven, received)?;
    let h = g.add_at(Op::Unary(Unary::Tanh), &[drive], Some("h_new"), None)?;
    let y = linear(&mut g, h, w_out, b_out)?;
    let v = linear(&mut g, h, w_val, b_val)?;
    let modulator = linear(&mut g, h, w_mod, b_mod)?;
    let modulator = g.add_at(Op::Unary(Unary::Tanh), &[modulator], Some("m"), None)?;

    let scalar = g.reshape(modulator, &[])?;
    let gate = g.broadcast_to(scalar, &[n, n], &[])?;
    let change = g.binary(Binary::Mul, gate, elig)?;
    let moved = g.binary(Binary::Add, trace, change)?;
    let next_trace = g.clip(moved, -1.0, 1.0, Boundary::Inclusive)?;

    let post = g.broadcast_to(h, &[n, n], &[1])?;
    let product = g.binary(Binary::Mul, pre, post)?;
    let eta = g.reshape(eta, &[])?;
    let one = g.constant(1.0);
    let keep = g.binary(Binary::Sub, one, eta)?;
    let keep = g.broadcast_to(keep, &[n, n], &[])?;
    let eta = g.broadcast_to(eta, &[n, n], &[])?;
    let kept = g.binary(Binary::Mul, keep, elig)?;
    let added = g.binary(Binary::Mul, eta, product)?;
    let next_elig = g.binary(Binary::Add, kept, added)?;

    for (path, dims, value) in [("y", a, y), ("v", 1, v), ("h", n, h)] {
        let output = g.add_output(OutputSlot::new(path, [dims]));
        g.set_result(ResultKind::Output(output), value);
    }
    g.set_result(ResultKind::Next(h_slot), h);
    g.set_result(ResultKind::Next(trace_slot), next_trace);
    g.set_result(ResultKind::Next(elig_slot), next_elig);
    Ok(g.compacted())
}

#[test]
fn through_five_steps_the_adjoint_is_a_finite_difference() {
    let graph = retroactive(&Sizes {
        inputs: 2,
        hidden: 3,
        actions: 2,
    });
    for lanes in [1, 2] {
        let mut numbers = Draws(11).numbers(&graph, lanes, 5, 0.9);
        // Some of the trace saturates: eligibility and modulator push it past the bound.
        numbers.states[1].fill(0.97);
        numbers.states[2].fill(0.8);
        let mut executor = reference(&graph, lanes);
        let outcome = run(&mut executor, &numbers, 2);
        assert!(
            outcome.last_states[1].iter().any(|x| x.abs() == 1.0),
            "nothing saturates"
        );
        check_differences(&mut executor, &numbers, &outcome, 1e-7, "retroactive");
    }
}

#[test]
fn every_parameter_is_reached_and_no_value_is_dead() {
    let graph = retroactive(&Sizes {
        inputs: 2,
        hidden: 3,
        actions: 2,
    });
    assert_eq!(reached_parameters(&graph), [true; 11]);
    let adjoint = adjoint_of(&graph);
    assert_eq!(adjoint.live_order().len(), adjoint.len());
    // The output weights act after everything that the adjoint of a step needs.
    assert!(!adjoint.to_string().contains("dead"));
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// Outputs, loss, final states and all gradients of a run under another framework's autograd, f64.
#[test]
fn the_fixture_is_met() {
    let text = include_str!("../fixtures/rnn_retro_mod.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let graph = retroactive(&Sizes {
        inputs: 5,
        hidden: 7,
        actions: 4,
    });
    let steps =
        |value: &Value| -> Vec<Vec<f64>> { value.as_array().unwrap().iter().map(flat).collect() };
    let expected = &fixture["expected"];
    let (y, v) = (
        steps(&expected["outputs"]["y"]),
        steps(&expected["outputs"]["v"]),
    );
    let target_y = steps(&fixture["inputs"]["target_y"]);
    let target_v = steps(&fixture["inputs"]["target_v"]);
    let difference =
        |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let initial = ["h0", "trace0", "elig0"];
    let mut numbers = Numbers {
        params: PARAMS.map(|path| flat(&fixture["params"][path])).to_vec(),
        states: initial
            .map(|name| flat(&fixture["initial_state"][name]))
            .to_vec(),
        inputs: steps(&fixture["inputs"]["x"])
            .into_iter()
            .map(|x| vec![x])
            .collect(),
        noises: vec![Vec::new(); 6],
        ..Numbers::default()
    };
    // Seeds of half the sum of squares are outputs less targets.
    for t in 0..6 {
        let seed_y = difference(&y[t], &target_y[t]);
        let seed_v = difference(&v[t], &target_v[t]);
        numbers.seeds.push(vec![seed_y, seed_v, vec![0.0; 3 * 7]]);
    }
    let final_states = ["h", "trace", "elig"].map(|name| flat(&expected["final"][name]));
    numbers.last = final_states
        .iter()
        .map(|values| vec![0.0; values.len()])
        .collect();

    let check = |outcome: &crate::gradients::run::Outcome, tolerance: f64, label: &str| {
        let near = |found: &[f64], expected: &[f64], what: &str| {
            assert_eq!(found.len(), expected.len(), "{label} {what}");
            let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= tolerance * largest,
                    "{label} {what}: {found} instead of {expected}"
                );
            }
        };
        let h = steps(&expected["outputs"]["h"]);
        let mut loss = 0.0;
        for t in 0..6 {
            for (k, values) in [&y[t], &v[t], &h[t]].into_iter().enumerate() {
                near(&outcome.outputs[t][k], values, "outputs");
            }
            let errors = difference(&outcome.outputs[t][0], &target_y[t]);
            let value_errors = difference(&outcome.outputs[t][1], &target_v[t]);
            let squares = errors.iter().chain(&value_errors).map(|e| e * e);
            loss += 0.5 * squares.sum::<f64>();
        }
        near(&[loss], &flat(&expected["loss"]), "loss");
        for (k, values) in final_states.iter().enumerate() {
            near(&outcome.last_states[k], values, "final states");
        }
        for (path, gradient) in PARAMS.iter().zip(&outcome.params) {
            let found = gradient.as_ref().unwrap();
            near(found, &flat(&expected["grads"][path]), path);
        }
        for (name, adjoint) in initial.iter().zip(&outcome.states) {
            near(adjoint, &flat(&expected["grads_initial_state"][name]), name);
        }
    };
    let oracle = run(&mut reference(&graph, 3), &numbers, 2);
    check(&oracle, 1e-9, "reference");
    let double = run(&mut candle(&graph, 3, Precision::Double), &numbers, 3);
    check(&double, 1e-9, "candle f64");
    assert_close(&double, &oracle, 1e-12, "candle f64 against reference");
    let single = run(&mut candle(&graph, 3, Precision::Single), &numbers, 3);
    check(&single, 1e-4, "candle f32");
}
