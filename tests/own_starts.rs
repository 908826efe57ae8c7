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
        ["`rec.hebb`: form: dense, because each episode has first values of its own"]
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
