//! Evaluation, ablations and replays: the same episodes to the bit, and effects where there should be some.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::{command, metrics, run, Session, SPEC};
use crate::scratch::scratch;
use bpmc::lab::evaluation::{Ablation, Evaluator, Outcome, Wanted};
use bpmc::lab::replay::{find_probe, probes, record, Recording, Series, Source};
use bpmc::lab::run::{open, OpenedRun, Which};
use bpmc::learn::trainer::{BackendKind, Trainer};
use std::path::Path;

fn recorded(opened: &OpenedRun, iteration: u64, names: &[&str], lanes: &[usize]) -> Recording {
    let program = opened.program().unwrap();
    let all = probes(program);
    let wanted: Vec<_> = names
        .iter()
        .map(|name| find_probe(&all, name).unwrap().clone())
        .collect();
    let before = opened.before_iteration(iteration, 2, &mut |_| {}).unwrap();
    record(program, opened.options(2), &before, &wanted, lanes).unwrap()
}

fn trained(name: &str, backend: BackendKind) -> std::path::PathBuf {
    let place = scratch(&format!("replay-{name}-{}", backend.name())).join("a");
    let session = Session {
        backend,
        ..Session::new(&place, SPEC)
    };
    session.go().unwrap();
    place
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_replay_is_the_iteration_to_the_bit() {
    for backend in BackendKind::ALL {
        let place = trained("bits", backend);
        let opened = open(&place).unwrap();
        let records = metrics(&place);
        // Iteration 2 lies before all checkpoints that are left, 4 right after one, 12 is yet to come.
        for iteration in [1u64, 2, 4, 10, 11] {
            let recording = recorded(&opened, iteration, &["episode.reward"], &[]);
            let record = &records[iteration as usize - 1];
            assert_eq!(record["iteration"], iteration);
            let what = format!("{} {iteration}", backend.name());
            let loss = record["loss"].as_f64().unwrap();
            if backend == BackendKind::Fused {
                assert_eq!(recording.loss, loss, "{what}");
            } else {
                // Blocks of lanes are added up in another order.
                assert!((recording.loss - loss).abs() < 1e-12 * loss.abs(), "{what}");
            }
            let reward = record["reward"].as_f64().unwrap();
            assert_eq!(mean(&recording.rewards), reward, "{what}");
        }
        let error = opened.before_iteration(13, 1, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("they are 1 to 11"), "{error}");
    }
}

fn at<'a>(series: &'a Series, recording: &Recording, step: usize, lane: usize) -> &'a [f64] {
    let width: usize = series.dims.iter().product();
    let from = (step * recording.lanes.len() + lane) * width;
    &series.values[from..from + width]
}

/// A computed first value is what the step begins with, and all backends record it.
#[test]
fn a_computed_first_value_is_what_enters_the_first_step() {
    let spec = SPEC
        .replace(
            "state h: [N] = 0",
            "trained h0: [N] = 0.25\n  state h: [N] = 2 * h0",
        )
        .replace("iterations = 11", "iterations = 2");
    for backend in BackendKind::ALL {
        let place = scratch(&format!("replay-first-{}", backend.name())).join("a");
        let session = Session {
            backend,
            ..Session::new(&place, &spec)
        };
        session.go().unwrap();
        let opened = open(&place).unwrap();
        let recording = recorded(&opened, 1, &["h", "next h"], &[0, 3]);
        let [h, next] = [&recording.series[0], &recording.series[1]];
        for lane in 0..2 {
            assert_eq!(at(h, &recording, 0, lane), [0.5; 5]);
            let [found, expected] = [at(h, &recording, 1, lane), at(next, &recording, 0, lane)];
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 1e-6, "{a} and {b}");
            }
        }
    }
}

#[test]
fn what_is_recorded_obeys_the_equations() {
    let names = [
        "h",
        "next h",
        "rec.hebb",
        "next rec.hebb",
        "rec.e",
        "m",
        "y",
        "rec",
        "slow",
        "obs",
        "xi",
        "policy",
        "value",
        "episode.action",
        "episode.reward",
        "episode.trial",
    ];
    for backend in BackendKind::ALL {
        let place = trained("equations", backend);
        let opened = open(&place).unwrap();
        let recording = recorded(&opened, 8, &names, &[5, 0]);
        assert_eq!(
            (recording.steps, recording.lanes.as_slice()),
            (12, &[5, 0][..])
        );
        let series = |name: &str| recording.series.iter().find(|s| s.name == name).unwrap();
        assert_eq!(series("rec.hebb").dims, [5, 5]);
        assert_eq!(series("rec.hebb").values.len(), 12 * 2 * 25);
        let (h, next_h, y, m) = (series("h"), series("next h"), series("y"), series("m"));
        let (hebb, next_hebb, e) = (series("rec.hebb"), series("next rec.hebb"), series("rec.e"));
        for lane in 0..2 {
            assert_eq!(at(h, &recording, 0, lane), [0.0; 5]);
            assert_eq!(at(hebb, &recording, 0, lane), [0.0; 25]);
            assert_ne!(
                at(series("slow"), &recording, 0, lane),
                [0.0; 5],
                "it outlives episodes"
            );
            assert_eq!(at(series("episode.trial"), &recording, 0, lane), [1.0]);
            for step in 0..12 {
                let here = |s| at(s, &recording, step, lane);
                if step > 0 {
                    assert_eq!(here(h), at(next_h, &recording, step - 1, lane));
                    assert_eq!(here(hebb), at(next_hebb, &recording, step - 1, lane));
                }
                for (y, h) in here(y).iter().zip(here(next_h)) {
                    assert!((y - h).abs() < 1e-6, "{} {step}: {y} {h}", backend.name());
                }
                let m = here(m)[0];
                assert!(m.abs() <= 1.0);
                for ((hebb, next), e) in here(hebb).iter().zip(here(next_hebb)).zip(here(e)) {
                    let wanted = (hebb + m * e).clamp(-1.0, 1.0);
                    assert!((wanted - next).abs() < 1e-6, "{step}: {wanted} {next}");
                }
                assert!([0.0, 1.0].contains(&here(series("episode.action"))[0]));
            }
        }
        if backend == BackendKind::Fused {
            assert_eq!(y.source, Source::Run);
            assert_eq!(m.source, Source::Run);
            assert_eq!(y.values, next_h.values, "h <- y, to the bit");
        }
        assert_eq!(recording.wide, backend == BackendKind::Reference);

        // The lanes of a smaller recording are those of the larger.
        let whole = recorded(&opened, 8, &["rec.hebb"], &[]);
        for step in 0..12 {
            let small = at(hebb, &recording, step, 0);
            assert_eq!(small, at(&whole.series[0], &whole, step, 5));
        }
    }
}

fn evaluator(opened: &OpenedRun) -> Evaluator<'_> {
    let checkpoint = opened.checkpoint(Which::Last).unwrap();
    let parameters = opened.parameters(&checkpoint).unwrap();
    Evaluator::new(opened.program().unwrap(), opened.options(2), parameters).unwrap()
}

const WANTED: Wanted = Wanted {
    episodes: 18,
    greedy: false,
    seed: 0,
};

#[test]
fn evaluation_is_that_of_the_trainer() {
    for backend in BackendKind::ALL {
        let place = trained("evaluation", backend);
        let opened = open(&place).unwrap();
        let outcome = evaluator(&opened).intact(WANTED).unwrap();
        let mut trainer = Trainer::new(opened.program().unwrap(), opened.options(1)).unwrap();
        trainer
            .restore_parameters(&opened.checkpoint(Which::Last).unwrap())
            .unwrap();
        let wanted = trainer.evaluate(18, false).unwrap();
        assert_eq!(outcome.values, wanted.rewards);
        assert_eq!(outcome.episodes.len(), 18);
        assert!((outcome.loss - wanted.loss).abs() < 1e-12);
        let curves = outcome.curves();
        let total: f64 = curves.steps.iter().sum();
        assert!((total - mean(&outcome.values)).abs() < 1e-12);
        let trials: f64 = curves
            .trials
            .iter()
            .map(|trial| trial.reward * trial.episodes as f64 / 18.0)
            .sum();
        assert!((trials - total).abs() < 1e-9);
        assert_eq!(curves.trials[0].episodes, 18);
    }
}

fn ablated(opened: &OpenedRun, text: &str) -> Outcome {
    let ablation: Ablation = text.parse().unwrap();
    let done = evaluator(opened).ablated(&ablation, WANTED);
    done.unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn ablations_take_away_what_they_say() {
    let place = trained("ablations", BackendKind::Fused);
    let opened = open(&place).unwrap();
    let mut evaluator = evaluator(&opened);
    let intact = evaluator.intact(WANTED).unwrap();

    // Traces are at their first values before step 0 anyway.
    assert_eq!(ablated(&opened, "reset:0").loss, intact.loss);
    assert_ne!(ablated(&opened, "reset:9").loss, intact.loss);
    // Without a modulator nothing is learned in this rule, and without alpha nothing is seen of it.
    let without = ablated(&opened, "alpha=0").loss;
    assert_ne!(without, intact.loss);
    assert_eq!(ablated(&opened, "rec.alpha=0").loss, without);
    let mean = ablated(&opened, "freeze:m").loss;
    let shuffled = ablated(&opened, "shuffle").loss;
    assert!(mean != intact.loss && shuffled != intact.loss && mean != shuffled);
    assert_eq!(
        ablated(&opened, "freeze").loss,
        mean,
        "there is one modulator"
    );
    assert_eq!(
        ablated(&opened, "shuffle:m").loss,
        shuffled,
        "the same order again"
    );
    // An ablation leaves the network as it was.
    evaluator
        .ablated(&"alpha=0".parse().unwrap(), WANTED)
        .unwrap();
    assert_eq!(evaluator.intact(WANTED).unwrap().loss, intact.loss);

    for (text, message) in [
        (
            "alpa=0",
            "the network has no parameter `alpa`; did you mean",
        ),
        ("freeze:n", "the network has no modulator `n`; "),
        (
            "reset:12",
            "there is no step 12 to reset traces at; an episode has steps 0 to 11",
        ),
    ] {
        let error = evaluator.ablated(&text.parse().unwrap(), WANTED);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn a_modulator_that_never_changes_may_be_frozen_and_shuffled() {
    let root = scratch("replay-constant");
    // The weights are 0 and stay so: the modulator is tanh of its bias, and that stays 0, too.
    let spec = SPEC.replace("iterations = 11", "iterations = 0").replace(
        "modulator m = tanh(linear(y, 1))",
        "modulator m = 0.5 + 0 * tanh(linear(y, 1))",
    );
    let place = root.join("a");
    Session::new(&place, &spec).go().unwrap();
    let opened = open(&place).unwrap();
    let intact = evaluator(&opened).intact(WANTED).unwrap();
    for text in ["freeze", "shuffle"] {
        let outcome = ablated(&opened, text);
        assert_eq!(outcome.values, intact.values, "{text}");
        assert!((outcome.loss - intact.loss).abs() < 1e-9, "{text}");
    }
}

#[test]
fn the_commands_print_and_write() {
    let place = trained("command", BackendKind::Fused);
    let (root, name) = (place.parent().unwrap(), place.file_name().unwrap());
    let name = name.to_str().unwrap();
    let (code, out, err) = run(root, &["replay", name, "--list"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<String> = out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "rec.hebb [5, 5] trace",
        "m [] modulator",
        "next h [5] what leaves the step",
        "episode.reward [] reward earned",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {out}");
    }
    let replay = |more: &[&str]| run(root, &[&["replay", name], more].concat());
    let (code, out, err) = replay(&["--iteration", "8", "--probe", "m,rec.hebb", "-o", "a.npz"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err, "training again from iteration 6 to 7\n");
    assert!(
        out.contains("\nrec.hebb [12, 7, 5, 5], from the run\nwrote a.npz\n"),
        "{out}"
    );
    let first = std::fs::read(root.join("a.npz")).unwrap();
    replay(&[
        "--iteration",
        "8",
        "--probe",
        "m,rec.hebb",
        "-o",
        "a.npz",
        "--threads",
        "1",
    ]);
    assert!(std::fs::read(root.join("a.npz")).unwrap() == first);

    let (code, _, err) = replay(&[
        "--iteration",
        "11",
        "--probe",
        "y",
        "--lanes",
        "3",
        "-o",
        "a.safetensors",
    ]);
    assert_eq!(code, Some(0), "{err}");
    let bytes = std::fs::read(root.join("a.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("y").unwrap().shape(), [12, 1, 5]);

    for (more, status, message) in [
        (
            &["--iteration", "3", "--probe", "heb", "-o", "a.npz"][..],
            2,
            "nothing in this network is called `heb`; ",
        ),
        (
            &["--iteration", "3", "--probe", "hebb", "-o", "a.npz"],
            2,
            "did you mean `rec.hebb`?",
        ),
        (
            &["--iteration", "3", "--probe", "h", "-o", "a.txt"],
            2,
            "neither in .npz nor in .safetensors",
        ),
        (
            &["--iteration", "99", "--probe", "h", "-o", "a.npz"],
            1,
            "has no iteration 99; they are 1 to 11",
        ),
        (
            &[
                "--iteration",
                "3",
                "--probe",
                "h",
                "--lanes",
                "7",
                "-o",
                "a.npz",
            ],
            1,
            "there is no lane 7; the batch has lanes 0 to 6",
        ),
        (
            &["--iteration", "3", "--probe", "h", "-o", "no/such/a.npz"],
            1,
            "cannot write no/such/a.npz",
        ),
        (&["--probe", "h", "-o", "a.npz"], 2, "--iteration"),
    ] {
        let (code, _, err) = replay(more);
        assert_eq!(code, Some(status), "{err}");
        assert!(err.contains(message), "{err}");
    }

    let ablate = [
        "--ablate", "alpha=0", "--ablate", "freeze", "--ablate", "reset:6",
    ];
    let (code, out, err) = run(
        root,
        &[&["eval", name, "--episodes", "20"], &ablate[..]].concat(),
    );
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        "\nfrom step   reward a step\n        0 ",
        "\n    trial   reward   episodes\n        1 ",
        "\n(intact) ",
        "\nalpha=0 ",
        "\nreset:6 ",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (_, out, _) = run(
        root,
        &[
            &["eval", name, "--json", "--checkpoint", "best"],
            &ablate[..],
        ]
        .concat(),
    );
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["curves"]["steps"].as_array().unwrap().len(), 12);
    let ablations = report["ablations"].as_array().unwrap();
    assert_eq!(ablations.len(), 3);
    let difference = ablations[0]["effect"]["mean_difference"].as_f64().unwrap();
    let means = |value: &serde_json::Value| value["mean"].as_f64().unwrap();
    assert!((means(&ablations[0]) - means(&report) - difference).abs() < 1e-12);
    let (code, _, err) = run(root, &["eval", name, "--checkpoint", "5"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("has no checkpoint of iteration 5; there are those of 6, 9, 11"),
        "{err}"
    );
    assert!(Path::new(&place).join("checkpoints").is_dir());
}

#[test]
fn parts_and_every_so_many_steps_are_those_of_the_whole() {
    let place = trained("parts", BackendKind::Fused);
    let (root, name) = (place.parent().unwrap(), place.file_name().unwrap());
    let name = name.to_str().unwrap();
    let replay = |more: &[&str]| {
        run(
            root,
            &[&["replay", name, "--iteration", "8"], more].concat(),
        )
    };
    let whole = recorded(&open(&place).unwrap(), 8, &["rec.hebb", "m", "y"], &[5, 0]);
    let probes = "rec.hebb[1 .. 3, 4], m,rec.hebb[2], y[.., ]";
    let (code, _, err) = replay(&["--probe", probes, "-o", "a.safetensors"]);
    assert_eq!(code, Some(2));
    assert!(
        err.contains("`y[.., ]` picks from 2, but `y` is [5], which has 1 axis"),
        "{err}"
    );
    let probes = "rec.hebb[1 .. 3, 4], m,rec.hebb[2], y[..]";
    let more = [
        "--lanes",
        "5,0",
        "--every",
        "5",
        "--probe",
        probes,
        "-o",
        "a.safetensors",
    ];
    let (code, out, err) = replay(&more);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("\nrec.hebb[1 .. 3, 4] [3, 2, 2], from the run\n"),
        "{out}"
    );
    let bytes = std::fs::read(root.join("a.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |name: &str| -> Vec<f64> {
        let tensor = file.tensor(name).unwrap();
        let numbers = tensor.data().chunks(4);
        numbers
            .map(|x| f64::from(f32::from_le_bytes(x.try_into().unwrap())))
            .collect()
    };
    let wanted = |series: usize, places: &[usize]| -> Vec<f64> {
        let series = &whole.series[series];
        [0, 5, 10]
            .iter()
            .flat_map(|step| [0, 1].map(|lane| at(series, &whole, *step, lane)))
            .flat_map(|values| places.iter().map(|k| values[*k]))
            .collect()
    };
    assert_eq!(numbers("rec.hebb[1 .. 3, 4]"), wanted(0, &[9, 14]));
    assert_eq!(numbers("m"), wanted(1, &[0]));
    assert_eq!(numbers("rec.hebb[2]"), wanted(0, &[10, 11, 12, 13, 14]));
    assert_eq!(numbers("y[..]"), wanted(2, &[0, 1, 2, 3, 4]));

    for (probe, message) in [
        (
            "rec.hebb[0 .. 6, 3]",
            "`0 .. 6` is no range of something of size 5; `rec.hebb` is [5, 5]",
        ),
        (
            "rec.hebb[0, 5]",
            "there is no 5 in something of size 5, only 0 to 4; `rec.hebb` is [5, 5]",
        ),
        ("m[0]", "`m` is a single number without axes"),
        (
            "rec.heb[0]",
            "nothing in this network is called `rec.heb`; did you mean `rec.hebb`?",
        ),
        ("y[0", "`y[0` has no `]` at its end"),
        ("y,m,y", "`y` is asked for twice"),
    ] {
        let (code, _, err) = replay(&["--probe", probe, "-o", "b.npz"]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(message), "{probe}: {err}");
    }
    assert!(!root.join("b.npz").exists());
}

/// The largest resident size of a command, in bytes.
#[cfg(target_os = "linux")]
fn peak(root: &Path, arguments: &[&str]) -> u64 {
    let mut child = command(root, arguments)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
        peak = peak.max(1024 * kibibytes.unwrap_or(0u64));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_recording_takes_no_more_memory_than_a_short_one() {
    let root = scratch("replay-memory");
    let spec = SPEC
        .replace("dim N = 5", "dim N = 128")
        .replace("steps = 12", "steps = 300")
        .replace("batch = 7, iterations = 11", "batch = 4, iterations = 1");
    assert!(spec.contains("N = 128") && spec.contains("steps = 300") && spec.contains("batch = 4"));
    std::fs::write(root.join("agent.bpm"), spec).unwrap();
    assert_eq!(
        run(&root, &["train", "agent.bpm", "--quiet", "--out", "a"]).0,
        Some(0)
    );
    let recording = |every: &str, file: &str| {
        let replay = [
            "replay",
            "a",
            "--iteration",
            "1",
            "--probe",
            "rec.hebb",
            "--every",
        ];
        let peak = peak(&root, &[&replay[..], &[every, "-o", file]].concat());
        (peak, std::fs::metadata(root.join(file)).unwrap().len())
    };
    let (little, small) = recording("100", "small.npz");
    for file in ["large.npz", "large.safetensors"] {
        let (much, large) = recording("1", file);
        assert!(
            small < 1 << 20 && large > 300 * 4 * 128 * 128 * 4,
            "{small} {large}"
        );
        assert!(
            much < little + (16 << 20),
            "{much} bytes for {large}, {little} for {small}"
        );
        std::fs::remove_file(root.join(file)).unwrap();
    }
}

/// Training stores vectors in the place of this trace.
const LINEAR: &str = "
network completion {
  input obs: [task.obs]
  state h: [task.recall] = 0
  plastic rec: h -> y using decay() {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1) per post
  }
  y = tanh(obs + rec)
  h <- y
  output recall = y
}
task pattern_completion {
  bits = 24, patterns = 1, presentations = 1, show = 2, gap = 0, probe = 1
}
train supervised {
  loss = half_sum_squares, batch = 3, iterations = 4, metrics_every = 1
}
";

#[test]
fn a_trace_that_training_does_not_store_can_be_recorded_and_reset() {
    let place = scratch("replay-linear");
    Session::new(&place, LINEAR).go().unwrap();
    let opened = open(&place).unwrap();
    let program = opened.program().unwrap();
    let trainer = Trainer::new(program, opened.options(1)).unwrap();
    let form = trainer.experiment().forms().next().unwrap();
    assert_eq!((form.trace.as_str(), &form.steps), ("rec.hebb", &Ok(3)));

    let recording = recorded(&opened, 3, &["rec.hebb", "next rec.hebb", "h", "y"], &[]);
    let loss = metrics(&place)[2]["loss"].as_f64().unwrap();
    assert!((recording.loss - loss).abs() < 1e-5 * loss, "{loss}");
    let [hebb, next, h, y] = &recording.series[..] else {
        panic!("four series")
    };
    assert_eq!(hebb.dims, [24, 24]);
    for lane in 0..3 {
        assert_eq!(at(hebb, &recording, 0, lane), [0.0; 24 * 24]);
        for step in 0..3 {
            let here = |series| at(series, &recording, step, lane);
            // eta has moved a little from its first value 0.1.
            let (pre, post) = (here(h), here(y));
            for (k, (old, new)) in here(hebb).iter().zip(here(next)).enumerate() {
                let wanted = 0.9 * old + 0.1 * pre[k / 24] * post[k % 24];
                assert!((wanted - new).abs() < 0.02, "{step}: {wanted} {new}");
            }
        }
    }
    assert!(at(hebb, &recording, 2, 0).iter().any(|x| x.abs() > 0.05));

    let intact = evaluator(&opened).intact(WANTED).unwrap();
    assert_eq!(ablated(&opened, "reset:0").loss, intact.loss);
    assert_ne!(ablated(&opened, "reset:2").loss, intact.loss);
    // Before the first step of activity there is nothing to forget.
    assert_eq!(ablated(&opened, "reset:1").loss, intact.loss);
}
