"""Training, evaluation and runs."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import bpmc

QUICKSTART = Path(__file__).parents[2] / "specs" / "quickstart.bpm"

LABELLED = """
network net {
  input x: [task.x]
  state h: [6] = 0
  h <- tanh(linear(x) + linear(h))
  output label = linear(h, task.label)
}
train supervised { loss = cross_entropy, batch = 8, iterations = 30, optimizer adam { lr = 1e-2 } }
"""

ACTOR = """
network agent {
  input obs: [task.obs]
  state h: [8] = 0
  h <- tanh(linear(obs) + linear(h))
  output policy = linear(h, task.actions)
  output value = linear(h, 1)
}
train a2c { batch = 4, iterations = 3, optimizer adam { lr = 1e-2 } }
"""


def quick(folder, **more):
    return bpmc.train(QUICKSTART, out=folder, set={"N": 8, "train.batch": 4, "train.metrics_every": 1}, progress=False, **more)


def test_a_run_and_what_it_has(tmp_path):
    seen = []
    run = bpmc.train(QUICKSTART, out=tmp_path / "a", set={"N": 8, "train.batch": 4, "train.metrics_every": 1}, iterations=5,
                     seed=3, progress=lambda *told: seen.append(told))
    assert [told[0] for told in seen] == [1, 2, 3, 4, 5] and seen[0][1:3] == (5, "reward")
    assert run.status == "finished" and run.iterations == 5 and run.manifest["seed"] == 3
    assert run.metrics["iteration"].tolist() == [1, 2, 3, 4, 5] and run.metrics["loss"].shape == (5,)
    assert run.parameters["rec.w"].shape == (8, 8) and run.checkpoints[-1] == 5
    assert "rec.hebb" in run.probes()
    found = run.replay(iteration=4, probe=["rec.hebb", "dopamine"], lanes=[1, 3])
    assert found["rec.hebb"].shape == (40, 2, 8, 8) and found["dopamine"].shape[:2] == (40, 2)
    outcome = run.evaluate(20, ablate=["alpha=0"])
    assert outcome.measure == "reward" and outcome.values.shape == (20,) and outcome.iteration == 5
    assert outcome.ablations["alpha=0"].values.shape == (20,)
    net = run.network()
    np.testing.assert_array_equal(net.parameters["rec.w"], run.parameters["rec.w"])
    html = run._repr_html_()
    assert "<svg" in html and "equations" in html
    assert "finished after 5 of 5" in repr(run)


def test_a_run_is_that_of_the_command(tmp_path):
    run = quick(tmp_path / "a", iterations=4)
    subprocess.run([sys.executable, "-m", "bpmc", "train", str(QUICKSTART), "--out", str(tmp_path / "b"), "--set", "N=8", "--set",
                    "train.batch=4", "--iterations", "4", "--quiet"], check=True, capture_output=True)
    other = bpmc.Run(tmp_path / "b")
    for path, values in run.parameters.items():
        np.testing.assert_array_equal(values, other.parameters[path])


def test_a_run_goes_on(tmp_path):
    whole = quick(tmp_path / "a", iterations=4)
    quick(tmp_path / "b", iterations=2)
    more = bpmc.train(tmp_path / "b", resume=True, iterations=4, progress=False)
    for path, values in whole.parameters.items():
        np.testing.assert_array_equal(values, more.parameters[path])


def test_arrays_and_files(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 5, 3)).astype(np.float32)
    label = (x.sum((1, 2)) > 0).astype(np.int64)
    run = bpmc.train(LABELLED, data={"x": x, "label": label}, out=tmp_path / "a", progress=False)
    np.savez(tmp_path / "data.npz", x=x, label=label)
    other = bpmc.train(LABELLED, data=tmp_path / "data.npz", out=tmp_path / "b", progress=False)
    for path, values in run.parameters.items():
        np.testing.assert_array_equal(values, other.parameters[path])
    assert run.metrics["loss"][-1] < run.metrics["loss"][0]
    outcome = run.evaluate(data={"x": x[:6], "label": label[:6]})
    assert outcome.values.shape == (6,)
    parts = bpmc.train(LABELLED, data={"train": {"x": x, "label": label}, "valid": {"x": x, "label": label}}, out=tmp_path / "c",
                       iterations=2, progress=False)
    assert parts.iterations == 2


class Corridor:
    """Reach the end of a corridor: 1 goes on, 0 goes back."""

    actions = 2

    def __init__(self):
        self.at = 0

    def reset(self):
        self.at = 0
        return np.array([self.at, 1.0])

    def step(self, action):
        self.at = max(0, self.at + (1 if action == 1 else -1))
        return np.array([self.at, 1.0]), 1.0 if self.at == 3 else 0.0, self.at == 3


def test_an_object_as_environment(tmp_path):
    run = bpmc.train(ACTOR, env=Corridor(), out=tmp_path / "a", set={"task.steps": 20}, progress=False)
    assert run.iterations == 3 and np.isfinite(run.metrics["reward"]).all()
    again = bpmc.train(ACTOR, env=Corridor, out=tmp_path / "b", set={"task.steps": 20}, progress=False)
    for path, values in run.parameters.items():
        np.testing.assert_array_equal(values, again.parameters[path])
    assert run.network().inputs["obs"] == (2,)
    with pytest.raises(bpmc.Error, match="give it again, as env="):
        run.evaluate(4)
    assert run.evaluate(4, env=Corridor()).values.shape == (4,)
    more = bpmc.train(run, resume=True, iterations=5, env=Corridor, progress=False)
    whole = bpmc.train(ACTOR, env=Corridor, out=tmp_path / "c", iterations=5, set={"task.steps": 20}, progress=False)
    for path, values in whole.parameters.items():
        np.testing.assert_array_equal(values, more.parameters[path])


def test_gymnasium(tmp_path):
    gymnasium = pytest.importorskip("gymnasium")
    vector = gymnasium.make_vec("CartPole-v1", 4, "sync")
    run = bpmc.train(ACTOR, env=vector, out=tmp_path / "a", set={"task.steps": 30}, progress=False)
    by_command = f"{sys.executable} -m bpmc.gym CartPole-v1"
    other = bpmc.train(ACTOR + "\ntask process { command = \"" + by_command + "\", steps = 30 }", out=tmp_path / "b", progress=False)
    for path, values in run.parameters.items():
        np.testing.assert_array_equal(values, other.parameters[path])


@pytest.mark.parametrize("mode", ["async", "vector_entry_point"])
def test_a_vector_environment_steps_all_lanes(tmp_path, mode):
    gymnasium = pytest.importorskip("gymnasium")
    runs = []
    for name in "ab":
        vector = gymnasium.make_vec("CartPole-v1", 4, mode)
        for episodes in ("whole", "stream"):
            runs.append(bpmc.train(ACTOR, env=vector, out=tmp_path / name / episodes, progress=False,
                                   set={"task.steps": 30, "task.episodes": episodes}))
        assert runs[-1].evaluate(4, env=vector).values.shape == (4,)
        with pytest.raises(bpmc.EnvironmentFailed, match="train.batch"):
            bpmc.train(ACTOR, env=vector, out=tmp_path / name / "many", progress=False, set={"train.batch": 5})
        vector.close()
    for one, other in zip(runs, runs[2:]):
        for path, values in one.parameters.items():
            np.testing.assert_array_equal(values, other.parameters[path])


def test_autoreset_in_the_same_step_is_refused():
    gymnasium = pytest.importorskip("gymnasium")
    from bpmc.gym import Vector

    mode = gymnasium.vector.AutoresetMode.SAME_STEP
    vector = gymnasium.make_vec("CartPole-v1", 2, "async", vector_kwargs={"autoreset_mode": mode})
    with pytest.raises(SystemExit, match="DISABLED"):
        Vector(vector, [], 2, None)
    vector.close()


class Failing(Corridor):
    def step(self, action):
        if self.at == 2:
            raise ZeroDivisionError("the corridor has a hole")
        return super().step(1)


def test_an_exception_in_the_environment(tmp_path):
    with pytest.raises(bpmc.EnvironmentFailed, match="the corridor has a hole") as caught:
        bpmc.train(ACTOR, env=Failing(), out=tmp_path / "a", set={"task.steps": 20}, progress=False)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_exception_in_the_callback_ends_the_run(tmp_path):
    def stop(iteration, *_):
        if iteration == 3:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        bpmc.train(QUICKSTART, out=tmp_path / "a", set={"N": 8, "train.batch": 4}, progress=stop)
    assert bpmc.Run(tmp_path / "a").status == "interrupted" and bpmc.Run(tmp_path / "a").iterations == 3


def test_ctrl_c_ends_after_the_iteration(tmp_path):
    def interrupt():
        while not (tmp_path / "a" / "metrics.csv").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(bpmc.Interrupted) as caught:
        quick(tmp_path / "a", iterations=10**6)
    run = caught.value.run
    assert run.status == "interrupted" and run.iterations > 0
    assert isinstance(caught.value, KeyboardInterrupt)
    done = run.iterations
    assert bpmc.train(run, resume=True, iterations=done + 2, progress=False).iterations == done + 2


def test_errors_are_exceptions(tmp_path):
    quick(tmp_path / "a", iterations=1)
    with pytest.raises(bpmc.Error, match="already holds a run"):
        quick(tmp_path / "a", iterations=1)
    with pytest.raises(bpmc.Error, match="nowhere"):
        bpmc.Run(tmp_path / "nowhere")
    with pytest.raises(bpmc.CompileError, match="bacth"):
        bpmc.train(QUICKSTART, out=tmp_path / "b", set={"train.bacth": 3})
    with pytest.raises(bpmc.Error, match="has no iteration 9"):
        bpmc.Run(tmp_path / "a").replay(9, "rec.hebb")
    with pytest.raises(ValueError, match="on_nan"):
        quick(tmp_path / "c", on_nan="hope")
    with pytest.raises(TypeError, match="`reset` and `step`"):
        bpmc.train(ACTOR, env=3, out=tmp_path / "d")


def test_the_command(tmp_path):
    done = subprocess.run([sys.executable, "-m", "bpmc", "check", str(QUICKSTART)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-m", "bpmc", "explain", "E9999"], capture_output=True, text=True)
    assert done.returncode == 2 and "no page" in done.stderr


def test_a_sweep(tmp_path):
    spec = tmp_path / "small.bpm"
    spec.write_text(QUICKSTART.read_text())
    (tmp_path / "sweep.yaml").write_text(
        "name: small\nspecs:\n  small: small.bpm\nseeds: 2\nset:\n  N: 8\n  train.batch: 4\n  train.iterations: 3\n")
    done = bpmc.sweep(tmp_path / "sweep.yaml", tmp_path / "out", workers=1, threads=1, progress=False)
    assert len(done.runs) == 2 and all(run.status == "finished" for run in done.runs.values())
    assert "groups" in json.dumps(done.collect())
