"""Parity of rules="published" with the released benchmark: our games next to an installed popgym-arcade.

    python -m benchmarks.parity
    python -m benchmarks.parity --games=TetrisHard,NavigatorEasy --episodes=4096 --json=parity.json

Each environment is compared in two ways. Distributions: returns, lengths and ends of first episodes under random and
under scripted actions (each of a few patterns is repeated in a share of the environments). Means are compared in
standard errors and as Cohen's d; distributions of returns and lengths by the largest gap between their CDFs (Kolmogorov
and Smirnov); kinds of end (limit or not; last reward positive, zero or negative) by the largest difference of their
shares. Trajectories: our game steps from every latent state that their play visits, with the same action; reward, end
and next state must be equal, apart from the random part of the next state. The exit code is 1 if any row fails.
"""

import dataclasses
import datetime
import pathlib
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import peers, samples
from benchmarks.names import environments
from benchmarks.peers import latents
from podarcade.envs import environment
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

GAMES = flags.DEFINE_list("games", [], "names such as TetrisHard; empty: all games with pixels")
EPISODES = flags.DEFINE_integer("episodes", 2048, "episodes of each distribution", lower_bound=32)
TRACED = flags.DEFINE_integer("traced", 256, "episodes compared step by step", lower_bound=1)
PEERS = flags.DEFINE_string("peers", ".peers", "folder of the peer's virtual environment")
JSON = flags.DEFINE_string("json", "", "results file")

# Repeated endlessly: moves and confirmations in orders that reach states which random play does not.
SCRIPTS = (
    [4],
    [3, 4],
    [1, 4, 3, 4],
    [2, 4, 4],
    [0, 4, 0, 4, 1, 4],
    [3, 3, 1, 4, 2, 0, 4],
    [2, 3],
    [1],
    [0, 3, 2, 4, 1],
)
# Steps to play per game, one more than its longest episode.
LONGEST = {"AutoEncode": 790, "Breakout": 2001, "Tetris": 1320, "CartPole": 610, "NoisyCartPole": 210}
MAX_ERRORS = 4.5  # standard errors between two equal means, at most, over some two hundred comparisons


def actions_for(kind: str, steps: int, episodes: int, seed: int) -> np.ndarray:
    """Return actions int32[steps, episodes]: uniformly random, or scripts from random offsets."""
    generator = np.random.default_rng(seed)
    if kind == "random":
        return generator.integers(0, 5, (steps, episodes)).astype(np.int32)
    columns = []
    for episode in range(episodes):
        script = np.array(SCRIPTS[episode % len(SCRIPTS)])
        columns.append(np.resize(np.roll(script, generator.integers(len(script))), steps))
    return np.stack(columns, 1).astype(np.int32)


def play_ours(game, actions: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Play our game; return "reward" and "done" [T, B] up to and beyond the first end."""

    def one(carry, action):
        state, key = carry
        key, step_key = jax.random.split(key)
        state, reward, terminal = jax.vmap(game.step)(state, action, jax.random.split(step_key, len(action)))
        return (state, key), {"reward": reward, "done": terminal}

    @jax.jit
    def roll(key, actions):
        reset_key, key = jax.random.split(key)
        state = jax.vmap(game.reset)(jax.random.split(reset_key, actions.shape[1]))
        return jax.lax.scan(one, (state, key), actions)[1]

    return jax.tree.map(np.asarray, roll(jax.random.key(seed), actions))


def play_theirs(peer: peers.Peer, name: str, actions: np.ndarray, seed: int, states: bool) -> dict[str, np.ndarray]:
    """Play the released game; return "reward" and "done" [T, B], and latent states [T + 1, B, ...] if asked for."""
    prepared = prepared_boards(actions.shape[1]) if states and name.startswith("Tetris") else {}
    with tempfile.TemporaryDirectory() as folder:
        files = {file: str(pathlib.Path(folder) / f"{file}.npz") for file in ("prepared", "result")}
        files["actions"] = str(pathlib.Path(folder) / "actions.npy")
        np.save(files["actions"], actions)
        np.savez(files["prepared"], **prepared)
        peer.ask("play", name=name, seed=seed, states=states, **files)
        with np.load(files["result"]) as arrays:
            return dict(arrays)


def prepared_boards(count: int) -> dict[str, np.ndarray]:
    """Return Tetris boards that blind play hardly reaches: full rows with a gap below the new piece, lines cleared."""
    generator = np.random.default_rng(6)
    board, lines = np.zeros((count, 20, 10), np.int32), np.zeros(count, np.int32)
    for index in range(0, count, 2):
        height, gap, width = generator.integers((1, 3, 1), (8, 6, 5))
        board[index, 20 - height :] = generator.integers(1, 8, (height, 10))
        board[index, :, gap : gap + width] = 0
        lines[index] = generator.integers(10)
    return {"board": board, "lines_cleared": lines, "score": lines}


def distributions(peer: peers.Peer, name: str, game, limit: int, kind: str) -> dict:
    """Return the row of the distributions of one environment under one kind of actions."""
    actions = actions_for(kind, LONGEST.get(type(game).__name__, limit + 2), EPISODES.value, 0)
    ours = samples.episodes(play_ours(game, actions, 1), limit)
    theirs = samples.episodes(play_theirs(peer, name, actions, 2, states=False), limit)
    row = {
        "name": name,
        "actions": kind,
        **{what: samples.compare(ours[what], theirs[what]) for what in ("return", "length")},
    }
    shares = [np.bincount(sample["end"], minlength=6) / len(sample["end"]) for sample in (ours, theirs)]
    row["end_gap"] = float(np.abs(shares[0] - shares[1]).max())
    row["verdict"] = (
        all(
            abs(row[what]["standard_errors"]) < MAX_ERRORS and row[what]["gap"] <= row[what]["max_gap"]
            for what in ("return", "length")
        )
        and row["end_gap"] <= 2 * row["return"]["max_gap"]
    )
    return row


def trajectories(peer: peers.Peer, name: str, game, limit: int) -> dict:
    """Return the row of the released game's transitions, each repeated by our game from the same latent state."""
    module = type(game).__name__.lower()
    steps = min(limit + 2, 400)
    half = TRACED.value // 2
    actions = np.concatenate([actions_for("random", steps, half, 3), actions_for("scripted", steps, half, 4)], 1)
    theirs = play_theirs(peer, name, actions, 5, states=True)
    done = theirs["done"].astype(bool)
    alive = np.cumsum(done, 0) - done == 0
    outcome = {key: theirs.pop(key) for key in ("reward", "done")}
    before, after = (
        latents.ours(module, {key: value[part][alive] for key, value in theirs.items()})
        for part in (slice(None, -1), slice(1, None))
    )
    step = jax.jit(jax.vmap(lambda state, action: game.step(state, action, jax.random.key(0))))
    state, reward, terminal = step(before, jnp.asarray(actions[alive]))
    ended = outcome["done"][alive].astype(bool)
    wrong = {
        "reward": int((np.abs(np.asarray(reward) - outcome["reward"][alive]) > 1e-5).sum()),
        "end": int((np.asarray(terminal) != ended).sum()),
        "state": _unlike(module, state, after, ended),
    }
    paid = int((outcome["reward"][alive] > 0).sum())
    row = {"name": name, "actions": "states", "transitions": int(alive.sum()), "ends": int(ended.sum()), "paid": paid}
    row["wrong"] = wrong
    return row | {"verdict": not any(wrong.values())}


def _unlike(module: str, state, expected, ended: np.ndarray) -> int:
    """Count transitions with another next state, ignoring those after an end and the random part of the state."""
    differs = np.zeros(len(ended), bool)
    for field in dataclasses.fields(state):
        if field.name in latents.CHANCE.get(module, ()):
            continue
        new, old = np.asarray(getattr(state, field.name)), getattr(expected, field.name)
        apart = np.abs(new.astype(np.float64) - old) > 1e-5
        if (module, field.name) == ("skittles", "blocks"):
            apart = apart[:, 1:]  # the new row is random
        if (module, field.name) == ("tetris", "coming"):
            apart = apart & (np.asarray(state.index) != 0)[:, None]  # a new bag is random
        differs |= apart.reshape(len(ended), -1).any(1)
    return int((differs & ~ended).sum())


def line(row: dict) -> str:
    """Return a row of the table."""
    verdict = "equal" if row["verdict"] else "DIFFERENT"
    if row["actions"] == "states":
        wrong = ", ".join(f"{what} {count}" for what, count in row["wrong"].items())
        counts = f"{row['transitions']:8,} transitions, {row['paid']:6,} paid"
        return f"{row['name']:20} {'states':9} {counts}, wrong: {wrong:25} {verdict}"
    cells = [
        f"{row[what]['ours']:9.4f} {row[what]['theirs']:9.4f} {row[what]['cohens_d']:+6.3f} {row[what]['gap']:5.3f}"
        for what in ("return", "length")
    ]
    return f"{row['name']:20} {row['actions']:9}{'  '.join(cells)}  {row['end_gap']:5.3f} {verdict}"


def main(_) -> None:
    """Compare, print, write; exit with 1 if a row fails."""
    names = GAMES.value or environments(tasks=False, levels=True)
    try:
        games = {name: environment.make(name, rules="published").game for name in names}
        limits = {name: environment.make(name).game.time_limit for name in names}
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    peer, rows = peers.Peer("arcade", pathlib.Path(PEERS.value)), []
    columns = "  ".join(f"{what:>9} {'theirs':>9} {'d':>6} {'gap':>5}" for what in ("return", "length"))
    print(f"{'':20} {'actions':9}{columns}  {'ends':>5}")
    for name, game in games.items():
        made = [distributions(peer, name, game, limits[name], kind) for kind in ("random", "scripted")]
        for row in [*made, trajectories(peer, name, game, limits[name])]:
            rows.append(row)
            print(line(row), flush=True)
    peer.close()
    failed = sum(not row["verdict"] for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} rows equal")
    if JSON.value:
        origin = {"date": datetime.date.today().isoformat(), **provenance.collect(sys.argv)}
        content = origin | {"episodes": EPISODES.value, "requirements": peers.REQUIREMENTS["arcade"], "rows": rows}
        write_json(pathlib.Path(JSON.value), jax.tree.map(_plain, content))
    raise SystemExit(1 if failed else 0)


def _plain(leaf):
    """Return numpy scalars as Python numbers."""
    return leaf.item() if isinstance(leaf, np.generic) else leaf


if __name__ == "__main__":
    app.run(main)
