#!/usr/bin/env python3
"""The workloads in PyTorch: lanes in a batch, the environment in numpy, gradients by autograd.

Eager by default; `--compile` hands the step of the network to torch.compile.
"""

import harness
import numpy as np
import tasks

ARGUMENTS = harness.parser(__doc__)
ARGUMENTS.add_argument("--compile", action="store_true", help="compile the step of the network")


class Network:
    """Parameters, and one time step of all lanes. Matrices are [pre, post]."""

    def __init__(self, torch, load):
        self.torch, self.load = torch, load
        n = load.hidden
        self.parameters = []

        def parameter(values):
            values.requires_grad_()
            self.parameters.append(values)
            return values

        def linear(inputs, outputs):
            reach = inputs**-0.5
            draw = lambda *size: parameter(torch.empty(*size).uniform_(-reach, reach))
            return draw(inputs, outputs), draw(outputs)

        block = lambda: parameter(torch.rand(n, n) * load.scale)
        self.into, self.into_bias = linear(load.inputs, n)
        self.w = block()
        if load.rule != "nonplastic":
            self.alpha = block()
        if load.rule in ("plastic", "retroactive"):
            self.eta = parameter(torch.tensor(load.eta))
        if load.modulated:
            self.modulator, self.modulator_bias = linear(n, 1)
        if load.fan_out:
            self.gain, self.gain_bias = linear(1, n)
        # Policy and value are one product.
        self.out, self.out_bias = linear(n, load.actions + 1)

    def first(self):
        """Activity and traces at the start of an episode."""
        lanes, n = self.load.lanes, self.load.hidden
        traces = {"nonplastic": 0, "retroactive": 2}.get(self.load.rule, 1)
        zeros = self.torch.zeros
        return (zeros(lanes, n), *(zeros(lanes, n, n) for _ in range(traces)))

    def step(self, x, h, hebb=None, e=None):
        torch, load = self.torch, self.load
        drive = torch.addmm(self.into_bias, x, self.into).addmm(h, self.w)
        if hebb is None:
            return (torch.tanh(drive),)
        y = torch.tanh(drive + self.transmit(h, hebb))
        if load.rule == "plastic":
            return y, self.imprint(hebb, h, self.eta * y).clamp(-load.bound, load.bound)
        m = torch.tanh(torch.addmm(self.modulator_bias, y, self.modulator))
        if load.fan_out:
            m = torch.addmm(self.gain_bias, m, self.gain)
        if load.rule == "simple":
            return y, self.imprint(hebb, h, m * y).clamp(-load.bound, load.bound)
        hebb = torch.addcmul(hebb, m.unsqueeze(2), e).clamp(-load.bound, load.bound)
        return y, hebb, self.imprint((1 - self.eta) * e, h, self.eta * y)

    def transmit(self, h, hebb):
        """What the plastic parts of the connections carry."""
        return self.torch.bmm(h.unsqueeze(1), self.alpha * hebb).squeeze(1)

    def imprint(self, trace, pre, post):
        """The trace plus the product of both sides, of each lane."""
        return self.torch.baddbmm(trace, pre.unsqueeze(2), post.unsqueeze(1))


class MazeLanes:
    """Maze episodes of all lanes."""

    def __init__(self, load):
        self.load, self.maze = load, tasks.Maze()

    def start(self, draws):
        load, maze = self.load, self.maze
        self.goal = maze.goals(draws, load.lanes)
        self.position = np.full(load.lanes, maze.centre)
        self.arrival = draws.integers(len(maze.free) - 1, size=(load.steps, load.lanes))
        self.reward = np.zeros(load.lanes, dtype=np.float32)
        self.action = None

    def observe(self, step):
        load = self.load
        x = np.zeros((load.lanes, load.inputs), dtype=np.float32)
        x[:, :9] = self.maze.view[self.position]
        x[:, 10] = 1.0
        x[:, 11] = step / load.steps
        x[:, 12] = self.reward
        if self.action is not None:
            x[np.arange(load.lanes), 13 + self.action] = 1.0
        return x

    def act(self, step, action):
        maze = self.maze
        ahead = self.position + maze.moves[action]
        position = np.where(maze.wall[ahead], self.position, ahead)
        found = position == self.goal
        # Numbered without the goal.
        arrival = self.arrival[step]
        arrival = maze.free[arrival + (arrival >= maze.place[self.goal])]
        self.position = np.where(found, arrival, position)
        self.action = action
        self.reward = np.float32(tasks.REWARD) * found
        return self.reward


class CueLanes:
    """Cue-reward episodes of all lanes."""

    def __init__(self, load):
        self.load = load

    def start(self, draws):
        load = self.load
        cue, self.go, self.answer = tasks.cue_episodes(draws, load.lanes, load.steps)
        self.x = np.zeros((load.steps, load.lanes, load.inputs), dtype=np.float32)
        self.x[:, :, :20] = cue
        self.x[:, :, 20] = self.go
        self.x[:, :, 21] = 1.0
        self.x[:, :, 22] = (np.arange(load.steps) / load.steps)[:, None]

    def observe(self, step):
        return self.x[step]

    def act(self, step, action):
        reward = self.go[step] * np.where(action == self.answer[step], 1, -1).astype(np.float32)
        if step + 1 < self.load.steps:
            self.x[step + 1, :, 23] = reward
            self.x[step + 1, np.arange(self.load.lanes), 25 + action] = 1.0
        return reward


def main():
    arguments = ARGUMENTS.parse_args()
    harness.use_processors(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    draws = np.random.default_rng(arguments.seed)
    load = harness.WORKLOADS[arguments.workload]
    network = Network(torch, load)
    environment = MazeLanes(load) if load.task == "maze" else CueLanes(load)
    optimizer = torch.optim.Adam(network.parameters, lr=load.rate, eps=load.epsilon)
    advance = torch.compile(network.step, dynamic=False) if arguments.compile else network.step
    steps, lanes, choices = load.steps, load.lanes, load.actions

    # returns[t] is the sum over k >= t of discount^(k - t) reward[k].
    ahead = np.arange(steps)[None, :] - np.arange(steps)[:, None]
    discounts = np.where(ahead >= 0, load.discount ** np.maximum(ahead, 0), 0.0).astype(np.float32)

    def iteration():
        environment.start(draws)
        # The largest of logits plus Gumbel noise is a draw from their softmax.
        noise = draws.gumbel(size=(steps, lanes, choices)).astype(np.float32)
        with torch.no_grad():
            policy = network.out[:, :choices].contiguous()
            policy_bias = network.out_bias[:choices].clone()
        actions = np.empty((steps, lanes), dtype=np.int64)
        rewards = np.empty((steps, lanes), dtype=np.float32)
        state = network.first()
        activity = []
        for t in range(steps):
            state = advance(torch.from_numpy(environment.observe(t)), *state)
            activity.append(state[0])
            logits = torch.addmm(policy_bias, state[0].detach(), policy).numpy()
            actions[t] = (logits + noise[t]).argmax(axis=1)
            rewards[t] = environment.act(t, actions[t])
        read = torch.stack(activity) @ network.out + network.out_bias
        logs = torch.log_softmax(read[:, :, :choices], dim=2)
        taken = logs.gather(2, torch.from_numpy(actions).unsqueeze(2)).squeeze(2)
        error = torch.from_numpy(discounts @ rewards) - read[:, :, choices]
        loss = load.value * error.square() - taken * error.detach()
        loss = (loss.sum() + load.concentration * logs.exp().square().sum()) / (steps * lanes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters, load.clip_norm)
        optimizer.step()
        return float(rewards.sum(axis=0).mean())

    harness.measure(arguments, "torch-compiled" if arguments.compile else "torch", iteration)


if __name__ == "__main__":
    main()
