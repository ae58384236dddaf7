"""A tree of arrays as one flat dictionary, and back."""

from typing import Any

import jax
import numpy as np


def leaves_of(tree: Any) -> dict[str, Any]:
    """The leaves by path, without those of no elements, which orbax does not save."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if leaf.size}


def rebuilt(like: Any, leaves: dict[str, Any]) -> Any:
    """A tree like the given one, of arrays or abstract arrays with shardings, with these leaves."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    return structure.unflatten(leaves[_name(path)] if leaf.size else _empty(leaf) for path, leaf in paths)


def signatures(leaves: dict[str, Any]) -> dict[str, str]:
    """Dtype and shape of every leaf: "float32[1, 128]"."""
    return {name: f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}" for name, leaf in leaves.items()}


def abstract(tree: Any) -> Any:
    """Shapes, dtypes and places of a tree."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def _empty(leaf: Any) -> jax.Array:
    return jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding)


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
