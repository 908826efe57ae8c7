#!/usr/bin/env python3
"""CartPole without its velocities: bpmc against RecurrentPPO of sb3-contrib (an LSTM, Stable-Baselines3), in turn.

Both learn from 16 environments, 128 steps of each an iteration, until the mean of the episodes that ended last is 450: the last
100 for Stable-Baselines3, those of an iteration for bpmc. Each prints steps a second and the seconds until then; the last line has the
ratios. The networks differ, as the libraries do: 32 neurons with plastic connections here, an LSTM of 256 there unless `--lstm` says otherwise.

    python3 -m venv .venv
    .venv/bin/pip install sb3-contrib gymnasium numpy
    .venv/bin/python recurrent_ppo.py --threads 2
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

LANES, STEPS = 16, 128


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bpmc", default="bpmc", help="the program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="seeds, each tried by both")
    parser.add_argument("--target", type=float, default=450.0)
    parser.add_argument("--iterations", type=int, default=1500, help="at most so many")
    parser.add_argument("--lstm", type=int, default=256)
    parser.add_argument("--only", choices=["bpmc", "sb3"])
    return parser.parse_args()


def of_bpmc(arguments, seed):
    environment = dict(os.environ, BPMC_PYTHON=sys.executable)
    command = lambda *words: [arguments.bpmc, *words]
    with tempfile.TemporaryDirectory() as folder:
        spec = subprocess.run(command("env", "CartPole-v1", "--keep", "0,2"), env=environment, check=True,
                              capture_output=True, text=True, cwd=folder).stdout
        with open(os.path.join(folder, "agent.bpm"), "w") as file:
            file.write(spec)
        started = time.perf_counter()
        train = command("train", "agent.bpm", "--quiet", "--out", "run", "--seed", str(seed), "--threads", str(arguments.threads),
                        "--set", "train.metrics_every=1", "--iterations", str(arguments.iterations))
        process = subprocess.Popen(train, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
        reached, last, path = None, None, os.path.join(folder, "run", "metrics.jsonl")
        while process.poll() is None and reached is None:
            time.sleep(0.2)
            lines = open(path).read().splitlines(keepends=True) if os.path.exists(path) else []
            for line in lines:
                if line.endswith("\n"):
                    last = json.loads(line)
                    if last.get("reward", 0) >= arguments.target:
                        reached = last["timing"]["seconds"]
                        break
        if reached is None:
            lines = open(path).read().splitlines()
            last = json.loads(lines[-1])
        process.terminate()
        process.wait()
        started = time.perf_counter() - started
    steps = last["iteration"] * LANES * STEPS
    return {"program": "bpmc", "seed": seed, "steps": steps, "steps_a_second": steps / last["timing"]["seconds"],
            "seconds_to_target": reached, "whole_seconds": started}


def of_sb3(arguments, seed):
    import gymnasium
    import torch
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(arguments.threads)

    class Hidden(gymnasium.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            self.observation_space = gymnasium.spaces.Box(-10, 10, (2,))

        def observation(self, observation):
            return observation[[0, 2]]

    class Until(BaseCallback):
        reached = None

        def _on_step(self):
            return self.reached is None

        def _on_rollout_start(self):
            ended = [episode["r"] for episode in self.model.ep_info_buffer]
            if len(ended) == 100 and statistics.fmean(ended) >= arguments.target:
                self.reached = time.perf_counter() - started

    environments = make_vec_env("CartPole-v1", n_envs=LANES, seed=seed, wrapper_class=Hidden)
    model = RecurrentPPO("MlpLstmPolicy", environments, n_steps=STEPS, batch_size=LANES * STEPS // 4, n_epochs=4, learning_rate=1e-3,
                         gamma=0.99, gae_lambda=0.95, ent_coef=0.003, seed=seed, device="cpu",
                         policy_kwargs={"lstm_hidden_size": arguments.lstm})
    until, started = Until(), time.perf_counter()
    model.learn(arguments.iterations * LANES * STEPS, callback=until)
    whole = time.perf_counter() - started
    return {"program": "sb3", "seed": seed, "steps": model.num_timesteps, "steps_a_second": model.num_timesteps / whole,
            "seconds_to_target": until.reached, "whole_seconds": whole}


def main():
    arguments = parsed()
    found = {"bpmc": [], "sb3": []}
    for seed in range(arguments.rounds):
        for name, run in [("bpmc", of_bpmc), ("sb3", of_sb3)]:
            if arguments.only in (None, name):
                found[name].append(run(arguments, seed))
                print(json.dumps(found[name][-1]), flush=True)
    if not (found["bpmc"] and found["sb3"]):
        return
    median = lambda name, key: statistics.median(one[key] or float("inf") for one in found[name])
    print(f"steps a second: {median('bpmc', 'steps_a_second') / median('sb3', 'steps_a_second'):.2f} times as many as Stable-Baselines3")
    times = [median(name, "seconds_to_target") for name in ("bpmc", "sb3")]
    print(f"seconds to a mean of {arguments.target:g}: {times[0]:.1f} and {times[1]:.1f}, ratio {times[0] / times[1]:.2f}")


if __name__ == "__main__":
    main()
