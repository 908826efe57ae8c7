//! Losses, gradients and scores of sequences from files, against sums written out here.

use crate::own_data::{bpmc, floats, wholes, write};
use crate::runs_support::metrics;
use crate::scratch::scratch;
use bpmc::driver::{compile, from_disk};
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::{DeviceChoice, DeviceKind};
use bpmc::step::passes::Selection;

/// Outputs are linear in the input, so that gradients by their weights are plain sums.
const SPEC: &str = "
network net {
  input x: [task.x]
  output label = linear(x, task.label)
  output guess = linear(x, task.guess)
  output bits = linear(x, task.bits)
  output last = linear(x, task.last)
}
task sequences { train = \"train.npz\", valid = \"train.npz\", order = file }
train supervised {
  loss { label = 2 * cross_entropy, guess = mean_squares * 0.25, bits = binary_cross_entropy, last = half_sum_squares }
  batch = 5, iterations = 3, metrics_every = 1, checkpoint_every = 0
}
";

const SEQUENCES: usize = 5;
const STEPS: usize = 7;
const SIZE: usize = 3;

/// By output: its name, its width, and its factor.
const OUTPUTS: [(&str, usize, f64); 4] = [
    ("label", 4, 2.0),
    ("guess", 2, 0.25),
    ("bits", 3, 1.0),
    ("last", 2, 1.0),
];

fn length(sequence: usize) -> usize {
    [7, 3, 1, 5, 6][sequence]
}

fn x(k: usize) -> f32 {
    (k * 37 % 101) as f32 / 50.0 - 1.0
}

/// The common weights leave out steps, and all steps of sequence 3.
fn weight(k: usize) -> f32 {
    if k / STEPS == 3 {
        0.0
    } else {
        [1.0, 0.0, 2.5, 0.5][k % 4]
    }
}

/// The weights of the output `bits`.
fn own_weight(k: usize) -> f32 {
    [0.0, 3.0, 1.0][k % 3]
}

fn class(k: usize) -> usize {
    k * 5 % 4
}

fn number(k: usize) -> f32 {
    (k * 13 % 29) as f32 / 7.0 - 1.5
}

/// The loss, and its gradient by the weights `[x, output]` of one output.
fn expected(output: usize, weights: &[f64], bias: &[f64]) -> (f64, Vec<f64>) {
    let (name, width, factor) = OUTPUTS[output];
    let (mut loss, mut gradient) = (0.0, vec![0.0; weights.len()]);
    for s in 0..SEQUENCES {
        let steps: Vec<(usize, f64)> = (0..length(s))
            .map(|t| {
                let k = s * STEPS + t;
                let weight = match name {
                    "bits" => own_weight(k),
                    "last" if t + 1 < length(s) => 0.0,
                    _ => weight(k),
                };
                (t, f64::from(weight))
            })
            .collect();
        let all: f64 = steps.iter().map(|(_, weight)| weight).sum();
        for (t, weight) in steps.into_iter().filter(|(_, weight)| *weight > 0.0) {
            let row = s * STEPS + t;
            let input: Vec<f64> = (0..SIZE).map(|i| f64::from(x(row * SIZE + i))).collect();
            let y: Vec<f64> = (0..width)
                .map(|o| {
                    bias[o]
                        + (0..SIZE)
                            .map(|i| input[i] * weights[i * width + o])
                            .sum::<f64>()
                })
                .collect();
            let target = |o: usize| match name {
                "label" => f64::from(u8::from(o == class(row))),
                "bits" => f64::from(u8::from((row + o).is_multiple_of(2))),
                "guess" => f64::from(number(row * width + o)),
                _ => f64::from(number(s * width + o)),
            };
            let lanes = SEQUENCES as f64;
            let share = weight / (all * lanes);
            let sum: f64 = y.iter().map(|y| y.exp()).sum();
            for o in 0..width {
                let t = target(o);
                let (cost, slope) = match name {
                    "label" => (
                        -share * t * (y[o].exp() / sum).ln(),
                        share * (y[o].exp() / sum - t),
                    ),
                    "guess" => {
                        let share = share / width as f64;
                        (share * (y[o] - t).powi(2), 2.0 * share * (y[o] - t))
                    }
                    "bits" => {
                        let (share, p) = (share / width as f64, 1.0 / (1.0 + (-y[o]).exp()));
                        (
                            -share * (t * p.ln() + (1.0 - t) * (1.0 - p).ln()),
                            share * (p - t),
                        )
                    }
                    _ => (0.5 * weight * (y[o] - t).powi(2), weight * (y[o] - t)),
                };
                loss += factor * cost;
                for i in 0..SIZE {
                    gradient[i * width + o] += factor * slope * input[i];
                }
            }
        }
    }
    (loss, gradient)
}

#[test]
fn losses_and_gradients_are_the_sums_of_their_definitions() {
    let folder = scratch("own_losses");
    let rows = SEQUENCES * STEPS;
    let file = folder.join("train.npz");
    let all = [SEQUENCES, STEPS];
    write(
        &file,
        &[
            ("x", floats(&[SEQUENCES, STEPS, SIZE], x)),
            ("label", wholes(&all, |k| class(k) as i64)),
            ("guess", floats(&[SEQUENCES, STEPS, 2], number)),
            (
                "bits",
                floats(&[SEQUENCES, STEPS, 3], |k| {
                    f32::from(u8::from((k / 3 + k % 3).is_multiple_of(2)))
                }),
            ),
            ("last", floats(&[SEQUENCES, 2], number)),
            ("weight", floats(&all, weight)),
            ("weight.bits", floats(&all, own_weight)),
            ("length", wholes(&[SEQUENCES], |s| length(s) as i64)),
        ],
    );
    assert_eq!(rows, 35);
    let set = ["train", "valid"].map(|part| format!("task.{part}={}", file.display()));
    let compilation = compile("net.bpm", SPEC, &set, &from_disk).unwrap();
    let program = compilation.program.as_ref().unwrap();
    for (backend, kind, tolerance) in [
        (BackendKind::Reference, DeviceKind::Cpu, 1e-9),
        (BackendKind::Fused, DeviceKind::Cpu, 2e-6),
        (BackendKind::Candle, DeviceKind::Cpu, 2e-6),
        (BackendKind::Fused, DeviceKind::Emulated, 2e-6),
    ] {
        let options = TrainerOptions {
            threads: 1,
            backend,
            device: DeviceChoice {
                kind,
                ..DeviceChoice::CPU
            },
            passes: Selection::level(3),
            memory: None,
        };
        let mut trainer = Trainer::new(program, options).unwrap();
        let probe = trainer.probe().unwrap();
        let mut loss = 0.0;
        for (k, (name, _, _)) in OUTPUTS.iter().enumerate() {
            let parameters: Vec<(usize, Vec<f64>)> = ["weight", "bias"]
                .iter()
                .map(|end| {
                    let path = format!("{name}.linear.{end}");
                    let all = trainer.parameters().iter();
                    let (at, found) = all.enumerate().find(|(_, p)| p.path == path).unwrap();
                    (at, found.values.iter().map(|x| f64::from(*x)).collect())
                })
                .collect();
            let (own, wanted) = expected(k, &parameters[0].1, &parameters[1].1);
            loss += own;
            let found = probe.gradients[parameters[0].0].as_ref().unwrap();
            for (a, b) in found.iter().zip(&wanted) {
                assert!(
                    (a - b).abs() < tolerance,
                    "{backend:?} {kind:?} {name}: {a} {b}"
                );
            }
            assert_eq!(found.len(), wanted.len());
        }
        assert!(
            (probe.loss - loss).abs() < tolerance * 10.0,
            "{backend:?}: {} {loss}",
            probe.loss
        );
    }

    // The command writes a score for each output, of the file of validation too, and evaluates on other files.
    std::fs::write(folder.join("net.bpm"), SPEC).unwrap();
    let (good, said) = bpmc(&folder, &["train", "net.bpm", "--out", "run", "--quiet"]);
    assert!(good, "{said}");
    let last = metrics(&folder.join("run")).pop().unwrap();
    for score in ["accuracy.label", "r2.guess", "wrong_bits.bits", "r2.last"] {
        assert!(last[score].is_number(), "{score}: {last}");
        assert!(
            last[format!("valid_{score}")].is_number(),
            "{score}: {last}"
        );
    }
    let (good, said) = bpmc(&folder, &["eval", "run", "--data", "train.npz", "--json"]);
    assert!(good, "{said}");
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["episodes"], SEQUENCES);
    let close = |a: &serde_json::Value, b: &serde_json::Value| {
        assert!(
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-6,
            "{a} {b}"
        );
    };
    close(
        &found["scores"]["accuracy.label"],
        &last["valid_accuracy.label"],
    );
    close(&found["scores"]["r2.guess"], &last["valid_r2.guess"]);
    close(&found["loss"], &last["valid_loss"]);
    let (good, said) = bpmc(&folder, &["eval", "run", "--data", "none.npz"]);
    assert!(!good && said.contains("cannot read none.npz"), "{said}");
}

#[test]
fn a_loss_block_names_the_outputs_with_targets() {
    let folder = scratch("own_loss_block");
    let arrays = [
        ("x", floats(&[2, 3, 2], x)),
        ("label", wholes(&[2, 3], |k| k as i64 % 2)),
    ];
    write(&folder.join("train.npz"), &arrays);
    for (block, expected) in [
        ("loss { lable = cross_entropy }", "did you mean `label`?"),
        (
            "loss { other = cross_entropy, label = cross_entropy }",
            "the output `other` has no target",
        ),
        (
            "loss { label = cross_entrpy }",
            "did you mean `cross_entropy`?",
        ),
        ("loss { label = 2 * 3 }", "this is no loss"),
        (
            "loss { label = cross_entropy, label = mean_squares }",
            "the loss of `label` is given twice",
        ),
        (
            "loss = cross_entropy, loss { label = cross_entropy }",
            "the loss is given twice",
        ),
    ] {
        let spec = format!(
            "network net {{
  input x: [task.x]
  output label = linear(x, task.label)
  output other = linear(x, 2)
}}
task sequences {{ train = \"train.npz\" }}
train supervised {{ {block} }}
"
        );
        std::fs::write(folder.join("net.bpm"), spec).unwrap();
        let (good, said) = bpmc(&folder, &["check", "net.bpm"]);
        assert!(!good && said.contains(expected), "{block}: {said}");
    }
}

#[test]
fn the_template_of_sequences_learns_at_once() {
    let folder = scratch("own_new");
    let (good, said) = bpmc(&folder, &["new", "trials", "--from", "sequences"]);
    assert!(good && said.contains("trials_train.csv"), "{said}");
    let (good, said) = bpmc(&folder, &["check", "trials.bpm"]);
    assert!(good, "{said}");
    let (good, said) = bpmc(&folder, &["train", "trials.bpm", "--out", "run", "--quiet"]);
    assert!(good, "{said}");
    let last = metrics(&folder.join("run")).pop().unwrap();
    assert!(last["valid_accuracy"].as_f64().unwrap() > 0.9, "{last}");
    let (good, said) = bpmc(&folder, &["new", "trials", "--from", "sequences"]);
    assert!(!good && said.contains("already there"), "{said}");
    std::fs::remove_file(folder.join("trials.bpm")).unwrap();
    let (good, said) = bpmc(&folder, &["new", "trials", "--from", "sequences"]);
    assert!(
        !good && said.contains("trials_train.csv is already there"),
        "{said}"
    );
    assert!(!folder.join("trials.bpm").exists());
}

/// A Hebbian rule with the label on its post side; what it reads is the target, or an input of the same numbers.
const HEBBIAN: &str = "
network net {
  input x: [task.x]
  INPUT
  code = tanh(linear(x, 5))
  plastic memory: code -> recalled {
    trained eta = 0.1
    trace hebb = 0
    transmit hebb
    hebb <- 0.9 * hebb + eta * pre * SHOWN
  }
  recalled = memory
  output label = recalled + 0.1 * linear(x, task.label)
}
task sequences { train = \"train.npz\", order = file }
train supervised { loss = cross_entropy, batch = 3, iterations = 4, metrics_every = 1, checkpoint_every = 0 }
";

#[test]
fn a_rule_reads_the_target_as_it_would_read_an_input_of_the_same_numbers() {
    let folder = scratch("own_target");
    let weight = |k: usize| [1.0, 0.0, 0.5][k % 3];
    let arrays = [
        ("x", floats(&[4, 5, 2], x)),
        ("label", wholes(&[4, 5], |k| k as i64 % 3)),
        ("weight", floats(&[4, 5], weight)),
        (
            "shown",
            floats(&[4, 5, 3], |k| {
                let one = k % 3 == k / 3 % 3 && weight(k / 3) > 0.0;
                f32::from(u8::from(one))
            }),
        ),
    ];
    write(&folder.join("train.npz"), &arrays);
    let spec = |input: &str, shown: &str| HEBBIAN.replace("INPUT", input).replace("SHOWN", shown);
    for (name, text) in [
        ("input", spec("input shown: [task.shown]", "shown")),
        ("target", spec("", "target.label")),
        ("only", spec("", "target")),
    ] {
        std::fs::write(folder.join(format!("{name}.bpm")), text).unwrap();
    }
    for backend in [
        &["--backend", "fused"][..],
        &["--backend", "candle"],
        &["--backend", "reference"],
        &["--device", "emulated"],
    ] {
        let run = |name: &str| {
            let out = format!("{name}-{}", backend[1]);
            let spec = format!("{name}.bpm");
            let arguments = [&["train", &spec, "--out", &out, "--quiet"], backend].concat();
            let (good, said) = bpmc(&folder, &arguments);
            assert!(good, "{said}");
            metrics(&folder.join(out))
        };
        let expected = run("input");
        assert_eq!(run("target"), expected, "{backend:?}");
        assert_eq!(run("only"), expected, "{backend:?}");
    }
}
