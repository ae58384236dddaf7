"""Paired twins: agents whose outputs are known functions of what they see and remember, and real networks."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import ppo, pqn

from podarcade.actions import Continuous
from podarcade.agents import Agent
from podarcade.agents.records import Origin
from podarcade.configuration import FrozenConfigDict
from podarcade.diagnostics import episodes, twins
from podarcade.diagnostics.twins import PATHS, Twins
from podarcade.envs.environment import Environment, make
from podarcade.envs.tasks.repeat_first import RepeatFirst
from podarcade.envs.tasks.repeat_previous import RepeatPrevious

SMALL = Twins(episodes=8)
CARD, FIRST = slice(0, 4), slice(4, 8)  # of the observation of RepeatFirst; the partial twin hides the second


@dataclasses.dataclass(frozen=True)
class Sums:
    """An algorithm whose carry sums observations, and whose outputs are a given function of (sum before, observation).

    It always takes action 0.
    """

    outputs: Callable

    def initial(self, batch):
        return jnp.zeros((batch, 12))

    def initial_action(self, batch):
        return jnp.full(batch, -1, jnp.int32)

    def next_previous_action(self, previous_action, action, start):
        return jnp.where(start, -1, action)

    def apply_step(self, params, carry, timestep, previous_action):
        carry = jnp.where(timestep.start[:, None], 0.0, carry)
        return carry + timestep.observation, self.outputs(carry, timestep.observation)

    def apply(self, params, batch):
        return jax.lax.scan(lambda carry, x: self.apply_step(params, carry, x, None), batch.carry, batch.slots)

    def act(self, params, carry, timestep, previous_action, keys, exploration):
        carry, _ = self.apply_step(params, carry, timestep, previous_action)
        return carry, jnp.zeros(len(timestep.start), jnp.int32), None

    def encode(self, params, batch):
        return batch.slots.observation

    def named_outputs(self, outputs):
        return outputs


def measured(outputs, diagnostic=SMALL):
    made = Agent({}, Sums(outputs), Environment(RepeatFirst(), partial=True), Origin(FrozenConfigDict({}), 0, 0))
    return jax.device_get(diagnostic(made, jax.random.key(0)))


@pytest.mark.parametrize("path", PATHS)
def test_outputs_of_what_both_twins_show_have_no_gap(path):
    found = measured(lambda carry, seen: {"q": seen[:, CARD] + 0.1 * carry[:, CARD]})
    for name, value in found.items():
        if name.startswith(path) and not name.endswith("steps_at"):
            assert not value.any(), name
    assert (found[f"{path}/steps_at"] == 8).all()


def test_a_value_that_only_one_twin_shows_is_its_whole_gap():
    """V = 3 where the first card is shown, and equal preferences: no action differs."""
    found = measured(lambda carry, seen: {"q": jnp.tile(3 * seen[:, FIRST].sum(1, keepdims=True), 4)})
    for path in PATHS:
        np.testing.assert_allclose(found[f"{path}/value_at"], [0] + 50 * [3])
        np.testing.assert_allclose(found[f"{path}/value_size"], 150 / 51, rtol=1e-6)
        assert found[f"{path}/preference"] == found[f"{path}/flips"] == 0


def test_preferences_of_the_present_are_seen_and_not_remembered():
    """One action is preferred on the full twin, none on the partial one, where no choice is therefore clear."""
    found = measured(lambda carry, seen: {"q": 3 * seen[:, FIRST] * jnp.array([[0.0, 1, 1, 1]])})
    for path in PATHS:
        np.testing.assert_allclose(found[f"{path}/preference_at"][1:], 2, rtol=1e-6)
        np.testing.assert_allclose(found[f"{path}/seeing_at"][1:], 2, rtol=1e-6)
        assert not found[f"{path}/remembering_at"].any()
        assert found[f"{path}/flips"] > 0 and np.isnan(found[f"{path}/clear_flips_at"][1:]).all()


def test_preferences_of_the_past_are_remembered_and_not_seen():
    """The full twin's memory has the first card once more for every step; both have it once, from time 0."""
    found = measured(lambda carry, seen: {"q": carry[:, FIRST]})
    time = np.arange(1, 51)
    for path in PATHS:
        expected = (time - 1) / (0.5 * (time + 1))
        np.testing.assert_allclose(found[f"{path}/preference_at"][1:], expected, rtol=1e-5)
        np.testing.assert_allclose(found[f"{path}/remembering_at"][1:], expected, rtol=1e-5)
        assert not found[f"{path}/seeing_at"].any() and not found[f"{path}/flips"].any()


def test_clear_flips_are_those_beyond_ties():
    """The twins prefer opposite actions after time 0; a difference of 1e-4 of the preferences is a tie."""

    def outputs(carry, seen):
        sign = 1 - 2 * seen[:, FIRST].sum(1, keepdims=True)
        return {"q": jnp.concatenate([sign, -sign], axis=1)}

    def ties(carry, seen):
        return {"q": jnp.concatenate([1e-4 * outputs(carry, seen)["q"], jnp.full((len(seen), 1), -5.0)], axis=1)}

    found, tied = measured(outputs), measured(ties)
    for path in PATHS:
        assert found[f"{path}/flips_at"].tolist() == tied[f"{path}/flips_at"].tolist() == [0] + 50 * [1]
        assert found[f"{path}/clear_flips_at"].tolist() == [0] + 50 * [1]
        assert np.isnan(tied[f"{path}/clear_flips_at"]).all()


def test_distances_between_policies_by_hand():
    """π is (3/4, 1/4) on the full twin, where the first card is shown, and even on the partial one."""

    def outputs(carry, seen):
        shown = seen[:, FIRST].sum(1)
        return {"logits": jnp.stack([shown * np.log(3) + 7, 0 * shown + 7], axis=1), "value": 2 * shown - 1}

    found = measured(outputs)
    for path in PATHS:
        kl = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
        np.testing.assert_allclose(found[f"{path}/kl_at"][1:], kl, rtol=1e-5)
        np.testing.assert_allclose(found[f"{path}/variation_at"][1:], 0.25, rtol=1e-5)
        np.testing.assert_allclose(found[f"{path}/value_at"][1:], 2, rtol=1e-6)


def test_the_divergence_of_gaussians_is_that_of_samples():
    full = {"mean": jnp.array([[[0.3, -1.0]]]), "log_std": jnp.array([[[0.2, -0.5]]])}
    partial = {"mean": jnp.array([[[-0.1, -0.6]]]), "log_std": jnp.array([[[0.0, 0.1]]])}
    noise = jax.random.normal(jax.random.key(0), (200_000, 2))
    actions = full["mean"][0] + jnp.exp(full["log_std"][0]) * noise

    def density(found):
        return jax.scipy.stats.norm.logpdf(actions, found["mean"][0], jnp.exp(found["log_std"][0])).sum(1)

    (kl,) = twins._distances(full, partial)["kl"][0]
    np.testing.assert_allclose(kl, (density(full) - density(partial)).mean(), rtol=0.02)


def test_means_leave_out_what_lies_after_an_episode():
    x, inside = jnp.array([[1.0, 3.0], [5.0, 100.0], [9.0, 9.0]]), jnp.array([[True, True], [True, False], [False] * 2])
    found = twins._mean("x", x, inside)
    np.testing.assert_array_equal(found["x_at"], [2, 5, np.nan])
    assert found["x"] == 3


# Real networks.


def real(algorithm, game, partial=True):
    environment = Environment(game, partial=partial)
    params = algorithm.init(jax.random.key(3), environment.reset(jax.random.key(3))[1])
    return Agent(params, algorithm, environment, Origin(FrozenConfigDict({}), 0, 0))


@pytest.mark.parametrize(("kind", "memory"), [(pqn, "none"), (ppo, "gru")])
def test_memory_is_what_can_be_remembered(kind, memory):
    game = RepeatPrevious()
    found = jax.device_get(SMALL(real(kind(memory=memory, actions=game.actions), game), jax.random.key(0)))
    for path in PATHS:
        np.testing.assert_allclose(found[f"{path}/preference_at"][0], 0, atol=1e-6)
        assert found[f"{path}/preference"] > 0.01
        if memory == "none":
            assert not found[f"{path}/remembering_at"].any()
            np.testing.assert_array_equal(found[f"{path}/seeing_at"], found[f"{path}/preference_at"])
        else:
            assert found[f"{path}/remembering"] > 1e-3 and found[f"{path}/seeing"] > 1e-3


def test_groups_of_episodes_are_averaged_together(monkeypatch):
    def outputs(carry, seen):
        return {"q": seen[:, CARD] * jnp.array([[3.0, 1, 2, 5]]) + seen[:, FIRST]}

    whole = measured(outputs)
    monkeypatch.setattr(episodes, "MAX_ENCODED_BYTES", 51 * 12 * 4 * 2)
    twins._measure.clear_cache()
    grouped = measured(outputs)
    twins._measure.clear_cache()
    assert grouped["full/steps_at"].tolist() == whole["full/steps_at"].tolist()
    assert grouped["full/preference"] != whole["full/preference"]  # groups play other episodes
    np.testing.assert_allclose(grouped["full/preference"], whole["full/preference"], rtol=0.2)


def test_the_twin_that_was_played_has_the_outputs_of_play():
    made = real(ppo(memory="gru", actions=RepeatPrevious().actions), RepeatPrevious())
    for partial, name in enumerate(PATHS):
        played = episodes.play(made, jax.random.key(0), 4, 51, bool(partial))
        found = twins._outputs(made, played)[name, name]["logits"]
        seen = made.rollout(51, 4, jax.random.key(0), partial=bool(partial)).outputs["logits"]
        np.testing.assert_allclose(found, seen, atol=1e-5)


def test_continuous_actions_have_no_flips():
    game = make("PositionOnlyPendulumEasy").game
    assert isinstance(game.actions, Continuous)
    made = real(ppo(memory="gru", actions=game.actions), game)
    diagnostic = Twins(episodes=4, length=20)
    found = diagnostic.summarise(jax.device_get(diagnostic(made, jax.random.key(0))))
    for path in PATHS:
        assert found[path].keys() == {"preference", "seeing", "remembering", "value", "value_size", "kl"}
        assert found[path]["preference"] > 0 and found[path]["kl"] > 0


def test_games_with_pixels_are_drawn_as_both_twins():
    game = make("CountRecallEasy").game
    made = real(pqn(memory="none", actions=game.actions), game)
    found = jax.device_get(Twins(episodes=2, length=4)(made, jax.random.key(0)))
    assert found["full/preference_at"][0] == 0 and (found["full/preference_at"][1:] > 0).all()
