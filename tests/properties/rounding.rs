//! How much of a difference rounding explains.

use crate::case::Compiled;
use crate::chance::Chance;
use crate::run::{candle, reference, run, Numbers, Outcome};
use crate::tensors::{tensors, wrong};
use bpmc::backend::candle::Precision;
use bpmc::ir::{Binary, Graph, Op, Reduction, ResultKind, Unary, ValueId};

/// Relative changes of numbers that stand for rounding: a few units in the last place.
pub const DOUBLE: f64 = 8.0 * f64::EPSILON;
pub const SINGLE: f64 = 4.0 * f32::EPSILON as f64;

/// How much more than the numbers of a case its steps may round, each of them anew.
pub const STEPS: f64 = 16.0;

/// By how much rounding can move each tensor of a case.
pub fn explained(compiled: &Compiled, expected: &Outcome, ulp: f64) -> Vec<f64> {
    let mut most = vec![0.0; tensors(&compiled.graph, expected).len()];
    for draw in 0..8 {
        let changed = changed(&compiled.numbers, ulp, draw);
        let reordered = reordered(&compiled.graph, ulp, draw);
        for (graph, numbers) in [(&compiled.graph, &changed), (&reordered, &compiled.numbers)] {
            let mut oracle = reference(graph, compiled.lanes);
            let outcome = run(&mut oracle, numbers, compiled.interval);
            moved(&mut most, &compiled.graph, outcome, expected);
        }
    }
    if ulp == SINGLE {
        let mut single = candle(&compiled.graph, compiled.lanes, Precision::Single);
        let outcome = run(&mut single, &compiled.numbers, compiled.interval);
        moved(&mut most, &compiled.graph, outcome, expected);
    }
    most
}

fn moved(most: &mut [f64], graph: &Graph, mut outcome: Outcome, expected: &Outcome) {
    if expected.inputs.is_empty() {
        outcome.inputs.clear();
    }
    for wrong in wrong(graph, &outcome, expected, 0.0) {
        most[wrong.index] = most[wrong.index].max(wrong.error);
    }
}

/// The step with sums that err by a few units in the last place of their largest part, as sums in another order do. A
/// sum of zeros does not err.
fn reordered(graph: &Graph, ulp: f64, draw: u64) -> Graph {
    let mut chance = Chance::new(draw);
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    for slot in &graph.inputs {
        out.add_input(slot.clone());
    }
    for slot in &graph.states {
        out.add_state(slot.clone());
    }
    for slot in &graph.noises {
        out.add_noise(slot.clone());
    }
    for slot in &graph.outputs {
        out.add_output(slot.clone());
    }
    let mut map: Vec<ValueId> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let operands: Vec<ValueId> = value.operands.iter().map(|o| map[o.index()]).collect();
        let mut copy = out.add(value.op.clone(), &operands).unwrap();
        let sum = matches!(
            value.op,
            Op::Reduce {
                kind: Reduction::Sum,
                ..
            }
        );
        if sum {
            let absolute = out.add(Op::Unary(Unary::Abs), &operands).unwrap();
            let size = out.add(value.op.clone(), &[absolute]).unwrap();
            let share = Op::Const((ulp * chance.unit()).into());
            let mut share = out.add(share, &[]).unwrap();
            let dims = value.shape.dims.clone();
            if !dims.is_empty() {
                let from = Vec::new();
                share = out.add(Op::Broadcast { dims, from }, &[share]).unwrap();
            }
            let error = out.add(Op::Binary(Binary::Mul), &[size, share]).unwrap();
            copy = out.add(Op::Binary(Binary::Add), &[copy, error]).unwrap();
        }
        map.push(copy);
    }
    for (result, id) in graph.results() {
        debug_assert!(matches!(
            result,
            ResultKind::Output(_) | ResultKind::Next(_)
        ));
        out.set_result(*result, map[id.index()]);
    }
    out
}

fn changed(numbers: &Numbers, ulp: f64, draw: u64) -> Numbers {
    let mut chance = Chance::new(draw);
    let mut change = |values: &mut Vec<f64>| {
        for x in values {
            // Quarters are bounds, truths and zeros.
            if (*x * 4.0).fract() != 0.0 {
                *x *= 1.0 + ulp * chance.unit();
            }
        }
    };
    let mut moved = numbers.clone();
    moved.params.iter_mut().for_each(&mut change);
    moved.states.iter_mut().for_each(&mut change);
    moved.last.iter_mut().for_each(&mut change);
    for step in [&mut moved.inputs, &mut moved.noises, &mut moved.seeds] {
        step.iter_mut().flatten().for_each(&mut change);
    }
    moved
}
