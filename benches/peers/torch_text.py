#!/usr/bin/env python3
"""The small language models in PyTorch: embedding, two LSTM layers, softmax over the vocabulary, one chunk an iteration.

The model without plasticity is `torch.nn.LSTM`; in the plastic ones everything that does not depend on the state is
computed for the whole chunk at once, and a time step is as few operations as we found.
"""

import harness

ARGUMENTS = harness.parser(__doc__, harness.TEXTS)


class PlasticLayer:
    """An LSTM whose recurrent connections to the candidate are plastic. Matrices are [pre, post]."""

    def __init__(self, torch, rule, inputs, n):
        self.torch, self.rule, self.n = torch, rule, n
        draw = lambda *size: torch.empty(*size).uniform_(-0.1, 0.1).requires_grad_()
        self.into, self.bias = draw(inputs, 4 * n), draw(4 * n)
        # Input, forget and output gate, the candidate, and the modulator, which reads the same state.
        self.recurrent, self.modulator_bias = draw(n, 4 * n + 1), draw(1)
        self.alpha, self.gain = draw(n, n), draw(n, n)
        self.parameters = [self.into, self.bias, self.recurrent, self.modulator_bias, self.alpha, self.gain]
        if rule == "retroactive":
            self.eta = torch.tensor(0.1).requires_grad_()
            self.parameters.append(self.eta)

    def first(self, lanes):
        zeros, n = self.torch.zeros, self.n
        traces = 2 if self.rule == "retroactive" else 1
        return (zeros(lanes, n), zeros(lanes, n), *(zeros(lanes, n, n) for _ in range(traces)))

    def __call__(self, x, state):
        torch, n = self.torch, self.n
        h, c, hebb, *rest = state
        inputs = (x @ self.into + self.bias).unbind(0)
        out = []
        for given in inputs:
            sums = h @ self.recurrent
            candidate = given[:, 3 * n :] + sums[:, 3 * n : 4 * n]
            candidate = candidate + torch.bmm(h.unsqueeze(1), self.alpha * hebb).squeeze(1)
            i, f, o = torch.sigmoid(given[:, : 3 * n] + sums[:, : 3 * n]).chunk(3, 1)
            g = torch.tanh(candidate)
            rate = torch.tanh(sums[:, 4 * n :] + self.modulator_bias).unsqueeze(2) * self.gain
            product = h.unsqueeze(2) * g.unsqueeze(1)
            if self.rule == "retroactive":
                (e,) = rest
                hebb = torch.addcmul(hebb, rate, e).clamp(-1, 1)
                rest = [torch.lerp(e, product, self.eta)]
            else:
                hebb = torch.addcmul(hebb, rate, product).clamp(-1, 1)
            c = f * c + i * g
            h = o * torch.tanh(c)
            out.append(h)
        return torch.stack(out), (h, c, hebb, *rest)


class PlainLayer:
    """`torch.nn.LSTM`."""

    def __init__(self, torch, inputs, n):
        self.torch, self.n = torch, n
        self.layer = torch.nn.LSTM(inputs, n)
        self.parameters = list(self.layer.parameters())

    def first(self, lanes):
        return tuple(self.torch.zeros(1, lanes, self.n) for _ in range(2))

    def __call__(self, x, state):
        return self.layer(x, state)


def main():
    arguments = ARGUMENTS.parse_args()
    harness.use_processors(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    load = harness.TEXTS[arguments.workload]
    draw = lambda *size: torch.empty(*size).uniform_(-0.1, 0.1).requires_grad_()
    embedding, readout, bias = draw(load.words, load.embedding), draw(load.hidden, load.words), draw(load.words)
    layers = []
    inputs = load.embedding
    for _ in range(2):
        if load.rule == "lstm":
            layers.append(PlainLayer(torch, inputs, load.hidden))
        else:
            layers.append(PlasticLayer(torch, load.rule, inputs, load.hidden))
        inputs = load.hidden
    parameters = [embedding, readout, bias] + [p for layer in layers for p in layer.parameters]
    optimizer = torch.optim.SGD(parameters, lr=load.rate, weight_decay=1e-6)
    # A text in which a word tells the next, so that the loss can fall.
    text = torch.cumsum(torch.randint(0, 3, (load.steps * 50 + 1, load.lanes)), 0) * 37 % load.words
    states = [layer.first(load.lanes) for layer in layers]
    number = 0

    def iteration():
        nonlocal states, number
        start = number % 50 * load.steps
        number += 1
        x = torch.nn.functional.embedding(text[start : start + load.steps], embedding)
        new = []
        for layer, state in zip(layers, states):
            x, state = layer(x, state)
            new.append(tuple(part.detach() for part in state))
        states = new
        scores = torch.addmm(bias, x.reshape(-1, load.hidden), readout)
        loss = torch.nn.functional.cross_entropy(scores, text[start + 1 : start + 1 + load.steps].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, load.clip_norm)
        optimizer.step()
        # The others report rewards, which rise where they learn.
        return -float(loss.detach())

    harness.measure(arguments, "torch", iteration)


if __name__ == "__main__":
    main()
