"""Frozen parameters: modules that keep their values while the others train."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from podarcade.algorithms import Params


def check(params: Params, names: Sequence[str]) -> None:
    """Raise ValueError unless every name is a module of the parameters, and some parameters remain to be trained.

    Args:
      params: concrete or abstract parameters.
      names: of modules, such as "encoder", or dotted paths of them.
    """
    for name in names:
        if not any(jax.tree.leaves(frozen(params, [name]))):
            paths = [_path(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
            known = sorted({part for path in paths for part in path.split(".")[:-1]} - {"params"})
            raise ValueError(f"freeze={','.join(names)}: there is no module {name!r}; expected some of {known}")
    if names and all(jax.tree.leaves(frozen(params, names))):
        raise ValueError(f"freeze={','.join(names)} leaves no parameter to train")


def frozen(params: Params, names: Sequence[str]) -> Any:
    """Return a tree of bools like the parameters: whether a leaf belongs to one of the modules."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(f".{name}." in f".{_path(path[:-1])}." for name in names), params
    )


def stop_gradient(params: Params, names: Sequence[str]) -> Params:
    """Return the parameters, those of the modules as constants for differentiation."""
    return _where(names, jax.lax.stop_gradient, params)


def zero(updates: Params, names: Sequence[str]) -> Params:
    """Return the updates of an optimiser, those of the modules zero: momentum of an earlier run moves nothing."""
    return _where(names, jnp.zeros_like, updates)


def _where(names: Sequence[str], function: Any, tree: Params) -> Params:
    return jax.tree.map(lambda leaf, is_frozen: function(leaf) if is_frozen else leaf, tree, frozen(tree, names))


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
