"""Contamination: how long one disturbed observation affects decisions (POPGym Arcade, figures 9 and 10)."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from podarcade import ranges
from podarcade.actions import NEAR_TIE, Discrete, is_near_tie
from podarcade.diagnostics import Agent, Diagnostic
from podarcade.diagnostics.closed_loop import paired_returns
from podarcade.diagnostics.disturbances import (
    Source,
    Sources,
    encode_with_noise,
    noise_scale,
    other_lanes,
    shuffled,
    sources,
)
from podarcade.diagnostics.episodes import Episodes, play, preferences, replay, steps_of, tails
from podarcade.types import Pytree

KINDS = ("noise", "swap", "shuffle", "shuffle_moved")
SUMS = ("change", "size", "flips", "near_tie_flips", "pairs")


@dataclasses.dataclass(frozen=True)
class Contamination(Diagnostic):
    """The effect of disturbed observations on later decisions, along the first episode of each of B environments.

        e(l) = Σ ‖A'_n - A_n‖₁ / Σ ‖A_n‖₁,      n = k + l,      sums over episodes and steps k

    A_n(a) = y_n(a) - mean_a y_n(a) is what the greedy decision at step n is made of: y are the action values; of a
    stochastic policy log π(a); of a Gaussian one A_n is its mean. A'_n is the same after a disturbance at step k <= n:

    - "noise": Gaussian noise on o_k. Frames are rounded and clipped to [0, 255] afterwards. Of vectors, each feature
      gets noise in units of its standard deviation over all steps of all episodes, and a constant one none.
    - "swap": o_k is what another episode showed at step k, or at its end if that was earlier.
    - "shuffle": o_x ... o_y are permuted, and k = y. "shuffle_moved": each with the previous action that was seen with
      it, which otherwise stays in place. Each observation is one that the encoder knows, so that the effect at n > y is
      one of the memory. On the full twin the true action values after y do not change.

    Replays are teacher-forced: actions, rewards and starts are those of the undisturbed episode. A ratio of sums is
    reported instead of a mean of ratios, since ‖A_n‖ vanishes where the agent is indifferent. Also counted is how often
    the greedy action flips, separately where the two best actions are closer than `near_tie`. The half-life is the
    first lag at which e is less than half of e(1).

    In the closed loop, the agent acts on the disturbed memory: returns with one disturbed step are paired with those of
    the same starts without. The released script differs in four ways: noise of standard deviation 1 on frames of 0 to
    255; actions chosen again from disturbed values; starts not replayed; and steps beyond the end of an episode.

    A memoryless network has effects at lag 0 only. An untrained memory has some at later lags too, so that it is the
    control: see `podarcade.diagnostics.untrained`.

    Attributes:
      episodes: B, at least 2.
      length: T, actions that are played at most; 0 for those of the longest episode of the game, up to 128.
      sigma: standard deviation of the noise, in units of the range of a pixel or of the spread of a feature; 1 is that
        of the figures.
      shuffle_from: x, counted from 0.
      shuffle_to: y. Episodes of fewer than y + 2 steps are not shuffled.
      permutations: how many of each episode.
      near_tie: difference of the two best A_n(a) up to which a flip is one of a near-tie, see `actions.is_near_tie`.

    Raises:
      ValueError: an option out of range.
    """

    CONTROL: ClassVar[bool] = True
    RANGES: ClassVar[dict[str, ranges.Range]] = {
        "episodes": ranges.Range(2, 1e12),
        "permutations": ranges.COUNT,
        "sigma": ranges.NON_NEGATIVE,
        "near_tie": ranges.NON_NEGATIVE,
    }

    episodes: int = 32
    length: int = 0
    sigma: float = 1.0
    shuffle_from: int = 1
    shuffle_to: int = 10
    permutations: int = 16
    near_tie: float = NEAR_TIE

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.shuffle_from < self.shuffle_to:
            raise ValueError(
                f"shuffle_from={self.shuffle_from}, shuffle_to={self.shuffle_to}; expected 0 <= shuffle_from < "
                "shuffle_to"
            )

    def __call__(self, agent: Agent, key: jax.Array) -> dict[str, jax.Array]:
        """Return sums by lag, and returns in the closed loop.

        Returns:
          For each KIND of `KINDS`, sums over steps k, or over permutations, at lags 0 ... T - 1:

          - KIND_change, float32[B, T]: ‖A'_n - A_n‖₁.
          - KIND_size, float32[B, T]: ‖A_n‖₁.
          - KIND_flips, float32[B, T]: flips of the greedy action, near-ties left out. NaN for continuous actions.
          - KIND_near_tie_flips, float32[B, T]: those of near-ties.
          - KIND_pairs, float32[B, T]: how many terms each sum has; 0 where a lag leads out of the episode.

          `last`, int32[B]: the last step that asks for an action. return_undisturbed, return_noise and return_swap,
          float32[B]: undiscounted returns of the first T actions of other episodes. `disturbed`, int32[B]: the step of
          the disturbance there.
        """
        length = steps_of(agent.environment.game, self.length)
        window = self.shuffle_from, self.shuffle_to
        return _measure(agent, key, self.sigma, self.near_tie, self.episodes, length, window, self.permutations)

    def summarise(self, found: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return a dictionary for each of `KINDS` and for the closed loop.

        Returns:
          {KIND: {"lags": [0, 1, 2, 4, ...], "effect": [...], "flips": [...], "near_tie_flips": [...], "half_life": ...,
          "episodes": ...}, "closed_loop": {"return": ..., "noise": {"drop": ..., "standard_error": ...},
          "swap": ...}}: `summary` at some lags, the number of episodes with an effect to look at, and the mean of the
          undisturbed minus the disturbed return.
        """
        lags = [0, *(2**power for power in range(found["noise_pairs"].shape[1].bit_length()))]
        lags = [lag for lag in lags if lag < found["noise_pairs"].shape[1]]
        numbers: dict[str, Any] = {}
        for kind in KINDS:
            summed = summary(found, kind)
            half_life = summed.pop("half_life")
            numbers[kind] = {"lags": lags} | {name: _known(curve[lags]) for name, curve in summed.items()}
            numbers[kind]["half_life"] = None if np.isnan(half_life) else int(half_life)
            numbers[kind]["episodes"] = int(np.sum(found[f"{kind}_pairs"].any(axis=1)))
        undisturbed = np.asarray(found["return_undisturbed"], float)
        drops = {kind: undisturbed - found[f"return_{kind}"] for kind in ("noise", "swap")}
        numbers["closed_loop"] = {"return": round(undisturbed.mean(), 5)} | {
            kind: {"drop": round(drop.mean(), 5), "standard_error": round(drop.std(ddof=1) / len(drop) ** 0.5, 5)}
            for kind, drop in drops.items()
        }
        return numbers


def summary(found: dict[str, np.ndarray], kind: str) -> dict[str, Any]:
    """Return curves over lags 0 ... T - 1 from the sums of all episodes.

    Later lags have fewer terms, from longer episodes and from disturbances nearer to their start.

    Args:
      found: what `Contamination` returned.
      kind: one of `KINDS`.

    Returns:
      {"effect": float64[T], e(l); "flips": float64[T], share of greedy actions that flip, near-ties left out;
      "near_tie_flips": float64[T], share of those that flip in a near-tie; "half_life": float, a lag}. Unknown numbers
      are NaN: lags that no episode has, flips of continuous actions, and the half-life where there is no effect at lag
      1 or where it never falls to half of that.
    """
    sums = {name: np.sum(np.asarray(found[f"{kind}_{name}"], float), axis=0) for name in SUMS}
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.where(sums["size"] > 0, sums["change"] / sums["size"], np.nan)
        shares = {name: sums[name] / sums["pairs"] for name in ("flips", "near_tie_flips")}
    below = np.flatnonzero(effect[1:] < effect[1:2] / 2)
    return {"effect": effect, **shares, "half_life": float(below[0] + 1) if below.size else np.nan}


def _known(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 5) for value in values]


@functools.partial(jax.jit, static_argnames=("episodes", "length", "window", "permutations"))
def _measure(
    agent: Agent,
    key: jax.Array,
    sigma: jax.Array,
    near_tie: jax.Array,
    episodes: int,
    length: int,
    window: tuple[int, int],
    permutations: int,
) -> dict[str, jax.Array]:
    play_key, noise_key, swap_key, shuffle_key, loop_key = jax.random.split(key, 5)
    played = play(agent, play_key, episodes, length)
    scale = noise_scale(played, sigma)
    orders = shuffled(shuffle_key, window, (permutations, length, episodes))
    replays = sources(played, other_lanes(swap_key, length, episodes), orders, window[1])
    curves = _compare(agent, played, encode_with_noise(agent, played, noise_key, scale), replays, near_tie)
    return curves | {"last": played.last} | paired_returns(agent, loop_key, played, scale)


def _compare(
    agent: Agent, played: Episodes, pool: Pytree, replays: Sources, near_tie: jax.Array
) -> dict[str, jax.Array]:
    """Return the `SUMS` of each of `KINDS` by lag, float32[B, T], from replays that begin where they may differ."""
    length = len(played.inside)
    found = [
        _compare_tail(agent, played, pool, replays, near_tie, *tail)
        for tail in tails(agent, played, jax.tree.map(lambda x: x[:length], pool))
    ]
    # Later tails have no longer lags.
    sums = sum(jnp.pad(x, [(0, 0), (0, 0), (0, length - x.shape[2]), (0, 0)]) for x in found)
    table = dict(zip(replays, sums, strict=True))
    return {f"{kind}_{name}": x.T for kind in KINDS for name, x in zip(SUMS, table[kind], strict=True)}


def _compare_tail(
    agent: Agent,
    played: Episodes,
    pool: Pytree,
    replays: Sources,
    near_tie: jax.Array,
    begin: int,
    end: int,
    tail: Episodes,
) -> jax.Array:
    """Return the sums of replays that first differ at steps [begin, end), float32[kinds, SUMS, lags, B].

    One program makes all replays, the undisturbed one first: what does not depend on a disturbance has the same bits,
    and a difference of exactly 0.
    """
    actions, lane = agent.environment.game.actions, played.lane[None]
    time = jnp.arange(begin, len(played.inside))[:, None]
    discrete = isinstance(actions, Discrete)
    first, makers = zip(*replays.values(), strict=True)
    kinds, numbers = np.array(
        [
            (kind, number)
            for kind, steps in enumerate(first)
            for number, step in enumerate(steps)
            if kind == 0 or begin <= step < end
        ]
    ).T

    def compare(state, kind: jax.Array, source: Source):
        reference, sums = state
        row, shown, action = (x[begin:] for x in (source.row, source.lane, source.action))
        changed = tail.replace(previous_action=played.previous_action[action, lane])
        values = preferences(replay(agent, changed, jax.tree.map(lambda x: x[row, shown], pool)), discrete)
        reference = jnp.where(kind == 0, values, reference)
        counted = (time >= source.first) & (time <= played.last[None])
        terms = jnp.where(counted[None], jnp.stack(_terms(values, reference, near_tie, discrete)), 0.0)
        return reference, sums.at[kind].add(jnp.roll(terms, begin - source.origin, axis=1))

    def one(state, item):
        kind, number = item
        source = jax.lax.switch(kind, makers, number)
        counts = source.first <= jnp.max(played.last)
        return jax.lax.cond(counts, compare, lambda state, *_: state, state, kind, source), None

    shape = tail.inside.shape
    nothing = jnp.zeros((*shape, actions.size)), jnp.zeros((len(first), len(SUMS), *shape))
    return jax.lax.scan(one, nothing, (jnp.asarray(kinds), jnp.asarray(numbers)))[0][1]


def _terms(values: jax.Array, reference: jax.Array, near_tie: jax.Array, discrete: bool) -> list[jax.Array]:
    """Return what each step adds to each of `SUMS`, float32[T, B], from values [T, B, A]."""
    change = jnp.sum(jnp.abs(values - reference), axis=-1)
    flips = near_tie_flips = jnp.full_like(change, jnp.nan)
    if discrete:
        flipped = jnp.argmax(values, axis=-1) != jnp.argmax(reference, axis=-1)
        close = is_near_tie(reference, near_tie)
        flips, near_tie_flips = ((flipped & among).astype(change.dtype) for among in (~close, close))
    return [change, jnp.sum(jnp.abs(reference), axis=-1), flips, near_tie_flips, jnp.ones_like(change)]
