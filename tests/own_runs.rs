//! Runs on own data that are killed, moved, or left without the files they were trained on.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::own_data::{bpmc, floats, wholes, write};
use crate::runs_support::{command, metrics, shelf};
use crate::scratch::scratch;
use bpmc::lab::run::checkpoints;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const SPEC: &str = "
network net {
  input x: [task.x]
  input kind: [task.kind]
  state h: [4] = 0.1
  plastic rec: h -> y {
    const mask = file(\"mask.npy\") per connection
    weight w ~ uniform(-0.4, 0.4)
    trained eta = 0.3
    trace hebb = 0
    transmit mask * (w + hebb)
    hebb <- 0.8 * hebb + eta * external reward * pre * post
  }
  y = tanh(linear(x) + linear(kind) + rec)
  h <- y
  output label = linear(y, task.label)
  output guess = linear(y, task.guess)
}
task sequences { train = \"train.npz\", valid = \"valid.npz\" }
train supervised {
  loss { label = cross_entropy, guess = 0.5 * mean_squares }
  batch = 3, iterations = 90, chunk = 3, metrics_every = 4, checkpoint_every = 1
  optimizer adam { lr = 1e-2 }
}
";

fn data(path: &Path, sequences: usize, classes: i64) {
    let shape = [sequences, 7];
    write(
        path,
        &[
            (
                "x",
                floats(&[sequences, 7, 2], |k| ((k * 37 % 101) as f32 / 50.0) - 1.0),
            ),
            ("kind", wholes(&shape, |k| k as i64 % 3 % classes)),
            ("label", wholes(&shape, |k| k as i64 * 7 % classes)),
            ("guess", floats(&[sequences, 2], |k| k as f32 / 9.0)),
            ("reward", floats(&shape, |k| (k % 3) as f32 - 1.0)),
            ("length", wholes(&[sequences], |k| 3 + k as i64 % 5)),
            (
                "start.rec.hebb",
                floats(&[sequences, 4, 4], |k| (k % 5) as f32 / 20.0),
            ),
        ],
    );
}

fn files(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("net.bpm"), SPEC).unwrap();
    data(&folder.join("train.npz"), 8, 4);
    data(&folder.join("valid.npz"), 5, 4);
    let mask = floats(&[4, 4], |k| f32::from(u8::from(k % 3 != 0)));
    std::fs::write(folder.join("mask.npy"), mask).unwrap();
}

#[test]
fn a_run_in_chunks_killed_at_any_moment_ends_in_the_same_bytes() {
    const KILLS: usize = 12;
    let root = scratch("own_runs_kill");
    files(&root);
    let train = ["train", "net.bpm", "--quiet", "--threads", "2", "--out"];
    let (good, said) = bpmc(&root, &[&train[..], &["straight"]].concat());
    assert!(good, "{said}");
    let (mut random, mut kills, mut midway, mut runs) = (0x9e37_79b9_7f4a_7c15_u64, 0, 0, 0);
    while kills < KILLS {
        let name = format!("killed-{runs}");
        let killed = root.join(&name);
        runs += 1;
        loop {
            let mut arguments = [&train[..], &[name.as_str()]].concat();
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
                std::thread::sleep(Duration::from_micros(random % 400_000));
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                break;
            }
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), None, "it was not killed: {err}");
            kills += 1;
            let last = checkpoints(&killed)
                .ok()
                .and_then(|all| all.last().cloned());
            midway += usize::from(last.is_some_and(|(iteration, _)| iteration % 3 != 0));
        }
        assert_eq!(metrics(&killed), metrics(&root.join("straight")));
        assert!(shelf(&killed) == shelf(&root.join("straight")), "{name}");
    }
    assert!(midway > 0, "no kill came in the middle of sequences");
}

#[test]
fn a_run_needs_none_of_the_files_it_was_made_from() {
    let root = scratch("own_runs_moved");
    let folder = root.join("specs");
    files(&folder);
    let short = [
        "--set",
        "train.iterations=7",
        "--set",
        "train.checkpoint_every=5",
    ];
    let train = [
        &["train", "specs/net.bpm", "--quiet", "--out", "run"][..],
        &short,
    ]
    .concat();
    let (good, said) = bpmc(&root, &train);
    assert!(good, "{said}");
    let done = |arguments: &[&str]| {
        let (good, said) = bpmc(&root, arguments);
        assert!(good, "{arguments:?}: {said}");
        said
    };
    // Everything that an evaluation says, after the name of the run.
    let found = |said: String| said.split_once("\"iteration\"").unwrap().1.to_owned();
    let before = found(done(&["eval", "run", "--json"]));
    // The file of first values goes away, and the run goes on to another place: it has a copy.
    std::fs::remove_file(folder.join("mask.npy")).unwrap();
    std::fs::create_dir(root.join("elsewhere")).unwrap();
    std::fs::rename(root.join("run"), root.join("elsewhere/run")).unwrap();
    assert_eq!(found(done(&["eval", "elsewhere/run", "--json"])), before);
    done(&[
        "train",
        "--quiet",
        "--resume",
        "elsewhere/run",
        "--iterations",
        "10",
    ]);
    done(&[
        "replay",
        "elsewhere/run",
        "--iteration",
        "6",
        "--probe",
        "h",
        "-o",
        "h.npz",
    ]);

    // Without the data the network can still be used, and evaluated on other data.
    std::fs::rename(folder.join("valid.npz"), root.join("other.npz")).unwrap();
    let wanted = {
        std::fs::copy(root.join("other.npz"), folder.join("valid.npz")).unwrap();
        let said = done(&["eval", "elsewhere/run", "--json"]);
        std::fs::remove_file(folder.join("valid.npz")).unwrap();
        said
    };
    std::fs::remove_file(folder.join("train.npz")).unwrap();
    assert_eq!(
        done(&["eval", "elsewhere/run", "--data", "other.npz", "--json"]),
        wanted
    );
    done(&[
        "run",
        "elsewhere/run",
        "--inputs",
        "other.npz",
        "-o",
        "out.npz",
    ]);
    done(&["export", "elsewhere/run", "--to", "numpy", "-o", "exported"]);
    // What needs the data says so.
    for arguments in [
        &["eval", "elsewhere/run"][..],
        &[
            "train",
            "--quiet",
            "--resume",
            "elsewhere/run",
            "--iterations",
            "12",
        ],
    ] {
        let (good, said) = bpmc(&root, arguments);
        assert!(
            !good && said.contains("cannot read") && said.contains("train.npz"),
            "{said}"
        );
    }
    // A label beyond those that were learned is named.
    data(&root.join("more.npz"), 5, 6);
    let (good, said) = bpmc(&root, &["eval", "elsewhere/run", "--data", "more.npz"]);
    assert!(
        !good && said.contains("more.npz") && said.contains("none of the classes 0 to 3"),
        "{said}"
    );
}

#[test]
fn a_table_with_a_million_columns_is_refused() {
    let root = scratch("own_runs_columns");
    std::fs::write(
        root.join("net.bpm"),
        SPEC.replace("train.npz", "train.csv")
            .replace("valid = \"valid.npz\"", ""),
    )
    .unwrap();
    std::fs::write(root.join("mask.npy"), floats(&[4, 4], |_| 1.0)).unwrap();
    let titles = (0..1_000_000).fold(String::from("sequence"), |mut line, k| {
        line.push_str(&format!(",x[{k}]"));
        line
    });
    let cells = ",0.5".repeat(1_000_000);
    for (head, what) in [
        (titles.as_str(), "columns, and 4096 are the most of a table"),
        ("sequence,x[0],x[1],label", "train.csv"),
    ] {
        std::fs::write(root.join("train.csv"), format!("{head}\na{cells}\n")).unwrap();
        for arguments in [
            &["check", "net.bpm"][..],
            &["train", "net.bpm", "--out", "run"],
        ] {
            let (good, said) = bpmc(&root, arguments);
            assert!(
                !good && said.contains(what),
                "{}",
                &said[..said.len().min(2000)]
            );
            assert!(said.len() < 5000, "{} bytes", said.len());
        }
    }
}
