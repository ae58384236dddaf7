"""The contract of diagnostics, over every one of them: shapes, determinism, one compilation for a network, JSON."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import ppo, pqn

from podarcade import plugins
from podarcade.actions import Continuous
from podarcade.agents import Agent
from podarcade.agents.records import Origin
from podarcade.configuration import FrozenConfigDict
from podarcade.diagnostics import Diagnostic, untrained
from podarcade.envs.environment import make

NAMES = plugins.names("diagnostics")
SMALL = {"episodes": 4, "length": 8}
SMALLER = {"probes": {"hidden": 8, "steps": 4, "max_features": 16}}


def diagnostic(name: str) -> Diagnostic:
    return plugins.find("diagnostics", name)(**SMALL, **SMALLER.get(name, {}))


def agent(algorithm, task, seed=0):
    environment = make(task, partial_obs=True)
    key = jax.random.key(seed)
    params = algorithm.init(key, environment.reset(key)[1])
    return Agent(params, algorithm, environment, Origin(FrozenConfigDict({}), seed, 0))


AGENTS = {
    "values": lambda: agent(pqn(memory="gru", num_actions=4), "RepeatPreviousEasy"),
    "policy": lambda: agent(ppo(memory="lru", num_actions=4), "TMazeEasy"),
    "without memory": lambda: agent(ppo(memory="none", num_actions=4), "TMazeEasy"),
    "continuous actions": lambda: agent(ppo(memory="gru", actions=Continuous(1)), "PositionOnlyPendulumEasy"),
    "pixels": lambda: agent(pqn(memory="gru", num_actions=5), "CartPoleEasy"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", AGENTS)
def test_every_diagnostic_of_every_kind_of_agent(kind, name):
    made, chosen = AGENTS[kind](), diagnostic(name)
    found = jax.device_get(chosen(made, jax.random.key(0)))
    assert found and all(isinstance(value, np.ndarray | np.generic) for value in found.values())
    summary = chosen.summarise(found)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary and summary
    again = jax.device_get(chosen(made, jax.random.key(0)))
    other = jax.device_get(chosen(untrained(made, jax.random.key(5)), jax.random.key(1)))
    for key, value in found.items():
        np.testing.assert_array_equal(value, again[key])
        assert (other[key].shape, other[key].dtype) == (value.shape, value.dtype)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_compiled_once(name):
    """All seeds and checkpoints of a network, and of another run with the same configuration, share programs."""
    chosen = diagnostic(name)
    algorithm, environment = pqn(memory="gru", num_actions=4), make("TMazeEasy", partial_obs=True)
    agents = [
        Agent(
            algorithm.init(jax.random.key(seed), environment.reset(jax.random.key(0))[1]),
            algorithm,
            environment,
            Origin(FrozenConfigDict({"run": seed}), seed, seed),
        )
        for seed in range(2)
    ]
    chosen(agents[0], jax.random.key(0))
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        compiled = []
        patch.setattr(jax._src.dispatch.logger, "log", lambda level, text, *rest: compiled.append(text % rest))
        chosen(agents[1], jax.random.key(1))
    assert not [text for text in compiled if "Finished XLA compilation" in text]


@pytest.mark.parametrize("name", NAMES)
def test_options_out_of_range_are_refused(name):
    kind = plugins.find("diagnostics", name)
    for option, value in (("episodes", 0), ("length", -1)):
        with pytest.raises(ValueError, match=f"{option}={value}; expected a number >="):
            kind(**{option: value})


@pytest.mark.parametrize("name", NAMES)
def test_rounding_does_not_hide_a_constant_agent(name):
    """An agent whose parameters are all zero decides nothing: numbers are finite or unknown, and nothing raises."""
    made = AGENTS["values"]()
    made = made.replace(params=jax.tree.map(jnp.zeros_like, made.params))
    chosen = diagnostic(name)
    summary = chosen.summarise(jax.device_get(chosen(made, jax.random.key(0))))
    assert json.dumps(summary, allow_nan=False)
