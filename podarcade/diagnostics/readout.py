"""Probes that read quantities out of features, fitted on some episodes and scored on others.

Episodes that are scored have no step in the fit, so that a probe which recognises episodes gains nothing. A probe
returns what it reads of every component as a number, and of components with few values also a preference among them.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

CLASSES = 16  # distinct values of a component that accuracy is reported for, at most


@dataclasses.dataclass(frozen=True)
class Split:
    """Arrays of the episodes that a probe is fitted on and of those that it is scored on, b of each."""

    fit: np.ndarray  # [T, b, ...]
    test: np.ndarray  # [T, b, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> "Split":
        """Return values [T, B, ...] with every other episode held out."""
        return cls(values[:, ::2], values[:, 1::2])


@dataclasses.dataclass(frozen=True)
class Target:
    """A quantity of C components.

    Attributes:
      values: float64[T, b, C].
      known: bool[T, b], where it is defined.
      discrete: whether its components are integers or flags.
      exists: whether it is defined at any step of the fit; otherwise `known` is everywhere, and its scores are NaN.
    """

    values: Split
    known: Split
    discrete: bool
    exists: bool = True

    @functools.cached_property
    def kinds(self) -> list[np.ndarray]:
        """Distinct values of each component in the fit, sorted; none where they are 1 or more than `CLASSES`."""
        seen = [np.unique(column) for column in self.values.fit[self.known.fit].T]
        return [kinds if self.discrete and 1 < len(kinds) <= CLASSES else kinds[:0] for kinds in seen]

    def columns(self) -> np.ndarray:
        """Return what a probe is fitted to, float32[T, b, M], mean 0 where `known`.

        The first C columns are the components in units of their standard deviation; if they are discrete, `CLASSES`
        indicators of the values of each follow.
        """
        mean, scale = self.units()
        numbers = (self.values.fit - mean) / scale
        flags = np.zeros((*self.values.fit.shape, CLASSES if self.discrete else 0))
        for component, kinds in enumerate(self.kinds):
            flags[..., component, : len(kinds)] = self.values.fit[..., component, None] == kinds
        flags -= flags[self.known.fit].mean(axis=0)
        return np.concatenate([numbers, flags.reshape(*flags.shape[:2], -1)], axis=-1).astype(np.float32)

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of components in the fit, float64[C] each; 1 for that of constants."""
        known = self.values.fit[self.known.fit]
        scale = known.std(axis=0)
        return known.mean(axis=0), np.where(scale > 0, scale, 1.0)

    def decode(self, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers and the preferred value of each component, float64[T, b, C], from columns that were read."""
        mean, scale = self.units()
        count = len(mean)
        chosen = np.full((*read.shape[:2], count), np.nan)
        flags = read[..., count:].reshape(*read.shape[:2], count, -1)
        for component, kinds in enumerate(self.kinds):
            if len(kinds):
                shares = np.mean(self.values.fit[self.known.fit][:, component, None] == kinds, axis=0)
                chosen[..., component] = kinds[np.argmax(flags[..., component, : len(kinds)] + shares, axis=-1)]
        return read[..., :count] * scale + mean, np.where(np.isnan(read[..., :1]), np.nan, chosen)


def standardise(features: Split, inside: Split) -> Split:
    """Return features with mean 0 and variance 1 in the fit, float32; those that are constant there become 0."""
    known = features.fit[inside.fit]
    mean, scale = known.mean(axis=0), known.std(axis=0)
    varies = scale > 1e-6 * (1 + np.abs(mean))
    scale = np.where(varies, scale, 1.0)
    # What differs from everything in the fit by a thousand deviations is clipped: it would decide the whole score.
    scaled = [np.clip((x - mean) / scale, -1e3, 1e3) * varies for x in (features.fit, features.test)]
    return Split(*(x.astype(np.float32) for x in scaled))


def ridge(features: Split, columns: np.ndarray, weight: np.ndarray, penalty: float) -> np.ndarray:
    """Return what a linear probe reads in the episodes that are held out, float64[T, b, M].

        W, c = argmin  mean ‖W x + c - y‖² + λ ‖W‖²,    the mean over steps at which y is known

    Args:
      features: x, standardised, [T, b, F].
      columns: y, [T, b, M].
      weight: bool[T, b, M], where each of them is known.
      penalty: λ.
    """
    read = np.empty((*features.test.shape[:2], columns.shape[-1]))
    masks, group = np.unique(weight.reshape(-1, weight.shape[-1]), axis=1, return_inverse=True)
    for number, mask in enumerate(masks.T):
        known, chosen = mask.reshape(weight.shape[:2]), group.ravel() == number
        x, y = features.fit[known].astype(np.float64), columns[known][:, chosen].astype(np.float64)
        centre, offset = x.mean(axis=0), y.mean(axis=0)
        x = x - centre
        gram = x.T @ x / len(x) + penalty * np.eye(x.shape[1])
        read[..., chosen] = (features.test - centre) @ np.linalg.solve(gram, x.T @ (y - offset) / len(x)) + offset
    return read


@functools.partial(jax.jit, static_argnames=("hidden", "steps", "batch"))
def _train(x, y, weight, order, test, key, hidden: int, steps: int, batch: int):
    optimiser = optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=1e-3)
    first, second = (
        jax.random.normal(k, shape) * shape[0] ** -0.5
        for k, shape in zip(jax.random.split(key), ((x.shape[1], hidden), (hidden, y.shape[1])), strict=True)
    )
    params = (first, jnp.zeros((1, hidden)), 0.1 * second, jnp.zeros((1, y.shape[1])))

    def predict(params, x):
        return jax.nn.gelu(x @ params[0] + params[1]) @ params[2] + params[3]

    def loss(params, chosen):
        error = weight[chosen] * (predict(params, x[chosen]) - y[chosen]) ** 2
        return jnp.sum(jnp.sum(error, axis=0) / jnp.maximum(jnp.sum(weight[chosen], axis=0), 1.0))

    def step(state, key):
        params, moments = state
        chosen = order[jax.random.randint(key, (batch,), 0, len(order))]
        updates, moments = optimiser.update(jax.grad(loss)(params, chosen), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    keys = jax.random.split(jax.random.fold_in(key, 1), steps)
    (params, _), _ = jax.lax.scan(step, (params, optimiser.init(params)), keys)
    return predict(params, test)


def network(
    features: Split, columns: np.ndarray, weight: np.ndarray, key: jax.Array, hidden: int, steps: int, batch: int = 512
) -> np.ndarray:
    """Return what a network with one hidden layer reads in the episodes that are held out, float32[T, b, M].

    All columns share the hidden layer of gelu units, which is trained on the mean squared error by AdamW.

    Args:
      features: x, standardised, [T, b, F].
      columns: y, [T, b, M].
      weight: bool[T, b, M], where each of them is known.
      key: a typed PRNG key.
      hidden: number of hidden units.
      steps: number of gradient steps.
      batch: steps of episodes in each.
    """
    flat = [x.reshape(-1, x.shape[-1]) for x in (features.fit, columns, weight.astype(np.float32), features.test)]
    used = np.flatnonzero(weight.any(axis=-1))
    order = np.resize(used, weight[..., 0].size)  # padded with repetitions, so that its shape does not depend on data
    read = _train(*flat[:3], order, flat[3], key, hidden, steps, batch)
    return np.asarray(read).reshape(*features.test.shape[:2], -1)


def explained(target: Target, read: np.ndarray) -> dict[str, np.ndarray]:
    """Return the shares of variance that a probe explains in the episodes that are held out, 1 - error / variance.

    Components with larger variance count for more. Those that are constant in the fit are left out.

    Args:
      target: C components.
      read: float64[T, b, C].

    Returns:
      {"r2": float64[], "within": float64[] of deviations from the means at each time, of values and of what is read,
      so that to know the time is worth nothing, "r2_at": float64[T] likewise, "r2_of": float64[C]}; NaN where nothing
      varies.
    """
    values, known = target.values.test, target.known.test[..., None]
    varies = known & (target.values.fit[target.known.fit].std(axis=0) > 0)
    error, count = np.where(varies, (values - read) ** 2, 0.0), np.maximum(known.sum(axis=(0, 1)), 1)
    around = np.where(varies, (values - np.where(varies, values, 0).sum(axis=(0, 1)) / count) ** 2, 0.0)
    mean_at, error_at = (_mean_at(x, varies, known) for x in (values, read - values))
    around_at = np.where(varies, (values - mean_at) ** 2, 0.0)
    varying = around_at.sum(axis=1, keepdims=True) > 1e-9  # times at which episodes differ
    left = np.where(varies & varying, (read - values - error_at) ** 2, 0.0)
    return {
        "r2": _share(error.sum(), around.sum()),
        "within": _share(left.sum(), around_at.sum()),
        "r2_at": _share(left.sum(axis=(1, 2)), around_at.sum(axis=(1, 2))),
        "r2_of": _share(error.sum(axis=(0, 1)), around.sum(axis=(0, 1))),
    }


def _mean_at(x: np.ndarray, where: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the means over episodes at each time, float64[T, 1, C]."""
    return np.where(where, x, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)


def _share(error: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return np.where(variance > 1e-9, 1 - error / np.maximum(variance, 1e-9), np.nan)


def accurate(target: Target, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return how often the values of components are named in the episodes that are held out.

    Args:
      target: C components.
      chosen: float64[T, b, C], a value for each component.

    Returns:
      {"accuracy": float64[], "accuracy_at": float64[T], "accuracy_of": float64[C]}, NaN where no component has few
      values.
    """
    few = np.array([len(kinds) > 0 for kinds in target.kinds])
    asked = target.known.test[..., None] & few & ~np.isnan(chosen)
    hits = (chosen == target.values.test) & asked
    axes = {"accuracy": (0, 1, 2), "accuracy_at": (1, 2), "accuracy_of": (0, 1)}
    return {name: _ratio(hits.sum(axis), asked.sum(axis)) for name, axis in axes.items()}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def commonest(target: Target) -> np.ndarray:
    """Return the value of each component that is most frequent at each time of the fit, float64[T, b, C]."""
    known, values = target.known, target.values
    chosen = np.full(values.test.shape, np.nan)
    for component, kinds in enumerate(target.kinds):
        if len(kinds):
            equal = (values.fit[..., component, None] == kinds) & known.fit[..., None]
            counts = equal.sum(axis=1) + 1e-6 * equal.sum(axis=(0, 1))  # over all times where none is known
            chosen[..., component] = kinds[np.argmax(counts, axis=-1)][:, None]
    return chosen
