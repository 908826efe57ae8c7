"""Losses and gradients of the published systems of `specs/gallery/systems`, computed without bpmc.

The equations are written out for one lane in complex numbers of 64 bits. A gradient is the imaginary part of the loss with one
parameter moved by 1e-30 i, divided by 1e-30: exact up to rounding, and without any backward pass.

In the folder stand NAME_template.json, from `bpmc grad --template`; NAME_values.json, with inputs, draws and targets, and
NAME_expected.json are written beside them.
"""

import json
import pathlib

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.real.max())
    return e / e.sum()


def clip(z, lo, hi):
    return np.where(z.real < lo, lo, np.where(z.real > hi, hi, z))


def norm(z):
    return np.sqrt((z * z).sum())


def spike(distance, slope, arctan=False):
    """1 above the threshold, with a derivative of our choice."""
    x = distance.real
    slope_there = 1 / (1 + (slope * x) ** 2) if arctan else 1 / (1 + slope * np.abs(x)) ** 2
    return (x > 0) + 1j * distance.imag * slope_there


class Linear:
    """`x W + b` of the parameters of one call."""

    def __init__(self, p):
        self.p = p

    def __call__(self, name, x):
        return x @ self.p[f"{name}.weight"] + self.p.get(f"{name}.bias", 0)


def hebb(p, lin, xs, ts, noise):
    h, trace = np.zeros(4), np.zeros((4, 4))
    for x in xs:
        y = np.tanh(lin("y.linear", x) + h @ (p["rec.w"] + p["rec.alpha"] * trace))
        trace = (1 - p["rec.eta"]) * trace + p["rec.eta"] * np.outer(h, y)
        h = y
        yield lin("out.linear", y)


def oja(p, lin, xs, ts, noise):
    w = p["up.w0"]
    for x in xs:
        y = x @ w
        w = w + p["up.eta"] * y * (x[:, None] - y * w)
        yield y


def sanger(p, lin, xs, ts, noise):
    w = p["up.w0"]
    for x in xs:
        y = x @ w
        change = np.zeros_like(w)
        for i in range(4):
            for j in range(2):
                change[i, j] = p["up.eta"] * y[j] * (x[i] - sum(w[i, k] * y[k] for k in range(j + 1)))
        w = w + change
        yield y


def bcm(p, lin, xs, ts, noise):
    w, theta = p["up.w0"], np.full(2, 0.1)
    for x in xs:
        y = sigmoid(x @ w)
        w = clip(w + p["up.eta"] * np.outer(x, y * (y - theta)), -2, 2)
        theta = theta + (y * y - theta) / 4
        yield y


def abcd(p, lin, xs, ts, noise):
    w = noise["up.w.first"][0]
    a, b, c, d, eta = (p[f"up.{name}"] for name in ("a", "b", "c", "d", "eta"))
    for x in xs:
        y = np.tanh(x @ w)
        w = clip(w + eta * (a * np.outer(x, y) + b * x[:, None] + c * y + d), -3, 3)
        yield y


def fast_weights(p, lin, xs, ts, noise):
    h, a = np.zeros(4), np.zeros((4, 4))
    for x in xs:
        drive = lin("drive.linear", h) + lin("drive.linear2", x)
        z = drive + np.tanh(drive) @ a
        z = z - z.mean()
        h = np.tanh(z / np.sqrt((z * z).mean() + 0.01))
        a = p["store.lambda"] * a + p["store.eta"] * np.outer(h, h)
        yield lin("out.linear", h)


def linear_attention(p, lin, xs, ts, noise):
    """As attention over all steps before, without any store."""

    def phi(z):
        return np.where(z.real > 0, z + 1, np.exp(np.where(z.real > 0, 0, z)))

    keys, values = [], []
    for x in xs:
        keys.append(phi(lin("k.linear", x)))
        values.append(lin("v.linear", x))
        q = phi(lin("q.linear", x))
        scores = np.array([q @ k for k in keys])
        yield scores @ np.array(values) / scores.sum()


def delta_rule(p, lin, xs, ts, noise):
    w = np.zeros((4, 2))
    for x in xs:
        k, q = softmax(lin("k.linear", x)), softmax(lin("q.linear", x))
        w = w + sigmoid(lin("beta.linear", x)) * np.outer(k, lin("v.linear", x) - k @ w)
        yield q @ w


def gated_delta(p, lin, xs, ts, noise):
    s = np.zeros((4, 2))
    for x in xs:
        k, q = lin("rawk.linear", x), lin("rawq.linear", x)
        k, q = k / norm(k), q / norm(q)
        # The form of the paper: S (α (I - β k kᵀ)) + β v kᵀ, transposed.
        alpha, beta = sigmoid(lin("alpha.linear", x)), sigmoid(lin("beta.linear", x))
        s = alpha * (np.eye(4) - beta * np.outer(k, k)) @ s + beta * np.outer(k, lin("v.linear", x))
        yield q @ s


def retention(p, lin, xs, ts, noise):
    """As a sum over all steps before, without any store."""
    pairs = []
    for x in xs:
        pairs.append((lin("k.linear", x), lin("v.linear", x)))
        q = lin("q.linear", x)
        age = len(pairs) - 1
        yield sum(0.9 ** (age - t) * (q @ k) * v for t, (k, v) in enumerate(pairs))


def mlstm(p, lin, xs, ts, noise):
    c, n = np.zeros((2, 4)), np.zeros(4)
    for x in xs:
        i, f, o = np.exp(lin("i.linear", x)), sigmoid(lin("f.linear", x)), sigmoid(lin("o.linear", x))
        k, q, v = lin("k.linear", x) / 2, lin("q.linear", x), lin("v.linear", x)
        c = f * c + i * np.outer(v, k)
        n = f * n + i * k
        size = q @ n
        size = size if size.real > 0 else -size
        yield o * (c @ q) / (size if size.real > 1 else 1)


def test_time_training(p, lin, xs, ts, noise):
    w = p["store.w0"]
    for x in xs:
        k, q, v = lin("k.linear", x), lin("q.linear", x), lin("v.linear", x)
        w = w - p["store.eta"] * 2 * np.outer(k, k @ w - v)
        yield q @ w


def hopfield(p, lin, xs, ts, noise):
    h, w = np.zeros(4), np.zeros((4, 4))
    for x in xs:
        h = np.tanh(p["rec.gain"] * h @ w + x)
        w = w + np.outer(x, x) * (1 - np.eye(4)) / 4
        yield h


def short_term(p, lin, xs, ts, noise):
    base, u, r = p["up.base"], p["up.base"], np.ones(3)
    for x in xs:
        yield np.tanh((u * r * x) @ p["up.w"])
        u, r = u + 0.1 * (base - u) + 0.5 * base * (1 - u) * x, r + 0.3 * (1 - r) - 0.5 * u * r * x


def consolidation(p, lin, xs, ts, noise):
    u = np.zeros((4, 3, 2), dtype=complex)
    for x in xs:
        y = np.tanh(x @ (p["up.w"] + u[0]))
        flow = np.zeros_like(u)
        flow[0] = p["up.eta"] * np.outer(x, y)
        for k in range(3):
            tube = 0.25 * 2.0 ** -(k + 1)
            flow[k] += tube * (u[k + 1] - u[k]) / 2**k
            if k < 2:
                flow[k + 1] += tube * (u[k] - u[k + 1]) / 2 ** (k + 1)
        u = u + flow
        yield y


def homeostasis(p, lin, xs, ts, noise):
    w, goal = p["up.w0"], p["up.goal"]
    a = np.full(2, goal)
    for x in xs:
        y = sigmoid(x @ w)
        w, a = clip(w + p["up.eta"] * np.outer(x, y) + 0.2 * w * (goal - a), 0, 5), 0.9 * a + 0.1 * y
        yield y


def som(p, lin, xs, ts, noise):
    w = p["map.w0"]
    for x in xs:
        away = ((x[:, None] - w) ** 2).sum(0)
        yield away
        winner = away.real.argmin()
        near = np.exp(-((np.arange(4) - winner) ** 2) / 2)
        w = w + p["map.eta"] * near * (x[:, None] - w)


def predictive_coding(p, lin, xs, ts, noise):
    r, w = np.full(2, 0.1), p["down.w0"]
    for x in xs:
        e = x - r @ w
        r, w = r + 0.2 * (w @ e - 0.1 * r), w + p["down.eta"] * np.outer(r, e)
        yield e


def feedback_alignment(p, lin, xs, ts, noise):
    w, v, back = p["low.w0"], p["high.v0"], p["blame.linear.weight"]
    for x, t in zip(xs, ts):
        h = np.tanh(x @ w)
        y = h @ v
        yield y
        e = t - y
        w, v = w + p["eta"] * np.outer(x, (e @ back) * (1 - h * h)), v + p["eta"] * np.outer(h, e)


def stdp(e, r, o, pre, post, plus, minus, decay, filters=0.8):
    """Eligibility and traces of the step behind this one."""
    r = filters * r + pre
    e = decay * e + plus * np.outer(r, post) - minus * np.outer(pre, o)
    return e, r, filters * o + post


def spike_timing(p, lin, xs, ts, noise):
    h, v, r, o, hebb, e = np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4), np.zeros((4, 4)), np.zeros((4, 4))
    for x in xs:
        m = np.tanh(lin("layer.m.linear", h))
        u = 0.9 * v + lin("layer.u.linear", x) + h @ (p["layer.rec.w"] + p["layer.rec.alpha"] * hebb)
        s = spike(u - 0.2, 10)
        hebb = clip(hebb + m * e, -1, 1)
        e, r, o = stdp(e, r, o, h, s, p["layer.rec.plus"], p["layer.rec.minus"], 0.9)
        v, h = u - 0.2 * s, s
        yield lin("out.linear", h)


def adaptive_spikes(p, lin, xs, ts, noise):
    h, v, a = np.zeros(4), np.zeros(4), np.zeros(4)
    for x in xs:
        u = 0.9 * v + lin("layer.u.linear", x) + lin("layer.u.linear2", h)
        h = spike(u - (0.2 + 0.5 * a), 10)
        v, a = u - 0.2 * h, 0.9 * a + h
        yield lin("out.linear", h)


def spike_propamine(p, lin, xs, ts, noise):
    h, v, r, o, hebb, e = np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4), np.zeros((4, 4)), np.zeros((4, 4))
    for x in xs:
        m = p["rec.M.fanout.gain"] * np.tanh(lin("m.linear", v)) + p["rec.M.fanout.bias"]
        u = 0.8 * v + lin("u.linear", x) + h @ (p["rec.w"] + p["rec.alpha"] * hebb)
        s = spike(u - 0.2, 5, arctan=True)
        hebb = clip(hebb + m * e, -1, 1)
        e, r, o = stdp(e, r, o, h, s, p["rec.plus"], p["rec.minus"], 0.8)
        v, h = u - 0.2 * s, s
        yield lin("out.linear", u)


def backpropamine(p, lin, xs, ts, noise):
    h, hebb, e = np.zeros(4), np.zeros((4, 4)), np.zeros((4, 4))
    for x in xs:
        y = np.tanh(lin("y.linear", x) + h @ (p["rec.w"] + p["rec.alpha"] * hebb))
        m = np.tanh(lin("m.linear", y))
        hebb = clip(hebb + m * e, -1, 1)
        e = (1 - p["rec.eta"]) * e + p["rec.eta"] * np.outer(h, y)
        h = y
        yield lin("out.linear", y)


def eligibility(p, lin, xs, ts, noise):
    h, v, w, filtered = np.zeros(4), np.zeros(4), p["rec.w0"], np.zeros(4)
    for x, t in zip(xs, ts):
        u = 0.8 * v + lin("u.linear", x) + h @ w
        y = np.tanh(u)
        out = lin("out_now.linear", y)
        filtered = 0.8 * filtered + h
        w = w + p["rec.eta"] * np.outer(filtered, lin("signal.linear", t - out) * (1 - y * y))
        v, h = u, y
        yield out


def soft_hebb(p, lin, xs, ts, noise):
    w = p["up.w0"]
    for x in xs:
        u = x @ w
        y = softmax(u)
        w = w + p["up.eta"] * y * (x[:, None] - u * w)
        yield y


def loss(system, p, values):
    total = 0
    for lane in range(values["lanes"]):
        xs = np.array(values["inputs"]["x"])[:, lane]
        ts = np.array(values["targets"]["out"])[:, lane]
        noise = {name: np.array(all)[:, lane] for name, all in values.get("noise", {}).items()}
        outs = system(p, Linear(p), xs, ts, noise)
        total = total + sum(0.5 * ((out - t) ** 2).sum() for out, t in zip(outs, ts))
    return total


def drawn(random, like):
    return random.normal(size=np.shape(like)).round(3)


for path in sorted(pathlib.Path(".").glob("*_template.json")):
    name = path.name.removesuffix("_template.json")
    values = json.loads(path.read_text())
    random = np.random.default_rng(len(name))
    for section in ("inputs", "noise", "targets"):
        for key, zeros in values.get(section, {}).items():
            values[section][key] = drawn(random, zeros).tolist()
    if "target.out" in values["inputs"]:
        values["inputs"]["target.out"] = values["targets"]["out"]
    system = globals()[name]
    p = {key: np.array(value, dtype=complex) for key, value in values["parameters"].items()}
    gradients = {}
    for key, value in p.items():
        if key.rsplit(".")[-1].startswith("index"):
            continue
        flat = np.zeros(value.size)
        for k in range(value.size):
            moved = value.copy().ravel()
            moved[k] += 1e-30j
            flat[k] = loss(system, p | {key: moved.reshape(value.shape)}, values).imag / 1e-30
        gradients[key] = flat.reshape(value.shape).tolist()
    expected = {"loss": loss(system, p, values).real, "gradients": gradients}
    pathlib.Path(f"{name}_values.json").write_text(json.dumps(values))
    pathlib.Path(f"{name}_expected.json").write_text(json.dumps(expected))
print("null")
