//! The work of one iteration, counted from the graphs of its step and adjoint.
//!
//! The count is a property of the rule, not of the generated program: every operation of the graphs once per
//! step and lane, and every byte that kernels would move in one pass over the connections per direction. The
//! forward pass reads and writes each trace and reads the matrices; steps recomputed for the backward pass do
//! so once more. The backward pass reads traces and matrices, and reads and writes the adjoints of traces and
//! those per-connection gradients that are not outer products. Vectors, and matrices that all lanes share in
//! a matrix product, cost no bytes here, because a cache or a register holds them. A program may move more
//! bytes; it moves fewer only with another form of the rule.

use crate::engine::experiment::Experiment;
use crate::engine::plan::Plan;
use crate::ir::{Binary, Graph, Op, Unary, ValueId};
use serde::{Deserialize, Serialize};

/// The bytes of an f32.
const BYTES: f64 = 4.0;

/// The bytes and operations of one iteration, over all lanes and steps.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Work {
    /// Bytes read or written.
    pub bytes: f64,
    /// Arithmetic operations; a multiply-add counts as two.
    pub operations: f64,
}

impl Work {
    /// Counts the work of one iteration under `plan`, over all stages.
    pub fn of(experiment: &Experiment, plan: &Plan) -> Work {
        let stages = experiment.stages.iter();
        let stages =
            stages.map(|stage| Work::of_stage(&stage.graphs.step, &stage.graphs.adjoint, plan));
        stages.fold(Work::default(), |all, own| Work {
            bytes: all.bytes + own.bytes,
            operations: all.operations + own.operations,
        })
    }

    fn of_stage(step: &Graph, adjoint: &Graph, plan: &Plan) -> Work {
        let lanes = plan.lanes;
        let steps = plan.steps as f64;
        // The first step of each segment starts from stored traces.
        let replayed = steps - plan.steps.div_ceil(plan.interval.max(1)) as f64;
        let one = |graph: &Graph, counted: &[bool]| Work {
            bytes: bytes(graph, counted),
            operations: operations(graph, counted),
        };
        let forward = one(step, &vec![true; step.len()]);
        let replay = one(step, &trace_updates(step));
        let backward = one(adjoint, &adjoint_values(adjoint));
        let together = |part: fn(&Work) -> f64| {
            lanes as f64 * (steps * (part(&forward) + part(&backward)) + replayed * part(&replay))
        };
        Work {
            bytes: together(|work| work.bytes),
            operations: together(|work| work.operations),
        }
    }
}

/// Returns true if a value exists for each connection of a bundle.
fn per_connection(graph: &Graph, id: ValueId) -> bool {
    graph.shape(id).dims.len() >= 2
}

/// The values that produce the next traces, from per-connection values alone: vectors are stored.
fn trace_updates(step: &Graph) -> Vec<bool> {
    let mut counted = vec![false; step.len()];
    for (result, id) in step.results() {
        if matches!(result, crate::ir::ResultKind::Next(_)) {
            mark(step, *id, &mut counted);
        }
    }
    counted
}

/// The values of an adjoint that must be computed: those that depend on adjoints, and the per-connection
/// values of the step that they read. The vectors of the step are stored by the forward pass.
fn adjoint_values(adjoint: &Graph) -> Vec<bool> {
    let mut from_adjoints = vec![false; adjoint.len()];
    let mut counted = vec![false; adjoint.len()];
    for id in adjoint.ids() {
        let value = adjoint.value(id);
        from_adjoints[id.index()] = matches!(value.op, Op::Seed(_) | Op::AdjointIn(_))
            || value.operands.iter().any(|o| from_adjoints[o.index()]);
    }
    for id in adjoint.ids().filter(|id| from_adjoints[id.index()]) {
        counted[id.index()] = true;
        for operand in &adjoint.value(id).operands {
            if !from_adjoints[operand.index()] {
                mark(adjoint, *operand, &mut counted);
            }
        }
    }
    counted
}

/// Marks a per-connection value and all per-connection values it is computed from.
fn mark(graph: &Graph, id: ValueId, counted: &mut [bool]) {
    let mut stack = vec![id];
    while let Some(id) = stack.pop() {
        if per_connection(graph, id) && !std::mem::replace(&mut counted[id.index()], true) {
            stack.extend(&graph.value(id).operands);
        }
    }
}

/// The number of operations per step and lane.
fn operations(graph: &Graph, counted: &[bool]) -> f64 {
    let mut total = 0.0;
    for id in graph.ids().filter(|id| counted[id.index()]) {
        let value = graph.value(id);
        let operand = |k: usize| value.operands.get(k).map(|o| graph.shape(*o));
        let in_lanes = value.shape.lane || operand(0).is_some_and(|shape| shape.lane);
        if !in_lanes {
            continue;
        }
        let read = operand(0).map_or(0, |shape| shape.elements()) as f64;
        let written = value.shape.elements() as f64;
        total += match &value.op {
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Clip { .. } | Op::ClipMask { .. } => {
                written
            }
            Op::Reduce { .. } | Op::LaneSum | Op::Scatter(_) => read,
            Op::MatVec { .. } => 2.0 * read * written,
            Op::Outer => 2.0 * written,
            // The maximum, differences, exponentials, their sum and quotients.
            Op::Softmax => 5.0 * written,
            Op::Param(_)
            | Op::Input(_)
            | Op::State(_)
            | Op::Noise(_)
            | Op::Const(_)
            | Op::Seed(_)
            | Op::AdjointIn(_)
            | Op::Broadcast { .. }
            | Op::Reshape { .. }
            | Op::Concat
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::RangeMask { .. }
            | Op::Gather(_)
            | Op::StopGradient => 0.0,
        };
    }
    total
}

/// The number of bytes per step and lane.
fn bytes(graph: &Graph, counted: &[bool]) -> f64 {
    let mut numbers = 0;
    let mut matrices = vec![false; graph.len()];
    let backward = graph
        .ids()
        .any(|id| matches!(graph.value(id).op, Op::AdjointIn(_)));
    for id in graph.ids().filter(|id| counted[id.index()]) {
        let value = graph.value(id);
        let elements = value.shape.elements();
        match &value.op {
            Op::State(_) if per_connection(graph, id) => {
                // The backward pass only reads a trace.
                numbers += if backward { elements } else { 2 * elements };
            }
            Op::AdjointIn(_) if per_connection(graph, id) => numbers += 2 * elements,
            Op::LaneSum
                if per_connection(graph, id)
                    && !is_product(graph, value.operands[0])
                    && !only_reduced(graph, id) =>
            {
                numbers += 2 * elements;
            }
            _ => {}
        }
        if value.shape.lane && per_connection(graph, id) && !is_matrix_product(graph, id) {
            for operand in &value.operands {
                matrices[operand.index()] |= is_matrix(graph, *operand);
            }
        }
    }
    for id in graph.ids().filter(|id| matrices[id.index()]) {
        numbers += graph.shape(id).elements();
    }
    numbers as f64 * BYTES
}

/// Returns true if a value is a matrix in memory that all lanes read.
fn is_matrix(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    !value.shape.lane
        && value.shape.dims.len() >= 2
        && !matches!(value.op, Op::Broadcast { .. } | Op::Const(_))
}

/// Returns true if every reader of a value reduces a dimension of it.
fn only_reduced(graph: &Graph, id: ValueId) -> bool {
    let users = graph.users(id);
    let reduces = |user: &ValueId| matches!(graph.value(*user).op, Op::Reduce { .. });
    !users.is_empty() && users.iter().all(reduces)
}

/// Returns true if a value is the elementwise product inside a matrix product whose matrix all lanes share.
fn is_matrix_product(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    matches!(value.op, Op::Binary(Binary::Mul))
        && value
            .operands
            .iter()
            .all(|o| is_matrix(graph, *o) || is_product(graph, *o))
        && only_reduced(graph, id)
}

/// Returns true if a per-connection value is an outer product of a pre and a post vector. Its sum over lanes and
/// steps is one matrix product after the episode.
fn is_product(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    match &value.op {
        Op::Broadcast { from, .. } => from.len() < 2,
        Op::Binary(Binary::Mul) => value.operands.iter().all(|o| is_product(graph, *o)),
        Op::Unary(Unary::Neg) => is_product(graph, value.operands[0]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Work;
    use crate::driver::{compile, from_disk};
    use crate::engine::plan::Plan;
    use crate::step::adjoint;
    use crate::step::autodiff::Options;

    fn work(body: &str, modulator: &str) -> (Work, Plan) {
        let text = format!(
            "network agent {{
               input obs: [task.obs]
               state h: [10] = 0
               plastic rec: h -> y {{ {body} }}
               y = tanh(linear(obs) + rec)
               {modulator}
               h <- y
               output policy = linear(y, task.actions)
               output value = linear(y, 1)
             }}
             task maze {{ steps = 20 }}
             train a2c {{ batch = 3 }}"
        );
        let compilation = compile("t.bpm", &text, &[], &from_disk).unwrap();
        let step = compilation.program.unwrap().step;
        let backward = adjoint(&step, Options::default()).unwrap();
        let plan = Plan::batched(&step, &backward, 3, 20);
        (Work::of_stage(&step, &backward, &plan), plan)
    }

    /// Simple modulation, counted by hand: each connection of the maze moves 52 bytes a step, 8 of them to
    /// recompute traces.
    #[test]
    fn bytes_of_simple_modulation() {
        let (work, plan) = work(
            "weight w ~ uniform(0, 0.1)
             coeff alpha ~ uniform(0, 0.1) per connection
             trace hebb = 0
             transmit w + alpha * hebb
             hebb <- clip(hebb + m * pre * post, -1, 1)",
            "modulator m = tanh(linear(y, 1))",
        );
        let segments = 20usize.div_ceil(plan.interval) as f64;
        let per_connection = 44.0 * 20.0 + 8.0 * (20.0 - segments);
        assert_eq!(work.bytes, per_connection * 100.0 * 3.0);
        assert!(work.operations > 30.0 * 100.0 * 3.0 * 20.0);
        assert!(work.operations < 60.0 * 100.0 * 3.0 * 20.0);
    }

    #[test]
    fn without_a_trace_nothing_per_connection_is_moved() {
        let (work, _) = work("weight w ~ uniform(0, 0.1)\n transmit w", "");
        assert_eq!(work.bytes, 0.0);
        // The recurrent matrix: one product forward, one backward, one outer product.
        assert!(work.operations > 6.0 * 100.0 * 3.0 * 20.0);
        assert!(work.operations < 30.0 * 100.0 * 3.0 * 20.0);
    }

    #[test]
    fn a_second_trace_costs_more() {
        let (work, plan) = work(
            "weight w ~ uniform(0, 0.1)
             coeff alpha ~ uniform(0, 0.1) per post
             trace hebb = 0, e = 0
             transmit w + alpha * hebb
             hebb <- clip(hebb + m * e, -1, 1)
             e <- 0.9 * e + 0.1 * pre * post",
            "modulator m = tanh(linear(y, 1))",
        );
        let segments = 20usize.div_ceil(plan.interval) as f64;
        // Forward: two traces and w. Backward: both, their adjoints and w.
        let forward = 16.0 + 4.0;
        let backward = 8.0 + 16.0 + 4.0;
        let per_connection = (forward + backward) * 20.0 + 16.0 * (20.0 - segments);
        assert_eq!(work.bytes, per_connection * 100.0 * 3.0);
    }
}
