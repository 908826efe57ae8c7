"""Networks as JAX functions: `bpmc.jax.function`.

    f = bpmc.jax.function("rule.bpm")
    y, state = f(f.parameters, x)                           # x: [steps, lanes, size]
    grads = jax.grad(lambda p: f(p, x)[0].sum())(f.parameters)

The kernels run on the CPU in a callback, under `jax.jit` too. The way back runs the sequence again, so that the function stays
pure; noise is that of `iteration`.
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError("bpmc.jax needs JAX: pip install jax") from error

from ._arrays import by_name, check_names
from ._program import Noise, Program

__all__ = ["Function", "function"]


class Function:
    """A network as a pure function of parameters, inputs and state.

    Attributes:
        parameters: the first values of the trained parameters, by path; a pytree for optimizers.
        constants: the other parameters, by path.
    """

    def __init__(self, spec: str | os.PathLike[str], set: Mapping[str, Any] | None = None, seed: int | None = None) -> None:
        self._program = program = Program(spec, set)
        self.seed = program.seed if seed is None else int(seed)
        drawn = program.first_parameters(self.seed, np.dtype(np.float64 if jax.config.jax_enable_x64 else np.float32))
        named = [(slot.name, trained, values) for slot, trained, values in zip(program.parameters, program.trained, drawn)]
        self.parameters = {name: jnp.asarray(values) for name, trained, values in named if trained}
        self.constants = {name: jnp.asarray(values) for name, trained, values in named if not trained}
        self._run = jax.custom_vjp(self._primal, nondiff_argnums=(0,))
        self._run.defvjp(self._forward, self._backward)

    def __call__(
        self, parameters: Mapping[str, Any], inputs: Any, state: Mapping[str, Any] | None = None, *, iteration: int = 0,
        learn: bool = False,
    ) -> tuple[Any, dict[str, Any]]:
        """Runs the network over sequences `[steps, lanes, size]`.

        Args:
            parameters: by path, as `parameters` of this object.
            inputs: by name; or an array where there is one input.
            state: the states that enter the first step, by name, `[lanes, ...]` [default: their first values].
            iteration: noise depends on it.
            learn: draw dropout masks.

        Returns:
            The outputs, an array where there is one and else by name, and the states that left the last step.
        """
        program = self._program
        check_names(parameters, [slot.name for slot in program.parameters], "parameter", program.name)
        given = by_name(inputs, [slot.name for slot in program.inputs], "input", program.name)
        if not given:
            raise ValueError(f"the network `{program.name}` needs an input that says how many steps and lanes there are")
        every = {**self.constants, **parameters}
        missing = [slot.name for slot in program.parameters if slot.name not in every]
        if missing:
            raise ValueError(f"the parameter `{missing[0]}` is missing")
        first = next(iter(given.values()))
        dtype = jnp.result_type(*every.values()) if every else first.dtype
        if dtype not in (jnp.float32, jnp.float64):
            raise TypeError(f"a network computes in float32 or float64, and not in {dtype}")
        if jnp.ndim(first) < 2:
            raise ValueError("an input has the axes steps, lanes, size")
        steps, lanes = first.shape[:2]

        def shaped(values: Any, dims: tuple[int, ...], what: str) -> Any:
            values = jnp.asarray(values, dtype)
            if values.ndim == len(dims) - 1 and dims[-1] == 1:
                values = values[..., None]
            if values.shape != dims:
                raise ValueError(f"{what} has the shape {list(values.shape)}, and {list(dims)} is needed")
            return values

        sequences = []
        for slot in program.inputs:
            dims = (steps, lanes, *slot.dims)
            if slot.name not in given and slot.name not in program.optional:
                raise ValueError(f"the input `{slot.name}` of the network `{program.name}` is missing")
            values = given.get(slot.name)
            sequences.append(jnp.zeros(dims, dtype) if values is None else shaped(values, dims, f"the input `{slot.name}`"))
        ordered = [jnp.asarray(every[slot.name], dtype) for slot in program.parameters]
        states = None
        if state is not None:
            check_names(state, [slot.name for slot in program.states], "state", program.name)
            # Where a state is given its computed first value is not taken.
            marks = {slot.name: jnp.zeros((lanes, *slot.dims), dtype) for slot in program.states
                     if slot.name.endswith(".starts")}
            state = {**marks, **state}
            missing = [slot.name for slot in program.states if slot.name not in state]
            if missing:
                raise ValueError(f"the state `{missing[0]}` is missing")
            states = [shaped(state[slot.name], (lanes, *slot.dims), f"the state `{slot.name}`") for slot in program.states]
        how = (steps, lanes, np.dtype(dtype).name, iteration, learn)
        outputs, ends = self._run(how, ordered, sequences, states)
        named = {slot.name: values for slot, values in zip(program.outputs, outputs)}
        after = {slot.name: values for slot, values in zip(program.states, ends)}
        return (outputs[0] if len(outputs) == 1 else named), after

    def _shapes(self, how: tuple) -> tuple[list, list]:
        steps, lanes, dtype, *_ = how
        program = self._program
        return ([jax.ShapeDtypeStruct((steps, lanes, *slot.dims), dtype) for slot in program.outputs],
                [jax.ShapeDtypeStruct((lanes, *slot.dims), dtype) for slot in program.states])

    def _noise(self, how: tuple) -> Noise:
        return Noise(self.seed, how[3], 0, how[4])

    def _arrays(self, values: list | None, dtype: str, count: int) -> list:
        if values is None:
            return [None] * count
        return [np.ascontiguousarray(value, dtype=dtype) for value in values]

    def _on_arrays(self, how: tuple, parameters: list, inputs: list, states: list | None) -> tuple[list, list]:
        dtype, count = how[2], len(self._program.states)
        outputs, ends, _ = self._program.forward(
            self._arrays(parameters, dtype, 0), self._arrays(inputs, dtype, 0), self._arrays(states, dtype, count), how[:2],
            self._noise(how), False)
        return outputs, ends

    def _back_on_arrays(self, how: tuple, parameters: list, inputs: list, states: list | None, seeds: tuple) -> tuple:
        dtype, program = how[2], self._program
        arrays = self._arrays(parameters, dtype, 0)
        count = len(program.states)
        _, _, tape = program.forward(
            arrays, self._arrays(inputs, dtype, 0), self._arrays(states, dtype, count), how[:2], self._noise(how), True)
        outputs, ends = seeds
        found = program.backward(
            tape, how[:2], np.dtype(dtype), self._arrays(outputs, dtype, 0), self._arrays(ends, dtype, 0))
        of_parameters = [np.zeros(slot.dims, dtype) if values is None else values
                         for slot, values in zip(program.parameters, found[0])]
        return of_parameters, found[1], (None if states is None else found[2])

    def _primal(self, how: tuple, parameters: list, inputs: list, states: list | None) -> tuple[list, list]:
        return jax.pure_callback(
            partial(self._on_arrays, how), self._shapes(how), parameters, inputs, states, vmap_method="sequential")

    def _forward(self, how: tuple, parameters: list, inputs: list, states: list | None) -> tuple:
        return self._primal(how, parameters, inputs, states), (parameters, inputs, states)

    def _backward(self, how: tuple, kept: tuple, seeds: tuple) -> tuple:
        shapes = jax.tree.map(lambda value: jax.ShapeDtypeStruct(value.shape, value.dtype), kept)
        return jax.pure_callback(partial(self._back_on_arrays, how), shapes, *kept, seeds, vmap_method="sequential")


def function(
    spec: str | os.PathLike[str], set: Mapping[str, Any] | None = None, seed: int | None = None,
) -> Function:
    """A network as a JAX function with a derivative of its own.

    Args:
        spec: the path of a spec, or its text.
        set: overrides of dims, values and settings by path, as `{"N": 64}`.
        seed: of the first parameters and of noise [default: `train.seed` of the spec, or 0].
    """
    return Function(spec, set, seed)
