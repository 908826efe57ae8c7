"""Gymnasium environments for bpmc: speaks the protocol of docs/environments.md. Needs numpy and gymnasium.

    bpmc env CartPole-v1                       prints a spec to begin with
    command = "bpmc env CartPole-v1 --serve"   in a spec; this file may also be run by itself:
    command = "python3 -m bpmc.gym CartPole-v1"
"""
import argparse, json, os, re, struct, sys

try:
    import numpy as np
    import gymnasium
    from gymnasium import spaces
    MISSING = None
except ImportError as error:
    MISSING = f"{error}; install it with: {sys.executable} -m pip install gymnasium numpy"


def parsed():
    parser = argparse.ArgumentParser(prog="bpmc env")
    parser.add_argument("id", help="the environment, as Gymnasium names it; MODULE:NAME imports a module first")
    parser.add_argument("--keep", help="show only these elements of each observation, as 0,2")
    parser.add_argument("--make", action="append", default=[], metavar="KEY=VALUE",
                        help="an argument of the environment, its value in JSON or a word")
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


def shown(space, name="obs"):
    """The inputs that a space gives: name, size, and a function from an observation to numbers."""
    if isinstance(space, spaces.Dict):
        return inside(space.spaces.items(), name)
    if isinstance(space, spaces.Tuple):
        return inside(enumerate(space.spaces), name)
    if isinstance(space, spaces.Discrete):
        eye = np.eye(space.n, dtype=np.float32)
        return [(name, int(space.n), lambda value: eye[int(value) - int(space.start)])]
    if isinstance(space, spaces.MultiDiscrete):
        eyes = [np.eye(n, dtype=np.float32) for n in space.nvec.ravel()]
        return [(name, int(space.nvec.sum()),
                 lambda value: np.concatenate([eye[k] for eye, k in zip(eyes, np.ravel(value))]))]
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        size = int(np.prod(space.shape))
        return [(name, max(size, 1), lambda value: np.asarray(value, dtype=np.float32).ravel())]
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
    """What the first line says of actions, and a function from the numbers of an action to what the environment takes."""
    if isinstance(space, spaces.Discrete):
        return int(space.n), lambda numbers: int(numbers[0]) + int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        start = getattr(space, "start", 0)
        return [int(n) for n in space.nvec.ravel()], lambda numbers: (
            numbers.reshape(space.shape).astype(space.dtype) + start)
    if isinstance(space, spaces.MultiBinary):
        size = int(np.prod(space.shape))
        return [2] * size, lambda numbers: numbers.reshape(space.shape).astype(space.dtype)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        # From -1 to 1 where the range has two ends; what lies outside is clipped.
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        ends = np.isfinite(low) & np.isfinite(high)
        centre = np.where(ends, low / 2 + high / 2, 0.0)
        half = np.where(ends, high / 2 - low / 2, 1.0)
        return {"continuous": int(np.prod(space.shape))}, lambda numbers: np.clip(
            centre + half * numbers.reshape(space.shape), low, high).astype(space.dtype)
    sys.exit(f"actions of {type(space).__name__} cannot be taken; wrap the environment in one with a Discrete or a Box")


def serve(source, sink, lanes_of, described):
    """Speaks the protocol on two files. `lanes_of` makes so many environments; `described` tells their inputs, what the first line
    says of actions, and how an action is made of its numbers."""

    def read(size):
        data = source.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def send(data):
        sink.write(data)
        sink.flush()

    hello = json.loads(source.readline() or sys.exit())
    lanes = lanes_of(hello["lanes"])
    inputs, kind, action = described(lanes)
    if isinstance(kind, dict):
        numbers_as, heads = "<f4", kind["continuous"]
    else:
        numbers_as, heads = "<u4", len(kind) if isinstance(kind, list) else 1
    sizes = {name: size for name, size, _ in inputs}
    send((json.dumps({"version": 1, "inputs": sizes, "actions": kind}) + "\n").encode())
    width = sum(sizes.values())
    observations = np.zeros((len(lanes), width), np.float32)
    while True:
        try:
            frame = read(*struct.unpack("<I", read(4)))
        except EOFError:
            return
        first, n = struct.unpack_from("<II", frame)
        seeds = np.frombuffer(frame, "<u8", n, 8)
        actions = np.frombuffer(frame, numbers_as, n * heads, 8 + 8 * n).reshape(n, heads)
        orders = frame[8 + 8 * n + 4 * n * heads:]
        rewards, ended = np.zeros(n, "<f4"), np.zeros(n, np.uint8)
        for k in range(n):
            lane = first + k
            if orders[k] == 1:
                value, rewards[k], terminated, truncated, _ = lanes[lane].step(action(actions[k]))
                ended[k] = 1 if terminated else 2 if truncated else 0
            elif orders[k] == 2:
                value, _ = lanes[lane].reset(seed=int(seeds[k] % 2**31))
            else:
                continue
            at = 0
            for _, size, numbers in inputs:
                observations[lane, at:at + size] = numbers(value)
                at += size
        answer = observations[first:first + n].astype("<f4").tobytes() + rewards.tobytes() + ended.tobytes()
        send(struct.pack("<I", len(answer)) + answer)


def main():
    if MISSING:
        sys.exit(MISSING)
    options = parsed()
    # Libraries print: standard output belongs to the protocol, so everything else goes to standard error.
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    arguments = dict(argument(text) for text in options.make)

    def described(lanes):
        inputs = inputs_of(lanes[0].observation_space)
        if options.keep:
            kept = [int(k) for k in options.keep.split(",")]
            inputs = [(name, len(kept), lambda value, read=read: read(value)[kept]) for name, _, read in inputs]
        return inputs, *actions_of(lanes[0].action_space)

    serve(sys.stdin.buffer, frames, lambda count: [gymnasium.make(options.id, **arguments) for _ in range(count)], described)


if __name__ == "__main__":
    main()
