//! Every operation alone: its adjoint against finite differences, Candle against the reference.

use crate::gradients::cases::{cases, Case};
use crate::gradients::run::{
    assert_close, candle, check_differences, reference, run, Draws, Numbers,
};
use bpmc::engine::candle::Precision;
use bpmc::engine::Executor;
use bpmc::ir::{
    Graph, InputSlot, Op, OutputId, OutputSlot, ParamSlot, ResultKind, StateSlot, ValueId,
};

/// Sizes of vectors and matrices, `[N,1]` among them.
const SIZES: [(usize, usize); 5] = [(1, 1), (2, 5), (5, 1), (1, 3), (5, 2)];

/// The operation on inputs where operands have lanes and parameters where not. The value that
/// operand 0 and the result have go to a state too, so that next values are covered.
fn graph(case: &Case, lanes: &[bool]) -> Graph {
    let mut graph = Graph::new();
    let operands: Vec<ValueId> = case
        .operands
        .iter()
        .zip(lanes)
        .enumerate()
        .map(|(k, ((dims, _), lane))| {
            let path = format!("operand{k}");
            let leaf = if *lane {
                Op::Input(graph.add_input(InputSlot::new(path, dims.clone())))
            } else {
                Op::Param(graph.add_param(ParamSlot::new(path, dims.clone())))
            };
            graph.add(leaf, &[]).unwrap()
        })
        .collect();
    let result = graph.add(case.op.clone(), &operands).unwrap();
    let dims = graph.dims(result).to_vec();
    graph.add_output(OutputSlot::new("result", dims.clone()));
    let state = graph.add_state(StateSlot::new("kept", dims, 0.0));
    graph.set_result(ResultKind::Output(OutputId(0)), result);
    graph.set_result(ResultKind::Next(state), result);
    graph
}

fn numbers(case: &Case, lanes: &[bool], graph: &Graph, batch: usize, draws: &mut Draws) -> Numbers {
    let mut numbers = draws.numbers(graph, batch, 1, 1.0);
    let (mut inputs, mut params) = (0, 0);
    for ((_, domain), lane) in case.operands.iter().zip(lanes) {
        let values = if *lane {
            inputs += 1;
            &mut numbers.inputs[0][inputs - 1]
        } else {
            params += 1;
            &mut numbers.params[params - 1]
        };
        for value in values {
            *value = domain.map(*value);
        }
    }
    numbers
}

fn each_case(batch: usize, mut check: impl FnMut(&Graph, &Numbers, &str)) -> usize {
    let mut draws = Draws(7);
    let mut count = 0;
    for (n, m) in SIZES {
        for case in cases(n, m) {
            for lanes in case.combinations() {
                let graph = graph(&case, &lanes);
                let numbers = numbers(&case, &lanes, &graph, batch, &mut draws);
                let label = format!("{:?} on {:?}, lanes {lanes:?}", case.op, case.operands);
                check(&graph, &numbers, &label);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn adjoints_are_finite_differences() {
    for batch in [1, 3] {
        let count = each_case(batch, |graph, numbers, label| {
            let mut executor = reference(graph, batch);
            let outcome = run(&mut executor, numbers, 1);
            // The adjoint of a stopped value is 0 by definition.
            let stopped = graph.ids().any(|id| graph.value(id).op == Op::StopGradient);
            if stopped {
                let gradients = outcome.params.iter().flatten();
                let inputs = outcome.inputs.iter().flatten();
                assert!(gradients.chain(inputs).flatten().all(|x| *x == 0.0));
            } else {
                check_differences(&mut executor, numbers, &outcome, 2e-8, label);
            }
        });
        assert!(count > 1000, "{count} cases");
    }
}

#[test]
fn candle_agrees_with_the_reference() {
    for batch in [1, 7] {
        each_case(batch, |graph, numbers, label| {
            let expected = run(&mut reference(graph, batch), numbers, 1);
            let double = run(&mut candle(graph, batch, Precision::Double), numbers, 1);
            assert_close(&double, &expected, 1e-12, label);
            // The same numbers, as f32 has them.
            let single = run(&mut candle(graph, batch, Precision::Single), numbers, 1);
            assert_close(&single, &expected, 1e-4, label);
        });
    }
}

#[test]
fn leaves_without_operands_have_their_values() {
    let mut graph = Graph::new();
    let mask = Op::RangeMask {
        size: 4,
        start: 1,
        end: 3,
    };
    let mask = graph.add(mask, &[]).unwrap();
    let half = graph.fill(0.5, &[4]).unwrap();
    for (k, value) in [mask, half].into_iter().enumerate() {
        graph.add_output(OutputSlot::new(format!("y{k}"), [4]));
        graph.set_result(ResultKind::Output(OutputId(k as u32)), value);
    }
    let numbers = Draws(1).numbers(&graph, 2, 1, 1.0);
    let expected = vec![vec![0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0], vec![0.5; 8]];
    let outcome = run(&mut reference(&graph, 2), &numbers, 1);
    assert_eq!(outcome.outputs[0], expected);
    let outcome = run(&mut candle(&graph, 2, Precision::Single), &numbers, 1);
    assert_eq!(outcome.outputs[0], expected);
}

/// Powers with bases that are 0 or negative, where `exp(b log a)` would not do.
#[test]
fn powers_of_zero_and_of_negative_numbers() {
    let mut graph = Graph::new();
    let slots = ["a", "b"].map(|path| graph.add_input(InputSlot::new(path, [8])));
    let [a, b] = slots.map(|slot| graph.add(Op::Input(slot), &[]).unwrap());
    let power = graph.binary(bpmc::ir::Binary::Pow, a, b).unwrap();
    graph.add_output(OutputSlot::new("y", [8]));
    graph.set_result(ResultKind::Output(OutputId(0)), power);

    let mut numbers = Draws(1).numbers(&graph, 1, 1, 1.0);
    numbers.inputs[0] = vec![
        vec![0.0, 0.0, 0.0, 0.0, -2.0, -2.0, -2.0, 3.0],
        vec![0.0, 1.0, 2.0, 0.5, 3.0, 2.0, -1.0, 0.0],
    ];
    numbers.seeds[0] = vec![vec![1.0; 8]];
    let values = [1.0, 0.0, 0.0, 0.0, -8.0, 4.0, -0.5, 1.0];
    let by_base = [0.0, 1.0, 0.0, 0.0, 12.0, -4.0, -0.25, 0.0];
    let by_exponent = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0_f64.ln()];
    let check = |outcome: crate::gradients::run::Outcome| {
        let rows = [
            (&outcome.outputs[0][0], values),
            (&outcome.inputs[0][0], by_base),
            (&outcome.inputs[0][1], by_exponent),
        ];
        for (found, expected) in rows {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
            }
        }
    };
    check(run(&mut reference(&graph, 1), &numbers, 1));
    check(run(&mut candle(&graph, 1, Precision::Double), &numbers, 1));
}

#[test]
fn wrong_sizes_are_errors() {
    let mut graph = Graph::new();
    let slot = graph.add_param(ParamSlot::new("w", [2]));
    let w = graph.add(Op::Param(slot), &[]).unwrap();
    graph.add_output(OutputSlot::new("y", [2]));
    graph.set_result(ResultKind::Output(OutputId(0)), w);
    let mut executor = candle(&graph, 3, Precision::Single);
    let error = executor.set_parameters(&[vec![1.0; 3]]).unwrap_err();
    assert_eq!(error.to_string(), "parameter `w`: 3 instead of 2");
    let error = executor.set_parameters(&[]).unwrap_err();
    assert_eq!(error.to_string(), "number of parameters: 0 instead of 1");
    let error = executor.upload(&[0.0; 4], &[2]).unwrap_err();
    assert_eq!(error.to_string(), "tensor: 4 instead of 6");
    let mut numbers = Draws(1).numbers(&graph, 3, 1, 1.0);
    numbers.params = vec![vec![4.0, 5.0]];
    let outcome = run(&mut executor, &numbers, 1);
    assert_eq!(outcome.outputs[0][0], [4.0, 5.0, 4.0, 5.0, 4.0, 5.0]);
}

/// The adjoint under a sum over lanes is the same in every lane and still counts once for each.
#[test]
fn a_shared_operand_under_a_lane_sum_counts_once_per_lane() {
    let mut graph = Graph::new();
    let slot = graph.add_input(InputSlot::new("x", [2]));
    let x = graph.add(Op::Input(slot), &[]).unwrap();
    let slot = graph.add_param(ParamSlot::new("p", [2]));
    let p = graph.add(Op::Param(slot), &[]).unwrap();
    let sum = graph.binary(bpmc::ir::Binary::Add, x, p).unwrap();
    let total = graph.lane_sum(sum).unwrap();
    graph.add_output(OutputSlot::new("y", [2]));
    graph.set_result(ResultKind::Output(OutputId(0)), total);

    let mut numbers = Draws(1).numbers(&graph, 3, 1, 1.0);
    numbers.seeds[0] = vec![vec![1.0, 10.0, 2.0, 20.0, 4.0, 40.0]];
    for outcome in [
        run(&mut reference(&graph, 3), &numbers, 1),
        run(&mut candle(&graph, 3, Precision::Double), &numbers, 1),
    ] {
        assert_eq!(outcome.inputs[0][0], [7.0, 70.0, 7.0, 70.0, 7.0, 70.0]);
        assert_eq!(outcome.params[0], Some(vec![21.0, 210.0]));
    }
}
