"""Losses and gradients of networks on sequences from files, computed without bpmc.

The equations are written out for one sequence in complex numbers of 64 bits. A gradient is the imaginary part of the loss
with one parameter moved by 1e-30 i, divided by 1e-30: exact up to rounding, and without any backward pass.

STAGE is "files" or "expected", CASE the name of a case; both stand in front of this text.
"""

import json

import numpy as np

S, T = 5, 7  # sequences and steps
H, SLOW = 4, 3  # sizes of states
CLASSES, GUESS, BITS, END, VERDICT, CUE = 4, 2, 3, 2, 3, 3

# By output: its loss and the factor on it.
CASES = {
    # Classes at every step, nothing else.
    "classes": dict(losses={"label": ("cross_entropy", 1)}),
    # One weight for all outputs; classes as numbers, too.
    "weights": dict(
        losses={"label": ("mean_squares", 1), "guess": ("mean_squares", 1)}, weight=True, usual="mean_squares"
    ),
    # A sequence has no weight at all; one output has weights of its own; a rule reads a target.
    "own_weights": dict(
        losses={"label": ("cross_entropy", 2), "bits": ("binary_cross_entropy", 0.5), "guess": ("half_sum_squares", 0.25)},
        weight=True, own=True, target=True,
    ),
    # Sequences of several lengths, some of one step, and trials.
    "lengths": dict(losses={"label": ("cross_entropy", 1), "guess": ("half_sum_squares", 1.5)}, length=True, trial=True),
    # Targets of the last step, classes and numbers, at the ends of sequences of several lengths.
    "last": dict(
        losses={"end": ("mean_squares", 3), "verdict": ("cross_entropy", 0.75), "bits": ("binary_cross_entropy", 1)},
        length=True, weight=True,
    ),
    "all": dict(
        losses={
            "label": ("cross_entropy", 1), "guess": ("mean_squares", 0.3), "bits": ("binary_cross_entropy", 2),
            "end": ("half_sum_squares", 0.1), "verdict": ("cross_entropy", 5),
        },
        length=True, weight=True, own=True, trial=True, target=True,
    ),
}  # fmt: skip
LAST = ("end", "verdict")


def arrays(case):
    """The arrays of the file."""
    random = np.random.default_rng(len(json.dumps(case)))
    outputs = dict(
        label=random.integers(CLASSES, size=(S, T)),
        guess=random.normal(size=(S, T, GUESS)),
        bits=random.integers(2, size=(S, T, BITS)).astype(np.float32),
        end=random.normal(size=(S, END)),
        verdict=random.integers(VERDICT, size=S),
    )
    outputs["label"][0, 0], outputs["verdict"][0] = CLASSES - 1, VERDICT - 1
    found = dict(
        x=random.normal(size=(S, T, 3)).astype(np.float32),
        level=random.normal(size=(S, T)).astype(np.float16),
        cue=random.integers(CUE, size=(S, T)).astype(np.uint8),
        reward=random.normal(size=(S, T)).astype(np.float32),
    )
    found["cue"][0, 0] = CUE - 1
    found |= {name: outputs[name] for name in case["losses"]}
    if case.get("weight"):
        weight = random.choice([0, 1, 0.5, 2.5], size=(S, T))
        weight[3] = 0
        weight[:, -1] = [1, 0, 2, 0, 1]
        found["weight"] = weight
    if case.get("own"):
        found["weight.bits"] = random.choice([0, 3, 0.25], size=(S, T))
        # The value where nothing is wanted may be no number.
        found["bits"][found["weight.bits"] == 0] = np.nan
    if case.get("length"):
        found["length"] = np.array([7, 1, 5, 6, 3])
    if case.get("trial"):
        found["trial"] = random.random((S, T)) < 0.3
    for name in ("guess", "end"):
        if name in found:
            found[name] = found[name].astype(np.float32)
    return found


def hot(classes, size):
    """Classes as vectors; -1 is none."""
    return (np.asarray(classes)[..., None] == np.arange(size)).astype(float)


def targets(case, file):
    """By output: targets [S, T, size] and weights [S, T]."""
    length = file.get("length", np.full(S, T))
    there = np.arange(T) < length[:, None]
    sizes = dict(label=CLASSES, verdict=VERDICT)
    found = {}
    for name in case["losses"]:
        weight = file.get(f"weight.{name}", file.get("weight", np.ones((S, T)))).astype(float) * there
        values = file[name]
        if name in LAST:
            weight = weight * (np.arange(T) == length[:, None] - 1)
            values = np.repeat(values[:, None], T, axis=1)
        values = hot(values, sizes[name]) if name in sizes else values.astype(float)
        found[name] = np.where(weight[..., None] > 0, values, 0), weight
    return found


def clip(z, bound):
    """With the derivative 1 inside, 0 outside."""
    return np.where(np.abs(z.real) > bound, bound * np.sign(z.real), z)


def outputs(p, file, wanted, s, case):
    """By output: what sequence s makes of it, [T, size]."""
    h, slow = np.full(H, 0.1 + 0j), np.full(SLOW, -0.2 + 0j)
    hebb, m = np.zeros((H, H), complex), np.zeros((H, BITS), complex)
    found = {name: [] for name in case["losses"]}
    line = lambda v, name: v @ p[f"{name}.weight"] + p[f"{name}.bias"]
    there = file["length"][s] if "length" in file else T
    for t in range(T):
        inside = t < there
        if inside and "trial" in file and file["trial"][s, t]:
            slow = np.full(SLOW, -0.2 + 0j)
        x = np.concatenate([file["x"][s, t], [file["level"][s, t]], hot(file["cue"][s, t], CUE)]).astype(float) * inside
        reward = float(file["reward"][s, t]) * inside
        y = np.tanh(line(x, "y.linear") + h @ (p["rec.w"] + p["rec.alpha"] * hebb))
        seen = np.concatenate([y, slow])
        made = {
            name: line(seen, f"{name}.linear") for name in found
        }
        if case.get("target"):
            made["bits"] = made["bits"] + y @ m
            m = 0.8 * m + p["memory.rate"] * np.outer(y, wanted["bits"][0][s, t])
        for name, value in made.items():
            found[name].append(value)
        hebb = clip((1 - p["rec.eta"]) * hebb + p["rec.eta"] * (1 + reward) * np.outer(h, y), 0.15)
        h, slow = y, 0.7 * slow + 0.3 * np.tanh(line(y, "slow.next.linear"))
    return {name: np.array(values) for name, values in found.items()}


def cost(kind, y, target):
    """The cost of one step, before weights and means over steps and sequences."""
    if kind == "half_sum_squares":
        return 0.5 * ((y - target) ** 2).sum()
    if kind == "mean_squares":
        return ((y - target) ** 2).mean()
    if kind == "cross_entropy":
        return -(target * (y - np.log(np.exp(y).sum()))).sum()
    return (np.log(1 + np.exp(y)) - target * y).mean()


def loss(p, case, file):
    wanted = targets(case, file)
    total = 0
    for s in range(S):
        made = outputs(p, file, wanted, s, case)
        for name, (kind, factor) in case["losses"].items():
            target, weight = wanted[name][0][s], wanted[name][1][s]
            steps = sum(w * cost(kind, y, t) for y, t, w in zip(made[name], target, weight) if w > 0)
            if kind != "half_sum_squares" and weight.sum() > 0:
                steps = steps / weight.sum() / S
            total = total + factor * steps
    return total


def gradients(p, case, file):
    found = {}
    for path, value in p.items():
        gradient = np.zeros(value.shape)
        for k in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[k] += 1e-30j
            gradient[k] = loss({**p, path: moved}, case, file).imag / 1e-30
        found[path] = gradient
    return found


def values(case, file, parameters):
    """What `bpmc grad` reads: [T, S, ...]."""
    there = np.arange(T) < file.get("length", np.full(S, T))[:, None]
    turned = lambda array: np.swapaxes(np.where(there.reshape(S, T, *[1] * (array.ndim - 2)), array, 0), 0, 1).tolist()
    wanted = targets(case, file)
    inputs = {
        "x": turned(file["x"].astype(float)),
        "level": turned(file["level"].astype(float)[..., None]),
        "cue": turned(hot(file["cue"], CUE)),
        "external.reward": turned(file["reward"].astype(float)),
        "external.trial_start": turned(file.get("trial", np.zeros((S, T))).astype(float)),
    }
    if case.get("target"):
        inputs["target.bits"] = turned(wanted["bits"][0])
    given = dict(steps=T, lanes=S, inputs=inputs, noise={}, initial_state={}, parameters=parameters)
    given["targets"] = {name: turned(target) for name, (target, _) in wanted.items()}
    for name, (_, weight) in wanted.items():
        given[f"weight.{name}"] = turned(weight)
    return given


def spec(case):
    sizes = dict(label="task.label", guess=GUESS, bits="task.bits", end="task.end", verdict="task.verdict")
    seen = "linear(concat(y, slow), {})"
    made = {name: seen.format(sizes[name]) for name in case["losses"]}
    memory = ""
    if case.get("target"):
        made["bits"] += " + recalled"
        memory = """
  plastic memory: y -> recalled {
    trained rate = 0.3
    trace m = 0
    transmit m
    m <- 0.8 * m + rate * pre * target.bits
  }
  recalled = memory"""
    lines = "\n".join(f"  output {name} = {value}" for name, value in made.items())
    block = ", ".join(f"{name} = {factor} * {kind}" for name, (kind, factor) in case["losses"].items())
    block = f"loss = {case['usual']}," if "usual" in case else f"loss {{ {block} }}"
    return f"""
network net {{
  input x: [task.x]
  input level: [task.level]
  input cue: [task.cue]
  state h: [{H}] = 0.1
  state slow: [{SLOW}] = -0.2 reset trial
  plastic rec: h -> y {{
    weight w ~ uniform(-0.6, 0.6)
    coeff alpha ~ uniform(0.2, 1)
    trained eta = 0.2
    trace hebb = 0
    transmit w + alpha * hebb
    hebb <- clip((1 - eta) * hebb + eta * (1 + external reward) * pre * post, -0.15, 0.15)
  }}{memory}
  y = tanh(linear(concat(x, level, cue)) + rec)
  h <- y
  slow <- 0.7 * slow + 0.3 * tanh(linear(y))
{lines}
}}
task sequences {{ train = "{CASE}.npz", order = file }}
train supervised {{ {block} batch = {S}, iterations = 1 }}
"""


case = CASES[CASE]
if STAGE == "files":
    np.savez(f"{CASE}.npz", **arrays(case))
    with open(f"{CASE}.bpm", "w") as out:
        out.write(spec(case))
    print(json.dumps(list(CASES)))
else:
    with np.load(f"{CASE}.npz") as found:
        file = {name: found[name] for name in found.files}
    with open(f"{CASE}_template.json") as template:
        # Training rounds parameters to 32 bits.
        drawn = json.load(template)["parameters"]
    p = {path: np.array(value, np.float32).astype(float) for path, value in drawn.items()}
    with open(f"{CASE}_values.json", "w") as out:
        json.dump(values(case, file, {path: value.tolist() for path, value in p.items()}), out)
    slopes = {path: gradient.ravel().tolist() for path, gradient in gradients(p, case, file).items()}
    print(json.dumps(dict(loss=loss(p, case, file).real, gradients=slopes)))
