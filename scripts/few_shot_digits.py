#!/usr/bin/env python3
"""Writes episodes of few-shot classification for specs/gallery/digits.

The images are the 1797 handwritten digits of 8x8 pixels that scikit-learn ships. An episode shows two images of each of three
digits with a label, and then six other images of them without: which label did they have? The labels are dealt anew in
every episode, so that they can be known only from what the episode has shown.

train.npz has the digits 3 to 9, valid.npz other images of them, and test.npz the digits 0, 1 and 2, which training never
shows. For choosing settings without the digits of the test, select_train.npz has the digits 3 to 6 and select_valid.npz 7, 8
and 9.

    python3 scripts/few_shot_digits.py specs/gallery/digits     # needs numpy and scikit-learn; writes 13 MB
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
    test, first, last = np.arange(3), np.arange(3, 7), np.arange(7, 10)
    shown = np.concatenate([first, last])
    np.savez(folder / "select_train.npz", **episodes(random, of, first, 2500))
    np.savez(folder / "select_valid.npz", **episodes(random, of, last, 400))
    np.savez(folder / "train.npz", **episodes(random, train, shown, 2500))
    np.savez(folder / "valid.npz", **episodes(random, valid, shown, 400))
    np.savez(folder / "test.npz", **episodes(random, of, test, 400))


main()
