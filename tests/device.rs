//! Generated kernels for GPUs, run by the processor: the same episodes, losses and gradients as the reference has.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use bpmc::autodiff::Options;
use bpmc::device::{BlockLimits, DeviceChoice, DeviceKind, Nvrtc};
use bpmc::driver::{compile, from_disk, prepare, Compiled};
use bpmc::passes::Selection;
use bpmc::train::device_block::device_source;
use bpmc::train::trainer::{BackendKind, Probe, Trainer, TrainerOptions};
use std::path::Path;

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
    let options = TrainerOptions {
        threads: 2,
        backend,
        device: DeviceChoice::from(device),
        passes: Selection::default(),
        memory: None,
    };
    Trainer::new(program, options).unwrap()
}

/// The largest difference of gradients, each against the largest of its parameter.
fn difference(a: &Probe, b: &Probe) -> f64 {
    let mut worst: f64 = (a.loss - b.loss).abs() / b.loss.abs().max(1.0);
    for (x, y) in a.gradients.iter().zip(&b.gradients) {
        let (Some(x), Some(y)) = (x, y) else {
            assert!(x.is_none() && y.is_none());
            continue;
        };
        assert_eq!(x.len(), y.len());
        let scale = y.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
        for (x, y) in x.iter().zip(y) {
            assert!(x.is_finite());
            worst = worst.max((x - y).abs() / scale);
        }
    }
    worst
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
        let worst = difference(&found, &expected);
        assert!(worst < 1e-4, "{spec} {set:?}: {worst:.2e}");
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
    let text = bpmc::rules::text(rule).unwrap();
    let argument = match (text.contains(&format!("rule {rule}(M")), fanout) {
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
    for (rule, _) in bpmc::rules::LIBRARY {
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

/// Parameters after some iterations, bit for bit.
fn trained(program: &Compiled, iterations: usize) -> Vec<u32> {
    let mut trainer = trainer(program, BackendKind::Fused, DeviceKind::Emulated);
    for _ in 0..iterations {
        trainer.step().unwrap();
    }
    let values = trainer.parameters().iter().flat_map(|p| p.values.clone());
    values.map(f32::to_bits).collect()
}

#[test]
fn training_learns_and_gives_the_same_bits_again() {
    let small = ["N=9", "train.batch=5"];
    let program = program("specs/quickstart.bpm", &small);
    let first = trained(&program, 3);
    assert_eq!(first, trained(&program, 3));
    assert_ne!(first, trained(&program, 2));
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
    specs.extend(
        bpmc::rules::LIBRARY
            .iter()
            .map(|(rule, _)| agent(rule, 17, 17, true, "connection")),
    );
    for spec in specs {
        let program = program(&spec, &[]);
        let steps = program.model.task.as_ref().map(|task| task.task.steps());
        let prepared = prepare(
            &program.step,
            Options::default(),
            &Selection::default(),
            steps,
        )
        .unwrap();
        let source = device_source(&program, &prepared, BlockLimits::H100).unwrap();
        for architecture in [75, 90] {
            let ptx = nvrtc.compile(&source.text, architecture);
            let ptx = ptx.unwrap_or_else(|error| panic!("{spec}: {error}"));
            for kernel in ["forward", "backward", "reduce"] {
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
    let worst = difference(&found, &expected);
    assert!(worst < 1e-4, "{spec} {set:?}: {worst:.2e}");
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
