"""Networks as PyTorch modules: `bpmc.torch.Layer`.

    layer = bpmc.torch.Layer("rule.bpm")
    y, state = layer(x)                     # x: [steps, lanes, size]
    y.square().mean().backward()            # gradients of parameters, inputs and first states

The kernels run on the CPU and carry each lane through all steps; the way back is that of bpmc's own training.
"""
from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError("bpmc.torch needs PyTorch: pip install torch") from error

from ._arrays import by_name, check_names
from ._errors import FreedError
from ._program import PROGRAMS, Described, Noise, Program

__all__ = ["Layer"]

Tensor = torch.Tensor
Values = Union[Tensor, Mapping[str, Tensor]]


class _Holder:
    """A tape that lives as long as the memory of a tensor: the tensor's one number finds it."""

    def __init__(self, tape: Any) -> None:
        self.tape = tape
        self.number = np.array([next(_NUMBERS)], np.int64)
        _TAPES[int(self.number[0])] = self

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.number.__array_interface__


_TAPES: weakref.WeakValueDictionary[int, _Holder] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()


def _program(number: int) -> Program:
    program = PROGRAMS.get(number)
    if program is None:
        raise FreedError("the layer of this operator was freed")
    return program


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _given(tensors: Sequence[Tensor]) -> list[np.ndarray | None]:
    """Arrays of tensors; none for one without elements."""
    return [_array(tensor) if tensor.numel() else None for tensor in tensors]


@torch.library.custom_op("bpmc::forward", mutates_args=())
def _forward(
    program: int, parameters: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor], steps: int, lanes: int,
    seed: int, iteration: int, learn: bool, record: bool,
) -> list[Tensor]:
    found = _program(program)
    noise = Noise(seed, iteration, 0, learn)
    outputs, ends, tape = found.forward(
        [_array(p) for p in parameters], [_array(x) for x in inputs], _given(states) or [None] * len(found.states),
        (steps, lanes), noise, record)
    handle = np.asarray(_Holder(tape)) if record else np.zeros(1, np.int64)
    return [torch.from_numpy(values) for values in [*outputs, *ends, handle]]


@_forward.register_fake
def _(program, parameters, inputs, states, steps, lanes, seed, iteration, learn, record):
    found = _program(program)
    like = [*parameters, *inputs][0]
    rows = [like.new_empty((steps, lanes, *slot.dims)) for slot in found.outputs]
    ends = [like.new_empty((lanes, *slot.dims)) for slot in found.states]
    return [*rows, *ends, torch.empty(1, dtype=torch.int64)]


@torch.library.custom_op("bpmc::backward", mutates_args=())
def _backward(program: int, handle: Tensor, gradients: Sequence[Tensor], steps: int, lanes: int, double: bool) -> list[Tensor]:
    found = _program(program)
    holder = _TAPES.get(int(handle.item()))
    if holder is None:
        raise FreedError("the tape of this backward pass was freed")
    seeds = _given(gradients)
    count = len(found.outputs)
    dtype = np.dtype(np.float64 if double else np.float32)
    parameters, inputs, states = found.backward(holder.tape, (steps, lanes), dtype, seeds[:count], seeds[count:])
    return [torch.from_numpy(values) for values in [*parameters, *inputs, *states] if values is not None]


@_backward.register_fake
def _(program, handle, gradients, steps, lanes, double):
    found = _program(program)
    dtype = torch.float64 if double else torch.float32
    trained = [slot.dims for slot, moves in zip(found.parameters, found.trained) if moves]
    rows = [(steps, lanes, *slot.dims) for slot in found.inputs]
    firsts = [(lanes, *slot.dims) for slot in found.states]
    return [torch.empty(dims, dtype=dtype) for dims in [*trained, *rows, *firsts]]


def _setup_context(ctx, inputs, output):
    program, parameters, given, states, steps, lanes, _, _, _, record = inputs
    ctx.extent = (program, steps, lanes, record)
    ctx.counts = (len(parameters), len(given), len(states))
    ctx.missing = [k for k, state in enumerate(states) if state.numel() == 0]
    ctx.double = [*parameters, *given][0].dtype == torch.float64
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[-1])


def _go_back(ctx, gradients):
    program, steps, lanes, record = ctx.extent
    if not record:
        raise FreedError("this run was not recorded; call the layer where gradients are enabled")
    (handle,) = ctx.saved_tensors
    found = _program(program)
    dtype = torch.float64 if ctx.double else torch.float32
    none = torch.empty(0, dtype=dtype)
    seeds = [none if gradient is None else gradient for gradient in gradients[:-1]]
    results = iter(torch.ops.bpmc.backward(program, handle, seeds, steps, lanes, ctx.double))
    parameters = [next(results) if trained else None for trained in found.trained]
    inputs = [next(results) for _ in found.inputs]
    firsts = [next(results) for _ in found.states]
    states = [none if k in ctx.missing else gradient for k, gradient in enumerate(firsts)][:ctx.counts[2]]
    return (None, parameters, inputs, states, None, None, None, None, None, None)


_forward.register_autograd(_go_back, setup_context=_setup_context)


class _Group(torch.nn.Module):
    """Parameters below a common part of their paths."""


class Layer(Described, torch.nn.Module):
    """A network compiled from a spec, as a module.

    Args:
        spec: the path of a spec, or its text.
        set: overrides of dims, values and settings by path, as `{"N": 64}`.
        seed: of the first parameters and of noise [default: `train.seed` of the spec, or 0].
        batch_first: sequences are `[lanes, steps, size]` instead of `[steps, lanes, size]`.
        dtype: `torch.float32`, or `torch.float64` for checks, which is slower.

    Trained parameters are `torch.nn.Parameter`s and constants are buffers; `state_dict` names them by their path in the spec below
    `weights`, as `weights.rec.alpha`, and `layer.parameter("rec.alpha")` finds one. Factors `grad_scale` of the spec are
    not applied: give such parameters a group of the optimizer. Tensors on other devices are brought to the CPU and back.
    """

    def __init__(
        self, spec: str | os.PathLike[str], set: Mapping[str, Any] | None = None, seed: int | None = None, *,
        batch_first: bool = False, dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"a layer computes in torch.float32 or torch.float64, and not in {dtype}")
        self._program = program = Program(spec, set)
        self.seed = program.seed if seed is None else int(seed)
        self.batch_first = batch_first
        self.iteration = 0
        self.weights = _Group()
        kind = np.dtype(np.float64 if dtype == torch.float64 else np.float32)
        for slot, trained, values in zip(program.parameters, program.trained, program.first_parameters(self.seed, kind)):
            group, name = self._place(slot.name)
            tensor = torch.from_numpy(values)
            if trained:
                group.register_parameter(name, torch.nn.Parameter(tensor))
            else:
                group.register_buffer(name, tensor)

    def _place(self, path: str) -> tuple[torch.nn.Module, str]:
        *above, name = path.split(".")
        group: torch.nn.Module = self.weights
        for part in above:
            if part not in group._modules:
                group.add_module(part, _Group())
            group = group._modules[part]
        return group, name

    def parameter(self, path: str) -> Tensor:
        """The parameter or constant with this path in the spec."""
        check_names([path], [slot.name for slot in self._program.parameters], "parameter", self._program.name)
        group, name = self._place(path)
        return getattr(group, name)

    def extra_repr(self) -> str:
        program = self._program
        given = ", ".join(f"{slot.name} {list(slot.dims)}" for slot in program.inputs)
        gives = ", ".join(f"{slot.name} {list(slot.dims)}" for slot in program.outputs)
        return f"{program.name}: {given} -> {gives}"

    def _tensor(self, value: Any, dims: Sequence[Any], dtype: torch.dtype, what: str) -> Tensor:
        if not isinstance(value, Tensor):
            raise TypeError(f"{what} is a {type(value).__name__}, and a tensor is needed")
        if value.dtype != dtype:
            raise TypeError(f"{what} has the type {value.dtype} and the layer {dtype}; convert one of them, as layer.double()")
        if value.dim() == len(dims) - 1 and dims[-1] == 1:
            value = value.unsqueeze(-1)
        if tuple(value.shape) != tuple(dims):
            raise ValueError(f"{what} has the shape {list(value.shape)}, and {list(dims)} is needed")
        return value.cpu()

    def forward(self, inputs: Values, state: Mapping[str, Tensor] | None = None) -> tuple[Any, dict[str, Tensor]]:
        """Runs the network over sequences.

        Args:
            inputs: by name, `[steps, lanes, size]`; or a tensor where there is one input.
            state: the states that enter the first step, by name, `[lanes, ...]`; those that are missing are at their first
                values. What an earlier call returned goes on from there; `detach` it to end the gradient.

        Returns:
            The outputs, a tensor where there is one and else by name, and the states that left the last step.
        """
        program = self._program
        parameters = [self.parameter(slot.name) for slot in program.parameters]
        given = by_name(inputs, [slot.name for slot in program.inputs], "input", program.name)
        if not given:
            raise ValueError(f"the network `{program.name}` needs an input that says how many steps and lanes there are")
        first = next(iter(given.values()))
        if not isinstance(first, Tensor) or first.dim() < 2:
            raise ValueError("an input is a tensor with the axes steps, lanes, size")
        device = first.device
        dtype = parameters[0].dtype if parameters else first.dtype
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"a layer computes in torch.float32 or torch.float64, and not in {dtype}")
        if self.batch_first:
            given = {name: value.transpose(0, 1) if isinstance(value, Tensor) else value for name, value in given.items()}
            first = next(iter(given.values()))
        steps, lanes = first.shape[:2]
        if steps < 1 or lanes < 1:
            raise ValueError(f"there are {steps} steps and {lanes} lanes, and at least one of each is needed")
        sequences = []
        for slot in program.inputs:
            dims = (steps, lanes, *slot.dims)
            if slot.name in given:
                sequences.append(self._tensor(given[slot.name], dims, dtype, f"the input `{slot.name}`"))
            elif slot.name in program.optional:
                sequences.append(torch.zeros(dims, dtype=dtype))
            else:
                raise ValueError(f"the input `{slot.name}` of the network `{program.name}` is missing")
        states = self._states(state, lanes, dtype)
        every = [*parameters, *sequences, *states]
        record = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in every)
        if program.noises and self.training:
            # Other noise in each iteration.
            self.iteration += 1
        results = torch.ops.bpmc.forward(
            program.number, [p.cpu() for p in parameters], sequences, states, steps, lanes, self.seed, self.iteration,
            self.training, record)
        outputs = {slot.name: self._out(values, device) for slot, values in zip(program.outputs, results)}
        ends = results[len(program.outputs):-1]
        after = {slot.name: values.to(device) for slot, values in zip(program.states, ends)}
        return (next(iter(outputs.values())) if len(outputs) == 1 else outputs), after

    def _out(self, values: Tensor, device: torch.device) -> Tensor:
        values = values.to(device)
        return values.transpose(0, 1) if self.batch_first else values

    def _states(self, state: Mapping[str, Tensor] | None, lanes: int, dtype: torch.dtype) -> list[Tensor]:
        program = self._program
        if state is None:
            return []
        if not isinstance(state, Mapping):
            raise TypeError(f"a state is a dictionary of tensors by name, and not {type(state).__name__}")
        check_names(state, [slot.name for slot in program.states], "state", program.name)
        return [self._tensor(state[slot.name], (lanes, *slot.dims), dtype, f"the state `{slot.name}`")
                if slot.name in state else torch.empty(0, dtype=dtype) for slot in program.states]
