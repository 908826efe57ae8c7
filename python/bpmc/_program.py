"""Compiled specs, and calls of their kernels on arrays."""
from __future__ import annotations

import itertools
import json
import os
import warnings
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import _native
from ._arrays import address
from ._errors import CompileError, CompileWarning, Error

#: The number of the iteration that the noise of `run` belongs to: training never reaches it.
APART = 2**32 - 1


class Slot(NamedTuple):
    """A named value of a network and its dimensions, beside those of steps and lanes."""

    name: str
    dims: tuple[int, ...]


class Noise(NamedTuple):
    """The numbers that noise depends on, beside lane and step."""

    seed: int
    iteration: int = APART
    first_step: int = 0
    learn: bool = False


def overrides(set: Mapping[str, Any] | None) -> list[str]:
    """Overrides of a spec as the command takes them: `PATH=VALUE`."""
    words = []
    for path, value in (set or {}).items():
        if isinstance(value, (bool, np.bool_)):
            value = "true" if value else "false"
        elif isinstance(value, os.PathLike):
            value = json.dumps(os.fspath(value))
        elif isinstance(value, (float, np.floating)):
            value = repr(float(value))
        words.append(f"{path}={value}")
    return words


def source(spec: str | os.PathLike[str]) -> tuple[str, str]:
    """Name and text of a spec: of the file at a path, or the text itself, which has a brace."""
    if isinstance(spec, str) and ("{" in spec or "\n" in spec):
        return "spec.bpm", spec
    path = os.fspath(spec)
    try:
        with open(path, encoding="utf-8") as file:
            return path, file.read((1 << 20) + 4)
    except OSError as error:
        near = os.path.splitext(path)[0] + ".bpm"
        guess = f"; did you mean {near}?" if near != path and os.path.exists(near) else ""
        raise FileNotFoundError(error.errno, f"there is no spec {path}{guess}") from None
    except UnicodeDecodeError as error:
        raise Error(f"cannot read the spec {path}: it is not UTF-8 text (byte {error.start})") from None


@dataclass
class Diagnostics:
    """What `check` found in a spec."""

    text: str
    findings: list[dict[str, Any]]

    def __bool__(self) -> bool:
        return bool(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.findings)

    def __getitem__(self, k: int) -> dict[str, Any]:
        return self.findings[k]

    def __str__(self) -> str:
        return self.text.rstrip() or "no findings"

    __repr__ = __str__


def check(spec: str | os.PathLike[str], set: Mapping[str, Any] | None = None) -> Diagnostics:
    """Checks a spec and returns all findings, errors and warnings; empty if there are none."""
    name, text = source(spec)
    _, rendered, findings, _ = _native.compile(name, text, overrides(set))
    return Diagnostics(rendered, [json.loads(line) for line in findings.splitlines()])


#: The programs that exist, by number, for operators that can be told numbers alone.
PROGRAMS: weakref.WeakValueDictionary[int, Program] = weakref.WeakValueDictionary()
NUMBERS = itertools.count()


class Program:
    """A compiled spec: its slots, and its kernels. Copies share it; a pickle holds the text of the spec."""

    def __init__(self, spec: str | os.PathLike[str], set: Mapping[str, Any] | None = None) -> None:
        self._compile(*source(spec), overrides(set))

    def _compile(self, name: str, text: str, words: list[str]) -> None:
        self.made_of = (name, text, words)
        self.number = next(NUMBERS)
        PROGRAMS[self.number] = self
        self.native, rendered, findings, slots = _native.compile(name, text, words)
        if self.native is None:
            raise CompileError(rendered, findings)
        if rendered:
            warnings.warn("\n" + rendered.rstrip(), CompileWarning, stacklevel=5)
        known = json.loads(slots)

        def all_of(kind: str) -> list[Slot]:
            return [Slot(slot["name"], tuple(slot["dims"])) for slot in known[kind]]

        self.name: str = known["name"]
        self.inputs, self.outputs = all_of("inputs"), all_of("outputs")
        self.states, self.parameters = all_of("states"), all_of("parameters")
        self.optional = {slot["name"] for slot in known["inputs"] if slot["optional"]}
        self.traces = [slot["name"] for slot in known["states"] if slot["trace"]]
        self.trained = [slot["trained"] for slot in known["parameters"]]
        self.noises: int = known["noises"]
        self.seed: int = known["seed"] or 0

    @classmethod
    def again(cls, name: str, text: str, words: list[str]) -> Program:
        """The program of a text that was compiled before."""
        program = cls.__new__(cls)
        program._compile(name, text, words)
        return program

    def __deepcopy__(self, _: Any) -> Program:
        return self

    def __reduce__(self) -> Any:
        return Program.again, self.made_of

    def first_parameters(self, seed: int, dtype: np.dtype) -> list[np.ndarray]:
        """The first values of all parameters, as training would draw them."""
        drawn = []
        for number, slot in enumerate(self.parameters):
            values = np.empty(slot.dims, dtype)
            _native.draw(self.native, seed, number, dtype.itemsize == 8, address(values))
            drawn.append(values)
        return drawn

    def forward(
        self, parameters: list[np.ndarray], inputs: list[np.ndarray], states: list[np.ndarray | None],
        extent: tuple[int, int], noise: Noise, record: bool,
    ) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
        """Runs the network on checked arrays, by slot; returns outputs, last states, and a tape if `record`."""
        steps, lanes = extent
        dtype = parameters[0].dtype if parameters else inputs[0].dtype
        outputs = [np.empty((steps, lanes, *slot.dims), dtype) for slot in self.outputs]
        ends = [np.empty((lanes, *slot.dims), dtype) for slot in self.states]
        tape = _native.run(
            self.native, dtype.itemsize == 8, extent, [address(a) for a in parameters], [address(a) for a in inputs],
            [address(a) for a in states], [address(a) for a in outputs], [address(a) for a in ends], tuple(noise), record,
        )
        return outputs, ends, tape

    def backward(
        self, tape: Any, extent: tuple[int, int], dtype: np.dtype, outputs: list[np.ndarray | None],
        ends: list[np.ndarray | None],
    ) -> tuple[list[np.ndarray | None], list[np.ndarray], list[np.ndarray]]:
        """Goes back through a tape; returns the gradients of parameters (None for constants), inputs and first states."""
        steps, lanes = extent
        parameters = [np.empty(slot.dims, dtype) if trained else None
                      for slot, trained in zip(self.parameters, self.trained)]
        inputs = [np.empty((steps, lanes, *slot.dims), dtype) for slot in self.inputs]
        states = [np.empty((lanes, *slot.dims), dtype) for slot in self.states]
        _native.backward(
            tape, extent, [address(a) for a in outputs], [address(a) for a in ends], [address(a) for a in parameters],
            [address(a) for a in inputs], [address(a) for a in states],
        )
        return parameters, inputs, states


class Described:
    """What a compiled network has, for classes that keep it as `_program`."""

    _program: Program

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Names and dimensions of the inputs, within a step and lane."""
        return dict(self._program.inputs)

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names and dimensions of the outputs, within a step and lane."""
        return dict(self._program.outputs)

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        """Names and dimensions of states and traces, within a lane."""
        return dict(self._program.states)
