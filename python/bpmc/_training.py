"""Training, evaluation and sweeps."""
from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import _native
from ._errors import CompileError, EnvironmentFailed, Error, Interrupted, RunError
from ._program import overrides, source
from ._progress import display

__all__ = ["Evaluation", "Metrics", "Run", "Sweep", "evaluate", "sweep", "train"]


class Metrics(Mapping):
    """The metrics of a run: arrays by name, with an element for each record; `iteration` says which."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self._columns = columns

    @classmethod
    def read(cls, path: str) -> Metrics:
        """Reads a table of metrics; without one there are none."""
        if not os.path.exists(path):
            return cls({})
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        columns = {}
        for k, name in enumerate(header):
            values = np.array([float(row[k]) if k < len(row) and row[k] else np.nan for row in rows])
            columns[name] = values.astype(np.int64) if name == "iteration" else values
        return cls(columns)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        records = len(next(iter(self._columns.values()), []))
        return f"Metrics({records} records of {', '.join(self._columns)})"

    def to_pandas(self) -> Any:
        """The metrics as a `pandas.DataFrame`, where pandas is installed."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("`to_pandas` needs pandas: pip install pandas") from error
        return pandas.DataFrame(self._columns)


class Evaluation:
    """The results of fresh episodes.

    Attributes:
        loss: averaged over batches.
        measure: the name of what `values` has for each episode: `reward`, a score, or `loss`.
        values: the measure of each episode.
        scores: of all episodes together, by name.
        iteration: of the checkpoint.
        ablations: the same for the network with a part taken away, by part.
    """

    def __init__(self, given: dict[str, Any], iteration: int | None = None) -> None:
        self.loss: float = given["loss"]
        self.measure: str | None = given["measure"]
        self.values = np.array(given["values"], float)
        self.scores: dict[str, float] = given["scores"]
        self.iteration: int = given.get("iteration", iteration)
        self.ablations = {name: Evaluation(part, self.iteration) for name, part in given.get("ablations", {}).items()}

    @property
    def mean(self) -> float:
        """The mean of the measure."""
        return float(self.values.mean()) if self.values.size else float("nan")

    def __repr__(self) -> str:
        scores = "".join(f", {name} {value:.4g}" for name, value in self.scores.items())
        return f"Evaluation({len(self.values)} episodes of iteration {self.iteration}: mean {self.measure} {self.mean:.4g}{scores})"


class Run:
    """A run in its directory.

    >>> run = bpmc.Run("runs/agent-0")
    >>> run.metrics["loss"]; run.parameters["rec.alpha"]
    >>> run.replay(iteration=100, probe=["rec.hebb"])["rec.hebb"]      # [steps, lanes, pre, post]
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.fspath(directory)
        self._opened()

    def _opened(self) -> dict[str, Any]:
        return json.loads(_native.opened(json.dumps({"directory": self.directory})))

    @property
    def manifest(self) -> dict[str, Any]:
        """What `run.yaml` says: spec, seed, overrides, status and more."""
        return self._opened()["manifest"]

    @property
    def status(self) -> str:
        """`running`, `finished`, `interrupted` or `failed`."""
        return self.manifest["status"]

    @property
    def iterations(self) -> int:
        """The number of iterations done, when the manifest was last written."""
        return self.manifest["iterations"]

    @property
    def checkpoints(self) -> list[int]:
        """The iterations of the checkpoints."""
        return self._opened()["checkpoints"]

    @property
    def metrics(self) -> Metrics:
        """The metrics so far."""
        return Metrics.read(os.path.join(self.directory, "metrics.csv"))

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The parameters of the last checkpoint, by path."""
        return self.parameters_of("last")

    def parameters_of(self, checkpoint: str | int = "last") -> dict[str, np.ndarray]:
        """The parameters of a checkpoint: `last`, `best` or the number of an iteration."""
        found = _native.parameters(json.dumps({"directory": self.directory, "checkpoint": str(checkpoint)}))
        return {path: np.frombuffer(data, "<f4").astype(np.float32).reshape(dims) for path, dims, _, data in found}

    def network(self, checkpoint: str | int = "last") -> Any:
        """The trained network, as a `bpmc.Network`."""
        from ._network import Network

        manifest = self.manifest
        net = Network(os.path.join(self.directory, "spec.bpm"), _set_of(manifest["overrides"]), manifest["seed"])
        for path, values in self.parameters_of(checkpoint).items():
            net.parameters[path] = values
        return net

    def evaluate(
        self, episodes: int | None = None, *, greedy: bool = False, checkpoint: str | int = "last",
        ablate: Sequence[str] = (), data: Any = None, env: Any = None, threads: int | None = None,
    ) -> Evaluation:
        """Runs the trained network on fresh episodes, or on other data.

        Args:
            episodes: their number [default: 100; of a file, all its sequences].
            greedy: take the most probable action instead of drawing one.
            checkpoint: `last`, `best` or the number of an iteration.
            ablate: parts to take away, as `alpha=0`, `freeze`, `shuffle:m` or `reset:60`; results in `ablations`.
            data: a file, or arrays by name, `[sequences, steps, size]`.
            env: the environment again, where the run was trained with a Python object.
            threads: threads that share the lanes.
        """
        with tempfile.TemporaryDirectory(prefix="bpmc-") as folder, self._served(env):
            if isinstance(data, Mapping):
                path = os.path.join(folder, "data.npz")
                np.savez(path, **{name: np.asarray(values) for name, values in data.items()})
                data = path
            options = {
                "directory": self.directory, "episodes": episodes, "greedy": greedy, "checkpoint": str(checkpoint),
                "ablate": list(ablate), "data": None if data is None else os.fspath(data), "threads": threads,
            }
            return Evaluation(json.loads(_native.evaluate(json.dumps(options))))

    def _served(self, env: Any) -> contextlib.AbstractContextManager[Any]:
        """Serves the environment where the run looks for it."""
        if env is None:
            return contextlib.nullcontext()
        from ._environment import Served, socket_of

        path = socket_of(self.manifest["overrides"])
        if path is None:
            raise TypeError(f"the environment of {self.directory} was no Python object; it needs no `env`")
        return Served(env, path)

    def probes(self) -> dict[str, tuple[int, ...]]:
        """What `replay` can record, with dimensions within a step and lane."""
        return {name: tuple(dims) for name, dims in _native.replay(json.dumps({"directory": self.directory}))}

    def replay(
        self, iteration: int, probe: str | Sequence[str], *, lanes: Sequence[int] = (), every: int = 1, env: Any = None,
        threads: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs an iteration again, to the bit, and returns values over time, `[steps, lanes, ...]`.

        Args:
            iteration: counted from 1.
            probe: names of values, as `rec.hebb`, `next h` or the part `rec.hebb[0 .. 4, 3]`.
            lanes: lanes to record [default: all].
            every: record every so many steps.
            env: the environment again, where the run was trained with a Python object.
            threads: threads that share the lanes.
        """
        with tempfile.TemporaryDirectory(prefix="bpmc-") as folder, self._served(env):
            path = os.path.join(folder, "replay.npz")
            names = [probe] if isinstance(probe, str) else list(probe)
            _native.replay(json.dumps({
                "directory": self.directory, "iteration": iteration, "probe": names, "lanes": [int(lane) for lane in lanes],
                "every": every, "path": path, "threads": threads,
            }))
            with np.load(path) as found:
                return {name: found[name] for name in found.files}

    def __repr__(self) -> str:
        manifest = self.manifest
        return (f"Run({self.directory!r}: {manifest['name']}, {manifest['status']} after {manifest['iterations']} of "
                f"{manifest['iterations_planned']} iterations, seed {manifest['seed']})")

    def _repr_html_(self) -> str:
        return _native.equations(None, self.directory)


def _set_of(words: Sequence[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {path: value for path, _, value in pairs}


def _with_task(text: str, task: str) -> str:
    """A spec with a task of this kind, where it has none."""
    code = re.sub(r"//[^\n]*", "", text)
    return text if re.search(r"^\s*task\s+\w+\s*\{", code, re.M) else f"{text.rstrip()}\n\ntask {task} {{ }}\n"


def _stored(arrays: Mapping[str, Any], folder: str) -> str:
    """Arrays in a folder that their contents name, so that the run can be resumed."""
    found = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name} {found[name].dtype.str} {found[name].shape} ".encode())
        digest.update(memoryview(found[name]).cast("B") if found[name].size else b"")
    target = os.path.join(folder, digest.hexdigest()[:16])
    if not os.path.isdir(target):
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            whole = os.path.join(part, "whole")
            os.mkdir(whole)
            for name, values in found.items():
                np.save(os.path.join(whole, f"{name}.npy"), values)
            with contextlib.suppress(OSError):
                os.rename(whole, target)
    return target


def _files(data: Any, out: str | None) -> dict[str, str]:
    """The settings of `task sequences` for data: files, arrays, or parts of either."""
    folder = os.path.join(os.path.dirname(os.path.abspath(out)) if out else os.path.abspath("runs"), "arrays")
    parts = data
    names = {"train", "valid", "test"}
    if not isinstance(data, Mapping) or not (set(data) <= names and data):
        parts = {"train": data}
    settings = {}
    for part, values in parts.items():
        path = _stored(values, folder) if isinstance(values, Mapping) else os.path.abspath(os.fspath(values))
        settings[f"task.{part}"] = path
    return settings


def train(
    spec: str | os.PathLike[str], *, data: Any = None, env: Any = None, out: str | os.PathLike[str] | None = None,
    set: Mapping[str, Any] | None = None, seed: int | None = None, iterations: int | None = None, epochs: int | None = None,
    resume: bool = False, change: bool = False, init: str | os.PathLike[str] | None = None, init_partial: bool = False,
    threads: int | None = None, on_nan: str = "stop", tensorboard: bool = False,
    progress: bool | Callable[..., Any] = True,
) -> Run:
    """Trains the network of a spec.

    Args:
        spec: the path of a spec, or its text; with `resume` also the directory of a run.
        data: for `task sequences`: arrays by name, `[sequences, steps, size]`, or a file; or a dictionary of `train`, `valid`
            and `test` with either. Arrays are stored beside the run, so that it can be resumed.
        env: for `task process`: an environment of Gymnasium, a vector of them, a list, any object with `reset` and `step`
            (of which each lane gets a copy), or a function that makes one.
        out: the directory of the run [default: `runs/` with name and seed of the spec].
        set: overrides of dims, values and settings by path.
        seed, iterations, epochs: as `train.seed`, `train.iterations` and `train.epochs`.
        resume: go on with the run in the directory.
        change: go on although other settings have changed.
        init: parameters to start from, a file or another run; `init_partial` takes those that it has.
        threads: threads that share the lanes; no number depends on it.
        on_nan: `stop`, `skip` or `rollback` where a number is not finite.
        tensorboard: also write TensorBoard events.
        progress: show the progress, in a terminal or notebook; or a function of iteration, total, measure, value, loss and
            seconds that is called after each iteration, and ends the run where it raises.

    Returns:
        The run. Ctrl-C ends it after the iteration, saves it and raises `bpmc.Interrupted`, whose `run` it is.
    """
    if on_nan not in ("stop", "skip", "rollback"):
        raise ValueError(f"on_nan is `stop`, `skip` or `rollback`, and not {on_nan!r}")
    if data is not None and env is not None:
        raise TypeError("a run has `data` or an `env`, and not both")
    settings = dict(set or {})
    for name, value in (("seed", seed), ("iterations", iterations), ("epochs", epochs)):
        if value is not None:
            settings[f"train.{name}"] = int(value)
    options: dict[str, Any] = {
        "out": None if out is None else os.fspath(out), "resume": resume, "change": change,
        "init": None if init is None else os.fspath(init), "init_partial": init_partial, "threads": threads,
        "on_nan": on_nan, "tensorboard": tensorboard, "each": callable(progress),
    }
    if isinstance(spec, Run):
        spec = spec.directory
    with contextlib.ExitStack() as stack:
        served = None
        if resume and os.path.isdir(spec):
            options["spec"] = os.fspath(spec)
        else:
            name, text = source(spec)
            text = _with_task(text, "sequences") if data is not None else text
            text = _with_task(text, "process") if env is not None else text
            options["spec"], options["text"] = name, text
        if data is not None:
            settings |= _files(data, options["out"])
        if env is not None:
            from ._environment import Served, socket_of

            known = options["spec"] if os.path.isdir(options["spec"]) else options["out"]
            before = Run(known).manifest["overrides"] if resume and known and os.path.isdir(known) else []
            served = stack.enter_context(Served(env, socket_of(before)))
            settings["task.command"] = f'"{served.command}"'
        options["set"] = overrides(settings)
        show = stack.enter_context(display(progress))
        try:
            result, raised = _native.train(json.dumps(options), show)
        except Error as error:
            if served is not None and served.error is not None:
                raise EnvironmentFailed(f"{type(served.error).__name__} in the environment: {served.error}\n{error}") from served.error
            raise
    run = Run(json.loads(result)["directory"])
    if isinstance(raised, KeyboardInterrupt):
        raise Interrupted(run) from None
    if raised is not None:
        raise raised
    return run


def evaluate(run: Run | str | os.PathLike[str], episodes: int | None = None, **options: Any) -> Evaluation:
    """Runs the trained network of a run on fresh episodes, or on other data: `Run.evaluate`."""
    return (run if isinstance(run, Run) else Run(run)).evaluate(episodes, **options)


class Sweep:
    """A sweep in its directory: runs over a grid of settings and seeds.

    Attributes:
        directory: the directory.
        runs: by the name of the cell.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.fspath(directory)

    @property
    def runs(self) -> dict[str, Run]:
        """The runs that have begun, by the name of their cell."""
        found = {}
        for folder, _, files in sorted(os.walk(self.directory)):
            if "run.yaml" in files:
                found[os.path.relpath(folder, self.directory)] = Run(folder)
        return found

    def collect(self, *, metric: str | None = None, last: float = 0.1, partial: bool = False) -> dict[str, Any]:
        """Curves, final values and tests between groups, as `bpmc sweep collect` writes them to `summary.json`."""
        with tempfile.TemporaryDirectory(prefix="bpmc-") as folder:
            words = ["sweep", "collect", self.directory, "-o", folder, "--last", str(last)]
            words += ["--metric", metric] if metric else []
            _command(words + (["--partial"] if partial else []), quiet=True)
            with open(os.path.join(folder, "summary.json"), encoding="utf-8") as file:
                return json.load(file)

    def __repr__(self) -> str:
        return f"Sweep({self.directory!r}: {len(self.runs)} runs)"


def _command(words: Sequence[str], quiet: bool = False) -> None:
    done = subprocess.run([sys.executable, "-m", "bpmc", *words], text=True, stderr=subprocess.PIPE if quiet else None,
                          stdout=subprocess.PIPE if quiet else None)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise RunError((done.stderr or f"`bpmc {' '.join(words)}` ended with exit status {done.returncode}").strip())


def sweep(
    file: str | os.PathLike[str], out: str | os.PathLike[str], *, workers: int | None = None, threads: int | None = None,
    progress: bool = True,
) -> Sweep:
    """Runs what is missing of a sweep, each cell in a process of its own, as `bpmc sweep run`."""
    words = ["sweep", "run", os.fspath(file), "--out", os.fspath(out)]
    words += ["--workers", str(workers)] if workers else []
    words += ["--threads", str(threads)] if threads else []
    _command(words, quiet=not progress)
    return Sweep(out)
