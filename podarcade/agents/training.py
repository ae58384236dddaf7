"""Diagnostics of a run while it trains: their summaries become metrics of its evaluations."""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from podarcade import plugins
from podarcade.agents import Agent
from podarcade.agents.loading import components
from podarcade.agents.records import Origin
from podarcade.configuration import ConfigDict, FrozenConfigDict
from podarcade.diagnostics import Diagnostic, numbers
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

    def __call__(self, params: Any, updates: int, stop_requested: Callable[[], int] = lambda: 0) -> dict[str, list]:
        """Return {"diagnostics/NAME/...": a number, or None, for each seed}.

        A stop request ends it after the seed that is being measured. A diagnostic is then there for all seeds or for
        none; the run saves the parameters, on which `podarcade diagnose` measures what is missing.

        Args:
          params: leaves [S, ...].
          updates: number of updates that made them.
          stop_requested: returns a number other than 0 once the run is asked to stop.
        """
        algorithm, environment = components(json.dumps(self._config.to_dict()))
        found: dict[str, list] = {}
        for name, diagnostic in self._chosen.items():
            by_seed = []
            for number in range(self._config.seeds):
                if stop_requested():
                    return found
                one = jax.tree.map(lambda x, number=number: jnp.asarray(x[number]), params)
                agent = Agent(one, algorithm, environment, Origin(self._config, self._config.seed + number, updates))
                by_seed.append(dict(numbers(self._measure(diagnostic, agent), LONGEST)))
            # A list that is unknown for one seed has a name of its own there: each seed has None for names of others.
            paths = dict.fromkeys(path for one in by_seed for path in one)
            prefix = f"diagnostics/{plugins.label(name)}"
            found |= {f"{prefix}/{path}": [one.get(path) for one in by_seed] for path in paths}
        return found

    def _measure(self, diagnostic: Diagnostic, agent: Agent) -> dict[str, Any]:
        return diagnostic.summarise(jax.device_get(diagnostic(agent, jax.random.key(agent.seed))))
