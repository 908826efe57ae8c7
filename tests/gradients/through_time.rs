//! Many steps: checkpoints change no bit, and depth meets no limit.

use crate::gradients::plastic::{retroactive, Sizes};
use crate::gradients::run::{candle, reference, run, Draws, Numbers};
use bpmc::engine::bptt::{least_memory_interval, zero_adjoint, Recorded, Rollout, StepInputs};
use bpmc::engine::candle::Precision;
use bpmc::engine::Executor;
use bpmc::ir::{Binary, Graph, InputSlot, Op, OutputSlot, ParamSlot, ResultKind, StateSlot, Unary};

/// `h <- tanh(a h + x)`, output `h`.
fn leaky() -> Graph {
    let mut graph = Graph::new();
    let a = graph.add_param(ParamSlot::new("a", [2]));
    let x = graph.add_input(InputSlot::new("x", [2]));
    let h = graph.add_state(StateSlot::new("h", [2], 0.0));
    let y = graph.add_output(OutputSlot::new("y", [2]));
    let a = graph.add(Op::Param(a), &[]).unwrap();
    let x = graph.add(Op::Input(x), &[]).unwrap();
    let old = graph.add(Op::State(h), &[]).unwrap();
    let kept = graph.binary(Binary::Mul, a, old).unwrap();
    let sum = graph.binary(Binary::Add, kept, x).unwrap();
    let new = graph.unary(Unary::Tanh, sum).unwrap();
    graph.set_result(ResultKind::Next(h), new);
    graph.set_result(ResultKind::Output(y), new);
    graph
}

#[test]
fn any_interval_gives_the_same_bits() {
    let graph = retroactive(&Sizes {
        inputs: 2,
        hidden: 3,
        actions: 2,
    });
    let numbers = Draws(5).numbers(&graph, 3, 23, 0.8);
    let mut executor = candle(&graph, 3, Precision::Single);
    let all = run(&mut executor, &numbers, 23);
    assert!(all.flat().iter().all(|x| x.is_finite()));
    for interval in [0, 1, 2, 3, 5, 11, 12, 22, 24, 1000] {
        assert_eq!(run(&mut executor, &numbers, interval), all, "{interval}");
    }
    let mut executor = reference(&graph, 3);
    assert_eq!(
        run(&mut executor, &numbers, 4),
        run(&mut executor, &numbers, 7)
    );
}

#[test]
fn no_step_at_all_gives_back_the_final_adjoint() {
    let graph = leaky();
    let numbers = Numbers {
        inputs: Vec::new(),
        ..Draws(5).numbers(&graph, 2, 0, 1.0)
    };
    let outcome = run(&mut reference(&graph, 2), &numbers, 3);
    assert_eq!(outcome.states, numbers.last);
    assert_eq!(outcome.last_states, numbers.states);
}

#[test]
fn twenty_thousand_steps_keep_few_states() {
    const STEPS: usize = 20_000;
    let graph = leaky();
    let interval = least_memory_interval(STEPS);
    assert_eq!(interval, 142);
    let numbers = Draws(3).numbers(&graph, 2, STEPS, 0.9);
    let mut oracle = reference(&graph, 2);
    oracle.set_parameters(&numbers.params).unwrap();
    let inputs = numbers.inputs.iter().map(|inputs| StepInputs {
        inputs: inputs.clone(),
        noises: Vec::new(),
    });
    let mut recorded = Recorded::new(inputs.collect());
    let initial = oracle.initial_states().unwrap();
    let rollout = Rollout::forward(&mut oracle, initial, STEPS, interval, &mut recorded).unwrap();
    assert!(rollout.kept_states() <= 2 * interval);
    // Without seeds there is nothing to send back.
    let nothing = zero_adjoint(&oracle).unwrap();
    let adjoints = rollout
        .backward(&mut oracle, nothing.clone(), |_, _| Ok(nothing.clone()))
        .unwrap();
    assert_eq!(adjoints.states, nothing);

    let expected = run(&mut oracle, &numbers, interval);
    assert_eq!(run(&mut oracle, &numbers, STEPS), expected);
    let found = run(
        &mut candle(&graph, 2, Precision::Double),
        &numbers,
        interval,
    );
    crate::gradients::run::assert_close(&found, &expected, 1e-10, "candle");
    // A recurrence with |a| < 1 forgets: the gradient is that of the recursion written out by hand.
    let by_hand = hand_written_gradient(&numbers);
    for (found, expected) in expected.params[0].iter().flatten().zip(by_hand) {
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs(),
            "{found} for {expected}"
        );
    }
}

fn hand_written_gradient(numbers: &Numbers) -> [f64; 2] {
    let steps = numbers.inputs.len();
    let mut gradient = [0.0; 2];
    for lane in 0..2 {
        for (k, gradient) in gradient.iter_mut().enumerate() {
            let place = 2 * lane + k;
            let a = numbers.params[0][k];
            let mut states = vec![numbers.states[0][place]];
            for t in 0..steps {
                states.push((a * states[t] + numbers.inputs[t][0][place]).tanh());
            }
            let mut adjoint = numbers.last[0][place];
            for t in (0..steps).rev() {
                let y = states[t + 1];
                let drive = (adjoint + numbers.seeds[t][0][place]) * (1.0 - y * y);
                *gradient += drive * states[t];
                adjoint = drive * a;
            }
        }
    }
    gradient
}
