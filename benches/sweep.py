#!/usr/bin/env python3
"""How the speed of bpmc depends on neurons, lanes and steps: a table (CSV) and a picture (SVG).

One size at a time is changed around two base workloads. What is shown is the time of one connection in one lane and
step: a flat line is the ideal, a cliff would be a size that falls out of a cache. Needs nothing but the standard
library and a built bpmc.

    cargo build --release
    python3 benches/sweep.py                 # writes docs/sweep.csv and docs/sweep.svg
    python3 benches/sweep.py --plot-only     # draws the picture from the table again
"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Base:
    name: str
    title: str
    spec: str
    settings: tuple
    sizes: dict


BASES = [
    Base(
        "maze", "maze, simple with fan-out", "specs/paper/maze/simple_fanout.bpm",
        ("task.observation=run", "train.clip_norm=4"), {"N": 100, "B": 30, "T": 200},
    ),
    Base(
        "cue", "cue-reward, retroactive", "specs/paper/cue_reward/retroactive.bpm",
        ("train.clip_norm=2",), {"N": 200, "B": 30, "T": 120},
    ),
]

# The setting of each size, its name on the axis, and its values.
AXES = {
    "N": ("N", "neurons N", [64, 96, 128, 192, 256, 384, 512]),
    "B": ("train.batch", "lanes B", [1, 2, 4, 8, 16, 32, 64, 128, 256]),
    "T": ("task.steps", "steps T", [20, 50, 100, 200, 500, 1000, 2000]),
}

COLUMNS = [
    "workload", "axis", "neurons", "lanes", "steps", "threads", "seconds", "lower_quartile", "upper_quartile",
    "nanoseconds", "peak_memory_bytes",
]


def main():
    arguments = parse()
    table = arguments.out / "sweep.csv"
    if arguments.plot_only:
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = sweep(arguments)
        with open(table, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    picture = arguments.out / "sweep.svg"
    picture.write_text(plot(rows))
    print(f"{table}\n{picture}")


def parse():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--bpmc", type=Path, default=ROOT / "target" / "release" / "bpmc")
    p.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder for both files")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--seconds", type=float, default=2.0, help="time of each point; at least 5 iterations are run")
    p.add_argument("--smallest", type=int, default=0, metavar="K", help="only the K smallest sizes of each axis")
    p.add_argument("--plot-only", action="store_true", help="draw the table that is there")
    arguments = p.parse_args()
    if not arguments.plot_only and not arguments.bpmc.exists():
        p.error(f"there is no {arguments.bpmc}; run `cargo build --release`, or name one with --bpmc")
    return arguments


def sweep(arguments):
    rows = []
    for base in BASES:
        for axis, (_, _, values) in AXES.items():
            for value in values[: arguments.smallest or None]:
                sizes = {**base.sizes, axis: value}
                row = point(arguments, base, sizes)
                rows.append({"workload": base.name, "axis": axis, **row})
                print(f"{base.name} {sizes}: {float(row['nanoseconds']):.3g} ns", file=sys.stderr, flush=True)
    return rows


def point(arguments, base, sizes):
    command = [str(arguments.bpmc), "bench", str(ROOT / base.spec), "--json", "--no-floors"]
    command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    for setting in base.settings:
        command += ["--set", setting]
    for axis, value in sizes.items():
        command += ["--set", f"{AXES[axis][0]}={value}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    report = json.loads(done.stdout)["specs"][0]
    seconds = report["seconds"]
    each = sizes["N"] ** 2 * sizes["B"] * sizes["T"]
    return {
        "neurons": sizes["N"],
        "lanes": sizes["B"],
        "steps": sizes["T"],
        "threads": report["threads"],
        "seconds": f"{seconds['median']:.6g}",
        "lower_quartile": f"{seconds['lower_quartile']:.6g}",
        "upper_quartile": f"{seconds['upper_quartile']:.6g}",
        "nanoseconds": f"{seconds['median'] / each * 1e9:.5g}",
        "peak_memory_bytes": report["peak_memory_bytes"] or "",
    }


# The picture: three panels side by side that share the vertical axis.

LEFT, TOP, WIDE, HIGH, GAP, BOTTOM = 74, 62, 240, 250, 26, 60

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #4d5966; }
    .title { font-weight: 600; font-size: 15px; }
    .tick { font-size: 12px; }
    .grid { stroke: #8a96a3; stroke-opacity: 0.3; }
    .frame { stroke: #8a96a3; fill: none; }
    .line { fill: none; stroke-width: 2; }
    .maze { stroke: #2f7ed8; } .maze.dot { fill: #2f7ed8; }
    .cue { stroke: #d9662b; } .cue.dot { fill: #d9662b; }
    @media (prefers-color-scheme: dark) { text { fill: #b4bfcb; } }
"""


class Scale:
    """A logarithmic axis from `low` to `high`, drawn from `begin` to `end`."""

    def __init__(self, low, high, begin, end):
        self.low, self.high, self.begin, self.end = math.log(low), math.log(high), begin, end

    def __call__(self, value):
        part = (math.log(value) - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self):
        """1, 2 and 5 times powers of ten within the axis."""
        first, last = math.floor(self.low / math.log(10)), math.ceil(self.high / math.log(10))
        all_ticks = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
        return [t for t in all_ticks if self.low - 1e-9 <= math.log(t) <= self.high + 1e-9]


def plot(rows):
    times = [time for row in rows for time in spread(row)]
    if not times:
        sys.exit("the table is empty")
    # At least a decade, so that noise looks like noise.
    low, high = min(times) / 1.25, max(times) * 1.25
    if high / low < 10:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(10), middle * math.sqrt(10)
    up = Scale(low, high, TOP + HIGH, TOP)
    width, height = LEFT + 3 * WIDE + 2 * GAP + 16, TOP + HIGH + BOTTOM
    title = "Time of one connection in one lane and step"
    threads = rows[0]["threads"]
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="title desc">',
        f'  <title id="title">{title}</title>',
        '  <desc id="desc">Nanoseconds of a whole training iteration, divided by connections, lanes and steps, against '
        "the number of neurons, of lanes and of steps, for two workloads.</desc>",
        f"  <style>{STYLE}  </style>",
        f'  <text class="title" x="{LEFT}" y="20">{title}, {threads} thread{"s" * (threads not in (1, "1"))}</text>',
    ]
    at = LEFT
    for base in BASES:
        text.append(f'  <line class="line {base.name}" x1="{at}" y1="40" x2="{at + 26}" y2="40"/>')
        text.append("  " + mark(base.name, at + 13, 40))
        sizes = ", ".join(f"{axis} {value}" for axis, value in base.sizes.items())
        text.append(f'  <text x="{at + 34}" y="44">{base.title} ({sizes})</text>')
        at += 372
    text.append(
        f'  <text transform="translate(18 {TOP + HIGH / 2}) rotate(-90)" text-anchor="middle">'
        "nanoseconds</text>"
    )
    for number, axis in enumerate(AXES):
        text += panel(rows, axis, LEFT + number * (WIDE + GAP), up, first=number == 0)
    return "\n".join(text) + "\n</svg>\n"


def panel(rows, axis, left, up, first):
    _, label, _ = AXES[axis]
    column = {"N": "neurons", "B": "lanes", "T": "steps"}[axis]
    mine = [row for row in rows if row["axis"] == axis]
    values = sorted({int(row[column]) for row in mine}) or [1, 10]
    across = Scale(values[0] / 1.15, values[-1] * 1.15, left, left + WIDE)
    text = []
    for tick in up.ticks():
        y = f"{up(tick):.1f}"
        text.append(f'  <line class="grid" x1="{left}" y1="{y}" x2="{left + WIDE}" y2="{y}"/>')
        if first:
            text.append(f'  <text class="tick" x="{left - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    free = -math.inf
    for value in values:
        x = across(value)
        text.append(f'  <line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + HIGH}"/>')
        if x - free >= 24:
            text.append(f'  <text class="tick" x="{x:.1f}" y="{TOP + HIGH + 18}" text-anchor="middle">{value}</text>')
            free = x
    text.append(f'  <rect class="frame" x="{left}" y="{TOP}" width="{WIDE}" height="{HIGH}"/>')
    text.append(f'  <text x="{left + WIDE / 2}" y="{TOP + HIGH + 42}" text-anchor="middle">{label}</text>')
    for base in BASES:
        points = sorted((int(row[column]), *spread(row)) for row in mine if row["workload"] == base.name)
        line = " ".join(f"{across(size):.1f},{up(middle):.1f}" for size, _, middle, _ in points)
        text.append(f'  <polyline class="line {base.name}" points="{line}"/>')
        for size, lower, middle, upper in points:
            x = f"{across(size):.1f}"
            text.append(f'  <line class="{base.name}" x1="{x}" y1="{up(lower):.1f}" x2="{x}" y2="{up(upper):.1f}"/>')
            text.append("  " + mark(base.name, across(size), up(middle)))
    return text


def mark(name, x, y):
    """A circle for the one workload, a square for the other: they differ without colour too."""
    if name == BASES[0].name:
        return f'<circle class="{name} dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    return f'<rect class="{name} dot" x="{x - 3.2:.1f}" y="{y - 3.2:.1f}" width="6.4" height="6.4"/>'


def spread(row):
    """Nanoseconds at the lower quartile, the median and the upper quartile."""
    median, each = float(row["seconds"]), float(row["nanoseconds"])
    return tuple(each * float(row[part]) / median for part in ("lower_quartile", "seconds", "upper_quartile"))


if __name__ == "__main__":
    main()
