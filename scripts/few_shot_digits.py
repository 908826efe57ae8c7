#!/usr/bin/env python3
"""Writes episodes of few-shot classification for specs/gallery/digits.

The images are the 1797 handwritten digits of 8x8 pixels that scikit-learn ships. An episode shows two images of each of three
digits with a label, and then six other images of them without: which label did they have? The labels are dealt anew in
every episode, so that they can be known only from what the episode has shown. Training has the digits 0 to 6; the test
has 7, 8 and 9, which training never shows. Validation has other images of the digits of training.

    python3 scripts/few_shot_digits.py specs/gallery/digits     # needs numpy and scikit-learn; writes 5 MB
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

WAYS = 3  # digits of an episode
SHOTS = 2  # images of each that are shown with their label
QUERIES = 6  # images without


def episodes(random, images, digits, count):
    """Arrays of so many episodes with these images of each digit."""
    shown_steps = WAYS * SHOTS
    steps = shown_steps + QUERIES
    image = np.zeros((count, steps, 64), np.float16)
    shown = np.zeros((count, steps, WAYS), np.float16)
    label = np.zeros((count, steps), np.int8)
    for episode in range(count):
        chosen = random.permutation(digits)[:WAYS]  # the place of a digit is its label
        # Every query is an image that was not shown.
        pool = {digit: list(random.permutation(images[digit])) for digit in chosen}
        labels = random.permutation(np.repeat(np.arange(WAYS), SHOTS))
        labels = np.concatenate([labels, random.permutation(np.resize(np.arange(WAYS), QUERIES))])
        for step, of in enumerate(labels):
            image[episode, step] = pool[chosen[of]].pop() / 16
            label[episode, step] = of
            if step < shown_steps:
                shown[episode, step, of] = 1
    weight = np.zeros((count, steps), bool)
    weight[:, shown_steps:] = True
    return dict(image=image, shown=shown, label=label, weight=weight)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    random = np.random.default_rng(0)
    data = load_digits()
    of = {digit: random.permutation(data.data[data.target == digit]) for digit in range(10)}
    train = {digit: images[40:] for digit, images in of.items()}
    valid = {digit: images[:40] for digit, images in of.items()}
    old, new = np.arange(7), np.arange(7, 10)
    np.savez(folder / "train.npz", **episodes(random, train, old, 2500))
    np.savez(folder / "valid.npz", **episodes(random, valid, old, 400))
    np.savez(folder / "test.npz", **episodes(random, of, new, 400))


main()
