//! Candle and the fused kernels against the reference, on whole specs, at sizes and lanes that catch broadcasting mistakes.

use crate::gradients::functions;
use crate::gradients::library::{self, all_uses, Use};
use crate::gradients::run::{assert_close, assert_fused, candle, reference, run};
use crate::gradients::spec::{compile, numbers};
use bpmc::engine::candle::Precision;
use bpmc::ir::Graph;
use bpmc::lang::sema::functions::FUNCTIONS;

/// Both precisions at 1 lane and at 7.
pub(super) fn compare(graph: &Graph, seed: u64, scale: f64, label: &str) {
    for lanes in [1, 7] {
        let numbers = numbers(graph, seed, (lanes, 3), scale, scale);
        let expected = run(&mut reference(graph, lanes), &numbers, 2);
        // Large numbers go back and forth between the clips: rounding of single precision grows with them.
        let single = if scale > 1.0 { 4e-4 } else { 1e-4 };
        for (precision, tolerance) in [(Precision::Double, 1e-10), (Precision::Single, single)] {
            let found = run(&mut candle(graph, lanes, precision), &numbers, 2);
            let label = format!("{label}, {lanes} lanes, {precision:?}");
            assert_close(&found, &expected, tolerance, &label);
        }
        let label = format!("{label}, {lanes} lanes");
        assert_fused(graph, lanes, &numbers, &expected, (1e-10, single), &label);
    }
}

#[test]
fn rules_at_odd_sizes() {
    for size in [1, 3, 7, 13] {
        for used in all_uses(size, size) {
            compare(
                &compile(&library::spec(used)).step,
                31,
                0.5,
                &format!("{used:?}"),
            );
        }
    }
}

#[test]
fn rules_with_one_neuron_on_a_side() {
    for (pre, post) in [(7, 1), (1, 7), (13, 3), (3, 13)] {
        for used in all_uses(pre, post) {
            compare(
                &compile(&library::spec(used)).step,
                32,
                0.5,
                &format!("{used:?}"),
            );
        }
    }
}

#[test]
fn saturated_rules() {
    for used in all_uses(7, 7) {
        compare(
            &compile(&library::spec(used)).step,
            33,
            1.5,
            &format!("saturated {used:?}"),
        );
    }
}

#[test]
fn functions_at_odd_sizes() {
    for size in [1, 3, 7, 13] {
        for info in FUNCTIONS {
            let graph = compile(&functions::spec(&functions::uses(info), size)).step;
            // Small numbers, for `exp` makes large ones of a few times 1, which f32 then loses.
            compare(&graph, 38, 0.4, &format!("{} at {size}", info.name));
        }
        for (expression, uses) in functions::operators().each() {
            let graph = compile(&functions::spec(&uses, size)).step;
            compare(&graph, 36, 0.4, &format!("{expression} at {size}"));
        }
    }
}

#[test]
fn a_rule_of_other_sizes_is_another_graph() {
    // The comparison would be worth nothing if sizes did not reach the graph.
    let used = |pre, post| Use {
        rule: "simple",
        alpha: "post",
        fanout: true,
        pre,
        post,
    };
    let graph = |pre, post| compile(&library::spec(used(pre, post))).step;
    let trace = |graph: &Graph| graph.states.iter().find(|s| s.trace).unwrap().dims.clone();
    assert_eq!(trace(&graph(7, 1)), [7, 1]);
    assert_eq!(trace(&graph(1, 7)), [1, 7]);
    let gain = graph(13, 7);
    let gain = gain
        .params
        .iter()
        .find(|s| s.path == "rec.M.fanout.gain")
        .unwrap();
    assert_eq!(gain.dims, [7]);
}

#[test]
fn a_state_that_nothing_reads_leaves_with_its_last_value() {
    let text = "
network net {
  input x: [2]
  state h: [3] = 0
  state k: [2] = 5
  h <- 1
  k <- x
  output y = linear(x, 2)
}
train supervised { batch = 1 }
";
    compare(&compile(text).step, 34, 0.5, "unread states");
}

#[test]
fn an_output_that_is_a_state_is_what_entered_the_step() {
    let text = "
network net {
  input x: [2]
  state h: [3] = 0.5
  state k: [1] = 5
  h <- tanh(linear(x) + linear(h))
  k <- k + mean(h)
  output y = h
  output one = k
  output same = stop(h)
}
train supervised { batch = 1 }
";
    compare(&compile(text).step, 35, 0.5, "states as outputs");
}
