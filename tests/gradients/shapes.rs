//! The shape rule of every operation: a result that is right, and each way to be wrong.

use bpmc::ir::{
    infer, Binary, Boundary, Graph, InputId, InputSlot, Op, OutputId, OutputSlot, ParamId,
    ParamSlot, Reduction, Shape, StateId, StateSlot, Unary,
};

fn b(dims: &[usize]) -> Shape {
    Shape::lane(dims)
}

fn s(dims: &[usize]) -> Shape {
    Shape::shared(dims)
}

fn slots() -> Graph {
    let mut graph = Graph::new();
    graph.add_param(ParamSlot::new("w", [4, 3]));
    graph.add_input(InputSlot::new("x", [2]));
    graph.add_state(StateSlot::new("h", [3], 0.0));
    graph.add_output(OutputSlot::new("y", []));
    graph
}

fn broadcast(dims: &[usize], from: &[usize]) -> Op {
    Op::Broadcast {
        dims: dims.to_vec(),
        from: from.to_vec(),
    }
}

fn sum(axes: &[usize]) -> Op {
    Op::Reduce {
        kind: Reduction::Sum,
        axes: axes.to_vec(),
    }
}

fn reshape(dims: &[usize]) -> Op {
    Op::Reshape {
        dims: dims.to_vec(),
    }
}

fn clip(lo: f64, hi: f64) -> Op {
    Op::Clip {
        lo: lo.into(),
        hi: hi.into(),
        boundary: Boundary::Half,
    }
}

fn mask(size: usize, start: usize, end: usize) -> Op {
    Op::RangeMask { size, start, end }
}

const ADD: Op = Op::Binary(Binary::Add);
const TANH: Op = Op::Unary(Unary::Tanh);
const V_M: Op = Op::MatVec { transposed: false };
const V_MT: Op = Op::MatVec { transposed: true };

#[test]
fn results_have_the_shape_of_the_rule() {
    let rows = [
        (Op::Param(ParamId(0)), vec![], s(&[4, 3])),
        (Op::Input(InputId(0)), vec![], b(&[2])),
        (Op::State(StateId(0)), vec![], b(&[3])),
        (Op::AdjointIn(StateId(0)), vec![], b(&[3])),
        (Op::Seed(OutputId(0)), vec![], b(&[])),
        (Op::Const(1.5.into()), vec![], s(&[])),
        (mask(5, 2, 2), vec![], s(&[5])),
        (TANH, vec![s(&[2])], s(&[2])),
        (ADD, vec![s(&[2, 3]), b(&[2, 3])], b(&[2, 3])),
        (ADD, vec![s(&[]), s(&[])], s(&[])),
        (Op::Select, vec![b(&[2]), s(&[2]), s(&[2])], b(&[2])),
        (clip(-1.0, 1.0), vec![b(&[2, 2])], b(&[2, 2])),
        (clip(0.0, f64::INFINITY), vec![s(&[1])], s(&[1])),
        (
            broadcast(&[4, 2, 3], &[0, 2]),
            vec![b(&[4, 3])],
            b(&[4, 2, 3]),
        ),
        (broadcast(&[4], &[]), vec![s(&[])], s(&[4])),
        (sum(&[1]), vec![b(&[4, 2, 3])], b(&[4, 3])),
        (sum(&[0, 1]), vec![s(&[4, 2])], s(&[])),
        (Op::LaneSum, vec![b(&[4])], s(&[4])),
        (reshape(&[2, 3]), vec![b(&[6, 1])], b(&[2, 3])),
        (Op::Concat, vec![s(&[2]), b(&[1]), s(&[3])], b(&[6])),
        (Op::Concat, vec![s(&[4, 2]), s(&[4, 1])], s(&[4, 3])),
        (Op::Slice { start: 1, end: 3 }, vec![s(&[4, 3])], s(&[4, 2])),
        (Op::Slice { start: 1, end: 3 }, vec![b(&[3])], b(&[2])),
        (
            Op::Pad {
                before: 1,
                after: 2,
            },
            vec![s(&[3])],
            s(&[6]),
        ),
        (V_M, vec![b(&[4]), s(&[4, 3])], b(&[3])),
        (V_MT, vec![s(&[3]), s(&[4, 3])], s(&[4])),
        (Op::Outer, vec![b(&[4]), s(&[3])], s(&[4, 3])),
        (Op::Softmax, vec![b(&[4])], b(&[4])),
        (Op::StopGradient, vec![b(&[4, 1])], b(&[4, 1])),
    ];
    for (op, operands, expected) in rows {
        let operands: Vec<&Shape> = operands.iter().collect();
        assert_eq!(infer(&op, &operands, &slots()), Ok(expected), "{op:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let huge = usize::MAX / 2;
    let rows = [
        (Op::Param(ParamId(1)), vec![], "param: no slot param1"),
        (Op::Seed(OutputId(3)), vec![], "seed: no slot output3"),
        (
            Op::Input(InputId(0)),
            vec![s(&[])],
            "input: 1 operands instead of 0",
        ),
        (
            mask(3, 2, 4),
            vec![],
            "range_mask: 2..4 is not a range of [3]",
        ),
        (
            mask(0, 0, 0),
            vec![],
            "range_mask: [0] has an empty dimension",
        ),
        (TANH, vec![], "tanh: 0 operands instead of 1"),
        (
            ADD,
            vec![b(&[2]), b(&[1])],
            "add: dimensions of [B,2] and [B,1] differ",
        ),
        (
            ADD,
            vec![b(&[2]), s(&[])],
            "add: dimensions of [B,2] and [] differ",
        ),
        (
            Op::Select,
            vec![b(&[]), b(&[2]), b(&[2])],
            "select: dimensions of [B] and [B,2] differ",
        ),
        (
            clip(1.0, -1.0),
            vec![b(&[])],
            "clip: bounds 1 and -1 are not ordered",
        ),
        (
            broadcast(&[3, 3], &[1, 0]),
            vec![b(&[3, 3])],
            "broadcast: [1, 0] are not increasing dimensions below 2",
        ),
        (
            broadcast(&[3, 3], &[2]),
            vec![b(&[3])],
            "broadcast: [2] are not increasing dimensions below 2",
        ),
        (
            broadcast(&[3, 3], &[0]),
            vec![b(&[1])],
            "broadcast: size 1 of [B,1] does not fit dimension 0 of [3, 3]",
        ),
        (
            broadcast(&[3], &[0]),
            vec![b(&[])],
            "broadcast: 1 places for the dimensions of [B]",
        ),
        (
            broadcast(&[1, 1, 1, 1], &[]),
            vec![s(&[])],
            "broadcast: 4 dimensions, more than 3",
        ),
        (
            sum(&[]),
            vec![b(&[2])],
            "reduce_sum: no dimension to reduce",
        ),
        (
            sum(&[1]),
            vec![b(&[2])],
            "reduce_sum: [1] are not increasing dimensions below 1",
        ),
        (
            sum(&[0, 0]),
            vec![b(&[2, 2])],
            "reduce_sum: [0, 0] are not increasing dimensions below 2",
        ),
        (
            Op::LaneSum,
            vec![s(&[2])],
            "lane_sum: operand [2] has no lane axis",
        ),
        (
            reshape(&[4]),
            vec![b(&[5])],
            "reshape: [B,5] does not have the elements of [4]",
        ),
        (Op::Concat, vec![], "concat: no operands"),
        (
            Op::Concat,
            vec![b(&[2]), b(&[])],
            "concat: [B] has no dimension",
        ),
        (
            Op::Concat,
            vec![s(&[2, 3]), s(&[3, 3])],
            "concat: dimensions of [2,3] and [3,3] differ before the last",
        ),
        (
            Op::Slice { start: 2, end: 2 },
            vec![b(&[3])],
            "slice: 2..2 is not a range of [B,3]",
        ),
        (
            Op::Slice { start: 2, end: 4 },
            vec![b(&[3])],
            "slice: 2..4 is not a range of [B,3]",
        ),
        (
            Op::Pad {
                before: usize::MAX,
                after: 1,
            },
            vec![b(&[3])],
            "pad: size overflows",
        ),
        (
            V_M,
            vec![b(&[3]), s(&[4, 3])],
            "mat_vec: [B,3] does not fit [4,3]",
        ),
        (
            V_MT,
            vec![b(&[4]), s(&[4, 3])],
            "mat_vec: [B,4] does not fit [4,3]",
        ),
        (
            V_M,
            vec![b(&[4]), b(&[4, 3])],
            "mat_vec: matrix [B,4,3] has a lane axis",
        ),
        (V_M, vec![b(&[4]), s(&[4])], "mat_vec: [4] is not a matrix"),
        (
            Op::Outer,
            vec![b(&[4]), b(&[4, 3])],
            "outer: [B,4,3] is not a vector",
        ),
        (
            Op::Softmax,
            vec![b(&[2, 2])],
            "softmax: [B,2,2] is not a vector",
        ),
    ];
    for (op, operands, expected) in rows {
        let operands: Vec<&Shape> = operands.iter().collect();
        let error = infer(&op, &operands, &slots()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let op = broadcast(&[huge, 3], &[]);
    let error = infer(&op, &[&s(&[])], &slots()).unwrap_err();
    assert!(error.to_string().ends_with("overflows"), "{error}");
}
