//! First values of states and traces from a file of sequences.

use crate::data_files::{archive, npy};
use crate::own_data::{bpmc, floats, wholes, write};
use crate::runs_support::metrics;
use crate::scratch::scratch;
use bpmc::driver::{compile, from_disk};
use bpmc::engine::experiment::{Experiment, Target};
use bpmc::step::passes::Selection;
use std::path::Path;

const SPEC: &str = "
network net {
  input x: [task.x]
  state h: [N] = 0
  plastic rec: h -> y {
    weight w ~ uniform(-0.1, 0.1)
    trace hebb = 0
    transmit w + hebb
    hebb <- 0.9 * hebb + 0.1 * pre * post
  }
  y = tanh(linear(x) + rec)
  h <- y
  output label = linear(y, task.label)
}
dim N = 24
task sequences { train = \"train.npz\" }
train supervised { loss = cross_entropy, batch = 3, iterations = 4, metrics_every = 1 }
";

fn data(path: &Path, starts: &[(&str, Vec<u8>)]) {
    let common = [
        ("x", floats(&[5, 4, 2], |k| (k % 7) as f32 / 7.0)),
        ("label", wholes(&[5, 4], |k| k as i64 % 3)),
    ];
    let all: Vec<(&str, Vec<u8>)> = common.into_iter().chain(starts.iter().cloned()).collect();
    write(path, &all);
}

#[test]
fn first_values_that_do_not_fit_are_named() {
    let folder = scratch("own_starts_faults");
    std::fs::write(folder.join("net.bpm"), SPEC).unwrap();
    let said = |starts: &[(&str, Vec<u8>)], arguments: &[&str]| {
        data(&folder.join("train.npz"), starts);
        let (good, said) = bpmc(&folder, arguments);
        assert!(!good, "{said}");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let check: &[&str] = &["check", "net.bpm"];
    for (starts, expected) in [
        (
            ("start.hh", floats(&[5, 24], |_| 0.0)),
            "train.npz, array `start.hh`: the network has no state `hh`",
        ),
        (
            ("start.hh", floats(&[5, 24], |_| 0.0)),
            "there are `h` [24], `rec.hebb` [24, 24]",
        ),
        (
            ("start.h", floats(&[5, 23], |_| 0.0)),
            "train.npz, array `start.h`: it has [23] for each sequence, and `h` is [24]",
        ),
        (
            ("start.rec.hebb", floats(&[5, 24], |_| 0.0)),
            "it has [24] for each sequence, and `rec.hebb` is [24, 24]",
        ),
        (
            ("start.h", floats(&[4, 24], |_| 0.0)),
            "train.npz, array `start.h`: it is [4, 24], and there are 5 sequences",
        ),
    ] {
        let found = said(&[starts], check);
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let bad = [(
        "start.h",
        floats(&[5, 24], |k| if k == 50 { f32::NAN } else { 0.0 }),
    )];
    let expected = "train.npz, array `start.h`, sequence 2 (counted from 0): element 2 is NaN";
    for backend in ["fused", "candle", "reference"] {
        let found = said(
            &bad,
            &["train", "net.bpm", "--backend", backend, "--out", backend],
        );
        assert!(found.contains(expected), "{found}");
    }
    let found = said(
        &bad,
        &[
            "train", "net.bpm", "--device", "emulated", "--out", "device",
        ],
    );
    assert!(found.contains(expected), "{found}");
    // Parts of the data have the same first values.
    std::fs::copy(folder.join("train.npz"), folder.join("valid.npz")).unwrap();
    let found = said(&[], &["check", "net.bpm", "--set", "task.valid=valid.npz"]);
    assert!(
        found.contains("has the first values `start.h` [24], and train.npz none"),
        "{found}"
    );
}

#[test]
fn a_run_and_its_evaluation_begin_with_the_same_states() {
    let folder = scratch("own_starts_run");
    std::fs::write(folder.join("net.bpm"), SPEC).unwrap();
    let h = floats(&[5, 24], |k| ((k * 31 % 17) as f32 - 8.0) / 10.0);
    let hebb = floats(&[5, 24, 24], |k| ((k * 13 % 23) as f32 - 11.0) / 20.0);
    data(
        &folder.join("train.npz"),
        &[("start.h", h.clone()), ("start.rec.hebb", hebb.clone())],
    );
    // Stored vectors in place of the trace would begin at 0.
    let set = [format!("task.train={}", folder.join("train.npz").display())];
    let compilation = compile("net.bpm", SPEC, &set, &from_disk).unwrap();
    let program = compilation.program.unwrap();
    let experiment = Experiment::trained(&program, Target::Kernels, &Selection::default()).unwrap();
    let forms: Vec<String> = experiment.forms().map(ToString::to_string).collect();
    assert_eq!(
        forms,
        ["`rec.hebb`: form: dense, because its first values are not one number"]
    );
    for (device, backend) in [
        ("cpu", "fused"),
        ("cpu", "candle"),
        ("cpu", "reference"),
        ("emulated", "fused"),
    ] {
        let name = format!("{backend}-{device}");
        let all = [
            "train",
            "net.bpm",
            "--device",
            device,
            "--backend",
            backend,
            "--out",
            &name,
            "--quiet",
            "--set",
            "task.order=file",
            "--set",
            "train.burn_in=100",
        ];
        let (good, said) = bpmc(&folder, &all);
        assert!(good, "{said}");
        // Sequences 0, 1, 2, then 3, 4, 0 of the file, always with the first parameters.
        let losses: Vec<f64> = metrics(&folder.join(&name))
            .iter()
            .map(|r| r["loss"].as_f64().unwrap())
            .collect();
        assert_eq!(losses.len(), 4);
        let (good, said) = bpmc(&folder, &["eval", &name, "--json"]);
        assert!(good, "{said}");
        let found: serde_json::Value = serde_json::from_str(&said).unwrap();
        // `run` begins with the same arrays, and gives the logits of each sequence.
        let (good, said) = bpmc(
            &folder,
            &[
                "run",
                &name,
                "--inputs",
                "train.npz",
                "--backend",
                "reference",
                "-o",
                "out.npz",
            ],
        );
        assert!(good, "{said}");
        let source = bpmc::learn::data::Source::open(&folder.join("out.npz")).unwrap();
        let logits = source.array("label").unwrap();
        let cost = |sequence: usize| -> f64 {
            let step = |t: usize| {
                let row = sequence * 4 + t;
                let logits: Vec<f64> = (0..3).map(|k| logits.real(row * 3 + k)).collect();
                logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[row % 3]
            };
            (0..4).map(step).sum::<f64>() / 4.0
        };
        let mean = |all: &[usize]| all.iter().map(|k| cost(*k)).sum::<f64>() / all.len() as f64;
        for (loss, sequences) in losses
            .iter()
            .zip([[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]])
        {
            let wanted = mean(&sequences);
            assert!((loss - wanted).abs() < 1e-5, "{name}: {loss} {wanted}");
        }
        let loss = found["loss"].as_f64().unwrap();
        assert!(
            (loss - mean(&[0, 1, 2, 3, 4])).abs() < 1e-5,
            "{name}: {said}"
        );
    }
    // Without the arrays the losses are others.
    let bytes = archive(
        false,
        &[
            ("x", floats(&[5, 4, 2], |k| (k % 7) as f32 / 7.0)),
            (
                "label",
                npy(
                    "<i8",
                    "(5,4,)",
                    &(0..20i64)
                        .flat_map(|k| (k % 3).to_le_bytes())
                        .collect::<Vec<_>>(),
                ),
            ),
        ],
    );
    std::fs::write(folder.join("other.npz"), bytes).unwrap();
    let (good, said) = bpmc(&folder, &["eval", "fused-cpu", "--data", "other.npz"]);
    assert!(!good && said.contains("start.h"), "{said}");
}

/// States and traces that begin with arrays are those of a file of sequences in which all begin alike.
#[test]
fn states_and_traces_begin_with_arrays() {
    let folder = scratch("own_starts_arrays");
    let h: Vec<f32> = (0..24).map(|k| (k * 31 % 17) as f32 / 16.0 - 0.5).collect();
    let hebb = |k: usize| ((k * 13 % 23) as f32 - 11.0) / 32.0;
    data(
        &folder.join("train.npz"),
        &[
            ("start.h", floats(&[5, 24], |k| h[k % 24])),
            ("start.rec.hebb", floats(&[5, 24, 24], |k| hebb(k % 576))),
        ],
    );
    data(&folder.join("plain.npz"), &[]);
    std::fs::write(folder.join("hebb.npy"), floats(&[24, 24], hebb)).unwrap();
    let arrays = SPEC
        .replace("state h: [N] = 0", &format!("state h: [N] = {h:?}"))
        .replace("trace hebb = 0", "trace hebb = file(\"hebb.npy\")")
        .replace("train.npz", "plain.npz");
    assert!(arrays.contains("= [-0.5, ") && arrays.contains("file(\"hebb.npy\")"));
    std::fs::write(folder.join("given.bpm"), SPEC).unwrap();
    std::fs::write(folder.join("arrays.bpm"), &arrays).unwrap();
    let done = |arguments: &[&str]| {
        let (good, said) = bpmc(&folder, arguments);
        assert!(good, "{arguments:?}: {said}");
        said
    };
    for (device, backend) in [
        ("cpu", "fused"),
        ("cpu", "candle"),
        ("cpu", "reference"),
        ("emulated", "fused"),
    ] {
        for chunk in ["train.chunk=0", "train.chunk=3"] {
            let records = |spec: &str| {
                let name = format!("{spec}-{backend}-{device}-{}", &chunk[12..]);
                let spec = format!("{spec}.bpm");
                done(&[
                    "train",
                    &spec,
                    "--device",
                    device,
                    "--backend",
                    backend,
                    "--out",
                    &name,
                    "--quiet",
                    "--set",
                    chunk,
                ]);
                metrics(&folder.join(name))
            };
            assert_eq!(
                records("arrays"),
                records("given"),
                "{backend} {device} {chunk}"
            );
        }
    }
    // The run has the array, and its evaluations begin with it.
    std::fs::remove_file(folder.join("hebb.npy")).unwrap();
    let loss = |arguments: &[&str]| -> f64 {
        let said = done(&[arguments, &["--json"]].concat());
        let found: serde_json::Value = serde_json::from_str(&said).unwrap();
        found["loss"].as_f64().unwrap()
    };
    assert_eq!(
        loss(&["eval", "arrays-fused-cpu-0"]),
        loss(&["eval", "given-fused-cpu-0"])
    );
    // Traces that are reset before the first step are where they begin.
    let said = done(&[
        "eval",
        "arrays-fused-cpu-0",
        "--ablate",
        "reset:0",
        "--json",
    ]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["ablations"][0]["mean"], found["mean"], "{said}");
    let outputs = |run: &str, inputs: &str| {
        done(&["run", run, "--inputs", inputs, "-o", "out.npz"]);
        let source = bpmc::learn::data::Source::open(&folder.join("out.npz")).unwrap();
        let label = source.array("label").unwrap();
        (0..60).map(|k| label.real(k)).collect::<Vec<f64>>()
    };
    assert_eq!(
        outputs("arrays-fused-cpu-0", "plain.npz"),
        outputs("given-fused-cpu-0", "train.npz")
    );
    let (good, said) = bpmc(
        &folder,
        &["export", "arrays-fused-cpu-0", "--to", "numpy", "-o", "out"],
    );
    assert!(!good && said.contains("begins with an array"), "{said}");
    let manifest = bpmc::lab::run::open(&folder.join("arrays-fused-cpu-0"))
        .unwrap()
        .manifest;
    assert_eq!(
        manifest.file_hashes.keys().collect::<Vec<_>>(),
        ["rec.hebb"]
    );
    // What does not fit is named with the state.
    let bad = arrays.replace("file(\"hebb.npy\")", "[[1, 2], [3, 4]]");
    std::fs::write(folder.join("bad.bpm"), bad).unwrap();
    let (good, said) = bpmc(&folder, &["check", "bad.bpm"]);
    assert!(
        !good && said.contains("this array is [2, 2], and `rec.hebb` is [24, 24]"),
        "{said}"
    );
}

/// An array of equal numbers is that number: of trials, of values for gradients, and of texts in chunks.
#[test]
fn arrays_of_one_number_are_that_number() {
    let folder = scratch("own_starts_equal");
    let spec = "
network net {
  input word: [task.words]
  state h: [3] = FIRST reset RESET
  plastic rec: h -> y {
    weight w ~ uniform(-0.5, 0.5)
    trace hebb = 0
    transmit w + hebb
    hebb <- 0.9 * hebb + 0.1 * pre * post
  }
  y = tanh(linear(word) + rec)
  h <- y
  output next_word = linear(y, task.words)
}
task text { words = 11, steps = 5 }
";
    let done = |arguments: &[&str]| {
        let (good, said) = bpmc(&folder, arguments);
        assert!(good, "{arguments:?}: {said}");
        said
    };
    let trainers = [
        "train supervised { loss = cross_entropy, batch = 2, iterations = 3, metrics_every = 1 }",
        "train language_model { batch = 2, epochs = 1, metrics_every = 1, checkpoint_every = 0 }",
    ];
    for (number, trainer) in trainers.iter().enumerate() {
        for backend in ["fused", "candle", "reference"] {
            let records = |first: &str, name: &str| {
                let reset = if number == 0 { "trial" } else { "episode" };
                let text = spec.replace("FIRST", first).replace("RESET", reset);
                std::fs::write(folder.join("net.bpm"), format!("{text}{trainer}")).unwrap();
                let name = format!("{name}-{backend}-{number}");
                let mut all = vec![
                    "train",
                    "net.bpm",
                    "--backend",
                    backend,
                    "--out",
                    &name,
                    "--quiet",
                ];
                if number == 1 {
                    // A short text of its own.
                    all.extend(["--data", "text"]);
                }
                done(&all);
                metrics(&folder.join(name))
            };
            std::fs::create_dir_all(folder.join("text")).unwrap();
            for part in ["train", "valid", "test"] {
                let text = "a b c d\nb c a\nd d a b\n".repeat(3);
                std::fs::write(folder.join(format!("text/{part}.txt")), text).unwrap();
            }
            assert_eq!(
                records("[0.25, 0.25, 0.25]", "array"),
                records("0.25", "number"),
                "{backend} {trainer}"
            );
        }
    }
    // Values for gradients begin with the array, in the template and where a file lacks it.
    let text = "
network net {
  input x: [2]
  state h: [3] = [0.5, -1, 2]
  h <- tanh(linear(x) + h)
  output out = linear(h, 1)
}
train supervised { loss = half_sum_squares, batch = 2, steps = 2 }
";
    std::fs::write(folder.join("net.bpm"), text).unwrap();
    let template = done(&["grad", "net.bpm", "--template"]);
    let mut values: serde_json::Value = serde_json::from_str(&template).unwrap();
    assert_eq!(
        values["initial_state"]["h"],
        serde_json::json!([[0.5, -1.0, 2.0], [0.5, -1.0, 2.0]])
    );
    let loss = |values: &serde_json::Value| {
        std::fs::write(folder.join("values.json"), values.to_string()).unwrap();
        let found: serde_json::Value =
            serde_json::from_str(&done(&["grad", "net.bpm", "--values", "values.json"])).unwrap();
        found["loss"].as_f64().unwrap()
    };
    let whole = loss(&values);
    values.as_object_mut().unwrap().remove("initial_state");
    assert_eq!(loss(&values), whole);
    values["initial_state"] = serde_json::json!({"h": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]});
    assert!(loss(&values) != whole);
}
