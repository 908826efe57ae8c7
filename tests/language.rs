//! Language models: stages against the reference, perplexity by hand, resumption, bad data.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bpmc::driver::{compile, from_disk};
use bpmc::engine::experiment::{Experiment, Target};
use bpmc::engine::in_step::InStep;
use bpmc::engine::params::ParamStore;
use bpmc::engine::reference::Reference;
use bpmc::ir::rng::{fill, Key, Stream};
use bpmc::ir::{Binary, Graph, NoiseKind, OutputId, ResultKind, ShapeError};
use bpmc::lab::run::{find_checkpoint, Which};
use bpmc::lab::verify::compare;
use bpmc::learn::given::{evaluate, GivenValues};
use bpmc::learn::language::loss::{cross_entropy, Loss};
use bpmc::learn::language::reader::{Outputs, Reader};
use bpmc::learn::language::runner::{Passage, StagedReader};
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::{DeviceChoice, DeviceKind};
use bpmc::step::passes::{Budget, Form, GraphPass, Pass, Run, Selection, PIPELINE};
use bpmc::step::{Compiled, Horizon};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

fn compiled(text: &str) -> Compiled {
    let compilation = compile("model.bpm", text, &[], &from_disk).unwrap();
    let found: Vec<String> = compilation
        .diagnostics
        .iter()
        .map(|d| d.message.clone())
        .collect();
    compilation.program.ok_or(found).unwrap()
}

fn model(body: &str) -> String {
    format!(
        "network model {{ input word: [task.words] {body} }}
         task text {{ words = 11, steps = 5 }}
         train language_model {{ batch = 3, epochs = 1 }}"
    )
}

/// Drawn between -1 and 1 by what it is for.
fn words(number: u32, count: usize) -> Vec<u32> {
    let place = Key::new(7, Stream::Noise(number)).at(0, 0, 0);
    (0..count)
        .map(|k| place.below(k as u32, 11) as u32)
        .collect()
}

/// `[lane][step][..]` as `[step][lane][..]`.
fn by_step(values: &[f64], lanes: usize, steps: usize) -> Vec<f64> {
    let width = values.len() / (lanes * steps);
    (0..steps * lanes)
        .flat_map(|row| {
            let at = (row % lanes * steps + row / lanes) * width;
            values[at..at + width].iter().copied()
        })
        .collect()
}

/// Two chunks, the second going on from the first, against the reference.
fn agrees(text: &str) {
    let program = compiled(text);
    let step = &program.step;
    let train = program.model.train.as_ref().unwrap();
    let staged = Experiment::trained(&program, Target::Kernels, &Selection::default()).unwrap();
    let parameters = ParamStore::init(&step.params, 3);
    let (lanes, steps, seed) = (3, 5, 9);
    let mut reader = StagedReader::new(Arc::new(staged), lanes);
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    let mut states: Vec<Vec<f64>> = step
        .states
        .iter()
        .map(|slot| vec![slot.init; lanes * size(&slot.dims)])
        .collect();
    for chunk in 0..2 {
        let inputs = words(chunk, lanes * steps);
        let targets = words(10 + chunk, lanes * steps);
        let passage = Passage {
            targets: (&targets, &vec![1.0; lanes * steps]),
            words: &inputs,
            steps,
            seed,
            iteration: chunk,
            learn: true,
        };
        let output = step
            .outputs
            .iter()
            .position(|o| o.path == "next_word")
            .unwrap();
        let mut loss = Loss::default();
        let mut judge = |mut outputs: Outputs<'_>| {
            let mut logits = outputs.get(output).clone();
            loss = cross_entropy(&mut logits, 11, &targets, &vec![1.0; lanes * steps]);
            vec![(output, logits)]
        };
        let ran = reader.read(&parameters, passage, &mut judge).unwrap();
        let gradients = ran.gradients;

        let one_hot = |words: &[u32]| -> Vec<f64> {
            words
                .iter()
                .flat_map(|word| (0..11).map(move |k| f64::from(u8::from(k == *word))))
                .collect()
        };
        let noises = step.noises.iter().enumerate().map(|(k, slot)| {
            let key = Key::new(seed, Stream::Noise(k as u32));
            let mut all = Vec::new();
            for lane in 0..lanes {
                for at in 0..steps {
                    let at = match slot.kind {
                        NoiseKind::Step => at,
                        NoiseKind::Mask => 0,
                    };
                    let mut out = vec![0.0; size(&slot.dims)];
                    let place = key.at(chunk, at as u32, lane as u32);
                    fill(
                        &slot.draw,
                        place,
                        slot.dims.last().copied().unwrap_or(1),
                        &mut out,
                    );
                    all.extend(out);
                }
            }
            by_step(&all, lanes, steps)
        });
        let given = GivenValues {
            steps,
            lanes,
            inputs: vec![by_step(&one_hot(&inputs), lanes, steps)],
            noises: noises.collect(),
            states: states.clone(),
            params: parameters
                .iter()
                .map(|p| p.values.iter().map(|x| f64::from(*x)).collect())
                .collect(),
            targets: vec![by_step(&one_hot(&targets), lanes, steps)],
            ..GivenValues::default()
        };
        let adjoint = bpmc::step::adjoint(step, bpmc::step::autodiff::Options::default()).unwrap();
        let mut oracle = InStep::from(Reference::new(step.clone(), adjoint, lanes));
        let expected = evaluate(&mut oracle, train, &given).unwrap();
        assert!(
            (loss.mean() - expected.loss).abs() < 1e-5,
            "{} {}",
            loss.mean(),
            expected.loss
        );
        for (k, slot) in step.params.iter().enumerate() {
            let (found, expected) = (&gradients[k], expected.gradients[k].as_ref().unwrap());
            let found = found.as_ref().unwrap();
            let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
            for (x, y) in found.iter().zip(expected) {
                assert!(
                    (f64::from(*x) - y).abs() <= 1e-4 * largest.max(1e-6),
                    "{} in chunk {chunk}: {x} {y}",
                    slot.path
                );
            }
            assert!(largest > 0.0, "{} has no gradient", slot.path);
        }
        let found = reader.states().unwrap();
        for (k, slot) in step.states.iter().enumerate() {
            for (x, y) in found[k]
                .as_ref()
                .unwrap()
                .iter()
                .zip(&expected.final_states[k])
            {
                assert!((x - y).abs() < 1e-5, "{}: {x} {y}", slot.path);
            }
        }
        states = expected.final_states;
    }
}

#[test]
fn stages_are_the_reference() {
    agrees(&model(
        "x = embedding(word, 6)
         cell first: lstm(x, 5)
         output next_word = linear(first.h, task.words)",
    ));
    // Two plastic layers, the second one modulated by the first; a readout that shares the embedding; all dropouts.
    agrees(&model(
        "x = embedding(dropout(word, 0.2), 4)
         cell first: plastic_lstm(dropout(x, 0.3), 5) using retroactive(fanout(m), bound = 0.05)
         cell second: plastic_lstm(dropout(first.h, 0.3), 4, reads = first.h) using simple(m, bound = 0.05)
         output next_word = tied(dropout(second.h, 0.4), x)",
    ));
    // A state that begins anew with each trial: a text is one.
    agrees(&model(
        "state h: [4] = 0, slow: [4] = 0.1 reset trial
         y = tanh(linear(embedding(word, 4)) + linear(h) + slow)
         slow <- 0.9 * slow + 0.1 * y
         h <- y
         output next_word = linear(y, task.words)",
    ));
    // A state that changes in each third step, and logits that are logarithms already.
    agrees(&model(
        "state h: [4] = 0
         plastic rec: h -> y {
           weight w ~ uniform(-0.3, 0.3)
           trace f = 0
           transmit w + 0.1 * f
           f <- clip(f + pre * post, -1, 1)
         }
         y = tanh(linear(embedding(word, 4)) + rec)
         h <- select(every(3), y, h)
         output next_word = log_softmax(linear(y, task.words))",
    ));
    // Events that something outside the loop decides: the input, and the layer below.
    agrees(&model(
        "state h: [4] = 0 reset carry, g: [3] = 0 reset carry
         x = embedding(word, 5)
         plastic rec: h -> y reset carry {
           weight w ~ uniform(-0.3, 0.3)
           trace f = 0
           transmit w + 0.1 * f
           when sum(x) > 0 { f <- clip(f + pre * post, -1, 1) }
         }
         y = tanh(linear(x) + rec)
         h <- y
         plastic top: g -> z reset carry {
           weight w ~ uniform(-0.3, 0.3)
           trace f = 0
           transmit w + 0.1 * f
           strong = sum(y) * pre * post
           when every(3) && sum(y) > 0 { f <- clip(f + strong, -1, 1) }
         }
         z = tanh(linear(y) + top)
         g <- z
         output next_word = linear(z, task.words)",
    ));
    // First values of parameters and drawn ones, and a chain of states.
    agrees(&model(
        "trained h0: [4] ~ uniform(-1, 1)
         state h: [4] = tanh(h0) reset carry
         plastic rec: h -> y reset carry {
           weight w ~ uniform(-0.3, 0.3)
           trace f = 0.5 * w, d ~ normal(0, 0.1)
           transmit w + 0.1 * f + d
           f <- clip(f + pre * post * per_pre(delay(y, 2, reset = carry)), -1, 1)
           d <- 0.9 * d
         }
         y = tanh(linear(embedding(word, 4)) + rec + 0.1 * h0)
         h <- y
         output next_word = linear(y, task.words)",
    ));
    // A loop over both layers, noise at every step, and a layer that keeps nothing.
    agrees(&model(
        "state h: [4] = 0, g: [3] = 0.1
         noise xi: [4] ~ normal(0, 0.1)
         y = tanh(linear(embedding(word, 4)) + linear(h) + linear(g) + xi)
         z = tanh(linear(y) + linear(g))
         h <- y
         g <- z
         output next_word = linear(relu(linear(z, 6)), task.words)",
    ));
    // Branches that are not taken, before the loop, in it and after it.
    agrees(&model(
        "state h: [4] = 0
         e = embedding(word, 4)
         near = select(relu(e) > 0.03, 0.1 * log(relu(e)), e)
         y = tanh(linear(near) + linear(select(relu(h) > 0.1, 0.1 / relu(h), h)))
         h <- y
         after = select(relu(y) > 0.3, 0.3 / relu(y), y)
         output next_word = linear(after, task.words)",
    ));
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path =
            std::env::temp_dir().join(format!("bpmc-language-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(threads: usize) -> TrainerOptions {
    TrainerOptions {
        threads,
        backend: BackendKind::Fused,
        device: DeviceChoice::CPU,
        passes: Selection::default(),
        memory: None,
    }
}

#[test]
fn a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary() {
    let texts = Directory::new("uniform");
    texts.write("train.txt", "a b c d e f\n");
    texts.write("valid.txt", "a b\nc d\n");
    texts.write("test.txt", "a b c\n\nd e f a b nothing\n");
    let program = compiled(
        "network model {
           input word: [task.words]
           output next_word = linear(word, task.words, init = uniform(0, 0))
         }
         task text { words = 8, steps = 3 }
         train language_model { batch = 2, epochs = 0, eval_batch = 4 }",
    );
    let trainer = Trainer::with_data(&program, options(1), Some(&texts.0)).unwrap();
    let part = |part| trainer.perplexity(part).unwrap().unwrap();
    let test = part(bpmc::learn::text::Part::Test);
    // Nine words and three ends of lines, each predicted once, in lanes that do not come out even.
    assert_eq!(test.words, 12);
    assert!((test.value() - 8.0).abs() < 1e-5, "{}", test.value());
    assert!((test.bits() - 3.0).abs() < 1e-6);
    assert_eq!(part(bpmc::learn::text::Part::Valid).words, 6);
}

fn bpmc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .args(arguments)
        .output()
        .unwrap()
}

const SMALL: &str = "network model {
  input word: [task.words]
  x = embedding(dropout(word, 0.1), 6)
  cell layer: plastic_lstm(x, 7) using simple(m)
  output next_word = tied(dropout(linear(layer.h, 6), 0.2), x)
}
task text { words = 20, steps = 6, lengths = random }
train language_model {
  batch = 3, epochs = 2, decay = 0.5, decay_from = 2, average_from = 2, metrics_every = 7
  rate_by_length = true
  optimizer sgd { lr = 1.0 }
}
";

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let directory = Directory::new("resume");
    let spec = directory.write("model.bpm", SMALL);
    let text: String = (0..500)
        .map(|k| format!("w{} w{} x{}\n", k % 7, k * k % 5, k % 3))
        .collect();
    for part in ["train", "valid", "test"] {
        directory.write(&format!("{part}.txt"), &text);
    }
    let data = directory.0.to_str().unwrap();
    let spec = spec.to_str().unwrap();
    let place = |name: &str| directory.0.join(name).to_str().unwrap().to_owned();
    let train = |out: &str, more: &[&str]| {
        let arguments = ["train", spec, "--data", data, "--quiet", "--out", out];
        let output = bpmc(&[&arguments, more].concat());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let whole = place("whole");
    let told = train(&whole, &["--threads", "1"]);
    assert!(told.contains("test        perplexity"), "{told}");
    assert!(told.contains("2000 words"), "{told}");
    // A run of as many threads as lanes, killed once a checkpoint is there.
    let broken = place("broken");
    let every = ["--threads", "3", "--set", "train.checkpoint_every=10"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .args(["train", spec, "--data", data, "--quiet", "--out", &broken])
        .args(every)
        .spawn()
        .unwrap();
    let first = directory
        .0
        .join("broken/checkpoints/0000000010.safetensors");
    while !first.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().unwrap();
    train(&broken, &[&every[..], &["--resume"]].concat());
    let last = |place: &str| {
        let folder = PathBuf::from(place).join("checkpoints");
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_str().unwrap().contains("00000"))
            .collect();
        files.sort();
        tensors(files.last().unwrap())
    };
    assert_eq!(last(&whole), last(&broken));
    // Of the second epoch, whose steps are averaged.
    let kept = PathBuf::from(&whole).join("checkpoints");
    let bytes = std::fs::read(find_checkpoint(kept.parent().unwrap(), Which::Last).unwrap());
    assert!(String::from_utf8_lossy(&bytes.unwrap()).contains("optimizer.average/"));
    let perplexities = |place: &str| -> Vec<String> {
        let text = std::fs::read_to_string(PathBuf::from(place).join("metrics.jsonl")).unwrap();
        let before = |line: &str| line.split("\"timing\"").next().unwrap().to_owned();
        text.lines().map(before).collect()
    };
    assert_eq!(perplexities(&whole), perplexities(&broken));
    assert!(directory.0.join("whole/vocabulary.txt").is_file());
    // Averages are what is validated; training goes on with the parameters themselves.
    let plain = place("plain");
    train(&plain, &["--set", "train.average_from=0"]);
    let numbers = |place: &str, key: &str| -> Vec<f64> {
        let text = std::fs::read_to_string(PathBuf::from(place).join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter_map(|record| record.get(key)?.as_f64())
            .collect()
    };
    assert_eq!(numbers(&whole, "loss"), numbers(&plain, "loss"));
    let [averaged, parameters] = [&whole, &plain].map(|place| numbers(place, "valid_loss"));
    assert!(averaged.len() == 2 && averaged[0] == parameters[0]);
    assert_ne!(averaged[1], parameters[1]);
    // Another text is another run.
    directory.write("train.txt", "other words\nand others\nagain other\n");
    let other = [
        "train", spec, "--data", data, "--quiet", "--out", &whole, "--resume",
    ];
    let output = bpmc(&other);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("vocabulary"),
        "{told}"
    );
}

/// What a checkpoint holds, without its header, which names the overrides.
fn tensors(path: &std::path::Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + length..].to_vec()
}

#[test]
fn bad_data_is_named() {
    let directory = Directory::new("bad");
    let spec = directory.write("model.bpm", SMALL);
    let spec = spec.to_str().unwrap();
    let out = directory.0.join("out");
    let told = |data: &str| {
        let out = out.to_str().unwrap();
        let output = bpmc(&["train", spec, "--data", data, "--out", out]);
        assert_eq!(output.status.code(), Some(1));
        assert!(!directory.0.join("out").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let data = directory.0.to_str().unwrap();
    assert!(told("no/such/directory").contains("cannot read no/such/directory"));
    assert!(told(data).contains("has no text called train.txt or ptb.train.txt"));
    directory.write("train.txt", "a b c\n");
    directory.write("valid.txt", "\n");
    assert!(told(data).contains("valid.txt has no words") || told(data).contains("test.txt"));
    directory.write("valid.txt", "a\n");
    directory.write("test.txt", "a\n");
    let few = told(data);
    assert!(
        few.contains("the train text has 4 tokens, too few for 3 lanes"),
        "{few}"
    );
    let spec = directory.write("other.bpm", "import \"nothing.bpm\"");
    assert!(!bpmc(&["check", spec.to_str().unwrap()]).status.success());
}

/// A trace that only decays, read over one side: in an episode it could be stored as the vectors it is made of, but a text
/// goes on from chunk to chunk.
const DECAY: &str = "network model {
  input word: [task.words]
  state h: [64] = 0
  x = embedding(word, 32)
  plastic rec: h -> y using decay() {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.5) per post
  }
  y = tanh(linear(x) + rec)
  h <- y
  output next_word = linear(y, task.words)
}
task text { words = 52, steps = 10 }
train language_model { batch = 4, epochs = 1, seed = 1, metrics_every = 1
  optimizer adam { lr = 3e-3 }
}
";

fn losses(trainer: &mut Trainer, count: usize) -> Vec<f64> {
    (0..count).map(|_| trainer.step().unwrap().loss).collect()
}

#[test]
fn a_trace_that_decays_goes_on_from_chunk_to_chunk_on_every_backend() {
    let program = compiled(DECAY);
    let with = |backend, device, passes| TrainerOptions {
        backend,
        device,
        passes,
        ..options(1)
    };
    let plain = with(
        BackendKind::Reference,
        DeviceChoice::CPU,
        Selection::level(0),
    );
    let expected = losses(&mut Trainer::new(&program, plain).unwrap(), 4);
    assert!((expected[1] - 3.936044).abs() < 1e-6, "{expected:?}");
    let emulated = DeviceChoice {
        kind: DeviceKind::Emulated,
        ..DeviceChoice::CPU
    };
    // The interpreter is slow: two losses of its own passes are enough.
    let all = Selection::default();
    let way = with(BackendKind::Reference, DeviceChoice::CPU, all);
    let found = losses(&mut Trainer::new(&program, way).unwrap(), 2);
    assert!((found[1] - expected[1]).abs() < 1e-9, "{found:?}");
    let mut ways: Vec<TrainerOptions> = Vec::new();
    for passes in [all, Selection::level(1)] {
        for backend in [BackendKind::Fused, BackendKind::Candle] {
            ways.push(with(backend, DeviceChoice::CPU, passes));
        }
    }
    if bpmc::machine::device::open(emulated).is_ok() {
        ways.push(with(BackendKind::Fused, emulated, Selection::default()));
    }
    for way in ways {
        let mut trainer = Trainer::new(&program, way).unwrap();
        let found = losses(&mut trainer, 2);
        let checkpoint = trainer.checkpoint(DECAY, "").unwrap();
        let mut resumed = Trainer::new(&program, way).unwrap();
        resumed.restore(&checkpoint).unwrap();
        let found = [found, losses(&mut trainer, 2)].concat();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 2e-5,
                "{way:?}: {found} {expected}"
            );
        }
        assert_eq!(losses(&mut resumed, 2), found[2..], "{way:?}");
    }
}

#[test]
fn what_is_printed_of_a_text_is_what_is_trained() {
    let directory = Directory::new("printed");
    let spec = directory.write("model.bpm", DECAY);
    let program = compiled(DECAY);
    let trainer = Trainer::new(&program, options(1)).unwrap();
    let print = |what: &str| {
        let output = bpmc(&["compile", spec.to_str().unwrap(), "--emit", what]);
        String::from_utf8(output.stdout).unwrap()
    };
    let listing = trainer.experiment().listing();
    assert_eq!(print("kernels"), listing);
    assert!(
        listing.contains("rec.hebb") && !listing.contains("started"),
        "{listing}"
    );
    let graphs = trainer.experiment().graphs();
    assert_eq!(print("opt"), graphs);
    let reason =
        "`rec.hebb`: form: dense, because it goes on from one chunk of the text to the next";
    assert!(graphs.contains(reason), "{graphs}");
    assert!(print("plan").contains("stages over a chunk of all lanes"));
}

const AGENT: &str = "network completion {
  input obs: [task.obs]
  state h: [task.recall] = 0
  plastic rec: h -> y using decay() {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1) per post
  }
  y = tanh(3 * obs + rec)
  h <- y
  output recall = y
}
task pattern_completion { bits = 40, patterns = 2, presentations = 1, show = 2, gap = 1, probe = 2 }
train supervised { loss = half_sum_squares, batch = 2, seed = 3 }";

const TEXT: &str = "network model {
  input word: [task.words]
  state h: [8] = 0
  x = embedding(word, 5)
  plastic rec: h -> y using decay() { weight w ~ uniform(-0.1, 0.1) coeff alpha ~ uniform(0, 0.5) per post }
  y = tanh(linear(x) + rec)
  h <- y
  output next_word = linear(y, task.words)
}
task text { words = 12, steps = 4 }
train language_model { batch = 2, epochs = 1 }";

fn is_verified(program: &Compiled, backend: BackendKind, passes: Selection) -> bool {
    let options = TrainerOptions {
        threads: 1,
        backend,
        device: DeviceChoice::CPU,
        passes,
        memory: None,
    };
    compare(program, options).unwrap().agrees(1e-4)
}

/// The first output grows by a half.
fn wrong(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let mut graph = graph.clone();
    let output = ResultKind::Output(OutputId(0));
    if let Some(value) = graph.result(output).filter(|_| budget.allows()) {
        let dims = graph.dims(value).to_vec();
        let factor = graph.fill(1.5, &dims)?;
        let value = graph.binary(Binary::Mul, value, factor)?;
        graph.set_result(output, value);
        budget.spend();
    }
    Ok(graph)
}

fn wrong_step(
    graph: &Graph,
    _: Horizon,
    budget: &mut Budget,
) -> Result<(Graph, Vec<Form>), ShapeError> {
    Ok((wrong(graph, budget)?, Vec::new()))
}

/// All passes, but for other code of one of them.
fn planted(name: &str, run: Run) -> Selection {
    let mut passes: Vec<Pass> = PIPELINE.to_vec();
    let pass = passes.iter_mut().find(|pass| pass.name == name).unwrap();
    pass.run = run;
    Selection::default().with_pipeline(passes.leak())
}

#[test]
fn a_fault_in_a_pass_is_found_on_every_backend() {
    let faults = [
        ("attention_form", Run::Step(wrong_step)),
        ("dead_code", Run::Graph(wrong as GraphPass)),
    ];
    for program in [compiled(AGENT), compiled(TEXT)] {
        for backend in BackendKind::ALL {
            assert!(
                is_verified(&program, backend, Selection::default()),
                "{backend:?}"
            );
            for (name, run) in faults {
                let selection = planted(name, run);
                assert!(
                    !is_verified(&program, backend, selection),
                    "{name} on {backend:?}"
                );
            }
        }
    }
}
