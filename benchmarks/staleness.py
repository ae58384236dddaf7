"""How wrong the memory is that a sequence begins with, and after how many slots of burn-in it no longer matters.

    python -m benchmarks.staleness --games=breakout,cartpole --json=benchmarks/results/staleness-cpu.json
    python -m benchmarks.staleness --config=configs/pqn_lru.py:preset=gpu,memory=gru --at=0.1 --override seeds=1

A configuration is trained as `podarcade.launch` trains it. At each share of the run in --at the next updates are looked
at, after each of which the parameters θ' are no longer those, θ, that made the memory before its sequences. With θ'
both run over a sequence of the update: Q from the memory as it was, and Q' from the memory that θ' make of the same
past. At the k-th slot of those sequences that have not started an episode anew by then,

    staleness(k) = rms(Q - Q') / rms(A'),       A'(a) = Q'(a) - mean over actions of Q',

rms over sequences, actions and updates, that of A' over all slots, too: 1 is an error as large as what tells actions
apart. A burn-in of k slots leaves staleness(k). R2D2 (Kapturowski et al. 2019, section 3) compares Q values likewise,
on the scale of the largest. θ' are those of the end of an update: its first gradient step is not stale at all.

Three memories are compared with the one of θ': `recomputed` by the parameters of the beginning of the update, `stored`
by those with which the actors lived through that past, one update older, and `zero`. That past is T slots long; the
memory before it, which the update before recomputed, is the same for all.
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
from podarcade.types import State, Trajectory

MEMORIES = ("zero", "stored", "recomputed")
SLOTS = (0, 4, 8, 16, 32, 64)  # of the table
MOST_ENVS = 64  # whose frames are drawn at once


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, without the program's name."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", default="configs/pqn_lru.py", help="FILE.py:ARGUMENTS")
    parser.add_argument("--games", default="", help="a,b: values of the argument game; empty: the configuration's")
    parser.add_argument("--override", action="append", default=[], help="x=y for --config.x=y; may be repeated")
    parser.add_argument("--at", default="0.25,0.5", help="shares of the run")
    parser.add_argument("--updates", type=int, default=5, help="that are looked at each time, one after the other")
    parser.add_argument("--json", default="", help="file to write the results to; a picture is written beside it")
    options = parser.parse_args(arguments)
    try:
        options.at = sorted(float(share) for share in options.at.split(","))
    except ValueError:
        parser.error(f"--at={options.at}; give shares of the run as 0.25,0.5")
    if options.updates < 1 or not all(0 < share <= 1 for share in options.at):
        parser.error(f"--at={options.at} --updates={options.updates}; give shares in (0, 1], and at least 1 update")
    return options


@dataclasses.dataclass(frozen=True)
class Squares:
    """Sums of squares of one seed, over the sequences of some updates."""

    difference: np.ndarray  # [memories, slots], of Q - Q'
    count: np.ndarray  # [slots], terms of each of those
    advantage: np.ndarray  # of A', over all slots
    total: np.ndarray  # terms of that

    def staleness(self) -> np.ndarray:
        """[memories, slots]; NaN at slots that no sequence reached without a start."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(self.difference / self.count / (self.advantage / self.total))


def compare(updater: Updater, states: Sequence[State]) -> tuple[jax.Array, ...]:
    """The fields of `Squares` for the second of two updates, of one seed, from the states around them.

    The history of a state is the W + T slots before its current one, with the memory before them as that update
    recomputed it. So the last state's holds the sequences that the second update learnt from, and the T slots before
    those are the first of the history of the state before.
    """
    algorithm, initial = updater.algorithm, updater.algorithm.initial
    oldest, older, params = (state.learner.params for state in states)
    past = _drawn(updater, states[1].actors.history).slots(0, algorithm.rollout_length)
    window = _drawn(updater, states[2].actors.history)

    def values(carry) -> jax.Array:
        return algorithm.network.apply(params, carry, window.observation, window.previous, window.start)[1]

    memories = {
        "zero": initial(window.start.shape[1]),
        "stored": algorithm.apply(oldest, past)[0],
        "recomputed": algorithm.apply(older, past)[0],
    }
    fresh = values(algorithm.apply(params, past)[0])
    unbroken = jnp.broadcast_to((jnp.cumsum(window.start, axis=0) == 0)[..., None], fresh.shape)
    difference = [jnp.sum(unbroken * jnp.square(values(memories[name]) - fresh), (1, 2)) for name in MEMORIES]
    advantage = fresh - fresh.mean(-1, keepdims=True)
    return jnp.stack(difference), unbroken.sum((1, 2)), jnp.sum(jnp.square(advantage)), jnp.float32(fresh.size)


def _drawn(updater: Updater, history: Trajectory) -> Trajectory:
    """A history [B, H, ...] as slots [H, B, ...] with their frames."""
    history = jax.tree.map(lambda x: x[:MOST_ENVS], history)
    slots = jax.tree.map(lambda x: x.swapaxes(0, 1), history.replace(carry=None))
    observation = jax.vmap(jax.vmap(updater.environment.draw))(slots.latent)
    return slots.replace(latent=None, observation=observation, carry=history.carry)


def measure(run: loop.Run, at: Sequence[float], updates: int) -> Iterator[tuple[int, list[Squares]]]:
    """Trains, and yields at each share of the run how many updates are done and the squares of each seed.

    Raises:
      ValueError: the algorithm does not recompute a memory, or has no values of actions.
    """
    updater, algorithm = run.updater, run.updater.algorithm
    if not isinstance(algorithm, PQN) or not algorithm.has_memory or algorithm.effective_carry_init != "recomputed":
        raise ValueError("give a configuration of PQN with a memory and algorithm.carry_init=recomputed")
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
    """A row of results."""
    found = np.stack([one.staleness() for one in squares])
    unbroken = [one.count * len(one.count) / one.total for one in squares]
    return {
        **training_settings.about(config, run),
        "share": updates / run.total_updates,
        "unbroken": np.mean(unbroken, axis=0).tolist(),
        "staleness": {name: _numbers(found[:, index]) for index, name in enumerate(MEMORIES)},
    }


def _numbers(values: np.ndarray) -> list[list[float | None]]:
    """As JSON has them: null where no sequence is left."""
    return [[None if np.isnan(value) else float(value) for value in seed] for seed in values]


def mean(found: dict, name: str) -> np.ndarray:
    """The staleness [slots] of a row with one of the memories, mean over its seeds."""
    return np.array(found["staleness"][name], dtype=float).mean(0)


def lines(found: dict) -> str:
    """A row of results as text."""
    text = []
    for name in MEMORIES:
        values = "".join(f"{value:9.1%}" for slot, value in enumerate(mean(found, name)) if slot in SLOTS)
        text.append(f"{found['game']:20}{found['share']:6.0%}  {name:12}{values}")
    return "\n".join(text)


def picture(rows: list[dict]):
    """A figure of matplotlib, a panel for each row: staleness against slots, a line for each memory, thin for seeds."""
    from matplotlib.figure import Figure

    games = list(dict.fromkeys(row["game"] for row in rows))
    each = {game: [row for row in rows if row["game"] == game] for game in games}
    columns = max(map(len, each.values()))
    size = (0.6 + 4 * columns, 0.6 + 2.8 * len(games))
    figure = Figure(figsize=size)
    axes = figure.subplots(len(games), columns, sharex=True, sharey=True, squeeze=False)
    colours = dict(zip(MEMORIES, ("tab:grey", "tab:orange", "tab:blue"), strict=True))
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
    """Keeps the results with all they depend on, and draws them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"date": datetime.date.today().isoformat(), **provenance.of(arguments), "rows": rows})
    try:
        picture(rows).savefig(path.with_suffix(".png"), dpi=80)
    except ModuleNotFoundError:
        print("no picture: it needs the extra, pip install -e '.[bench]'")


def main(arguments: list[str]) -> None:
    """Trains, compares, tables, writes."""
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
