//! Generated kernels for GPUs, run by the processor: the same episodes, losses and gradients as the reference has.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use crate::gradients::library::is_modulated;
use crate::gradients::slots::place;
use bpmc::driver::{compile, from_disk};
use bpmc::engine::experiment::{Experiment, Target};
use bpmc::learn::device_block::device_source;
use bpmc::learn::language::device::device_stages;
use bpmc::learn::trainer::{BackendKind, IterationReport, Probe, Trainer, TrainerOptions};
use bpmc::machine::device::{BlockLimits, DeviceChoice, DeviceKind, Nvrtc};
use bpmc::step::passes::Selection;
use bpmc::step::Compiled;
use std::path::Path;
use std::sync::Arc;

/// The limits of a device like an H100 that has no clusters.
const ALONE: BlockLimits = BlockLimits {
    clusters: [0, 0],
    ..BlockLimits::H100
};

/// The kernels of a spec, as it is trained.
fn kernels(program: &Compiled) -> Arc<Experiment> {
    Arc::new(Experiment::trained(program, Target::Kernels, &Selection::default()).unwrap())
}

/// The program of a shipped spec, or of a text.
fn program(spec: &str, set: &[&str]) -> Compiled {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(spec);
    let (path, text) = match spec.ends_with(".bpm") {
        true => (
            path.display().to_string(),
            std::fs::read_to_string(&path).unwrap(),
        ),
        false => ("agent.bpm".to_owned(), spec.to_owned()),
    };
    let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
    let compilation = compile(&path, &text, &set, &from_disk).unwrap();
    let faults: Vec<String> = compilation
        .diagnostics
        .iter()
        .map(|d| d.message.clone())
        .collect();
    compilation
        .program
        .unwrap_or_else(|| panic!("{path}: {faults:?}"))
}

fn trainer(program: &Compiled, backend: BackendKind, device: DeviceKind) -> Trainer {
    trainer_with(program, backend, device, Selection::default())
}

pub fn trainer_with(
    program: &Compiled,
    backend: BackendKind,
    device: DeviceKind,
    passes: Selection,
) -> Trainer {
    let options = TrainerOptions {
        threads: 2,
        backend,
        device: DeviceChoice::from(device),
        passes,
        memory: None,
    };
    Trainer::new(program, options).unwrap()
}

/// Compares the loss, and gradients, each against the largest of its parameter.
pub fn assert_near(program: &Compiled, found: &Probe, expected: &Probe, what: &str) {
    let (a, b) = (found.loss, expected.loss);
    assert!(
        (a - b).abs() < 1e-4 * b.abs().max(1.0),
        "{what}: loss {a} instead of {b}"
    );
    let slots = program.step.params.iter();
    for (slot, (x, y)) in slots.zip(found.gradients.iter().zip(&expected.gradients)) {
        let (Some(x), Some(y)) = (x, y) else {
            assert!(x.is_none() && y.is_none(), "{what}: {}", slot.path);
            continue;
        };
        assert_eq!(x.len(), y.len(), "{what}: {}", slot.path);
        let scale = y.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
        for (k, (x, y)) in x.iter().zip(y).enumerate() {
            assert!(
                (x - y).abs() < 1e-4 * scale,
                "{what}: gradient of `{}`{}: {x} instead of {y}, the largest is {scale}",
                slot.path,
                place(&slot.dims, k)
            );
        }
    }
}

/// What the emulated device and the reference give for the same batch of episodes.
fn agrees(spec: &str, set: &[&str]) {
    let program = program(spec, set);
    let mut oracle = trainer(&program, BackendKind::Reference, DeviceKind::Cpu);
    let mut device = trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
    // States that outlive an episode reach the second one.
    for _ in 0..2 {
        let (expected, found) = (oracle.probe().unwrap(), device.probe().unwrap());
        assert_eq!(expected.rewards, found.rewards, "{spec} {set:?}");
        assert_near(&program, &found, &expected, &format!("{spec} {set:?}"));
    }
}

#[test]
fn cue_reward_agrees_with_the_reference() {
    for agent in ["nonplastic", "plastic", "simple", "retroactive"] {
        let path = format!("specs/paper/cue_reward/{agent}.bpm");
        agrees(&path, &["N=19", "task.steps=23", "train.batch=3"]);
    }
    let control = "specs/paper/cue_reward/control_retroactive.bpm";
    agrees(control, &["N=5", "task.steps=40", "train.batch=2"]);
}

#[test]
fn mazes_agree_with_the_reference() {
    for agent in [
        "nonplastic",
        "plastic",
        "simple",
        "simple_fanout",
        "retroactive",
    ] {
        let path = format!("specs/paper/maze/{agent}.bpm");
        agrees(&path, &["N=21", "task.steps=30", "train.batch=2"]);
    }
}

#[test]
fn bandits_and_delayed_matches_agree_with_the_reference() {
    let small = ["N=7", "task.steps=30", "train.batch=3"];
    let settings: [&[&str]; 3] = [
        &[],
        &["task.arms=7", "task.reversal=0.5", "task.reward=2.5"],
        &["task.chances=uniform", "task.high=1", "task.low=0.25"],
    ];
    for more in settings {
        let spec = "specs/gallery/bandit/retroactive.bpm";
        agrees(spec, &[&small[..], more].concat());
    }
    let settings: [&[&str]; 3] = [
        &[],
        &["task.distractors=1", "task.stimuli=2", "task.reward=0.5"],
        &["task.min_delay=0", "task.max_delay=0"],
    ];
    for more in settings {
        agrees(
            "specs/gallery/delayed_match.bpm",
            &[&small[..], more].concat(),
        );
    }
}

#[test]
fn tasks_with_other_settings_are_the_same_on_the_device() {
    let quickstart = "specs/quickstart.bpm";
    let small = ["N=4", "train.batch=9", "train.gamma=0.7"];
    let settings: [&[&str]; 4] = [
        &[
            "task.observation=paper",
            "task.bits=3",
            "task.cues=5",
            "task.shown=3",
        ],
        &[
            "task.patterns=one_hot",
            "task.max_blanks=2",
            "task.min_blanks=1",
            "task.flip=0.3",
        ],
        &["task.bits=1", "task.reward=2.5", "task.steps=9"],
        &[
            "task.bits=40",
            "task.cues=8",
            "task.shown=7",
            "task.steps=61",
        ],
    ];
    for more in settings {
        agrees(quickstart, &[&small[..], more].concat());
    }
    let maze = "specs/paper/maze/simple.bpm";
    let small = ["N=4", "train.batch=9", "task.steps=90"];
    let settings: [&[&str]; 3] = [
        &["task.size=5", "task.start=random", "task.wall_penalty=0.25"],
        &["task.observation=run", "task.view=5", "task.size=7"],
        &[
            "task.size=15",
            "task.start=random",
            "task.view=1",
            "task.reward=3",
        ],
    ];
    for more in settings {
        agrees(maze, &[&small[..], more].concat());
    }
}

/// An agent with a rule of the library.
fn agent(rule: &str, pre: usize, post: usize, fanout: bool, alpha: &str) -> String {
    let argument = match (is_modulated(rule), fanout) {
        (true, true) => "fanout(m)",
        (true, false) => "m",
        (false, _) => "",
    };
    let coefficient = match rule {
        "nonplastic" => String::new(),
        _ => format!("coeff alpha ~ uniform(-1, 1) per {alpha}"),
    };
    let (source, current) = match pre == post {
        true => ("h", "linear(obs) + rec"),
        false => ("z", "linear(h) + rec"),
    };
    format!(
        "network agent {{
           input obs: [task.obs]
           state h: [{post}] = 0
           z = tanh(linear(obs, {pre}))
           plastic rec: {source} -> y using {rule}({argument}) {{
             weight w ~ uniform(-0.5, 0.5)
             {coefficient}
           }}
           y = tanh({current})
           modulator m = tanh(linear(y, 1))
           h <- y
           output policy = linear(y, task.actions)
           output value = linear(y, 1)
         }}
         task cue_reward {{ cues = 3, shown = 1, bits = 4, steps = 18 }}
         train a2c {{ batch = 3, iterations = 1, gamma = 0.5, optimizer adam {{ lr = 1e-3 }} }}"
    )
}

#[test]
fn all_rules_agree_with_the_reference_at_odd_sizes() {
    for (rule, _) in bpmc::lang::library::LIBRARY {
        agrees(&agent(rule, 17, 17, true, "connection"), &[]);
        agrees(&agent(rule, 3, 37, false, "post"), &[]);
    }
    for size in [1, 2, 16, 33] {
        agrees(&agent("retroactive", size, size, false, "network"), &[]);
        agrees(&agent("simple", size, 1, true, "pre"), &[]);
    }
}

#[test]
fn supervised_tasks_agree_with_the_reference() {
    let spec = "network completer {
          input obs: [task.obs]
          state h: [task.obs] = 0
          plastic rec: h -> y using plain(eta0 = 0.2) { weight w ~ uniform(-0.1, 0.1), coeff alpha ~ uniform(-0.2, 0.2) }
          y = tanh(2 * obs + rec)
          h <- y
          output recall = y
        }
        task pattern_completion { bits = 19, presentations = 2 }
        train supervised { batch = 3, iterations = 1, optimizer adam { lr = 1e-3 } }";
    agrees(spec, &[]);
}

#[test]
fn noise_and_states_that_outlive_an_episode_agree_with_the_reference() {
    let spec = "network agent {
          input obs: [task.obs]
          state h: [11] = 0
          state calm: [3] = 0.5 reset never
          noise eps: [11] ~ normal(0, 0.1)
          noise kick: [3] ~ bernoulli(0.3)
          noise push: [2] ~ uniform(-1, 1)
          plastic rec: h -> y using retroactive(m) {
            weight w ~ uniform(-1, 1)
            coeff alpha ~ uniform(-1, 1)
          }
          y = tanh(linear(obs) + rec + eps + linear(calm))
          modulator m = tanh(linear(y, 1) + sum(push))
          h <- y
          calm <- 0.9 * calm + 0.1 * kick
          output policy = linear(y, task.actions)
          output value = linear(y, 1)
        }
        task cue_reward { cues = 3, shown = 1, bits = 4, steps = 18 }
        train a2c { batch = 3, iterations = 1, gamma = 0.5, optimizer adam { lr = 1e-3 } }";
    agrees(spec, &[]);
}

/// A trace divided by a sum that is 0 at first, and functions that are not defined where they are not taken.
#[test]
fn branches_that_are_not_taken_agree_with_the_reference() {
    for size in [1, 17] {
        let spec = format!(
            "network agent {{
               input obs: [task.obs]
               state h: [{size}] = 0
               plastic rec: h -> y {{
                 weight w ~ uniform(-0.3, 0.3)
                 coeff alpha ~ uniform(-0.5, 0.5)
                 trained eta = 0.1
                 trace hebb = 0
                 transmit w + alpha * hebb
                 grown = hebb + eta * m * pre * post
                 total = sum_pre(abs(grown))
                 far = select(relu(grown) > 0.05, log(relu(grown)), 0)
                 when total > 0 {{ hebb <- grown / max(total, 0.1) + far / 9 }}
               }}
               r = relu(linear(obs))
               least = -max(-r)
               y = tanh(select(r > 0.3, 1 / r, 0.1) + select(least > 0.05, linear(log(r)), r) + rec)
               modulator m = tanh(linear(y, 1))
               h <- y
               output policy = linear(y, task.actions)
               output value = linear(y, 1)
             }}
             task cue_reward {{ cues = 3, shown = 1, bits = 4, steps = 18 }}
             train a2c {{ batch = 3, iterations = 1, gamma = 0.5, optimizer adam {{ lr = 1e-3 }} }}"
        );
        agrees(&spec, &[]);
    }
}

/// Trained parameters, moments and the optimizer's steps, bit for bit.
fn standing(trainer: &Trainer) -> (u64, Vec<u32>) {
    let state = trainer.optimizer().state();
    let moments = state.moments.iter().flat_map(|m| m.values.concat());
    let values = trainer.parameters().iter().flat_map(|p| p.values.clone());
    let bits = values.chain(moments).map(f32::to_bits).collect();
    (state.steps, bits)
}

/// Iterations on the emulated device, so many asked for at a time.
fn iterations(trainer: &mut Trainer, all: usize, at_once: usize) -> Vec<IterationReport> {
    let mut reports = Vec::new();
    while reports.len() < all {
        let most = at_once.min(all - reports.len());
        trainer.advance(most as u64, &mut reports).unwrap();
    }
    reports
}

#[test]
fn iterations_give_the_same_bits_however_many_follow_each_other() {
    for set in [
        &["N=9", "train.batch=5"][..],
        &["N=7", "train.batch=3", "train.burn_in=3"],
        &["N=30", "train.batch=2", "train.clip_norm=0.01"],
    ] {
        let program = program("specs/quickstart.bpm", set);
        let made = || trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
        let (mut one, mut two, mut other) = (made(), made(), made());
        let singly = iterations(&mut one, 11, 1);
        let together = iterations(&mut two, 11, 7);
        iterations(&mut other, 10, 5);
        assert_eq!(standing(&one), standing(&two), "{set:?}");
        assert_ne!(standing(&one), standing(&other), "{set:?}");
        for (k, (a, b)) in (1..).zip(singly.iter().zip(&together)) {
            assert_eq!((a.iteration, b.iteration), (k, k));
            assert_eq!(a.loss.to_bits(), b.loss.to_bits());
            assert_eq!(a.gradient_norm.to_bits(), b.gradient_norm.to_bits());
            assert_eq!(a.reward, b.reward);
        }
    }
}

/// Iterations on the device against those of the processor, with the optimizer on the host.
fn learns_as_the_processor(spec: &str, set: &[&str], tolerance: f32) {
    learned_as_on_the_processor(&program(spec, set), &format!("{set:?}"), tolerance);
}

pub fn learned_as_on_the_processor(program: &Compiled, set: &str, tolerance: f32) {
    let mut device = trainer(program, BackendKind::Fused, DeviceKind::Emulated);
    let mut processor = trainer(program, BackendKind::Fused, DeviceKind::Cpu);
    let before: Vec<f32> = device
        .parameters()
        .iter()
        .flat_map(|p| p.values.clone())
        .collect();
    let found = iterations(&mut device, 6, 4);
    let expected = iterations(&mut processor, 6, 1);
    for (a, b) in found.iter().zip(&expected) {
        assert_eq!(a.iteration, b.iteration);
        assert_eq!(a.reward.is_some(), b.reward.is_some());
        let rewards = a.reward.zip(b.reward);
        assert!(rewards.is_none_or(|(a, b)| (a - b).abs() < 1e-9));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * b.abs().max(1e-3);
        assert!(near(a.loss, b.loss), "{set}: {} {}", a.loss, b.loss);
        let (a, b) = (a.gradient_norm, b.gradient_norm);
        assert!(near(a, b), "{set}: {a} {b}");
    }
    let states = [&device, &processor].map(|trainer| trainer.optimizer().state());
    assert_eq!(states[0].steps, states[1].steps);
    assert_eq!(states[0].moments.len(), states[1].moments.len());
    let values = |trainer: &Trainer| -> Vec<f32> {
        let all = trainer.parameters().iter();
        all.flat_map(|p| p.values.clone()).collect()
    };
    let moved = values(&processor);
    let moved = moved.iter().zip(&before).map(|(a, b)| (a - b).abs());
    let furthest = moved.fold(0.0, f32::max);
    assert!(furthest > 0.0, "{set}");
    let parameters = device
        .parameters()
        .iter()
        .zip(processor.parameters().iter());
    for (found, expected) in parameters {
        for (k, (a, b)) in found.values.iter().zip(&expected.values).enumerate() {
            assert!(
                (a - b).abs() <= tolerance * furthest,
                "{set}: `{}`{}: {a} instead of {b}",
                found.path,
                place(&found.dims, k)
            );
        }
    }
}

#[test]
fn optimizers_on_the_device_take_the_steps_of_those_on_the_host() {
    let quickstart = "specs/quickstart.bpm";
    let small = ["N=11", "train.batch=4"];
    let with = |more: &[&'static str]| -> Vec<&'static str> { [&small[..], more].concat() };
    // Adam divides by the gradient, however small: what rounding says of it counts for more.
    learns_as_the_processor(quickstart, &with(&[]), 1e-2);
    learns_as_the_processor(
        quickstart,
        &with(&["train.burn_in=2", "train.clip_norm=0.02"]),
        1e-2,
    );
    let agent = |optimizer: &str, more: &str| {
        agent("retroactive", 13, 13, true, "connection")
            .replace("optimizer adam { lr = 1e-3 }", optimizer)
            .replace("gamma = 0.5,", &format!("gamma = 0.5, {more},"))
    };
    for (optimizer, more, tolerance) in [
        (
            "optimizer adamw { lr = 1e-3, weight_decay = 0.3 }",
            "clip_norm = 2",
            1e-2,
        ),
        (
            "optimizer adam { lr = 1e-3, l2 = 0.1 }",
            "burn_in = 1",
            1e-2,
        ),
        ("optimizer sgd { lr = 0.1 }", "clip_norm = 0.05", 1e-4),
        (
            "optimizer sgd { lr = 0.1, momentum = 0.9, weight_decay = 0.1 }",
            "grad_scale { rec.alpha = 0.25, rec.w = 3 }",
            1e-4,
        ),
        (
            "optimizer sgd { lr = 0.01, momentum = 0.5, nesterov = true }",
            "clip_norm = 4",
            1e-4,
        ),
    ] {
        learns_as_the_processor(&agent(optimizer, more), &[], tolerance);
    }
    for agent in ["plastic", "simple_fanout"] {
        let spec = format!("specs/paper/maze/{agent}.bpm");
        let set = ["N=20", "task.steps=30", "train.batch=2", "train.burn_in=0"];
        learns_as_the_processor(&spec, &set, 1e-2);
    }
}

/// A bundle whose parameters are computed with before anything of the step is: sums over them, functions of them.
const COMPUTED: &str = "
    network agent {
      input obs: [task.obs]
      state h: [9] = 0
      state calm: [9] = 0.5 reset never
      plastic rec: h -> y {
        weight w ~ uniform(-1, 1)
        coeff alpha ~ uniform(-1, 1)
        trained eta = 0.3
        trace hebb = 0
        transmit w / (1 + sum_pre(abs(w))) + sigmoid(alpha) * mean_post(w) * hebb
        hebb <- clip(hebb + tanh(eta) * pre * post, -1, 1)
      }
      y = tanh(linear(obs) + rec + calm)
      h <- y
      calm <- 0.9 * calm + 0.1 * y
      output policy = linear(y, task.actions)
      output value = linear(y, 1)
    }
    task cue_reward { cues = 3, shown = 1, bits = 4, steps = 18 }
    train a2c { batch = 3, iterations = 1, gamma = 0.5, optimizer sgd { lr = 0.1 } }";

#[test]
fn what_is_computed_of_parameters_is_computed_on_the_device() {
    agrees(COMPUTED, &[]);
    learns_as_the_processor(COMPUTED, &[], 1e-4);
    // The state that outlives an episode goes on from iteration to iteration.
    let program = program(COMPUTED, &[]);
    let made = || trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
    let (mut one, mut two) = (made(), made());
    iterations(&mut one, 5, 1);
    iterations(&mut two, 5, 5);
    assert_eq!(standing(&one), standing(&two));
    assert_eq!(carried(&one), carried(&two));
}

fn carried(trainer: &Trainer) -> Vec<u8> {
    trainer
        .checkpoint("agent", "hash")
        .unwrap()
        .to_bytes()
        .unwrap()
}

/// What is not finite stops the device where it stops the host, with everything as before.
#[test]
fn what_is_not_finite_is_told_and_undone() {
    let with = |value: &str, train: &str| {
        COMPUTED
            .replace("output value = linear(y, 1)", value)
            .replace("optimizer sgd { lr = 0.1 }", train)
    };
    let usual = "output value = linear(y, 1)";
    for (spec, expected) in [
        (
            // After 40 steps: in the third iteration.
            with(
                "state count: [1] = 0 reset never\n count <- count + 1\n \
                 output value = linear(y, 1) + log(40 - count)",
                "optimizer sgd { lr = 0.1 }",
            ),
            "loss",
        ),
        (
            with(
                usual,
                "optimizer sgd { lr = 0.1 }, grad_scale { rec.alpha = 1e300 }",
            ),
            "gradient",
        ),
        (
            with(
                usual,
                "optimizer sgd { lr = 1e6 }, clip_norm = 0, grad_scale { rec.w = 1e36 }",
            ),
            "parameter",
        ),
    ] {
        let program = program(&spec, &[]);
        let mut device = trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
        let mut host = trainer(&program, BackendKind::Fused, DeviceKind::Cpu);
        let mut reports = Vec::new();
        let told = loop {
            match host.step() {
                Ok(_) => assert!(host.iteration() < 9, "{expected}"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(told.contains(expected), "{told}");
        let stopped = loop {
            match device.advance(9, &mut reports) {
                Ok(()) => assert!(device.iteration() < 9, "{expected}"),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(stopped, told);
        assert_eq!(device.iteration(), host.iteration());
        assert_eq!(reports.len() as u64, host.iteration());
        assert_eq!(
            device.optimizer().state().steps,
            host.optimizer().state().steps
        );
        let values = device.parameters().iter().flat_map(|p| p.values.clone());
        assert!(values.into_iter().all(f32::is_finite));
        // As it was: the same iteration fails again, and a skipped one is passed.
        assert_eq!(device.step().err().unwrap().to_string(), told);
        device.skip();
        assert_eq!(device.iteration(), host.iteration() + 1);
    }
}

#[test]
fn what_does_not_fit_on_the_device_is_refused_with_what_would() {
    let program = program("specs/quickstart.bpm", &["train.memory=\"2MB\""]);
    let options = TrainerOptions {
        threads: 1,
        backend: BackendKind::Fused,
        device: DeviceChoice::from(DeviceKind::Emulated),
        passes: Selection::default(),
        memory: None,
    };
    let error = Trainer::new(&program, options).err().unwrap().to_string();
    assert!(error.contains("train.batch="), "{error}");
}

/// Every shipped spec that is trained on a task, and the rules in turn, as NVIDIA's own compiler sees them.
#[test]
fn sources_compile_for_a_gpu() {
    let nvrtc = match Nvrtc::new() {
        Ok(nvrtc) => nvrtc,
        Err(missing) => {
            assert!(
                std::env::var_os("BPMC_REQUIRE_NVRTC").is_none(),
                "{missing}"
            );
            eprintln!("skipped: {missing}");
            return;
        }
    };
    let mut specs: Vec<String> = [
        "nonplastic",
        "plastic",
        "simple",
        "retroactive",
        "control_plastic_soft",
    ]
    .iter()
    .map(|agent| format!("specs/paper/cue_reward/{agent}.bpm"))
    .collect();
    specs.push("specs/paper/maze/simple_fanout.bpm".to_owned());
    specs.push("specs/quickstart.bpm".to_owned());
    specs.push("specs/gallery/attention.bpm".to_owned());
    specs.push(COMPUTED.to_owned());
    for optimizer in ["adamw { }", "sgd { momentum = 0.9, nesterov = true }"] {
        specs.push(COMPUTED.replace("sgd { lr = 0.1 }", optimizer));
    }
    specs.extend(
        bpmc::lang::library::LIBRARY
            .iter()
            .map(|(rule, _)| agent(rule, 17, 17, true, "connection")),
    );
    let mut texts: Vec<(String, String)> = Vec::new();
    for spec in [
        "ptb_small/lstm",
        "ptb_small/retroactive",
        "ptb_large/simple",
    ] {
        let program = program(&format!("specs/paper/{spec}.bpm"), &[]);
        let stages = device_stages(&program, kernels(&program), BlockLimits::H100).unwrap();
        let sources = stages
            .sources()
            .map(|text| (spec.to_owned(), text.to_owned()));
        texts.extend(sources);
    }
    let probe = bpmc::lab::bench::machine::device::source(BlockLimits::H100);
    texts.push(("bench".to_owned(), probe));
    // With several lanes on a multiprocessor.
    let maze = program("specs/paper/maze/simple.bpm", &["train.batch=4096"]);
    let crowded = device_source(&maze, &kernels(&maze), ALONE).unwrap();
    texts.push(("4096 mazes".to_owned(), crowded.text));
    for (spec, text) in texts {
        for architecture in [75, 90] {
            let ptx = nvrtc.compile(&text, architecture);
            ptx.unwrap_or_else(|error| panic!("{spec}: {error}"));
        }
    }
    for spec in specs {
        let program = program(&spec, &[]);
        let compiled = kernels(&program);
        let mut devices = vec![(75, ALONE), (90, BlockLimits::H100)];
        if spec.contains("retroactive") {
            devices.extend([(80, ALONE), (100, BlockLimits::H100)]);
        }
        for (architecture, limits) in devices {
            let source = device_source(&program, &compiled, limits).unwrap();
            let ptx = nvrtc.compile(&source.text, architecture);
            let ptx = ptx.unwrap_or_else(|error| panic!("{spec}: {error}"));
            let mut kernels = vec!["forward", "backward", "reduce"];
            if source.update.is_some() {
                kernels.extend([
                    "prologue", "share", "epilogue", "gradient", "tally", "update",
                ]);
            }
            for kernel in kernels {
                assert!(
                    ptx.contains(&format!(".entry {kernel}(")),
                    "{spec}: {kernel}"
                );
            }
        }
    }
}

/// The same against the kernels of the processor, where the reference would take too long.
fn agrees_with_the_processor(spec: &str, set: &[&str]) {
    let program = program(spec, set);
    let mut processor = trainer(&program, BackendKind::Fused, DeviceKind::Cpu);
    let mut device = trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
    let (expected, found) = (processor.probe().unwrap(), device.probe().unwrap());
    assert_eq!(expected.rewards, found.rewards, "{spec} {set:?}");
    assert_near(&program, &found, &expected, &format!("{spec} {set:?}"));
}

/// 200 neurons leave no room for the gradient sums in shared memory, 300 none for the traces either.
#[test]
fn traces_that_do_not_fit_in_shared_memory_agree_with_the_processor() {
    let batch = ["train.batch=2"];
    agrees_with_the_processor("specs/paper/cue_reward/retroactive.bpm", &batch);
    let large = [&batch[..], &["N=300", "task.steps=60"]].concat();
    agrees_with_the_processor("specs/paper/cue_reward/simple.bpm", &large);
}

#[test]
fn many_lanes_agree_with_the_processor() {
    agrees_with_the_processor("specs/quickstart.bpm", &["N=5", "train.batch=3000"]);
}

/// Where there are more lanes than multiprocessors several share one, as many as fit with all that they have.
#[test]
fn lanes_share_a_multiprocessor_where_they_fit() {
    let shape = |spec: &str, batch: usize| {
        let batch = format!("train.batch={batch}");
        let program = program(spec, &[&batch]);
        let source = device_source(&program, &kernels(&program), ALONE).unwrap();
        assert!(source
            .text
            .contains(&format!("\n#define RESIDENT {}\n", source.sizes.resident)));
        source.sizes
    };
    let few = shape("specs/paper/maze/simple.bpm", 132);
    let many = shape("specs/paper/maze/simple.bpm", 4096);
    assert_eq!((few.resident, many.resident), (1, 2));
    assert_eq!((few.threads, many.threads), (704, 352));
    assert_eq!((few.arena, many.arena), (0, 0));
    assert!(2 * many.shared_backward <= BlockLimits::H100.shared_bytes);
    let large = shape("specs/paper/cue_reward/retroactive.bpm", 4096);
    assert_eq!((large.resident, large.threads), (1, 1024));
    assert_eq!(shape("specs/quickstart.bpm", 4096).resident, 8);
}

/// Large language models made small: dropout of all kinds, tied words, penalties, chunks of random lengths.
const SMALL_LARGE: [&str; 6] = [
    "task.words=40",
    "E=11",
    "N=19",
    "train.batch=3",
    "train.eval_batch=2",
    "train.epochs=1",
];

#[test]
fn language_models_agree_with_the_reference() {
    agrees("specs/gallery/associative_text.bpm", &["task.steps=7"]);
    for agent in ["lstm", "plastic", "simple", "retroactive"] {
        let set = [
            "task.words=30",
            "E=17",
            "N=23",
            "task.steps=6",
            "train.batch=3",
        ];
        agrees(&format!("specs/paper/ptb_small/{agent}.bpm"), &set);
        let set = [&SMALL_LARGE[..], &["task.steps=5"]].concat();
        agrees(&format!("specs/paper/ptb_large/{agent}.bpm"), &set);
    }
}

/// The loss that the device itself computes, penalties among it, and the norm of its gradient.
#[test]
fn a_whole_iteration_of_a_language_model_agrees_with_the_reference() {
    for (agent, penalties) in [
        ("simple", ["train.activity=0.5", "train.change=0.7"]),
        ("lstm", ["train.activity=0", "train.change=3"]),
    ] {
        let set = [&SMALL_LARGE[..], &["task.steps=5"], &penalties].concat();
        let program = program(&format!("specs/paper/ptb_large/{agent}.bpm"), &set);
        let probe = trainer(&program, BackendKind::Reference, DeviceKind::Cpu).probe();
        let expected = probe.unwrap();
        let mut device = trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
        let found = device.dry_run().unwrap().unwrap();
        let words = device.step().unwrap().loss;
        assert!(found.loss > words + 1e-4, "{agent}: no penalty");
        let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * b;
        assert!(near(found.loss, expected.loss), "{agent}: {found:?}");
        let slots = program.step.params.iter().zip(&expected.gradients);
        let scaled = slots.flat_map(|(slot, gradient)| {
            let values = gradient.iter().flatten();
            values.map(|x| (x * slot.grad_scale).powi(2))
        });
        let norm = scaled.sum::<f64>().sqrt();
        assert!(near(found.norm, norm), "{agent}: {found:?} {norm}");
    }
}

/// Chunk after chunk, states going on, each with a step: on the device without the host.
#[test]
fn language_models_learn_as_on_the_processor() {
    for (agent, train) in [
        ("lstm", "train.average_from=1"),
        ("simple", "train.clip_norm=0"),
        ("retroactive", "train.burn_in=2"),
    ] {
        let set = ["task.steps=9", "train.optimizer.lr=2", train];
        let set = [&SMALL_LARGE[..], &set].concat();
        let program = program(&format!("specs/paper/ptb_large/{agent}.bpm"), &set);
        let mut device = trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
        let mut processor = trainer(&program, BackendKind::Fused, DeviceKind::Cpu);
        let found = iterations(&mut device, 6, 4);
        let expected = iterations(&mut processor, 6, 1);
        for (a, b) in found.iter().zip(&expected) {
            let at = (agent, a.iteration);
            assert_eq!((a.iteration, a.epoch), (b.iteration, b.epoch));
            assert!(
                (a.loss - b.loss).abs() < 1e-5,
                "{at:?}: {} {}",
                a.loss,
                b.loss
            );
            let (a, b) = (a.gradient_norm, b.gradient_norm);
            assert!((a - b).abs() < 1e-4 * b, "{at:?}: {a} {b}");
        }
        let states = [&device, &processor].map(|trainer| trainer.optimizer().state().steps);
        assert_eq!(states[0], states[1]);
        let perplexities = [&device, &processor].map(|trainer| {
            let found = trainer.perplexity(bpmc::learn::text::Part::Valid).unwrap();
            found.unwrap()
        });
        let [a, b] = perplexities;
        assert_eq!(a.words, b.words);
        let (a, b) = (a.value(), b.value());
        assert!((a - b).abs() < 1e-4 * b, "{agent}: {a} {b}");
        // A checkpoint holds all that is needed to go on to the same bits.
        let checkpoint = device.checkpoint(agent, "hash").unwrap();
        let mut again = trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
        again.restore(&checkpoint).unwrap();
        iterations(&mut device, 3, 3);
        iterations(&mut again, 3, 1);
        assert!(carried(&device) == carried(&again), "{agent}");
    }
}

/// However many chunks follow each other: across the end of an epoch, where averages begin, too.
#[test]
fn chunks_give_the_same_bits_however_many_follow_each_other() {
    let set = [
        &SMALL_LARGE[..],
        &["task.steps=70", "train.epochs=2", "train.average_from=2"],
    ]
    .concat();
    let program = program("specs/paper/ptb_large/simple.bpm", &set);
    let made = || trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
    let (mut one, mut two) = (made(), made());
    let end = one.epoch_ends()[0];
    // Three chunks of the second epoch.
    let all = end as usize + 3;
    let singly = iterations(&mut one, all, 1);
    let together = iterations(&mut two, all, 64);
    assert!(carried(&one) == carried(&two));
    for (a, b) in singly.iter().zip(&together) {
        assert_eq!((a.iteration, a.epoch), (b.iteration, b.epoch));
        assert_eq!(a.loss.to_bits(), b.loss.to_bits());
        assert_eq!(a.gradient_norm.to_bits(), b.gradient_norm.to_bits());
        assert_eq!(a.validation, b.validation);
        assert_eq!(a.validation.is_some(), a.iteration == end);
    }
}

/// Measurements go on when all epochs are over, with the last chunk again and again.
#[test]
fn after_the_last_epoch_there_is_always_a_chunk() {
    let set = [
        &SMALL_LARGE[..],
        &["task.steps=70", "train.optimizer.lr=0.1"],
    ]
    .concat();
    let program = program("specs/paper/ptb_large/lstm.bpm", &set);
    let mut device = trainer(&program, BackendKind::Fused, DeviceKind::Emulated);
    let mut processor = trainer(&program, BackendKind::Fused, DeviceKind::Cpu);
    let all = device.chunks().unwrap() as usize + 2;
    let found = iterations(&mut device, all, 64);
    let expected = iterations(&mut processor, all, 1);
    assert_eq!(device.iteration(), all as u64);
    for (a, b) in found.iter().zip(&expected) {
        assert_eq!((a.iteration, a.epoch), (b.iteration, b.epoch));
        assert!(
            (a.loss - b.loss).abs() < 1e-4 * b.loss,
            "{} {}",
            a.loss,
            b.loss
        );
    }
}

/// A chunk that fails leaves parameters and states as before it, on the device and on the processor, fused and not.
#[test]
fn a_chunk_that_is_not_finite_is_undone() {
    let text = "specs/gallery/associative_text.bpm";
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join(text);
    let text = std::fs::read_to_string(text).unwrap();
    let with = |output: &str, train: &str| {
        text.replace("linear(layer.h, task.words)", output)
            .replace("clip_norm = 1.0", train)
            .replace("adam { lr = 3e-3 }", "sgd { lr = 1.0, momentum = 0.5 }")
    };
    let usual = "linear(layer.h, task.words)";
    for (spec, expected) in [
        (
            // After 40 steps: in the seventh chunk.
            with(
                "linear(layer.h, task.words) + log(40 - count)\n  \
                 state count: [1] = 0\n  count <- count + 1",
                "clip_norm = 1.0",
            ),
            "loss",
        ),
        (
            with(
                usual,
                "clip_norm = 0, grad_scale { layer.rec.alpha = 1e300 }",
            ),
            "gradient",
        ),
        (
            with(usual, "clip_norm = 0, grad_scale { layer.rec.w = 1e39 }")
                .replace("lr = 1.0", "lr = 1e6"),
            "parameter",
        ),
    ] {
        let set = [
            "E=9",
            "N=7",
            "task.words=30",
            "task.steps=6",
            "train.batch=2",
        ];
        let program = program(&spec, &set);
        let mut messages = Vec::new();
        for (backend, device) in [
            (BackendKind::Fused, DeviceKind::Emulated),
            (BackendKind::Fused, DeviceKind::Cpu),
            (BackendKind::Candle, DeviceKind::Cpu),
        ] {
            let mut all = trainer(&program, backend, device);
            let mut before = carried(&all);
            let mut reports = Vec::new();
            let told = loop {
                match all.advance(1, &mut reports) {
                    Ok(()) => before = carried(&all),
                    Err(error) => break error.to_string(),
                }
                assert!(all.iteration() < 40, "{expected}");
            };
            assert!(told.contains(expected), "{backend:?} {device:?}: {told}");
            assert!(carried(&all) == before, "{backend:?} {device:?} {expected}");
            // The same again when more than one chunk is asked for.
            let mut again = trainer(&program, backend, device);
            let stopped = loop {
                if let Err(error) = again.advance(64, &mut reports) {
                    break error.to_string();
                }
            };
            assert_eq!(stopped, told);
            assert!(carried(&again) == before, "{backend:?} {device:?}");
            messages.push(told);
        }
        // The same number of the same iteration wherever it runs.
        assert!(messages.iter().all(|m| *m == messages[0]), "{messages:?}");
    }
}

/// 300 neurons leave no room for the traces in shared memory: a team of blocks has a lane.
#[test]
fn a_lane_in_several_blocks_agrees_with_the_processor() {
    let set = [
        "E=20",
        "N=300",
        "task.words=30",
        "task.steps=5",
        "train.batch=2",
        "train.eval_batch=2",
    ];
    for agent in ["simple", "retroactive"] {
        let spec = format!("specs/paper/ptb_small/{agent}.bpm");
        let stages = {
            let program = program(&spec, &set);
            device_stages(&program, kernels(&program), BlockLimits::H100).unwrap()
        };
        let teams = |text: &str| text.contains("#define TEAM 4\n");
        assert!(stages.sources().any(teams), "{agent}");
        agrees_with_the_processor(&spec, &set);
    }
}
