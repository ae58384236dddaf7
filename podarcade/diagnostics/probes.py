"""State probes: what can be read out of the recurrent state (Alain and Bengio 2016, arXiv 1610.01644)."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade import ranges
from podarcade.actions import Discrete
from podarcade.diagnostics import Agent, Diagnostic, readout, untrained
from podarcade.diagnostics.episodes import Episodes, join_groups, num_groups, play, step, steps_of
from podarcade.diagnostics.readout import Split, Target
from podarcade.types import Pytree

SOURCES = ("memory", "untrained", "observation", "present")
PROBES = ("linear", "network")
SHARES = ("r2", "within", "accuracy")


@dataclasses.dataclass(frozen=True)
class Probes(Diagnostic):
    """Probes of the game's state, fitted on half of B greedy episodes and scored on the other half.

    The quantities are the leaves of the game's state, by their paths, and those that the task itself calls `needed`, at
    the times at which something is. They are read from four sources, of which three are controls:

    - "memory": the recurrent state after the observation of the same time was read, so before the next one.
    - "untrained": likewise, of a network with new parameters that sees the same episodes, the previous actions
      included. A random recurrence holds much of the past; only what is above it was learnt. Where actions give the
      quantity away, call this diagnostic on `untrained(agent, key)`, which plays episodes of its own.
    - "observation": the observation, of games with pixels the features of the agent's encoder.
    - "present": the observation and the previous action, in which a policy without memory can store something.

    by two probes: "linear", ridge regression, and "network", one hidden layer. Probes do not know the time; they are
    fitted on all steps together. Features are standardised over the episodes of the fit. More than `max_features` of
    them, F, are first reduced to sums of every F-th one with random signs, a projection that preserves inner products
    on average (Weinberger et al. 2009, arXiv 0902.2206).

    An agent without memory has NaN for "memory" and "untrained".

    Attributes:
      episodes: B; an even number.
      length: T, as of `RecallDensity`.
      components: how many components of a leaf are read at most, evenly spaced.
      max_features: F.
      penalty: λ of the linear probe, in units of the variance of a feature.
      hidden: hidden units of the network.
      steps: its gradient steps.

    Raises:
      ValueError: an odd number of episodes, or less than 4.
    """

    RANGES: ClassVar[dict[str, ranges.Range]] = dict.fromkeys(
        ("components", "max_features", "hidden", "steps"), ranges.COUNT
    ) | {"penalty": ranges.POSITIVE}

    episodes: int = 256
    length: int = 0
    components: int = 16
    max_features: int = 256
    penalty: float = 0.01
    hidden: int = 128
    steps: int = 400

    def __post_init__(self):
        super().__post_init__()
        if self.episodes < 4 or self.episodes % 2:
            raise ValueError(f"episodes={self.episodes}; expected an even number >= 4, half of which fit the probes")

    def __call__(self, agent: Agent, key: jax.Array) -> dict[str, np.ndarray]:
        """Return scores on the episodes that are held out, named QUANTITY/SOURCE/PROBE/SCORE.

        Scores are the "r2", "within", "r2_at" and "r2_of" of `readout.explained`; of integers and flags also the
        "accuracy", "accuracy_at" and "accuracy_of" of `readout.accurate`. "_at" is a curve over time, [T], "_of" is
        over components, [C]. QUANTITY/chance/SCORE is the accuracy of naming the most frequent value of each time.
        """
        length, (play_key, fit_key) = steps_of(agent.environment.game, self.length), jax.random.split(key)
        watched = jax.device_get(_watch(agent, play_key, self.episodes, length, self.components, self.max_features))
        targets = _targets(watched)
        found = {}
        for name, target in targets.items():
            if target.discrete:
                found |= {f"{name}/chance/{score}": value for score, value in _chance(target).items()}
        for source in SOURCES:
            read = self._read(watched, targets, source, fit_key)
            for name, target in targets.items():
                for probe in PROBES:
                    scores = _scores(target, read[probe][name])
                    found |= {f"{name}/{source}/{probe}/{score}": value for score, value in scores.items()}
        return {name: np.asarray(value, np.float32) for name, value in found.items()}

    def _read(
        self, watched: "Watched", targets: dict[str, Target], source: str, key: jax.Array
    ) -> dict[str, dict[str, np.ndarray]]:
        """Return the columns that each probe reads from a source in the episodes that are held out, by quantity."""
        columns = {name: target.columns() for name, target in targets.items()}
        shape = next(iter(targets.values())).values.test.shape[:2]
        if source not in watched.features:
            nothing = {name: np.full((*shape, y.shape[-1]), np.nan) for name, y in columns.items()}
            return {probe: nothing for probe in PROBES}
        features = readout.standardise(Split.of(watched.features[source]), Split.of(watched.inside))
        every = np.concatenate(list(columns.values()), axis=-1)
        known = [np.broadcast_to(targets[name].known.fit[..., None], y.shape) for name, y in columns.items()]
        weight = np.concatenate(known, axis=-1)
        read = {
            "linear": readout.ridge(features, every, weight, self.penalty),
            "network": readout.network(features, every, weight, key, self.hidden, self.steps),
        }
        ends = np.cumsum([y.shape[-1] for y in columns.values()])[:-1]
        return {probe: dict(zip(columns, np.split(y, ends, axis=-1), strict=True)) for probe, y in read.items()}

    def summarise(self, found: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return {quantity: {"chance": ..., source: {probe: {"r2": ..., "within": ..., "accuracy": ...}}}}."""
        summary: dict[str, Any] = {}
        for path, value in found.items():
            name, *parts, score = path.split("/")
            if score not in SHARES:
                continue
            number = None if np.isnan(value) else round(float(value), 5)
            if parts == ["chance"]:
                summary.setdefault(name, {})["chance"] = number
            else:
                source, probe = parts
                summary.setdefault(name, {}).setdefault(source, {}).setdefault(probe, {})[score] = number
        return summary


@struct.dataclass
class Watched:
    """What the probes see of B episodes."""

    features: dict[str, jax.Array]  # float32[T, B, F] by source
    values: dict[str, jax.Array]  # [T, B, C] by quantity
    known: dict[str, jax.Array]  # bool[T, B] by quantity
    inside: jax.Array  # bool[T, B]


@functools.partial(jax.jit, static_argnames=("episodes", "length", "components", "max_features"))
def _watch(agent: Agent, key: jax.Array, episodes: int, length: int, components: int, max_features: int) -> Watched:
    play_key, control_key = jax.random.split(key)
    control = untrained(agent, control_key)
    groups = num_groups(agent, episodes, length)

    def group(key: jax.Array) -> Watched:
        played = play(agent, key, episodes // groups, length)
        features = _present(agent, played)
        if jax.tree.leaves(played.memory):
            for name, one in (("memory", agent), ("untrained", control)):
                features[name] = _memories(one, played, max_features)
        values, known = _quantities(agent, played, components)
        return Watched({name: _project(x, max_features) for name, x in features.items()}, values, known, played.inside)

    return join_groups(jax.lax.map(group, jax.random.split(play_key, groups)))


def _memories(agent: Agent, played: Episodes, max_features: int) -> jax.Array:
    """Return the recurrent state after each step of episodes, replayed, float32[T, B, F]."""
    timestep = played.timestep.replace(observation=agent.encode(played.timestep, played.previous_action))

    def body(memory: Pytree, now: tuple) -> tuple[Pytree, jax.Array]:
        memory, _ = step(agent, memory, *now)
        return memory, _project(_flat(memory, 1), max_features)  # here, so that no window is stored for every step

    return jax.lax.scan(body, agent.initial(len(played.last)).memory, (timestep, played.previous_action))[1]


def _present(agent: Agent, played: Episodes) -> dict[str, jax.Array]:
    """Return what can be read without memory, float32[T, B, F], with and without the previous action."""
    seen, action = played.timestep.observation, played.previous_action
    if seen.ndim > 3:
        seen = agent.encode(played.timestep, action)
    space = agent.environment.game.actions
    action = jax.nn.one_hot(action, space.n) if isinstance(space, Discrete) else action
    seen, action = _flat(seen, 2), _flat(action, 2)
    # Equal shapes, so that both are probed by the same programs.
    return {
        "observation": jnp.concatenate([seen, jnp.zeros_like(action)], axis=-1),
        "present": jnp.concatenate([seen, action], axis=-1),
    }


def _quantities(agent: Agent, played: Episodes, components: int) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Return quantities [T, B, C] by name, and where they are known, bool[T, B]."""
    game, state = agent.environment.game, played.latent.game
    asked = jnp.broadcast_to(jnp.asarray(game.needed_time(state.time)) >= 0, played.inside.shape)
    needed = jax.vmap(jax.vmap(game.needed))(state)
    leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    values = leaves | {f"needed.{name}": leaf for name, leaf in needed.items()}
    values = {name: _components(leaf, components) for name, leaf in values.items() if _is_number(leaf) and leaf.size}
    known = {name: played.inside & asked if name.startswith("needed.") else played.inside for name in values}
    return values, known


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _is_number(leaf: jax.Array) -> bool:
    """Return whether a leaf is a quantity, and not a random key."""
    key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or leaf.dtype == jnp.uint32
    return not key


def _components(leaf: jax.Array, components: int) -> jax.Array:
    leaf = leaf.reshape(*leaf.shape[:2], -1)
    chosen = np.unique(np.linspace(0, leaf.shape[-1] - 1, min(components, leaf.shape[-1])).round().astype(int))
    return leaf[..., chosen]


def _flat(tree: Pytree, axes: int) -> jax.Array:
    """Return the leaves of a tree side by side, float32[..., F], behind their first `axes` axes."""
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate([leaf.reshape(*leaf.shape[:axes], -1) for leaf in leaves], axis=-1)


def _project(x: jax.Array, size: int) -> jax.Array:
    """Return at most `size` features, float32[..., F]: where there are more, each is a sum with random signs."""
    count = x.shape[-1]
    if count <= size:
        return x
    each = -(-count // size)
    signs = np.random.default_rng(0).choice(np.float32([-1, 1]), (*(1 for _ in x.shape[:-1]), each * size))
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, each * size - count)])
    return (padded * signs).reshape(*x.shape[:-1], each, size).sum(axis=-2)


def _targets(watched: Watched) -> dict[str, Target]:
    targets = {}
    for name, values in watched.values.items():
        known = Split.of(watched.known[name])
        exists = bool(known.fit.any())
        targets[name] = Target(
            values=Split.of(values.astype(np.float64)),
            known=known if exists else Split.of(np.ones_like(watched.known[name])),
            discrete=not np.issubdtype(values.dtype, np.floating),
            exists=exists,
        )
    return targets


def _chance(target: Target) -> dict[str, np.ndarray]:
    return _if_exists(target, readout.accurate(target, readout.commonest(target)))


def _scores(target: Target, read: np.ndarray) -> dict[str, np.ndarray]:
    numbers, chosen = target.decode(read)
    found = readout.explained(target, numbers)
    return _if_exists(target, found | (readout.accurate(target, chosen) if target.discrete else {}))


def _if_exists(target: Target, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return scores if target.exists else {name: np.full_like(value, np.nan) for name, value in scores.items()}
