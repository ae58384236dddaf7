"""Whether rules="published" are the released benchmark's rules: our games beside an installed popgym-arcade.

    python -m benchmarks.parity
    python -m benchmarks.parity --games=TetrisHard,NavigatorEasy --episodes=4096 --json=parity.json

Two comparisons for every configuration.
Distributions: returns, lengths and ends of first episodes under random actions and under scripted ones (a share of the
environments repeats each of a few patterns). Means are compared in standard errors and as Cohen's d, whole
distributions of returns and lengths by the largest gap between their cumulative shares (Kolmogorov and Smirnov), and
kinds of end (limit or not; last reward positive, zero or negative) by the largest difference of their shares.
Trajectories: every latent state that their play visits is handed to our game with the same action; reward, end and next
state must be equal, but for what the next state owes to chance. The exit code is 1 if any row fails.
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
from benchmarks.peers import latents
from podarcade.envs import environment
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

GAMES = flags.DEFINE_list("games", [], "names such as TetrisHard; none for all")
EPISODES = flags.DEFINE_integer("episodes", 2048, "episodes of each distribution", lower_bound=32)
TRACED = flags.DEFINE_integer("traced", 256, "episodes that are compared step by step", lower_bound=1)
PEERS = flags.DEFINE_string("peers", ".peers", "where the peer's virtual environment is kept")
JSON = flags.DEFINE_string("json", "", "file to write the results to")

# Each is repeated for ever. Moves and confirmations in orders that visit what random play does not.
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
# Longest episodes of each game, a step more than the limit.
LONGEST = {"AutoEncode": 790, "Breakout": 2001, "Tetris": 1320, "CartPole": 610, "NoisyCartPole": 210}
MOST_ERRORS = 4.5  # standard errors that two equal means may lie apart, over some two hundred comparisons


def actions_for(kind: str, steps: int, episodes: int, seed: int) -> np.ndarray:
    """int32[steps, episodes]: uniformly random, or scripts that start anywhere in themselves."""
    generator = np.random.default_rng(seed)
    if kind == "random":
        return generator.integers(0, 5, (steps, episodes)).astype(np.int32)
    columns = []
    for episode in range(episodes):
        script = np.array(SCRIPTS[episode % len(SCRIPTS)])
        columns.append(np.resize(np.roll(script, generator.integers(len(script))), steps))
    return np.stack(columns, 1).astype(np.int32)


def play_ours(game, actions: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Reward and end flag [T, B] of first episodes."""

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
    """Reward and end flag [T, B] of first episodes; if asked for with latent states [T + 1, B, ...], some prepared."""
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
    """Tetris as blind play hardly reaches it: rows full but for a gap below the new piece, up to nine lines cleared."""
    generator = np.random.default_rng(6)
    board, lines = np.zeros((count, 20, 10), np.int32), np.zeros(count, np.int32)
    for index in range(0, count, 2):
        height, gap, width = generator.integers((1, 3, 1), (8, 6, 5))
        board[index, 20 - height :] = generator.integers(1, 8, (height, 10))
        board[index, :, gap : gap + width] = 0
        lines[index] = generator.integers(10)
    return {"board": board, "lines_cleared": lines, "score": lines}


def distributions(peer: peers.Peer, name: str, game, limit: int, kind: str) -> dict:
    """One row: the distributions of one configuration under one kind of actions."""
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
            abs(row[what]["standard_errors"]) < MOST_ERRORS and row[what]["gap"] <= row[what]["most_gap"]
            for what in ("return", "length")
        )
        and row["end_gap"] <= 2 * row["return"]["most_gap"]
    )
    return row


def trajectories(peer: peers.Peer, name: str, game, limit: int) -> dict:
    """One row: their transitions, each repeated by our game from the same latent state."""
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
    """Transitions to another next state. After the end it does not matter; what chance decides is left out."""
    differs = np.zeros(len(ended), bool)
    for field in dataclasses.fields(state):
        if field.name in latents.CHANCE.get(module, ()):
            continue
        new, old = np.asarray(getattr(state, field.name)), getattr(expected, field.name)
        apart = np.abs(new.astype(np.float64) - old) > 1e-5
        if (module, field.name) == ("skittles", "blocks"):
            apart = apart[:, 1:]  # the new row is drawn
        if (module, field.name) == ("tetris", "coming"):
            apart = apart & (np.asarray(state.index) != 0)[:, None]  # a new bag is drawn
        differs |= apart.reshape(len(ended), -1).any(1)
    return int((differs & ~ended).sum())


def line(row: dict) -> str:
    """A row of the table for people."""
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
    """Compares, tables, writes."""
    names = GAMES.value or list(environment.environment_names())
    try:
        games = {name: environment.make(name, rules="published").game for name in names}
        limits = {name: environment.make(name).game.limit for name in names}
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
        origin = {"date": datetime.date.today().isoformat(), **provenance.of(sys.argv)}
        content = origin | {"episodes": EPISODES.value, "requirements": peers.REQUIREMENTS["arcade"], "rows": rows}
        write_json(pathlib.Path(JSON.value), jax.tree.map(_plain, content))
    raise SystemExit(1 if failed else 0)


def _plain(leaf):
    """Numbers of numpy as Python has them."""
    return leaf.item() if isinstance(leaf, np.generic) else leaf


if __name__ == "__main__":
    app.run(main)
