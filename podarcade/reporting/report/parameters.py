"""Numbers of parameters of the network that a configuration describes, without computing any of them."""

import functools
import json
import math
from typing import Any

import jax

from podarcade import plugins
from podarcade.configuration import ConfigDict
from podarcade.configuration.components import make_algorithm, make_environment
from podarcade.models.memory import sizes

PARTS = ("environment", "encoder", "memory", "network", "algorithm")  # sections of a configuration


def count(config: dict[str, Any]) -> dict[str, int]:
    """Return {"all": of the whole network, "memory": of its memory layers}; empty where that is unknown.

    It is unknown for components of another version, and for plug-ins outside the package: their files would be
    executed, and a report executes nothing that a folder names.
    """
    if any(plugins.is_external(config[part]["name"]) for part in PARTS if "name" in config[part]):
        return {}
    try:
        return _count(json.dumps({part: config[part] for part in PARTS}, sort_keys=True))
    except Exception:  # whatever the components raise for options that they do not know
        return {}


@functools.lru_cache(maxsize=256)
def _count(text: str) -> dict[str, int]:
    config = ConfigDict(json.loads(text))
    environment = make_environment(config)
    algorithm = make_algorithm(config, environment)
    layer = algorithm.trunk.memory(width=config.network.width)
    shapes = jax.eval_shape(lambda key: algorithm.init(key, environment.reset(key)[1]), jax.random.key(0))
    return {
        "all": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)),
        "memory": config.network.layers * sizes.parameters(layer),
    }
