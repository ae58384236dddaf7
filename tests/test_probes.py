"""State probes: memories whose content is known, held-out episodes, and real networks."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import ppo

from podarcade.agents import Agent
from podarcade.agents.records import Origin
from podarcade.configuration import FrozenConfigDict
from podarcade.diagnostics import episodes, probes
from podarcade.diagnostics.episodes import play
from podarcade.diagnostics.probes import SOURCES, Probes
from podarcade.envs.environment import Environment, make
from podarcade.envs.tasks.repeat_first import RepeatFirst
from podarcade.envs.tasks.repeat_previous import RepeatPrevious

SMALL = Probes(episodes=64, steps=120, hidden=24)


@dataclasses.dataclass(frozen=True)
class Store:
    """An algorithm that always takes action 0, and whose carry is a given function of what it saw."""

    keep: Callable  # (key data, carry [B, n], observation [B, D], start [B]) -> carry
    size: int = 8

    def init(self, key, timestep):
        return jax.random.key_data(key)

    def initial(self, batch):
        return jnp.zeros((batch, self.size)) if self.size else ()

    def initial_action(self, batch):
        return jnp.full(batch, -1, jnp.int32)

    def next_previous_action(self, previous_action, action, start):
        return jnp.where(start, -1, action)

    def apply_step(self, params, carry, timestep, previous_action):
        carry = self.keep(params, carry, timestep.observation, timestep.start) if self.size else ()
        return carry, jnp.zeros((len(timestep.start), 4))

    def apply(self, params, batch):
        def step(carry, slots):
            return self.apply_step(params, carry, slots, slots.previous_action)

        return jax.lax.scan(step, batch.carry, batch.slots)

    def act(self, params, carry, timestep, previous_action, keys, exploration):
        carry, _ = self.apply_step(params, carry, timestep, previous_action)
        return carry, jnp.zeros(len(timestep.start), jnp.int32), None

    def encode(self, params, batch):
        return batch.slots.observation

    def named_outputs(self, outputs):
        return {"q": outputs}


def store(keep, size=8, game=None):
    algorithm = Store(keep, size)
    params = jax.random.key_data(jax.random.key(5))
    return Agent(
        params, algorithm, Environment(game or RepeatFirst(), partial=True), Origin(FrozenConfigDict({}), 0, 0)
    )


def random_matrix(params, rows, columns):
    return jax.random.normal(jax.random.wrap_key_data(params), (rows, columns))


def keep_first(params, carry, seen, start):
    """Mix the first card linearly into the carry."""
    return jnp.where(start[:, None], seen[:, :4] @ random_matrix(params, 4, carry.shape[1]), carry)


def keep_ten(params, carry, seen, start):
    """Keep the first card for ten steps; the last number of the carry counts."""
    count = jnp.where(start, 0.0, carry[:, -1] + 1)
    first = jnp.where(start[:, None], seen[:, :4], carry[:, :4]) * (count < 10)[:, None]
    return jnp.concatenate([first, jnp.zeros((len(start), 3)), count[:, None]], axis=1)


def keep_count(params, carry, seen, start):
    """Count the steps."""
    return jnp.where(start[:, None], 0.0, carry + 1)


def keep_name(params, carry, seen, start):
    """Draw a vector for each episode, by which it can be recognised."""
    return jnp.where(start[:, None], random_matrix(params, *carry.shape), carry)


def scores(found, quantity, source, probe):
    return {score: found[f"{quantity}/{source}/{probe}/{score}"] for score in ("r2", "within", "accuracy")}


@pytest.fixture(scope="module")
def first():
    return SMALL(store(keep_first), jax.random.key(0))


@pytest.mark.parametrize("quantity", ["first", "needed.suit"])
@pytest.mark.parametrize("probe", ["linear", "network"])
def test_what_is_stored_linearly_is_read_perfectly(first, quantity, probe):
    found = scores(first, quantity, "memory", probe)
    assert found["r2"] > 0.98 and found["within"] > 0.98 and found["accuracy"] == 1
    assert (first[f"{quantity}/memory/{probe}/accuracy_at"] == 1).all()


@pytest.mark.parametrize("probe", ["linear", "network"])
def test_what_the_observation_does_not_show_is_not_read_from_it(first, probe):
    later = first[f"first/observation/{probe}/accuracy_at"][5:].mean()
    assert abs(later - 0.25) < 0.15 and first[f"first/observation/{probe}/r2"] < 0.1
    # The first observation shows both; later ones the card on show only.
    assert first[f"card/observation/{probe}/accuracy"] > 0.97
    assert first["first/chance/accuracy"] < 0.45


def test_every_score_has_its_shape(first):
    assert first["left/memory/linear/r2"].shape == ()
    assert first["left/memory/linear/r2_of"].shape == first["left/memory/linear/accuracy_of"].shape == (4,)
    assert first["left/memory/linear/r2_at"].shape == first["left/memory/linear/accuracy_at"].shape == (51,)
    assert {name.split("/")[0] for name in first} == {"first", "card", "left", "time", "score", "needed.suit"}


def test_a_quantity_that_is_dropped_is_unreadable_from_then_on():
    found = SMALL(store(keep_ten), jax.random.key(0))
    for probe in ("linear", "network"):
        curve = found[f"needed.suit/memory/{probe}/accuracy_at"]
        assert (curve[:10] == 1).all() and (curve[10:] < 0.6).all()
        assert (found[f"needed.suit/memory/{probe}/r2_at"][10:] < 0.05).all()


def test_episodes_cannot_be_recognised():
    """A vector drawn for each episode names all its constants, but those of other episodes only."""
    for seed in range(2):
        found = Probes(episodes=128, length=20, steps=60)(store(keep_name, size=128), jax.random.key(seed))
        for probe in ("linear", "network"):
            assert found[f"first/memory/{probe}/r2"] < 0 and found[f"first/memory/{probe}/within"] < 0
            assert abs(found[f"first/memory/{probe}/accuracy"] - 0.25) < 0.15


def test_to_know_the_time_explains_drifts_and_nothing_within_a_time():
    found = SMALL(store(keep_count), jax.random.key(0))
    assert found["time/memory/linear/r2"] > 0.99
    assert np.isnan(found["time/memory/linear/within"])
    for probe in ("linear", "network"):
        assert found[f"left/memory/{probe}/r2"] > 0.8
        np.testing.assert_allclose(found[f"left/memory/{probe}/within"], 0, atol=1e-4)


def test_the_control_has_new_parameters():
    """They mix the first card with another matrix, which stores it as well."""
    found = SMALL(store(keep_first), jax.random.key(1))
    assert found["first/untrained/linear/accuracy"] == 1
    assert found["first/untrained/linear/r2"] != found["first/memory/linear/r2"]


def test_an_agent_without_memory_has_unknown_scores():
    made = store(None, size=0)
    found = SMALL(made, jax.random.key(0))
    summary = SMALL.summarise(found)
    assert summary.keys() == {"first", "card", "left", "time", "score", "needed.suit"}
    for source in SOURCES:
        for scores in summary["first"][source].values():
            assert all((value is None) == (source in ("memory", "untrained")) for value in scores.values())


def test_the_previous_action_is_a_source_of_its_own():
    """A policy that repeats the first suit stores it in its actions."""

    @dataclasses.dataclass(frozen=True)
    class Repeats(Store):
        def act(self, params, carry, timestep, previous_action, keys, exploration):
            carry, _ = self.apply_step(params, carry, timestep, previous_action)
            return carry, jnp.where(timestep.start, jnp.argmax(timestep.observation[:, :4], 1), previous_action), None

    made = store(keep_first)
    found = SMALL(made.replace(algorithm=Repeats(keep_first)), jax.random.key(0))
    assert found["first/present/linear/accuracy_at"][1:].min() == 1
    assert found["first/observation/linear/accuracy_at"][5:].mean() < 0.5


@pytest.mark.parametrize("name", ["episodes=5", "episodes=2"])
def test_halves_have_to_exist(name):
    with pytest.raises(ValueError, match=f"{name}; expected an even number >= 4"):
        Probes(episodes=int(name[-1]))


def test_episodes_are_played_in_groups_that_fit(monkeypatch):
    made = store(keep_first)
    monkeypatch.setattr(episodes, "MAX_ENCODED_BYTES", 51 * 12 * 4 * 20)
    assert episodes.num_groups(made, 64, 51) == 4
    probes._watch.clear_cache()
    found = SMALL(made, jax.random.key(0))
    probes._watch.clear_cache()
    assert found["first/memory/linear/accuracy"] == 1 and found["left/memory/linear/r2_at"].shape == (51,)


def test_projections_preserve_inner_products_on_average():
    rng = np.random.default_rng(0)
    x, y = 1 + rng.normal(size=(2, 200, 3000))
    few = [np.asarray(probes._project(jnp.asarray(z, jnp.float32), 256)) for z in (x, y)]
    assert few[0].shape == (200, 256)
    np.testing.assert_allclose((few[0] * few[1]).sum(axis=1).mean(), (x * y).sum(axis=1).mean(), rtol=0.2)
    assert probes._project(jnp.ones((2, 7)), 7).shape == (2, 7)


# What tasks need.

ANSWERS = {  # task -> the action that the needed quantity leads to
    "RepeatFirstEasy": lambda game, state: game.needed(state)["suit"],
    "RepeatPreviousEasy": lambda game, state: game.needed(state)["suit"],
    "VectorAutoencodeEasy": lambda game, state: game.needed(state)["suit"],
    "MemoryChainEasy": lambda game, state: game.needed(state)["bits"][0],
    "TMazeEasy": lambda game, state: jnp.where(state.x < game.junction, 0, 2 - game.needed(state)["goal"]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_needed_is_all_that_the_best_return_takes(name):
    game = make(name).game

    def step(state, key):
        state, reward, _ = game.step(state, ANSWERS[name](game, state).astype(jnp.int32), key)
        return state, reward

    def play(key):
        reset, *keys = jax.random.split(key, game.max_steps + 1)
        return jax.lax.scan(step, game.reset(reset), jnp.stack(keys))[1].sum()

    np.testing.assert_allclose(jax.vmap(play)(jax.random.split(jax.random.key(0), 4)), game.RETURNS[1], rtol=1e-5)


def test_other_games_need_nothing_known():
    game = make("MineSweeperEasy").game
    assert game.needed(game.reset(jax.random.key(0))) == {}


# Real networks.


def real(memory, game):
    algorithm, environment = ppo(memory=memory, actions=game.actions), Environment(game, partial=True)
    params = algorithm.init(jax.random.key(3), environment.reset(jax.random.key(3))[1])
    return Agent(params, algorithm, environment, Origin(FrozenConfigDict({}), 0, 0))


def test_memories_are_those_after_each_observation_was_read():
    made = real("lru", RepeatPrevious())
    played = play(made, jax.random.key(0), 3, 51)
    carried = made.rollout(52, 3, jax.random.key(0)).carry.memory
    found = probes._memories(made, played, 256)
    np.testing.assert_allclose(found, probes._flat(carried, 2)[1:], atol=1e-5)


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_an_untrained_network_is_its_own_control(memory):
    found = SMALL.summarise(SMALL(real(memory, RepeatPrevious()), jax.random.key(0)))
    trained, control = (found["needed.suit"][source]["linear"]["accuracy"] for source in ("memory", "untrained"))
    if memory == "none":
        assert trained is control is None
    else:
        assert abs(trained - control) < 0.1 and trained > found["needed.suit"]["observation"]["linear"]["accuracy"]
    assert abs(found["needed.suit"]["observation"]["linear"]["accuracy"] - 0.25) < 0.1


def test_games_with_pixels_are_probed_by_features_of_the_encoder():
    game = make("CountRecallEasy").game
    made, diagnostic = real("gru", game), Probes(episodes=4, length=5, steps=5, hidden=4, components=3)
    watched = probes._watch(made, jax.random.key(0), 4, 5, 3, 64)
    assert watched.features["observation"].shape == watched.features["present"].shape
    assert watched.features["present"].shape[2] < 1024
    found = diagnostic.summarise(diagnostic(made, jax.random.key(0)))
    assert found["time"]["memory"]["linear"]["r2"] is not None and found["time"]["chance"] is not None


def test_a_quantity_that_is_known_nowhere_has_unknown_scores_and_spoils_no_other():
    """Two steps of RepeatPrevious ask for nothing yet."""
    made = real("gru", RepeatPrevious())
    found = Probes(episodes=16, length=2, steps=20, hidden=8)(made, jax.random.key(0))
    needed = [value for name, value in found.items() if name.startswith("needed.")]
    assert needed and all(np.isnan(value).all() for value in needed)
    for probe in ("linear", "network"):
        others = [value for name, value in found.items() if name.endswith(f"memory/{probe}/r2") and value.ndim == 0]
        assert np.isfinite(others).any()
