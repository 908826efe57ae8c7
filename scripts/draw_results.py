#!/usr/bin/env python3
"""Draws the figures of docs/results from runs, as SVG. The pages have the commands that make the runs.

    python3 scripts/draw_results.py curves docs/results/digits/accuracy.svg accuracy 0.333 plastic=runs/plastic LSTM=runs/lstm
    python3 scripts/draw_results.py rule docs/results/infer_rule/rule.svg runs/rule weights.npz specs/gallery/infer_rule/test.npz

`curves` needs Python alone, `rule` needs numpy and safetensors. In `curves` each point is the mean of the records since the
point before; the number after the measure is that of chance.
"""

import json
import sys
from pathlib import Path

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]


class Panel:
    """A pair of axes with linear scales."""

    def __init__(self, left, right, top, bottom, x, y):
        self.box, self.x, self.y, self.parts = (left, right, top, bottom), x, y, []

    def at(self, x, y):
        left, right, top, bottom = self.box
        along = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return left + along * (right - left), bottom - up * (bottom - top)

    def text(self, x, y, text, more=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {more}>{text}</text>')

    def axes(self, x_ticks, y_ticks, x_label, y_label):
        left, right, top, bottom = self.box
        for value in y_ticks:
            y = self.at(0, value)[1]
            self.parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#dddddd"/>')
            self.text(left - 8, y + 4, f"{value:g}", 'text-anchor="end"')
        for value in x_ticks:
            self.text(self.at(value, 0)[0], bottom + 18, f"{value:g}", 'text-anchor="middle"')
        middle = (top + bottom) / 2
        self.text((left + right) / 2, bottom + 38, x_label, 'text-anchor="middle"')
        turned = f'text-anchor="middle" transform="rotate(-90 {left - 42} {middle})"'
        self.text(left - 42, middle, y_label, turned)

    def line(self, points, colour, more=""):
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self.parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2" {more}/>')

    def dot(self, x, y, colour, filled):
        x, y = self.at(x, y)
        fill = colour if filled else "none"
        size = 3 if filled else 6
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
        )


def write(path, width, height, panels):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [f'{head} font-family="sans-serif" font-size="12">', f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    for panel in panels:
        lines += panel.parts
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join([*lines, "</svg>"]) + "\n")


def curves(path, measure, chance, *runs):
    """The measure of runs over their iterations."""
    found, last = {}, 0
    for named in runs:
        name, run = named.split("=", 1)
        records = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
        every = max(len(records) // 25, 1)
        last = max(last, records[-1]["iteration"])
        found[name] = []
        for end in range(every, len(records) + 1, every):
            part = records[end - every : end]
            found[name].append((part[-1]["iteration"], sum(record[measure] for record in part) / every))
    top = 1 if measure == "accuracy" else 0.5
    panel = Panel(60, 400, 16, 250, (0, last), (0, top))
    ticks = [last * k / 4 for k in range(5)]
    panel.axes(ticks, [top * k / 4 for k in range(5)], "iteration", measure.replace("_", " "))
    panel.line([(0, float(chance)), (last, float(chance))], "#888888", 'stroke-dasharray="4 3"')
    for (name, points), colour in zip(found.items(), COLOURS):
        panel.line(points, colour)
        x, y = panel.at(*points[-1])
        panel.text(x + 8, y + 4, name, f'fill="{colour}"')
    write(path, 520, 300, [panel])


# The terms of the rule of specs/gallery/infer_rule, and what scripts/plasticity_behaviour.py does.
TERMS = {
    "c": "1", "c_p": "pre", "c_q": "post", "c_w": "w", "c_r": "reward", "c_pq": "pre post", "c_pw": "pre w",
    "c_pr": "pre reward", "c_qw": "post w", "c_qr": "post reward", "c_wr": "w reward", "c_pqw": "pre post w",
    "c_pqr": "pre post reward", "c_pwr": "pre w reward", "c_qwr": "post w reward", "c_pqwr": "pre post w reward",
}  # fmt: skip
TRUE = {"c_pqr": 0.3, "c_pq": -0.1, "c_w": -0.1}


def rule(path, run, weights, test):
    """The coefficients of the animals' rule and those found; weights of a session with both."""
    import numpy as np
    from safetensors.numpy import load_file

    parameters = load_file(sorted((Path(run) / "checkpoints").glob("0*.safetensors"))[-1])
    left = Panel(130, 330, 16, 290, (-0.15, 0.35), (len(TERMS), -1))
    left.axes([-0.1, 0, 0.1, 0.2, 0.3], [], "coefficient", "")
    left.line([(0, -1), (0, len(TERMS))], "#dddddd")
    for row, (name, term) in enumerate(TERMS.items()):
        left.text(122, left.at(0, row)[1] + 4, term, 'text-anchor="end"')
        left.dot(TRUE.get(name, 0), row, COLOURS[1], False)
        left.dot(parameters[f"synapses.{name}"].item(), row, COLOURS[0], True)
    with np.load(weights) as file:
        found = file["synapses.w"][0, :, :, 0]
    with np.load(test) as file:
        true = file["true_weights"][0]
        turns, drive = file["turn"], (file["true_weights"] * file["stimulus"].astype(float)).sum(axis=2)
        everywhere = file["true_weights"]
    with np.load(weights) as file:
        off = file["synapses.w"][..., 0] - everywhere
    print(f"cross-entropy of the turns by the true weights {np.log1p(np.exp(-turns * drive)).mean():.4f}")
    print(f"share of the variance of weights explained {1 - (off**2).mean() / everywhere.var():.4f}")
    reach = float(np.ceil(2 * max(abs(true).max(), abs(found).max())) / 2)
    right = Panel(410, 690, 16, 290, (0, len(true)), (-reach, reach))
    right.axes([0, 50, 100, 150, 200], [-reach, -reach / 2, 0, reach / 2, reach], "trial", "weight")
    for neuron in (0, len(true[0]) - 1):
        right.line(list(enumerate(true[:, neuron])), COLOURS[1], 'stroke-opacity="0.5"')
        right.line(list(enumerate(found[:, neuron])), COLOURS[0], 'stroke-dasharray="4 3"')
    for row, (name, colour) in enumerate([("animal", COLOURS[1]), ("found", COLOURS[0])]):
        right.text(700, 30 + 18 * row, name, f'fill="{colour}"')
    write(path, 750, 340, [left, right])


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("curves", "rule"):
        sys.exit(__doc__)
    {"curves": curves, "rule": rule}[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
