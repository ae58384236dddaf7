"""Pytrees as flat dictionaries of named leaves, and back."""

from typing import Any

import jax
import numpy as np


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves by dotted path, without empty ones, which orbax refuses to save."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if leaf.size}


def unflatten_like(like: Any, leaves: dict[str, Any]) -> Any:
    """Return `leaves` in the structure of `like`, a tree of arrays or of abstract arrays with shardings."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    return structure.unflatten(leaves[_name(path)] if leaf.size else _empty(leaf) for path, leaf in paths)


def signatures(leaves: dict[str, Any]) -> dict[str, str]:
    """Return the dtype and shape of every leaf, as "float32[1, 128]"."""
    return {name: f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}" for name, leaf in leaves.items()}


def abstract(tree: Any) -> Any:
    """Return the shapes, dtypes and shardings of a tree of arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def num_bytes(leaves: dict[str, Any]) -> int:
    """Return the total size of concrete or abstract leaves in bytes."""
    return sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in leaves.values())


def _empty(leaf: Any) -> jax.Array:
    return jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding)


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
