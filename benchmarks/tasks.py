"""Four synthetic memory tasks, as streams of short sequences that follow each other without a gap.

A step shows a key, a value, a number and a query flag; unused parts are zero. A sequence has LENGTH steps: what has to
be remembered comes first, and the last KEYS steps are scored. A query comes at least LENGTH - 2 KEYS steps after the
first step it depends on.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

KEYS = 4
VALUES = 4
LENGTH = 16
WRITES = LENGTH - KEYS
FEATURES = KEYS + VALUES + 2


class Sequence(NamedTuple):
    """One sequence, or a batch of streams of them.

    Attributes:
      x: float32[LENGTH, FEATURES].
      answer: int32[LENGTH], target value.
      number: float32[LENGTH], regression target.
      asked: bool[LENGTH], where there is a target.
    """

    x: jax.Array
    answer: jax.Array
    number: jax.Array
    asked: jax.Array


class Stream(NamedTuple):
    """Sequences that follow each other.

    Attributes:
      steps: fields of `Sequence` with leading axes [T, B].
      start: bool[T, B], first step of a sequence.
      scored: bool[T, B], the last KEYS steps of sequences that are seen from their start.
    """

    steps: Sequence
    start: jax.Array
    scored: jax.Array


def features(key=-1, value=-1, number=0.0, asks=False) -> jax.Array:
    """Return network inputs float32[LENGTH, FEATURES] from arrays [LENGTH] or scalars; -1 stands for none."""
    parts = [jax.nn.one_hot(key, KEYS), jax.nn.one_hot(value, VALUES), jnp.stack([number, asks], axis=-1)]
    return jnp.concatenate([jnp.broadcast_to(part, (LENGTH, part.shape[-1])) for part in parts], axis=-1)


def first(key: jax.Array) -> Sequence:
    """Return a sequence whose first step shows a value, queried at every later step among irrelevant keys."""
    value_key, noise_key = jax.random.split(key)
    time = jnp.arange(LENGTH)
    value = jax.random.randint(value_key, (), 0, VALUES)
    noise = jax.random.randint(noise_key, (LENGTH,), 0, KEYS)
    x = features(jnp.where(time > 0, noise, -1), jnp.where(time > 0, -1, value), jnp.zeros(LENGTH), time > 0)
    return Sequence(x, jnp.full(LENGTH, value), jnp.zeros(LENGTH), time > 0)


def copy(key: jax.Array) -> Sequence:
    """Return a sequence whose first KEYS steps show a value each, queried by position WRITES steps later."""
    time = jnp.arange(LENGTH)
    value = jax.random.randint(key, (KEYS,), 0, VALUES)[time % KEYS]
    shown, asked = time < KEYS, time >= WRITES
    x = features(jnp.where(shown | asked, time % KEYS, -1), jnp.where(shown, value, -1), jnp.zeros(LENGTH), asked)
    return Sequence(x, value, jnp.zeros(LENGTH), asked)


def recall(key: jax.Array) -> Sequence:
    """Return a sequence of WRITES key-value pairs, each key several times, then a query per key for its last value."""
    write_key, value_key, ask_key = jax.random.split(key, 3)
    time = jnp.arange(LENGTH)
    asked = time >= WRITES
    written = jax.random.permutation(write_key, jnp.arange(WRITES) % KEYS)
    keys = jnp.concatenate([written, jax.random.permutation(ask_key, KEYS)])
    value = jax.random.randint(value_key, (LENGTH,), 0, VALUES)
    # The last write of the same key: the largest time before WRITES.
    last = jnp.max(jnp.where((keys[:, None] == keys[None]) & ~asked[None], time[None], -1), axis=1)
    return Sequence(
        features(keys, jnp.where(asked, -1, value), jnp.zeros(LENGTH), asked), value[last], jnp.zeros(LENGTH), asked
    )


def mean(key: jax.Array) -> Sequence:
    """Return a sequence of numbers whose running mean is queried at every step."""
    number = jax.random.normal(key, (LENGTH,))
    average = jnp.cumsum(number) / jnp.arange(1, LENGTH + 1)
    everywhere = jnp.ones(LENGTH, bool)
    return Sequence(features(number=number, asks=everywhere), jnp.zeros(LENGTH, jnp.int32), average, everywhere)


TASKS = (first, copy, recall, mean)


def stream(task: Callable[[jax.Array], Sequence], key: jax.Array, sequences: int, batch: int) -> Stream:
    """Return a batch of streams of consecutive sequences, [T = sequences · LENGTH, B], each from a random offset."""

    def one(key):
        offset_key, key = jax.random.split(key)
        packed = jax.vmap(task)(jax.random.split(key, sequences + 1))
        age = jnp.tile(jnp.arange(LENGTH), sequences + 1)
        packed = jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:]), (packed, age))
        offset = jax.random.randint(offset_key, (), 0, LENGTH)
        return jax.tree.map(lambda part: jax.lax.dynamic_slice_in_dim(part, offset, sequences * LENGTH), packed)

    steps, age = jax.vmap(one, out_axes=1)(jax.random.split(key, batch))
    start = age == 0
    whole = jnp.cumsum(start, axis=0) > 0  # what precedes the first start is unknown
    return Stream(steps._replace(asked=steps.asked & whole), start, steps.asked & whole & (age >= WRITES))


def order_blind_recall(key: jax.Array, samples: int = 4096) -> jax.Array:
    """Return the best accuracy in `recall` of a policy that knows how often each value was written to a key, not when.

    It guesses the value written most often, uniformly among ties.
    """

    def one(key):
        steps = recall(key)
        keys, values = steps.x[:, :KEYS], steps.x[:, KEYS : KEYS + VALUES]
        counts = keys[WRITES:] @ (keys[:WRITES].T @ values[:WRITES])
        best = counts == counts.max(axis=1, keepdims=True)
        right = jnp.take_along_axis(best, steps.answer[WRITES:, None], axis=1)[:, 0]
        return jnp.mean(right / best.sum(axis=1))

    return jnp.mean(jax.vmap(one)(jax.random.split(key, samples)))
