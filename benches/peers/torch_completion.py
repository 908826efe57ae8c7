#!/usr/bin/env python3
"""Pattern completion in PyTorch: the network and training of specs/gallery/pattern_completion/plastic.bpm.

Five patterns of random bits are shown twice for six steps, each time with four steps of zeros after it; then comes one of them
with half of its bits set to 0. All neurons are connected with all: `y = tanh(20 x + h (w + alpha hebb))` with an `alpha` for each post neuron, and
`hebb` becomes `0.999 hebb + 0.01 h y`. The loss is half the squared error of the last step.
"""

import harness
import numpy as np

ARGUMENTS = harness.parser(__doc__, harness.COMPLETIONS)
PATTERNS, PRESENTATIONS, SHOW, GAP, PROBE = 5, 2, 6, 4, 6
RATE, FORGET = 0.01, 0.001


def episodes(draws, lanes, bits):
    """Observations [steps, lanes, bits], the probed patterns and which bits are erased."""
    patterns = draws.choice(np.array([-1, 1], dtype=np.float32), size=(lanes, PATTERNS, bits))
    x = np.zeros((PATTERNS * PRESENTATIONS * (SHOW + GAP) + PROBE, lanes, bits), dtype=np.float32)
    erased = np.zeros((lanes, bits), dtype=bool)
    probed = draws.integers(PATTERNS, size=lanes)
    for lane in range(lanes):
        step = 0
        for _ in range(PRESENTATIONS):
            for pattern in draws.permutation(PATTERNS):
                x[step : step + SHOW, lane] = patterns[lane, pattern]
                step += SHOW + GAP
        erased[lane, draws.permutation(bits)[: bits // 2]] = True
        x[step:, lane] = patterns[lane, probed[lane]] * ~erased[lane]
    return x, patterns[np.arange(lanes), probed], erased


def main():
    ARGUMENTS.add_argument("--rate", type=float, help="learning rate (default: that of the spec)")
    arguments = ARGUMENTS.parse_args()
    harness.use_processors(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    draws = np.random.default_rng(arguments.seed)
    load = harness.COMPLETIONS[arguments.workload]
    bits, lanes = load.bits, load.lanes
    symmetric = lambda: torch.empty(bits, bits).uniform_(-0.01, 0.01).requires_grad_()
    w, alpha = symmetric(), torch.empty(bits).uniform_(-0.01, 0.01).requires_grad_()
    optimizer = torch.optim.Adam([w, alpha], lr=arguments.rate or load.rate)

    def iteration():
        x, wanted, erased = episodes(draws, lanes, bits)
        h, hebb = torch.zeros(lanes, bits), torch.zeros(lanes, bits, bits)
        for given in torch.from_numpy(20 * x).unbind(0):
            drive = torch.addmm(given, h, w)
            y = torch.tanh(drive + alpha * torch.bmm(h.unsqueeze(1), hebb).squeeze(1))
            hebb = torch.baddbmm(hebb, h.unsqueeze(2), y.unsqueeze(1), beta=1 - FORGET, alpha=RATE)
            h = y
        loss = 0.5 * (h - torch.from_numpy(wanted)).square().sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([w, alpha], load.clip_norm)
        optimizer.step()
        return float(((h.detach().numpy() * wanted <= 0) & erased).sum() / erased.sum())

    harness.measure(arguments, "torch", iteration, "last_wrong_bits")


if __name__ == "__main__":
    main()
