//! Files of values for `bpmc grad`: templates, targets that are not there, what is missing, and numbers that are not finite.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::{compiled, run};
use crate::scratch::scratch;
use bpmc::learn::tasks::EpisodeKey;
use bpmc::learn::trainer::{episode_seed, BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::DeviceChoice;
use bpmc::step::passes::Selection;
use serde_json::{json, Value};
use std::path::{Path, PathBuf};

/// A spec in an empty directory.
fn place(name: &str, spec: &str) -> PathBuf {
    let root = scratch(&format!("values-{name}"));
    std::fs::write(root.join("net.bpm"), spec).unwrap();
    root
}

fn template(root: &Path, more: &[&str]) -> Value {
    let (code, out, err) = run(root, &[&["grad", "net.bpm", "--template"], more].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    serde_json::from_str(&out).unwrap()
}

/// Exit status, results (null where there are none) and standard error for these values.
fn grad(root: &Path, values: &Value, more: &[&str]) -> (Option<i32>, Value, String) {
    std::fs::write(root.join("values.json"), values.to_string()).unwrap();
    let arguments = [&["grad", "net.bpm", "--values", "values.json"], more].concat();
    let (code, out, err) = run(root, &arguments);
    (code, serde_json::from_str(&out).unwrap_or(Value::Null), err)
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

#[test]
fn a_template_holds_the_first_values_of_the_spec() {
    let root = place(
        "template",
        "network net {
          input x: [1]
          state age: [1] = 99
          age <- age - 1
          output out = age + 0 * x
        }
        train supervised { loss = half_sum_squares, batch = 1, steps = 1 }",
    );
    let file = template(&root, &[]);
    assert_eq!(file["initial_state"]["age"], json!([[99.0]]));
    let (code, results, err) = grad(&root, &file, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(results["outputs"]["out"], json!([[[99.0]]]));
}

/// One of each kind of value.
const KINDS: &str = "
network net {
  input x: [3]
  const scale = 2
  plastic up: x -> y {
    weight w ~ uniform(-0.5, 0.5)
    coeff alpha = 0.25
    trained eta = 0.1
    const mask = 1 per connection
    const drawn ~ bernoulli(0.5) per connection
    trace hebb = 0.5
    noise xi ~ uniform(1, 2)
    transmit mask * drawn * (w + alpha * hebb) + 0 * xi
    hebb <- (1 - eta) * hebb + eta * pre * post
  }
  y = scale * tanh(up + linear(x, 2))
  output out = dropout(y, 0.25)
}
train supervised { batch = 2, steps = 3, seed = 5 }
";

#[test]
fn a_template_holds_what_a_run_begins_with() {
    let root = place("kinds", KINDS);
    let file = template(&root, &[]);
    let parameters = &file["parameters"];
    assert_eq!(parameters["scale"], json!(2.0));
    assert_eq!(parameters["up.eta"], json!(0.1));
    assert_eq!(numbers(&parameters["up.alpha"]), [0.25; 6]);
    assert_eq!(numbers(&parameters["up.mask"]), [1.0; 6]);
    assert_eq!(numbers(&file["initial_state"]["up.hebb"]), [0.5; 12]);
    assert_eq!(numbers(&file["noise"]["up.xi"]), [1.5; 36]);
    // Dropout at its mean leaves everything as it is.
    assert_eq!(numbers(&file["noise"]["out.dropout"]), [0.75; 12]);
    assert_eq!(numbers(&file["inputs"]["x"]), [0.0; 18]);
    assert_eq!(file["weight"], json!([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]));

    // Rounded to the precision of training, these are the numbers of the run.
    let compilation = compiled(KINDS);
    let step = &compilation.program.as_ref().unwrap().step;
    let store = bpmc::engine::params::ParamStore::init(&step.params, 5);
    for parameter in store.iter() {
        let found = numbers(&parameters[&parameter.path]);
        let found: Vec<f32> = found.iter().map(|x| *x as f32).collect();
        assert_eq!(found, parameter.values, "{}", parameter.path);
    }
    let other = template(&root, &["--set", "train.seed=6"]);
    assert_ne!(other["parameters"]["up.w"], parameters["up.w"]);

    // A file without first values of states begins where the template does.
    let (code, whole, _) = grad(&root, &file, &[]);
    assert_eq!(code, Some(0));
    let mut without = file.clone();
    without.as_object_mut().unwrap().remove("initial_state");
    assert_eq!(grad(&root, &without, &[]).1, whole);
}

#[test]
fn a_supervised_iteration_has_the_loss_of_its_values() {
    let spec = "
network net {
  input obs: [task.obs]
  state h: [task.recall] = 0
  plastic rec: h -> y using plain() {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1)
  }
  y = tanh(obs + rec)
  h <- y
  output recall = 0.5 * (y + 1)
}
task pattern_completion { bits = 6, patterns = 2, presentations = 1, show = 2, gap = 1, probe = 2 }
train supervised { batch = 3, seed = 4, loss = LOSS }
";
    for loss in [
        "half_sum_squares",
        "mean_squares",
        "cross_entropy",
        "binary_cross_entropy",
    ] {
        let spec = spec.replace("LOSS", loss);
        let root = place(&format!("train-{loss}"), &spec);
        let compilation = compiled(&spec);
        let program = compilation.program.as_ref().unwrap();
        let mut file = template(&root, &[]);
        let task = bpmc::learn::tasks::of_model(program.model.task.as_ref().unwrap()).unwrap();
        let (mut observation, mut target) = (vec![0.0f32; 6], vec![0.0f32; 6]);
        for lane in 0..3u32 {
            let mut episode = task.lane();
            episode.reset(EpisodeKey {
                seed: episode_seed(4, 0),
                iteration: 0,
                lane,
                batch: 3,
                ..EpisodeKey::default()
            });
            for step in 0..task.steps() {
                let at = lane as usize;
                episode.observe(&mut observation);
                file["inputs"]["obs"][step][at] = json!(observation);
                // Only the last step of this task has a target.
                file["targets"]["recall"][step][at] = {
                    let mut weight = [f32::NAN];
                    episode.target(&mut target, &mut weight);
                    match weight {
                        [0.0] => Value::Null,
                        _ => json!(target),
                    }
                };
            }
        }
        let (code, results, err) = grad(&root, &file, &["--dtype", "f32", "--opt", "3"]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let options = TrainerOptions {
            threads: 2,
            backend: BackendKind::Fused,
            device: DeviceChoice::CPU,
            passes: Selection::level(3),
            memory: None,
        };
        let report = Trainer::new(program, options).unwrap().step().unwrap();
        let found = results["loss"].as_f64().unwrap();
        let error = (found - report.loss).abs() / report.loss.abs();
        assert!(error < 1e-6, "{loss}: {found} {}", report.loss);
    }
}

/// Four classes, and logits that are 0.
const CLASSES: &str = "
network net {
  input x: [4]
  output y = 0 * x
}
train supervised { loss = cross_entropy, batch = 1, steps = 5 }
";

#[test]
fn steps_without_targets_do_not_count() {
    let root = place("masks", CLASSES);
    let class = json!([0.0, 0.0, 1.0, 0.0]);
    let none = json!([0.0, 0.0, 0.0, 0.0]);
    let inputs = template(&root, &[])["inputs"].clone();
    let loss = |more: Value| {
        let mut file = json!({ "inputs": inputs, "parameters": {} });
        let entries = more.as_object().unwrap().clone();
        file.as_object_mut().unwrap().extend(entries);
        let (code, results, err) = grad(&root, &file, &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{file}");
        results["loss"].as_f64().unwrap()
    };
    let targets = |missing: &Value| {
        let step = |target: &Value| json!([target]);
        json!({ "y": [step(&class), step(missing), step(&class), step(missing), step(&class)] })
    };
    let ln4 = 1.386_294_361_119_890_6;
    let near = |found: f64, wanted: f64| {
        assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
    };
    near(loss(json!({ "targets": targets(&Value::Null) })), ln4);
    let nulls = json!([null, null, null, null]);
    near(loss(json!({ "targets": targets(&nulls) })), ln4);
    let whole_step = json!({ "y": [[class], null, [class], null, [class]] });
    near(loss(json!({ "targets": whole_step })), ln4);
    let weight = json!([[1.0], [0.0], [1.0], [0.0], [1.0]]);
    near(
        loss(json!({ "targets": targets(&none), "weight": weight })),
        ln4,
    );
    near(
        loss(json!({ "targets": targets(&none), "weight.y": weight })),
        ln4,
    );
    // The weights of an output stand in the place of those of all.
    let ones = json!([[1.0], [1.0], [1.0], [1.0], [1.0]]);
    let both = json!({ "targets": targets(&none), "weight": ones, "weight.y": weight });
    near(loss(both), ln4);
    // A target of zeros is a target: its class has no probability, and its step counts.
    near(loss(json!({ "targets": targets(&none) })), 0.6 * ln4);
}

#[test]
fn what_is_missing_or_unknown_is_told_by_its_name() {
    let root = place("names", KINDS);
    let whole = template(&root, &[]);
    let changed = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut file = whole.clone();
        change(file.as_object_mut().unwrap());
        let (code, _, err) = grad(&root, &file, &[]);
        assert_eq!(code, Some(1), "{err}");
        err
    };
    for section in ["inputs", "noise", "parameters", "targets"] {
        let err = changed(&|file| {
            file.remove(section);
        });
        let wanted = format!("values.json: {section}: this section is missing");
        assert!(err.contains(&wanted), "{err}");
    }
    let cases: [(&str, Value, &str); 10] = [
        (
            "input",
            json!({}),
            "input: the values of this spec have no such section; did you mean `inputs`?",
        ),
        (
            "episode",
            json!({ "rewards": [] }),
            "episode: the values of this spec have no such section",
        ),
        (
            "weights",
            json!([]),
            "weights: the values of this spec have no such section",
        ),
        (
            "weight.aut",
            json!([]),
            "the spec has no output `aut` with targets; did you mean `out`?",
        ),
        (
            "weight",
            json!([[1.0, 1.0]]),
            "weight: a list of 3 is needed, not of 1",
        ),
        (
            "weight",
            json!([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]),
            "weight: -1 is no weight",
        ),
        (
            "weight",
            json!([[1.0, null], [1.0, 1.0], [1.0, 1.0]]),
            "weight[0][1]: a number is needed, not null",
        ),
        (
            "targets",
            json!({ "out": null }),
            "targets: no output has a target",
        ),
        (
            "targets",
            json!({ "out": [[[1.0, null], [1.0, 1.0]], null, null] }),
            "targets.out[0][0][1]: a number is needed, not null",
        ),
        (
            "inputs",
            json!({ "x": null }),
            "inputs.x: a list of 3 is needed, not null",
        ),
    ];
    for (entry, value, message) in cases {
        let err = changed(&|file| {
            file.insert(entry.to_owned(), value.clone());
        });
        assert!(err.contains(message), "{err}");
    }
    let err = changed(&|file| file["noise"].as_object_mut().unwrap().clear());
    assert!(err.contains("noise.up.xi: this value is missing"), "{err}");
}

#[test]
fn an_output_without_targets_is_told() {
    let root = place(
        "two",
        "network net { input x: [2] output a = x output b = 2 * x } train supervised { batch = 1 }",
    );
    let mut file = template(&root, &[]);
    file["targets"].as_object_mut().unwrap().remove("b");
    let (code, _, err) = grad(&root, &file, &[]);
    assert_eq!(code, Some(0));
    assert_eq!(
        err,
        "note: the output `b` has no targets in values.json and adds nothing to the loss\n"
    );
}

#[test]
fn numbers_that_are_not_finite_are_written_and_told() {
    let root = place(
        "nan",
        "network net { input x: [2] output out = log(linear(x, 2, bias = false)) }
        train supervised { batch = 1 }",
    );
    let file = json!({
        "inputs": { "x": [[[1.0, 0.0]]] },
        "parameters": { "out.linear.weight": [[-1.0, 0.0], [1.0, 1.0]] },
        "targets": { "out": [[[0.0, 0.0]]] },
    });
    let (code, results, err) = grad(&root, &file, &[]);
    assert_eq!(code, Some(0));
    assert_eq!(results["outputs"]["out"], json!([[["NaN", "-Infinity"]]]));
    assert_eq!(results["loss"], json!("NaN"));
    assert!(
        err.starts_with("warning: not finite: loss, outputs.out (2 of 2 numbers), gradients.out.linear.weight ("),
        "{err}"
    );
    assert!(!results.to_string().contains("null"));
}

#[test]
fn results_say_what_the_loss_is() {
    let root = place("loss-is", CLASSES);
    let mut file = template(&root, &[]);
    file["targets"]["y"][0][0] = json!([1.0, 0.0, 0.0, 0.0]);
    let (_, results, _) = grad(&root, &file, &[]);
    assert_eq!(
        results["loss_is"],
        "the mean over lanes of the mean over steps, by weight, of -sum(target * log(softmax(y)))"
    );
}
