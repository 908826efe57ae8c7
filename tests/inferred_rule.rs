//! A plasticity rule inferred from choices: animals are simulated with a known rule, the spec of the gallery is fitted to
//! what they did, and the report prints the rule.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::own_data::{bpmc, floats, wholes, write};
use crate::scratch::scratch;
use bpmc::ir::rng::{Key, Stream};
use std::path::Path;

const SPEC: &str = include_str!("../specs/gallery/infer_rule/polynomial.bpm");
const SESSIONS: usize = 240;
const TRIALS: usize = 60;
const NEURONS: usize = 3;

/// The animals' rule: 0.4 pre post reward - 0.1 w.
fn rule(pre: f64, post: f64, w: f64, reward: f64) -> f64 {
    0.4 * pre * post * reward - 0.1 * w
}

/// Sessions of a task in which one turn is rewarded in 80 % of the trials, the other in 20 %: which one, depends on the first
/// neuron and changes every 15 trials.
fn animals(path: &Path, seed: u64) {
    let (mut stimuli, mut turns, mut rewards) = (Vec::new(), Vec::new(), Vec::new());
    for session in 0..SESSIONS as u32 {
        let mut draws = Key::new(seed, Stream::Task).at(session, 0, 0).draws();
        let mut w = [0.0; NEURONS];
        for trial in 0..TRIALS as u32 {
            let pre: Vec<f64> = (0..NEURONS)
                .map(|_| f64::from((3.0 * draws.uniform() - 1.5) as f32))
                .collect();
            let drive: f64 = pre.iter().zip(&w).map(|(pre, w)| pre * w).sum();
            let right = draws.uniform() < 1.0 / (1.0 + (-drive).exp());
            let good = right == ((trial / 15 + session).is_multiple_of(2) == (pre[0] > 0.0));
            let won = draws.uniform() < if good { 0.8 } else { 0.2 };
            let (post, reward) = (if right { 1.0 } else { -1.0 }, f64::from(u8::from(won)));
            for (w, pre) in w.iter_mut().zip(&pre) {
                *w += rule(*pre, post, *w, reward);
            }
            stimuli.extend(pre);
            turns.push(post);
            rewards.push(reward);
        }
    }
    let shape = [SESSIONS, TRIALS];
    let arrays = [
        (
            "stimulus",
            floats(&[SESSIONS, TRIALS, NEURONS], |k| stimuli[k] as f32),
        ),
        ("turn", floats(&shape, |k| turns[k] as f32)),
        ("reward", floats(&shape, |k| rewards[k] as f32)),
        ("choice", wholes(&shape, |k| i64::from(turns[k] > 0.0))),
    ];
    write(path, &arrays);
}

/// The coefficient of the term with these factors in `a = -0.1 · x + 0.4 · y · z, from ...`; 0 if there is none.
fn coefficient(rule: &str, factors: &[&str]) -> f64 {
    let (_, sum) = rule.split_once(" = ").unwrap();
    let sum = sum.split(", from").next().unwrap();
    let sum = sum.replace(" − ", " + −").replace('−', "-");
    for term in sum.split(" + ") {
        let mut parts: Vec<&str> = term.split(" · ").collect();
        let number = parts.remove(0).parse::<f64>().unwrap();
        if parts == factors {
            return number;
        }
    }
    0.0
}

#[test]
fn the_terms_of_the_animals_rule_are_found_and_no_others() {
    let folder = scratch("inferred_rule");
    std::fs::write(folder.join("animal.bpm"), SPEC).unwrap();
    animals(&folder.join("train.npz"), 1);
    animals(&folder.join("valid.npz"), 2);
    let train = [
        "train",
        "animal.bpm",
        "--set",
        "task.test=valid.npz",
        "--set",
        "train.batch=40",
        "--set",
        "train.epochs=40",
        "--out",
        "run",
        "--quiet",
    ];
    let (good, said) = bpmc(&folder, &train);
    assert!(good, "{said}");
    let report = ["report", "run", "-o", "report.html", "--no-ablations"];
    let (good, said) = bpmc(&folder, &report);
    assert!(good, "{said}");
    let mut rules = said
        .lines()
        .filter_map(|line| line.strip_prefix("rule as trained: "));
    let rule = rules.next().unwrap();
    assert_eq!(rules.next(), None, "{said}");
    assert!(rule.starts_with("Δsynapses.w_ij = "), "{rule}");
    let (pre, post, w, reward) = ("stimulus_i", "turn_j", "synapses.w_ij", "reward");
    let terms: [(&[&str], f64); 16] = [
        (&[], 0.0),
        (&[pre], 0.0),
        (&[post], 0.0),
        (&[w], -0.1),
        (&[reward], 0.0),
        (&[pre, post], 0.0),
        (&[pre, w], 0.0),
        (&[pre, reward], 0.0),
        (&[post, w], 0.0),
        (&[post, reward], 0.0),
        (&[w, reward], 0.0),
        (&[pre, post, w], 0.0),
        (&[pre, post, reward], 0.4),
        (&[pre, w, reward], 0.0),
        (&[post, w, reward], 0.0),
        (&[pre, post, w, reward], 0.0),
    ];
    for (factors, expected) in terms {
        let found = coefficient(rule, factors);
        assert!(
            (found - expected).abs() < 0.05,
            "{factors:?}: {found}, expected {expected} in {rule}"
        );
    }
}
