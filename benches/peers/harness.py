"""What the peers share: the workloads, the command line, the clock, and the line of JSON at the end."""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """One training iteration, as the spec of the same experiment has it."""

    task: str  # "maze" or "cue"
    rule: str  # "simple", "plastic", "retroactive" or "nonplastic"
    fan_out: bool  # whether each post neuron has a gain and a bias for the modulator
    hidden: int
    steps: int
    inputs: int
    actions: int
    scale: float  # w and alpha are drawn from [0, scale)
    bound: float  # of the trace
    concentration: float
    clip_norm: float
    epsilon: float  # of Adam
    lanes: int = 30
    eta: float = 0.1
    discount: float = 0.9
    value: float = 0.1
    rate: float = 1e-4

    @property
    def modulated(self):
        return self.rule in ("simple", "retroactive")


def cue(rule):
    return Workload(
        task="cue", rule=rule, fan_out=False, hidden=200, steps=120, inputs=27, actions=2, scale=1e-2, bound=1.0,
        concentration=0.1, clip_norm=2.0, epsilon=1e-6,
    )


WORKLOADS = {
    "maze": Workload(
        task="maze", rule="simple", fan_out=True, hidden=100, steps=200, inputs=17, actions=4, scale=1e-3, bound=2.0,
        concentration=0.03, clip_norm=4.0, epsilon=1e-4,
    ),
    "cue-retroactive": cue("retroactive"),
    "cue-simple": cue("simple"),
    "cue-plastic": cue("plastic"),
    "cue-nonplastic": cue("nonplastic"),
}


@dataclass(frozen=True)
class Text:
    """One chunk of a language model."""

    rule: str  # "lstm", "simple" or "retroactive"
    embedding: int
    hidden: int
    words: int = 10_000
    lanes: int = 20
    steps: int = 20
    rate: float = 20.0
    clip_norm: float = 0.25


TEXTS = {
    "text-lstm": Text("lstm", 205, 206),
    "text-simple": Text("simple", 200, 199),
    "text-retroactive": Text("retroactive", 200, 199),
}


@dataclass(frozen=True)
class Completion:
    """One iteration of pattern completion."""

    bits: int
    lanes: int = 2
    rate: float = 1e-3
    clip_norm: float = 5.0


COMPLETIONS = {
    "completion": Completion(1000),
    "completion-small": Completion(100),
}


def parser(description, workloads=WORKLOADS):
    """The arguments that every peer takes."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--workload", choices=workloads, default=next(iter(workloads)))
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--iterations", type=int, default=0, help="how many to time (default: as many as fit)")
    p.add_argument("--seconds", type=float, default=3.0, help="time to fill where no number is given")
    p.add_argument("--warm-up", type=int, default=2, help="iterations before the clock starts")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", action="store_true")
    return p


def use_processors(count):
    """Keeps the process on `count` processors, so that libraries that size their pools by them follow."""
    mine = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(mine[-max(1, count) :]))


def measure(arguments, name, iteration, told="last_reward"):
    """Times `iteration`, which does one whole training iteration and returns its mean reward or another measure, and prints."""
    rewards = [iteration() for _ in range(arguments.warm_up)]
    times = []
    begin = time.perf_counter()

    def goes_on():
        if arguments.iterations:
            return len(times) < arguments.iterations
        return len(times) < 5 or time.perf_counter() - begin < arguments.seconds

    while goes_on():
        start = time.perf_counter()
        rewards.append(iteration())
        times.append(time.perf_counter() - start)
    result = {
        "peer": name,
        "workload": arguments.workload,
        "threads": arguments.threads,
        "iterations": len(times),
        "median_seconds": statistics.median(times),
        "fastest_seconds": min(times),
        "peak_memory_bytes": peak_memory(),
        told: statistics.fmean(rewards[-100:]),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:<20}{value}")


def peak_memory():
    """The largest resident size so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
