#!/usr/bin/env python3
"""Runs bpmc and its peers on the same workloads in turn, and prints medians and ratios.

Builds nothing: `cargo build --release` comes first. Each round runs bpmc, PyTorch and JAX one after another, so that a
machine that grows slower or faster in between does so for all of them; the median over rounds counts. The ratio is that
of the fastest peer to bpmc, in time and in peak memory.

This script needs nothing but the standard library; the peers need what README.md says.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

CUE = ["task.steps=120", "train.clip_norm=2"]
WORKLOADS = {
    "maze": ("specs/paper/maze/simple_fanout.bpm", ["task.observation=run", "train.clip_norm=4"]),
    "cue-retroactive": ("specs/paper/cue_reward/retroactive.bpm", CUE),
    "cue-simple": ("specs/paper/cue_reward/simple.bpm", CUE),
    "cue-plastic": ("specs/paper/cue_reward/plastic.bpm", CUE),
    "cue-nonplastic": ("specs/paper/cue_reward/nonplastic.bpm", CUE),
    "text-lstm": ("specs/paper/ptb_small/lstm.bpm", []),
    "text-simple": ("specs/paper/ptb_small/simple.bpm", []),
    "text-retroactive": ("specs/paper/ptb_small/retroactive.bpm", []),
    "completion": ("specs/gallery/pattern_completion/plastic.bpm", []),
    "completion-small": ("specs/gallery/pattern_completion/plastic.bpm", ["N=100"]),
}

# Each peer, in the forms of which one is mostly the fastest, and in the others, which `--all-forms` adds.
PEERS = {
    "torch": ("torch_peer.py", [[]], [["--compile"]]),
    "jax": ("jax_peer.py", [[], ["--alpha-gradient", "sum"]], [["--keep"]]),
}
# Of the language models, and of pattern completion.
TEXT_PEERS = {"torch": ("torch_text.py", [[]], [])}
COMPLETION_PEERS = {"torch": ("torch_completion.py", [[]], [])}

# PyTorch frees and maps its large tensors anew in every step unless the allocator keeps them.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_MMAP_MAX_": "0",
}


def main():
    arguments = parse()
    workloads = arguments.workload or list(WORKLOADS)
    table = []
    for workload in workloads:
        runs = programs(arguments, workload)
        results = {name: [] for name, _, _ in runs}
        for number in range(arguments.rounds):
            for name, command, environment in runs:
                note(f"{workload}, round {number + 1} of {arguments.rounds}: {name}")
                results[name].append(measured(command, environment))
                time.sleep(arguments.pause)
        table.append(summary(workload, results))
    if arguments.json:
        print(json.dumps({"threads": arguments.threads, "rounds": arguments.rounds, "workloads": table}, indent=2))
    else:
        print(render(table))


def parse():
    venv = HERE / ".venv" / "bin" / "python"
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--workload", action="append", choices=WORKLOADS, help="may be repeated (default: all)")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--seconds", type=float, default=5.0, help="time of each measurement")
    p.add_argument("--pause", type=float, default=0.5, help="seconds between measurements")
    p.add_argument("--bpmc", type=Path, default=ROOT / "target" / "release" / "bpmc")
    p.add_argument("--python", default=str(venv) if venv.exists() else sys.executable, help="the one that has the peers")
    p.add_argument("--peer", action="append", choices=PEERS, help="may be repeated (default: all)")
    p.add_argument("--all-forms", action="store_true", help="also the forms of the peers that are rarely the fastest")
    p.add_argument("--json", action="store_true")
    arguments = p.parse_args()
    if arguments.rounds < 1 or arguments.threads < 1:
        p.error("--rounds and --threads are at least 1")
    if not arguments.bpmc.exists():
        p.error(f"there is no {arguments.bpmc}; run `cargo build --release`, or name one with --bpmc")
    return arguments


def programs(arguments, workload):
    """Name, command and environment of everything that runs a workload; bpmc is the first."""
    spec, settings = WORKLOADS[workload]
    ours = [str(arguments.bpmc), "bench", str(ROOT / spec), "--json", "--no-floors"]
    ours += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    for setting in settings:
        ours += ["--set", setting]
    found = [("bpmc", ours, {})]
    kind = workload.split("-")[0]
    peers = {"text": TEXT_PEERS, "completion": COMPLETION_PEERS}.get(kind, PEERS)
    for peer in arguments.peer or peers:
        if peer not in peers:
            sys.exit(f"{workload} has no peer in {peer}")
        script, forms, others = peers[peer]
        for more in forms + others if arguments.all_forms else forms:
            command = [arguments.python, str(HERE / script), "--workload", workload, "--json"]
            command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds), *more]
            environment = KEEP_MEMORY if peer == "torch" else {}
            found.append((" ".join([peer, *more]), command, environment))
    return found


def measured(command, environment):
    """Median seconds of an iteration, and peak bytes."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    report = json.loads(done.stdout)
    if "specs" in report:
        spec = report["specs"][0]
        return spec["seconds"]["median"], spec["peak_memory_bytes"]
    return report["median_seconds"], report["peak_memory_bytes"]


def summary(workload, results):
    """Medians over rounds, and the ratios to bpmc."""
    programs = {}
    for name, rounds in results.items():
        seconds = [seconds for seconds, _ in rounds]
        bytes_ = [bytes_ for _, bytes_ in rounds if bytes_ is not None]
        programs[name] = {
            "seconds": statistics.median(seconds),
            "fastest_seconds": min(seconds),
            "slowest_seconds": max(seconds),
            "peak_memory_bytes": max(bytes_) if bytes_ else None,
        }
    ours = programs["bpmc"]
    peers = {name: program for name, program in programs.items() if name != "bpmc"}
    fastest = min(peers, key=lambda name: peers[name]["seconds"])
    memory = peers[fastest]["peak_memory_bytes"]
    return {
        "workload": workload,
        "programs": programs,
        "fastest_peer": fastest,
        "times_as_fast": peers[fastest]["seconds"] / ours["seconds"],
        "share_of_memory": ours["peak_memory_bytes"] / memory if ours["peak_memory_bytes"] else None,
    }


def render(table):
    """One row a workload, in Markdown."""
    names = list(dict.fromkeys(name for row in table for name in row["programs"]))
    lines = [
        "| workload | " + " | ".join(names) + " | bpmc against the fastest peer |",
        "|---" * (len(names) + 2) + "|",
    ]
    for row in table:
        cells = []
        for name in names:
            program = row["programs"].get(name)
            cells.append(cell(program) if program else "")
        ratio = f"{row['times_as_fast']:.1f} times as fast"
        if row["share_of_memory"]:
            ratio += f", 1/{1 / row['share_of_memory']:.0f} of the memory"
        lines.append(f"| {row['workload']} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines)


def cell(program):
    text = f"{program['seconds']:.3g} s"
    if program["peak_memory_bytes"]:
        text += f", {program['peak_memory_bytes'] / 1e6:.0f} MB"
    return text


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
