"""Parity of chain and control tasks with bsuite 0.3.6, POPGym 1.0.7 and gymnax 1.0.1.

    python -m venv .peers && .peers/bin/pip install popgym==1.0.7 bsuite==0.3.6 gymnax==1.0.1 six absl-py
    PYTHONPATH=. .peers/bin/python -m benchmarks.peers.vector_control --json=parity_control.json

Chains of bsuite take our cue, question or coin, and play whole episodes with the same actions. Control tasks take our
state in every step, so that rounding does not add up: an episode of POPGym in float64, 10,000 random states of gymnax.
Each row holds the largest difference of observations and of rewards, and the number of differing ends. Rows of random
play compare mean returns in standard errors. The exit code is 1 if any row fails.
"""

import datetime
import importlib
import importlib.metadata
import json
import pathlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import bounds
from podarcade import plugins

JSON = flags.DEFINE_string("json", "", "results file")
EPISODES = flags.DEFINE_integer("episodes", 50, "episodes compared step by step", lower_bound=1)
RANDOM = flags.DEFINE_integer("random", 500, "episodes of random play", lower_bound=2)

TOLERANCE = 1e-5  # of observations and rewards: POPGym computes in float64
MAX_ERRORS = 4.5  # standard errors between two equal means
LEVELS = ("easy", "medium", "hard")


def task_of(name: str, level: str = "easy", rules: str = "published", **fields):
    """Return a task at a level."""
    found = plugins.find("games", name)
    return found(rules=rules, **(found.LEVELS[level] | fields))


def play(task, actions: np.ndarray):
    """Play episodes with actions [E, T, ...]: states, both twins' observations [E, T + 1], rewards and ends [E, T]."""

    def episode(actions, key):
        start = task.reset(key)

        def one(state, inputs):
            new, reward, over = task.step(state, *inputs)
            return new, (new, reward, over)

        _, (states, reward, over) = jax.lax.scan(one, start, (actions, jax.random.split(key, len(actions))))
        states = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, states)
        draw = jax.vmap(task.draw, (0, None))
        return states, draw(states, False), draw(states, True), reward, over

    keys = jax.random.split(jax.random.key(0), len(actions))
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(episode))(jnp.asarray(actions, task.actions.dtype), keys))


def row(name: str, peer: str, seen, reward, over) -> dict:
    """Return a row of results from lists of pairs (ours, theirs)."""
    largest = [max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs) for pairs in (seen, reward)]
    ends = sum(bool(mine) != bool(other) for mine, other in over)
    return {
        "task": name, "peer": peer, "steps": len(reward), "observation": largest[0], "reward": largest[1],
        "ends": ends, "equal": largest[0] <= TOLERANCE and largest[1] <= TOLERANCE and ends == 0,
    }  # fmt: skip


# Tasks of bsuite, the twin that shows what it does, and our columns that its first columns correspond to.
CHAINS = {
    "memory_chain": ("partial", slice(None)),
    "memory_size": ("partial", slice(None)),
    "discounting_chain": ("full", [1, 0]),
    "umbrella_chain": ("full", [-2, -1, 0]),
}


def chain_of(name: str, task, state):
    """Return bsuite's environment in the same state at time 0, and what it shows."""
    from bsuite.environments import discounting_chain, memory_chain, umbrella_chain

    if name == "discounting_chain":
        peer = discounting_chain.DiscountingChain(task.mapping_seed)
    elif name == "umbrella_chain":
        peer = umbrella_chain.UmbrellaChain(task.chain_length, task.n_distractor)
    else:
        peer = memory_chain.MemoryChain(task.memory_length, task.num_bits)
    peer.reset()
    if name == "umbrella_chain":
        peer._need_umbrella, peer._has_umbrella = int(state.need), int(state.have)
    elif name != "discounting_chain":
        peer._context, peer._query = state.cue.astype(int), int(state.query)
    return peer, peer._get_observation()[0]


def chains() -> list[dict]:
    """Compare whole episodes of bsuite's chains; coins and distractors of UmbrellaChain are each side's own."""
    cases = [(name, level, {}) for name in CHAINS for level in LEVELS]
    cases += [("memory_chain", "easy", {"memory_length": length, "num_bits": 3}) for length in (1, 2, 3)]
    cases += [("discounting_chain", "easy", {"mapping_seed": seed}) for seed in (0, 2, 7)]
    return [compare_chain(name, level, fields) for name, level, fields in cases]


def compare_chain(name: str, level: str, fields: dict) -> dict:
    """Compare whole episodes of one of bsuite's chains."""
    task, (twin, columns) = task_of(name, level, **fields), CHAINS[name]
    actions = np.random.default_rng(0).integers(0, task.actions.n, (EPISODES.value, task.max_steps))
    states, full, partial, rewards, overs = play(task, actions)
    ours, seen, reward, over = (full if twin == "full" else partial)[..., columns], [], [], []
    for episode in range(len(actions)):
        peer, first = chain_of(name, task, jax.tree.map(lambda leaf: leaf[episode, 0], states))  # noqa: B023
        seen.append((ours[episode, 0], first[: ours.shape[-1]]))
        for time in range(task.max_steps):
            theirs = peer.step(int(actions[episode, time]))
            seen.append((ours[episode, time + 1], theirs.observation[0, : ours.shape[-1]]))
            if name != "umbrella_chain" or theirs.last():
                reward.append((rewards[episode, time], theirs.reward))
            over.append((overs[episode, time], theirs.last()))
    return row(f"{name} {level} {fields or ''}".strip(), "bsuite", seen, reward, over)


def popgym_environment(name: str, level: str):
    """Return POPGym's environment of a task."""
    module = importlib.import_module(f"popgym.envs.{name}")
    return getattr(module, plugins.find("games", name).__name__ + level.capitalize())()


POPGYM = (
    "position_only_cartpole", "velocity_only_cartpole", "noisy_position_only_cartpole", "position_only_pendulum",
    "noisy_position_only_pendulum",
)  # fmt: skip


def popgym() -> list[dict]:
    """Compare single steps of POPGym's control tasks from the states of our episodes."""
    return [compare_popgym(name, level) for name in POPGYM for level in LEVELS]


def compare_popgym(name: str, level: str) -> dict:
    """Compare single steps of one of POPGym's control tasks; noise is left out on both sides."""
    task, random, pole = task_of(name, level), np.random.default_rng(0), "cartpole" in name
    shape = (max(EPISODES.value // 10, 2), task.max_steps, *task.actions.shape)
    actions = random.integers(0, 2, shape) if pole else random.uniform(-1.2, 1.2, shape)
    states, _, partial, rewards, overs = play(task, actions)
    environment, seen, reward, over = popgym_environment(name, level), [], [], []
    if hasattr(states, "seen"):
        environment.noise_sigma = np.zeros(2)
        truth = (states.position, states.angle) if pole else (np.cos(states.angle), np.sin(states.angle))
        partial = np.stack(truth, axis=-1)
    names = ("position", "velocity", "angle", "spin") if pole else ("angle", "speed")
    variables = np.stack([getattr(states, name) for name in names], axis=-1).astype(np.float64)
    sent = actions if pole else 2 * np.clip(actions, -1, 1)
    environment.reset(seed=0)
    for episode in range(shape[0]):
        for time in range(task.max_steps):
            environment.num_steps, environment.state = time, variables[episode, time]
            theirs, paid, terminated, truncated, _ = environment.step(sent[episode, time])
            seen.append((partial[episode, time + 1, : len(theirs)], theirs))
            reward.append((rewards[episode, time], paid))
            over.append((overs[episode, time], terminated or truncated))
            if over[-1][0]:
                environment.reset(seed=0)
                break
    return row(f"{name} {level}", "popgym", seen, reward, over)


def popgym_random() -> list[dict]:
    """Compare random play with POPGym's, each with its own luck."""
    rows = []
    for name in POPGYM:
        task, environment, returns = task_of(name), popgym_environment(name, "easy"), []
        for episode in range(RANDOM.value):
            environment.reset(seed=episode)
            environment.action_space.seed(episode)
            total, over = 0.0, False
            while not over:
                _, paid, terminated, truncated, _ = environment.step(environment.action_space.sample())
                total, over = total + float(paid), terminated or truncated
            returns.append(total)
        ours = bounds.play(task, bounds.random(task), 4 * RANDOM.value)
        error = np.hypot(ours.error, np.std(returns, ddof=1) / np.sqrt(len(returns)))
        apart = (ours.mean - np.mean(returns)) / error
        rows.append(
            {
                "task": f"{name} easy",
                "peer": "popgym",
                "ours": ours.mean,
                "theirs": float(np.mean(returns)),
                "standard_errors": float(apart),
                "equal": bool(abs(apart) <= MAX_ERRORS),
            }
        )
    return rows


# Tasks of gymnax: its name, the range of random states, our fields, its fields, and what a reward of ours is of its.
GYMNAX = {
    "position_only_cartpole": (
        "CartPole-v1", (2.39, 3, 0.209, 3), ("position", "velocity", "angle", "spin"),
        ("x", "x_dot", "theta", "theta_dot"), lambda reward: reward / 200,
    ),
    "position_only_pendulum": (
        "Pendulum-v1", (3.14, 8), ("angle", "speed"), ("theta", "theta_dot"),
        lambda reward: (1 + reward / 8.1368022) / 200,
    ),
    "masked_mountain_car": (
        "MountainCar-v0", (0.49, 0.07), ("position", "velocity"), ("position", "velocity"), lambda reward: reward,
    ),
    "masked_acrobot": (
        "Acrobot-v1", (3.14, 3.14, 4, 9), ("angles", "speeds"),
        ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"), lambda reward: reward,
    ),
}  # fmt: skip


def gymnax() -> list[dict]:
    """Compare single steps of gymnax's classics from random states."""
    return [compare_gymnax(name, *values) for name, values in GYMNAX.items()]


def compare_gymnax(name: str, peer_name: str, ranges, fields, slots, scale) -> dict:
    """Compare single steps of one of gymnax's classics from random states."""
    import gymnax as peers

    (peer, parameters), task = peers.make(peer_name), task_of(name, rules="strict")
    count = 10_000
    keys = jax.random.split(jax.random.key(0), count)
    values = np.random.default_rng(0).uniform(-1, 1, (count, len(ranges))).astype(np.float32) * np.float32(ranges)
    if name == "masked_mountain_car":
        values[:, 0] -= np.float32(0.7) * (values[:, 0] < 0)  # to the left wall
    split = np.split(values, len(fields), axis=1)
    start = jax.vmap(task.reset)(keys)
    start = start.replace(**{field: np.squeeze(part) for field, part in zip(fields, split, strict=True)})
    _, theirs = jax.vmap(peer.reset, (0, None))(keys, parameters)
    theirs = theirs.replace(**dict(zip(slots, values.T, strict=True)))
    actions = jax.vmap(task.actions.sample)(keys)
    new, paid, over = jax.vmap(task.step)(start, actions, keys)
    sent = actions if actions.ndim == 1 else 2 * actions[:, 0]
    _, after, reward, ends, *_ = jax.vmap(peer.step_env, (0, 0, 0, None))(keys, theirs, sent, parameters)
    mine = np.concatenate([np.asarray(getattr(new, field)).reshape(count, -1) for field in fields], axis=1)
    difference = mine - np.stack([np.asarray(getattr(after, slot)) for slot in slots], axis=1)
    if name in ("position_only_pendulum", "masked_acrobot"):  # angles that differ by a turn are equal
        difference -= 2 * np.pi * np.round(difference / (2 * np.pi))
    rewards, overs = zip(paid, scale(reward), strict=True), zip(over, ends, strict=True)
    return row(name, f"gymnax {peer_name}", [(difference, 0)], list(rewards), list(overs))


def main(_) -> None:
    """Compare, print a line for each row, and write the results file."""
    warnings.filterwarnings("ignore")
    rows = []
    for compare in (chains, popgym, popgym_random, gymnax):
        for each in compare():
            print(each, flush=True)
            rows.append(each)
    failed = sum(not each["equal"] for each in rows)
    print(f"{len(rows) - failed} of {len(rows)} rows equal")
    if JSON.value:
        peers = {name: importlib.metadata.version(name) for name in ("bsuite", "popgym", "gymnax")}
        results = {"date": datetime.date.today().isoformat(), "peers": peers, "rows": rows}
        pathlib.Path(JSON.value).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    app.run(main)
