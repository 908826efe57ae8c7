"""Networks with plastic connections: compiled from a spec of equations, run and trained by fused kernels.

    import bpmc

    net = bpmc.Network("agent.bpm", set={"N": 64}, seed=0)      # compiled once
    out, state = net.run(xs)                                    # xs: [steps, lanes, size]
    tape = net.record(xs)
    grads = tape.backward({"label": d_label})                   # parameters, inputs, first states

    run = bpmc.train("agent.bpm", data={"x": x, "label": y})    # arrays, files, or an environment
    run.metrics["loss"], run.parameters["rec.alpha"], run.replay(iteration=100, probe="rec.hebb")

    layer = bpmc.torch.Layer("rule.bpm")                        # inside any PyTorch model
    f = bpmc.jax.function("rule.bpm")                           # a JAX function with its derivative
"""
from __future__ import annotations

import importlib
import os
from typing import Any

from . import _native
from ._errors import (
    CompileError, CompileWarning, EnvironmentFailed, Error, FreedError, InternalError, Interrupted, NotFiniteError, RunError,
)
from ._network import Gradients, Network, Parameters, State, Tape
from ._program import Diagnostics, check
from ._training import Evaluation, Metrics, Run, Sweep, evaluate, sweep, train

__version__: str = _native.__version__
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_native.forked)
__all__ = [
    "CompileError", "CompileWarning", "Diagnostics", "EnvironmentFailed", "Error", "Evaluation", "FreedError", "Gradients",
    "InternalError", "Interrupted", "Metrics", "Network", "NotFiniteError", "Parameters", "Run", "RunError", "State", "Sweep", "Tape",
    "check", "evaluate", "explain", "jax", "set_threads", "sweep", "torch", "train",
]


def explain(*topic: str) -> str:
    """The page of an error code, or of a kind and a name, as `bpmc explain` prints it; without a topic the list of all.

    >>> print(bpmc.explain("E0205"))
    >>> print(bpmc.explain("task", "sequences"))
    """
    return _native.explain([word for part in topic for word in part.split()])


def set_threads(number: int) -> None:
    """Sets the number of threads that share the lanes [default: all cores]. No result depends on it."""
    if number < 1:
        raise ValueError(f"there is at least one thread, and not {number}")
    _native.set_threads(number)


def __getattr__(name: str) -> Any:
    # PyTorch and JAX are imported only by those who use them.
    if name in ("torch", "jax"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
