//! First values from files: `file("mask.npy")`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::run;
use crate::scratch::scratch;
use bpmc::lab::replay::{archive, tensors};
use bpmc::lab::run::{find_checkpoint, open, Which};
use bpmc::learn::checkpoint::Checkpoint;
use std::path::Path;

const SPEC: &str = "
dim N = 4
network net {
  input obs: [task.obs]
  state h: [N] = 0
  plastic rec: h -> y {
    const mask = file(\"arrays/mask.npy\") per connection
    weight w = file(\"arrays/weights.npz\")
    trace hebb = 0
    transmit mask * (w + hebb)
    hebb <- clip(hebb + 0.1 * pre * post, -1, 1)
  }
  trained gain: [N] = file(\"arrays/gain.safetensors\")
  y = tanh(linear(obs) + gain * rec)
  h <- y
  output policy = linear(y, task.actions)
  output value = linear(y, 1)
}
task cue_reward { cues = 3, bits = 4, shown = 1, steps = 12 }
train a2c { batch = 7, iterations = 3 }
";

const MASK: [f64; 16] = [
    0., 1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 1., 0., 0., 0.,
];

/// An array in NumPy's format.
fn npy(dims: &str, values: &[f64]) -> Vec<u8> {
    let mut text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {dims}, }}");
    text.push_str(&" ".repeat((10 + text.len() + 1).next_multiple_of(64) - 11 - text.len()));
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    out
}

fn files(root: &Path) -> [Vec<f64>; 2] {
    std::fs::create_dir_all(root.join("arrays")).unwrap();
    let weights: Vec<f64> = (0..16).map(|k| 0.125 * f64::from(k) - 1.0).collect();
    let gain = vec![1.0, 0.5, 2.0, -0.25];
    std::fs::write(root.join("net.bpm"), SPEC).unwrap();
    std::fs::write(root.join("arrays/mask.npy"), npy("(4, 4)", &MASK)).unwrap();
    let other = vec![0.0; 3];
    let both = [
        ("rec.w".to_owned(), vec![4, 4], weights.as_slice()),
        ("other".to_owned(), vec![3], other.as_slice()),
    ];
    std::fs::write(root.join("arrays/weights.npz"), archive(&both, false)).unwrap();
    let one = [("anything".to_owned(), vec![4], gain.as_slice())];
    std::fs::write(root.join("arrays/gain.safetensors"), tensors(&one, false)).unwrap();
    [weights, gain]
}

fn works(root: &Path, arguments: &[&str]) {
    let (code, _, err) = run(root, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
}

#[test]
fn parameters_begin_with_the_values_of_files() {
    let root = scratch("given-files");
    let folder = root.join("specs");
    std::fs::create_dir_all(&folder).unwrap();
    let [weights, gain] = files(&folder);
    let none = ["--set", "train.iterations=0"];
    works(
        &root,
        &[&["train", "specs/net.bpm", "-q", "--out", "a"][..], &none].concat(),
    );
    let last = |directory: &str| {
        let path = find_checkpoint(&root.join(directory), Which::Last).unwrap();
        Checkpoint::read(&path).unwrap().parameters
    };
    let found = last("a");
    for (path, wanted) in [
        ("rec.mask", &MASK[..]),
        ("rec.w", &weights),
        ("gain", &gain),
    ] {
        let values: Vec<f64> = found[path].values.iter().map(|x| f64::from(*x)).collect();
        assert_eq!(values, wanted, "{path}");
    }

    // A constant stays, what is trained moves, and the run goes on from another directory.
    works(&root, &["train", "specs/net.bpm", "-q", "--out", "b"]);
    let trained = last("b");
    assert_eq!(trained["rec.mask"], found["rec.mask"]);
    assert!(trained["rec.w"] != found["rec.w"]);
    works(
        &root.join("specs"),
        &["train", "-q", "--resume", "../b", "--iterations", "5"],
    );
    works(&root, &["eval", "b", "--episodes", "2"]);
    works(
        &root,
        &[
            "replay",
            "b",
            "--iteration",
            "1",
            "--probe",
            "h",
            "-o",
            "h.npz",
        ],
    );
    let manifest = open(&root.join("b")).unwrap().manifest;
    let names: Vec<&String> = manifest.file_hashes.keys().collect();
    assert_eq!(names, ["gain", "rec.mask", "rec.w"]);
    assert!(manifest.file_hashes.values().all(|hash| hash.len() == 64));

    // A path in `--set` is relative to the current directory, and the same file is the same experiment.
    std::fs::copy(root.join("specs/arrays/mask.npy"), root.join("m.npy")).unwrap();
    works(
        &root,
        &[
            &[
                "train",
                "specs/net.bpm",
                "-q",
                "--out",
                "c",
                "--set",
                "rec.mask=file(\"m.npy\")",
            ][..],
            &none,
        ]
        .concat(),
    );
    let hash = |directory: &str| open(&root.join(directory)).unwrap().manifest.spec_hash;
    assert_eq!(hash("a"), hash("c"));

    // Another content is another experiment.
    std::fs::write(
        root.join("specs/arrays/mask.npy"),
        npy("(4, 4)", &[1.0; 16]),
    )
    .unwrap();
    let (code, _, err) = run(
        &root,
        &[
            "train",
            "specs/net.bpm",
            "--resume",
            "--out",
            "a",
            "--set",
            "train.iterations=0",
        ],
    );
    assert_eq!(code, Some(1));
    assert!(
        err.contains("is another run: the spec has changed"),
        "{err}"
    );
}

#[test]
fn files_that_do_not_fit_are_named_where_they_stand() {
    let root = scratch("given-wrong");
    files(&root);
    let mut holes = MASK;
    holes[7] = f64::NAN;
    std::fs::write(root.join("arrays/nan.npy"), npy("(4, 4)", &holes)).unwrap();
    std::fs::write(root.join("arrays/flat.npy"), npy("(16,)", &MASK)).unwrap();
    std::fs::write(root.join("arrays/torn.npy"), &npy("(4, 4)", &MASK)[..150]).unwrap();
    for (from, to, found) in [
        ("mask.npy", "none.npy", "arrays/none.npy: "),
        (
            "mask.npy",
            "nan.npy",
            "arrays/nan.npy, array `nan`: the element [1, 3] is NaN",
        ),
        (
            "mask.npy",
            "flat.npy",
            "arrays/flat.npy is [16], and `rec.mask` is [4, 4]",
        ),
        ("mask.npy", "torn.npy", "torn.npy"),
        (
            "rec: h",
            "con: h",
            "arrays/weights.npz has several arrays, and none is called `con.w`",
        ),
        (
            "file(\"arrays/mask.npy\")",
            "file(3)",
            "`file` takes a path in quotes",
        ),
        (
            "file(\"arrays/mask.npy\")",
            "file()",
            "`file` takes one path",
        ),
        (
            "state h: [N] = 0",
            "state h: [N] = file(\"arrays/mask.npy\")",
            "mask.npy is [4, 4], and `h` is [4]",
        ),
        (
            "  y = tanh(",
            "  noise xi: [N] = file(\"arrays/gain.safetensors\")\n  y = tanh(xi + ",
            "noise",
        ),
    ] {
        let text = SPEC
            .replacen(from, to, 1)
            .replace("+ rec)", "+ con)")
            .replace(
                if from == "rec: h" {
                    "gain * rec"
                } else {
                    "nothing"
                },
                "gain * con",
            );
        std::fs::write(root.join("wrong.bpm"), text).unwrap();
        let (code, out, err) = run(&root, &["check", "wrong.bpm"]);
        assert_eq!(code, Some(1), "{to}: {out}{err}");
        let all = out + &err;
        assert!(all.contains(found), "{to}: {all}");
        assert!(all.contains("wrong.bpm:"), "the place is told: {all}");
    }
}

/// A mask of the spec of `mask_from_file` in a list of its rows, and the same mask from a file.
#[test]
fn arrays_are_written_out_in_a_spec() {
    let root = scratch("given-literal");
    let [_, gain] = files(&root);
    let rows: Vec<String> = MASK.chunks(4).map(|row| format!("{row:?}")).collect();
    let spec = SPEC
        .replace(
            "file(\"arrays/mask.npy\")",
            &format!("[{}]", rows.join(", ")),
        )
        .replace("file(\"arrays/gain.safetensors\")", &format!("{gain:?}"));
    assert!(
        spec.contains("const mask = [[0.0, 1.0, 0.0, 0.0], [0.0, "),
        "{spec}"
    );
    std::fs::write(root.join("written.bpm"), &spec).unwrap();
    let parameters = |name: &str| {
        works(
            &root,
            &["train", &format!("{name}.bpm"), "-q", "--out", name],
        );
        let path = find_checkpoint(&root.join(name), Which::Last).unwrap();
        Checkpoint::read(&path).unwrap().parameters
    };
    assert!(parameters("net") == parameters("written"));
    let manifest = open(&root.join("written")).unwrap().manifest;
    assert_eq!(manifest.file_hashes.keys().collect::<Vec<_>>(), ["rec.w"]);
    works(&root, &["fmt", "--check", "written/spec.bpm"]);
    let refused = |from: &str, to: &str| {
        std::fs::write(root.join("bad.bpm"), spec.replace(from, to)).unwrap();
        let (code, _, said) = run(&root, &["check", "bad.bpm"]);
        assert_eq!(code, Some(1), "{said}");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let first = "[[0.0, 1.0, 0.0, 0.0],";
    assert!(refused(first, "[[0.0, 1.0, 0.0],")
        .contains("this row has 4 elements, and the first has 3"));
    assert!(refused(first, "[").contains("this array is [3, 4], and `rec.mask` is [4, 4]"));
    assert!(refused(first, "[[0.0, 1.0, 0.0, obs],").contains("known at compile time"));
    assert!(
        refused(&format!("{gain:?}"), "[]").contains("an array has finite numbers, at least one")
    );
}
