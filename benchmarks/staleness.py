"""Staleness of the initial memory of training sequences, and how many slots of burn-in remove it.

    python -m benchmarks.staleness --games=breakout,cartpole --json=benchmarks/results/staleness-cpu.json
    python -m benchmarks.staleness --config=configs/pqn_lru.py:preset=gpu,memory=gru --at=0.1 --override config.seeds=1

A configuration is trained as by `podarcade.launch`. At each share of the run in --at the next updates are examined.
After an update the parameters θ' differ from those, θ, that computed the memory before its sequences. With θ', the
network is run over the sequences of the update twice: Q from the memory as it was, Q' from the memory that θ' computes
over the same past. At the k-th slot, over the sequences in which no new episode has started by then,

    staleness(k) = rms(Q - Q') / rms(A'),       A'(a) = Q'(a) - mean over actions of Q',

where the rms is over sequences, actions and updates, and that of A' over all slots, too: at 1 the error is as large as
the differences between actions. A burn-in of k slots leaves staleness(k). R2D2 (Kapturowski et al. 2019, section 3)
compares Q values in the same way, on the scale of the largest. θ' is taken at the end of an update: its first gradient
step is not stale.

Three memories are compared with that of θ': `recomputed` by the parameters at the start of the update, `stored` by the
actors' parameters, one update older, and `zero`. The past is T slots long; the memory before it, recomputed by the
previous update, is shared by all.
"""

import argparse
import dataclasses
import datetime
import pathlib
import sys
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import training_settings
from podarcade.algorithms.pqn import PQN
from podarcade.anakin.update import Updater
from podarcade.runtime import backend, loop, provenance
from podarcade.runtime.failures import one_line
from podarcade.runtime.run_files import write_json
from podarcade.types import Batch, State

MEMORIES = ("zero", "stored", "recomputed")
SLOTS = (0, 4, 8, 16, 32, 64)  # of the table
MAX_ENVS = 64  # whose frames are drawn at once


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line without the program's name; exit with one line if it is invalid."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", default="configs/pqn_lru.py", help="FILE.py:ARGUMENTS")
    parser.add_argument("--games", default="", help="values of the argument game; empty: the configuration's")
    parser.add_argument("--override", action="append", default=[], help="config.x=y; may be repeated")
    parser.add_argument("--at", default="0.25,0.5", help="shares of the run")
    parser.add_argument("--updates", type=int, default=5, help="consecutive updates examined at each share")
    parser.add_argument("--json", default="", help="results file; a figure is drawn beside it")
    options = parser.parse_args(arguments)
    try:
        options.at = sorted(float(share) for share in options.at.split(","))
    except ValueError:
        parser.error(f"--at={options.at}; expected shares of the run, as 0.25,0.5")
    if options.updates < 1 or not all(0 < share <= 1 for share in options.at):
        parser.error(f"--at={options.at} --updates={options.updates}; expected shares in (0, 1] and updates >= 1")
    return options


@dataclasses.dataclass(frozen=True)
class Squares:
    """Sums of squares of one seed over the sequences of several updates."""

    difference: np.ndarray  # [memories, slots], of Q - Q'
    count: np.ndarray  # [slots], number of terms
    advantage: np.ndarray  # of A', over all slots
    total: np.ndarray  # number of terms

    def staleness(self) -> np.ndarray:
        """Return staleness [memories, slots], NaN at slots that no sequence reached without a start."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(self.difference / self.count / (self.advantage / self.total))


def compare(updater: Updater, states: Sequence[State]) -> tuple[jax.Array, ...]:
    """Return the fields of `Squares` of the second of two updates of one seed.

    The history of a state holds the W + T slots before its current one, with the memory before them as recomputed by
    that update. The last state's history thus holds the training sequences of the second update, and the T slots before
    them come first in the history of the previous state.

    Args:
      updater: of the run.
      states: before the first, between, and after the second update.
    """
    algorithm, initial = updater.algorithm, updater.algorithm.initial
    oldest, older, params = (state.learner.params for state in states)
    past = _drawn(updater, states[1].actors.history).time_slice(0, algorithm.rollout_length)
    window = _drawn(updater, states[2].actors.history)
    start = window.slots.start

    def values(carry) -> jax.Array:
        return algorithm.values(params, window.replace(carry=carry))

    memories = {
        "zero": initial(start.shape[1]),
        "stored": algorithm.apply(oldest, past)[0],
        "recomputed": algorithm.apply(older, past)[0],
    }
    fresh = values(algorithm.apply(params, past)[0])
    unbroken = jnp.broadcast_to((jnp.cumsum(start, axis=0) == 0)[..., None], fresh.shape)
    difference = [jnp.sum(unbroken * jnp.square(values(memories[name]) - fresh), (1, 2)) for name in MEMORIES]
    advantage = fresh - fresh.mean(-1, keepdims=True)
    return jnp.stack(difference), unbroken.sum((1, 2)), jnp.sum(jnp.square(advantage)), jnp.float32(fresh.size)


def _drawn(updater: Updater, history: Batch) -> Batch:
    """Return a history [B, H, ...] as a batch of slots [H, B, ...] with their observations drawn."""
    history = jax.tree.map(lambda x: x[:MAX_ENVS], history)
    slots = history.slots.map(lambda x: x.swapaxes(0, 1))
    observation = jax.vmap(jax.vmap(updater.environment.draw))(slots.latent)
    return history.replace(slots=slots.replace(latent=None, observation=observation))


def measure(run: loop.Run, at: Sequence[float], updates: int) -> Iterator[tuple[int, list[Squares]]]:
    """Train; yield the number of updates and the squares of each seed at each share of the run.

    Raises:
      ValueError: the algorithm does not recompute a memory, or has no action values.
    """
    updater, algorithm = run.updater, run.updater.algorithm
    if not isinstance(algorithm, PQN) or not algorithm.has_memory or algorithm.effective_carry_init != "recomputed":
        raise ValueError("expected a configuration of PQN with a memory and algorithm.carry_init=recomputed")
    state = updater.init(jnp.asarray(run.seeds, jnp.int32))
    program = updater.compile(state, 1)
    of_seeds = jax.jit(lambda states: jax.lax.map(lambda one: compare(updater, one), states))
    done = 0
    for share in at:
        while done < share * run.total_updates:
            state, done = program(state)[0], done + 1
        states, found = [jax.device_get(state)], []
        for _ in range(updates + 1):
            state, done = program(state)[0], done + 1
            states = [*states[-2:], jax.device_get(state)]
            if len(states) == 3:
                found.append(of_seeds(states))
        sums = [np.sum(field, axis=0, dtype=np.float64) for field in zip(*found, strict=True)]
        yield done, [Squares(*(field[seed] for field in sums)) for seed in range(len(run.seeds))]


def row(config, run: loop.Run, updates: int, squares: list[Squares]) -> dict:
    """Return a row of results."""
    found = np.stack([one.staleness() for one in squares])
    unbroken = [one.count * len(one.count) / one.total for one in squares]
    return {
        **training_settings.about(config, run),
        "share": updates / run.total_updates,
        "unbroken": np.mean(unbroken, axis=0).tolist(),
        "staleness": {name: _numbers(found[:, index]) for index, name in enumerate(MEMORIES)},
    }


def _numbers(values: np.ndarray) -> list[list[float | None]]:
    """Return values for JSON: None where no sequence is left."""
    return [[None if np.isnan(value) else float(value) for value in seed] for seed in values]


def mean(found: dict, name: str) -> np.ndarray:
    """Return the staleness [slots] of one memory in a row, mean over its seeds."""
    return np.array(found["staleness"][name], dtype=float).mean(0)


def lines(found: dict) -> str:
    """Return a row of results as text."""
    text = []
    for name in MEMORIES:
        values = "".join(f"{value:9.1%}" for slot, value in enumerate(mean(found, name)) if slot in SLOTS)
        text.append(f"{found['game']:20}{found['share']:6.0%}  {name:12}{values}")
    return "\n".join(text)


def picture(rows: list[dict]):
    """Return a matplotlib figure: staleness over slots, a panel per row, a line per memory, thin lines for seeds."""
    from matplotlib.figure import Figure

    games = list(dict.fromkeys(row["game"] for row in rows))
    each = {game: [row for row in rows if row["game"] == game] for game in games}
    columns = max(map(len, each.values()))
    size = (0.6 + 4 * columns, 0.6 + 2.8 * len(games))
    figure = Figure(figsize=size)
    axes = figure.subplots(len(games), columns, sharex=True, sharey=True, squeeze=False)
    colours = dict(zip(MEMORIES, ("#8a8f98", "#d55e00", "#0072b2"), strict=True))
    for panels, game in zip(axes, games, strict=True):
        for axis, found in zip(panels, each[game], strict=False):
            for name, colour in colours.items():
                for seed in found["staleness"][name]:
                    axis.plot(np.array(seed, dtype=float), color=colour, alpha=0.3, linewidth=0.8)
                axis.plot(mean(found, name), color=colour, label=name)
            axis.axhline(1, color="black", linewidth=0.6, linestyle=":")
            axis.set(title=f"{game}, {found['twin']}: {found['share']:.0%} of the run", yscale="log", ylim=(1e-3, 20))
            axis.grid(alpha=0.3)
    axes[0, 0].legend(title="memory before the first slot")
    figure.supxlabel("slots of burn-in")
    figure.supylabel("error of Q / rms advantage")
    figure.tight_layout()
    return figure


def write(path: pathlib.Path, rows: list[dict], arguments: list[str]) -> None:
    """Write the results with their provenance, and draw them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"date": datetime.date.today().isoformat(), **provenance.collect(arguments), "rows": rows})
    picture(rows).savefig(path.with_suffix(".png"), dpi=80)


def main(arguments: list[str]) -> None:
    """Train, compare, print, write."""
    options, rows = parse(arguments[1:]), []
    games = {"game": [game for game in options.games.split(",") if game]}
    try:
        backend.configure(0)
        for command in training_settings.sweep(options.config, games, {}, options.override):
            config, run = training_settings.load(command)
            for updates, squares in measure(run, options.at, options.updates):
                if not rows:
                    print(f"{'game':20}{'run':>6}  {'memory':12}" + "".join(f"{k:>9}" for k in SLOTS))
                rows.append(row(config, run, updates, squares))
                print(lines(rows[-1]), flush=True)
                if options.json:
                    write(pathlib.Path(options.json), rows, arguments)
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {one_line(error)}") from None


if __name__ == "__main__":
    main(sys.argv)
