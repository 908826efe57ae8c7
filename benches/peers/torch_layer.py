#!/usr/bin/env python3
"""A plastic cell written in PyTorch beside `bpmc.torch.Layer`: the same model, loss, optimizer and numbers.

    python benches/peers/torch_layer.py                                # all sizes, a table
    python benches/peers/torch_layer.py --neurons 100 --steps 100 --rounds 9

A round times one iteration of each, in turn: forward, backward and a step of Adam in PyTorch. Peak memory is that of a process of its own
for each, less what it had before the first iteration. Both use the same number of threads.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

import torch

LANES, INPUTS = 30, 24

SPEC = """
dim N = 100
network cell {{
  input x: [{inputs}]
  state h: [N] = 0
  plastic rec: h -> y using retroactive(m) {{
    weight w ~ uniform(-0.05, 0.05)
    coeff alpha ~ uniform(0, 0.01)
  }}
  y = tanh(linear(x) + rec)
  modulator m = tanh(linear(y, 1))
  h <- y
  output out = y
}}
""".format(inputs=INPUTS)


class Written(torch.nn.Module):
    """The rule of §3.2 of the paper, as one writes it in PyTorch."""

    def __init__(self, layer):
        super().__init__()
        copy = lambda path: torch.nn.Parameter(layer.parameter(path).detach().clone())
        self.w, self.alpha, self.eta = copy("rec.w"), copy("rec.alpha"), copy("rec.eta")
        self.read, self.bias = copy("y.linear.weight"), copy("y.linear.bias")
        self.gate, self.gate_bias = copy("m.linear.weight"), copy("m.linear.bias")

    def forward(self, x):
        n = self.w.shape[0]
        h = x.new_zeros(x.shape[1], n)
        hebb, e = x.new_zeros(x.shape[1], n, n), x.new_zeros(x.shape[1], n, n)
        outputs = []
        for given in x @ self.read + self.bias:
            y = torch.tanh(given + torch.bmm(h.unsqueeze(1), self.w + self.alpha * hebb).squeeze(1))
            m = torch.tanh(y @ self.gate + self.gate_bias)
            hebb = torch.clip(hebb + m.unsqueeze(-1) * e, -1, 1)
            e = (1 - self.eta) * e + self.eta * torch.bmm(h.unsqueeze(2), y.unsqueeze(1))
            h = y
            outputs.append(y)
        return torch.stack(outputs)


class Model(torch.nn.Module):
    def __init__(self, kind, neurons):
        super().__init__()
        import bpmc

        torch.manual_seed(0)
        layer = bpmc.torch.Layer(SPEC, set={"N": neurons}, seed=0)
        self.memory = layer if kind == "bpmc" else Written(layer)
        self.read = torch.nn.Linear(neurons, 4)
        self.is_layer = kind == "bpmc"

    def forward(self, x):
        y = self.memory(x)[0] if self.is_layer else self.memory(x)
        return self.read(y)


class Trained:
    """A model with its optimizer."""

    def __init__(self, kind, neurons, steps):
        self.model = Model(kind, neurons)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(steps, LANES, INPUTS, generator=generator)
        self.wanted = torch.randn(steps, LANES, 4, generator=generator)

    def iterate(self):
        loss = (self.model(self.x) - self.wanted).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def status(name):
    """A value of this process in bytes; unlike `ru_maxrss`, the peak is not that of the parent."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) * 1024


def memory(kind, neurons, steps, threads):
    """Bytes that two iterations add to the peak of a process."""
    words = [sys.executable, __file__, "--memory-of", kind, "--neurons", str(neurons), "--steps", str(steps), "--threads", str(threads)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def measure(neurons, steps, rounds, threads, clock):
    both = {kind: Trained(kind, neurons, steps) for kind in ("pytorch", "bpmc")}
    losses = {kind: [one.iterate() for _ in range(2)] for kind, one in both.items()}
    for one, other in zip(*losses.values()):
        assert abs(one - other) < 1e-4 * abs(one), losses
    seconds = {kind: [] for kind in both}
    for _ in range(rounds):
        for kind, one in both.items():
            start = clock()
            one.iterate()
            seconds[kind].append(clock() - start)
    median = {kind: statistics.median(times) for kind, times in seconds.items()}
    bytes_of = {kind: memory(kind, neurons, steps, threads) for kind in both}
    return median, bytes_of


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", choices=["pytorch", "bpmc"])
    parser.add_argument("--processor-time", action="store_true", help="time of the processor instead: for a busy machine, with 1 thread")
    given = parser.parse_args()
    clock = time.process_time if given.processor_time else time.perf_counter
    import bpmc

    torch.set_num_threads(given.threads)
    bpmc.set_threads(given.threads)
    if given.memory_of:
        one = Trained(given.memory_of, given.neurons[0], given.steps[0])
        before = status("VmRSS")
        for _ in range(2):
            one.iterate()
        print(json.dumps(status("VmHWM") - before))
        return
    print("| N | steps | PyTorch, ms | bpmc, ms | ratio | PyTorch, MB | bpmc, MB | ratio |\n|---|---|---|---|---|---|---|---|")
    for neurons in given.neurons:
        for steps in given.steps:
            time_of, bytes_of = measure(neurons, steps, given.rounds, given.threads, clock)
            t, b = time_of["pytorch"], time_of["bpmc"]
            m, c = bytes_of["pytorch"] / 1e6, bytes_of["bpmc"] / 1e6
            print(f"| {neurons} | {steps} | {1e3 * t:.0f} | {1e3 * b:.0f} | {t / b:.1f} | {m:.0f} | {c:.0f} | {m / c:.1f} |", flush=True)


if __name__ == "__main__":
    main()
