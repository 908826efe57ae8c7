//! Truncated backpropagation: sequences in chunks, with states carried and gradients cut.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::own_data::{bpmc, floats, wholes, write};
use crate::runs_support::{metrics, shelf};
use crate::scratch::scratch;
use bpmc::driver::{compile, from_disk};
use bpmc::learn::checkpoint::Checkpoint;
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::{DeviceChoice, DeviceKind};
use bpmc::step::passes::Selection;
use bpmc::step::Compiled;
use std::path::Path;

const SPEC: &str = "
network net {
  input x: [task.x]
  state h: [N] = 0.1
  plastic rec: h -> y {
    weight w ~ uniform(-0.4, 0.4)
    trained eta = 0.3
    trace hebb = 0
    transmit w + hebb
    hebb <- 0.8 * hebb + eta * pre * post
  }
  y = tanh(linear(x) + rec)
  h <- y
  output label = linear(y, task.label)
  output guess = linear(y, 1)
}
dim N = 4
task sequences { train = \"train.npz\", valid = \"train.npz\", order = file }
train supervised {
  loss { label = cross_entropy, guess = 0.5 * mean_squares }
  batch = 4, iterations = 9, chunk = 3, metrics_every = 1, checkpoint_every = 4, warm_up = 4
  optimizer adam { lr = 1e-2 }
}
";

const SEQUENCES: usize = 6;
const STEPS: usize = 7;
const SIZE: usize = 2;
const N: usize = 4;
const CLASSES: usize = 3;
const LANES: usize = 4;
const CHUNK: usize = 3;

fn x(k: usize) -> f32 {
    ((k * 37 % 101) as f32 / 50.0) - 1.0
}

fn class(k: usize) -> usize {
    k * 7 % CLASSES
}

fn guess(sequence: usize) -> f32 {
    0.5 - sequence as f32 / 4.0
}

fn length(sequence: usize) -> usize {
    [7, 5, 2, 6, 3, 4][sequence]
}

fn weight(k: usize) -> f32 {
    [1.0, 0.0, 0.5, 2.0, 1.5][k % 5]
}

fn first(k: usize) -> f32 {
    ((k * 29 % 41) as f32 / 50.0) - 0.4
}

fn data(path: &Path, starts: bool) {
    let all = [SEQUENCES, STEPS];
    let mut arrays = vec![
        ("x", floats(&[SEQUENCES, STEPS, SIZE], x)),
        ("label", wholes(&all, |k| class(k) as i64)),
        ("guess", floats(&[SEQUENCES, 1], guess)),
        ("weight.label", floats(&all, weight)),
        ("length", wholes(&[SEQUENCES], |s| length(s) as i64)),
    ];
    if starts {
        arrays.push(("start.h", floats(&[SEQUENCES, N], first)));
        let trace = floats(&[SEQUENCES, N, N], |k| first(k + 5));
        arrays.push(("start.rec.hebb", trace));
    }
    write(path, &arrays);
}

fn program(text: &str, path: &Path, set: &[&str]) -> Compiled {
    let files = ["train", "valid"].map(|part| format!("task.{part}={}", path.display()));
    let files = files.into_iter().filter(|_| text.contains("sequences"));
    let set: Vec<String> = files.chain(set.iter().map(|s| (*s).to_owned())).collect();
    let compilation = compile("net.bpm", text, &set, &from_disk).unwrap();
    let said: Vec<String> = compilation
        .diagnostics
        .iter()
        .map(|d| d.message.clone())
        .collect();
    compilation.program.unwrap_or_else(|| panic!("{said:?}"))
}

const EVERYWHERE: [(BackendKind, DeviceKind); 4] = [
    (BackendKind::Reference, DeviceKind::Cpu),
    (BackendKind::Fused, DeviceKind::Cpu),
    (BackendKind::Candle, DeviceKind::Cpu),
    (BackendKind::Fused, DeviceKind::Emulated),
];

fn trainer(program: &Compiled, (backend, kind): (BackendKind, DeviceKind)) -> Trainer {
    let options = TrainerOptions {
        threads: 2,
        backend,
        device: DeviceChoice::from(kind),
        passes: Selection::default(),
        memory: None,
    };
    Trainer::new(program, options).unwrap()
}

/// The network written out: parameters by path, and the states of a lane.
#[derive(Clone)]
struct Written {
    w: Vec<f64>,
    eta: f64,
    input: [Vec<f64>; 2],
    label: [Vec<f64>; 2],
    guess: [Vec<f64>; 2],
}

impl Written {
    fn new(of: impl Fn(&str) -> Vec<f64>) -> Written {
        let linear = |name: &str| ["weight", "bias"].map(|end| of(&format!("{name}.linear.{end}")));
        Written {
            w: of("rec.w"),
            eta: of("rec.eta")[0],
            input: linear("y"),
            label: linear("label"),
            guess: linear("guess"),
        }
    }

    /// The parameter with this path, to be changed.
    fn at(&mut self, path: &str, k: usize) -> &mut f64 {
        match path {
            "rec.w" => &mut self.w[k],
            "rec.eta" => &mut self.eta,
            "y.linear.weight" => &mut self.input[0][k],
            "y.linear.bias" => &mut self.input[1][k],
            "label.linear.weight" => &mut self.label[0][k],
            "label.linear.bias" => &mut self.label[1][k],
            "guess.linear.weight" => &mut self.guess[0][k],
            "guess.linear.bias" => &mut self.guess[1][k],
            other => panic!("{other}"),
        }
    }

    /// The loss of a lane over the steps of a chunk, and the states after it.
    fn lane(
        &self,
        sequence: usize,
        [first, steps]: [usize; 2],
        states: &(Vec<f64>, Vec<f64>),
    ) -> (f64, (Vec<f64>, Vec<f64>)) {
        let product = |v: &[f64], [weight, bias]: &[Vec<f64>; 2]| -> Vec<f64> {
            let n = bias.len();
            let sum = |k: usize| {
                v.iter()
                    .enumerate()
                    .map(|(i, x)| x * weight[i * n + k])
                    .sum::<f64>()
            };
            (0..n).map(|k| bias[k] + sum(k)).collect()
        };
        let (mut h, mut hebb) = states.clone();
        let (mut sum, mut weights, mut last) = (0.0, 0.0, 0.0);
        for t in first..first + steps {
            let row = sequence * STEPS + t;
            let there = t < length(sequence);
            let input: Vec<f64> = (0..SIZE)
                .map(|k| {
                    if there {
                        f64::from(x(row * SIZE + k))
                    } else {
                        0.0
                    }
                })
                .collect();
            let mut y = product(&input, &self.input);
            for (post, y) in y.iter_mut().enumerate() {
                for (pre, h) in h.iter().enumerate() {
                    *y += h * (self.w[pre * N + post] + hebb[pre * N + post]);
                }
                *y = y.tanh();
            }
            for pre in 0..N {
                for post in 0..N {
                    let trace = &mut hebb[pre * N + post];
                    *trace = 0.8 * *trace + self.eta * h[pre] * y[post];
                }
            }
            h.clone_from(&y);
            if there {
                let logits = product(&y, &self.label);
                let weight = f64::from(weight(row));
                let all: f64 = logits.iter().map(|x| x.exp()).sum();
                sum += weight * (all.ln() - logits[class(row)]);
                weights += weight;
            }
            if t + 1 == length(sequence) {
                last = 0.5 * (product(&y, &self.guess)[0] - f64::from(guess(sequence))).powi(2);
            }
        }
        let mean = if weights > 0.0 { sum / weights } else { 0.0 };
        ((mean + last) / LANES as f64, (h, hebb))
    }

    /// The loss of a batch.
    fn loss(&self, batch: usize, chunk: [usize; 2], states: &[(Vec<f64>, Vec<f64>)]) -> f64 {
        let lanes = states.iter().enumerate();
        lanes
            .map(|(lane, states)| {
                self.lane((batch * LANES + lane) % SEQUENCES, chunk, states)
                    .0
            })
            .sum()
    }
}

/// The states that a checkpoint holds, of each lane; first values where it has none: those of the file, or of the spec.
fn states(checkpoint: &Checkpoint, batch: usize, starts: bool) -> Vec<(Vec<f64>, Vec<f64>)> {
    let of = |path: &str, lane: usize, first: &dyn Fn(usize) -> f64, width: usize| -> Vec<f64> {
        match checkpoint.states.get(path) {
            Some(tensor) => {
                assert_eq!(tensor.values.len(), LANES * width);
                let own = &tensor.values[lane * width..(lane + 1) * width];
                own.iter().map(|x| f64::from(*x)).collect()
            }
            None => (0..width).map(first).collect(),
        }
    };
    let lane = |lane: usize| {
        let sequence = (batch * LANES + lane) % SEQUENCES;
        let h = |k: usize| {
            if starts {
                f64::from(first(sequence * N + k))
            } else {
                0.1
            }
        };
        let hebb = |k: usize| {
            if starts {
                f64::from(first(sequence * N * N + k + 5))
            } else {
                0.0
            }
        };
        (of("h", lane, &h, N), of("rec.hebb", lane, &hebb, N * N))
    };
    (0..LANES).map(lane).collect()
}

/// Each chunk's loss and gradients, against differences of the loss written out here, from the states that are carried.
#[test]
fn gradients_end_at_the_first_step_of_a_chunk() {
    gradients_are_differences("chunked_gradients", false);
}

/// Sequences that begin with states and traces of the file.
#[test]
fn sequences_begin_with_the_states_of_their_file() {
    gradients_are_differences("chunked_starts", true);
}

fn gradients_are_differences(name: &str, starts: bool) {
    let folder = scratch(name);
    let file = folder.join("train.npz");
    data(&file, starts);
    let program = program(SPEC, &file, &[]);
    for (backend, device) in EVERYWHERE {
        let tolerance = if backend == BackendKind::Reference {
            1e-9
        } else {
            2e-5
        };
        let mut trainer = trainer(&program, (backend, device));
        let mut left: Option<Vec<(Vec<f64>, Vec<f64>)>> = None;
        for iteration in 0..7 {
            let at = format!("{backend:?} {device:?}, iteration {iteration}");
            let checkpoint = trainer.checkpoint("net", "").unwrap();
            let (batch, number) = (iteration / 3, iteration % 3);
            let entered = states(&checkpoint, batch, starts);
            assert_eq!(checkpoint.states.is_empty(), number == 0, "{at}");
            if let Some(left) = left.filter(|_| number > 0) {
                let pairs = left.iter().zip(&entered);
                for ((h, hebb), (found_h, found_hebb)) in pairs {
                    let all = h.iter().chain(hebb).zip(found_h.iter().chain(found_hebb));
                    for (a, b) in all {
                        assert!((a - b).abs() < 2e-6, "{at}: {a} {b}");
                    }
                }
            }
            let chunk = [number * CHUNK, [3, 3, 1][number]];
            let written = Written::new(|path| {
                let parameter = trainer.parameters().iter().find(|p| p.path == path);
                parameter
                    .unwrap()
                    .values
                    .iter()
                    .map(|x| f64::from(*x))
                    .collect()
            });
            let mut copy = self::trainer(&program, (backend, device));
            copy.restore(&checkpoint).unwrap();
            let probe = copy.probe().unwrap();
            let loss = written.loss(batch, chunk, &entered);
            assert!(
                (probe.loss - loss).abs() < tolerance,
                "{at}: {} {loss}",
                probe.loss
            );
            for (k, slot) in program.step.params.iter().enumerate() {
                let found = probe.gradients[k].as_ref().unwrap();
                for (element, found) in found.iter().enumerate() {
                    // The fourth order of central differences.
                    let moved = |by: f64| {
                        let mut written = written.clone();
                        *written.at(&slot.path, element) += by;
                        written.loss(batch, chunk, &entered)
                    };
                    let slope = |by: f64| (moved(by) - moved(-by)) / (2.0 * by);
                    let expected = (4.0 * slope(1e-3) - slope(2e-3)) / 3.0;
                    assert!(
                        (found - expected).abs() < tolerance,
                        "{at}: `{}` {element}: {found} {expected}",
                        slot.path
                    );
                }
            }
            let lanes = entered.iter().enumerate();
            left = Some(
                lanes
                    .map(|(lane, states)| {
                        written
                            .lane((batch * LANES + lane) % SEQUENCES, chunk, states)
                            .1
                    })
                    .collect(),
            );
            trainer.step().unwrap();
        }
    }
}

fn parameters(trainer: &Trainer) -> Vec<u32> {
    let all = trainer.parameters().iter();
    all.flat_map(|p| p.values.iter().map(|x| x.to_bits()))
        .collect()
}

#[test]
fn chunks_as_long_as_sequences_are_whole_sequences() {
    let folder = scratch("chunked_whole");
    let file = folder.join("train.npz");
    data(&file, false);
    for place in EVERYWHERE {
        let run = |chunk: &str| {
            let program = program(SPEC, &file, &[chunk]);
            let mut trainer = trainer(&program, place);
            let losses: Vec<f64> = (0..4).map(|_| trainer.step().unwrap().loss).collect();
            (losses, parameters(&trainer))
        };
        let whole = run("train.chunk=0");
        for chunk in ["train.chunk=7", "train.chunk=1000"] {
            assert!(run(chunk) == whole, "{place:?} {chunk}");
        }
        assert!(run("train.chunk=6") != whole, "{place:?}");
    }
}

/// With noise of each step and of each episode.
const NOISY: &str = "
network net {
  input x: [task.x]
  state h: [4] = 0
  state count: [4] = 0 reset carry
  plastic rec: h -> y {
    weight w ~ uniform(-0.4, 0.4)
    coeff alpha ~ uniform(0, 0.3)
    trace hebb = 0
    transmit w + alpha * hebb
    hebb <- clip(hebb + pre * post, -1, 1)
  }
  noise xi: [4] ~ normal(0, 0.1)
  y = tanh(dropout(linear(x), 0.3) + rec + xi + 0.01 * count)
  h <- y
  count <- 0.5 * count + y
  output label = linear(y, task.label)
  output guess = linear(y, 1)
}
task sequences { train = \"train.npz\", order = file }
train supervised { loss = half_sum_squares, batch = 4, iterations = 9, burn_in = 100 }
";

/// The chunks of a sequence are its whole way forward: without steps of the optimizer their losses add up.
#[test]
fn the_way_forward_does_not_know_of_chunks() {
    let folder = scratch("chunked_forward");
    let file = folder.join("train.npz");
    data(&file, false);
    let completion = "
network net {
  input obs: [task.obs]
  state h: [task.recall] = 0
  plastic rec: h -> y using plain(bound = 2) { weight w ~ uniform(-0.1, 0.1) coeff alpha ~ uniform(0, 0.1) }
  y = tanh(3 * obs + rec)
  h <- y
  output recall = y
}
task pattern_completion { bits = 12, patterns = 2, presentations = 1, show = 2, gap = 1, probe = 2 }
train supervised { loss = half_sum_squares, batch = 4, seed = 3, burn_in = 100 }
";
    for (text, steps) in [(NOISY, 7), (completion, 8)] {
        for place in EVERYWHERE {
            let first = |chunk: &str, iterations: usize| -> Vec<f64> {
                let program = program(text, &file, &[chunk]);
                assert_eq!(program.model.task.as_ref().unwrap().ports.steps, steps);
                let mut trainer = trainer(&program, place);
                (0..iterations)
                    .map(|_| trainer.step().unwrap().loss)
                    .collect()
            };
            let whole = first("train.chunk=0", 2);
            let parts = first("train.chunk=3", 6);
            for (k, whole) in whole.iter().enumerate() {
                // A chunk without a target has no loss.
                let sum: f64 = parts[3 * k..3 * k + 3].iter().filter(|x| !x.is_nan()).sum();
                // The reference carries numbers of 32 bits, as a checkpoint does. A device runs whole episodes on
                // clusters, which add in another order.
                let exact = place.0 != BackendKind::Reference && place.1 == DeviceKind::Cpu;
                let tolerance = if exact { 1e-12 } else { 1e-6 };
                assert!(
                    (sum - whole).abs() < tolerance * whole,
                    "{place:?}: {sum} {whole}"
                );
            }
        }
    }
}

#[test]
fn a_run_in_chunks_resumes_in_the_middle_of_a_sequence() {
    let folder = scratch("chunked_resume");
    data(&folder.join("train.npz"), false);
    std::fs::write(folder.join("net.bpm"), SPEC).unwrap();
    let train = |name: &str, more: &[&str]| {
        let all = [&["train", "net.bpm", "--out", name, "--quiet"], more].concat();
        let (good, said) = bpmc(&folder, &all);
        assert!(good, "{said}");
    };
    let records = |name: &str| metrics(&folder.join(name));
    let files = |name: &str| shelf(&folder.join(name));
    train("whole", &[]);
    // A validation looks at whole sequences, where a batch of them ends: 4 lanes of 6 sequences in 3 chunks.
    let validated: Vec<bool> = records("whole")
        .iter()
        .map(|r| r["valid_loss"].is_number())
        .collect();
    assert_eq!(
        validated,
        [false, false, false, false, false, true, false, false, true]
    );
    let epochs: Vec<f64> = records("whole")
        .iter()
        .map(|r| r["epoch"].as_f64().unwrap())
        .collect();
    assert_eq!(epochs, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    train("parts", &[]);
    for (name, _) in files("parts") {
        if !name.contains('4') {
            std::fs::remove_file(folder.join("parts/checkpoints").join(name)).unwrap();
        }
    }
    train("parts", &["--resume"]);
    assert_eq!(records("whole"), records("parts"));
    let last = |name: &str| files(name).into_iter().find(|(name, _)| name.contains('9'));
    assert!(last("whole").is_some() && last("whole") == last("parts"));
    // More iterations later are those of one run, and an evaluation sees whole sequences.
    train("more", &["--set", "train.iterations=7"]);
    train("more", &["--set", "train.iterations=9", "--resume"]);
    assert_eq!(records("whole"), records("more"));
    let (good, said) = bpmc(&folder, &["eval", "whole", "--json"]);
    assert!(good, "{said}");
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    let valid = records("whole")[8]["valid_loss"].as_f64().unwrap();
    assert!(
        (found["loss"].as_f64().unwrap() - valid).abs() < 1e-9,
        "{said} {valid}"
    );
    // A replay shows the steps of the chunk.
    let (good, said) = bpmc(
        &folder,
        &[
            "replay",
            "whole",
            "--iteration",
            "9",
            "--probe",
            "y",
            "-o",
            "out.npz",
        ],
    );
    assert!(good && said.contains('1'), "{said}");
    let (good, said) = bpmc(
        &folder,
        &[
            "train",
            "net.bpm",
            "--out",
            "whole",
            "--resume",
            "--change",
            "--set",
            "train.chunk=2",
        ],
    );
    assert!(
        !good && said.contains("the place in the sequences is counted in chunks"),
        "{said}"
    );
}

/// Only the chunk with the last step of a sequence has something to learn from: means are over those, and no other moves.
#[test]
fn chunks_without_a_target_move_nothing() {
    let folder = scratch("chunked_last");
    let file = folder.join("train.npz");
    write(
        &file,
        &[
            ("x", floats(&[4, 9, 2], x)),
            ("label", wholes(&[4], |k| k as i64 % 2)),
        ],
    );
    let spec = "
network net {
  input x: [task.x]
  state h: [4] = 0
  y = tanh(linear(x) + linear(h))
  h <- y
  output label = linear(y, task.label)
}
task sequences { train = \"train.npz\" }
train supervised { loss = cross_entropy, batch = 4, iterations = 12, chunk = 3, metrics_every = 4 }
";
    let program = program(spec, &file, &[]);
    for place in EVERYWHERE {
        let mut trainer = trainer(&program, place);
        let mut before = parameters(&trainer);
        for iteration in 1..=6 {
            let report = trainer.step().unwrap();
            let after = parameters(&trainer);
            assert_eq!(
                report.loss.is_nan(),
                iteration % 3 != 0,
                "{place:?} {iteration}"
            );
            assert_eq!(before == after, iteration % 3 != 0, "{place:?} {iteration}");
            before = after;
        }
    }
    std::fs::write(folder.join("net.bpm"), spec).unwrap();
    let (good, said) = bpmc(&folder, &["train", "net.bpm", "--out", "run", "--quiet"]);
    assert!(good, "{said}");
    // Records of 4 iterations, of which one or two have a loss: near ln 2 as a mean over those.
    for record in metrics(&folder.join("run")) {
        let loss = record["loss"].as_f64().unwrap();
        assert!((loss - 2f64.ln()).abs() < 0.3, "{record}");
        assert!(record["accuracy"].is_number(), "{record}");
    }
}
