//! Every rule of the library, with coefficients of each granularity and modulators of each kind.

use crate::gradients::run::{assert_close, candle, reference, run};
use crate::gradients::spec::{check, compile, numbers};
use bpmc::engine::candle::Precision;
use bpmc::lang::library::LIBRARY;

/// How a rule is used.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub rule: &'static str,
    /// `connection`, `post`, `pre` or `network`.
    pub alpha: &'static str,
    /// Whether the modulator is fanned out.
    pub fanout: bool,
    pub pre: usize,
    pub post: usize,
}

/// Whether a rule takes a modulator.
pub fn is_modulated(rule: &str) -> bool {
    let text = bpmc::lang::library::text(rule).unwrap();
    // Long lists of parameters stand on several lines.
    let text: String = text.split_whitespace().collect();
    text.contains(&format!("rule{rule}(M"))
}

/// A recurrent bundle where both sides are equal, else a feed-forward one beside fixed recurrence.
pub fn spec(used: Use) -> String {
    let Use {
        rule,
        alpha,
        fanout,
        pre,
        post,
    } = used;
    let argument = match (is_modulated(rule), fanout) {
        (true, true) => "fanout(m)",
        (true, false) => "m",
        (false, _) => "",
    };
    let coefficient = if rule == "nonplastic" {
        String::new()
    } else {
        format!("coeff alpha ~ uniform(-1, 1) per {alpha}")
    };
    let (source, current) = if pre == post {
        ("h".to_owned(), "linear(x) + rec")
    } else {
        ("z".to_owned(), "linear(h) + rec")
    };
    format!(
        "network net {{
           input x: [3]
           state h: [{post}] = 0
           z = tanh(linear(x, {pre}))
           plastic rec: {source} -> y using {rule}({argument}) {{
             weight w ~ uniform(-1, 1)
             {coefficient}
           }}
           y = tanh({current})
           modulator m = tanh(linear(y, 1))
           h <- y
           output out = linear(y, 2)
           output gate = m
         }}
         train supervised {{ loss = half_sum_squares, batch = 2, steps = 4 }}"
    )
}

/// All uses of all rules at given sizes.
pub fn all_uses(pre: usize, post: usize) -> Vec<Use> {
    let mut all = Vec::new();
    for (rule, _) in LIBRARY {
        for alpha in ["connection", "post", "pre", "network"] {
            for fanout in [false, true] {
                let skipped = (fanout && !is_modulated(rule))
                    || (*rule == "nonplastic" && alpha != "connection");
                if !skipped {
                    all.push(Use {
                        rule,
                        alpha,
                        fanout,
                        pre,
                        post,
                    });
                }
            }
        }
    }
    all
}

#[test]
fn rules_agree_with_finite_differences() {
    assert!(LIBRARY.len() >= 11);
    for (pre, post) in [(3, 3), (4, 3)] {
        for used in all_uses(pre, post) {
            let graph = compile(&spec(used)).step;
            let numbers = numbers(&graph, 21, (2, 4), 0.8, 0.8);
            check(&graph, &numbers, 2, &format!("{used:?}"));
        }
    }
}

#[test]
fn saturated_rules_agree_with_finite_differences() {
    let mut clipped = 0;
    for used in all_uses(3, 3) {
        let graph = compile(&spec(used)).step;
        // Traces start within 2.5, where a bound is 1 (or -1): most entries saturate at once, and some
        // come back.
        let numbers = numbers(&graph, 22, (2, 4), 1.5, 2.5);
        let label = format!("saturated {used:?}");
        let text = bpmc::lang::library::text(used.rule).unwrap();
        let bounded = text.contains("<- clip(");
        if !bounded && used.rule != "clip_on_read" {
            // Nothing to saturate.
            continue;
        }
        check(&graph, &numbers, 2, &label);
        let trace = graph
            .states
            .iter()
            .position(|s| s.path == "rec.hebb")
            .unwrap();
        let after = |steps: usize| {
            let mut first = numbers.clone();
            first.inputs.truncate(steps);
            run(&mut reference(&graph, 2), &first, 1).last_states[trace].clone()
        };
        let values: Vec<f64> = (1..=4).flat_map(after).collect();
        let on_bound = values.iter().filter(|x| x.abs() == 1.0).count();
        if bounded {
            assert!(on_bound > values.len() / 10, "{label}: little is saturated");
            assert!(on_bound < values.len(), "{label}: all is saturated");
            assert!(values.iter().all(|x| x.abs() <= 1.0), "{label}");
            clipped += on_bound;
        } else {
            assert!(values.iter().any(|x| x.abs() > 1.0), "{label}");
        }
    }
    assert!(clipped > 1000, "{clipped}");
}

#[test]
fn lanes_do_not_mix() {
    // A change in one lane leaves the others' outputs alone, bit by bit.
    for used in all_uses(3, 3) {
        let graph = compile(&spec(used)).step;
        let numbers = numbers(&graph, 23, (3, 4), 1.0, 1.0);
        let mut moved = numbers.clone();
        for x in &mut moved.inputs[0][0][0..3] {
            *x += 0.5;
        }
        let mut executor = reference(&graph, 3);
        let (before, after) = (
            run(&mut executor, &numbers, 1),
            run(&mut executor, &moved, 1),
        );
        for (a, b) in before.outputs.iter().zip(&after.outputs) {
            for (a, b) in a.iter().zip(b) {
                let width = a.len() / 3;
                assert_ne!(a[..width], b[..width], "{used:?}");
                assert_eq!(a[width..], b[width..], "{used:?}");
            }
        }
    }
}

#[test]
fn twenty_thousand_steps_need_no_deep_stack() {
    const STEPS: usize = 20_000;
    let used = Use {
        rule: "retroactive",
        alpha: "connection",
        fanout: true,
        pre: 2,
        post: 2,
    };
    let graph = compile(&spec(used)).step;
    let numbers = numbers(&graph, 24, (1, STEPS), 0.5, 0.5);
    let go = move || {
        let interval = bpmc::engine::bptt::least_memory_interval(STEPS);
        let expected = run(&mut reference(&graph, 1), &numbers, interval);
        let found = run(
            &mut candle(&graph, 1, Precision::Double),
            &numbers,
            interval,
        );
        (expected, found)
    };
    // The main thread of a program has 8 MiB; a recursion over steps or values would not fit in this.
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let (expected, found) = thread.spawn(go).unwrap().join().unwrap();
    assert_eq!(expected.outputs.len(), STEPS);
    let flat = expected.flat();
    assert!(flat.iter().all(|x| x.is_finite()));
    assert!(expected
        .params
        .iter()
        .flatten()
        .flatten()
        .any(|x| *x != 0.0));
    assert_close(&found, &expected, 1e-7, "candle");
}
