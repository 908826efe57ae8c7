//! What bpmc writes, read by others: safetensors and NumPy, and TensorBoard's own reader where it is installed. Needs a
//! Python with these packages: `python3`, or what `BPMC_PYTHON` names; else the tests say that they are skipped.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use crate::runs_support::{metrics, run, SPEC};
use crate::scratch::scratch;
use bpmc::lab::run::{find_checkpoint, Which};
use bpmc::learn::checkpoint::Checkpoint;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What a program prints, as JSON; `None` where Python or one of the `packages` is missing.
pub fn python(packages: &str, program: &str, directory: &Path) -> Option<Value> {
    let name = std::env::var("BPMC_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = |program: &str| {
        Command::new(&name)
            .args(["-c", program])
            .current_dir(directory)
            .output()
    };
    if !run(&format!("import {packages}")).is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("BPMC_REQUIRE_PYTHON").is_none(),
            "{name} has not all of {packages}"
        );
        eprintln!("skipped: {name} has not all of {packages}");
        return None;
    }
    let output = run(program).unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_tree_sitter_grammar_reads_every_spec() {
    let root = scratch("tree_sitter");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-tree-sitter.py");
    let program = format!(
        "import json, subprocess, sys\n\
         done = subprocess.run([sys.executable, {:?}], capture_output=True, text=True)\n\
         print(json.dumps([done.returncode, done.stdout, done.stderr]))",
        script.display().to_string()
    );
    let Some(found) = python("tree_sitter", &program, &root) else {
        return;
    };
    assert_eq!(found[0], 0, "{}", found[2]);
    assert!(found[1].as_str().unwrap().ends_with(": sound\n"), "{found}");
}

#[test]
fn checkpoints_and_replays_load_in_python() {
    let root = scratch("python");
    std::fs::write(root.join("agent.bpm"), SPEC).unwrap();
    assert_eq!(
        run(&root, &["train", "agent.bpm", "--quiet", "--out", "a"]).0,
        Some(0)
    );
    let replay = [
        "replay",
        "a",
        "--iteration",
        "5",
        "--probe",
        "rec.hebb,m,next h",
    ];
    for file in ["r.npz", "r.safetensors"] {
        assert_eq!(
            run(&root, &[&replay[..], &["-o", file]].concat()).0,
            Some(0)
        );
    }
    let program = "
import json, numpy
from safetensors.numpy import load_file
from safetensors import safe_open
def told(arrays):
    return {name: [str(a.dtype), list(a.shape), float(a.astype('f8').sum())] for name, a in arrays.items()}
import glob
last = sorted(glob.glob('a/checkpoints/0*.safetensors'))[-1]
with safe_open(last, 'np') as file:
    about = json.loads(file.metadata()['bpmc'])
npz = numpy.load('r.npz')
same = load_file('r.safetensors')
assert all((npz[name] == same[name]).all() for name in same)
print(json.dumps({'checkpoint': told(load_file(last)), 'best': told(load_file('a/checkpoints/best.safetensors')),
    'about': about, 'npz': told({name: npz[name] for name in npz.files})}))
";
    let Some(found) = python("numpy, safetensors.numpy", program, &root) else {
        return;
    };
    let last = find_checkpoint(&root.join("a"), Which::Last).unwrap();
    let wanted = Checkpoint::read(&last).unwrap();
    assert_eq!(found["about"]["header"]["iteration"], 11);
    for (path, tensor) in &wanted.parameters {
        let told = &found["checkpoint"][path];
        assert_eq!(told[0], "float32", "{path}");
        let dims: Vec<Value> = tensor.dims.iter().map(|dim| (*dim).into()).collect();
        assert_eq!(told[1], Value::Array(dims), "{path}");
        let sum: f64 = tensor.values.iter().map(|x| f64::from(*x)).sum();
        assert!((told[2].as_f64().unwrap() - sum).abs() < 1e-9, "{path}");
    }
    // The names of the spec, its moments and its state.
    for name in [
        "rec.w",
        "rec.alpha",
        "rec.eta",
        "optimizer.mean/rec.w",
        "state/slow",
    ] {
        assert!(
            !found["checkpoint"][name].is_null(),
            "{name}: {}",
            found["checkpoint"]
        );
    }
    assert_eq!(found["checkpoint"]["rec.w"][1], serde_json::json!([5, 5]));
    assert_eq!(
        found["npz"]["rec.hebb"][1],
        serde_json::json!([12, 7, 5, 5])
    );
    assert_eq!(found["npz"]["next h"][0], "float32");
    assert_eq!(found["npz"]["episode.lanes"][2], 21.0);
    assert_eq!(found["npz"]["episode.steps"][2], 66.0);
}

#[test]
fn tensorboard_reads_the_events() {
    let root = scratch("tensorboard");
    std::fs::write(root.join("agent.bpm"), SPEC).unwrap();
    let train = [
        "train",
        "agent.bpm",
        "--quiet",
        "--tensorboard",
        "--out",
        "a",
    ];
    assert_eq!(run(&root, &train).0, Some(0));
    let program = "
import json
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
import glob
found = []
for event in EventFileLoader(glob.glob('a/events.out.tfevents.*')[0]).Load():
    for value in event.summary.value:
        number = value.tensor.float_val[0] if value.HasField('tensor') else value.simple_value
        found.append([event.step, value.tag, number, event.wall_time > 1.6e9])
print(json.dumps(found))
";
    let package = "tensorboard.backend.event_processing.event_file_loader";
    let Some(found) = python(package, program, &root) else {
        return;
    };
    let found = found.as_array().unwrap();
    for record in metrics(&root.join("a")) {
        for name in ["loss", "reward", "gradient_norm"] {
            let row = found
                .iter()
                .find(|row| row[0] == record["iteration"] && row[1] == name)
                .unwrap();
            let wanted = record[name].as_f64().unwrap() as f32;
            assert_eq!(row[2].as_f64().unwrap() as f32, wanted);
            assert_eq!(row[3], true);
        }
    }
}
