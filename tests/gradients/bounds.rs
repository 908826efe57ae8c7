//! Values exactly where derivatives jump, where finite differences say nothing: the stated rules.

use crate::gradients::run::{candle, reference, run, Draws, Outcome};
use bpmc::engine::candle::Precision;
use bpmc::ir::{
    Binary, Boundary, Graph, InputSlot, Op, OutputId, OutputSlot, Reduction, ResultKind,
    ShapeError, Unary, ValueId,
};

/// The adjoints of the inputs for a seed of 1, by both backends.
fn adjoints(
    inputs: &[&[f64]],
    build: impl Fn(&mut Graph, &[ValueId]) -> Result<ValueId, ShapeError>,
) -> Vec<Vec<f64>> {
    let mut graph = Graph::new();
    let leaves: Vec<ValueId> = inputs
        .iter()
        .enumerate()
        .map(|(k, values)| {
            let slot = InputSlot::new(format!("x{k}"), [values.len()]);
            let input = graph.add_input(slot);
            graph.add(Op::Input(input), &[]).unwrap()
        })
        .collect();
    let y = build(&mut graph, &leaves).unwrap();
    let dims = graph.dims(y).to_vec();
    graph.add_output(OutputSlot::new("y", dims));
    graph.set_result(ResultKind::Output(OutputId(0)), y);
    let mut numbers = Draws(1).numbers(&graph, 1, 1, 1.0);
    numbers.inputs[0] = inputs.iter().map(|values| values.to_vec()).collect();
    numbers.seeds[0][0].fill(1.0);
    let of = |outcome: Outcome| outcome.inputs[0].clone();
    let found = of(run(&mut reference(&graph, 1), &numbers, 1));
    for precision in [Precision::Single, Precision::Double] {
        let other = of(run(&mut candle(&graph, 1, precision), &numbers, 1));
        assert_eq!(other, found);
    }
    found
}

#[test]
fn clip_on_its_bounds() {
    let x = [-2.0, -1.0, 0.5, 1.0, 2.0];
    let rows = [
        (Boundary::Inclusive, [0.0, 1.0, 1.0, 1.0, 0.0]),
        (Boundary::Exclusive, [0.0, 0.0, 1.0, 0.0, 0.0]),
        (Boundary::Half, [0.0, 0.5, 1.0, 0.5, 0.0]),
        (Boundary::StraightThrough, [1.0; 5]),
    ];
    for (boundary, expected) in rows {
        let found = adjoints(&[&x], |graph, x| graph.clip(x[0], -1.0, 1.0, boundary));
        assert_eq!(found[0], expected, "{boundary:?}");
    }
}

#[test]
fn equal_operands_of_minimum_and_maximum_share() {
    let (a, b) = ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]);
    let found = adjoints(&[&a, &b], |graph, x| graph.binary(Binary::Max, x[0], x[1]));
    assert_eq!(found, [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]);
    let found = adjoints(&[&a, &b], |graph, x| graph.binary(Binary::Min, x[0], x[1]));
    assert_eq!(found, [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]);
}

#[test]
fn equal_largest_elements_share() {
    let found = adjoints(&[&[3.0, 1.0, 3.0, 2.0]], |graph, x| {
        graph.reduce(Reduction::Max, x[0], &[0])
    });
    assert_eq!(found[0], [0.5, 0.0, 0.5, 0.0]);
}

#[test]
fn element_functions_where_they_bend() {
    let rows = [
        (Unary::Relu, [0.0, 0.0, 1.0]),
        (Unary::Abs, [-1.0, 0.0, 1.0]),
        (Unary::Sign, [0.0; 3]),
        (Unary::Not, [0.0; 3]),
    ];
    for (f, expected) in rows {
        let found = adjoints(&[&[-4.0, 0.0, 4.0]], |graph, x| graph.unary(f, x[0]));
        assert_eq!(found[0], expected, "{f:?}");
    }
    let found = adjoints(&[&[0.0, 4.0]], |graph, x| graph.unary(Unary::Sqrt, x[0]));
    assert_eq!(found[0], [0.0, 0.25]);
    // The norm of a trace that is still 0.
    let found = adjoints(&[&[0.0, 0.0]], |graph, x| {
        let square = graph.unary(Unary::Square, x[0])?;
        let sum = graph.sum(square, &[0])?;
        graph.unary(Unary::Sqrt, sum)
    });
    assert_eq!(found[0], [0.0, 0.0]);
}
