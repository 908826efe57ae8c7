use super::*;
use crate::ir::{
    InputSlot, OutputId, OutputSlot, ParamId, ParamSlot, ResultKind, StateId, StateSlot,
};

/// The operands of test gradients: vectors of both sides, a scalar and a matrix per lane, and a parameter.
struct Parts {
    graph: Graph,
    pre: ValueId,
    post: ValueId,
    scalar: ValueId,
    trace: ValueId,
    weight: ValueId,
}

const DIMS: [usize; 2] = [3, 2];

fn parts() -> Parts {
    let mut graph = Graph::new();
    let pre = graph.add_input(InputSlot::new("pre", [3]));
    let post = graph.add_input(InputSlot::new("post", [2]));
    let scalar = graph.add_input(InputSlot::new("m", []));
    graph.add_state(StateSlot::new("trace", DIMS, 0.0));
    graph.add_param(ParamSlot::new("w", DIMS));
    let leaf = |graph: &mut Graph, op| graph.add(op, &[]).unwrap();
    let pre = leaf(&mut graph, Op::Input(pre));
    let post = leaf(&mut graph, Op::Input(post));
    let scalar = leaf(&mut graph, Op::Input(scalar));
    Parts {
        pre: graph.broadcast_to(pre, &DIMS, &[0]).unwrap(),
        post: graph.broadcast_to(post, &DIMS, &[1]).unwrap(),
        scalar: graph.broadcast_to(scalar, &DIMS, &[]).unwrap(),
        trace: leaf(&mut graph, Op::State(StateId(0))),
        weight: leaf(&mut graph, Op::Param(ParamId(0))),
        graph,
    }
}

/// The gradient that is the lane sum of `make`, after the pass, as an expression.
fn gradient(make: impl Fn(&mut Parts) -> ValueId) -> String {
    let mut parts = parts();
    let x = make(&mut parts);
    let sum = parts.graph.lane_sum(x).unwrap();
    optimised(parts.graph, sum)
}

fn optimised(mut graph: Graph, gradient: ValueId) -> String {
    graph.set_result(ResultKind::Gradient(ParamId(0)), gradient);
    let out = run(&graph, &mut Budget::new(None)).unwrap();
    text(&out, out.result(ResultKind::Gradient(ParamId(0))).unwrap())
}

fn text(graph: &Graph, id: ValueId) -> String {
    let value = graph.value(id);
    let op = match &value.op {
        Op::Param(_) | Op::State(_) | Op::Input(_) => {
            return graph
                .op_text(&value.op)
                .split(' ')
                .next_back()
                .unwrap()
                .to_owned()
        }
        op => graph.op_text(op),
    };
    let operands: Vec<String> = value.operands.iter().map(|o| text(graph, *o)).collect();
    format!("{op}({})", operands.join(", "))
}

fn mul(parts: &mut Parts, a: ValueId, b: ValueId) -> ValueId {
    parts.graph.binary(Binary::Mul, a, b).unwrap()
}

#[test]
fn a_product_of_two_sides_is_an_outer_product() {
    let found = gradient(|p| mul(p, p.post, p.pre));
    assert_eq!(found, "outer(pre, post)");
}

#[test]
fn factors_of_one_side_and_of_none_join_their_side() {
    let found = gradient(|p| {
        let a = mul(p, p.scalar, p.pre);
        let b = mul(p, p.post, p.post);
        let b = p.graph.unary(Unary::Tanh, b).unwrap();
        let product = p.graph.binary(Binary::Div, b, p.pre).unwrap();
        let product = p.graph.unary(Unary::Neg, product).unwrap();
        mul(p, a, product)
    });
    assert_eq!(
        found,
        "neg(outer(div(mul(broadcast[](m), pre), pre), tanh(mul(post, post))))"
    );
}

#[test]
fn sums_of_outer_products_are_taken_apart_and_others_are_not() {
    let found = gradient(|p| {
        let a = mul(p, p.post, p.pre);
        let b = mul(p, p.scalar, p.post);
        p.graph.binary(Binary::Sub, a, b).unwrap()
    });
    assert_eq!(
        found,
        "sub(outer(pre, post), broadcast[1](lane_sum(mul(broadcast[](m), post))))"
    );
    let found = gradient(|p| {
        let a = mul(p, p.post, p.pre);
        p.graph.binary(Binary::Add, a, p.trace).unwrap()
    });
    assert!(found.starts_with("lane_sum(add("), "{found}");
}

#[test]
fn what_is_the_same_at_every_step_goes_outside() {
    let found = gradient(|p| {
        let product = mul(p, p.weight, p.pre);
        mul(p, product, p.post)
    });
    assert_eq!(found, "mul(outer(pre, post), w)");
}

#[test]
fn a_trace_keeps_the_sum_in_the_sweep() {
    let found = gradient(|p| {
        let product = mul(p, p.post, p.pre);
        mul(p, product, p.trace)
    });
    assert_eq!(
        found,
        "lane_sum(mul(mul(broadcast[1](post), broadcast[0](pre)), trace))"
    );
    // A term without lanes counts once per lane, so it is not factorized.
    let found = gradient(|p| {
        let product = mul(p, p.post, p.pre);
        p.graph.binary(Binary::Add, product, p.weight).unwrap()
    });
    assert!(found.starts_with("lane_sum(add("), "{found}");
}

#[test]
fn a_scalar_is_summed_over_connections_first() {
    let reduced = |read_elsewhere: bool| {
        let mut p = parts();
        let (pre, trace) = (p.pre, p.trace);
        let x = mul(&mut p, pre, trace);
        let sum = p.graph.lane_sum(x).unwrap();
        let all = p.graph.sum(sum, &[0, 1]).unwrap();
        p.graph.add_output(OutputSlot::new("y", DIMS));
        if read_elsewhere {
            p.graph.set_result(ResultKind::Output(OutputId(0)), sum);
        }
        optimised(p.graph, all)
    };
    assert_eq!(
        reduced(false),
        "lane_sum(reduce_sum[0, 1](mul(broadcast[0](pre), trace)))"
    );
    assert!(reduced(true).starts_with("reduce_sum[0, 1](lane_sum("));
}

#[test]
fn rewrites_stop_where_the_budget_ends() {
    let mut p = parts();
    let (pre, post, scalar) = (p.pre, p.post, p.scalar);
    let a = mul(&mut p, pre, post);
    let b = mul(&mut p, a, scalar);
    for (k, x) in [a, b].into_iter().enumerate() {
        let sum = p.graph.lane_sum(x).unwrap();
        p.graph
            .set_result(ResultKind::Gradient(ParamId(k as u32)), sum);
    }
    for limit in 0..3 {
        let mut budget = Budget::new(Some(limit));
        let out = run(&p.graph, &mut budget).unwrap();
        let outers = out
            .ids()
            .filter(|id| out.value(*id).op == Op::Outer)
            .count();
        assert_eq!((outers, budget.spent()), (limit, limit));
    }
}
