#!/usr/bin/env python3
"""Writes choices of simulated animals for specs/gallery/infer_rule.

In each trial an animal smells one of two odours and turns left or right. The turn is to the right with the probability
sigmoid(sum(w * pre)), where `pre` is the activity of six neurons that respond to the odours, with some overlap and noise.
One of the turns is rewarded in 80 % of the trials, the other in 20 %; which one is, changes for each odour every 30 to 60
trials. After a trial each synapse changes by

    dw = 0.3 * pre * post * reward - 0.1 * pre * post - 0.1 * w

where `post` is the turn, -1 or 1: the turn is made more likely if it was rewarded and less likely if not, and all is
slowly forgotten. The files hold stimuli, turns and rewards. The weights are in test.npz alone, for comparing.

    python3 scripts/plasticity_behaviour.py specs/gallery/infer_rule     # needs numpy; writes 8 MB
"""

import sys
from pathlib import Path

import numpy as np

TRIALS = 200
NEURONS = 6
# Mean activity of each neuron for each odour.
ODOURS = np.array([[1.0, 1.0, 0.8, 0.5, 0.2, 0.0], [0.0, 0.2, 0.5, 0.8, 1.0, 1.0]])
NOISE = 0.6
LIKELY, UNLIKELY = 0.8, 0.2


def rule(pre, post, w, reward):
    """What the animal does to its synapses; nothing else here knows it."""
    return 0.3 * pre * post * reward - 0.1 * pre * post - 0.1 * w


def right_turns(random, sessions):
    """Which turn is the good one, of each session, trial and odour: -1 or 1."""
    good = np.zeros((sessions, TRIALS, 2))
    for session in good:
        for odour in range(2):
            trial, turn = 0, random.choice([-1, 1])
            while trial < TRIALS:
                end = trial + random.integers(30, 61)
                session[trial:end, odour] = turn
                trial, turn = end, -turn
    return good


def behaviour(random, sessions):
    """Arrays of so many sessions."""
    odour = random.integers(2, size=(sessions, TRIALS))
    stimulus = np.maximum(ODOURS[odour] + NOISE * random.normal(size=(sessions, TRIALS, NEURONS)), 0)
    # What the file says is what the animal smelled.
    stimulus = stimulus.astype(np.float16)
    good = right_turns(random, sessions)
    w = np.zeros((sessions, NEURONS))
    turn = np.zeros((sessions, TRIALS), np.float32)
    reward = np.zeros((sessions, TRIALS), np.float32)
    weights = np.zeros((sessions, TRIALS, NEURONS), np.float32)
    for trial in range(TRIALS):
        pre = stimulus[:, trial].astype(float)
        weights[:, trial] = w
        right = 1 / (1 + np.exp(-(w * pre).sum(axis=1)))
        post = np.where(random.random(sessions) < right, 1, -1)
        best = good[np.arange(sessions), trial, odour[:, trial]]
        won = random.random(sessions) < np.where(post == best, LIKELY, UNLIKELY)
        turn[:, trial], reward[:, trial] = post, won
        w = w + rule(pre, post[:, None], w, won[:, None])
    choice = (turn > 0).astype(np.int8)
    return dict(stimulus=stimulus, turn=turn, reward=reward, choice=choice), weights


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    random = np.random.default_rng(0)
    for part, sessions in [("train", 1000), ("valid", 200), ("test", 200)]:
        arrays, weights = behaviour(random, sessions)
        if part == "test":
            arrays["true_weights"] = weights
        np.savez(folder / f"{part}.npz", **arrays)


if __name__ == "__main__":
    main()
