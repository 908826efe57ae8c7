#!/usr/bin/env python3
"""The workloads in JAX: an iteration is one compiled function, an episode one scan, its steps rematerialised.

The environment runs inside the scan. What an episode draws beforehand comes from numpy.
"""

import functools
import os

import harness
import numpy as np
import tasks

ARGUMENTS = harness.parser(__doc__)
ARGUMENTS.add_argument(
    "--alpha-gradient", choices=["lanes", "sum"], default="lanes",
    help="add the gradient of alpha lane by lane (the faster on most machines), or leave the sum to XLA",
)
ARGUMENTS.add_argument("--keep", action="store_true", help="keep what a step computes instead of rematerialising it")


def main():
    arguments = ARGUMENTS.parse_args()
    harness.use_processors(arguments.threads)
    os.environ["JAX_PLATFORMS"] = "cpu"
    if arguments.threads == 1:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    import jax
    import jax.numpy as jnp

    load = harness.WORKLOADS[arguments.workload]
    steps, lanes, n, choices = load.steps, load.lanes, load.hidden, load.actions
    draws = np.random.default_rng(arguments.seed)

    def clip(u):
        # Selects cost less than jnp.clip, whose derivative shares ties; on a bound this has derivative 1.
        return jnp.where(u > load.bound, load.bound, jnp.where(u < -load.bound, -load.bound, u))

    def times(alpha, hebb):
        return alpha * hebb

    if arguments.alpha_gradient == "lanes":

        def times_back(kept, adjoint):
            alpha, hebb = kept
            lane = [adjoint[k] * hebb[k] for k in range(lanes)]
            return functools.reduce(jnp.add, lane), adjoint * alpha

        times = jax.custom_vjp(times)
        times.defvjp(lambda alpha, hebb: (alpha * hebb, (alpha, hebb)), times_back)

    def outer(a, b):
        return a[:, :, None] * b[:, None, :]

    def network(p, x, state):
        """One time step of all lanes. Matrices are [pre, post]."""
        h, *traces = state
        drive = x @ p["into"] + p["into_bias"] + h @ p["w"]
        if not traces:
            return [jnp.tanh(drive)]
        hebb = traces[0]
        y = jnp.tanh(drive + jnp.einsum("bi,bij->bj", h, times(p["alpha"], hebb)))
        if load.rule == "plastic":
            return [y, clip(hebb + outer(h, p["eta"] * y))]
        m = jnp.tanh(y @ p["modulator"] + p["modulator_bias"])
        if load.fan_out:
            m = m * p["gain"] + p["gain_bias"]
        if load.rule == "simple":
            return [y, clip(hebb + outer(h, m * y))]
        e = traces[1]
        return [y, clip(hebb + m[:, :, None] * e), (1 - p["eta"]) * e + outer(h, p["eta"] * y)]

    if not arguments.keep:
        network = jax.checkpoint(network, prevent_cse=False)

    def first():
        traces = {"nonplastic": 0, "retroactive": 2}.get(load.rule, 1)
        return [jnp.zeros((lanes, n))] + [jnp.zeros((lanes, n, n)) for _ in range(traces)]

    if load.task == "maze":
        maze = tasks.Maze()
        wall, free, view, moves, place = map(jnp.asarray, (maze.wall, maze.free, maze.view, maze.moves, maze.place))

        def before():
            """What an episode draws, and its state before the first step."""
            arrival = draws.integers(len(maze.free) - 1, size=(steps, lanes))
            goal = maze.goals(draws, lanes)
            return (arrival,), (np.full(lanes, maze.centre), goal)

        def observe(drawn, world):
            return [view[world[0]], jnp.zeros((lanes, 1)), jnp.ones((lanes, 1))]

        def act(drawn, world, action):
            position, goal = world
            ahead = position + moves[action]
            position = jnp.where(wall[ahead], position, ahead)
            found = position == goal
            arrival = free[drawn[0] + (drawn[0] >= place[goal])]
            return (jnp.where(found, arrival, position), goal), jnp.where(found, tasks.REWARD, 0.0)

        arrange = lambda seen, time, reward, action: [*seen, time, reward, action]
    else:

        def before():
            return tasks.cue_episodes(draws, lanes, steps), ()

        def observe(drawn, world):
            return [drawn[0], drawn[1][:, None], jnp.ones((lanes, 1))]

        def act(drawn, world, action):
            return world, drawn[1] * jnp.where(action == drawn[2], 1.0, -1.0)

        arrange = lambda seen, time, reward, action: [*seen, time, reward, jnp.zeros((lanes, 1)), action]

    def loss(p, drawn, world, key):
        noise = jax.random.gumbel(key, (steps, lanes, choices))
        policy, policy_bias = jax.lax.stop_gradient((p["out"][:, :choices], p["out_bias"][:choices]))

        def step(carry, now):
            state, world, reward, last = carry
            t, noise, drawn = now
            time = jnp.full((lanes, 1), t / steps)
            x = jnp.concatenate(arrange(observe(drawn, world), time, reward[:, None], last), axis=1)
            state = network(p, x, state)
            logits = jax.lax.stop_gradient(state[0]) @ policy + policy_bias
            action = jnp.argmax(logits + noise, axis=1)
            world, reward = act(drawn, world, action)
            carry = (state, world, reward, jax.nn.one_hot(action, choices))
            return carry, (state[0], action, reward)

        begin = (first(), world, jnp.zeros(lanes), jnp.zeros((lanes, choices)))
        each = (jnp.arange(steps, dtype=jnp.float32), noise, drawn)
        _, (activity, actions, rewards) = jax.lax.scan(step, begin, each)
        read = activity @ p["out"] + p["out_bias"]
        logs = jax.nn.log_softmax(read[:, :, :choices])
        taken = jnp.take_along_axis(logs, actions[:, :, None], axis=2)[:, :, 0]

        def discounted(later, reward):
            now = reward + load.discount * later
            return now, now

        _, returns = jax.lax.scan(discounted, jnp.zeros(lanes), rewards, reverse=True)
        error = returns - read[:, :, choices]
        terms = load.value * error**2 - taken * jax.lax.stop_gradient(error)
        total = terms.sum() + load.concentration * (jnp.exp(logs) ** 2).sum()
        return total / (steps * lanes), rewards.sum(axis=0).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(p, means, squares, number, drawn, world, key):
        gradients, reward = jax.grad(loss, has_aux=True)(p, drawn, world, key)
        norm = jnp.sqrt(sum((g * g).sum() for g in jax.tree.leaves(gradients)))
        factor = jnp.minimum(1.0, load.clip_norm / (norm + 1e-6))
        gradients = jax.tree.map(lambda g: g * factor, gradients)
        means = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, means, gradients)
        squares = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, squares, gradients)

        def moved(p, m, s):
            m, s = m / (1 - 0.9**number), s / (1 - 0.999**number)
            return p - load.rate * m / (jnp.sqrt(s) + load.epsilon)

        return jax.tree.map(moved, p, means, squares), means, squares, reward

    def parameters():
        p = {}

        def linear(name, inputs, outputs):
            reach = inputs**-0.5
            p[name] = jnp.asarray(draws.uniform(-reach, reach, (inputs, outputs)), dtype=jnp.float32)
            p[name + "_bias"] = jnp.asarray(draws.uniform(-reach, reach, outputs), dtype=jnp.float32)

        def block(name):
            p[name] = jnp.asarray(draws.uniform(0, load.scale, (n, n)), dtype=jnp.float32)

        linear("into", load.inputs, n)
        block("w")
        if load.rule != "nonplastic":
            block("alpha")
        if load.rule in ("plastic", "retroactive"):
            p["eta"] = jnp.float32(load.eta)
        if load.modulated:
            linear("modulator", n, 1)
        if load.fan_out:
            linear("gain", 1, n)
        linear("out", n, choices + 1)
        return p

    p = parameters()
    means = jax.tree.map(jnp.zeros_like, p)
    squares = jax.tree.map(jnp.zeros_like, p)
    keys = jax.random.key(arguments.seed)
    number = 0

    def iteration():
        nonlocal p, means, squares, number
        number += 1
        drawn, world = before()
        key = jax.random.fold_in(keys, number)
        p, means, squares, reward = update(p, means, squares, jnp.float32(number), drawn, world, key)
        jax.block_until_ready(p)
        return float(reward)

    names = ["jax", arguments.alpha_gradient if load.rule != "nonplastic" else "", "keep" if arguments.keep else ""]
    harness.measure(arguments, "-".join(filter(None, names)), iteration)


if __name__ == "__main__":
    main()
