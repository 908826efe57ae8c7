//! The task `sequences` from its files to a trained run.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::data_files::{archive, npy};
use crate::runs_support::{metrics, run, shelf};
use crate::scratch::scratch;
use std::fmt::Write;
use std::path::Path;

/// `bpmc` in a directory: whether it went well, and what it said.
fn bpmc(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let (code, out, errors) = run(directory, arguments);
    (code == Some(0), out + &errors)
}

fn floats(shape: &[usize], value: impl Fn(usize) -> f32) -> Vec<u8> {
    let data: Vec<u8> = (0..shape.iter().product())
        .flat_map(|k| value(k).to_le_bytes())
        .collect();
    npy("<f4", &dims(shape), &data)
}

fn wholes(shape: &[usize], value: impl Fn(usize) -> i64) -> Vec<u8> {
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

fn write(path: &Path, arrays: &[(&str, Vec<u8>)]) {
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
