//! What goes wrong around a run: each time a clear message, a status that is not 0, and nothing lost.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use crate::runs_support::{command, metrics, outcome, run, shelf, SPEC};
use crate::scratch::scratch;
use bpmc::lab::run::{find_checkpoint, Which};
use bpmc::learn::checkpoint::Checkpoint;
use std::path::{Path, PathBuf};
use std::process::Command;

const TRAIN: [&str; 5] = ["train", "agent.bpm", "--quiet", "--threads", "1"];

fn train(root: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    run(root, &[&TRAIN[..], more].concat())
}

/// A directory with the spec, a whole run in `straight`, and one interrupted after iteration 6 in `a`.
fn prepared(name: &str) -> PathBuf {
    prepared_with(name, SPEC)
}

fn prepared_with(name: &str, spec: &str) -> PathBuf {
    let root = scratch(name);
    std::fs::write(root.join("agent.bpm"), spec).unwrap();
    assert_eq!(train(&root, &["--out", "straight"]).0, Some(0));
    assert_eq!(train(&root, &["--out", "a"]).0, Some(0));
    // As after a kill in iteration 8.
    std::fs::remove_file(root.join("a/checkpoints/0000000011.safetensors")).unwrap();
    std::fs::remove_file(root.join("a/checkpoints/0000000009.safetensors")).unwrap();
    root
}

fn goes_on(root: &Path) {
    let (code, _, err) = train(root, &["--out", "a", "--resume"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(metrics(&root.join("a")), metrics(&root.join("straight")));
    let last = |name: &str| {
        let path = find_checkpoint(&root.join(name), Which::Last).unwrap();
        std::fs::read(path).unwrap()
    };
    assert!(last("a") == last("straight"));
}

#[test]
fn a_checkpoint_that_does_not_fit_on_the_disk() {
    let root = prepared_with("faults-full", &SPEC.replace("dim N = 5", "dim N = 16"));
    let before = shelf(&root.join("a"));
    // Files may have at most 8 blocks of 512 or 1024 bytes; a checkpoint has more. The signal that would kill the
    // process is ignored, so that writing fails as it does on a full disk.
    let size = before.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
    assert!(size > 8 * 1024, "{size}");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_bpmc")])
        .args(TRAIN)
        .args(["--out", "a", "--resume"])
        .current_dir(&root)
        .output()
        .unwrap();
    let (code, _, err) = outcome(output);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(
            "cannot write the checkpoint a/checkpoints/0000000009.safetensors: File too large"
        ),
        "{err}"
    );
    // Nothing half is left, and what was there is there.
    let after = shelf(&root.join("a"));
    let whole = |name: &str| after.iter().find(|(other, _)| other == name);
    for (name, bytes) in &before {
        assert!(
            whole(name).is_some_and(|(_, other)| other == bytes),
            "{name}"
        );
    }
    assert_eq!(after.len(), before.len());
    goes_on(&root);
}

#[test]
fn a_disk_that_is_really_full() {
    let root = scratch("faults-tmpfs");
    let disk = root.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&disk)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    std::fs::write(root.join("agent.bpm"), SPEC).unwrap();
    let (code, _, err) = train(
        &root,
        &["--out", "disk/a", "--set", "train.keep_checkpoints=50"],
    );
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.unwrap().success());
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("No space left on device"), "{err}");
}

#[test]
fn a_directory_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let root = prepared("faults-read-only");
    // Not even the superuser makes a directory here.
    if cfg!(target_os = "linux") {
        let (code, _, err) = train(&root, &["--out", "/sys/bpmc-run"]);
        assert_eq!(code, Some(1));
        assert!(err.contains("cannot create /sys/bpmc-run: "), "{err}");
    }
    let folder = root.join("a");
    let allow = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&folder, permissions).unwrap();
    };
    allow(0o555);
    if std::fs::write(folder.join("try"), "").is_ok() {
        std::fs::remove_file(folder.join("try")).unwrap();
        allow(0o755);
        eprintln!("skipped in part: permissions do not bind this user");
    } else {
        let (code, _, err) = train(&root, &["--out", "a", "--resume"]);
        allow(0o755);
        assert_eq!(code, Some(1));
        assert!(err.contains("Permission denied"), "{err}");
    }
    goes_on(&root);
}

#[test]
fn a_run_directory_that_is_deleted() {
    let root = scratch("faults-deleted");
    std::fs::write(root.join("agent.bpm"), SPEC).unwrap();
    let endless = [
        "--out",
        "a",
        "--set",
        "train.iterations=4000000000",
        "--set",
        "train.checkpoint_every=50",
    ];
    let child = command(&root, &[&TRAIN[..], &endless].concat())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let place = root.join("a");
    while !place.join("checkpoints/manifest.yaml").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // A file may come up while the folder is emptied.
    while place.exists() {
        let _ = std::fs::remove_dir_all(&place);
    }
    let (code, _, err) = outcome(child.wait_with_output().unwrap());
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("error: the run in a stopped: cannot "),
        "{err}"
    );
    assert!(err.contains("No such file or directory"), "{err}");
    let (code, _, err) = train(&root, &["--out", "a", "--resume"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("there is no run in a: it has no `run.yaml`"),
        "{err}"
    );
}

#[test]
fn checkpoints_that_are_truncated_or_flipped() {
    let root = prepared("faults-damaged");
    let last = root.join("a/checkpoints/0000000006.safetensors");
    let whole = std::fs::read(&last).unwrap();
    // Keep an earlier one, so that there is something to go back to.
    let (code, _, _) = train(
        &root,
        &[
            "--out",
            "b",
            "--set",
            "train.keep_checkpoints=9",
            "--set",
            "train.iterations=6",
        ],
    );
    assert_eq!(code, Some(0));
    let mut damaged: Vec<Vec<u8>> = [0, 7, 9, whole.len() / 2, whole.len() - 1]
        .map(|length| whole[..length].to_vec())
        .to_vec();
    // The first bytes are a length, then comes the header, then numbers.
    for (at, bit) in [(1, 0), (20, 3), (whole.len() / 2, 7), (whole.len() - 1, 0)] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        damaged.push(bytes);
    }
    for (k, bytes) in damaged.iter().enumerate() {
        std::fs::write(&last, bytes).unwrap();
        assert!(Checkpoint::read(&last).is_err(), "{k}");
        for arguments in [
            &["train", "agent.bpm", "--out", "a", "--resume"][..],
            &["eval", "a"],
        ] {
            let (code, _, err) = run(&root, arguments);
            assert_eq!(code, Some(1), "{k}: {err}");
            assert!(err.contains("0000000006.safetensors"), "{k}: {err}");
            assert!(
                err.contains("is truncated or damaged: ")
                    || err.contains("not a checkpoint of bpmc"),
                "{k}: {err}"
            );
        }
        assert!(
            std::fs::read(&last).unwrap() == *bytes,
            "it is left as it is"
        );
    }
    // The message says which one is whole; without the damaged one the run goes on from there.
    let early = std::fs::read(root.join("b/checkpoints/0000000003.safetensors")).unwrap();
    std::fs::write(root.join("a/checkpoints/0000000003.safetensors"), early).unwrap();
    let (_, _, err) = train(&root, &["--out", "a", "--resume"]);
    let hint = "the checkpoint before it, a/checkpoints/0000000003.safetensors, is not of this run";
    assert!(!err.contains(hint), "{err}");
    assert!(
        err.contains("a/checkpoints/0000000003.safetensors, is whole: delete the damaged file and `--resume` goes on from iteration 3"),
        "{err}"
    );
    // That one is of a run with other settings.
    std::fs::remove_file(&last).unwrap();
    let (code, _, err) = train(&root, &["--out", "a", "--resume"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("its checkpoint is not of this run\n  then  spec "),
        "{err}"
    );
    std::fs::remove_file(root.join("a/checkpoints/0000000003.safetensors")).unwrap();
    goes_on(&root);
}

#[test]
fn a_checkpoint_of_another_shape_or_version() {
    let root = prepared("faults-other");
    let last = root.join("a/checkpoints/0000000006.safetensors");
    let whole = Checkpoint::read(&last).unwrap();
    let mut other = whole.clone();
    other.header.version = "0.0.9".to_owned();
    let saved = other.parameters.get_mut("rec.w").unwrap();
    saved.dims = vec![25];
    other.write(&last).unwrap();
    let (code, _, err) = train(&root, &["--out", "a", "--resume"]);
    assert_eq!(code, Some(1));
    for line in [
        "\n  then  bpmc 0.0.9",
        "\n  then  parameter rec.w [25]",
        concat!("\n  now   bpmc ", env!("CARGO_PKG_VERSION")),
        "\n  now   parameter rec.w [5, 5]",
    ] {
        assert!(err.contains(line), "{err}");
    }
    // One whose state is missing would go on to other bits.
    let mut other = whole.clone();
    other.states.clear();
    other.write(&last).unwrap();
    let (code, _, err) = train(&root, &["--out", "a", "--resume"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("the checkpoint has no state `slow`"), "{err}");
    whole.write(&last).unwrap();
    goes_on(&root);
}

#[test]
fn a_manifest_with_a_typo_a_repeated_key_or_no_end() {
    let root = prepared("faults-yaml");
    let file = root.join("a/run.yaml");
    let whole = std::fs::read_to_string(&file).unwrap();
    let bomb = {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, before) in [
            ("b", "a"),
            ("c", "b"),
            ("d", "c"),
            ("e", "d"),
            ("f", "e"),
            ("g", "f"),
            ("h", "g"),
        ] {
            text.push_str(&format!(
                "{name}: &{name} [{}]\n",
                format!("*{before}, ").repeat(9)
            ));
        }
        text
    };
    for (text, message) in [
        (whole.replace("seed:", "sead:"), "unknown field `sead`"),
        (format!("{whole}seed: 1\n"), "duplicate"),
        (whole.replace("seed: 0", "seed: [0"), "line"),
        (
            whole.replace("status: finished", "status: finnished"),
            "unknown variant `finnished`",
        ),
        (bomb, "unknown field `a`"),
        (
            "x".repeat(17 << 20),
            "it is too large for the manifest of a run",
        ),
        (String::new(), "missing field"),
    ] {
        std::fs::write(&file, &text).unwrap();
        for arguments in [
            &["train", "agent.bpm", "--out", "a", "--resume"][..],
            &["eval", "a"],
            &["replay", "a", "--list"],
        ] {
            let (code, _, err) = run(&root, arguments);
            assert_eq!(code, Some(1), "{err}");
            assert!(
                err.contains("a/run.yaml") && err.contains(message),
                "{message}: {err}"
            );
        }
        assert!(
            std::fs::read_to_string(&file).unwrap() == text,
            "it is left as it is"
        );
    }
    std::fs::write(&file, whole).unwrap();
    goes_on(&root);
}

#[test]
fn a_sweep_file_of_a_gigabyte_is_refused_at_once() {
    let root = scratch("faults-sweep");
    let file = std::fs::File::create(root.join("sweep.yaml")).unwrap();
    // It takes no room on the disk.
    file.set_len(1 << 30).unwrap();
    let started = std::time::Instant::now();
    let (code, _, err) = run(&root, &["sweep", "plan", "sweep.yaml"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    assert!(code == Some(1) || code == Some(2), "{err}");
    assert!(
        err.starts_with("error: ") && err.contains("sweep.yaml"),
        "{err}"
    );
}
