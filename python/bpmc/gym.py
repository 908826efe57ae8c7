"""Gymnasium environments for bpmc: speaks the protocol of docs/environments.md. Needs numpy and gymnasium.

    bpmc env CartPole-v1                       prints a spec to begin with
    command = "bpmc env CartPole-v1 --serve"   in a spec; this file may also be run by itself:
    command = "python3 -m bpmc.gym CartPole-v1"
"""
import argparse, array, json, os, re, select, struct, sys, time

try:
    import numpy as np
    import gymnasium
    from gymnasium import spaces, vector
    MISSING = None
except ImportError as error:
    MISSING = f"{error}; install it with: {sys.executable} -m pip install gymnasium numpy"


def parsed():
    parser = argparse.ArgumentParser(prog="bpmc env")
    parser.add_argument("id", help="the environment, as Gymnasium names it; MODULE:NAME imports a module first")
    parser.add_argument("--keep", help="show only these elements of each observation, as 0,2")
    parser.add_argument("--make", action="append", default=[], metavar="KEY=VALUE",
                        help="an argument of the environment, its value in JSON or a word")
    parser.add_argument("--vector", choices=["sync", "async", "vector_entry_point"],
                        help="make one vector environment of all lanes, as gymnasium.make_vec does")
    return parser.parse_args()


def argument(text):
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def name_of(text):
    name = re.sub(r"\W", "_", str(text), flags=re.ASCII)
    return name if re.match(r"[A-Za-z_]", name) else f"obs_{name}"


def whole(value):
    """What is flat, or made flat with the other parts of an observation."""
    return value


def shown(space, name="obs"):
    """The inputs that a space gives: name, size, and a function from an observation to numbers."""
    if isinstance(space, spaces.Dict):
        return inside(space.spaces.items(), name)
    if isinstance(space, spaces.Tuple):
        return inside(enumerate(space.spaces), name)
    if isinstance(space, spaces.Discrete):
        eye = np.eye(space.n, dtype=np.float32)
        return [(name, int(space.n), lambda value, start=int(space.start): eye[int(value) - start])]
    if isinstance(space, spaces.MultiDiscrete):
        eyes = [np.eye(n, dtype=np.float32) for n in space.nvec.ravel()]
        return [(name, int(space.nvec.sum()),
                 lambda value: np.concatenate([eye[k] for eye, k in zip(eyes, np.ravel(value))]))]
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        size = int(np.prod(space.shape))
        return [(name, max(size, 1), whole)]
    sys.exit(f"observations of {type(space).__name__} cannot be shown; wrap the environment in one that gives a Box")


def inside(items, name):
    parts = []
    for key, inner in items:
        for part, size, read in shown(inner, f"{name}_{name_of(key).removeprefix('obs_')}"):
            parts.append((part, size, lambda value, key=key, read=read: read(value[key])))
    return parts


def inputs_of(space):
    if isinstance(space, spaces.Dict):
        parts = []
        for key, inner in space.spaces.items():
            for part, size, read in shown(inner, name_of(key)):
                parts.append((part, size, lambda value, key=key, read=read: read(value[key])))
        return parts
    return shown(space)


def actions_of(space):
    """What the first line says of actions, and a function that makes the actions of lanes of their numbers, a row a lane."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        if start == 0:
            return int(space.n), lambda rows: rows[:, 0].tolist()
        return int(space.n), lambda rows: [number + start for number in rows[:, 0].tolist()]
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        start = getattr(space, "start", 0)
        heads = [2] * int(np.prod(space.shape)) if isinstance(space, spaces.MultiBinary) else [int(n) for n in space.nvec.ravel()]
        return heads, lambda rows: list(rows.reshape(-1, *space.shape).astype(space.dtype) + start)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        # From -1 to 1 where the range has two ends; what lies outside is clipped.
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        ends = np.isfinite(low) & np.isfinite(high)
        bottom, top = np.where(ends, low, -1.0), np.where(ends, high, 1.0)
        centre, half = bottom / 2 + top / 2, top / 2 - bottom / 2
        return {"continuous": int(np.prod(space.shape))}, lambda rows: list(np.clip(
            centre + half * rows.reshape(-1, *space.shape), low, high).astype(space.dtype))
    if isinstance(space, (spaces.Dict, spaces.Tuple)) and len(space.spaces) > 0:
        return parts_of(space)
    sys.exit(f"actions of {type(space).__name__} cannot be taken; wrap the environment in one with a Discrete or a Box")


def parts_of(space):
    """The actions of a Dict or a Tuple: those of its parts, one after another."""
    keys = list(space.spaces) if isinstance(space, spaces.Dict) else range(len(space.spaces))
    kinds, makers = zip(*(actions_of(space[key]) for key in keys))
    if any(isinstance(kind, dict) for kind in kinds):
        if not all(isinstance(kind, dict) for kind in kinds):
            sys.exit(f"actions that are partly choices and partly real numbers cannot be taken, as in {space}; "
                     "wrap the environment in one with actions of one kind")
        widths = [kind["continuous"] for kind in kinds]
        every = {"continuous": sum(widths)}
    else:
        heads = [kind if isinstance(kind, list) else [kind] for kind in kinds]
        widths, every = [len(some) for some in heads], sum(heads, [])
    ends = np.cumsum(widths)

    def make(rows):
        columns = zip(*(maker(rows[:, end - width:end]) for maker, end, width in zip(makers, ends, widths)))
        return [dict(zip(keys, parts)) for parts in columns] if isinstance(space, spaces.Dict) else list(columns)

    return every, make


class Lanes:
    """Environments, one a lane."""

    def __init__(self, lanes, inputs, kind, actions):
        self.lanes, self.inputs, self.kind, self.actions = lanes, inputs, kind, actions

    def exchange(self, first, orders, seeds, rows, values):
        """Carries out the orders of the lanes from a first one on, and puts their observations among the values of all lanes."""
        rewards, ended = [0.0] * len(orders), bytearray(len(orders))
        for k, action in enumerate(self.actions(rows)):
            if orders[k] == 1:
                values[first + k], rewards[k], terminated, truncated, _ = self.lanes[first + k].step(action)
                if terminated or truncated:
                    ended[k] = 1 if terminated else 2
            elif orders[k] == 2:
                values[first + k], _ = self.lanes[first + k].reset(seed=seeds[k])
        return rewards, ended


class Vector:
    """A vector environment of Gymnasium: one object steps all lanes at once.

    With autoreset_mode DISABLED each episode begins with its own seed. With NEXT_STEP a lane whose episode is over begins the next one
    in the step after it, from the generator of the environment. With SAME_STEP there is no such step, so it is refused.
    """

    def __init__(self, world, inputs, kind, actions):
        self.world, self.inputs, self.kind, self.actions = world, inputs, kind, actions
        mode = world.metadata.get("autoreset_mode", "NextStep")
        self.mode = getattr(mode, "value", mode)
        if self.mode not in ("NextStep", "Disabled"):
            sys.exit(f"a vector environment with autoreset_mode {self.mode} shows no last observation of an episode in a step of its own; "
                     "make it with AutoresetMode.DISABLED or NEXT_STEP")
        self.each = isinstance(getattr(world, "unwrapped", world), (vector.SyncVectorEnv, vector.AsyncVectorEnv))
        self.over = np.zeros(world.num_envs, bool)
        # Lanes beyond those of bpmc act like the first.
        self.spare = world.num_envs

    def reset(self, which, seeds):
        """Begins episodes in some lanes, or in all."""
        self.over[which] = False
        seeds = [int(seed) for seed in seeds] if self.each else int(seeds[0])
        options = None if which.all() else {"reset_mask": which}
        return self.world.reset(seed=seeds, options=options)[0]

    def exchange(self, first, orders, seeds, rows, values):
        n = len(orders)
        if first > 0:
            sys.exit(f"a vector environment steps all its lanes at once, and was asked for those from {first} on")
        rewards, ended = [0.0] * n, bytearray(n)
        codes = np.full(self.spare, orders[0], np.uint8)
        codes[:n] = np.frombuffer(orders, np.uint8)
        seeds = list(seeds) + [0] * (self.spare - n)
        acts, resets, shown = codes == 1, codes == 2, None
        if self.mode == "NextStep" and resets[:n].all():
            shown = self.reset(np.ones(self.spare, bool), seeds)
        elif self.mode == "NextStep" and (resets & ~self.over).any():
            sys.exit("a vector environment with autoreset_mode NEXT_STEP begins no episode in a lane whose episode is not over")
        elif self.mode == "NextStep" or acts.any():
            if self.mode == "Disabled" and self.over.any():
                # All lanes step, so those that wait are somewhere in an episode that nobody sees.
                self.reset(self.over.copy(), [0] * self.spare)
            actions = self.actions(rows)
            actions += actions[:1] * (self.spare - n)
            space = self.world.single_action_space
            batch = vector.utils.concatenate(space, actions, vector.utils.create_empty_array(space, self.spare))
            shown, earned, terminated, truncated, _ = self.world.step(batch)
            self.over = np.logical_or(terminated, truncated)
            rewards = np.where(acts, earned, 0.0)[:n].tolist()
            ended = bytearray(np.where(acts, np.where(terminated, 1, np.where(truncated, 2, 0)), 0)[:n].astype(np.uint8).tobytes())
        if self.mode == "Disabled" and resets.any():
            shown = self.reset(resets, seeds)
        for k, value in zip(range(n), vector.utils.iterate(self.world.observation_space, shown)):
            if orders[k]:
                values[k] = value
        return rewards, ended


class Frames:
    """The frames of bpmc on two files. Whoever looks again and again is not to be woken, so for `watch` seconds at most it looks."""

    def __init__(self, source, sink):
        self.source, self.sink, self.held = source, sink, b""
        self.watch, self.last, self.rest = 0.0, 0.0, 0
        self.ready = select.poll()
        self.ready.register(source, select.POLLIN)

    def more(self):
        data = os.read(self.source, 1 << 16)
        if not data:
            raise EOFError
        self.held += data

    def line(self):
        while b"\n" not in self.held:
            self.more()
        line, _, self.held = self.held.partition(b"\n")
        return line

    def look(self):
        """Looks for a frame until the time is over, or until others wanted the processor."""
        begun = looked = now = time.perf_counter()
        if self.last <= self.watch and self.rest == 0:
            while not self.ready.poll(0) and now - begun < self.watch:
                give_way()
                now = time.perf_counter()
                if now - looked > 1e-4:
                    self.rest = 200
                    break
                looked = now
        else:
            self.ready.poll()
            now = time.perf_counter()
        self.last, self.rest = now - begun, max(0, self.rest - 1)

    def frame(self):
        while True:
            if len(self.held) >= 4:
                end = 4 + int.from_bytes(self.held[:4], "little")
                if len(self.held) >= end:
                    frame, self.held = self.held[4:end], self.held[end:]
                    return frame
            elif self.watch > 0:
                self.look()
            self.more()

    def send(self, data):
        while data:
            data = data[os.write(self.sink, data):]


give_way = getattr(os, "sched_yield", lambda: None)


def serve(source, sink, world_of):
    """Speaks the protocol on two file descriptors. `world_of` makes the world of so many lanes."""
    frames = Frames(source, sink)
    try:
        hello = json.loads(frames.line())
    except EOFError:
        return
    count, frames.watch = hello["lanes"], hello.get("watch", 0.0)
    world = world_of(count)
    inputs, kind = world.inputs, world.kind
    if isinstance(kind, dict):
        numbers_as, heads = "<f4", kind["continuous"]
    else:
        numbers_as, heads = "<u4", len(kind) if isinstance(kind, list) else 1
    sizes = {name: size for name, size, _ in inputs}
    frames.send((json.dumps({"version": 1, "inputs": sizes, "actions": kind}) + "\n").encode())
    width, reads = sum(sizes.values()), [read for _, _, read in inputs]
    # Of each lane the last observation, and its parts, one after another.
    values = [None] * count
    parts = [np.zeros(size, np.float32) for size in sizes.values()] * count
    observations, alone = np.zeros(count * width, "<f4"), reads == [whole]

    def check(lane):
        for (name, size, _), part in zip(inputs, parts[lane * len(reads):]):
            if np.size(part) != size:
                sys.exit(f"an observation has {np.size(part)} elements of `{name}`, and its space has {size}")

    while True:
        try:
            frame = frames.frame()
        except EOFError:
            return
        first, n = struct.unpack_from("<II", frame)
        rows = np.frombuffer(frame, numbers_as, n * heads, 8 + 8 * n).reshape(n, heads)
        orders = frame[8 + 8 * n + 4 * n * heads:]
        seeds = [seed % 2**31 for seed in struct.unpack_from(f"<{n}Q", frame, 8)] if 2 in orders else [0] * n
        rewards, ended = world.exchange(first, orders, seeds, rows, values)
        for lane in range(first, first + n):
            if alone and orders[lane - first]:
                parts[lane] = values[lane]
            elif orders[lane - first]:
                parts[lane * len(reads):(lane + 1) * len(reads)] = [read(values[lane]) for read in reads]
        shown, mine = observations[:n * width], parts[first * len(reads):(first + n) * len(reads)]
        try:
            np.concatenate(mine, axis=None, out=shown, casting="unsafe")
        except ValueError:
            for lane in range(first, first + n):
                check(lane)
            raise
        answer = shown.tobytes() + floats(rewards) + ended
        frames.send(struct.pack("<I", len(answer)) + answer)


def floats(values):
    data = array.array("f", values)
    if sys.byteorder == "big":
        data.byteswap()
    return data.tobytes()


def main():
    if MISSING:
        sys.exit(MISSING)
    options = parsed()
    # Libraries print: standard output belongs to the protocol, so everything else goes to standard error.
    frames = os.dup(1)
    os.dup2(2, 1)
    arguments = dict(argument(text) for text in options.make)

    def world_of(count):
        if options.vector:
            how = {} if options.vector == "vector_entry_point" else {
                "vector_kwargs": {"autoreset_mode": vector.AutoresetMode.DISABLED}}
            world = gymnasium.make_vec(options.id, count, options.vector, **how, **arguments)
            return Vector(world, kept(inputs_of(world.single_observation_space)), *actions_of(world.single_action_space))
        lanes = [gymnasium.make(options.id, **arguments) for _ in range(count)]
        return Lanes(lanes, kept(inputs_of(lanes[0].observation_space)), *actions_of(lanes[0].action_space))

    def kept(inputs):
        if not options.keep:
            return inputs
        which = [int(k) for k in options.keep.split(",")]
        return [(name, len(which), lambda value, read=read: np.ravel(read(value))[which]) for name, _, read in inputs]

    serve(0, frames, world_of)


if __name__ == "__main__":
    main()
