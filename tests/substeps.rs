//! Time within episodes: conditions that hold in each n-th step or where a trial begins, and several steps of the network in each
//! step of a task.

use crate::python::python;
use crate::runs_support::{metrics, run};
use crate::scratch::scratch;
use std::path::Path;

/// Checks that a command succeeded, and returns what it printed.
fn works(root: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = run(root, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

const SPEC: &str = "
network agent {
  input obs: [task.obs]
  state h: [8] = 0
  plastic rec: h -> y {
    weight w ~ uniform(-0.3, 0.3)
    trace e = 0 reset trial
    trace d = 0
    trace f = 0
    transmit w + d + f
    e <- 0.9 * e + 0.1 * pre * post
    when external trial_start { d <- clip(d + e + 0.01, -1, 1) }
    when every(4) { f <- 0.5 * f + 0.1 * pre * post + 0.01 }
  }
  y = tanh(linear(obs) + rec)
  h <- y
  output policy = linear(y, task.actions)
  output value = linear(y, 1)
}
task cue_reward { steps = 24, substeps = 3, bits = 6, max_blanks = 0, shown = 1 }
train a2c { batch = 5, iterations = 1, metrics_every = 1, gamma = 0.8, concentration = 0.1, entropy = 0.2, lambda = 0.7 }
";

const CHECKS: &str = r#"
import json, numpy as np
all = dict(np.load('r.npz'))
steps = all['obs'].shape[0]
t = np.arange(steps)
between, starts = t % 3 != 2, all['episode.trial'] != 0
obs = all['obs'].reshape(steps // 3, 3, *all['obs'].shape[1:])
moved = lambda name: (all['next ' + name] != all[name]).any((-1, -2))
p = np.exp(all['policy']) / np.exp(all['policy']).sum(-1, keepdims=True)
taken = np.take_along_axis(p, all['episode.action'][..., None].astype(int), -1)[..., 0]
rewards, values = all['episode.reward'][~between], all['value'][~between][..., 0]
returns, later, value = np.zeros_like(rewards), 0.0, 0.0
for k in reversed(range(len(rewards))):
    returns[k] = later = rewards[k] + 0.8 * (0.3 * value + 0.7 * later)
    value = values[k]
each = (-np.log(taken) * 0)[~between] - np.log(taken)[~between] * (returns - values) + 0.1 * (returns - values) ** 2
each += (0.1 * (p * p).sum(-1) + 0.2 * (p * np.log(p)).sum(-1))[~between]
print(json.dumps({
    'steps': steps, 'same': bool((obs == obs[:, :1]).all()), 'differ': bool((obs[1:] != obs[:-1]).any()),
    'between': float(np.abs(all['episode.reward'][between]).max()), 'paid': float(np.abs(rewards).max()),
    'trials': int(starts.sum()), 'first': bool((starts.any(1) <= (t % 3 == 0)).all()),
    'd': bool((moved('rec.d') == starts).all()), 'f': bool((moved('rec.f') == (t % 4 == 3)[:, None]).all()),
    'loss': float(each.mean())}))
"#;

#[test]
fn events_and_substeps_come_when_they_should() {
    let root = scratch("substeps");
    std::fs::write(root.join("agent.bpm"), SPEC).unwrap();
    for backend in ["fused", "candle", "reference"] {
        works(
            &root,
            &[
                "train",
                "agent.bpm",
                "-q",
                "--backend",
                backend,
                "--out",
                backend,
            ],
        );
        let probe = "obs,policy,value,episode.action,episode.reward,episode.trial,\
                     rec.d,next rec.d,rec.f,next rec.f";
        let replay = [
            "replay",
            backend,
            "--iteration",
            "1",
            "--probe",
            probe,
            "-o",
            "r.npz",
        ];
        works(&root, &replay);
        let Some(found) = python("numpy", CHECKS, &root) else {
            return;
        };
        assert_eq!(found["steps"], 72, "{found}");
        for name in ["same", "differ", "first", "d", "f"] {
            assert_eq!(found[name], true, "{backend} {name}: {found}");
        }
        assert_eq!(found["between"], 0.0, "{found}");
        assert!(found["paid"].as_f64().unwrap() > 0.0, "{found}");
        assert!(found["trials"].as_u64().unwrap() > 10, "{found}");
        let loss = metrics(&root.join(backend))[0]["loss"].as_f64().unwrap();
        let wanted = found["loss"].as_f64().unwrap();
        assert!((loss - wanted).abs() < 1e-5, "{backend}: {loss} {wanted}");
    }
    works(&root, &["verify", "agent.bpm"]);
    works(&root, &["eval", "fused", "--episodes", "4"]);
    // On a device there are events, and no substeps.
    let one = SPEC
        .replace("substeps = 3, ", "")
        .replace(", lambda = 0.7", "");
    std::fs::write(root.join("one.bpm"), &one).unwrap();
    works(
        &root,
        &[
            "train", "one.bpm", "-q", "--device", "emulated", "--out", "device",
        ],
    );
    works(&root, &["train", "one.bpm", "-q", "--out", "host"]);
    let loss = |run: &str| metrics(&root.join(run))[0]["loss"].as_f64().unwrap();
    assert!((loss("device") - loss("host")).abs() < 1e-5);
}

/// Targets are those of the last step of the network; a chunk may end within a step of the task.
#[test]
fn targets_have_substeps_too() {
    let root = scratch("substeps-targets");
    let spec = "
network net {
  input obs: [task.obs]
  state h: [6] = 0
  h <- tanh(linear(obs) + linear(h))
  output recall = linear(next h, task.recall)
}
task pattern_completion { bits = 6, patterns = 2, presentations = 1, show = 2, gap = 1, probe = 2, substeps = 3 }
train supervised { batch = 4, iterations = 3, metrics_every = 1, loss = mean_squares CHUNK }
";
    let loss = |name: &str, chunk: &str, more: &[&str]| {
        let file = format!("{name}.bpm");
        std::fs::write(root.join(&file), spec.replace("CHUNK", chunk)).unwrap();
        let train = ["train", &file, "-q", "--out", name];
        works(&root, &[&train[..], more].concat());
        metrics(&root.join(name)).last().unwrap()["loss"]
            .as_f64()
            .unwrap()
    };
    let whole = loss("whole", "", &[]);
    assert!(whole.is_finite() && whole > 0.0);
    for (name, more) in [
        ("reference", &["--backend", "reference"][..]),
        ("candle", &["--backend", "candle"]),
        ("device", &["--device", "emulated"]),
    ] {
        let other = loss(name, "", more);
        assert!((whole - other).abs() < 1e-5, "{name}: {whole} {other}");
    }
    // The sequence is as long as the chunk.
    assert_eq!(whole, loss("long", ", chunk = 24", &[]));
    std::fs::write(root.join("short.bpm"), spec.replace("CHUNK", ", chunk = 4")).unwrap();
    works(&root, &["train", "short.bpm", "-q", "--out", "short"]);
}

/// The entropy of a certain policy is finite in 32 bits, and so is its gradient.
#[test]
fn an_entropy_in_32_bits_is_finite() {
    let root = scratch("substeps-entropy");
    let spec = "
network net {
  input x: [3]
  trained gain: [3] = 1
  z = gain * x
  output entropy = -sum(softmax(z) * log_softmax(z))
}
train supervised { batch = 1, steps = 1, loss = half_sum_squares }
";
    std::fs::write(root.join("net.bpm"), spec).unwrap();
    let values = "{\"steps\": 1, \"lanes\": 2, \"inputs\": {\"x\": [[[1e4, -1e4, 0], [1, 2, 3]]]},
        \"parameters\": {\"gain\": [1, 1, 1]}, \"targets\": {\"entropy\": [[1, 0]]}}";
    std::fs::write(root.join("values.json"), values).unwrap();
    // The entropy of softmax(1, 2, 3), and half the sum of squares.
    let p = [1f64, 2.0, 3.0].map(|x| x.exp() / (1f64.exp() + 2f64.exp() + 3f64.exp()));
    let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
    let wanted = 0.5 * (1.0 + entropy * entropy);
    for backend in ["reference", "fused", "candle"] {
        for dtype in ["f32", "f64"] {
            if (backend, dtype) == ("reference", "f32") {
                continue;
            }
            let grad = [
                "grad",
                "net.bpm",
                "--values",
                "values.json",
                "--backend",
                backend,
            ];
            let found = works(&root, &[&grad[..], &["--dtype", dtype]].concat());
            let found: serde_json::Value = serde_json::from_str(&found).unwrap();
            let loss = found["loss"].as_f64().unwrap();
            assert!(
                (loss - wanted).abs() < 1e-6,
                "{backend} {dtype}: {loss} {wanted}"
            );
            // dH/dz_k = -p_k (log p_k + H), through the second lane alone.
            let gradients = found["gradients"]["gain"].as_array().unwrap();
            for (k, found) in gradients.iter().enumerate() {
                let wanted = entropy * -p[k] * (p[k].ln() + entropy) * (k + 1) as f64;
                let found = found.as_f64().unwrap();
                assert!(
                    (found - wanted).abs() < 1e-6,
                    "{backend} {dtype}: {found} {wanted}"
                );
            }
        }
    }
}
