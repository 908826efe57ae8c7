//! A zero adjoint stays zero: branches that are not taken add nothing to a gradient, whatever is computed in them.

use super::run::{
    adjoint_of, assert_close, assert_fused, candle, fused_with, reference, run, Numbers, Outcome,
};
use super::spec::{check, compile, numbers};
use bpmc::engine::candle::Precision;
use bpmc::engine::reference::Reference;
use bpmc::ir::Graph;
use bpmc::step::autodiff::{differentiate, Options};
use bpmc::step::passes::{optimise, Selection, PIPELINE};

/// Candle, the fused kernels, and both graphs after any of the passes, against the reference.
fn backends_agree(step: &Graph, lanes: usize, numbers: &Numbers, label: &str) -> Outcome {
    let expected = run(&mut reference(step, lanes), numbers, 2);
    let label = format!("{label}, {lanes} lanes");
    for (precision, tolerance) in [(Precision::Double, 1e-9), (Precision::Single, 1e-3)] {
        let found = run(&mut candle(step, lanes, precision), numbers, 2);
        assert_close(&found, &expected, tolerance, &format!("{label}, candle"));
    }
    assert_fused(step, lanes, numbers, &expected, (1e-9, 1e-3), &label);
    let with_inputs = adjoint_of(step);
    let adjoint = differentiate(step, Options::default());
    let without = PIPELINE.iter().map(|p| Selection::default().without(p));
    let alone = PIPELINE.iter().map(|p| Selection::level(0).with(p));
    for selection in (0..=3).map(Selection::level).chain(without).chain(alone) {
        let label = format!("{label}, {selection}");
        let out = optimise(step, Some(&with_inputs), &selection).unwrap();
        let mut executor = Reference::new(out.step, out.adjoint.unwrap(), lanes);
        let found = run(&mut executor, numbers, 2);
        assert_close(&found, &expected, 1e-9, &format!("{label}, reference"));
        let out = optimise(step, Some(&adjoint), &selection).unwrap();
        let graphs = (&out.step, out.adjoint.as_ref().unwrap());
        let found = fused_with::<f32>(graphs, out.choices, lanes, numbers, 2).unwrap();
        let expected = Outcome {
            inputs: Vec::new(),
            ..expected.clone()
        };
        assert_close(&found, &expected, 1e-3, &format!("{label}, fused"));
    }
    expected
}

/// A rule that normalises its trace by a sum that is 0 at first.
const GUARDED: &str = "
    network net {
      input x: [2]
      state h: [2] = 0
      plastic up: x -> s {
        weight w ~ uniform(0, 1)
        trained eta = 0.1
        trace hebb = 0
        transmit w + hebb
        grown = hebb + eta * pre * post
        total = sum_pre(abs(grown))
        when total > 0 { hebb <- grown / total }
      }
      s = tanh(up)
      h <- s
      output out = h
    }
    train supervised { loss = half_sum_squares, batch = 1, steps = 3 }";

#[test]
fn a_guarded_division_of_nothing_by_nothing_has_the_gradient_of_the_other_branch() {
    let step = compile(GUARDED).step;
    let mut numbers = numbers(&step, 1, (1, 3), 1.0, 0.0);
    let of = |path: &str| step.params.iter().position(|p| p.path == path).unwrap();
    numbers.params[of("up.w")] = vec![0.5, 0.4, 0.3, 0.2];
    numbers.params[of("up.eta")] = vec![0.1];
    for (t, x) in [[0.0, 0.0], [1.0, 0.5], [1.0, 0.5]].into_iter().enumerate() {
        numbers.inputs[t][0] = x.to_vec();
    }
    for values in numbers.states.iter_mut().chain(&mut numbers.last) {
        values.fill(0.0);
    }
    // Of half the sum of squares: the outputs themselves.
    let outputs = run(&mut reference(&step, 1), &numbers, 1).outputs;
    numbers.seeds.clone_from(&outputs);
    let loss: f64 = outputs
        .iter()
        .flatten()
        .flatten()
        .map(|y| y * y / 2.0)
        .sum();
    assert!((loss - 0.27018).abs() < 5e-6, "{loss}");
    let found = backends_agree(&step, 1, &numbers, "guarded");
    let weights = found.params[of("up.w")].clone().unwrap();
    for (found, expected) in weights.iter().zip([0.38484, 0.36343, 0.19242, 0.18172]) {
        assert!((found - expected).abs() < 5e-6, "{weights:?}");
    }
    assert_eq!(found.params[of("up.eta")], Some(vec![0.0]));
}

/// A network of `n` neurons with an output `z` that is `vector`, and a trace whose next value is `element`.
fn spec(n: usize, vector: &str, element: &str) -> String {
    format!(
        "dim N = {n}
         network net {{
           input x: [4]
           state h: [N] = 0
           plastic rec: h -> y {{
             weight w ~ uniform(-1, 1)
             coeff alpha ~ uniform(-1, 1)
             trained eta = 0.1
             trace t = 0
             transmit w + alpha * t
             t <- {element}
           }}
           v = linear(x)
           r = relu(v)
           least = -max(-r)
           y = tanh(v + rec)
           h <- y
           output z = {vector}
         }}
         train supervised {{ loss = half_sum_squares, batch = 2, steps = 3 }}"
    )
}

/// By turns 0 where `r` is, and there neither finite nor taken.
const VECTORS: &[&str] = &[
    "select(r > 0.3, log(r), v)",
    "select(r > 0.3, y / r, v)",
    "select(!(r <= 0.3), v * (1 / r), y)",
    "select(r < 0.3, v, r ^ (-1.5))",
    "select(v > 0.3, sqrt(v) * v ^ 0.7, v ^ 2)",
    "select(v < 0.1, 0.01 * exp(1000 * v - 100) * y, y)",
    "select(least > 0.3, linear(1 / r), y)",
    "select(least > 0.3, linear(log(r)) * y, y)",
    "select(least > 0.3, softmax(1 / r), y)",
    "select(least > 0.3, max(log(v)) * y, y)",
    "select(least > 0.3, norm(log(r)) * y, y)",
    "select(least > 0.3, y / sum(1 / r), y)",
    "select(r > 0.3 && v > 0.3, 1 / (r * r) - tanh(log(r)), y)",
    "select(r != 0, y * tanh(1 / r), v)",
];

const ELEMENTS: &[&str] = &[
    "select(per_pre(relu(h)) * relu(post) > 0.2, 0.1 * w / (per_pre(relu(h)) * relu(post)), 0.5 * t)",
    "0.5 * t + 0.1 * select(relu(t) > 0.3, log(relu(t)) * pre, post)",
    "select(relu(t) > 0.3, 0.5 * t ^ 0.5 * pre, 0.5 * post)",
    "select(sum_pre(relu(t)) > 0.3, t / sum_pre(relu(t)), pre * post)",
    "select(t > -0.1, 0.2 * pre, eta * post * sqrt(-t))",
    "0.5 * t + select(max_post(relu(t)) > 0.3, 0.1 * log(max_post(relu(t))), eta * pre)",
    "0.5 * t + select(relu(post) > 0.3, 0.1 * pre / relu(post), eta * pre)",
];

#[test]
fn branches_that_are_not_taken_have_no_gradient() {
    for (n, lanes) in [(1, 1), (3, 2)] {
        for vector in VECTORS {
            let step = compile(&spec(n, vector, "0.5 * t + eta * pre * post")).step;
            let numbers = numbers(&step, 5, (lanes, 3), 0.9, 0.9);
            check(&step, &numbers, lanes, vector);
        }
        for element in ELEMENTS {
            let step = compile(&spec(n, "v", element)).step;
            let numbers = numbers(&step, 6, (lanes, 3), 0.9, 0.9);
            check(&step, &numbers, lanes, element);
        }
    }
}

#[test]
fn backends_and_passes_leave_them_without() {
    for (k, n) in [1, 7, 17, 33].into_iter().enumerate() {
        for (index, vector) in VECTORS.iter().enumerate() {
            let element = ELEMENTS[(index + k) % ELEMENTS.len()];
            let step = compile(&spec(n, vector, element)).step;
            let lanes = 1 + (index + k) % 3;
            let numbers = numbers(&step, 7, (lanes, 3), 0.9, 0.9);
            let found =
                backends_agree(&step, lanes, &numbers, &format!("{n}: {vector}, {element}"));
            assert!(
                found.flat().iter().all(|x| x.is_finite()),
                "{vector}, {element}"
            );
        }
    }
}

#[test]
fn a_state_that_is_infinite_but_not_read_has_no_gradient() {
    let text = "network net {
         input x: [4]
         state h: [3] = 0, inverse: [3] = 0, usable: [3] = 0
         r = relu(linear(x))
         h <- tanh(linear(x) + 0.5 * h)
         inverse <- 1 / r
         usable <- r > 0.3
         output z = select(usable, inverse * h, h) + select(-max(-usable), linear(inverse), h)
       }
       train supervised { loss = half_sum_squares, batch = 2, steps = 4 }";
    let step = compile(text).step;
    let mut numbers = numbers(&step, 8, (2, 4), 0.9, 0.9);
    for (k, slot) in step.states.iter().enumerate() {
        if slot.path != "h" {
            numbers.states[k].fill(0.0);
            numbers.last[k].fill(0.0);
        }
    }
    let whole = run(&mut reference(&step, 2), &numbers, 2);
    assert!(whole.last_states.iter().flatten().any(|x| x.is_infinite()));
    assert!(whole
        .outputs
        .iter()
        .flatten()
        .flatten()
        .all(|x| x.is_finite()));
    for gradient in whole.params.iter().flatten().chain(&whole.states) {
        assert!(gradient.iter().all(|x| x.is_finite()), "{whole:?}");
    }
    let finite = |outcome: Outcome| Outcome {
        last_states: Vec::new(),
        inputs: Vec::new(),
        ..outcome
    };
    let expected = finite(whole);
    let found = finite(run(&mut candle(&step, 2, Precision::Single), &numbers, 2));
    assert_close(&found, &expected, 1e-3, "candle");
    let adjoint = differentiate(&step, Options::default());
    for level in 0..=3 {
        let out = optimise(&step, Some(&adjoint), &Selection::level(level)).unwrap();
        let graphs = (&out.step, out.adjoint.as_ref().unwrap());
        let found = fused_with::<f32>(graphs, out.choices, 2, &numbers, 2).unwrap();
        assert_close(&finite(found), &expected, 1e-3, &format!("level {level}"));
    }
}

/// Recurrences that start from nothing: the norm of a zero vector, and what is divided by it.
#[test]
fn long_runs_from_zero_are_finite() {
    let bodies = [
        "n = norm(h)  h <- select(n > 0, y / n, y)",
        "n = norm(h)  h <- y / max(n, 0.1)",
        "n = sum(abs(h))  h <- select(n == 0, y, y * log(1 + n) / n)",
        "n = norm(h)  h <- select(n > 0, y * n ^ (-0.5), y)",
    ];
    for body in bodies {
        for n in [1, 5, 16] {
            let text = format!(
                "network net {{
                   input x: [3]
                   state h: [{n}] = 0
                   plastic rec: h -> y {{
                     weight w ~ uniform(-0.5, 0.5)
                     trained eta = 0.1
                     trace t = 0
                     transmit w + t
                     grown = t + eta * pre * post
                     total = norm_pre(grown)
                     when total > 0 {{ t <- grown / max(total, 1) }}
                   }}
                   y = tanh(linear(x) + rec)
                   {body}
                   output z = linear(y, 2)
                 }}
                 train supervised {{ loss = half_sum_squares, batch = 2, steps = 40 }}"
            );
            let step = compile(&text).step;
            let mut numbers = numbers(&step, 9, (2, 40), 0.5, 0.5);
            numbers
                .states
                .iter_mut()
                .for_each(|values| values.fill(0.0));
            // Nothing comes in at first.
            for inputs in &mut numbers.inputs[..3] {
                inputs.iter_mut().for_each(|values| values.fill(0.0));
            }
            let bias = step.params.iter().position(|p| p.path == "y.linear.bias");
            numbers.params[bias.unwrap()].fill(0.0);
            let expected = run(&mut reference(&step, 2), &numbers, 7);
            let numbers_of = expected.flat();
            assert!(numbers_of.iter().all(|x| x.is_finite()), "{body}");
            let found = run(&mut candle(&step, 2, Precision::Double), &numbers, 7);
            assert_close(&found, &expected, 1e-8, body);
            assert_fused(&step, 2, &numbers, &expected, (1e-8, 2e-3), body);
        }
    }
}
