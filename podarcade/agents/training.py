"""Diagnostics of a run while it trains: their summaries become metrics of its evaluations."""

import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from podarcade import plugins
from podarcade.agents import Agent
from podarcade.agents.loading import components
from podarcade.agents.records import Origin
from podarcade.configuration import ConfigDict, FrozenConfigDict
from podarcade.diagnostics.choice import choose

LONGEST = 3  # entries of a list that becomes metrics; curves are for `podarcade diagnose`


class InTraining:
    """What `config.diagnostics` names, measured on the parameters of all seeds.

    Args:
      config: configuration of the run.
    """

    def __init__(self, config: ConfigDict):
        self._config = FrozenConfigDict(config)
        self._chosen = choose(config.diagnostics.split(","))

    def __call__(self, params: Any, updates: int) -> dict[str, list]:
        """Return {"diagnostics/NAME/...": a number, or None, for each seed}.

        Args:
          params: leaves [S, ...].
          updates: number of updates that made them.
        """
        algorithm, environment = components(json.dumps(self._config.to_dict()))
        found = []
        for number in range(self._config.seeds):
            one = jax.tree.map(lambda x, number=number: jnp.asarray(x[number]), params)
            agent = Agent(one, algorithm, environment, Origin(self._config, self._config.seed + number, updates))
            found.append(dict(self._measure(agent)))
        # A list that is unknown for one seed has a name of its own there: each seed has None for names of others.
        names = dict.fromkeys(name for one in found for name in one)
        return {name: [one.get(name) for one in found] for name in names}

    def _measure(self, agent: Agent) -> Iterator[tuple[str, Any]]:
        for name, diagnostic in self._chosen.items():
            arrays = jax.device_get(diagnostic(agent, jax.random.key(agent.seed)))
            yield from numbers(f"diagnostics/{plugins.label(name)}", diagnostic.summarise(arrays))


def numbers(prefix: str, summary: Any) -> Iterator[tuple[str, float | None]]:
    """Yield a path and a value for every number of a summary, without long lists."""
    if isinstance(summary, dict):
        for name, value in summary.items():
            yield from numbers(f"{prefix}/{name}", value)
    elif isinstance(summary, list):
        if len(summary) <= LONGEST:
            for index, value in enumerate(summary):
                yield from numbers(f"{prefix}/{index}", value)
    elif summary is None or isinstance(summary, int | float):
        yield prefix, summary
