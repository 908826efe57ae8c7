//! Training that is killed at any moment goes on to the same bytes, and leaves no half file.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::print_stdout,
    reason = "how many kills came midway is worth seeing"
)]

use crate::runs_support::{command, metrics, run, shelf, table, SPEC};
use crate::scratch::scratch;
use bpmc::lab::run::{checkpoints, Manifest};
use bpmc::learn::checkpoint::Checkpoint;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Times the process is killed.
const KILLS: usize = 50;
/// Longest time it lives, in microseconds.
const LONGEST: u64 = 250_000;

const TRAIN: [&str; 7] = [
    "train",
    "agent.bpm",
    "--quiet",
    "--tensorboard",
    "--threads",
    "2",
    "--out",
];

/// Nothing that is there under its name is half written.
fn nothing_is_torn(directory: &Path) {
    if directory.join("run.yaml").exists() {
        Manifest::read(&directory.join("run.yaml")).unwrap();
        assert!(directory.join("spec.bpm").exists());
    }
    if !directory.join("checkpoints").exists() {
        return;
    }
    for (_, path) in checkpoints(directory).unwrap() {
        Checkpoint::read(&path).unwrap();
    }
    let best = directory.join("checkpoints/best.safetensors");
    if best.exists() {
        Checkpoint::read(&best).unwrap();
    }
}

#[test]
fn a_run_killed_at_fifty_moments_ends_in_the_same_bytes() {
    let root = scratch("kill");
    // A checkpoint after every iteration: most of the time is spent writing them.
    let spec = SPEC.replace(
        "iterations = 11, metrics_every = 1, checkpoint_every = 3",
        "iterations = 150, metrics_every = 4, checkpoint_every = 1",
    );
    assert_ne!(spec, SPEC);
    std::fs::write(root.join("agent.bpm"), spec).unwrap();
    let (code, _, err) = run(&root, &[&TRAIN[..], &["straight"]].concat());
    assert_eq!(code, Some(0), "{err}");
    let straight = root.join("straight");

    let started = Instant::now();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut kills, mut runs, mut midway) = (0, 0, 0);
    while kills < KILLS {
        let name = format!("killed-{runs}");
        let killed = root.join(&name);
        runs += 1;
        loop {
            let mut arguments = [&TRAIN[..], &[name.as_str()]].concat();
            if killed.join("run.yaml").exists() {
                arguments.push("--resume");
            }
            let mut child = command(&root, &arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if kills < KILLS {
                std::thread::sleep(Duration::from_micros(random % LONGEST));
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            nothing_is_torn(&killed);
            if output.status.success() {
                break;
            }
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), None, "it was not killed: {err}");
            kills += 1;
            midway += usize::from(checkpoints(&killed).is_ok_and(|all| !all.is_empty()));
        }
        assert_eq!(metrics(&killed), metrics(&straight));
        assert_eq!(table(&killed), table(&straight));
        assert!(shelf(&killed) == shelf(&straight), "{name}");
        let manifest = Manifest::read(&killed.join("run.yaml")).unwrap();
        assert_eq!(manifest.iterations, 150);
    }
    println!(
        "{KILLS} kills, {midway} of them midway, {runs} runs, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(midway >= KILLS / 4, "only {midway} kills came midway");
}

#[test]
fn sigterm_saves_and_two_signals_leave_at_once() {
    let root = scratch("signals");
    std::fs::write(root.join("agent.bpm"), SPEC).unwrap();
    let endless = [
        "--set",
        "train.iterations=4000000000",
        "--set",
        "train.checkpoint_every=0",
    ];
    let signal = |pid: u32, name: &str| {
        let status = std::process::Command::new("kill")
            .args([name, &pid.to_string()])
            .status();
        assert!(status.unwrap().success());
    };
    for (name, signals) in [("term", &["-TERM"][..]), ("twice", &["-INT", "-INT"])] {
        let arguments = [&TRAIN[..], &[name], &endless].concat();
        let child = command(&root, &arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = root.join(name).join("metrics.csv");
        let waited = Instant::now();
        while !std::fs::read_to_string(&begun).is_ok_and(|text| text.lines().count() > 1) {
            assert!(waited.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        for kind in signals {
            signal(child.id(), kind);
        }
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{err}");
        let directory = root.join(name);
        nothing_is_torn(&directory);
        if signals.len() == 1 {
            let manifest = Manifest::read(&directory.join("run.yaml")).unwrap();
            let all = checkpoints(&directory).unwrap();
            assert_eq!(all.last().unwrap().0, manifest.iterations);
            assert!(manifest.iterations > 0);
            assert!(err.contains("--resume --out term"), "{err}");
            let log = std::fs::read_to_string(directory.join("log.txt")).unwrap();
            assert!(log.trim_end().ends_with(&format!(
                "interrupted, after iteration {}",
                manifest.iterations
            )));
        }
    }
}
