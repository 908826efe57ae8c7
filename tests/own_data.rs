//! The task `sequences` from its files to a trained run.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::data_files::{archive, npy};
use crate::runs_support::{metrics, run, shelf};
use crate::scratch::scratch;
use std::fmt::Write;
use std::path::Path;

/// `bpmc` in a directory: whether it went well, and what it said.
pub(crate) fn bpmc(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let (code, out, errors) = run(directory, arguments);
    (code == Some(0), out + &errors)
}

pub(crate) fn floats(shape: &[usize], value: impl Fn(usize) -> f32) -> Vec<u8> {
    let data: Vec<u8> = (0..shape.iter().product())
        .flat_map(|k| value(k).to_le_bytes())
        .collect();
    npy("<f4", &dims(shape), &data)
}

pub(crate) fn wholes(shape: &[usize], value: impl Fn(usize) -> i64) -> Vec<u8> {
    let data: Vec<u8> = (0..shape.iter().product())
        .flat_map(|k| value(k).to_le_bytes())
        .collect();
    npy("<i8", &dims(shape), &data)
}

fn dims(shape: &[usize]) -> String {
    let mut text = String::from("(");
    for dim in shape {
        write!(text, "{dim},").unwrap();
    }
    text + ")"
}

pub(crate) fn write(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    std::fs::write(path, archive(false, arrays)).unwrap();
}

/// All logits are 0, whatever is learned.
const EQUAL: &str = "
network net {
  input x: [task.x]
  output label = 0 * linear(x, task.label)
}
task sequences { train = \"train.npz\" }
train supervised { loss = cross_entropy, batch = 3, iterations = 2, metrics_every = 1 }
";

#[test]
fn steps_without_a_target_do_not_count() {
    let folder = scratch("own_data_weights");
    std::fs::write(folder.join("net.bpm"), EQUAL).unwrap();
    let arrays = [
        ("x", floats(&[4, 5, 2], |k| k as f32 / 7.0)),
        (
            "label",
            wholes(&[4, 5], |k| if k % 5 % 2 == 0 { k as i64 % 4 } else { -1 }),
        ),
        (
            "weight",
            floats(&[4, 5], |k| f32::from(u8::from(k % 5 % 2 == 0))),
        ),
    ];
    write(&folder.join("train.npz"), &arrays);
    for backend in ["fused", "candle", "reference"] {
        let run = folder.join(backend);
        let out = run.to_str().unwrap();
        let (good, said) = bpmc(
            &folder,
            &[
                "train",
                "net.bpm",
                "--backend",
                backend,
                "--out",
                out,
                "--quiet",
            ],
        );
        assert!(good, "{said}");
        let last = metrics(&run).pop().unwrap();
        let loss = last["loss"].as_f64().unwrap();
        assert!((loss - 4f64.ln()).abs() < 1e-6, "{backend}: {loss}");
        // Equal logits choose nothing.
        assert_eq!(last["accuracy"], 0.0, "{backend}");
    }
}

/// Plastic, with a class and a number to learn, a signal, and lengths.
const SPEC: &str = "
network net {
  input x: [task.x]
  state h: [6] = 0
  plastic rec: h -> y {
    weight w ~ uniform(-0.3, 0.3)
    trained eta = 0.1
    trace hebb = 0
    transmit w + hebb
    hebb <- 0.9 * hebb + eta * external reward * pre * post
  }
  y = tanh(linear(x) + rec)
  h <- y
  output label = linear(y, task.label)
  output guess = linear(y, 1)
}
task sequences { train = \"data/train.npz\", test = \"data/test.npz\" }
train supervised {
  loss = cross_entropy, batch = 4, iterations = 9, metrics_every = 1, checkpoint_every = 4
  optimizer adam { lr = 1e-2 }
}
";

fn data(path: &Path, sequences: usize) {
    let shape = [sequences, 6];
    let arrays = [
        (
            "x",
            floats(&[sequences, 6, 3], |k| ((k * 37 % 101) as f32 / 50.0) - 1.0),
        ),
        ("label", wholes(&shape, |k| (k * 7 % 5) as i64)),
        ("guess", floats(&[sequences, 1], |k| (k % 2) as f32)),
        ("reward", floats(&shape, |k| (k % 3) as f32 - 1.0)),
        ("length", wholes(&[sequences], |k| 3 + (k % 4) as i64)),
    ];
    write(path, &arrays);
}

#[test]
fn a_run_is_the_same_however_often_it_is_interrupted_and_finds_its_files_again() {
    let folder = scratch("own_data_run");
    std::fs::create_dir_all(folder.join("specs/data")).unwrap();
    std::fs::write(folder.join("specs/net.bpm"), SPEC).unwrap();
    data(&folder.join("specs/data/train.npz"), 7);
    data(&folder.join("specs/data/test.npz"), 3);
    // Paths in the spec are relative to it, and the command runs elsewhere.
    let train = |name: &str, more: &[&str]| {
        let all = [&["train", "specs/net.bpm", "--out", name, "--quiet"], more].concat();
        let (good, said) = bpmc(&folder, &all);
        assert!(good, "{said}");
    };
    train("whole", &[]);
    let records = |name: &str| metrics(&folder.join(name));
    let files = |name: &str| shelf(&folder.join(name));
    assert_eq!(records("whole").len(), 9);
    train("threads", &["--threads", "3"]);
    assert_eq!(records("whole"), records("threads"));
    assert!(files("whole") == files("threads"));

    // A run whose last checkpoint is that of iteration 4 goes on from there.
    train("parts", &[]);
    for (name, _) in files("parts") {
        if !name.contains('4') {
            std::fs::remove_file(folder.join("parts/checkpoints").join(name)).unwrap();
        }
    }
    train("parts", &["--resume"]);
    assert_eq!(records("whole"), records("parts"));
    let last = |name: &str| files(name).into_iter().find(|(name, _)| name.contains('9'));
    assert!(last("whole").is_some());
    assert!(last("whole") == last("parts"));

    // Evaluation runs on the test file, from a third place.
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let (good, said) = bpmc(
        &elsewhere,
        &["eval", "../whole", "--episodes", "3", "--json"],
    );
    assert!(good, "{said}");
    // The fourth lane, beyond the last sequence, has no say in what is measured.
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["measure"], "accuracy.label", "{said}");
    // Another file by the command line, relative to where it is given.
    data(&elsewhere.join("other.npz"), 5);
    let set = [
        "train",
        "../specs/net.bpm",
        "--set",
        "task.train=other.npz",
        "--out",
        "set",
        "--quiet",
    ];
    let (good, said) = bpmc(&elsewhere, &set);
    assert!(good, "{said}");
    let (good, said) = bpmc(&folder, &["eval", "elsewhere/set", "--episodes", "3"]);
    assert!(good, "{said}");
    std::fs::remove_file(folder.join("specs/data/test.npz")).unwrap();
    let (good, said) = bpmc(&elsewhere, &["eval", "../whole"]);
    assert!(
        !good && said.contains("cannot read") && said.contains("test.npz"),
        "{said}"
    );
}

#[test]
fn check_tells_what_is_in_the_files() {
    let folder = scratch("own_data_check");
    std::fs::write(folder.join("net.bpm"), EQUAL).unwrap();
    let check = |expected: &[&str]| {
        let (good, said) = bpmc(&folder, &["check", "net.bpm"]);
        assert!(!good, "{said}");
        for text in expected {
            assert!(said.contains(text), "{text}: {said}");
        }
    };
    check(&["cannot read train.npz", "net.bpm:6"]);
    write(
        &folder.join("train.npz"),
        &[
            ("xx", floats(&[4, 5, 2], |_| 0.0)),
            ("label", wholes(&[4, 5], |_| 1)),
        ],
    );
    check(&["`label` [4, 5] of int64, `xx` [4, 5, 2] of float32"]);
    write(
        &folder.join("train.npz"),
        &[("x", floats(&[4, 5, 2], |_| 0.0))],
    );
    check(&[
        "train.npz has no array for an output of the network (`label`)",
        "`x` [4, 5, 2] of float32",
    ]);
    // Whole numbers are classes, so a single number is not what the network takes.
    let spec = EQUAL.replace("[task.x]", "[1]");
    std::fs::write(folder.join("net.bpm"), spec).unwrap();
    write(
        &folder.join("train.npz"),
        &[
            ("x", wholes(&[4, 5], |k| k as i64)),
            ("label", wholes(&[4, 5], |_| 1)),
        ],
    );
    check(&[
        "input `x` has size 1, but the task gives 20",
        "x.astype(np.float32)",
    ]);
}

#[test]
fn a_number_that_is_none_stops_the_run_with_its_place() {
    let folder = scratch("own_data_nan");
    std::fs::write(folder.join("net.bpm"), EQUAL).unwrap();
    let arrays = [
        (
            "x",
            floats(&[4, 5, 2], |k| if k == 27 { f32::NAN } else { 0.5 }),
        ),
        ("label", wholes(&[4, 5], |k| k as i64 % 4)),
    ];
    write(&folder.join("train.npz"), &arrays);
    for backend in ["fused", "candle"] {
        let (good, said) = bpmc(
            &folder,
            &[
                "train",
                "net.bpm",
                "--backend",
                backend,
                "--out",
                backend,
                "--quiet",
            ],
        );
        assert!(!good, "{said}");
        let expected = "train.npz, array `x`, sequence 2, step 3 (counted from 0): NaN";
        assert!(said.contains(expected), "{said}");
    }
}

/// A linear network, so that its losses can be computed by hand; it learns nothing where the rate is 0.
const LINEAR: &str = "
network net {
  input x: [task.x]
  output y = linear(x, task.y)
}
task sequences { train = \"train.npz\", valid = \"valid.npz\", order = file }
train supervised {
  loss = mean_squares, batch = 4, epochs = 6, metrics_every = 1, checkpoint_every = 0, keep_checkpoints = 100
  optimizer sgd { lr = 0 }
}
";

/// Targets that no linear function of the inputs gives, with a shift.
fn linear(path: &Path, sequences: usize, shift: f32) {
    let arrays = [
        (
            "x",
            floats(&[sequences, 3, 2], |k| ((k * 37 % 101) as f32 / 50.0) - 1.0),
        ),
        (
            "y",
            floats(&[sequences, 3, 1], |k| shift + (k * 13 % 7) as f32),
        ),
    ];
    write(path, &arrays);
}

fn linear_run(folder: &Path, name: &str, backend: &str, set: &[&str]) -> String {
    let mut arguments = vec!["train", "net.bpm", "--out", name, "--backend", backend];
    set.iter().for_each(|set| arguments.extend(["--set", set]));
    let (good, said) = bpmc(folder, &arguments);
    assert!(good, "{said}");
    said
}

#[test]
fn epochs_end_with_the_loss_of_every_sequence_of_the_validation_file() {
    let folder = scratch("own_data_epochs");
    std::fs::write(folder.join("net.bpm"), LINEAR).unwrap();
    // Ten sequences in batches of four: epochs end after 3, 5, 8, 10, 13 and 15 iterations.
    linear(&folder.join("train.npz"), 10, 0.0);
    linear(&folder.join("valid.npz"), 7, 3.0);
    for backend in ["fused", "candle", "reference"] {
        let device = ["--device", "emulated"];
        linear_run(&folder, backend, backend, &[]);
        let records = metrics(&folder.join(backend));
        let validated: Vec<(u64, u64)> = records
            .iter()
            .filter(|record| !record["valid_loss"].is_null())
            .map(|record| {
                (
                    record["iteration"].as_u64().unwrap(),
                    record["epoch"].as_f64().unwrap() as u64,
                )
            })
            .collect();
        assert_eq!(
            validated,
            [(3, 1), (5, 2), (8, 3), (10, 4), (13, 5), (15, 6)]
        );
        assert_eq!(records.len(), 15);
        // The same sequences as those that are learned from, each once, cost the mean over all batches.
        let all: Vec<f64> = records
            .iter()
            .map(|r| r["loss"].as_f64().unwrap())
            .collect();
        let batches = [all[0], all[1], all[2], all[3], all[4]];
        let mean = batches.iter().sum::<f64>() / 5.0;
        let set = ["task.valid=train.npz", "train.epochs=2"];
        linear_run(&folder, &format!("{backend}-own"), backend, &set);
        let own = metrics(&folder.join(format!("{backend}-own")));
        let loss = own[4]["valid_loss"].as_f64().unwrap();
        assert!((loss - mean).abs() < 1e-6, "{backend}: {loss} {mean}");
        if backend == "fused" {
            let arguments = ["train", "net.bpm", "--out", "device", "--quiet"];
            let (good, said) = bpmc(&folder, &[&arguments[..], &device].concat());
            assert!(good, "{said}");
            // Sums over lanes round otherwise on a device.
            let norms = |records: &[serde_json::Value]| -> Vec<f64> {
                let norms = records
                    .iter()
                    .map(|record| record["gradient_norm"].as_f64());
                norms.collect::<Option<_>>().unwrap()
            };
            let found = metrics(&folder.join("device"));
            for (a, b) in norms(&found).iter().zip(norms(&records)) {
                assert!((a - b).abs() <= 1e-6 * b.abs(), "gradient norm {a} {b}");
            }
            let rest = |mut records: Vec<serde_json::Value>| {
                for record in &mut records {
                    record["gradient_norm"].take();
                }
                records
            };
            assert_eq!(rest(found), rest(records));
        }
    }
}

#[test]
fn a_run_ends_when_the_validation_loss_does_not_fall_any_more() {
    let folder = scratch("own_data_patience");
    let spec = LINEAR
        .replace(
            "epochs = 6",
            "epochs = 50, patience = 3, rate = cosine, warm_up = 5",
        )
        .replace("lr = 0", "lr = 0.3");
    std::fs::write(folder.join("net.bpm"), spec).unwrap();
    linear(&folder.join("train.npz"), 8, 0.0);
    // What is learned from the one fits the other the less, the more is learned.
    linear(&folder.join("valid.npz"), 8, -9.0);
    let said = linear_run(&folder, "run", "fused", &[]);
    assert!(
        said.contains("the validation loss did not fall any more"),
        "{said}"
    );
    let records = metrics(&folder.join("run"));
    let losses: Vec<f64> = records
        .iter()
        .filter_map(|r| r["valid_loss"].as_f64())
        .collect();
    let best = (0..losses.len())
        .min_by(|a, b| losses[*a].total_cmp(&losses[*b]))
        .unwrap();
    assert_eq!(losses.len(), best + 1 + 3);
    let list = std::fs::read_to_string(folder.join("run/checkpoints/manifest.yaml")).unwrap();
    let expected = format!("iteration: {}\n  measure: validation loss", 2 * (best + 1));
    assert!(list.contains(&expected), "{list}");
    // A run that has settled does not go on.
    let (good, said) = bpmc(&folder, &["train", "net.bpm", "--out", "run", "--resume"]);
    assert!(good, "{said}");
    assert_eq!(metrics(&folder.join("run")).len(), records.len());
}

#[test]
fn rates_follow_their_schedule_on_every_backend() {
    let folder = scratch("own_data_rates");
    std::fs::write(folder.join("net.bpm"), LINEAR).unwrap();
    linear(&folder.join("train.npz"), 8, 0.0);
    linear(&folder.join("valid.npz"), 8, 0.0);
    let common = ["train.epochs=0", "train.iterations=2"];
    for backend in ["fused", "candle"] {
        // What the first iteration has done shows in the loss of the second: a tenth of the rate.
        let second = |name: &str, set: &[&str]| {
            let name = format!("{backend}-{name}");
            linear_run(&folder, &name, backend, &[&common[..], set].concat());
            metrics(&folder.join(name))[1]["loss"].as_f64().unwrap()
        };
        let full = second("full", &["train.optimizer.lr=0.5"]);
        let tenth = second("tenth", &["train.optimizer.lr=0.05"]);
        let warm = second("warm", &["train.optimizer.lr=0.5", "train.warm_up=10"]);
        assert!(
            (warm - tenth).abs() < 1e-6 && (warm - full).abs() > 1e-3,
            "{warm} {tenth} {full}"
        );
    }
}

#[test]
fn epochs_and_iterations_exclude_each_other() {
    let folder = scratch("own_data_lengths");
    linear(&folder.join("train.npz"), 8, 0.0);
    linear(&folder.join("valid.npz"), 8, 0.0);
    let spec = LINEAR.replace("epochs = 6", "epochs = 6, iterations = 7");
    std::fs::write(folder.join("net.bpm"), spec).unwrap();
    let (good, said) = bpmc(&folder, &["check", "net.bpm"]);
    assert!(
        !good && said.contains("in epochs and in iterations"),
        "{said}"
    );
    let (good, said) = bpmc(&folder, &["check", "net.bpm", "--set", "train.epochs=0"]);
    assert!(good, "{said}");
}
