//! Kernels for clusters of blocks, run by the processor: every size of a cluster gives the numbers of the reference.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

/// Runs `bpmc verify` on the emulated device with clusters of so many blocks.
fn verify(blocks: usize, specs: &[&str], set: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpmc"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("BPMC_CLUSTER", blocks.to_string())
        .arg("verify")
        .args(specs)
        .args(["--device", "emulated", "--lanes", "2"]);
    for setting in set {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.matches("agrees").count() == specs.len(),
        "{specs:?} {set:?} in clusters of {blocks}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn clusters_of_every_size_agree_with_the_reference() {
    let mazes = [
        "specs/paper/maze/simple_fanout.bpm",
        "specs/paper/maze/retroactive.bpm",
    ];
    // 33 neurons: one row more than a warp has lanes. 5: fewer than warps.
    for blocks in [1, 2, 4, 8] {
        verify(blocks, &mazes, &["N=33", "task.steps=6"]);
        let cue = ["specs/paper/cue_reward/plastic.bpm"];
        verify(blocks, &cue, &["N=5", "task.steps=9"]);
    }
}

#[test]
fn the_first_and_the_only_step_agree_with_the_reference() {
    for steps in ["task.steps=1", "task.steps=2"] {
        for blocks in [1, 4] {
            let maze = ["specs/paper/maze/simple.bpm"];
            verify(blocks, &maze, &["N=21", steps]);
        }
    }
}

/// States and traces go on from chunk to chunk, and other stages add to the adjoints of inputs.
#[test]
fn layers_of_texts_agree_with_the_reference() {
    for (blocks, spec) in [(1, "simple"), (8, "simple"), (2, "retroactive")] {
        let spec = format!("specs/paper/ptb_small/{spec}.bpm");
        let sizes = ["E=11", "N=19", "task.words=40", "task.steps=9"];
        verify(blocks, &[&spec], &sizes);
    }
}

/// The task is too large for a copy per action, so it takes an action once it is drawn.
#[test]
fn long_episodes_agree_with_the_reference() {
    let cue = ["specs/paper/cue_reward/simple.bpm"];
    verify(2, &cue, &["N=5", "task.steps=1100"]);
}

/// A state of one number, values reduced to one number, two bundles of different shapes, a delay.
const ODD: &str = "
dim N = 9
network agent {
  input obs: [task.obs]
  state h: [N] = 0
  state s: [1] = 0
  plastic rec: h -> y {
    weight w ~ uniform(-0.3, 0.3)
    trace hebb = 0
    transmit w + hebb
    hebb <- clip(hebb + 0.1 * m * delay(pre, 1) * post, -1, 1)
  }
  plastic mem: h -> z {
    weight u ~ uniform(-0.3, 0.3)
    trace t = 0
    transmit u + t
    t <- t + 0.1 * pre * post
  }
  y = tanh(linear(obs) + rec + 0.5 * s)
  z: [3] = tanh(mem)
  modulator m = tanh(linear(y, 1) + s)
  s <- 0.5 * linear(y, 1) + 0.1 * mean(z)
  h <- y + 0.1 * max(y) - 0.2 * sum(y)
  output policy = linear(y, task.actions)
  output value = linear(concat(y, z), 1)
}
task cue_reward { bits = 4, steps = 9 }
train a2c { batch = 2, iterations = 1 }
";

/// Some blocks of a cluster have no column of a small bundle; each must wait for all others all the same.
#[test]
fn small_networks_with_states_of_one_number_agree_with_the_reference() {
    let folder = crate::scratch::scratch("device_clusters");
    let spec = folder.join("odd.bpm");
    std::fs::write(&spec, ODD).unwrap();
    for blocks in [1, 2, 8] {
        for neurons in ["N=1", "N=5", "N=37"] {
            verify(blocks, &[spec.to_str().unwrap()], &[neurons]);
        }
    }
}

/// Devices without clusters run one block a lane.
#[test]
fn blocks_without_clusters_agree_with_the_reference() {
    let specs = [
        "specs/paper/maze/simple_fanout.bpm",
        "specs/paper/maze/retroactive.bpm",
        "specs/paper/cue_reward/simple.bpm",
        "specs/paper/cue_reward/plastic.bpm",
        "specs/paper/cue_reward/retroactive.bpm",
    ];
    verify(0, &specs, &["N=19", "task.steps=15"]);
    // The traces of 300 neurons do not fit in shared memory.
    verify(0, &specs[2..3], &["N=300", "task.steps=5"]);
}

#[test]
fn a_source_names_its_cluster_or_why_it_has_none() {
    let first_comment = |spec: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_bpmc"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["compile", spec, "--emit", "cuda"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let maze = first_comment("specs/paper/maze/simple_fanout.bpm");
    assert!(
        maze.contains("/* clusters of 4, 7 warps with connections, 4 rows by 4 columns a thread"),
        "{maze}"
    );
    let without = first_comment("specs/paper/maze/nonplastic.bpm");
    assert!(
        without.contains("/* one block a lane, not a cluster: it has no traces */"),
        "{without}"
    );
}
