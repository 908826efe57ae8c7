use super::*;
use crate::ir::{Binary, Boundary, OutputId, OutputSlot, Reduction, ResultKind, StateSlot};

/// The printed result of folding `make(x)`, where `x` is a state of these dimensions.
fn folded(dims: &[usize], make: impl Fn(&mut Graph, ValueId) -> ValueId) -> String {
    let mut graph = Graph::new();
    let state = graph.add_state(StateSlot::new("x", dims, 0.0));
    let x = graph.add(Op::State(state), &[]).unwrap();
    let y = make(&mut graph, x);
    let shape = graph.dims(y).to_vec();
    graph.add_output(OutputSlot::new("y", shape));
    graph.set_result(ResultKind::Output(OutputId(0)), y);
    graph.set_result(ResultKind::Next(state), x);
    let out = run(&graph, &mut Budget::new(None)).unwrap().compacted();
    let result = out.result(ResultKind::Output(OutputId(0))).unwrap();
    text(&out, result)
}

fn text(graph: &Graph, id: ValueId) -> String {
    let value = graph.value(id);
    let op = graph.op_text(&value.op);
    let operands: Vec<String> = value.operands.iter().map(|o| text(graph, *o)).collect();
    match operands.as_slice() {
        [] => op,
        _ => format!("{op}({})", operands.join(", ")),
    }
}

fn with_number(f: Binary, number: f64, first: bool) -> String {
    folded(&[2], |graph, x| {
        let c = graph.fill(number, &[2]).unwrap();
        let [a, b] = if first { [c, x] } else { [x, c] };
        graph.binary(f, a, b).unwrap()
    })
}

#[test]
fn neutral_numbers_go() {
    for (f, number, first, left) in [
        (Binary::Add, 0.0, true, "state x"),
        (Binary::Add, 0.0, false, "state x"),
        (Binary::Sub, 0.0, false, "state x"),
        (Binary::Sub, 0.0, true, "neg(state x)"),
        (Binary::Mul, 1.0, true, "state x"),
        (Binary::Mul, 1.0, false, "state x"),
        (Binary::Mul, -1.0, true, "neg(state x)"),
        (Binary::Div, 1.0, false, "state x"),
        (
            Binary::Div,
            4.0,
            false,
            "mul(state x, broadcast[](const 0.25))",
        ),
        (Binary::Pow, 1.0, false, "state x"),
        (Binary::Pow, 2.0, false, "square(state x)"),
        (Binary::Pow, -1.0, false, "recip(state x)"),
    ] {
        assert_eq!(with_number(f, number, first), left, "{f:?} {number}");
    }
}

#[test]
fn what_could_hide_that_a_number_is_none_stays() {
    assert_eq!(
        with_number(Binary::Mul, 0.0, false),
        "mul(state x, broadcast[](const 0))"
    );
    assert_eq!(
        with_number(Binary::Div, 0.0, false),
        "div(state x, broadcast[](const 0))"
    );
    let tiny = with_number(Binary::Div, 1e-310, false);
    assert!(tiny.starts_with("div(state x, "), "{tiny}");
    let difference = folded(&[2], |graph, x| graph.binary(Binary::Sub, x, x).unwrap());
    assert_eq!(difference, "sub(state x, state x)");
}

#[test]
fn numbers_are_computed() {
    let sum = folded(&[], |graph, x| {
        let (two, three) = (graph.constant(2.0), graph.constant(3.0));
        let product = graph.binary(Binary::Mul, two, three).unwrap();
        let root = graph.unary(Unary::Square, product).unwrap();
        graph.binary(Binary::Mul, root, x).unwrap()
    });
    assert_eq!(sum, "mul(const 36, state x)");
    let nothing = folded(&[], |graph, x| {
        let zero = graph.constant(0.0);
        let product = graph.binary(Binary::Mul, zero, zero).unwrap();
        graph.binary(Binary::Add, x, product).unwrap()
    });
    assert_eq!(nothing, "state x");
}

#[test]
fn negations_meet() {
    let negated = |f: Binary, both: bool| {
        folded(&[2], |graph, x| {
            let minus = graph.unary(Unary::Neg, x).unwrap();
            let exp = graph.unary(Unary::Exp, x).unwrap();
            let a = if both {
                graph.unary(Unary::Neg, exp).unwrap()
            } else {
                exp
            };
            graph.binary(f, a, minus).unwrap()
        })
    };
    assert_eq!(negated(Binary::Add, false), "sub(exp(state x), state x)");
    assert_eq!(negated(Binary::Sub, false), "add(exp(state x), state x)");
    assert_eq!(negated(Binary::Mul, true), "mul(exp(state x), state x)");
    let even = folded(&[2], |graph, x| {
        let minus = graph.unary(Unary::Neg, x).unwrap();
        let twice = graph.unary(Unary::Neg, minus).unwrap();
        let cos = graph.unary(Unary::Cos, minus).unwrap();
        graph.binary(Binary::Mul, twice, cos).unwrap()
    });
    assert_eq!(even, "mul(state x, cos(state x))");
}

#[test]
fn choices_that_are_made() {
    let chosen = |number: f64| {
        folded(&[2], |graph, x| {
            let condition = graph.fill(number, &[2]).unwrap();
            let exp = graph.unary(Unary::Exp, x).unwrap();
            graph.select(condition, x, exp).unwrap()
        })
    };
    assert_eq!(chosen(-2.0), "state x");
    assert_eq!(chosen(0.0), "exp(state x)");
    // The result has lanes and the constant has none, so it stays.
    let stretched = folded(&[2], |graph, x| {
        let one = graph.fill(1.0, &[2]).unwrap();
        graph.select(x, one, one).unwrap()
    });
    assert!(stretched.starts_with("select("), "{stretched}");
    let exchanged = folded(&[2], |graph, x| {
        let not = graph.unary(Unary::Not, x).unwrap();
        let exp = graph.unary(Unary::Exp, x).unwrap();
        graph.select(not, x, exp).unwrap()
    });
    assert_eq!(exchanged, "select(state x, exp(state x), state x)");
}

#[test]
fn clips_in_each_other() {
    let twice = |inner: (f64, f64), outer: (f64, f64)| {
        folded(&[2], |graph, x| {
            let x = graph
                .clip(x, inner.0, inner.1, Boundary::Inclusive)
                .unwrap();
            graph.clip(x, outer.0, outer.1, Boundary::Half).unwrap()
        })
    };
    assert_eq!(
        twice((-1.0, 1.0), (-2.0, 0.5)),
        "clip[-1, 0.5, half](state x)"
    );
    assert_eq!(
        twice((-1.0, 1.0), (2.0, 3.0)),
        "clip[2, 3, half](clip[-1, 1, inclusive](state x))"
    );
}

#[test]
fn moves_are_joined() {
    let broadcasts = folded(&[2], |graph, x| {
        let x = graph.broadcast_to(x, &[3, 2], &[1]).unwrap();
        graph.broadcast_to(x, &[3, 2, 4], &[0, 1]).unwrap()
    });
    assert_eq!(broadcasts, "broadcast[1](state x)");
    let parts = folded(&[6], |graph, x| {
        let a = graph.slice(x, 0, 4).unwrap();
        let b = graph.slice(a, 1, 3).unwrap();
        let c = graph.slice(x, 3, 5).unwrap();
        graph.concat(&[b, c]).unwrap()
    });
    assert_eq!(parts, "slice[1..5](state x)");
    let part = folded(&[3], |graph, x| {
        let exp = graph.unary(Unary::Exp, x).unwrap();
        let both = graph.concat(&[exp, x]).unwrap();
        graph.slice(both, 3, 6).unwrap()
    });
    assert_eq!(part, "state x");
    let padded = folded(&[3], |graph, x| {
        let padded = graph.pad(x, 2, 2).unwrap();
        graph.slice(padded, 3, 5).unwrap()
    });
    assert_eq!(padded, "slice[1..3](state x)");
    let shapes = folded(&[6], |graph, x| {
        let x = graph.reshape(x, &[2, 3]).unwrap();
        graph.reshape(x, &[6]).unwrap()
    });
    assert_eq!(shapes, "state x");
}

#[test]
fn repeats_are_counted() {
    let reduced = |kind, axes: &[usize]| {
        folded(&[2, 3], |graph, x| {
            let x = graph.broadcast_to(x, &[2, 5, 3], &[0, 2]).unwrap();
            graph.reduce(kind, x, axes).unwrap()
        })
    };
    assert_eq!(
        reduced(Reduction::Sum, &[1]),
        "mul(state x, broadcast[](const 5))"
    );
    assert_eq!(reduced(Reduction::Max, &[1]), "state x");
    assert_eq!(
        reduced(Reduction::Sum, &[0, 1]),
        "mul(reduce_sum[0](state x), broadcast[](const 5))"
    );
    assert_eq!(
        reduced(Reduction::Sum, &[2]),
        "reduce_sum[2](broadcast[0, 2](state x))"
    );
}

#[test]
fn rewrites_stop_where_the_budget_ends() {
    let mut graph = Graph::new();
    let state = graph.add_state(StateSlot::new("x", [], 0.0));
    let x = graph.add(Op::State(state), &[]).unwrap();
    let one = graph.constant(1.0);
    let mut y = x;
    for f in [Binary::Mul, Binary::Div, Binary::Pow] {
        y = graph.binary(f, y, one).unwrap();
        y = graph.unary(Unary::Exp, y).unwrap();
    }
    graph.set_result(ResultKind::Next(state), y);
    for limit in 0..5 {
        let mut budget = Budget::new(Some(limit));
        let out = run(&graph, &mut budget).unwrap().compacted();
        assert_eq!(budget.spent(), limit.min(3));
        // The constant disappears with the last of its users.
        let left = 8 - budget.spent() - usize::from(limit >= 3);
        assert_eq!(out.len(), left, "{limit}");
    }
}
