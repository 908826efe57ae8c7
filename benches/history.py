#!/usr/bin/env python3
"""Adds a line to benches/history/times.csv: how long an iteration of each workload takes with this release on this machine.

Builds nothing: `cargo build --release` comes first. Workloads and settings are those of benches/peers/compare.py. Each number is
the median over rounds of the median iteration, in milliseconds; in every round the workloads run one after another.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "peers"))
from compare import WORKLOADS  # noqa: E402

TIMES = HERE / "history" / "times.csv"


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--bpmc", type=Path, default=ROOT / "target" / "release" / "bpmc")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=3.0, help="time of each measurement")
    p.add_argument("--machine", default=processor(), help="the machine's name in the table")
    p.add_argument("--print", action="store_true", help="print the line and leave the file as it is")
    arguments = p.parse_args()
    if not arguments.bpmc.exists():
        p.error(f"there is no {arguments.bpmc}; run `cargo build --release`, or name one with --bpmc")
    found = {name: [] for name in WORKLOADS}
    for _ in range(arguments.rounds):
        for name in WORKLOADS:
            found[name].append(median_ms(arguments, name))
    line = {
        "date": datetime.date.today().isoformat(),
        "version": said(arguments.bpmc, "--version").split()[-1],
        "commit": said("git", "-C", ROOT, "rev-parse", "--short", "HEAD"),
        "machine": arguments.machine,
        "threads": arguments.threads,
        **{name: f"{statistics.median(times):.1f}" for name, times in found.items()},
    }
    if getattr(arguments, "print"):
        print(json.dumps(line, indent=2))
        return
    TIMES.parent.mkdir(exist_ok=True)
    fresh = not TIMES.exists()
    with TIMES.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(line))
        if fresh:
            writer.writeheader()
        writer.writerow(line)


def median_ms(arguments, name):
    spec, settings = WORKLOADS[name]
    command = [arguments.bpmc, "bench", ROOT / spec, "--json", "--no-floors"]
    command += ["--threads", arguments.threads, "--seconds", arguments.seconds]
    for setting in settings:
        command += ["--set", setting]
    report = json.loads(said(*command))
    return 1e3 * report["specs"][0]["seconds"]["median"]


def said(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    return done.stdout.strip()


def processor():
    """The name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
