"""Environments that are Python objects, for `task process`: served by a thread of this process."""
from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import re
import shlex
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

RELAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_relay.py")


class _Plain:
    """An object with `reset` and `step` alone, as an environment of Gymnasium."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def reset(self, seed: int) -> tuple[Any, dict]:
        try:
            given = self.world.reset(seed=seed)
        except TypeError as error:
            if "seed" not in str(error):
                raise
            given = self.world.reset()
        return given if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict) else (given, {})

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        given = self.world.step(action)
        if not isinstance(given, tuple) or len(given) not in (3, 4, 5):
            raise TypeError("`step` returns (observation, reward, terminated, truncated, info), or (observation, reward, terminated)")
        value, reward, terminated, *rest = given
        return value, float(reward), bool(terminated), bool(rest[0]) if len(rest) == 2 else False, {}


def _lanes(env: Any) -> Callable[[int], list[Any]]:
    """A function that gives so many environments; the same ones each time."""
    if isinstance(env, (list, tuple)):
        ready = list(env)
    elif isinstance(env, type):
        ready = []
    elif hasattr(env, "num_envs"):
        # Each part begins its episodes with their own seeds.
        ready = list(env.envs)
    elif hasattr(env, "step") and hasattr(env, "reset"):
        ready = [env]
    elif callable(env):
        ready = []
    else:
        raise TypeError(f"an environment has `reset` and `step`, or is a function that makes one; this is a {type(env).__name__}")
    wrapped: list[Any] = []

    def lanes(count: int) -> list[Any]:
        while len(ready) < count:
            if isinstance(env, type) or (callable(env) and not hasattr(env, "step")):
                ready.append(env())
            elif isinstance(env, (list, tuple)) or hasattr(env, "num_envs"):
                raise ValueError(f"there are {len(ready)} environments for {count} lanes: set `train.batch` to {len(ready)}")
            else:
                ready.append(copy.deepcopy(ready[0]))
        for world in ready[len(wrapped):]:
            wrapped.append(world if hasattr(world, "action_space") and hasattr(world, "observation_space") else _Plain(world))
        return wrapped[:count]

    return lanes


def _is_vector(env: Any) -> bool:
    """True for a vector environment that steps all its lanes itself: it has no parts, or a wrapper changes what they give."""
    bare = getattr(env, "unwrapped", env) is env and isinstance(getattr(env, "envs", None), (list, tuple))
    return hasattr(env, "num_envs") and not bare


def _described(lanes: list[Any]) -> tuple[list, Any, Callable[[Any], Any]]:
    """Inputs, what the first line says of actions, and what makes an action of its numbers."""
    first = lanes[0]
    if not isinstance(first, _Plain):
        from . import gym

        return gym.inputs_of(first.observation_space), *gym.actions_of(first.action_space)
    actions = getattr(first.world, "actions", None)
    if not isinstance(actions, int):
        raise TypeError("an environment without `action_space` says in `actions` how many actions there are")
    value, _ = first.reset(seed=0)
    if isinstance(value, dict):
        sizes = [(name, int(np.size(part))) for name, part in value.items()]
        inputs = [(name, size, lambda value, name=name: np.ravel(value[name])) for name, size in sizes]
    else:
        inputs = [("obs", int(np.size(value)), np.ravel)]
    return inputs, actions, lambda rows: rows[:, 0].tolist()


class _Shared:
    """The world of a connection. It takes its environments with its first step: bpmc also connects to ask what they are."""

    def __init__(self, served: Served) -> None:
        self.served, self.count = served, 0
        self.world: Any = None
        self.mine: range | None = None

    def describe(self, count: int) -> _Shared:
        with self.served.turn:
            self.count, self.world = count, self.served._world(count)
        self.inputs, self.kind = self.world.inputs, self.world.kind
        return self

    def exchange(self, *asked: Any) -> Any:
        if self.mine is None:
            with self.served.turn:
                # A run that has just ended is letting go.
                self.served.turn.wait_for(lambda: not self.served.busy, 0.2)
                first = max((one.stop for one in self.served.busy), default=0)
                self.world = self.served._world(self.count, first)
                self.mine = range(first, first + self.count)
                self.served.busy.append(self.mine)
        return self.world.exchange(*asked)

    def release(self) -> None:
        with self.served.turn:
            if self.mine is not None:
                self.served.busy.remove(self.mine)
                self.served.turn.notify_all()


class Served:
    """A server of an environment on a socket, for as long as the `with` block runs.

    Attributes:
        command: the command of `task process` that reaches it.
        error: the exception that the environment raised.
    """

    def __init__(self, env: Any, path: str | None = None) -> None:
        self._env = env
        self._lanes = None if _is_vector(env) else _lanes(env)
        # The environments that connections use, each its own.
        self.busy: list[range] = []
        self.turn = threading.Condition()
        self.error: BaseException | None = None
        self._path = path or os.path.join(tempfile.mkdtemp(prefix="bpmc-"), "env")
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        world = self._world(1)
        description = {"version": 1, "inputs": {name: size for name, size, _ in world.inputs}, "actions": world.kind}
        coded = base64.urlsafe_b64encode(json.dumps(description).encode()).decode()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self._path)
        self._socket.listen()
        self.command = shlex.join([sys.executable, "-I", "-S", RELAY, self._path, coded])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _world(self, count: int, first: int = 0) -> Any:
        """The world of so many lanes, with the environments from a first one on."""
        from .gym import Lanes, Vector, actions_of, inputs_of

        if self._lanes is None:
            if first + count > self._env.num_envs:
                raise ValueError(f"there are {self._env.num_envs} environments in one object for {first + count} lanes: set "
                                 f"`train.batch` to {self._env.num_envs} and `task.processes` to 1")
            return Vector(self._env, inputs_of(self._env.single_observation_space), *actions_of(self._env.single_action_space))
        lanes = self._lanes(first + count)[first:]
        return Lanes(lanes, *_described(lanes))

    def _serve(self, connection: socket.socket) -> None:
        from .gym import serve

        world = _Shared(self)
        # The error is kept before the connection closes, which ends the run.
        with connection:
            try:
                serve(connection.fileno(), connection.fileno(), world.describe)
            except (BrokenPipeError, ConnectionResetError):
                pass
            except BaseException as error:
                self.error = error
            finally:
                world.release()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: Any) -> None:
        # A blocked `accept` keeps a closed socket: it is woken first.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
            os.rmdir(os.path.dirname(self._path))


def socket_of(overrides: list[str]) -> str | None:
    """The socket that the overrides of a run name, if its environment was a Python object."""
    for word in overrides:
        found = re.search(r"_relay\.py (\S+) \S+\"$", word)
        if word.startswith("task.command=") and found:
            return found[1]
    return None
