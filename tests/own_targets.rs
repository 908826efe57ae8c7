//! Targets that rules read: in specs without a task, and of texts.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::own_data::bpmc;
use crate::scratch::scratch;
use bpmc::driver::{compile, from_disk};
use bpmc::learn::text::Part;
use bpmc::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use bpmc::machine::device::{DeviceChoice, DeviceKind};
use bpmc::step::passes::Selection;

fn trainer(text: &str, (backend, kind): (BackendKind, DeviceKind)) -> Result<Trainer, String> {
    let compilation = compile("net.bpm", text, &[], &from_disk).unwrap();
    let said: Vec<String> = compilation
        .diagnostics
        .iter()
        .map(|d| d.message.clone())
        .collect();
    let program = compilation.program.unwrap_or_else(|| panic!("{said:?}"));
    let options = TrainerOptions {
        threads: 2,
        backend,
        device: DeviceChoice::from(kind),
        passes: Selection::default(),
        memory: None,
    };
    Trainer::new(&program, options).map_err(|error| error.to_string())
}

/// What the target of a step was is the word of the next one, so a network that keeps the target is one that sees the word.
const KEEPS: &str = "
network net {
  input word: [task.words]
  state last: [task.words] = 0
  trained gain = 3
  last <- target.next_word
  output next_word = gain * last + 0.001 * linear(word, task.words)
}
";

const SEES: &str = "
network net {
  input word: [task.words]
  state seen: [1] = 0
  trained gain = 3
  seen <- 0 * seen + 1
  output next_word = gain * (seen * word) + 0.001 * linear(word, task.words)
}
";

const PLACES: [(BackendKind, DeviceKind); 4] = [
    (BackendKind::Reference, DeviceKind::Cpu),
    (BackendKind::Candle, DeviceKind::Cpu),
    (BackendKind::Fused, DeviceKind::Cpu),
    (BackendKind::Fused, DeviceKind::Emulated),
];

#[test]
fn rules_read_the_targets_of_texts() {
    let supervised = "
task text { words = 11, steps = 5 }
train supervised { loss = cross_entropy, batch = 3, optimizer sgd { lr = 0.1 } }
";
    let language = "
task text { words = 11, steps = 5 }
train language_model { batch = 3, epochs = 1, optimizer sgd { lr = 0.1 } }
";
    for (end, reads) in [(supervised, false), (language, true)] {
        for place in PLACES {
            let made = [KEEPS, SEES].map(|text| trainer(&format!("{text}{end}"), place));
            let [keeps, sees] = made;
            let (mut keeps, mut sees) = match (keeps, sees) {
                (Ok(keeps), Ok(sees)) => (keeps, sees),
                (Err(said), Ok(_)) if reads && place.1 == DeviceKind::Emulated => {
                    assert!(said.contains("cannot read targets"), "{said}");
                    continue;
                }
                (keeps, _) => panic!("{place:?}: {}", keeps.err().unwrap_or_default()),
            };
            for iteration in 0..4 {
                let (a, b) = (keeps.step().unwrap(), sees.step().unwrap());
                assert!(
                    (a.loss - b.loss).abs() < 1e-5,
                    "{place:?} {iteration}: {} {}",
                    a.loss,
                    b.loss
                );
                assert!(
                    (a.gradient_norm - b.gradient_norm).abs() < 1e-5,
                    "{place:?} {iteration}: {} {}",
                    a.gradient_norm,
                    b.gradient_norm
                );
                // The word seen is not the one to come, so there is something to lose.
                assert!(a.loss > 0.5, "{}", a.loss);
            }
            if reads {
                let cost =
                    |trainer: &Trainer| trainer.perplexity(Part::Valid).unwrap().unwrap().value();
                let (a, b) = (cost(&keeps), cost(&sees));
                assert!((a - b).abs() < 1e-4 * b, "{place:?}: {a} {b}");
            }
        }
    }
}

/// A rule that learns to predict, as a delta rule on the probabilities: the softmax of one side of a bundle.
#[test]
fn a_delta_rule_reads_the_softmax_of_its_post_side() {
    let folder = scratch("own_targets_delta");
    let spec = "
network net {
  input word: [task.words]
  x = embedding(word, 6)
  plastic head: x -> next_word {
    weight w ~ uniform(-0.1, 0.1)
    trained eta = 0.1
    trace hebb = 0
    transmit w + hebb
    hebb <- 0.9 * hebb + eta * pre * (target - softmax(post))
  }
  output next_word = head + linear(x, task.words)
}
task text { words = 10, steps = 5 }
train supervised { loss = cross_entropy, batch = 3 }
";
    std::fs::write(folder.join("net.bpm"), spec).unwrap();
    // `post` is `next_word`, whose softmax says the same in other words.
    std::fs::write(
        folder.join("named.bpm"),
        spec.replace("softmax(post)", "softmax(next_word)"),
    )
    .unwrap();
    for backend in ["fused", "candle", "reference"] {
        let (good, said) = bpmc(&folder, &["verify", "net.bpm", "--backend", backend]);
        assert!(good && said.contains("agrees"), "{said}");
    }
    let (good, said) = bpmc(&folder, &["verify", "net.bpm", "--device", "emulated"]);
    assert!(good && said.contains("agrees"), "{said}");
    let losses = |name: &str| {
        let run = format!("{name}-run");
        let set = [
            "train",
            name,
            "--out",
            &run,
            "--quiet",
            "--set",
            "train.iterations=5",
            "--set",
            "train.metrics_every=1",
        ];
        let (good, said) = bpmc(&folder, &set);
        assert!(good, "{said}");
        crate::runs_support::metrics(&folder.join(run))
    };
    assert_eq!(losses("net.bpm"), losses("named.bpm"));
    let bad = spec.replace("softmax(post)", "softmax(pre * post)");
    std::fs::write(folder.join("bad.bpm"), bad).unwrap();
    let (good, said) = bpmc(&folder, &["check", "bad.bpm"]);
    assert!(
        !good && said.contains("a value for each connection, and a vector is needed"),
        "{said}"
    );
}

/// Without a task whoever gives the values gives the targets that rules read, too.
#[test]
fn specs_without_a_task_read_the_targets_of_their_outputs() {
    let folder = scratch("own_targets_given");
    let spec = "
network net {
  input x: [5]
  state h: [8] = 0

  plastic rec: h -> y {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1)
    trained eta = 0.1
    trace hebb = 0
    transmit w + alpha * hebb
    hebb <- clip(hebb + eta * pre * (target.out - post), -1, 1)
  }
  y = tanh(linear(x) + rec)
  h <- y
  output out = linear(y, 8)
}
train supervised { loss = half_sum_squares, batch = 3, steps = 9 }
";
    let check = |text: &str| {
        std::fs::write(folder.join("net.bpm"), text).unwrap();
        bpmc(&folder, &["check", "net.bpm"])
    };
    let (good, said) = check(spec);
    assert!(good, "{said}");
    // The same rule with an input of the same numbers has the same gradients.
    std::fs::write(
        folder.join("given.bpm"),
        spec.replace("target.out", "wanted")
            .replace("input x: [5]", "input x: [5]\n  input wanted: [8]"),
    )
    .unwrap();
    let values = |name: &str| -> serde_json::Value {
        let (good, said) = bpmc(&folder, &["grad", name, "--template"]);
        assert!(good, "{said}");
        serde_json::from_str(&said).unwrap()
    };
    let fill = |shape: &serde_json::Value, factor: f64| {
        let mut k = 0;
        fn walk(value: &serde_json::Value, k: &mut usize, factor: f64) -> serde_json::Value {
            match value {
                serde_json::Value::Array(all) => {
                    all.iter().map(|value| walk(value, k, factor)).collect()
                }
                _ => {
                    *k += 1;
                    (factor * (*k as f64).sin()).into()
                }
            }
        }
        walk(shape, &mut k, factor)
    };
    let gradients = |name: &str, wanted: &str| -> serde_json::Value {
        let mut given = values(name);
        for (input, factor) in [("x", 1.0), (wanted, 0.7)] {
            given["inputs"][input] = fill(&given["inputs"][input], factor);
        }
        given["targets"]["out"] = fill(&given["targets"]["out"], 0.7);
        std::fs::write(folder.join("values.json"), given.to_string()).unwrap();
        let (good, said) = bpmc(&folder, &["grad", name, "--values", "values.json"]);
        assert!(good, "{said}");
        serde_json::from_str(&said).unwrap()
    };
    let (a, b) = (
        gradients("net.bpm", "target.out"),
        gradients("given.bpm", "wanted"),
    );
    assert!(a["loss"].as_f64().unwrap() > 0.0);
    assert_eq!(a["loss"], b["loss"]);
    assert_eq!(a["gradients"], b["gradients"]);
    assert!(
        a["gradients"]["rec.eta"].as_f64().is_none_or(|x| x != 0.0),
        "{a}"
    );

    // A target is as large as its output, and of an output that is there.
    let (good, said) = check(&spec.replace("linear(y, 8)", "linear(y, 2)"));
    assert!(!good && said.contains("must be equal"), "{said}");
    let (good, said) = check(&spec.replace("target.out", "target.oute"));
    assert!(
        !good && said.contains("did you mean `target.out`?"),
        "{said}"
    );
    let (good, said) = check(&spec.replace("target.out", "target"));
    assert!(good, "{said}");
    let (good, said) = check(&spec.replace(
        "train supervised { loss = half_sum_squares, batch = 3, steps = 9 }",
        "",
    ));
    assert!(
        !good && said.contains("no task that gives targets, and no trainer that takes them"),
        "{said}"
    );
    // An output that reads the target of its own step is warned of here, too.
    let (good, said) = check(&spec.replace("linear(y, 8)", "linear(y, 8) + target.out"));
    assert!(good && said.contains("W0108"), "{said}");
}
