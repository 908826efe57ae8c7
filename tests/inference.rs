//! `bpmc run`: outputs, probes and states for given inputs, against the interpreter, in parts, and as a stream.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::{command, outcome, run};
use crate::scratch::scratch;
use bpmc::driver::{compile, from_disk};
use bpmc::engine::params::ParamStore;
use bpmc::engine::reference::{evaluate, Leaves};
use bpmc::ir::ResultKind;
use bpmc::lab::replay::archive;
use bpmc::learn::data::Source;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

const SPEC: &str = "
network net {
  input x: [3]
  state h: [5] = 0.1
  plastic rec: h -> y using retroactive(m) {
    weight w ~ uniform(-0.4, 0.4)
    coeff alpha ~ uniform(0, 0.5) per connection
  }
  y = tanh(linear(x) + rec)
  modulator m = tanh(linear(y, 1))
  h <- y
  output out = linear(y, 2)
}
train supervised { batch = 2, steps = 4, seed = 7, iterations = 3 }
";

const LANES: usize = 3;
/// More than run without a pause.
const STEPS: usize = 300;
const LENGTHS: [usize; LANES] = [300, 17, 256];

fn inputs() -> Vec<f64> {
    let number = |k: usize| f64::from((k as f64 * 0.37).sin() as f32);
    (0..LANES * STEPS * 3).map(number).collect()
}

fn write(root: &Path, name: &str, arrays: &[(&str, Vec<usize>, &[f64])]) {
    let arrays: Vec<_> = arrays
        .iter()
        .map(|(name, dims, values)| ((*name).to_owned(), dims.clone(), *values))
        .collect();
    std::fs::write(root.join(name), archive(&arrays, false)).unwrap();
}

fn read(root: &Path, file: &str, name: &str) -> (Vec<usize>, Vec<f64>) {
    let array = Source::open(&root.join(file)).unwrap().array(name).unwrap();
    let count = array.header.dims.iter().product();
    let values = (0..count).map(|k| array.real(k)).collect();
    (array.header.dims, values)
}

fn works(root: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = run(root, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

/// Outputs `[step][lane]`, and the traces that entered the steps, of the interpreter in 64 bits.
fn interpreted(root: &Path) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let text = std::fs::read_to_string(root.join("net.bpm")).unwrap();
    let compilation = compile("net.bpm", &text, &[], &from_disk).unwrap();
    let step = compilation.program.unwrap().step;
    let params = ParamStore::init(&step.params, 7).wide();
    let first =
        |k: usize| vec![step.states[k].init; LANES * step.states[k].dims.iter().product::<usize>()];
    let mut states: Vec<Vec<f64>> = (0..step.states.len()).map(first).collect();
    let hebb = step
        .states
        .iter()
        .position(|slot| slot.path == "rec.hebb")
        .unwrap();
    let (mut outputs, mut traces) = (Vec::new(), Vec::new());
    let x = inputs();
    for t in 0..STEPS {
        traces.push(states[hebb].clone());
        let mut now = Vec::new();
        for lane in 0..LANES {
            now.extend(&x[(lane * STEPS + t) * 3..][..3]);
        }
        let inputs = [now];
        let leaves = Leaves {
            params: &params,
            inputs: &inputs,
            states: &states,
            ..Leaves::default()
        };
        let results = evaluate(&step, LANES, &leaves).unwrap();
        for ((kind, _), values) in step.results().iter().zip(results) {
            match kind {
                ResultKind::Output(_) => outputs.push(values),
                ResultKind::Next(id) => states[id.index()] = values,
                _ => {}
            }
        }
    }
    (outputs, traces)
}

#[test]
fn a_network_on_given_inputs_is_the_interpreter() {
    let root = scratch("inference-interpreter");
    std::fs::write(root.join("net.bpm"), SPEC).unwrap();
    write(&root, "x.npz", &[("x", vec![LANES, STEPS, 3], &inputs())]);
    let (outputs, traces) = interpreted(&root);
    for (backend, bound) in [("fused", 2e-4), ("candle", 2e-4), ("reference", 0.0)] {
        let out = format!("{backend}.npz");
        let text = works(
            &root,
            &[
                "run",
                "net.bpm",
                "--inputs",
                "x.npz",
                "--probe",
                "rec.hebb,m,x",
                "-o",
                &out,
                "--backend",
                backend,
            ],
        );
        assert!(
            text.contains("out [3, 300, 2]\nrec.hebb [3, 300, 5, 5]\nm [3, 300]\nx [3, 300, 3]"),
            "{text}"
        );
        let (dims, values) = read(&root, &out, "out");
        assert_eq!(dims, [LANES, STEPS, 2]);
        let (_, hebb) = read(&root, &out, "rec.hebb");
        for lane in 0..LANES {
            for t in 0..STEPS {
                for k in 0..2 {
                    let (here, there) =
                        (values[(lane * STEPS + t) * 2 + k], outputs[t][lane * 2 + k]);
                    assert!(
                        (here - there).abs() <= bound,
                        "{backend}, step {t}: {here}, {there}"
                    );
                }
                for k in 0..25 {
                    let (here, there) =
                        (hebb[(lane * STEPS + t) * 25 + k], traces[t][lane * 25 + k]);
                    assert!(
                        (here - there).abs() <= bound,
                        "{backend}, step {t}: {here}, {there}"
                    );
                }
            }
        }
        assert_eq!(read(&root, &out, "x").1, inputs());
        assert!(read(&root, &out, "m").1.iter().all(|m| m.abs() <= 1.0));
    }
}

#[test]
fn a_run_goes_on_from_the_states_of_another() {
    let root = scratch("inference-parts");
    std::fs::write(root.join("net.bpm"), SPEC).unwrap();
    let x = inputs();
    let lengths: Vec<f64> = LENGTHS.iter().map(|n| *n as f64).collect();
    // Lengths are whole numbers.
    let mut csv = "sequence,x[0],x[1],x[2]\n".to_owned();
    for (lane, length) in LENGTHS.iter().enumerate() {
        for t in 0..*length {
            let row = &x[(lane * STEPS + t) * 3..][..3];
            csv.push_str(&format!("{lane},{},{},{}\n", row[0], row[1], row[2]));
        }
    }
    std::fs::write(root.join("short.csv"), csv).unwrap();
    write(&root, "x.npz", &[("x", vec![LANES, STEPS, 3], &x)]);
    let cut = |from: usize, to: usize| {
        let lanes = (0..LANES)
            .flat_map(|lane| x[(lane * STEPS + from) * 3..(lane * STEPS + to) * 3].to_vec());
        lanes.collect::<Vec<f64>>()
    };
    write(&root, "a.npz", &[("x", vec![LANES, 256, 3], &cut(0, 256))]);
    write(&root, "b.npz", &[("x", vec![LANES, 44, 3], &cut(256, 300))]);
    write(
        &root,
        "wrong.npz",
        &[
            ("x", vec![LANES, STEPS, 3], &x),
            ("length", vec![LANES], &lengths),
        ],
    );
    let probe = ["--probe", "next h"];
    works(
        &root,
        &[
            &["run", "net.bpm", "--inputs", "x.npz", "-o", "x_out.npz"][..],
            &probe,
        ]
        .concat(),
    );
    works(
        &root,
        &["run", "net.bpm", "--inputs", "a.npz", "-o", "a_out.npz"],
    );
    works(
        &root,
        &[
            "run",
            "net.bpm",
            "--inputs",
            "b.npz",
            "--state",
            "a_out.npz",
            "-o",
            "b_out.safetensors",
        ],
    );
    let (whole, last) = (
        read(&root, "x_out.npz", "out").1,
        read(&root, "b_out.safetensors", "out").1,
    );
    for lane in 0..LANES {
        assert_eq!(
            whole[(lane * STEPS + 256) * 2..(lane + 1) * STEPS * 2],
            last[lane * 88..(lane + 1) * 88]
        );
    }
    for state in ["start.h", "start.rec.hebb", "start.rec.e"] {
        assert_eq!(
            read(&root, "x_out.npz", state),
            read(&root, "b_out.safetensors", state),
            "{state}"
        );
    }

    // Sequences that end early leave their last states, and nothing after.
    let (code, _, err) = run(
        &root,
        &["run", "net.bpm", "--inputs", "wrong.npz", "-o", "w.npz"],
    );
    assert_eq!(code, Some(1));
    assert!(
        err.contains("wrong.npz, array `length`: sequence 0"),
        "{err}"
    );
    works(
        &root,
        &["run", "net.bpm", "--inputs", "short.csv", "-o", "s.npz"],
    );
    let (_, short) = read(&root, "s.npz", "out");
    let (_, entering) = read(&root, "x_out.npz", "next h");
    let (_, end) = read(&root, "s.npz", "start.h");
    for (lane, length) in LENGTHS.iter().enumerate() {
        for t in 0..STEPS {
            let at = (lane * STEPS + t) * 2;
            if t < *length {
                assert_eq!(short[at..at + 2], whole[at..at + 2]);
            } else {
                assert!(short[at].is_nan() && short[at + 1].is_nan());
            }
        }
        let at = (lane * STEPS + length - 1) * 5;
        assert_eq!(end[lane * 5..(lane + 1) * 5], entering[at..at + 5]);
    }
}

#[test]
fn a_stream_answers_each_line_and_takes_a_run() {
    let root = scratch("inference-stream");
    let spec = SPEC.replace(", steps = 4,", ",") + "task sequences { train = \"train.npz\" }\n";
    std::fs::write(root.join("net.bpm"), spec).unwrap();
    let target: (&str, Vec<usize>, &[f64]) = ("out", vec![2, 4, 2], &[0.5; 16]);
    write(
        &root,
        "train.npz",
        &[("x", vec![2, 4, 3], &inputs()[..24]), target],
    );
    works(&root, &["train", "net.bpm", "-q", "--out", "a"]);
    let x = inputs();
    write(&root, "x.npz", &[("x", vec![1, 6, 3], &x[..18])]);
    works(
        &root,
        &[
            "run", "a", "--inputs", "x.npz", "--probe", "m", "-o", "out.npz",
        ],
    );
    let mut child = command(
        &root,
        &["run", "a", "--stream", "--probe", "m", "-o", "end.npz"],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut input = child.stdin.take().unwrap();
    for k in 0..12 {
        let row = &x[k % 6 * 3..][..3];
        let reset = if k == 6 { ", \"reset\": true" } else { "" };
        writeln!(
            input,
            "{{\"x\": [{}, {}, {}]{reset}}}",
            row[0], row[1], row[2]
        )
        .unwrap();
    }
    drop(input);
    let (code, out, err) = outcome(child.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 12);
    let (_, expected) = read(&root, "out.npz", "out");
    for (k, line) in lines.iter().enumerate() {
        assert_eq!(line["step"], k);
        for j in 0..2 {
            assert_eq!(
                line["out"][j].as_f64().unwrap(),
                expected[k % 6 * 2 + j],
                "step {k}"
            );
        }
        assert!(line["m"].is_number());
    }
    assert_eq!(
        read(&root, "end.npz", "start.rec.hebb"),
        read(&root, "out.npz", "start.rec.hebb")
    );

    for (line, found) in [
        (
            "{\"x\": [1, 2]}",
            "line 1 of standard input: `x` has 2 numbers, and 3 are needed",
        ),
        ("{\"y\": [1, 2, 3]}", "the network has no input `y`"),
        (
            "{\"x\": [1, 2, \"a\"]}",
            "`x` has \"a\" where a number is needed",
        ),
        ("{}", "it has no `x`, which the network reads"),
        ("x = 3", "it is not JSON"),
    ] {
        let mut child = command(&root, &["run", "a", "--stream"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{line}").unwrap();
        let (code, _, err) = outcome(child.wait_with_output().unwrap());
        assert_eq!(code, Some(1), "{line}");
        assert!(err.contains(found), "{line}: {err}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let root = scratch("inference-wrong");
    std::fs::write(root.join("net.bpm"), SPEC).unwrap();
    let mut bad = vec![0.0; 24];
    bad[7] = f64::NAN;
    write(&root, "nan.npz", &[("x", vec![2, 4, 3], &bad)]);
    write(&root, "size.npz", &[("x", vec![2, 4, 2], &bad[..16])]);
    write(&root, "name.npz", &[("xs", vec![2, 4, 3], &bad)]);
    write(&root, "good.npz", &[("x", vec![2, 2, 3], &[0.5; 12])]);
    write(&root, "state.npz", &[("start.h", vec![3, 5], &[0.0; 15])]);
    write(&root, "other.npz", &[("start.g", vec![2, 5], &[0.0; 10])]);
    for (arguments, found) in [
        (&["nan.npz"][..], "nan.npz, array `x`: sequence 0, step 2: it is NaN"),
        (&["size.npz"], "array `x`: it is [2, 4, 2] of float32, and [2, 4, 3] is needed: sequences, steps, size"),
        (&["name.npz"], "has no array `x`, and the network reads one\n  help: it has `xs` [2, 4, 3]"),
        (&["none.npz"], "none.npz"),
        (&["good.npz", "--state", "state.npz"], "array `start.h`: it is [3, 5] of float32, and [2, 5] is needed"),
        (&["good.npz", "--state", "other.npz"], "the network has no state `g`\n  help: it has `h`, "),
    ] {
        let start = ["run", "net.bpm", "-o", "out.npz", "--inputs"];
        let (code, _, err) = run(&root, &[&start[..], arguments].concat());
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(err.contains(found), "{arguments:?}: {err}");
        assert!(!root.join("out.npz").exists());
    }
    for arguments in [
        &["--probe", "z", "-o", "a.npz"][..],
        &["-o", "a.txt"],
        &["--probe", "episode.trial", "-o", "a.npz"],
    ] {
        let start = ["run", "net.bpm", "--inputs", "good.npz"];
        let (code, _, err) = run(&root, &[&start[..], arguments].concat());
        assert!(matches!(code, Some(1 | 2)), "{arguments:?}: {err}");
    }
}
