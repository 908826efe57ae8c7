//! First values that are computed mean what giving them by hand means, and delays what a chain of states does.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::run;
use crate::scratch::scratch;
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

static PLACES: AtomicUsize = AtomicUsize::new(0);

fn place(name: &str, spec: &str) -> PathBuf {
    let number = PLACES.fetch_add(1, Ordering::Relaxed);
    let root = scratch(&format!("first-{name}-{number}"));
    std::fs::write(root.join("net.bpm"), spec).unwrap();
    root
}

fn template(root: &Path) -> Value {
    let (code, out, err) = run(root, &["grad", "net.bpm", "--template"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    serde_json::from_str(&out).unwrap()
}

fn grad(root: &Path, values: &Value) -> Value {
    std::fs::write(root.join("values.json"), values.to_string()).unwrap();
    let (code, out, err) = run(root, &["grad", "net.bpm", "--values", "values.json"]);
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn same(a: &[f64], b: &[f64], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-12, "{what}: {a} and {b}");
    }
}

/// The sum over lanes of what each lane has.
fn over_lanes(values: &Value) -> Vec<f64> {
    let lanes: Vec<Vec<f64>> = values.as_array().unwrap().iter().map(numbers).collect();
    let size = lanes[0].len();
    let sum = |k: usize| lanes.iter().map(|lane| lane[k]).sum();
    (0..size).map(sum).collect()
}

/// A network whose first values are as given.
fn network(h: &str, hebb: &str, d: &str) -> String {
    format!(
        "network net {{
          input x: [3]
          trained h0: [4] ~ uniform(-0.5, 0.5)
          state h: [4] {h}
          plastic rec: h -> y {{
            weight w ~ uniform(-0.5, 0.5)
            trained eta = 0.1
            trace hebb {hebb}
            trace d {d}
            transmit w + 0.3 * hebb + d
            hebb <- clip(hebb + eta * pre * post, -1, 1)
            d <- 0.9 * d
          }}
          y = tanh(linear(x) + rec)
          h <- y
          output out = linear(y, 2) + 0 * sum(h0)
        }}
        train supervised {{ loss = half_sum_squares, batch = 2, steps = 4 }}"
    )
}

#[test]
fn computed_first_values_are_those_given_by_hand() {
    let computed = place("computed", &network("= 2 * h0", "= -w", "~ normal(0, 0.1)"));
    let by_hand = place("by_hand", &network("= 0", "= 0", "= 0"));
    let mut values = template(&computed);
    // Templates leave such states to the spec.
    assert_eq!(values.get("initial_state"), None);
    for (name, input) in values["inputs"].as_object_mut().unwrap() {
        assert_eq!(name, "x");
        *input = json!(vec![vec![vec![0.3, -0.2, 0.5]; 2]; 4]);
    }
    // Draws: those of the first step count, others do not.
    let draw = |step: usize, lane: usize| {
        let element = |k: usize| 0.1 * (k as f64 - 7.0) + step as f64 + 0.05 * lane as f64;
        let row = |i: usize| (0..4).map(|j| element(4 * i + j)).collect::<Vec<f64>>();
        (0..4).map(row).collect::<Vec<_>>()
    };
    let step = |t: usize| (0..2).map(|lane| draw(t, lane)).collect::<Vec<_>>();
    values["noise"]["rec.d.first"] = json!((0..4).map(step).collect::<Vec<_>>());
    let found = grad(&computed, &values);

    let mut given = template(&by_hand);
    given["inputs"] = values["inputs"].clone();
    given["parameters"] = values["parameters"].clone();
    let h0 = numbers(&values["parameters"]["h0"]);
    let h: Vec<f64> = h0.iter().map(|x| 2.0 * x).collect();
    let w = numbers(&values["parameters"]["rec.w"]);
    let hebb: Vec<Vec<f64>> = w
        .chunks(4)
        .map(|row| row.iter().map(|x| -x).collect())
        .collect();
    given["initial_state"] = json!({
        "h": [h, h], "rec.hebb": [hebb, hebb], "rec.d": [draw(0, 0), draw(0, 1)],
    });
    let expected = grad(&by_hand, &given);

    same(
        &numbers(&found["outputs"]["out"]),
        &numbers(&expected["outputs"]["out"]),
        "outputs",
    );
    for name in ["rec.eta", "y.linear.weight", "out.linear.bias"] {
        let of = |one: &Value| numbers(&one["gradients"][name]);
        same(&of(&found), &of(&expected), name);
    }
    // The chain rule by hand: h = 2 h0, hebb = -w.
    let first = &expected["initial_state_gradients"];
    let of_h: Vec<f64> = over_lanes(&first["h"]).iter().map(|x| 2.0 * x).collect();
    same(&numbers(&found["gradients"]["h0"]), &of_h, "h0");
    assert!(of_h.iter().any(|x| x.abs() > 1e-3));
    let direct = numbers(&expected["gradients"]["rec.w"]);
    let of_w: Vec<f64> = over_lanes(&first["rec.hebb"])
        .iter()
        .zip(direct)
        .map(|(through, direct)| direct - through)
        .collect();
    same(&numbers(&found["gradients"]["rec.w"]), &of_w, "w");
}

#[test]
fn a_state_that_the_file_gives_begins_there() {
    let computed = place("given", &network("= 2 * h0", "= -w", "= 0"));
    let mut values = template(&computed);
    values["inputs"]["x"] = json!(vec![vec![vec![0.3, -0.2, 0.5]; 2]; 4]);
    values["initial_state"] = json!({ "h": [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]] });
    let found = grad(&computed, &values);
    let given = place("given_by_hand", &network("= 0", "= -w", "= 0"));
    let expected = grad(&given, &values);
    assert_eq!(found["outputs"], expected["outputs"]);
    assert_eq!(numbers(&found["gradients"]["h0"]), [0.0; 4]);
}

#[test]
fn first_values_return_with_each_trial() {
    // Three trials of 2 steps: h grows by 1 in each step, and begins at 10 each time.
    let root = place(
        "trial",
        "network net {
          input x: [1]
          trained ten = 10
          state h: [2] = ten reset trial
          h <- h + 1
          output out = h + 0 * x + 0 * external trial_start
        }
        train supervised { loss = half_sum_squares, batch = 1, steps = 6 }",
    );
    let mut values = template(&root);
    values["inputs"]["external.trial_start"] = json!([[1.0], [0.0], [1.0], [0.0], [1.0], [0.0]]);
    let found = grad(&root, &values);
    let out = numbers(&found["outputs"]["out"]);
    assert_eq!(
        out,
        [10.0, 10.0, 11.0, 11.0, 10.0, 10.0, 11.0, 11.0, 10.0, 10.0, 11.0, 11.0]
    );
    // The derivative by `ten` is 1 in every step for both elements: the sum of the outputs.
    assert_eq!(
        numbers(&found["gradients"]["ten"]),
        [out.iter().sum::<f64>()]
    );
}

/// The outputs of a network without parameters for x = 1, 2, 3, ...
fn outputs(name: &str, body: &str, inputs: &Value) -> Vec<f64> {
    let root = place(
        name,
        &format!(
            "network net {{ {body} }}
             train supervised {{ loss = half_sum_squares, batch = 1, steps = 4 }}"
        ),
    );
    let mut values = template(&root);
    values["inputs"] = json!({ "x": inputs });
    numbers(&grad(&root, &values)["outputs"]["out"])
}

#[test]
fn delays_ranks_and_numbers_by_hand() {
    let steps = json!([[[1.0, 5.0]], [[2.0, 6.0]], [[3.0, 7.0]], [[4.0, 8.0]]]);
    let delayed = |body: &str| outputs("delay", body, &steps);
    assert_eq!(
        delayed("input x: [2] output out = delay(x, 2)"),
        [0.0, 0.0, 0.0, 0.0, 1.0, 5.0, 2.0, 6.0]
    );
    // A state as it entered: one step more than the value that it leaves with.
    assert_eq!(
        delayed("input x: [2] state h: [2] = 9 h <- x output out = delay(h, 1)"),
        [0.0, 0.0, 9.0, 9.0, 1.0, 5.0, 2.0, 6.0]
    );
    // Through itself: s(t) = x(t) + s(t - 2) / 2.
    assert_eq!(
        delayed("input x: [2] s = x + 0.5 * delay(s, 2) output out = s"),
        [1.0, 5.0, 2.0, 6.0, 3.5, 9.5, 5.0, 11.0]
    );
    // In a bundle: Σ_i pre_i(t - 1), and a number that counts as one.
    assert_eq!(
        delayed(
            "input x: [2] s: [1] = sum(x)
             plastic p: x -> v { got = sum_pre(delay(pre, 1)) * delay(s, 1) transmit 0 * got }
             v: [1] = p output out = p.got + 0 * v"
        ),
        [0.0, 36.0, 64.0, 100.0]
    );
    let ranked = json!([
        [[3.0, 1.0, 2.0]],
        [[1.0, 1.0, 0.0]],
        [[0.0, 0.0, 0.0]],
        [[-1.0, -3.0, -2.0]]
    ]);
    let of = |body: &str| outputs("rank", body, &ranked);
    assert_eq!(
        of("input x: [3] output out = topk(x, 2)"),
        [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    );
    assert_eq!(
        of("input x: [3] output out = topk(x, 1) * x")[..3],
        [3.0, 0.0, 0.0]
    );
    assert_eq!(
        of("input x: [3] output out = min(x)"),
        [1.0, 0.0, 0.0, -3.0]
    );
    assert_eq!(
        of("input x: [3] output out = index(x) + 0 * x")[..3],
        [0.0, 1.0, 2.0]
    );
    // The distance of neurons: Σ_i |i - j| x_i.
    assert_eq!(
        of(
            "input x: [3] plastic p: x -> v { transmit abs(index(pre) - index(post)) }
            v: [2] = p output out = v"
        )[..2],
        [1.0 + 4.0, 3.0 + 2.0]
    );
    // A setting: 4 steps.
    assert_eq!(
        of("input x: [3] output out = min(x) * train.steps"),
        [4.0, 0.0, 0.0, -12.0]
    );
}
