//! Runs that go on after their end, and with other settings: the bits of one run, its history, and refusals.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::{metrics, run, table, SPEC};
use crate::scratch::scratch;
use bpmc::lab::run::{find_checkpoint, open, Status, Which};
use bpmc::learn::checkpoint::Checkpoint;
use std::path::Path;

/// Writes the spec: a record every 4 iterations, and a checkpoint every 3.
fn spec(root: &Path) {
    let text = SPEC.replace("metrics_every = 1", "metrics_every = 4");
    std::fs::write(root.join("agent.bpm"), text).unwrap();
}

fn works(root: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = run(root, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

/// The error of a refusal, which changes nothing.
fn refused(root: &Path, directory: &str, arguments: &[&str]) -> String {
    let before = std::fs::read(root.join(directory).join("run.yaml")).unwrap();
    let (code, _, err) = run(root, arguments);
    assert_eq!(code, Some(1), "{arguments:?}: {err}");
    let after = std::fs::read(root.join(directory).join("run.yaml")).unwrap();
    assert!(before == after, "{arguments:?} changed the manifest");
    err
}

fn bytes(directory: &Path, which: Which) -> Vec<u8> {
    std::fs::read(find_checkpoint(directory, which).unwrap()).unwrap()
}

#[test]
fn more_iterations_give_the_bits_of_one_run() {
    let root = scratch("further-bits");
    spec(&root);
    let begin = ["train", "agent.bpm", "-q", "--out"];
    works(
        &root,
        &[&begin[..], &["straight", "--iterations", "20"]].concat(),
    );
    let straight = root.join("straight");
    // Ends on and off the iterations of records and checkpoints; 1 and 2 come before any of them.
    for end in ["1", "2", "4", "6", "11", "19"] {
        let name = format!("to-{end}");
        works(&root, &[&begin[..], &[&name, "--iterations", end]].concat());
        assert_eq!(
            metrics(&root.join(&name)).last().unwrap()["iteration"],
            end.parse::<u64>().unwrap()
        );
        if end == "6" {
            // In several steps, and the last of them as `--set` with the spec.
            works(
                &root,
                &["train", "-q", "--resume", &name, "--iterations", "7"],
            );
            works(
                &root,
                &["train", "-q", "--resume", &name, "--iterations", "13"],
            );
            let last = ["--resume", "--set", "train.iterations=20"];
            works(&root, &[&begin[..], &[&name], &last[..]].concat());
        } else {
            works(
                &root,
                &["train", "-q", "--resume", &name, "--iterations", "20"],
            );
        }
        let place = root.join(&name);
        assert_eq!(metrics(&place), metrics(&straight), "{end}");
        assert_eq!(table(&place), table(&straight), "{end}");
        assert!(
            bytes(&place, Which::Last) == bytes(&straight, Which::Last),
            "{end}"
        );
        let best = [&place, &straight].map(|place| {
            let best = find_checkpoint(place, Which::Best).unwrap();
            let best = Checkpoint::read(&best).unwrap();
            (best.header.iteration, best.parameters, best.moments)
        });
        assert!(
            best[0] == best[1],
            "{end}: iteration {} or {}",
            best[0].0,
            best[1].0
        );
        let manifest = open(&place).unwrap().manifest;
        assert_eq!(
            (manifest.status, manifest.iterations),
            (Status::Finished, 20)
        );
        assert_eq!(manifest.history[0].until.to_string(), end);
    }
}

#[test]
fn other_settings_need_permission_and_are_kept() {
    let root = scratch("further-change");
    spec(&root);
    works(
        &root,
        &["train", "agent.bpm", "-q", "--out", "a", "--set", "N=4"],
    );
    let replay = |file: &str| {
        let arguments = [
            "replay",
            "a",
            "--iteration",
            "11",
            "--probe",
            "h",
            "-o",
            file,
        ];
        works(&root, &arguments);
        std::fs::read(root.join(file)).unwrap()
    };
    let before = replay("before.npz");
    let more = ["train", "-q", "--resume", "a", "--iterations", "15"];
    let lower = [
        "--set",
        "train.optimizer.lr=1e-4",
        "--set",
        "train.gamma=0.5",
    ];
    let text = refused(&root, "a", &[&more[..], &lower].concat());
    assert!(
        text.contains("a ran with other settings of `train`; `--change` goes on"),
        "{text}"
    );
    assert!(text.contains("\n  train.gamma: 0.9 -> 0.5\n"), "{text}");
    assert!(
        text.contains("\n  train.optimizer.lr: 0.001 -> 0.0001"),
        "{text}"
    );
    assert!(
        !text.contains("iterations:"),
        "more iterations are no obstacle: {text}"
    );

    works(&root, &[&more[..], &lower, &["--change"]].concat());
    let opened = open(&root.join("a")).unwrap();
    let manifest = &opened.manifest;
    assert_eq!(manifest.iterations, 15);
    assert_eq!(manifest.history.len(), 1);
    let part = &manifest.history[0];
    assert_eq!((part.until, part.iterations_planned), (11, 11));
    assert_eq!(part.overrides, ["N=4"]);
    assert_eq!(
        part.settings,
        [
            "train.gamma: 0.9 -> 0.5",
            "train.iterations: 11 -> 15",
            "train.optimizer.lr: 0.001 -> 0.0001"
        ]
    );
    let now = [
        "N=4",
        "train.gamma=0.5",
        "train.iterations=15",
        "train.optimizer.lr=0.0001",
    ];
    assert_eq!(manifest.overrides, now);
    let train = opened.program().unwrap().model.train.as_ref().unwrap();
    assert_eq!(train.optimizer_settings.real("lr"), 1e-4);

    // The settings stay without being given again, and the first part is still replayed with its own.
    works(&root, &["train", "-q", "--resume", "a"]);
    assert!(replay("after.npz") == before);
    works(
        &root,
        &["eval", "a", "--episodes", "2", "--checkpoint", "9"],
    );
    works(
        &root,
        &[
            "report",
            "a",
            "-o",
            "a.html",
            "--episodes",
            "2",
            "--no-ablations",
        ],
    );
    let page = std::fs::read_to_string(root.join("a.html")).unwrap();
    assert!(
        page.contains("After iteration 11 the settings changed: train.gamma: 0.9 -&gt; 0.5"),
        "{page}"
    );

    // A lower rate gives other parameters than going on with the old one.
    works(
        &root,
        &[
            "train",
            "agent.bpm",
            "-q",
            "--out",
            "b",
            "--set",
            "N=4",
            "--iterations",
            "15",
        ],
    );
    assert!(bytes(&root.join("a"), Which::Last) != bytes(&root.join("b"), Which::Last));
}

#[test]
fn what_cannot_change_is_named_with_the_reason() {
    let root = scratch("further-fixed");
    spec(&root);
    works(&root, &["train", "agent.bpm", "-q", "--out", "a"]);
    let more = ["train", "-q", "--resume", "a", "--change"];
    for (arguments, found) in [
        (&["--seed", "1"][..], "another `train.seed`, because all random numbers of the run are drawn from it:\n  train.seed: 0 -> 1"),
        (&["--set", "train.batch=5"], "another `train.batch`, because each lane has states that outlive episodes"),
        (&["--set", "N=6"], "is another run: the spec has changed"),
        (&["--set", "task.bits=5"], "\n  now   bits = 5"),
        (&["--iterations", "10"], "a has done 11 iterations, more than the 10 that are planned now"),
        (&["--backend", "reference"], "it ran with backend fused, not reference"),
    ] {
        let text = refused(&root, "a", &[&more[..], arguments].concat());
        assert!(text.contains(found), "{arguments:?}: {text}");
    }
    let sgd = SPEC
        .replace("metrics_every = 1", "metrics_every = 4")
        .replace("optimizer adam", "optimizer sgd");
    std::fs::write(root.join("sgd.bpm"), sgd).unwrap();
    let text = refused(
        &root,
        "a",
        &["train", "sgd.bpm", "--resume", "--out", "a", "--change"],
    );
    assert!(
        text.contains("another `train.optimizer`, because the checkpoint holds the moments"),
        "{text}"
    );
    let (code, _, err) = run(&root, &["train", "a"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("`--resume` goes on with the run in it"),
        "{err}"
    );
    let (code, _, err) = run(&root, &["train", "--resume", "a", "--out", "b"]);
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn a_run_starts_from_given_parameters() {
    let root = scratch("further-init");
    spec(&root);
    works(&root, &["train", "agent.bpm", "-q", "--out", "a"]);
    let given = find_checkpoint(&root.join("a"), Which::Last).unwrap();
    let given = Checkpoint::read(&given).unwrap().parameters;
    let parameters = |directory: &str| {
        let last = find_checkpoint(&root.join(directory), Which::Last).unwrap();
        Checkpoint::read(&last).unwrap().parameters
    };
    // Of another run, whose seed does not matter, and of a file.
    let none = ["--seed", "5", "--iterations", "0"];
    let train = ["train", "agent.bpm", "-q", "--out"];
    works(&root, &[&train[..], &["b", "--init", "a"], &none].concat());
    assert_eq!(parameters("b"), given);
    let arrays: Vec<(String, Vec<usize>, Vec<f64>)> = given
        .iter()
        .map(|(path, tensor)| {
            (
                path.clone(),
                tensor.dims.clone(),
                tensor.values.iter().map(|x| f64::from(*x)).collect(),
            )
        })
        .collect();
    let write = |name: &str, arrays: &[(String, Vec<usize>, Vec<f64>)]| {
        let arrays: Vec<_> = arrays
            .iter()
            .map(|(name, dims, values)| (name.clone(), dims.clone(), values.as_slice()))
            .collect();
        std::fs::write(root.join(name), bpmc::lab::replay::archive(&arrays, true)).unwrap();
    };
    write("all.npz", &arrays);
    works(
        &root,
        &[&train[..], &["c", "--init", "all.npz"], &none].concat(),
    );
    assert_eq!(parameters("c"), given);
    let manifest = open(&root.join("c")).unwrap().manifest;
    let init = manifest.init.unwrap();
    assert_eq!(
        (init.file.as_str(), init.sha256.len(), init.only.len()),
        ("all.npz", 64, 0)
    );

    // A run that begins so is resumed and replayed without the file.
    let five = ["--iterations", "5", "--init", "all.npz"];
    works(&root, &[&train[..], &["d"], &five].concat());
    works(&root, &[&train[..], &["e"], &five].concat());
    std::fs::remove_file(root.join("all.npz")).unwrap();
    std::fs::remove_dir_all(root.join("e/checkpoints")).unwrap();
    works(&root, &["train", "-q", "--resume", "e"]);
    assert!(bytes(&root.join("d"), Which::Last) == bytes(&root.join("e"), Which::Last));
    let replay = ["--iteration", "1", "--probe", "h", "-o"];
    works(&root, &[&["replay", "d"][..], &replay, &["d.npz"]].concat());
    works(
        &root,
        &[&train[..], &["plain", "--iterations", "5"]].concat(),
    );
    works(
        &root,
        &[&["replay", "plain"][..], &replay, &["plain.npz"]].concat(),
    );
    assert!(
        std::fs::read(root.join("d.npz")).unwrap()
            != std::fs::read(root.join("plain.npz")).unwrap()
    );

    // A part.
    write("part.npz", &arrays[..2]);
    works(
        &root,
        &[
            &train[..],
            &["f", "--init", "part.npz", "--init-partial"],
            &none,
        ]
        .concat(),
    );
    let found = parameters("f");
    for (k, (path, tensor)) in given.iter().enumerate() {
        assert_eq!(
            found[path] == *tensor,
            k < 2 || tensor.values.iter().all(|x| *x == 0.0),
            "{path}"
        );
    }
    assert_eq!(
        open(&root.join("f"))
            .unwrap()
            .manifest
            .init
            .unwrap()
            .only
            .len(),
        2
    );

    let mut odd = arrays.clone();
    odd[0].0 = "rec.v".to_owned();
    write("name.npz", &odd);
    let mut odd = arrays.clone();
    odd[0].2[0] = f64::NAN;
    write("nan.npz", &odd);
    let mut odd = arrays.clone();
    odd[0].1.push(1);
    write("shape.npz", &odd);
    for (arguments, found) in [
        (&["--init", "part.npz"][..], "has no array `"),
        (
            &["--init", "name.npz"],
            "has an array `rec.v`, which is no parameter of the spec\n  help: parameters are ",
        ),
        (&["--init", "nan.npz"], "element 0 is NaN"),
        (&["--init", "shape.npz", "--init-partial"], " is needed"),
        (&["--init", "nowhere.npz"], "nowhere.npz"),
    ] {
        let (code, _, err) = run(&root, &[&train[..], &["g"], arguments].concat());
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(err.contains(found), "{arguments:?}: {err}");
        assert!(!root.join("g").exists(), "nothing is left");
    }
}

/// Which connections of a sparse bundle exist is part of the network, and a constant of the spec stays what the spec says.
#[test]
fn a_run_goes_on_with_its_connections_and_its_constants() {
    let root = scratch("further-sparse");
    let write = |name: &str, mask: &str| {
        let text = format!(
            "network net {{
               input obs: [task.obs]
               x: [2] = linear(obs)
               plastic up: x -> y {{
                 const mask = {mask} per connection
                 connect where mask
                 weight w ~ uniform(-0.1, 0.1)
                 trace t = 0
                 transmit mask * w + t
                 t <- t + 0.1 * pre * post
               }}
               y: [2] = tanh(up)
               output policy = linear(y, task.actions)
               output value = linear(y, 1)
             }}
             task cue_reward {{ bits = 3, cues = 3, steps = 6 }}
             train a2c {{ batch = 2, iterations = 2 }}"
        );
        std::fs::write(root.join(name), text).unwrap();
    };
    write("one.bpm", "[[2, 0], [0, 2]]");
    write("other.bpm", "[[0, 2], [2, 0]]");
    write("larger.bpm", "[[3, 0], [0, 3]]");
    works(&root, &["train", "one.bpm", "-q", "--out", "a"]);
    let resume = ["train", "other.bpm", "-q", "--resume", "--out", "a"];
    let text = refused(&root, "a", &[&resume[..], &["--iterations", "3"]].concat());
    assert!(
        text.contains("is another run: the spec has changed"),
        "{text}"
    );
    works(
        &root,
        &["train", "larger.bpm", "-q", "--out", "b", "--init", "a"],
    );
    let last = find_checkpoint(&root.join("b"), Which::Last).unwrap();
    let found = Checkpoint::read(&last).unwrap().parameters["up.mask"]
        .values
        .clone();
    assert_eq!(found, [3.0, 3.0]);
}
