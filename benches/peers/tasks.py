"""The parts of the two tasks that do not depend on the agent, for all lanes at once, in numpy."""

import numpy as np

CUES, SHOWN, BITS, MOST_BLANKS = 4, 2, 20, 3
BLANK, GO = -1, CUES

REWARD = 10.0


class Maze:
    """The 9 x 9 maze with its outer wall: 121 cells in a row, so that a move is an addition."""

    def __init__(self):
        side = 11
        row, column = np.divmod(np.arange(side * side), side)
        edge = (row % (side - 1) == 0) | (column % (side - 1) == 0)
        pillar = (row % 2 == 0) & (column % 2 == 0)
        self.centre = (side * side) // 2
        self.wall = (edge | pillar) & (np.arange(side * side) != self.centre)
        self.free = np.flatnonzero(~self.wall)
        self.moves = np.array([-side, side, -1, 1])
        # Place of each cell among the free ones.
        self.place = np.cumsum(~self.wall) - 1
        around = np.add.outer([-side, 0, side], [-1, 0, 1]).ravel()
        self.view = np.zeros((side * side, 9), dtype=np.float32)
        self.view[self.free] = self.wall[self.free[:, None] + around]

    def goals(self, draws, lanes):
        """A free cell other than the centre for each lane."""
        others = self.free[self.free != self.centre]
        return others[draws.integers(len(others), size=lanes)]


def cue_episodes(draws, lanes, steps):
    """Cue-reward episodes: `cue` [steps, lanes, bits], `go` [steps, lanes], and the right `answer` on a go step.

    A trial is a blank, two cues shuffled with 0 to 3 blanks, the go step and a blank.
    """
    patterns = distinct_patterns(draws, lanes)
    target = draws.integers(CUES, size=lanes)
    shortest = SHOWN + 3
    trials = -(-steps // shortest)
    blanks = draws.integers(MOST_BLANKS + 1, size=(lanes, trials))
    length = shortest + blanks
    begin = np.cumsum(length, axis=1) - length
    shown = np.argsort(draws.random((lanes, trials, CUES)), axis=2)[:, :, :SHOWN]
    slots = draws.random((lanes, trials, SHOWN + MOST_BLANKS))
    slots[np.arange(SHOWN + MOST_BLANKS) >= (SHOWN + blanks)[:, :, None]] = np.inf
    slot = np.argsort(slots, axis=2)[:, :, :SHOWN]

    # What falls behind the end goes into one more column, which is cut off.
    what = np.full((lanes, steps + 1), BLANK)
    answer = np.zeros((lanes, steps + 1), dtype=np.int64)
    lane = np.arange(lanes)[:, None]
    for k in range(SHOWN):
        what[lane, np.minimum(begin + 1 + slot[:, :, k], steps)] = shown[:, :, k]
    at_go = np.minimum(begin + length - 2, steps)
    what[lane, at_go] = GO
    answer[lane, at_go] = (shown == target[:, None, None]).any(axis=2)

    what, answer = what[:, :steps].T, answer[:, :steps].T
    is_cue = (what != BLANK) & (what != GO)
    cue = patterns[np.arange(lanes), np.where(is_cue, what, 0)] * is_cue[:, :, None]
    return cue.astype(np.float32), (what == GO).astype(np.float32), answer


def distinct_patterns(draws, lanes):
    """Four cues of 20 random signs for each lane, all different."""
    while True:
        bits = draws.integers(2, size=(lanes, CUES, BITS))
        numbers = np.sort(bits @ (1 << np.arange(BITS)), axis=1)
        if (np.diff(numbers, axis=1) > 0).all():
            return bits * 2 - 1
