"""Search over the hyper-parameters that runs in one program may differ in: spaces, and which trials to train next.

A method proposes rounds of trials. All trials of a round train for the same number of frames, from scratch and with
schedules over these frames, so that what is compared are complete runs of one length. The scores of a round decide on
the next. The score of the winner is overrated, since it was the best of many: its value is measured again on seeds that
chose nothing.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

Values = dict[str, float]  # path of an option -> its value
DIGITS = 3  # significant digits of a sampled value, so that it can be read and typed
METHODS = ("random", "halving", "tpe")


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that an option may take.

    Attributes:
      kind: "uniform" between two numbers, "log" for a logarithm that is uniform, "choice" among numbers.
      numbers: the ends, or the choices.
    """

    kind: str
    numbers: tuple[float, ...]

    def at(self, share: float) -> float:
        """Return the value at a share in [0, 1) of the range."""
        if self.kind == "choice":
            return self.numbers[int(share * len(self.numbers))]
        low, high = self.numbers
        return self.rounded(low * (high / low) ** share if self.kind == "log" else low + (high - low) * share)

    def rounded(self, value: float) -> float:
        """Return a number in the range that is close to a value of the range and can be typed; a choice is itself.

        It has `DIGITS` significant digits, or as many more as tell it from the ends.
        """
        if self.kind == "choice":
            return value
        low, high = self.numbers
        step = min(value, high - low) if value > 0 else high - low
        decimals = DIGITS - 1 - math.floor(math.log10(step))
        return min(max(round(value, decimals), low), high)


def read_space(text: str) -> dict[str, Range]:
    """Read "algorithm.learning_rate=log:1e-5:1e-2 algorithm.discount=uniform:0.9:1 algorithm.clip=0.1,0.2".

    Raises:
      ValueError: a range of another form, or an option that is given twice.
    """
    space: dict[str, Range] = {}
    for word in text.split():
        path, equals, given = word.partition("=")
        if not equals or path in space:
            raise ValueError(f"--space has {word!r}; expected each OPTION=RANGE once, as algorithm.discount=0.9,0.99")
        space[path] = _read_range(word, given)
    if not space:
        raise ValueError("--space is empty; expected algorithm.learning_rate=log:1e-5:1e-2 or the like")
    return space


def _read_range(word: str, given: str) -> Range:
    kind, *ends = given.split(":")
    try:
        if not ends:
            return Range("choice", tuple(float(item) for item in given.split(",")))
        low, high = (float(item) for item in ends)
    except ValueError:
        kind, low, high = "", 0.0, 0.0
    if kind not in ("uniform", "log") or not (low < high < math.inf) or (kind == "log" and low <= 0):
        raise ValueError(f"--space has {word!r}; expected log:LOW:HIGH with LOW > 0, uniform:LOW:HIGH, or A,B,C")
    return Range(kind, (low, high))


@dataclasses.dataclass(frozen=True)
class Round:
    """Trials that train side by side.

    Attributes:
      trials: the values of each.
      frames: environment steps of each of their seeds.
    """

    trials: tuple[Values, ...]
    frames: int


class Method(Protocol):
    """A generator of rounds: it is sent the scores of each, one for each trial, -inf for one that diverged."""

    def __call__(self, space: dict[str, Range], first: Values, trials: int, frames: int, seed: int) -> Iterator[Round]:
        """Yield rounds; `first` are the values of the configuration itself, the first trial."""


def sample(space: dict[str, Range], count: int, seed: int) -> list[Values]:
    """Return different values, sampled independently.

    Args:
      space: the ranges.
      count: how many at most; fewer where the space has no more.
      seed: of the sampling.
    """
    random, found = np.random.default_rng(seed), []
    for _ in range(100 * count):
        values = {path: one.at(random.random()) for path, one in space.items()}
        if values not in found:
            found.append(values)
        if len(found) == count:
            break
    return found


def random_search(space: dict[str, Range], first: Values, trials: int, frames: int, seed: int) -> Iterator[Round]:
    """Yield one round: the configuration's own values and `trials - 1` that are sampled independently."""
    yield Round((first, *_others(sample(space, trials, seed), first, trials - 1)), frames)


def halving(
    space: dict[str, Range], first: Values, trials: int, frames: int, seed: int, reduction: int = 4
) -> Iterator[Round]:
    """Yield rounds of successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943).

    Round k of K trains N / ηᵏ trials for F / ηᴷ⁻¹⁻ᵏ frames; the best of each go on to the next, which starts from
    scratch.

    Args:
      space: the ranges.
      first: values of the first trial.
      trials: N.
      frames: F, of the last round.
      seed: of the sampling.
      reduction: η.
    """
    number = max(1, math.floor(math.log(trials, reduction) + 1e-9) + 1)
    chosen = [first, *_others(sample(space, trials, seed), first, trials - 1)]
    for k in range(number):
        scores = yield Round(tuple(chosen), max(1, round(frames / reduction ** (number - 1 - k))))
        kept = max(1, len(chosen) // reduction)
        chosen = [chosen[index] for index in best_first(scores)[:kept]]


def tpe(
    space: dict[str, Range], first: Values, trials: int, frames: int, seed: int, together: int = 8
) -> Iterator[Round]:
    """Yield rounds proposed by optuna's tree-structured Parzen estimator (Bergstra et al. 2011).

    Args:
      space: the ranges.
      first: values of the first trial.
      trials: of all rounds together.
      frames: of each round.
      seed: of the estimator.
      together: trials of a round, proposed without knowing each other's scores.

    Raises:
      ValueError: optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ValueError("method tpe needs optuna; pip install 'podarcade[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(first)
    for begin in range(0, trials, together):
        asked = [study.ask(_distributions(optuna, space)) for _ in range(min(together, trials - begin))]
        proposed = [{path: found.rounded(one.params[path]) for path, found in space.items()} for one in asked]
        scores = yield Round(tuple(_distinct(proposed)), frames)
        known = {tuple(values.items()): score for values, score in zip(_distinct(proposed), scores, strict=True)}
        for one, values in zip(asked, proposed, strict=True):
            score = known[tuple(values.items())]
            is_finite = math.isfinite(score)
            state = optuna.trial.TrialState.COMPLETE if is_finite else optuna.trial.TrialState.FAIL
            study.tell(one, score if is_finite else None, state=state)


def best_first(scores: Sequence[float]) -> list[int]:
    """Return the indices of trials by score, the best first; of equals the earlier first."""
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def _others(found: list[Values], first: Values, count: int) -> list[Values]:
    return [values for values in found if values != first][:count]


def _distinct(found: list[Values]) -> list[Values]:
    return [values for index, values in enumerate(found) if values not in found[:index]]


def _distributions(optuna, space: dict[str, Range]) -> dict:
    kinds = optuna.distributions
    return {
        path: kinds.CategoricalDistribution(one.numbers)
        if one.kind == "choice"
        else kinds.FloatDistribution(*one.numbers, log=one.kind == "log")
        for path, one in space.items()
    }
