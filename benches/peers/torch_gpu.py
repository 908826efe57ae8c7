#!/usr/bin/env python3
"""The workloads in PyTorch on a GPU: environment, network, loss, gradients and Adam without a word to the processor.

Modes: `eager`; `compile` hands a time step of environment and network to torch.compile; `graphs` captures the whole
iteration as one CUDA graph; `compile-graphs` captures what torch.compile made. Prints one line of JSON for each
workload, batch and mode. `--check` compares with the tasks in numpy and with finite differences of the equations.
"""

import argparse
import dataclasses
import gc
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time

import harness
import numpy as np
import tasks
import torch
import torch_peer

MODES = ["eager", "compile", "graphs", "compile-graphs"]
WORKLOADS = ["maze", "cue-retroactive"]
BATCHES = [30, 4096]


class Network(torch_peer.Network):
    """The network of torch_peer.py, whose outer products and plastic sums torch.compile can merge with what is around.

    `gemm` leaves them to the library of matrix products, which eagerly keeps the fewest traces.
    """

    def __init__(self, load, device, form):
        with torch.device(device):
            super().__init__(torch, load)
            self.zeros = super().first()
        self.form = form

    def first(self):
        # Nothing writes to a state, so one serves all episodes.
        return self.zeros

    def transmit(self, h, hebb):
        if self.form == "gemm":
            return super().transmit(h, hebb)
        return (h.unsqueeze(2) * (self.alpha * hebb)).sum(1)

    def imprint(self, trace, pre, post):
        if self.form == "gemm":
            return super().imprint(trace, pre, post)
        return trace + pre.unsqueeze(2) * post.unsqueeze(1)


def rows(values):
    """`values[t]` for each t, each on a boundary of 16 bytes: torch.compile would copy what is not."""
    size = values.shape[1:]
    flat = values.flatten(1)
    count = flat.shape[1]
    short = -count % 4
    if short:
        flat = torch.nn.functional.pad(flat, (0, short))
    return [row[:count].view(size) for row in flat.unbind(0)]


class Maze:
    """Maze episodes of all lanes.

    A step leaves a code: the action, plus the number of actions where the reward was found. `echo` is what a code
    adds to the next observation, `pay` its reward; the last code is that of "no action yet".
    """

    def __init__(self, load, device):
        self.load = load
        maze = tasks.Maze()
        to = lambda values, kind=torch.int64: torch.as_tensor(values, dtype=kind, device=device)
        real = torch.get_default_dtype()
        cells = len(maze.wall)
        ahead = np.clip(np.arange(cells)[:, None] + maze.moves, 0, cells - 1)
        self.ahead = to(np.where(maze.wall[ahead], np.arange(cells)[:, None], ahead).ravel())
        self.free, self.place = to(maze.free), to(maze.place)
        self.others = to(maze.free[maze.free != maze.centre])
        seen = np.zeros((cells, load.inputs))
        seen[:, :9] = maze.view
        seen[:, 10] = 1.0
        self.seen = to(seen, real)
        clock = np.zeros((load.steps, load.inputs))
        clock[:, 11] = np.arange(load.steps) / load.steps
        self.clock = rows(to(clock, real))
        echo = np.zeros((9, load.inputs))
        echo[np.arange(8), 13 + np.arange(8) % 4] = 1.0
        echo[4:8, 12] = tasks.REWARD
        self.echo, self.pay = to(echo, real), to(echo[:, 12], real)
        self.begin = to(np.full(load.lanes, maze.centre)), to(np.full(load.lanes, 8))

    def draw(self):
        """What each step needs to know, and the state before the first."""
        steps, lanes = self.load.steps, self.load.lanes
        device = self.free.device
        self.goal = self.others[torch.randint(len(self.others), (lanes,), device=device)]
        # Numbered without the goal.
        self.arrival = torch.randint(len(self.free) - 1, (steps, lanes), device=device)
        arrival = self.free[self.arrival + (self.arrival >= self.place[self.goal])]
        return list(zip(self.clock, itertools.repeat(self.goal), rows(arrival))), self.begin

    def observe(self, now, world):
        clock, _, _ = now
        position, code = world
        return self.seen.index_select(0, position) + self.echo.index_select(0, code) + clock

    def act(self, now, world, action):
        _, goal, arrival = now
        cell = self.ahead.index_select(0, torch.add(action, world[0], alpha=4))
        found = cell == goal
        return torch.where(found, arrival, cell), torch.add(action, found, alpha=4)


class Cue:
    """Cue-reward episodes of all lanes. A code is the action, plus 2 where it was right on a go step, 4 where wrong."""

    BLANK = tasks.CUES + 1

    def __init__(self, load, device):
        self.load, self.device = load, device
        to = lambda values, kind: torch.as_tensor(values, dtype=kind, device=device)
        real = torch.get_default_dtype()
        base = np.zeros((load.steps, load.lanes, load.inputs))
        base[:, :, 21] = 1.0
        base[:, :, 22] = (np.arange(load.steps) / load.steps)[:, None]
        self.base = to(base, real)
        echo = np.zeros((7, load.inputs))
        echo[np.arange(6), 25 + np.arange(6) % 2] = 1.0
        echo[2:4, 23] = 1.0
        echo[4:6, 23] = -1.0
        self.echo, self.pay = to(echo, real), to(echo[:, 23], real)
        self.begin = (to(np.full(load.lanes, 6), torch.int64),)

    def patterns(self):
        """Four different cues of 20 random signs for each lane: draws without replacement of their numbers."""
        taken = []
        for k in range(tasks.CUES):
            number = torch.randint(2**tasks.BITS - k, (self.load.lanes,), device=self.device)
            # Counted without those taken.
            if taken:
                for earlier in torch.stack(taken, 1).sort(1).values.unbind(1):
                    number = number + (number >= earlier)
            taken.append(number)
        bits = torch.arange(tasks.BITS, device=self.device)
        return (torch.stack(taken, 1).unsqueeze(2) >> bits & 1) * 2 - 1

    def draw(self):
        """What each step needs to know, and the state before the first."""
        steps, lanes = self.load.steps, self.load.lanes
        cues, shown_cues, most_blanks = tasks.CUES, tasks.SHOWN, tasks.MOST_BLANKS
        on = {"device": self.device}
        self.cues = self.patterns()
        self.target = torch.randint(cues, (lanes,), **on)
        shortest = shown_cues + 3
        trials = -(-steps // shortest)
        blanks = torch.randint(most_blanks + 1, (lanes, trials), **on)
        length = shortest + blanks
        begin = length.cumsum(1) - length
        shown = torch.rand(lanes, trials, cues, **on).argsort(2)[:, :, :shown_cues]
        slots = torch.rand(lanes, trials, shown_cues + most_blanks, **on)
        unused = torch.arange(shown_cues + most_blanks, **on) >= (shown_cues + blanks).unsqueeze(2)
        slot = slots.masked_fill(unused, 2.0).argsort(2)[:, :, :shown_cues]

        # What falls behind the end goes into one more column, which is cut off.
        what = torch.full((lanes, steps + 1), self.BLANK, **on)
        right = torch.zeros((lanes, steps + 1), dtype=torch.int64, **on)
        for k in range(shown_cues):
            what.scatter_(1, (begin + 1 + slot[:, :, k]).clamp(max=steps), shown[:, :, k])
        at_go = (begin + length - 2).clamp(max=steps)
        what.scatter_(1, at_go, tasks.GO)
        right.scatter_(1, at_go, (shown == self.target[:, None, None]).any(2).long())

        what, self.answer = what[:, :steps], right[:, :steps].t()
        # Neither the go bit nor a blank has a pattern.
        signs = torch.nn.functional.pad(self.cues, (0, 0, 0, 2))
        cue = signs.gather(1, what.unsqueeze(2).expand(-1, -1, tasks.BITS))
        go = (what == tasks.GO).t()
        self.x = self.base.clone()
        self.x[:, :, : tasks.BITS] = cue.transpose(0, 1)
        self.x[:, :, tasks.BITS] = go
        action = torch.arange(2, **on)
        codes = action + 2 * go.unsqueeze(2) * (1 + (action != self.answer.unsqueeze(2)))
        return list(zip(rows(self.x), rows(codes))), self.begin

    def observe(self, now, world):
        return now[0] + self.echo.index_select(0, world[0])

    def act(self, now, world, action):
        return (now[1].gather(1, action.unsqueeze(1)).squeeze(1),)


class Training:
    """The agent, its environment and its optimizer.

    With `segment` 0 one pass through the episode keeps all that the gradients need. Otherwise the episode is played
    without gradients, which keeps the state at the start of every segment, and the segments are run again, last first.
    """

    def __init__(self, load, device, form="gemm", segment=0, compiled=None):
        self.load, self.device, self.segment = load, torch.device(device), segment
        self.network = Network(load, device, form)
        self.world = (Maze if load.task == "maze" else Cue)(load, device)
        self.parameters = self.network.parameters
        for p in self.parameters:
            p.grad = torch.zeros_like(p)
        self.gradient = [p.grad for p in self.parameters]
        on_gpu = self.device.type == "cuda"
        choice = {"capturable": True, "fused": True} if on_gpu else {}
        self.optimizer = torch.optim.Adam(self.parameters, lr=load.rate, eps=load.epsilon, **choice)
        ahead = np.arange(load.steps)[None, :] - np.arange(load.steps)[:, None]
        discounts = np.where(ahead >= 0, load.discount ** np.maximum(ahead, 0), 0.0)
        self.discounts = torch.as_tensor(discounts, dtype=torch.get_default_dtype(), device=device)
        self.one = torch.ones((), device=device)
        self.advance, self.step = self.play, self.network.step
        if compiled:
            self.advance = torch.compile(self.play, dynamic=False, mode=compiled)
            self.step = torch.compile(self.network.step, dynamic=False, mode=compiled)

    def play(self, now, world, state, noise, policy, policy_bias):
        """A time step: observation, network, action, and what the action does."""
        x = self.world.observe(now, world)
        state = self.network.step(x, *state)
        logits = torch.addmm(policy_bias, state[0].detach(), policy)
        return x, self.world.act(now, world, (logits + noise).argmax(1)), state

    def episode(self):
        """Observations, codes, and the states at time 0, 1, ..., T."""
        load = self.load
        steps, choices = load.steps, load.actions
        now, world = self.world.draw()
        # The largest of logits plus Gumbel noise is a draw from their softmax.
        noise = torch.empty(steps, load.lanes, choices, device=self.device).exponential_().log_().neg_()
        with torch.no_grad():
            policy = self.network.out[:, :choices].contiguous()
            policy_bias = self.network.out_bias[:choices].clone()
        state = self.network.first()
        xs, codes, states = [], [], [state]
        for t, noise in enumerate(rows(noise)):
            x, world, state = self.advance(now[t], world, state, noise, policy, policy_bias)
            xs.append(x)
            codes.append(world[-1])
            # Autograd keeps the traces it needs itself.
            wanted = self.segment and (t + 1) % self.segment == 0
            states.append(state if wanted else state[:1])
        return xs, torch.stack(codes), states

    def loss(self, activity, actions, returns):
        load = self.load
        read = activity @ self.network.out + self.network.out_bias
        logs = torch.log_softmax(read[:, :, : load.actions], dim=2)
        taken = logs.gather(2, actions.unsqueeze(2)).squeeze(2)
        error = returns - read[:, :, load.actions]
        loss = load.value * error.square() - taken * error.detach()
        return (loss.sum() + load.concentration * logs.exp().square().sum()) / (load.steps * load.lanes)

    def gradients(self):
        """Plays an episode and leaves the gradients in `gradient`; the mean reward of an episode."""
        if self.segment:
            with torch.no_grad():
                xs, codes, states = self.episode()
            rewards = self.world.pay[codes]
            self.backward(xs, codes, rewards, states)
        else:
            xs, codes, states = self.episode()
            rewards = self.world.pay[codes]
            activity = torch.stack([state[0] for state in states[1:]])
            loss = self.loss(activity, codes % self.load.actions, self.discounts @ rewards)
            found = torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
            torch._foreach_copy_(self.gradient, found)
        self.played = xs, codes
        return rewards.sum(0).mean()

    def backward(self, xs, codes, rewards, states, segment=None):
        """Gradients of an episode that was played, segment by segment."""
        steps, segment = self.load.steps, segment or self.segment
        actions, returns = codes % self.load.actions, self.discounts @ rewards
        count = len(self.parameters)
        later = ()
        for start in reversed(range(0, steps, segment)):
            span = slice(start, min(start + segment, steps))
            begin = state = tuple(part.detach().requires_grad_() for part in states[start])
            activity = []
            for x in xs[span]:
                state = self.step(x, *state)
                activity.append(state[0])
            loss = self.loss(torch.stack(activity), actions[span], returns[span])
            ends = state if later else ()
            found = torch.autograd.grad(
                [loss, *ends], [*self.parameters, *begin], [self.one, *later], allow_unused=True, materialize_grads=True
            )
            if later:
                torch._foreach_add_(self.gradient, found[:count])
            else:
                torch._foreach_copy_(self.gradient, found[:count])
            later = found[count:]
            # Nothing of this segment is to live on while the next one runs.
            del state, activity, loss, ends, found, begin

    def update(self):
        torch.nn.utils.clip_grad_norm_(self.parameters, self.load.clip_norm, foreach=True)
        self.optimizer.step()

    def iteration(self):
        reward = self.gradients()
        # A tensor of an episode that stays would be memory of two episodes.
        del self.played
        self.update()
        return reward


def captured(function, warm_up=3):
    """`function` as a CUDA graph: what replays it, and the result, which each replay overwrites."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_up):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    # Else the memory of the warm-up and that of the graph would both be held.
    gc.collect()
    torch.cuda.empty_cache()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph, result


def segment_for(load, device):
    """0 where everything that the gradients need fits, else the length of segments that needs the least."""
    if load.rule == "nonplastic":
        return 0
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    trace = 4 * load.lanes * load.hidden**2
    # The trace, with and without alpha, and before it was clipped; the eligibility trace.
    traces = 2 if load.rule == "retroactive" else 1
    kept = traces + 2
    if trace * kept * load.steps < 0.6 * memory:
        return 0
    return max(1, round(math.sqrt(traces * load.steps / kept)))


def sized(arguments, workload, batch):
    """The workload at the batch, size and length asked for."""
    load = harness.WORKLOADS[workload]
    return dataclasses.replace(
        load, lanes=batch, hidden=arguments.size or load.hidden, steps=arguments.steps or load.steps
    )


def measure(arguments, workload, batch, mode):
    """Times one combination and returns its line."""
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no CUDA device")
    if "graphs" in mode and not on_gpu:
        raise RuntimeError("CUDA graphs need --device cuda")
    torch.manual_seed(arguments.seed)
    load = sized(arguments, workload, batch)
    segment = segment_for(load, device) if arguments.segment is None else arguments.segment
    compiled = arguments.compile_mode if "compile" in mode else None
    form = arguments.form or ("pointwise" if compiled else "gemm")
    training = Training(load, device, form, segment, compiled)
    fell_back = None
    if compiled:
        try:
            training.iteration()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            fell_back = short(error)
            note(f"{workload}, batch {batch}, {mode}: torch.compile failed, the step runs eagerly: {fell_back}")
            form = arguments.form or "gemm"
            training = Training(load, device, form, segment)
    iteration = training.iteration
    if "graphs" in mode:
        graph, result = captured(iteration)

        def iteration():
            graph.replay()
            return result

    wait = torch.cuda.synchronize if on_gpu else lambda: None
    for _ in range(arguments.warm_up):
        iteration()
    times, rewards = [], []
    for _ in range(arguments.iterations):
        wait()
        start = time.perf_counter()
        reward = iteration()
        wait()
        times.append(time.perf_counter() - start)
        rewards.append(float(reward))
    line = {
        "median_seconds": statistics.median(times),
        "min_seconds": min(times),
        "iterations": len(times),
        "hidden": load.hidden,
        "steps": load.steps,
        "form": form,
        "segment": segment,
        "tf32": arguments.tf32,
        "last_reward": statistics.fmean(rewards[-100:]),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
    }
    if on_gpu:
        line["peak_memory_bytes"] = torch.cuda.max_memory_allocated(device)
        line["reserved_memory_bytes"] = torch.cuda.max_memory_reserved(device)
    else:
        line["peak_memory_bytes"] = harness.peak_memory()
    if fell_back:
        line["fell_back"] = fell_back
    return line


def report(arguments, workload, batch, mode):
    """Prints the line of one combination; whether it succeeded."""
    line = {"peer": "torch-gpu", "workload": workload, "batch": batch, "mode": mode}
    try:
        line |= measure(arguments, workload, batch, mode)
    except Exception as error:
        line |= {"error": short(error), "torch": torch.__version__}
    print(json.dumps(line), flush=True)
    return "error" not in line


def in_a_child(arguments, workload, batch, mode):
    """The same in a process of its own, so that neither memory nor a broken device is handed on."""
    command = [sys.executable, os.path.abspath(__file__), "--workload", workload, "--batch", str(batch), "--mode", mode]
    numbers = ["iterations", "warm_up", "seed", "threads", "size", "steps", "segment"]
    for name in ["device", "form", "compile_mode", *numbers]:
        value = getattr(arguments, name)
        if value is not None:
            command += ["--" + name.replace("_", "-"), str(value)]
    if arguments.tf32:
        command.append("--tf32")
    line = {"peer": "torch-gpu", "workload": workload, "batch": batch, "mode": mode}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.limit)
    except subprocess.TimeoutExpired:
        print(json.dumps(line | {"error": f"took more than {arguments.limit} s"}), flush=True)
        return False
    sys.stderr.write(done.stderr)
    if done.stdout.strip():
        print(done.stdout.strip(), flush=True)
        return done.returncode == 0
    why = done.stderr.strip().splitlines()[-1:] or [""]
    print(json.dumps(line | {"error": f"ended with status {done.returncode}: {why[0]}"}), flush=True)
    return False


# What follows is `--check`.


def reference(load, p, xs, actions, returns, advantage=None):
    """The loss in numpy, from the equations, lane by lane; which trace entries were clipped; and the advantages.

    `advantage` is a constant of the loss, so whoever differentiates hands in that of the undisturbed parameters.
    """
    steps, lanes, n = load.steps, load.lanes, load.hidden
    total = 0.0
    clipped, found = [], np.zeros((steps, lanes))
    for lane in range(lanes):
        h, hebb, e = np.zeros(n), np.zeros((n, n)), np.zeros((n, n))
        for t in range(steps):
            weights = p["w"] + (p["alpha"] * hebb if "alpha" in p else 0.0)
            y = np.tanh(p["into_bias"] + xs[t, lane] @ p["into"] + h @ weights)
            product = np.outer(h, y)
            if load.modulated:
                m = np.tanh(y @ p["modulator"][:, 0] + p["modulator_bias"][0])
                if load.fan_out:
                    m = p["gain"][0] * m + p["gain_bias"]
            if load.rule == "plastic":
                hebb = hebb + p["eta"] * product
            elif load.rule == "simple":
                hebb = hebb + m * product
            elif load.rule == "retroactive":
                hebb = hebb + m * e
                e = (1 - p["eta"]) * e + p["eta"] * product
            clipped.append(np.sign(hebb) * (np.abs(hebb) > load.bound))
            hebb = np.clip(hebb, -load.bound, load.bound)
            h = y
            logits = y @ p["out"][:, : load.actions] + p["out_bias"][: load.actions]
            policy = np.exp(logits - logits.max())
            policy /= policy.sum()
            error = returns[t, lane] - (y @ p["out"][:, load.actions] + p["out_bias"][load.actions])
            found[t, lane] = error
            weight = error if advantage is None else advantage[t, lane]
            total += load.value * error**2 - np.log(policy[actions[t, lane]]) * weight
            total += load.concentration * (policy**2).sum()
    return total / (steps * lanes), np.array(clipped), found


def named(network):
    """Each parameter under the name of its attribute."""
    return {name: value for name, value in vars(network).items() if torch.is_tensor(value) and value.requires_grad}


def small(workload):
    """A workload of which finite differences are soon taken, and in which many traces reach the bound."""
    load = harness.WORKLOADS[workload]
    return dataclasses.replace(load, hidden=6, lanes=4, steps=12, scale=0.8, bound=0.03, eta=0.3)


def check_differences(workload, device, seed):
    """Gradients of every form against finite differences of the reference."""
    load = small(workload)
    torch.manual_seed(seed)
    training = Training(load, device)
    # Every action pays something, for an episode this short finds nothing.
    pay = torch.randn(training.world.pay.shape, device=device)
    training.world.pay = pay
    training.gradients()
    values = named(training.network)
    xs, codes = training.played
    seen, done = torch.stack(xs).cpu().numpy(), (codes % load.actions).cpu().numpy()
    rewards = pay[codes]
    returns = np.zeros((load.steps + 1, load.lanes))
    for t in reversed(range(load.steps)):
        returns[t] = rewards[t].cpu().numpy() + load.discount * returns[t + 1]
    p = {name: value.detach().cpu().numpy().copy() for name, value in values.items()}
    _, clipped, advantage = reference(load, p, seen, done, returns)
    share = float(np.abs(clipped).mean())
    plastic = load.rule != "nonplastic"
    require(not plastic or 0.05 < share < 0.95, f"{workload}: {share:.0%} of the trace entries are clipped")

    differences, smaller = {}, 0
    for name, array in p.items():
        slope = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            kept, reach = float(array[place]), 1e-5
            while True:
                sides = []
                for sign in (1, -1):
                    array[place] = kept + sign * reach
                    sides.append(reference(load, p, seen, done, returns, advantage))
                array[place] = kept
                # Where an entry is clipped on one side only, there is a kink between.
                if reach < 1e-8 or (sides[0][1] == sides[1][1]).all():
                    break
                reach /= 10
                smaller += 1
            slope[place] = (sides[0][0] - sides[1][0]) / (2 * reach)
        differences[name] = slope

    def worst():
        largest = 0.0
        for name, value in values.items():
            slope = differences[name]
            off = np.abs(value.grad.cpu().numpy() - slope).max() / max(np.abs(slope).max(), 1e-6)
            largest = max(largest, float(off))
        return largest

    # Left over from the pass that keeps everything.
    found = {"keeps all": worst()}
    for form, segment in itertools.product(("gemm", "pointwise"), (1, 5, load.steps)):
        training.network.form = form
        training.segment = segment
        with torch.no_grad():
            states = [training.network.first()]
            for x in xs:
                states.append(training.network.step(x, *states[-1]))
        training.backward(xs, codes, rewards, states)
        found[f"{form}, segments of {segment}"] = worst()
    for way, off in found.items():
        require(off < 1e-5, f"{workload}, {way}: gradients are off by {off:.1e}")
    count = sum(value.numel() for value in values.values())
    say(
        f"{workload}: {count} gradients, {share:.0%} of the trace entries clipped; furthest from finite differences "
        f"{max(found.values()):.1e} of the largest, over {len(found)} ways; {smaller} steps made smaller at a kink"
    )


def check_mode(workload, device, mode, seed):
    """Gradients of a mode against the eager ones of the same episode."""
    load = small(workload)
    for segment in (0, 5):
        torch.manual_seed(seed)
        compiled = "default" if "compile" in mode else None
        training = Training(load, device, "pointwise" if compiled else "gemm", segment, compiled)
        training.world.pay = torch.randn(training.world.pay.shape, device=device)
        if "graphs" in mode:
            graph, _ = captured(training.gradients)
            episodes = []
            for _ in range(2):
                graph.replay()
                episodes.append(training.played[1].clone())
            require((episodes[0] != episodes[1]).any(), f"{workload}, {mode}: each replay draws the same episode")
        else:
            for _ in range(2):
                training.gradients()
        found = [value.clone() for value in training.gradient]
        xs, codes = training.played
        training.network.form, training.step = "gemm", training.network.step
        rewards = training.world.pay[codes]
        training.backward(xs, codes, rewards, [training.network.first()], load.steps)
        pairs = list(zip(found, training.gradient))
        off = max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-6)) for a, b in pairs)
        require(off < 1e-9, f"{workload}, {mode}: gradients are off by {off:.1e}")
        say(f"{workload}, {mode}, segment {segment}: gradients off by {off:.1e}")


def check_maze(device):
    """Observations and rewards against the maze in numpy."""
    load = dataclasses.replace(harness.WORKLOADS["maze"], hidden=4, lanes=32, steps=300)
    training = Training(load, device)
    with torch.no_grad():
        xs, codes, _ = training.episode()
    lanes = torch_peer.MazeLanes(load)
    lanes.start(np.random.default_rng(0))
    lanes.goal = training.world.goal.cpu().numpy()
    lanes.arrival = training.world.arrival.cpu().numpy()
    same_episode("maze", training, lanes, xs, codes)
    goals = np.bincount(training.world.goal.cpu().numpy(), minlength=121)
    require(goals[60] == 0, "a goal in the centre")


def check_cue(device):
    """Observations and rewards against those in numpy, and what makes an episode against its definition."""
    load = dataclasses.replace(harness.WORKLOADS["cue-retroactive"], hidden=4, lanes=200)
    training = Training(load, device)
    with torch.no_grad():
        xs, codes, _ = training.episode()
    world = training.world
    lanes = torch_peer.CueLanes(load)
    lanes.x = world.x.cpu().numpy().copy()
    lanes.go, lanes.answer = lanes.x[:, :, 20].copy(), world.answer.cpu().numpy()
    base = lanes.x.copy()
    same_episode("cue", training, lanes, xs, codes)

    cues, target = world.cues.cpu().numpy(), world.target.cpu().numpy()
    lengths = []
    for lane in range(load.lanes):
        require(len({tuple(cue) for cue in cues[lane]}) == tasks.CUES, "two cues are the same")
        names = {tuple(cue): k for k, cue in enumerate(cues[lane])}
        blank = (0,) * tasks.BITS
        shown, begin = [], 0
        for t in range(load.steps):
            bits = tuple(base[t, lane, : tasks.BITS].astype(int))
            require(bits == blank or t > begin, "a trial does not begin with a blank")
            if bits != blank:
                shown.append(names[bits])
            if base[t, lane, tasks.BITS] and t + 1 < load.steps:
                require(len(shown) == 2 and shown[0] != shown[1] and bits == blank, "not two cues before go")
                require(lanes.answer[t, lane] == (target[lane] in shown), "the wrong answer")
                last = tuple(base[t + 1, lane, : tasks.BITS].astype(int))
                require(last == blank and not base[t + 1, lane, tasks.BITS], "no blank after go")
                lengths.append(t + 2 - begin)
                shown, begin = [], t + 2
    counts = np.bincount(lengths, minlength=9)
    require(counts[:5].sum() == 0 and counts[9:].sum() == 0, "a trial of the wrong length")
    # Short trials fit before the end a little more often.
    require(0.2 < counts[5:9].min() / len(lengths) and counts[5:9].max() / len(lengths) < 0.3, f"lengths {counts}")


def same_episode(name, training, lanes, xs, codes):
    """Plays the actions of an episode again in numpy."""
    load = training.load
    rewards = training.world.pay[codes].cpu().numpy()
    actions = (codes % load.actions).cpu().numpy()
    require(np.abs(rewards).sum() > 0, f"{name}: no reward in the episode")
    for t in range(load.steps):
        seen = np.abs(lanes.observe(t) - xs[t].cpu().numpy()).max()
        require(seen < 1e-6, f"{name}: another observation in step {t}")
        require((lanes.act(t, actions[t]) == rewards[t]).all(), f"{name}: another reward in step {t}")
    say(f"{name}: the same episode as in numpy, {load.lanes} lanes, {load.steps} steps, {(rewards > 0).sum()} rewards")


def check_update(device):
    """The clip of the gradient norm and Adam against their formulas."""
    load = small("maze")
    training = Training(load, device)
    values = [p.detach().cpu().numpy().copy() for p in training.parameters]
    means = [np.zeros_like(v) for v in values]
    squares = [np.zeros_like(v) for v in values]
    for number, size in enumerate((0.01, 3.0, 0.1), 1):
        for g in training.gradient:
            g.copy_(torch.randn_like(g) * size)
        gradients = [g.cpu().numpy().copy() for g in training.gradient]
        training.update()
        norm = math.sqrt(sum((g**2).sum() for g in gradients))
        factor = min(1.0, load.clip_norm / (norm + 1e-6))
        for k, g in enumerate(gradients):
            means[k] = 0.9 * means[k] + 0.1 * factor * g
            squares[k] = 0.999 * squares[k] + 0.001 * (factor * g) ** 2
            change = means[k] / (1 - 0.9**number) / (np.sqrt(squares[k] / (1 - 0.999**number)) + load.epsilon)
            values[k] = values[k] - load.rate * change
    off = max(np.abs(v - p.detach().cpu().numpy()).max() for v, p in zip(values, training.parameters))
    require(off < 1e-10, f"the update is off by {off:.1e}")
    say(f"update: parameters off by {off:.1e} after 3 steps, with and without a clipped norm")


def check(arguments):
    torch.set_default_dtype(torch.float64)
    device = arguments.device
    torch.manual_seed(arguments.seed)
    check_maze(device)
    check_cue(device)
    check_update(device)
    for workload in arguments.workload or harness.WORKLOADS:
        check_differences(workload, device, arguments.seed)
    modes = arguments.mode or (["all"] if device.startswith("cuda") else [])
    for mode in MODES if "all" in modes else modes:
        for workload in arguments.workload or WORKLOADS:
            if mode != "eager":
                check_mode(workload, device, mode, arguments.seed)
    say("all checks passed")


def require(holds, text):
    if not holds:
        sys.exit(f"check failed: {text}")


def say(text):
    print(text, flush=True)


def note(text):
    print(text, file=sys.stderr, flush=True)


def short(error):
    """The first lines of an error, which torch.compile follows with hundreds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:400]


def parse():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--workload", nargs="+", choices=harness.WORKLOADS, help=f"default: {' '.join(WORKLOADS)}")
    p.add_argument("--batch", nargs="+", type=int, help="default: 30 4096")
    p.add_argument("--mode", nargs="+", choices=[*MODES, "all"], help="default: all")
    p.add_argument("--device", default="cuda")
    p.add_argument("--iterations", type=int, default=20, help="how many to time")
    p.add_argument("--warm-up", type=int, default=3, help="iterations before, in addition to compiling and capturing")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, help="of the processor, with --device cpu")
    p.add_argument("--size", type=int, help="neurons, in place of the workload's")
    p.add_argument("--steps", type=int, help="of an episode, in place of the workload's")
    p.add_argument("--segment", type=int, help="steps run again at a time; 0 keeps all (default: as memory has it)")
    p.add_argument("--form", choices=["gemm", "pointwise"], help="default: pointwise where compiled, else gemm")
    p.add_argument("--compile-mode", choices=["default", "max-autotune-no-cudagraphs"], default="default")
    p.add_argument("--tf32", action="store_true", help="matrix products with fewer digits")
    p.add_argument("--limit", type=float, default=600.0, help="seconds that one of several combinations may take")
    p.add_argument("--check", action="store_true", help="compare gradients and episodes, and time nothing")
    arguments = p.parse_args()
    if arguments.iterations < 1:
        p.error("--iterations is at least 1")
    return arguments


def main():
    arguments = parse()
    torch.set_float32_matmul_precision("high" if arguments.tf32 else "highest")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.check:
        return check(arguments)
    modes = arguments.mode or ["all"]
    modes = MODES if "all" in modes else modes
    chosen = list(itertools.product(arguments.workload or WORKLOADS, arguments.batch or BATCHES, modes))
    run = report if len(chosen) == 1 else in_a_child
    if not all([run(arguments, *one) for one in chosen]):
        sys.exit(1)


if __name__ == "__main__":
    main()
