use super::*;
use crate::driver::{compile, from_disk};
use crate::engine::experiment::{Experiment, Target};
use crate::engine::in_step::InStep;
use crate::engine::lanes::{Lanes, Shape};
use crate::engine::reference::Reference;
use crate::ir::{verify, GraphKind};
use crate::learn::given::{evaluate, GivenResults, GivenValues};
use crate::step::autodiff::Options;
use crate::step::passes::{find, Selection};
use crate::step::{adjoint, Compiled};
use std::sync::Arc;

const LINEAR: &str = "transmit w + alpha * hebb\n hebb <- hebb + 0.1 * pre * post";

/// A recurrent bundle of 30 neurons with this body, for three lanes.
fn recurrent(body: &str) -> Compiled {
    compiled([30, 30], 3, body)
}

/// A bundle from 20 to 40 neurons with this body, for three lanes.
fn feed_forward(body: &str) -> Compiled {
    compiled([20, 40], 3, body)
}

/// A bundle with this body, a recurrent one where both sides are as large.
fn compiled([pre, post]: [usize; 2], lanes: usize, body: &str) -> Compiled {
    let (before, after) = if pre == post {
        (
            format!("state h: [{post}] = 0\n plastic rec: h -> y"),
            "y = tanh(linear(x) + rec)\n h <- y".to_owned(),
        )
    } else {
        (
            format!("p = tanh(linear(x, {pre}))\n plastic rec: p -> y"),
            format!("y = tanh(linear(x, {post}) + rec)"),
        )
    };
    let text = format!(
        "network net {{\n input x: [4]\n {before} {{\n {body}\n }}\n {after}\n \
         modulator m = sigmoid(linear(y, 1))\n modulator g = fanout(m, {post})\n \
         output out = linear(y, 2)\n}}\n\
         train supervised {{ loss = half_sum_squares, batch = {lanes}, steps = 7 }}\n"
    );
    let compilation = compile("test.bpm", &text, &[], &from_disk).unwrap();
    let found = compilation.diagnostics.iter();
    let found: Vec<String> = found.map(|d| d.message.clone()).collect();
    let program = compilation.program;
    program.unwrap_or_else(|| panic!("{text}\n{found:?}"))
}

fn body(alpha: &str, rest: &str) -> String {
    format!(
        "weight w ~ uniform(-0.1, 0.1)\n coeff alpha ~ uniform(-0.1, 0.1) {alpha}\n \
         trained eta = 0.1\n trace hebb = 0\n {rest}"
    )
}

/// Episodes of so many steps.
const fn episode(steps: usize) -> Horizon {
    Horizon::Episode { steps }
}

/// The form of the first trace.
fn form(step: &Graph, horizon: Horizon) -> String {
    let (_, forms) = run(step, horizon, &mut Budget::new(None)).unwrap();
    forms[0].to_string()
}

/// The reason of a body over 7 steps.
fn reason(body: &str) -> String {
    let text = form(&recurrent(body).step, episode(7));
    let start = "`rec.hebb`: form: dense, because ";
    text.strip_prefix(start).unwrap_or(&text).to_owned()
}

#[test]
fn what_is_linear_is_taken_where_it_is_cheaper() {
    let step = recurrent(&body("per post", LINEAR)).step;
    assert_eq!(
        form(&step, episode(7)),
        "`rec.hebb`: form: attention over 7 stored steps"
    );
    assert_eq!(
        form(&step, episode(1)),
        "`rec.hebb`: form: attention over 1 stored step"
    );
    // 3 * 9 * 60 < 2 * 900 <= 3 * 10 * 60
    assert!(form(&step, episode(9)).ends_with("9 stored steps"));
    assert_eq!(
        form(&step, episode(10)),
        "`rec.hebb`: form: dense, because 10 steps x (30 + 30) neurons is not less than 2/3 of 30 x 30 \
         connections"
    );
    assert!(form(&step, episode(30)).contains("dense, because 30 steps"));
    assert!(form(&step, episode(usize::MAX)).contains("dense, because"));
    let refused = [
        (Horizon::Observed, "its values may be asked for"),
        (
            Horizon::Chunks,
            "it goes on from one chunk of the text to the next",
        ),
        (
            Horizon::Unknown,
            "the spec does not say how many steps an episode has",
        ),
    ];
    for (horizon, reason) in refused {
        let said = format!("`rec.hebb`: form: dense, because {reason}");
        assert_eq!(form(&step, horizon), said);
    }
    let two = "transmit w + alpha * hebb\n hebb <- hebb + 0.1 * pre * post + 0.1 * post";
    let step = recurrent(&body("per post", two)).step;
    assert!(form(&step, episode(4)).ends_with("4 stored steps"));
    assert!(form(&step, episode(5)).contains("5 steps x 2 products x (30 + 30) neurons"));
}

#[test]
fn what_is_not_says_why() {
    let with = |rest: &str| reason(&body("per post", rest));
    let read = |read: &str| with(&format!("{read}\n hebb <- hebb + 0.1 * pre * post"));
    let updated = |update: &str| with(&format!("transmit w + alpha * hebb\n hebb <- {update}"));
    let dense = "`rec.alpha`, by which it is read, is per connection";
    assert_eq!(reason(&body("per connection", LINEAR)), dense);
    assert_eq!(
        updated("clip(hebb + 0.1 * pre * post, -1, 1)"),
        "it is clipped, so the trace need not be a sum of its updates"
    );
    assert_eq!(
        read("transmit w + alpha * clip(hebb, -1, 1)"),
        "it is clipped where it is read, so what is read need not be a sum of its updates"
    );
    assert_eq!(
        updated("tanh(hebb + 0.1 * pre * post)"),
        "its update is not linear in it (`tanh`)"
    );
    assert_eq!(
        read("transmit w + alpha * tanh(hebb)"),
        "what reads it is not linear in it (`tanh`)"
    );
    assert_eq!(
        updated("hebb - 0.1 * hebb * hebb + pre * post"),
        "its update is not linear in it (`mul`)"
    );
    assert_eq!(
        updated("hebb + 0.1 * w * pre * post"),
        "`rec.w` in its update is per connection"
    );
    assert_eq!(
        updated("w * hebb + 0.1 * pre * post"),
        "`rec.w` in its update is per connection"
    );
    assert_eq!(
        updated("hebb + 0.1 * post * (pre - post * hebb)"),
        "its decay differs from one post neuron to another"
    );
    assert_eq!(
        updated("hebb - 0.1 * pre * pre * hebb + 0.1 * pre * post"),
        "its decay differs from one pre neuron to another"
    );
    assert_eq!(
        updated("tanh(pre + post) * hebb + pre * post"),
        "its update multiplies it with a number per connection that changes from step to step"
    );
    assert_eq!(
        updated("hebb + tanh(pre + post)"),
        "what its update adds is not a product of a pre and a post factor"
    );
    assert_eq!(updated("0.9 * hebb"), "its update adds nothing to it");
    assert_eq!(
        read("transmit w + alpha * hebb * tanh(pre + w)"),
        "it is read times a number per connection that changes from step to step"
    );
    assert_eq!(
        read("largest = max_pre(hebb)\n transmit w + alpha * hebb * largest"),
        "it is read in another way than by a sum over pre or post (`reduce_max`)"
    );
}

#[test]
fn products_of_products_end() {
    let mut rest = String::from("q0 = hebb + pre * post\n p0 = tanh(pre + post)\n");
    for k in 0..60 {
        rest += &format!(" p{} = p{k} * p{k}\n q{} = q{k} + q{k}\n", k + 1, k + 1);
    }
    let update = |by: &str| {
        let rest = format!("{rest} transmit w + alpha * hebb\n hebb <- hebb + {by}");
        reason(&body("per post", &rest))
    };
    let long = "its update or what reads it has too many terms";
    assert_eq!(update("p60 * pre"), long);
    assert_eq!(update("q60"), long);
}

#[test]
fn traces_of_traces_and_other_resets_say_why() {
    let fed = "trace e = 0\n transmit w + alpha * hebb\n hebb <- hebb + m * e\n \
               e <- 0.9 * e + 0.1 * pre * post";
    let step = recurrent(&body("per post", fed)).step;
    let (same, forms) = run(&step, episode(7), &mut Budget::new(None)).unwrap();
    assert_eq!(same.to_string(), step.to_string());
    let texts: Vec<String> = forms.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "`rec.hebb`: form: dense, because the trace `rec.e` feeds it",
            "`rec.e`: form: dense, because it feeds the trace `rec.hebb`"
        ]
    );
    let declared = |trace: &str| {
        let text = body("per post", LINEAR).replace("trace hebb = 0", trace);
        reason(&text)
    };
    assert_eq!(
        declared("trace hebb = 0.5"),
        "it starts an episode at 0.5, not at 0"
    );
    for kept in ["never", "carry"] {
        assert_eq!(
            declared(&format!("trace hebb = 0 reset {kept}")),
            "it is kept from one episode to the next"
        );
    }
    assert_eq!(
        declared("trace hebb = 0 reset trial"),
        "it is reset at every trial, not once an episode"
    );
    assert_eq!(
        reason(&body(
            "per post",
            "transmit w * alpha\n hebb <- hebb + pre * post"
        )),
        "nothing reads it"
    );
}

#[test]
fn one_of_two_traces_is_replaced_and_the_other_kept() {
    let both = "trace slow = 0\n transmit w + alpha * hebb + w * slow\n \
                hebb <- hebb + 0.1 * pre * post\n slow <- clip(slow + 0.1 * pre * post, -1, 1)";
    let program = recurrent(&body("per post", both));
    let (step, forms) = run(&program.step, episode(7), &mut Budget::new(None)).unwrap();
    let texts: Vec<String> = forms.iter().map(ToString::to_string).collect();
    assert_eq!(texts[0], "`rec.hebb`: form: attention over 7 stored steps");
    assert!(texts[1].contains("`rec.slow`: form: dense, because it is clipped"));
    let paths: Vec<&str> = step.states.iter().map(|slot| slot.path.as_str()).collect();
    let expected = [
        "h",
        "rec.slow",
        "rec.hebb.pre",
        "rec.hebb.post",
        "rec.hebb.started",
    ];
    assert_eq!(paths, expected);
    assert_same(&program, 7);
}

#[test]
fn a_spent_budget_leaves_traces_as_they_are() {
    let step = recurrent(&body("per post", LINEAR)).step;
    let (same, forms) = run(&step, episode(7), &mut Budget::new(Some(0))).unwrap();
    assert_eq!(same.to_string(), step.to_string());
    assert_eq!(forms[0].steps, Err(Dense::Stopped));
    let pass = find("attention_form").unwrap();
    let states = |selection: &Selection, horizon| {
        let experiment = Experiment::new(&step, horizon, Target::Graphs, selection).unwrap();
        experiment.whole().graphs.step.states.len()
    };
    assert_eq!(states(&Selection::default(), episode(7)), 4);
    assert_eq!(states(&Selection::default(), Horizon::Observed), 2);
    assert_eq!(states(&Selection::default().without(pass), episode(7)), 2);
    assert_eq!(states(&Selection::level(2), episode(7)), 2);
    assert_eq!(states(&Selection::level(0).with(pass), episode(7)), 4);
    let one = Selection::default().stopping_after(1);
    assert_eq!(states(&one, episode(7)), 4);
}

/// Numbers between -0.5 and 0.5 that look drawn.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    (0..count)
        .map(|k| {
            let mixed = (k + 1).wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503);
            f64::from(((mixed >> 7) % 4096) as u32) / 4096.0 - 0.5
        })
        .collect()
}

fn given(step: &Graph, lanes: usize, steps: usize) -> GivenValues {
    let count = |dims: &[usize]| dims.iter().product::<usize>();
    let inputs = step.inputs.iter().enumerate();
    let params = step.params.iter().enumerate();
    let outputs = step.outputs.iter().enumerate();
    GivenValues {
        steps,
        lanes,
        inputs: inputs
            .map(|(k, slot)| numbers(steps * lanes * count(&slot.dims), 100 + k))
            .collect(),
        states: states(step, lanes),
        params: params
            .map(|(k, slot)| match slot.dims.as_slice() {
                [] => vec![0.3],
                dims => numbers(count(dims), k),
            })
            .collect(),
        targets: outputs
            .map(|(k, slot)| numbers(steps * lanes * count(&slot.dims), 200 + k))
            .collect(),
        ..GivenValues::default()
    }
}

/// All states at the start of an episode.
fn states(step: &Graph, lanes: usize) -> Vec<Vec<f64>> {
    let slots = step.states.iter();
    slots
        .map(|slot| vec![slot.init; lanes * slot.dims.iter().product::<usize>()])
        .collect()
}

fn assert_close(found: &GivenResults, expected: &GivenResults, tolerance: f64, label: &str) {
    let close = |a: &[f64], b: &[f64], what: &str| {
        assert_eq!(a.len(), b.len(), "{label}: {what}");
        let scale = b.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
        for (a, b) in a.iter().zip(b) {
            let difference = (a - b).abs();
            assert!(
                difference <= tolerance * scale,
                "{label}: {what}: {a} instead of {b}"
            );
        }
    };
    close(&[found.loss], &[expected.loss], "loss");
    for (a, b) in found.outputs.iter().zip(&expected.outputs) {
        close(a, b, "outputs");
    }
    assert_eq!(found.gradients.len(), expected.gradients.len());
    for (k, (a, b)) in found.gradients.iter().zip(&expected.gradients).enumerate() {
        match (a, b) {
            (Some(a), Some(b)) => close(a, b, &format!("gradient {k}")),
            (a, b) => assert!(a.is_none() && b.is_none(), "{label}: gradient {k}"),
        }
    }
}

/// Outputs and gradients of whole episodes: the original on the reference, against the rewritten step there and on
/// the fused kernels after all passes.
fn assert_same(program: &Compiled, steps: usize) {
    let train = program.model.train.as_ref().unwrap();
    let step = &program.step;
    let lanes = train.settings.int("batch");
    let mut values = given(step, lanes, steps);
    let backward = |step: &Graph| adjoint(step, Options::default()).unwrap();
    let reference =
        |step: Graph, adjoint: Graph| InStep::from(Reference::new(step, adjoint, lanes));
    let mut engine = reference(step.clone(), backward(step));
    let expected = evaluate(&mut engine, train, &values).unwrap();
    let sizes = expected.gradients.iter().flatten().flatten();
    assert!(sizes.map(|x| x.abs()).sum::<f64>() > 1e-3);

    let (rewritten, forms) = run(step, episode(steps), &mut Budget::new(None)).unwrap();
    assert_eq!(forms[0].steps, Ok(steps), "{}", forms[0]);
    assert!(rewritten
        .states
        .iter()
        .all(|slot| slot.path != forms[0].trace));
    assert_eq!(verify(&rewritten, GraphKind::Step), [] as [String; 0]);
    values.states = states(&rewritten, lanes);
    let adjoint = backward(&rewritten);
    let found = evaluate(&mut reference(rewritten, adjoint), train, &values).unwrap();
    assert_close(&found, &expected, 1e-9, "reference");

    let selection = Selection::default();
    let experiment = Experiment::new(step, episode(steps), Target::Kernels, &selection).unwrap();
    let stage = experiment.whole();
    assert_eq!(stage.graphs.forms, forms);
    let (step, fused) = (&stage.graphs.step, stage.fused().unwrap());
    values.states = states(step, lanes);
    let (step, shape) = (Arc::new(step.clone()), Shape::together(lanes, steps));
    let mut engine = Lanes::<f64>::new(Arc::clone(fused), Arc::clone(&step), shape);
    let found = evaluate(&mut engine, train, &values).unwrap();
    assert_close(&found, &expected, 1e-9, "fused");
    let mut engine = Lanes::<f32>::new(Arc::clone(fused), step, shape);
    let found = evaluate(&mut engine, train, &values).unwrap();
    assert_close(&found, &expected, 1e-4, "fused in f32");
}

#[test]
fn whole_episodes_have_the_same_outputs_and_gradients() {
    let updates = [
        "hebb + 0.1 * pre * post",
        "0.9 * hebb + eta * pre * post",
        "(1 - eta) * hebb + eta * pre * post",
        "(1 - eta) * m * hebb - eta * pre * post / 2",
        "hebb + g * pre * post",
        "0.5 * pre * post",
        "0.9 * hebb + eta * pre * (post + 0.5) - 0.05 * post",
        "(hebb + eta * pre * post) * (1 - eta)",
        "0.9 * hebb + eta * pre * post - 0.05",
    ];
    for update in updates {
        let rest = format!("transmit w + alpha * hebb\n hebb <- {update}");
        for steps in [1, 7] {
            // Two products an update.
            let narrower = if update.contains("0.05") {
                steps.min(4)
            } else {
                steps
            };
            assert_same(&recurrent(&body("per post", &rest)), narrower);
            assert_same(&feed_forward(&body("per network", &rest)), narrower);
        }
    }
}

#[test]
fn reads_of_all_kinds_have_the_same_outputs_and_gradients() {
    let rules = [
        // The delta rule, whose update reads the trace.
        "recall = sum_pre(hebb * pre)\n transmit w + alpha * hebb\n \
         hebb <- hebb + eta * pre * (post - recall)",
        // The trace as it leaves the step.
        "transmit -(w * alpha) + alpha * next hebb\n hebb <- 0.9 * hebb + eta * pre * pre",
        // Sums over post, and over both sides.
        "back = sum_post(hebb * alpha)\n transmit (w + hebb) * (1 + back) - hebb / (2 + pre * pre)\n \
         hebb <- 0.9 * hebb + eta * pre * post",
        "all = sum_pre(sum_post(hebb)) / 800\n transmit w + alpha * hebb * all\n \
         hebb <- 0.9 * hebb + eta * pre * post",
    ];
    for rest in rules {
        for steps in [1, 6] {
            assert_same(&recurrent(&body("per post", rest)), steps);
            assert_same(&feed_forward(&body("per post", rest)), steps);
        }
    }
}

#[test]
fn two_traces_are_both_replaced() {
    let rest = "trace slow = 0\n transmit w + alpha * (hebb - eta * slow)\n \
                hebb <- 0.9 * hebb + eta * pre * post\n slow <- slow + g * pre";
    for program in [
        recurrent(&body("per post", rest)),
        feed_forward(&body("per network", rest)),
    ] {
        let (_, forms) = run(&program.step, episode(5), &mut Budget::new(None)).unwrap();
        assert_eq!([&forms[0].steps, &forms[1].steps], [&Ok(5), &Ok(5)]);
        assert_same(&program, 5);
    }
}

/// Every decay with every product and read, over odd sizes, one lane and many, and as few and as many steps as pay.
#[test]
fn rules_of_all_parts_have_the_same_outputs_and_gradients() {
    let decays = [
        "hebb",
        "0.9 * hebb",
        "(1 - eta) * hebb",
        "m * hebb",
        "m * (hebb - eta * hebb)",
    ];
    let products = [
        "eta * pre * post",
        "g * pre",
        "m * pre * post",
        "post / (2 + pre * pre)",
        "eta * pre * tanh(post)",
        "eta * pre * pre",
    ];
    let reads = [
        "transmit w + alpha * hebb",
        "transmit w - alpha * hebb / 2",
        "transmit alpha * (w + next hebb)",
        "back = sum_post(hebb * alpha)\n transmit w + (hebb + back) * eta",
    ];
    // Sides, and the most steps that pay.
    let sizes = [
        ([29, 29], 9),
        ([13, 17], 4),
        ([67, 33], 14),
        ([9, 61], 5),
        ([31, 31], 10),
    ];
    for (sides, most) in sizes {
        let step = compiled(sides, 1, &body("per post", LINEAR)).step;
        assert!(
            form(&step, episode(most)).contains("attention"),
            "{sides:?}"
        );
        assert!(
            form(&step, episode(most + 1)).contains("dense"),
            "{sides:?}"
        );
    }
    let (mut cases, mut of_next) = (0, 0);
    for (d, decay) in decays.into_iter().enumerate() {
        for (p, product) in products.into_iter().enumerate() {
            let (sides, most) = sizes[cases % sizes.len()];
            // A trace after its update cannot be read for the activity that the update needs.
            let before = decay.starts_with('m') || !product.ends_with("pre * pre");
            let read = match reads[(d + p) % reads.len()] {
                read if read.contains("next") && before => reads[0],
                read => read,
            };
            of_next += usize::from(read.contains("next"));
            let alpha = ["per post", "per network"][d % 2];
            let text = body(alpha, &format!("{read}\n hebb <- {decay} + {product}"));
            let steps = [most, 1, 2][cases % 3];
            let lanes = [1, 5, 3][(d + p) % 3];
            assert_same(&compiled(sides, lanes, &text), steps);
            cases += 1;
        }
    }
    assert_eq!((cases, of_next), (30, 1));
}
