"""Parity of tasks under rules="published" with POPGym: step by step in equal episodes, and returns of random play.

    pip install --no-deps --target .popgym popgym==1.0.7
    PYTHONPATH=.popgym python -m benchmarks.parity_tasks --json=parity_tasks.json

Step by step: POPGym deals a deck or draws a board, ours is given the same, and both see the same actions: random ones,
or those of a good player followed by random ones. Visible observations, rewards and ends must be equal in every step up
to the end. Distributions: mean return and mean length of random play, each side with its own luck, compared in standard
errors, and the largest gap between the distributions. The exit code is 1 if any row fails.
"""

import datetime
import importlib.metadata
import pathlib
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import bounds
from benchmarks.peers.popgym_tasks import PEERS, Peer
from podarcade import plugins
from podarcade.envs.tasks import Task, cards
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

TASKS = flags.DEFINE_list("tasks", [], "files of tasks such as repeat_first; empty: all")
LEVELS = flags.DEFINE_list("levels", ["easy", "medium", "hard"], "levels to compare")
TRACED = flags.DEFINE_integer("traced", 200, "episodes compared step by step", lower_bound=1)
EPISODES = flags.DEFINE_integer("episodes", 2000, "episodes of each distribution", lower_bound=32)
JSON = flags.DEFINE_string("json", "", "results file")

TOLERANCE = 1e-6  # of a reward
MAX_ERRORS = 4.5  # standard errors between two equal means
# Fields of our state at time 0 that take the luck of the peer; other tasks deal its deck in order.
FIELDS = {
    "concentration": "face",
    "multiarmed_bandit": "payout",
    "vector_battleship": "ships",
    "vector_minesweeper": "mines",
}


def play_theirs(peer: Peer, actions: np.ndarray | None, random: np.random.Generator, steps: int) -> dict:
    """Play one episode; without `actions`, a planned one.

    Returns:
      `luck`, `actions` int[steps], `seen` [L + 1, V], `reward` [L] and the length L.
    """
    observation, _ = peer.environment.reset(seed=int(random.integers(2**31)))
    if peer.set_luck:
        peer.set_luck(random)
    luck = np.array(peer.luck())
    if actions is None:
        planned = peer.plan(luck)[:steps]
        actions = np.append(planned, random.integers(0, planned.max() + 1, steps - len(planned))).astype(int)
    seen, rewards, over = [peer.seen(observation, -1)], [], False
    while not over:
        action = int(actions[len(rewards)])
        observation, reward, terminated, truncated, _ = peer.environment.step(peer.action(action))
        over = terminated or truncated
        seen.append(peer.seen(observation, action))
        rewards.append(reward)
    return {"luck": luck, "actions": actions, "seen": np.array(seen), "reward": np.array(rewards)}


def play_ours(name: str, task: Task, luck: np.ndarray, actions: np.ndarray):
    """Play episodes with given luck [E, ...] and actions [E, T]: visible fields, rewards and ends."""

    def in_order(deck):
        def deal(key, left):
            dealt = deck.shape[-1] - jnp.sum(left.astype(jnp.int32), axis=-1)
            kind = jnp.take_along_axis(deck, jnp.minimum(dealt, deck.shape[-1] - 1)[..., None], -1)[..., 0]
            kind = jnp.where(dealt < deck.shape[-1], kind, left.shape[-1])
            return kind.astype(jnp.int8), left - jax.nn.one_hot(kind, left.shape[-1], dtype=left.dtype)

        return deal

    def visible(state):
        return jnp.concatenate([jnp.asarray(field, jnp.float32) for field in task.visible(state).values()])

    def episode(luck, actions):
        def one(state, action):
            new, reward, over = task.step(state, action, jax.random.key(0))
            return new, (visible(new), reward, over)

        with mock.patch.object(cards, "deal", cards.deal if name in FIELDS else in_order(luck)):
            state = task.reset(jax.random.key(0))
            if name in FIELDS:
                state = state.replace(**{FIELDS[name]: luck.astype(getattr(state, FIELDS[name]).dtype)})
            _, (seen, reward, over) = jax.lax.scan(one, state, actions)
        return jnp.concatenate([visible(state)[None], seen]), reward, over

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(episode))(jnp.asarray(luck), jnp.asarray(actions, jnp.int32)))


def step_by_step(name: str, level: str, task: Task) -> dict:
    """Compare equal episodes, and count those in which anything differs."""
    random, peer = np.random.default_rng(0), PEERS[name](level.capitalize())
    theirs = []
    for episode in range(TRACED.value):
        planned = peer.plan is not None and episode % 2
        actions = None if planned else random.integers(0, task.actions.n, task.max_steps)
        theirs.append(play_theirs(peer, actions, random, task.max_steps))
    luck, actions = (np.stack([each[key] for each in theirs]) for key in ("luck", "actions"))
    seen, reward, over = play_ours(name, task, luck, actions)
    differing, steps = {"seen": 0, "reward": 0, "end": 0}, 0
    for index, each in enumerate(theirs):
        length = len(each["reward"])
        steps += length
        differing["seen"] += not np.array_equal(seen[index, : length + 1], each["seen"])
        differing["reward"] += not np.allclose(reward[index, :length], each["reward"], rtol=0, atol=TOLERANCE)
        differing["end"] += list(np.flatnonzero(over[index, :length])) != [length - 1]
    return {"name": name, "level": level, "episodes": len(theirs), "steps": steps, "differing": differing}


def distributions(name: str, level: str, task: Task) -> dict:
    """Compare returns and lengths of random play."""
    random, peer = np.random.default_rng(1), PEERS[name](level.capitalize())
    peer = peer._replace(set_luck=None)
    ours = bounds.play(task, bounds.random(task), EPISODES.value, seed=1)
    rewards = []
    for _ in range(EPISODES.value):
        actions = random.integers(0, task.actions.n, task.max_steps)
        rewards.append(play_theirs(peer, actions, random, task.max_steps)["reward"])
    row = {"name": name, "level": level}
    for what, mine, other in (
        ("return", ours.returns, np.array([each.sum() for each in rewards])),
        ("length", ours.lengths, np.array([len(each) for each in rewards])),
    ):
        error = np.sqrt((mine.var(ddof=1) + other.var(ddof=1)) / len(mine))
        distance = float(mine.mean() - other.mean())
        row[what] = {
            "ours": float(mine.mean()),
            "theirs": float(other.mean()),
            "standard_errors": distance / float(error) if error > 0 else 0.0 if distance == 0 else np.inf,
        }
        # Equal returns differ by roundings.
        points = np.concatenate([mine, other]) + 1e-4
        below = [np.mean(values[:, None] <= points[None], axis=0) for values in (mine, other)]
        row[what]["gap"] = float(np.abs(below[0] - below[1]).max())
    return row


def equal(row: dict) -> bool:
    """Whether a row of either kind shows no difference."""
    if "differing" in row:
        return not any(row["differing"].values())
    # Kolmogorov and Smirnov at a level of 1e-5.
    return all(
        abs(row[what]["standard_errors"]) <= MAX_ERRORS and row[what]["gap"] <= 2.47 * np.sqrt(2 / EPISODES.value)
        for what in ("return", "length")
    )


def main(_) -> None:
    """Compare, print a line for each row, and write the results file."""
    rows = []
    for name in TASKS.value or PEERS:
        found = plugins.find("games", name)
        for level in LEVELS.value:
            task = found(**found.LEVELS[level], rules="published")
            for compare in (step_by_step, distributions):
                row = compare(name, level, task)
                rows.append(row | {"verdict": equal(row)})
                print(rows[-1], flush=True)
    failed = sum(not row["verdict"] for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} rows equal")
    if JSON.value:
        origin = {"date": datetime.date.today().isoformat(), **provenance.collect(sys.argv)}
        peer = f"popgym=={importlib.metadata.version('popgym')}"
        write_json(pathlib.Path(JSON.value), origin | {"peer": peer, "rows": rows})
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    app.run(main)
