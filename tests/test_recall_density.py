"""Recall Density: closed forms, and the times that tasks need."""

import itertools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import ppo, pqn
from flax import struct

from podarcade.agents import Agent
from podarcade.agents.records import Carry, Origin, Trajectory
from podarcade.configuration import FrozenConfigDict
from podarcade.diagnostics import episodes, gradients, recall_density, untrained
from podarcade.diagnostics.episodes import play
from podarcade.diagnostics.recall_density import RecallDensity, summary
from podarcade.envs.environment import Environment, make
from podarcade.envs.tasks.repeat_previous import RepeatPrevious
from podarcade.types import Latent, TimeStep

LENGTH, EPISODES = 12, 6


@struct.dataclass
class Fake:
    """An agent whose outputs are a given linear function of what it saw; two actions."""

    weights: jax.Array  # float32[T, T]: row n holds the weights of the observations 0 ... n
    environment: Any = struct.field(pytree_node=False)
    ends: tuple[int, ...] = struct.field(pytree_node=False)

    def initial(self, batch):
        zeros = jnp.zeros(batch, jnp.int32)
        return Carry(memory=zeros, previous_action=zeros, action=zeros)

    def encode(self, timestep, previous_action):
        return timestep.observation

    def attention(self, memory, timestep, previous_action):
        return []

    def rollout(self, length, batch, key):
        shape, end = (length, batch), jnp.asarray(self.ends)[None]
        time = jnp.broadcast_to(jnp.arange(length)[:, None], shape)
        never, zeros = jnp.zeros(shape, bool), jnp.zeros(shape, jnp.int32)
        # The observations of a time do not depend on the length.
        observation = jax.vmap(lambda t: jax.random.normal(jax.random.fold_in(key, t), (batch, 3)))(jnp.arange(length))
        start = (time == 0) | (time == end + 2)
        timestep = TimeStep(observation, jnp.zeros(shape), time == end + 1, never, start)
        carry = Carry(memory=zeros, previous_action=zeros, action=zeros)
        return Trajectory(Latent(_Game(time), never), timestep, zeros, zeros, {}, carry)

    def unroll(self, memory, timestep, previous_action):
        steps = len(timestep.observation)
        value = jnp.einsum("nt,tbf->nb", self.weights[:steps, :steps], timestep.observation)
        return {"q": jnp.stack([value, -2 * value], axis=-1)}


@struct.dataclass
class _Game:
    time: jax.Array


def fake(weights, ends=(11, 11, 8, 8, 5, 11)):
    game = types.SimpleNamespace(max_steps=LENGTH, needed_time=lambda time: time - 2)
    return Fake(jnp.asarray(weights, jnp.float32), _Hashable(game), ends)


class _Hashable:
    def __init__(self, game):
        self.game = game


def measured(weights):
    return jax.device_get(RecallDensity(EPISODES)(fake(weights), jax.random.key(0)))


def test_a_linear_recurrence_has_its_geometric_density():
    time = np.arange(LENGTH)
    found = measured(np.tril(0.7 ** (time[:, None] - time)))
    assert found["last"].tolist() == [11, 11, 8, 8, 5, 11]
    for name in ("l1", "l2"):
        for density, last in zip(found[name], found["last"], strict=True):
            expected = 0.7 ** (last - time[: last + 1])
            np.testing.assert_allclose(density[: last + 1], expected / expected.sum(), rtol=1e-5)
            assert not density[last + 1 :].any()


def test_occlusion_is_the_change_by_other_observations():
    """Of a linear function: each weight times how much the observations of other episodes differ."""
    weights = np.tril(0.7 ** np.abs(np.arange(LENGTH)[:, None] - np.arange(LENGTH)))
    found, seen = measured(weights), fake(weights).rollout(LENGTH, EPISODES, jax.random.key(0))
    total = np.asarray(seen.timestep.observation.sum(axis=-1))
    for lane, last in enumerate(found["last"]):
        changes = np.zeros(last + 1)
        for time in range(last + 1):
            others = [(lane + shift) % EPISODES for shift in range(1, 5)]
            other = np.array([total[min(time, found["last"][k]), k] for k in others])
            changes[time] = weights[last, time] * np.abs(other - total[time, lane]).mean()
        np.testing.assert_allclose(found["occlusion"][lane, : last + 1], changes / changes.sum(), rtol=1e-4)


def test_gradients_may_be_in_units_of_the_spread_over_episodes():
    made = fake(np.ones((LENGTH, LENGTH)))
    observation = made.rollout(LENGTH, EPISODES, jax.random.key(0)).timestep.observation
    inside = np.arange(LENGTH)[:, None] <= np.array([11, 11, 8, 8, 5, 11])
    spread = np.array([np.std(np.asarray(observation)[t, inside[t]], axis=0).sum() for t in range(LENGTH)])
    found = measured(np.ones((LENGTH, LENGTH)))
    for density, last in zip(found["spread"], found["last"], strict=True):
        np.testing.assert_allclose(density[: last + 1], spread[: last + 1] / spread[: last + 1].sum(), rtol=1e-4)


def test_integrated_gradients_add_up_to_the_change_of_the_decision():
    """Of a linear function each observation has its weight times its distance from the other episode's."""
    weights = np.tril(0.7 ** np.abs(np.arange(LENGTH)[:, None] - np.arange(LENGTH)))
    found, seen = measured(weights), fake(weights).rollout(LENGTH, EPISODES, jax.random.key(0))
    total = np.asarray(seen.timestep.observation.sum(axis=-1))
    for lane, last in enumerate(found["last"]):
        other = (lane + 1) % EPISODES
        moved = [total[t, lane] - total[min(t, found["last"][other]), other] for t in range(last + 1)]
        expected = np.abs(weights[last, : last + 1] * moved)
        np.testing.assert_allclose(found["integrated"][lane, : last + 1], expected / expected.sum(), rtol=1e-4)


def test_an_episode_that_is_cut_off_has_no_needed_time():
    found = jax.device_get(RecallDensity(EPISODES, length=9)(fake(np.eye(LENGTH)), jax.random.key(0)))
    assert (found["needed"] >= 0).tolist() == [False, False, True, True, True, False]
    assert found["last"].tolist() == [8, 8, 8, 8, 5, 8]


def test_a_memory_that_copies_one_observation_has_all_mass_there():
    weights = np.zeros((LENGTH, LENGTH))
    weights[2:, :-2] = np.eye(LENGTH - 2)  # what was seen two steps ago
    found = measured(weights)
    for name in recall_density.MEASURES:
        summed = summary(found, name)
        np.testing.assert_allclose(summed["needed"], 1)
        np.testing.assert_allclose(summed["distance"], 0)
        np.testing.assert_allclose(summed["now"], 0)


def test_thirds_are_those_of_each_episode():
    """Six observations: two in each third, however long the game may last."""
    density = np.zeros((1, 100))
    density[0, :6] = [0.1, 0.2, 0.3, 0.1, 0.1, 0.2]
    found = summary({"l1": density, "occlusion": density, "last": np.array([5]), "needed": np.array([-1])})
    np.testing.assert_allclose(found["thirds"], [[0.3, 0.4, 0.3]])
    np.testing.assert_allclose(found["curve"].sum(), 1)
    assert found["now"] == [0.2] and np.isnan(found["needed"]).all() and np.isnan(found["distance"]).all()


# Nulls of the mass at the needed time.


def targets(density, last, needed):
    arrays = {"l1": np.asarray(density, float), "occlusion": np.asarray(density, float)}
    return summary(arrays | {"last": np.asarray(last), "needed": np.asarray(needed)})


def test_mass_at_the_needed_time_is_above_shuffled_targets_by_what_does_not_coincide():
    """Five episodes of eight steps; three of them need time 2, two time 6."""
    needed = np.array([2, 2, 6, 2, 6])
    found = targets(np.eye(8)[needed], [7] * 5, needed)
    np.testing.assert_array_equal(found["needed"], 1)
    np.testing.assert_allclose(found["shuffled"], [2 / 4, 2 / 4, 1 / 4, 2 / 4, 1 / 4])
    np.testing.assert_allclose(found["chance"], 1 / 8)


def test_a_density_that_ignores_its_episode_has_the_mass_of_shuffled_targets():
    random = np.random.default_rng(0)
    density = np.tile(random.dirichlet(np.ones(9)), (40, 1))
    found = targets(density, [8] * 40, random.integers(0, 9, 40))
    assert found["needed"].mean() == pytest.approx(found["shuffled"].mean(), abs=1e-12) and np.ptp(found["needed"]) > 0
    # So does one that differs between episodes, but not with what they need: on average over targets.
    many = [targets(random.dirichlet(np.ones(9), 40), [8] * 40, random.integers(0, 9, 40)) for _ in range(300)]
    differences = np.array([one["needed"].mean() - one["shuffled"].mean() for one in many])
    assert abs(differences.mean()) < 4 * differences.std() / 300**0.5 < 0.01


def test_shuffled_targets_are_those_of_all_other_episodes_one_by_one():
    """Against a loop over permutations without fixed points of episodes that differ in length."""
    random, last = np.random.default_rng(1), np.array([9, 4, 6, 9])
    density = np.stack([np.pad(random.dirichlet(np.ones(n + 1)), (0, 9 - n)) for n in last])
    needed = np.array([3, 0, 6, -1])
    found = targets(density, last, needed)
    known, masses = [0, 1, 2], [[], [], []]
    for order in itertools.permutations(known):
        if all(b != c for b, c in enumerate(order)):
            for b, c in enumerate(order):
                masses[b].append(density[b, round(last[b] * needed[c] / last[c])])
    np.testing.assert_allclose(found["shuffled"][:3], np.mean(masses, axis=1))
    np.testing.assert_allclose(found["chance"][:3], 1 / (last[:3] + 1))
    assert np.isnan([found[name][3] for name in ("needed", "shuffled", "chance")]).all()


def test_targets_at_the_same_place_in_all_episodes_cannot_be_shuffled():
    """First or last observations of episodes of any length."""
    random, last = np.random.default_rng(2), np.array([5, 3, 4, 5])
    density = np.stack([np.pad(random.dirichlet(np.ones(n + 1)), (0, 5 - n)) for n in last])
    for needed in (np.zeros(4, int), last):
        found = targets(density, last, needed)
        np.testing.assert_allclose(found["shuffled"], found["needed"])
    alone = targets(density, last, np.array([2, -1, -1, -1]))
    assert np.isnan(alone["shuffled"]).all() and alone["chance"][0] == 1 / 6


def test_horizon_and_agreement_by_hand():
    time = np.arange(LENGTH)
    found = measured(np.tril(0.7 ** (time[:, None] - time)))
    summed = summary(found)
    expected = 0.7 ** np.arange(12)
    assert summed["horizon"][0] == pytest.approx((expected / expected.sum() * np.arange(12)).sum(), rel=1e-5)
    densities = {"l1": np.array([[0.1, 0.2, 0.3, 0.4]]), "occlusion": np.array([[0.4, 0.3, 0.1, 0.2]])}
    given = densities | {"last": np.array([3]), "needed": np.array([-1])}
    assert summary(given)["agreement"][0] == pytest.approx(-0.8)  # 1 - 6 Σd² / (n (n² - 1)), Σd² = 18
    tied = given | {"l1": np.array([[0.25, 0.25, 0.25, 0.25]])}
    assert np.isnan(summary(tied)["agreement"]).all()


# Real networks.


def agent(algorithm, environment):
    key = jax.random.key(3)
    params = algorithm.init(key, environment.reset(key)[1])
    return Agent(params, algorithm, environment, Origin(FrozenConfigDict({}), 0, 0))


@pytest.mark.parametrize("kind", [pqn, ppo])
def test_without_memory_all_mass_is_at_the_end(kind):
    made = agent(kind(memory="none", num_actions=4), Environment(RepeatPrevious(), partial=True))
    found = RecallDensity(episodes=4)(made, jax.random.key(0))
    for name in recall_density.MEASURES:
        # Where another episode shows the same at the end, nothing changes the decision.
        there = np.isfinite(found[name]).all(axis=1)
        assert there.any() and (np.count_nonzero(found[name], axis=1) == 1)[there].all()
        np.testing.assert_allclose(summary(jax.device_get(found), name)["now"][there], 1, rtol=1e-6)


def test_gradients_equal_those_of_the_whole_network():
    """Pulled back through features step by step, they are those of the network as a function of all observations."""
    made = agent(ppo(memory="gru", num_actions=4), Environment(RepeatPrevious(), partial=True))
    found = jax.device_get(RecallDensity(episodes=3, length=6)(made, jax.random.key(0)))
    played = made.rollout(6, 3, jax.random.key(0))

    def decide(observation):
        timestep = played.timestep.replace(observation=observation)
        outputs = made.unroll(made.initial(3).memory, timestep, played.previous_action)
        return jax.nn.log_softmax(outputs["logits"])[5]

    jacobian = jax.jacrev(decide)(played.timestep.observation)  # [B, A, T, B, D]
    own = jnp.stack([jacobian[b, :, :, b] for b in range(3)])  # [B, A, T, D]
    for name, norm in (("l1", jnp.abs(own).sum(-1)), ("l2", jnp.sqrt((own**2).sum(-1)))):
        weights = norm.sum(axis=1)
        np.testing.assert_allclose(found[name], weights / weights.sum(axis=1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize("encoder", ["patch", "popgym_cnn"])
def test_derivatives_along_a_direction_are_gradients_times_it(encoder):
    """The convolutional encoder has a backward pass of its own, and no other forward derivative."""
    made = agent(pqn(memory="gru", encoder=encoder, num_actions=5), make("CartPoleEasy"))
    played = jax.jit(lambda key: play(made, key, 2, 3))(jax.random.key(0))
    observe = gradients.seen(played)

    def direction(time):
        return observe(0) - 2 * observe(time)

    def products(gradient, time):
        return jnp.sum(gradient * direction(time)[None], axis=(2, 3, 4))

    expected = jax.jit(lambda: gradients.of_last_decision(made, played, observe, products))()
    found = jax.jit(lambda: gradients.along(made, played, observe, direction))()
    assert found.shape == (3, 5, 2) and np.abs(expected).min() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("memory", ["gru", "none", "stack"])
def test_occlusion_from_the_middle_of_an_episode_is_that_of_whole_episodes(memory, monkeypatch):
    """And what is out of reach of the last decision keeps a density of exactly zero."""
    made = agent(ppo(memory=memory, num_actions=4), Environment(RepeatPrevious(), partial=True))
    played = jax.jit(lambda key: play(made, key, 4, 18))(jax.random.key(0))
    whole = jax.jit(lambda: recall_density._occlusion(made, played, 2))()
    monkeypatch.setattr(episodes, "TAIL", 5)
    parts = episodes.tails(made, played, played.timestep.observation)
    assert [part[:2] for part in parts] == [(0, 6), (6, 12), (12, 18)]
    found = jax.jit(lambda: recall_density._occlusion(made, played, 2))()
    np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(found == 0, whole == 0)
    assert (found[:6] == 0).all() == (memory != "gru") and (found[-1] > 0).any()


def test_nothing_is_computed_after_the_last_decision_of_all_episodes():
    computed = []

    def function(time):
        jax.debug.callback(lambda time: computed.append(int(time)), time)
        return {"twice": 2 * time}

    played = types.SimpleNamespace(last=jnp.array([2, 4, 1]))
    found = jax.jit(lambda: episodes.map_steps(played, function, jnp.arange(8)))()
    jax.effects_barrier()
    assert found["twice"].tolist() == [0, 2, 4, 6, 8, 0, 0, 0] and sorted(computed) == [0, 1, 2, 3, 4]


def test_the_roll_out_of_attention_by_hand():
    """The product of two layers of causal weights, half of each of them the residual."""
    made = agent(ppo(memory="transformer", num_actions=4, layers=2), Environment(RepeatPrevious(), partial=True))
    found = jax.device_get(RecallDensity(episodes=3, length=6)(made, jax.random.key(0)))
    played = made.rollout(6, 3, jax.random.key(0))
    layers = made.attention(made.initial(3).memory, played.timestep, played.previous_action)
    assert [layer.shape for layer in layers] == [(6, 3, 6)] * 2
    for layer in layers:
        np.testing.assert_allclose(layer.sum(axis=-1), 1, rtol=1e-5)
        assert (
            not np.triu(np.asarray(layer)[:, 0], 1).any() and (np.tril(np.asarray(layer)[:, 0]).sum(axis=1) > 0).all()
        )
    for lane in range(3):
        first, second = (0.5 * np.asarray(layer)[:, lane] + 0.5 * np.eye(6) for layer in layers)
        np.testing.assert_allclose(found["attention"][lane], (second @ first)[5], rtol=1e-4)


def test_an_untrained_memory_spreads_its_density():
    made = agent(ppo(memory="gru", num_actions=4), Environment(RepeatPrevious(), partial=True))
    found = jax.device_get(RecallDensity(episodes=4)(untrained(made, jax.random.key(9)), jax.random.key(0)))
    now = summary(found)["now"]
    assert (now > 0.1).all() and (now < 0.99).all()
    np.testing.assert_array_equal(found["needed"], found["last"] - 3)


# What tasks need.

SHOWN = {  # task -> (what is shown at a time, what the answer at another time depends on)
    "TMazeEasy": (lambda game, state: game.visible(state)["sign"], lambda state: state.goal),
    "MemoryChainEasy": (lambda game, state: game.hidden(state)["cue"], lambda state: 2 * state.cue - 1),
    "RepeatFirstEasy": (lambda game, state: jnp.argmax(game.visible(state)["card"]), lambda state: state.first),
    "RepeatPreviousEasy": (lambda game, state: jnp.argmax(game.visible(state)["card"]), lambda state: state.recent[0]),
    "VectorAutoencodeEasy": (lambda game, state: jnp.argmax(game.visible(state)["card"]), lambda state: state.stack[0]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_needed_time_is_when_the_answer_was_shown(name):
    game = make(name).game
    shown, answer = SHOWN[name]

    def step(state, key):
        after, _, _ = game.step(state, jnp.int32(0), key)
        return after, state

    for seed in range(3):
        reset, *keys = jax.random.split(jax.random.key(seed), game.max_steps + 1)
        _, states = jax.lax.scan(step, game.reset(reset), jnp.stack(keys))
        seen, wanted = jax.vmap(lambda state: (shown(game, state), answer(state)))(states)
        times = [(t, int(game.needed_time(jnp.int32(t)))) for t in range(game.max_steps)]
        asked = [(t, needed) for t, needed in times if needed >= 0]
        assert asked and asked[-1][0] == game.max_steps - 1
        for t, needed in asked:
            np.testing.assert_array_equal(seen[needed], wanted[t])


def test_other_games_have_no_needed_time():
    assert make("MineSweeperEasy").game.needed_time(jnp.int32(3)) == -1
