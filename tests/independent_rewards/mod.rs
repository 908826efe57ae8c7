//! Returns, advantages and the losses of actor-critic and PPO against a program that knows nothing of bpmc: `losses.py` has their
//! definitions in NumPy, and finite differences. Needs a Python with NumPy, as in [`python`]; else the test says that it is
//! skipped.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::python::python;
use crate::runs_support::run;
use crate::scratch::scratch;
use bpmc::ir::rng::{Draws, Key, Place, Stream};
use bpmc::lang::catalog::Actions;
use bpmc::learn::a2c::{A2c, Episode, Mark};
use bpmc::learn::policy::Policy;
use bpmc::learn::ppo::{normalise, Ppo, Taken};
use serde_json::{json, Value};
use std::path::Path;

const STEPS: usize = 9;
const LANES: usize = 5;

fn told(stage: &str, folder: &Path) -> Option<Value> {
    let program = include_str!("losses.py");
    python("numpy", &format!("STAGE = {stage:?}\n{program}"), folder)
}

/// The outputs of a network, each `[STEPS, size]`.
fn outputs(actions: &Actions, place: Place, scale: f64) -> Vec<Vec<f64>> {
    let mut index = 0;
    let mut draw = |size: usize| -> Vec<f64> {
        (0..STEPS * size)
            .map(|_| {
                index += 1;
                scale * place.normal(index)
            })
            .collect()
    };
    let sizes = actions.outputs().into_iter().map(|(_, size)| size);
    sizes.chain([1]).map(&mut draw).collect()
}

/// Where episodes end: nowhere, in the middle, by the last step, in all lanes at once.
fn marks(lane: usize, draws: &mut Draws) -> Vec<Mark> {
    let mut marks = vec![Mark::On; STEPS];
    let ends = |draws: &mut Draws| [Mark::Terminated, Mark::Truncated][draws.below(2)];
    match lane {
        0 => {}
        1 => marks[STEPS - 1] = Mark::Terminated,
        _ => marks[draws.below(3)] = ends(draws),
    }
    // All at once.
    marks[5] = [Mark::Terminated, Mark::Truncated][lane % 2];
    for t in 1..STEPS {
        if matches!(marks[t - 1], Mark::Terminated | Mark::Truncated) {
            marks[t] = Mark::Idle;
        }
    }
    marks
}

fn number(mark: &Mark) -> u32 {
    match mark {
        Mark::On => 0,
        Mark::Terminated => 1,
        Mark::Truncated => 2,
        Mark::Idle | Mark::Between => 3,
    }
}

/// A case for the program: episodes of all lanes, with what bpmc makes of them.
fn case(kind: &str, actions: Actions, seed: u64) -> Value {
    let numbers = matches!(actions, Actions::Numbers(_));
    let a2c = A2c {
        gamma: 0.9,
        lambda: 0.7,
        value: 0.3,
        concentration: if numbers { 0.0 } else { 0.2 },
        entropy: 0.1,
    };
    let ppo = Ppo {
        a2c,
        clip: 0.2,
        epochs: 1,
        minibatches: 1,
        normalise: true,
    };
    let policy = Policy { actions };
    let key = Key::new(seed, Stream::Task);
    let at = |lane: usize, what: u32| key.at(what, 0, lane as u32);
    let all: Vec<_> = (0..LANES)
        .map(|lane| {
            let own = outputs(&policy.actions, at(lane, 0), 0.7);
            let mut actions = Vec::new();
            for t in 0..STEPS {
                let mut action = Vec::new();
                policy.choose(&own, t, Some(at(lane, 2 + t as u32)), &mut action);
                actions.extend(action);
            }
            let rewards: Vec<f64> = (0..STEPS).map(|k| at(lane, 1).normal(k as u32)).collect();
            let marks = marks(lane, &mut at(lane, 100).draws());
            (own, actions, rewards, marks)
        })
        .collect();
    let episode = |lane: usize| {
        let (outputs, actions, rewards, marks) = &all[lane];
        Episode {
            policy: &policy,
            outputs,
            actions,
            rewards,
            marks,
        }
    };
    let scale = 1.0 / (LANES * STEPS) as f64;
    let mut taken: Vec<Taken> = (0..LANES)
        .map(|lane| Taken::new(&a2c, episode(lane)))
        .collect();
    normalise(&mut taken);
    let count: usize = taken.iter().map(Taken::count).sum();
    let lanes = all.iter().enumerate().map(|(lane, (own, actions, rewards, marks))| {
        let zeros = || -> Vec<Vec<f64>> { own.iter().map(|all| vec![0.0; all.len()]).collect() };
        let (mut slopes, mut clipped) = (zeros(), zeros());
        let returns = a2c.returns(&episode(lane));
        let loss = a2c.lane(episode(lane), scale, &mut slopes).total();
        let mut later = outputs(&policy.actions, at(lane, 200), 0.3);
        for (later, own) in later.iter_mut().flatten().zip(own.iter().flatten()) {
            *later += own;
        }
        let part = ppo.lane(&taken[lane], (&policy, &later), 1.0 / count as f64, &mut clipped);
        json!({
            "outputs": own, "actions": actions, "rewards": rewards,
            "marks": marks.iter().map(number).collect::<Vec<_>>(),
            "returns": returns.values, "counts": returns.counts, "scaled": taken[lane].advantages,
            "a2c": loss, "a2c_gradient": slopes,
            "later": later, "ppo": part.total(), "ppo_gradient": clipped,
        })
    });
    json!({
        "kind": kind, "gamma": a2c.gamma, "lambda": a2c.lambda, "value": a2c.value,
        "concentration": a2c.concentration, "entropy": a2c.entropy, "clip": ppo.clip, "scale": scale,
        "lanes": lanes.collect::<Vec<_>>(),
    })
}

#[test]
fn losses_of_rewards_are_those_of_another_program() {
    let root = scratch("independent-rewards");
    let cases: Vec<Value> = (0..3)
        .flat_map(|seed| {
            [
                case("choices", Actions::Choices(vec![3]), seed),
                case("heads", Actions::Choices(vec![2, 4]), seed),
                case("numbers", Actions::Numbers(2), seed),
            ]
        })
        .collect();
    let file = serde_json::to_string(&cases).unwrap();
    std::fs::write(root.join("rewards.json"), file).unwrap();
    let Some(off) = told("losses", &root) else {
        return;
    };
    for (name, most) in [
        ("returns", 1e-12),
        ("scaled", 1e-12),
        ("a2c", 1e-12),
        ("ppo", 1e-12),
        ("a2c_gradient", 1e-8),
        ("ppo_gradient", 1e-8),
    ] {
        assert!(off[name].as_f64().unwrap() < most, "{name}: {off}");
    }
    assert_eq!(off["counts"], 0, "{off}");
    assert!(off["clipped"].as_u64().unwrap() > 1000, "{off}");
}

const NETWORK: &str = "
network net {
  input x: [3]
  state h: [4] = 0
  a = linear(x, 4)
  b = linear(h, 4)
  y = tanh(a + b)
  h <- y
  POLICY
  output value = linear(y, 1)
}
train TRAINER { gamma = 0.9, lambda = 0.7, value = 0.3, entropy = 0.1, normalise = NORMALISE }
";

/// The gradients of a whole network on each evaluator.
#[test]
fn gradients_of_rewards_are_those_of_another_program() {
    let root = scratch("independent-rewards-network");
    let numbers = "output policy = linear(y, 2) output log_std = linear(y, 2)";
    let heads = "output policy_0 = linear(y, 2) output policy_1 = linear(y, 3)";
    for (kind, policy, trainer, normalise) in [
        ("numbers", numbers, "a2c", false),
        ("numbers", numbers, "a2c", true),
        ("numbers", numbers, "ppo", true),
        ("heads", heads, "a2c", false),
        ("heads", heads, "ppo", false),
        ("choices", "output policy = linear(y, 2)", "a2c", true),
    ] {
        let what = format!("{kind} {trainer} {normalise}");
        let text = NETWORK
            .replace("POLICY", policy)
            .replace("TRAINER", trainer)
            .replace("NORMALISE", &normalise.to_string());
        std::fs::write(root.join("net.bpm"), text).unwrap();
        let case = json!({
            "kind": kind, "gamma": 0.9, "lambda": 0.7, "value": 0.3, "concentration": 0.0,
            "entropy": 0.1, "normalise": normalise, "ratio": trainer == "ppo" || normalise,
        });
        std::fs::write(root.join("case.json"), case.to_string()).unwrap();
        let template = [
            "grad",
            "net.bpm",
            "--template",
            "--steps",
            "5",
            "--lanes",
            "3",
        ];
        let (code, out, err) = run(&root, &template);
        assert_eq!(code, Some(0), "{what}: {err}");
        std::fs::write(root.join("template.json"), out).unwrap();
        let Some(count) = told("values", &root) else {
            return;
        };
        let expected = told("network", &root).unwrap();
        for (backend, dtype, tolerance) in [
            ("reference", "f64", 1e-8),
            ("fused", "f64", 1e-8),
            ("candle", "f32", 3e-6),
            ("fused", "f32", 3e-6),
        ] {
            let more = [
                "--values",
                "values.json",
                "--backend",
                backend,
                "--dtype",
                dtype,
            ];
            let (code, out, err) = run(&root, &[&["grad", "net.bpm"][..], &more].concat());
            assert_eq!(code, Some(0), "{what}: {err}");
            let found: Value = serde_json::from_str(&out).unwrap();
            let near = |a: f64, b: f64| {
                assert!(
                    (a - b).abs() < tolerance,
                    "{what} {backend} {dtype}: {a} {b}"
                );
            };
            near(
                found["loss"].as_f64().unwrap(),
                expected["loss"].as_f64().unwrap(),
            );
            let gradients = found["gradients"].as_object().unwrap();
            assert_eq!(gradients.len() as u64, count.as_u64().unwrap(), "{what}");
            for (path, gradient) in gradients {
                let mut all = Vec::new();
                flat(gradient, &mut all);
                let wanted = expected["gradients"][path].as_array().unwrap();
                assert_eq!(all.len(), wanted.len(), "{what}: {path}");
                let wanted: Vec<f64> = wanted.iter().map(|x| x.as_f64().unwrap()).collect();
                assert!(wanted.iter().any(|x| x.abs() > 1e-3), "{what}: {path}");
                all.iter().zip(wanted).for_each(|(a, b)| near(*a, b));
            }
        }
    }
}

fn flat(value: &Value, into: &mut Vec<f64>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flat(item, into)),
        other => into.push(other.as_f64().unwrap()),
    }
}
