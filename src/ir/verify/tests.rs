//! Tests that plant a fault in a valid graph, which the verifier must find.

use super::*;
use crate::ir::Boundary;
use crate::ir::{Binary, InputSlot, NoiseKind, NoiseSlot, OutputSlot, ParamSlot, StateSlot, Unary};

const INPUT: ValueId = ValueId(0);
const STATE: ValueId = ValueId(1);
const PARAM: ValueId = ValueId(2);
const CLIPPED: ValueId = ValueId(4);

/// A valid step: one slot of each kind, `next h = clip(v u) + h`.
fn step() -> Graph {
    let mut graph = Graph::new();
    let u = graph.add_param(ParamSlot::new("u", [2, 3]));
    let v = graph.add_input(InputSlot::new("v", [2]));
    let h = graph.add_state(StateSlot::new("h", [3], 0.0));
    graph.add_output(OutputSlot::new("y", [3]));
    graph.add_noise(NoiseSlot {
        path: "xi".to_owned(),
        dims: vec![3],
        draw: Draw::Normal(0.0, 0.1),
        kind: NoiseKind::Step,
        span: None,
    });
    let v = graph.add(Op::Input(v), &[]).unwrap();
    let h_in = graph.add(Op::State(h), &[]).unwrap();
    let u = graph.add(Op::Param(u), &[]).unwrap();
    assert_eq!([v, h_in, u], [INPUT, STATE, PARAM]);
    let product = graph.mat_vec(v, u, false).unwrap();
    let clipped = graph.clip(product, -1.0, 1.0, Boundary::Inclusive).unwrap();
    graph.set_name(clipped, "clipped");
    let sum = graph.binary(Binary::Add, clipped, h_in).unwrap();
    graph.set_result(ResultKind::Next(h), sum);
    graph.set_result(ResultKind::Output(OutputId(0)), clipped);
    graph
}

fn caught(graph: &Graph, kind: GraphKind, fault: &str) {
    let faults = verify(graph, kind);
    assert!(
        faults.iter().any(|found| found.contains(fault)),
        "`{fault}` is not among {faults:?}"
    );
}

/// Breaks a valid step and expects the fault.
fn planted(fault: &str, plant: impl FnOnce(&mut Graph)) {
    let mut graph = step();
    assert_eq!(verify(&graph, GraphKind::Step), Vec::<String>::new());
    plant(&mut graph);
    caught(&graph, GraphKind::Step, fault);
}

#[test]
fn operands_exist_and_come_first() {
    planted("an operand does not come before it", |graph| {
        graph.value_mut(CLIPPED).operands = vec![ValueId(5)];
    });
    planted("an operand does not come before it", |graph| {
        graph.value_mut(CLIPPED).operands = vec![ValueId(99)];
    });
    planted("edges from [3] for operands [1]", |graph| {
        graph.value_mut(CLIPPED).operands = vec![STATE];
    });
}

#[test]
fn stored_shapes_follow_the_rules() {
    planted("shape [3] is stored for [B,3]", |graph| {
        graph.value_mut(CLIPPED).shape = Shape::shared([3]);
    });
    planted("clip: 2 operands instead of 1", |graph| {
        graph.value_mut(CLIPPED).operands = vec![STATE, STATE];
    });
    planted("bounds 1 and -1 are not ordered", |graph| {
        graph.value_mut(CLIPPED).op = Op::Clip {
            lo: 1.0.into(),
            hi: (-1.0).into(),
            boundary: Boundary::Inclusive,
        };
    });
    planted("bounds NaN and 1 are not ordered", |graph| {
        graph.value_mut(CLIPPED).op = Op::ClipMask {
            lo: f64::NAN.into(),
            hi: 1.0.into(),
            boundary: Boundary::Half,
        };
    });
    planted("no slot state4", |graph| {
        graph.value_mut(STATE).op = Op::State(StateId(4));
    });
    planted("are not increasing dimensions", |graph| {
        graph.value_mut(CLIPPED).op = Op::Broadcast {
            dims: vec![3, 3],
            from: vec![2],
        };
    });
    planted("are not increasing dimensions", |graph| {
        graph.value_mut(PARAM).shape = Shape::shared([3, 3]);
        graph.value_mut(CLIPPED).operands = vec![PARAM];
        graph.value_mut(CLIPPED).op = Op::Broadcast {
            dims: vec![3, 3],
            from: vec![1, 0],
        };
    });
}

#[test]
fn names_are_unique() {
    planted("a second value is called `clipped`", |graph| {
        graph.set_name(STATE, "clipped");
    });
}

#[test]
fn slots_are_sound() {
    planted("state `h`: a second one of this path", |graph| {
        graph.add_state(StateSlot::new("h", [3], 0.0));
    });
    planted("input `empty`: dimensions [0]", |graph| {
        graph.add_input(InputSlot::new("empty", [0]));
    });
    planted("parameter `deep`: dimensions [1, 1, 1, 1]", |graph| {
        graph.add_param(ParamSlot::new("deep", [1, 1, 1, 1]));
    });
    planted("`u`: draw uniform(1, 0)", |graph| {
        graph.params[0].init = Draw::Uniform(1.0, 0.0);
    });
    planted("`u`: draw identity(1) for [2, 3]", |graph| {
        graph.params[0].init = Draw::Identity(1.0);
    });
    planted("`xi`: draw bernoulli(1.5)", |graph| {
        graph.noises[0].draw = Draw::Bernoulli(1.5);
    });
    planted("`xi`: draw normal(0, -1)", |graph| {
        graph.noises[0].draw = Draw::Normal(0.0, -1.0);
    });
    planted("state `h`: first value NaN", |graph| {
        graph.states[0].init = f64::NAN;
    });
    planted("gradient factor inf", |graph| {
        graph.params[0].grad_scale = f64::INFINITY;
    });
}

#[test]
fn a_step_has_its_results_and_no_others() {
    planted("no output more", |graph| {
        graph.add_output(OutputSlot::new("more", [3]));
    });
    planted("no next g", |graph| {
        graph.add_state(StateSlot::new("g", [3], 0.0));
    });
    planted("next ? names no slot", |graph| {
        graph.set_result(ResultKind::Next(StateId(7)), STATE);
    });
    planted("next h is %77, which does not exist", |graph| {
        graph.set_result(ResultKind::Next(StateId(0)), ValueId(77));
    });
    planted("output y has shape [B,2] for dimensions [3]", |graph| {
        graph.set_result(ResultKind::Output(OutputId(0)), INPUT);
    });
    planted(
        "gradient u is not a result of this kind of graph",
        |graph| {
            graph.set_result(ResultKind::Gradient(ParamId(0)), PARAM);
        },
    );
    planted("seed in a step", |graph| {
        graph.add(Op::Seed(OutputId(0)), &[]).unwrap();
    });
    planted("adjoint_in in a step", |graph| {
        graph.add(Op::AdjointIn(StateId(0)), &[]).unwrap();
    });
}

#[test]
fn a_result_may_be_the_same_for_every_lane() {
    let mut graph = step();
    let zeros = graph.fill(0.0, &[3]).unwrap();
    graph.set_result(ResultKind::Next(StateId(0)), zeros);
    assert_eq!(verify(&graph, GraphKind::Step), Vec::<String>::new());
}

#[test]
fn an_adjoint_has_its_results_and_no_others() {
    let sound = || {
        let mut graph = step();
        graph.clear_results();
        graph.add_param(ParamSlot {
            trained: false,
            ..ParamSlot::new("fixed", [2, 3])
        });
        graph.set_result(ResultKind::Gradient(ParamId(0)), PARAM);
        let zeros = graph.fill(0.0, &[3]).unwrap();
        graph.set_result(ResultKind::AdjointOut(StateId(0)), zeros);
        graph
    };
    let plant = |fault: &str, plant: &dyn Fn(&mut Graph)| {
        let mut graph = sound();
        assert_eq!(verify(&graph, GraphKind::Adjoint), Vec::<String>::new());
        plant(&mut graph);
        caught(&graph, GraphKind::Adjoint, fault);
    };
    plant("no gradient g", &|graph| {
        graph.add_param(ParamSlot::new("g", []));
    });
    plant("no adjoint_out g", &|graph| {
        graph.add_state(StateSlot::new("g", [], 0.0));
    });
    plant("gradient fixed of a constant", &|graph| {
        graph.set_result(ResultKind::Gradient(ParamId(1)), PARAM);
    });
    plant("gradient u has a lane axis", &|graph| {
        let [input, param] = [INPUT, PARAM];
        let wide = graph.broadcast_to(input, &[2, 3], &[0]).unwrap();
        let lanes = graph.binary(Binary::Mul, wide, param).unwrap();
        graph.set_result(ResultKind::Gradient(ParamId(0)), lanes);
    });
    plant("next h is not a result of this kind of graph", &|graph| {
        graph.set_result(ResultKind::Next(StateId(0)), STATE);
    });
    plant("no input_adjoint w", &|graph| {
        graph.add_input(InputSlot::new("w", [1]));
        let negative = graph.unary(Unary::Neg, INPUT).unwrap();
        graph.set_result(ResultKind::InputAdjoint(InputId(0)), negative);
    });
}
