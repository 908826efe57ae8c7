# Returns, advantages, and the losses of actor-critic and PPO, from their definitions, in 64 bits.
import json
import numpy as np

ON, TERMINATED, TRUNCATED, IDLE = range(4)


def advantages(case, lane):
    """Sums of temporal differences, and the steps that count."""
    gamma, lam = case["gamma"], case["lambda"]
    values, rewards, marks = np.array(lane["outputs"][-1]), lane["rewards"], lane["marks"]
    steps = len(rewards)
    found, counts, later = np.zeros(steps), np.zeros(steps, bool), 0.0
    for t in reversed(range(steps)):
        if marks[t] == IDLE or (marks[t] != TERMINATED and t + 1 == steps):
            later = 0.0
            continue
        follows = 0.0 if marks[t] == TERMINATED else values[t + 1]
        difference = rewards[t] + gamma * follows - values[t]
        later = difference + (gamma * lam * later if marks[t] == ON else 0.0)
        found[t], counts[t] = later, True
    return found, counts


def logs(case, outputs, actions):
    """By step: log probability of the action, entropy, sum of squared probabilities."""
    steps = len(outputs[-1])
    actions = np.array(actions).reshape(steps, -1)
    probability, entropy, squares = np.zeros(steps), np.zeros(steps), np.zeros(steps)
    if case["kind"] == "numbers":
        mean, std = (np.array(x).reshape(steps, -1) for x in outputs[:2])
        std = np.exp(std)
        density = np.exp(-((actions - mean) ** 2) / (2 * std**2)) / np.sqrt(2 * np.pi * std**2)
        return np.log(density).sum(1), (0.5 * np.log(2 * np.pi * np.e * std**2)).sum(1), squares
    for head, x in enumerate(outputs[:-1]):
        weights = np.exp(np.array(x).reshape(steps, -1))
        p = weights / weights.sum(1, keepdims=True)
        probability += np.log(p[np.arange(steps), actions[:, head].astype(int)])
        entropy -= (p * np.log(p)).sum(1)
        squares += (p * p).sum(1)
    return probability, entropy, squares


def terms(case, outputs, lane, counts, policy, target):
    """The loss of a lane: `policy` of the log probabilities, and the other terms."""
    probability, entropy, squares = logs(case, outputs, lane["actions"])
    value = np.array(outputs[-1])
    each = (policy(probability) + case["value"] * (target - value) ** 2
            + case["concentration"] * squares - case["entropy"] * entropy)
    return each[counts].sum()


def differences(loss, outputs):
    h, found = 1e-6, []
    for output in outputs:
        slopes = []
        for k, kept in enumerate(output):
            output[k] = kept + h
            above = loss(outputs)
            output[k] = kept - h
            slopes.append((above - loss(outputs)) / (2 * h))
            output[k] = kept
        found.append(slopes)
    return found


def off(found, wanted):
    return max(float(np.abs(np.array(a) - np.array(b)).max()) for a, b in zip(found, wanted))


def losses():
    """Reads rewards.json, what bpmc was given and what it found; prints how far off that is."""
    worst = {"returns": 0.0, "counts": 0, "a2c": 0.0, "a2c_gradient": 0.0, "scaled": 0.0, "ppo": 0.0, "ppo_gradient": 0.0, "clipped": 0}
    for case in json.load(open("rewards.json")):
        lanes = case["lanes"]
        found = [advantages(case, lane) for lane in lanes]
        every = np.concatenate([a[c] for a, c in found])
        scaled = lambda a: (a - every.mean()) / (every.std() + 1e-8)
        for lane, (advantage, counts) in zip(lanes, found):
            target = advantage + np.array(lane["outputs"][-1])
            worst["counts"] += int((counts != np.array(lane["counts"])).sum())
            worst["returns"] = max(worst["returns"], float(np.abs((target - np.array(lane["returns"]))[counts]).max(initial=0)))

            scale = case["scale"]
            loss = lambda outputs: scale * terms(case, outputs, lane, counts, lambda p: -p * advantage, target)
            worst["a2c"] = max(worst["a2c"], abs(loss(lane["outputs"]) - lane["a2c"]))
            worst["a2c_gradient"] = max(worst["a2c_gradient"], off(differences(loss, lane["outputs"]), lane["a2c_gradient"]))

            a, then = scaled(advantage), logs(case, lane["outputs"], lane["actions"])[0]
            worst["scaled"] = max(worst["scaled"], float(np.abs((a - np.array(lane["scaled"]))[counts]).max(initial=0)))
            clip = case["clip"]

            def clipped(p):
                ratio = np.exp(p - then)
                worst["clipped"] += int(((ratio < 1 - clip) | (ratio > 1 + clip))[counts].sum())
                return -np.minimum(ratio * a, np.clip(ratio, 1 - clip, 1 + clip) * a)

            scale = 1 / len(every)
            loss = lambda outputs: scale * terms(case, outputs, lane, counts, clipped, target)
            worst["ppo"] = max(worst["ppo"], abs(loss(lane["later"]) - lane["ppo"]))
            worst["ppo_gradient"] = max(worst["ppo_gradient"], off(differences(loss, lane["later"]), lane["ppo_gradient"]))
    return worst


def filled(value, draw):
    return [filled(item, draw) for item in value] if isinstance(value, list) else draw()


def values():
    """Fills a file of values with random numbers."""
    random, given = np.random.default_rng(5), json.load(open("template.json"))
    for section in ("inputs", "initial_state", "parameters"):
        for name in given[section]:
            given[section][name] = filled(given[section][name], lambda: float(random.normal(0, 0.6)))
    episode, numbers = given["episode"], "log_std" in "".join(given["parameters"])
    episode["rewards"] = filled(episode["rewards"], lambda: float(random.normal()))
    episode["actions"] = filled(episode["actions"], lambda: float(random.normal()) if numbers else int(random.integers(2)))
    json.dump(given, open("values.json", "w"))
    return len(given["parameters"])


def network():
    """Loss and gradients of h <- tanh(a + b) with linear readouts, by finite differences."""
    given, case = json.load(open("values.json")), json.load(open("case.json"))
    parameters = {name: np.array(value) for name, value in given["parameters"].items()}
    x, actions, rewards = np.array(given["inputs"]["x"]), np.array(given["episode"]["actions"]), np.array(given["episode"]["rewards"])
    steps, lanes = rewards.shape
    turned = parameters["a.linear.weight"].shape == (4, 3)
    names = [name for name in ("policy", "log_std", "policy_0", "policy_1", "value") if f"{name}.linear.weight" in parameters]

    def linear(name, v):
        weight = parameters[f"{name}.linear.weight"]
        return v @ (weight.T if turned else weight) + parameters[f"{name}.linear.bias"]

    def run():
        h, all = np.array(given["initial_state"]["h"]), [[[] for _ in names] for _ in range(lanes)]
        for t in range(steps):
            h = np.tanh(linear("a", x[t]) + linear("b", h))
            for output, name in enumerate(names):
                for lane, row in enumerate(linear(name, h)):
                    all[lane][output].extend(row)
        return all

    made, then = [], run()
    for lane in range(lanes):
        one = {"outputs": then[lane], "actions": actions[:, lane], "rewards": rewards[:, lane],
               "marks": [ON] * (steps - 1) + [TERMINATED]}
        advantage, counts = advantages(case, one)
        made.append((one, advantage, counts, advantage + np.array(then[lane][-1])))
    every = np.concatenate([advantage for _, advantage, _, _ in made])

    def loss():
        total = 0.0
        for (one, advantage, counts, target), outputs in zip(made, run()):
            held = (advantage - every.mean()) / (every.std() + 1e-8) if case["normalise"] else advantage
            if case["ratio"]:
                before = logs(case, one["outputs"], one["actions"])[0]
                policy = lambda p: -np.exp(p - before) * held
            else:
                policy = lambda p: -p * held
            total += terms(case, outputs, one, counts, policy, target)
        return total / (lanes * steps)

    gradients, h = {}, 1e-5
    for name, value in parameters.items():
        found = np.zeros(value.size)
        for k in range(value.size):
            kept = value.flat[k]
            value.flat[k] = kept + h
            above = loss()
            value.flat[k] = kept - h
            found[k] = (above - loss()) / (2 * h)
            value.flat[k] = kept
        gradients[name] = found.tolist()
    return {"loss": loss(), "gradients": gradients}


print(json.dumps({"losses": losses, "values": values, "network": network}[STAGE]()))
