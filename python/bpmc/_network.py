"""Networks on NumPy arrays."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from . import _native
from ._arrays import Message, by_name, check_names, dtype_of, shaped
from ._errors import FreedError
from ._program import APART, Described, Noise, Program

__all__ = ["Gradients", "Network", "Parameters", "State", "Tape"]


class State(dict):
    """States and traces by name, `[lanes, ...]`, with the number of steps that led to them, which noise goes on from."""

    def __init__(self, values: Mapping[str, Any] = {}, steps: int = 0) -> None:
        super().__init__(values)
        self.steps = steps

    def copy(self) -> State:
        """The same in arrays of their own."""
        return State({name: np.array(values) for name, values in self.items()}, self.steps)


class Parameters(MutableMapping):
    """Parameters by path. An array may be changed in place; an assignment copies values into it."""

    def __init__(self, program: Program, values: list[np.ndarray]) -> None:
        self._program = program
        self._values = {slot.name: array for slot, array in zip(program.parameters, values)}

    def __getitem__(self, path: str) -> np.ndarray:
        check_names([path], self._values, "parameter", self._program.name)
        return self._values[path]

    def __setitem__(self, path: str, values: Any) -> None:
        own = self[path]
        own[...] = shaped(values, own.shape, own.dtype, f"the parameter `{path}`", "as the network has it")

    def __delitem__(self, path: str) -> None:
        raise TypeError(f"the parameter `{path}` is a part of the network and cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        trained = self._program.trained
        rows = [f"{path}: {list(values.shape)}{'' if moves else ', constant'}"
                for (path, values), moves in zip(self._values.items(), trained)]
        return f"Parameters({'; '.join(rows)})"

    @property
    def trained(self) -> list[str]:
        """The paths of the parameters that training changes."""
        return [path for path, moves in zip(self._values, self._program.trained) if moves]


class Gradients:
    """The gradients of a loss.

    Attributes:
        parameters: by path, those that are trained.
        inputs: by name, `[steps, lanes, ...]`.
        state: of the states that entered the first step, by name, `[lanes, ...]`.
    """

    def __init__(self, parameters: dict[str, np.ndarray], inputs: dict[str, np.ndarray], state: dict[str, np.ndarray]) -> None:
        self.parameters, self.inputs, self.state = parameters, inputs, state

    def __repr__(self) -> str:
        return f"Gradients(parameters={list(self.parameters)}, inputs={list(self.inputs)}, state={list(self.state)})"


class Tape:
    """A recorded run: what the network gave, and the way back through it.

    Attributes:
        outputs: as `Network.run` returns them.
        state: the states that left the last step.
    """

    def __init__(self, network: Network, native: Any, extent: tuple[int, int], outputs: Any, state: State) -> None:
        self._network, self._native, self._extent = network, native, extent
        self.outputs, self.state = outputs, state

    def backward(self, outputs: Any = None, state: Mapping[str, Any] | None = None) -> Gradients:
        """Gradients of a loss from its derivatives by the outputs, and by the states that left the last step.

        Args:
            outputs: by name, `[steps, lanes, ...]`, those that are missing are 0; or an array where there is one output.
            state: by name, `[lanes, ...]`; those that are missing are 0.

        The tape stays: several losses may go back through it.
        """
        if self._native is None:
            raise FreedError("the tape was freed: record the run again")
        network, program = self._network, self._network._program
        steps, lanes = self._extent
        given = {} if outputs is None else by_name(
            outputs, [slot.name for slot in program.outputs], "output", program.name)
        seeds = [None if given.get(slot.name) is None else shaped(
            given[slot.name], (steps, lanes, *slot.dims), network.dtype, f"the derivative by the output `{slot.name}`",
            "steps, lanes, size") for slot in program.outputs]
        ends = network._states(state, lanes, "the derivative by the state")
        parameters, inputs, states = program.backward(self._native, self._extent, network.dtype, seeds, ends)
        return Gradients(
            {slot.name: values for slot, values in zip(program.parameters, parameters) if values is not None},
            {slot.name: values for slot, values in zip(program.inputs, inputs)},
            {slot.name: values for slot, values in zip(program.states, states)},
        )

    def free(self) -> None:
        """Gives back the memory; `outputs` and `state` stay."""
        self._native = None

    def __enter__(self) -> Tape:
        return self

    def __exit__(self, *_: Any) -> None:
        self.free()


class Network(Described):
    """A network compiled from a spec, with its parameters.

    Args:
        spec: the path of a spec, or its text.
        set: overrides of dims, values and settings by path, as `{"N": 64}`.
        seed: of the first parameters and of noise [default: `train.seed` of the spec, or 0].
        dtype: `float32`, the precision of training, or `float64` for checks, which is slower.

    Inputs and outputs are `[steps, lanes, size]`. Lanes are independent of each other. Contiguous arrays of the network's dtype
    are read where they lie. The interpreter's lock is free while kernels run.

    >>> net = bpmc.Network("agent.bpm", set={"N": 64}, seed=0)
    >>> out, state = net.run(xs)
    >>> out, state = net.step(x, state)
    """

    def __init__(
        self, spec: str | os.PathLike[str], set: Mapping[str, Any] | None = None, seed: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        self.dtype = dtype_of(dtype)
        self._program = program = Program(spec, set)
        self.seed = program.seed if seed is None else int(seed)
        self.parameters = Parameters(program, program.first_parameters(self.seed, self.dtype))

    @property
    def name(self) -> str:
        """The name of the network."""
        return self._program.name

    def __repr__(self) -> str:
        program = self._program

        def shown(slots: list) -> str:
            return ", ".join(f"{slot.name} {list(slot.dims)}" for slot in slots) or "none"

        count = sum(int(values.size) for values, trained in zip(self.parameters.values(), program.trained) if trained)
        return (f"Network {program.name}: {count} trained numbers\n  inputs   {shown(program.inputs)}\n"
                f"  outputs  {shown(program.outputs)}\n  states   {shown(program.states)}")

    def _repr_html_(self) -> str:
        return _native.equations(self._program.native, "")

    def run(
        self, inputs: Any = None, state: Mapping[str, Any] | None = None, *, steps: int | None = None,
        lanes: int | None = None,
    ) -> tuple[Any, State]:
        """Runs the network over sequences.

        Args:
            inputs: by name, `[steps, lanes, size]`; or an array where there is one input.
            state: the states that enter the first step, by name; those that are missing are at their first values.
            steps, lanes: needed only where the network has no inputs.

        Returns:
            The outputs, an array where there is one and else by name, and the state to go on from.
        """
        outputs, after, _, _ = self._forward(inputs, state, (steps, lanes), APART, record=False)
        return outputs, after

    def step(self, inputs: Any = None, state: Mapping[str, Any] | None = None, *, lanes: int | None = None) -> tuple[Any, State]:
        """Runs one step: as `run`, without the axis of steps."""
        names = [slot.name for slot in self._program.inputs]
        given = {} if inputs is None else by_name(inputs, names, "input", self.name)
        one = {name: np.asarray(values)[np.newaxis] for name, values in given.items()}
        outputs, state = self.run(one, state, steps=1, lanes=lanes)
        if isinstance(outputs, dict):
            return {name: values[0] for name, values in outputs.items()}, state
        return outputs[0], state

    def record(
        self, inputs: Any = None, state: Mapping[str, Any] | None = None, *, steps: int | None = None,
        lanes: int | None = None, iteration: int = 0,
    ) -> Tape:
        """As `run`, and stores what the way back needs; dropout masks are drawn. Noise depends on `iteration`."""
        outputs, after, native, extent = self._forward(inputs, state, (steps, lanes), iteration, record=True)
        return Tape(self, native, extent, outputs, after)

    def _states(self, state: Mapping[str, Any] | None, lanes: int, what: str) -> list[np.ndarray | None]:
        program = self._program
        if state is None:
            return [None] * len(program.states)
        if not isinstance(state, Mapping):
            raise TypeError(f"a state is a dictionary of arrays by name, and not {type(state).__name__}")
        check_names(state, [slot.name for slot in program.states], "state", program.name)
        return [None if state.get(slot.name) is None else shaped(
            state[slot.name], (lanes, *slot.dims), self.dtype, f"{what} `{slot.name}`", "lanes, then the dimensions")
            for slot in program.states]

    def _inputs(self, inputs: Any, extent: tuple[int | None, int | None]) -> tuple[list[np.ndarray], tuple[int, int]]:
        program = self._program
        names = [slot.name for slot in program.inputs]
        given = {} if inputs is None else by_name(inputs, names, "input", program.name)
        missing = [name for name in names if name not in given and name not in program.optional]
        if missing:
            raise KeyError(Message(f"the input `{missing[0]}` of the network `{program.name}` is missing"))
        steps, lanes = extent
        for name in given:
            shape = np.shape(given[name])
            if len(shape) < 2:
                raise ValueError(f"the input `{name}` has the shape {list(shape)}, and the axes steps, lanes, size are needed")
            steps, lanes = shape[:2]
            break
        if steps is None or lanes is None:
            raise TypeError(f"the network `{program.name}` has no inputs: say how many `steps` and `lanes` there are")
        if steps < 1 or lanes < 1:
            raise ValueError(f"there are {steps} steps and {lanes} lanes, and at least one of each is needed")
        arrays = []
        for slot in program.inputs:
            dims = (steps, lanes, *slot.dims)
            if slot.name in given:
                arrays.append(shaped(given[slot.name], dims, self.dtype, f"the input `{slot.name}`", "steps, lanes, size"))
            else:
                arrays.append(np.zeros(dims, self.dtype))
        return arrays, (steps, lanes)

    def _forward(
        self, inputs: Any, state: Mapping[str, Any] | None, extent: tuple[int | None, int | None], iteration: int, record: bool,
    ) -> tuple[Any, State, Any, tuple[int, int]]:
        program = self._program
        arrays, found = self._inputs(inputs, extent)
        steps, lanes = found
        states = self._states(state, lanes, "the state")
        done = getattr(state, "steps", 0)
        noise = Noise(self.seed, iteration, done, record)
        parameters = list(self.parameters.values())
        outputs, ends, native = program.forward(parameters, arrays, states, found, noise, record)
        after = State({slot.name: values for slot, values in zip(program.states, ends)}, done + steps)
        named = {slot.name: values for slot, values in zip(program.outputs, outputs)}
        only = outputs[0] if len(outputs) == 1 else named
        return only, after, native, found
