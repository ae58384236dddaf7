"""Contamination: closed forms of linear agents, a brute-force oracle, and real networks."""

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
from podarcade.diagnostics import contamination, episodes
from podarcade.diagnostics.contamination import KINDS, SUMS, Contamination, summary
from podarcade.diagnostics.disturbances import (
    add_noise,
    encode_with_noise,
    noise_scale,
    other_lanes,
    shuffled,
    sources,
)
from podarcade.diagnostics.episodes import play
from podarcade.envs.environment import Environment, make
from podarcade.envs.tasks.position_only_cartpole import PositionOnlyCartPole
from podarcade.envs.tasks.repeat_previous import RepeatPrevious

CARDS, STEPS = Environment(RepeatPrevious(), partial=True), 51  # one-hot cards that no action changes
POLES = Environment(PositionOnlyCartPole(), partial=True)  # episodes of many lengths
EPISODES = 8


@struct.dataclass
class Linear:
    """An agent whose action values are q_n = Σ_l kernel[l] (W o + U a)_{n - l}, within the episode."""

    kernel: jax.Array  # float32[L]
    observed: jax.Array  # W float32[A, D]
    acted: jax.Array  # U float32[A, A], of the previous action
    environment: Any = struct.field(pytree_node=False)

    def initial(self, batch):
        none = self.environment.game.actions.none(batch)
        return Carry(jnp.zeros((batch, len(self.kernel), len(self.observed))), none, none)

    def encode(self, timestep, previous_action):
        return timestep.observation

    def step(self, memory, timestep, previous_action):
        memory = jnp.where(timestep.start[:, None, None], 0.0, memory)
        one_hot = self.environment.game.actions.encode(previous_action)
        seen = timestep.observation @ self.observed.T + one_hot @ self.acted.T
        memory = jnp.concatenate([seen[:, None], memory[:, :-1]], axis=1)
        return memory, jnp.einsum("l,bla->ba", self.kernel, memory)

    def unroll(self, memory, timestep, previous_action):
        return {"q": jax.lax.scan(lambda m, x: self.step(m, *x), memory, (timestep, previous_action))[1]}

    def act(self, carry, timestep):
        previous = jnp.where(timestep.start, -1, carry.action)
        memory, values = self.step(carry.memory, timestep, previous)
        action = jnp.argmax(values, axis=-1)
        return Carry(memory, previous, action), action

    def rollout(self, length, batch, key):
        def step(state, _):
            env, timestep, carry = state
            new, action = self.act(carry, timestep)
            seen = Trajectory(env.latent, timestep, new.previous_action, action, {}, carry)
            return (*jax.vmap(self.environment.step)(env, action), new), seen

        start = jax.vmap(self.environment.reset)(jax.random.split(key, batch))
        return jax.lax.scan(step, (*start, self.initial(batch)), None, length)[1]


def linear(kernel, environment=CARDS, observed=1.0, acted=0.0):
    """An agent of which action a has the weight `observed` on feature a, and `acted` on the previous action a."""
    actions, features = environment.game.actions.n, environment.reset(jax.random.key(0))[1].observation.shape[0]
    kernel = jnp.zeros(STEPS).at[: len(kernel)].set(jnp.asarray(kernel, jnp.float32))
    return Linear(kernel, observed * jnp.eye(actions, features), acted * jnp.eye(actions), environment)


def copy(lag):
    return np.eye(STEPS)[lag]


def measured(agent, **options):
    return jax.device_get(Contamination(**{"episodes": EPISODES, "permutations": 4, **options})(agent, KEY))


KEY = jax.random.key(0)


def test_a_copy_has_an_effect_at_its_lag_only_and_a_recurrence_has_a_geometric_one():
    """Cards do not depend on actions, so that all these agents see the same episodes and disturbances."""
    decay = 0.7
    recurrence = measured(linear(decay ** np.arange(STEPS)))
    for lag in (0, 1, 3, 20):
        found = measured(linear(copy(lag)))
        for kind in ("noise", "swap"):
            change = found[f"{kind}_change"]
            assert (change[:, lag] > 0).all()
            assert not np.delete(change, lag, axis=1).any()
            np.testing.assert_allclose(recurrence[f"{kind}_change"][:, lag], decay**lag * change[:, lag], rtol=1e-4)
    for kind in ("noise", "swap"):
        # e(l) is not quite geometric, since the values that it is relative to grow in the first steps.
        assert summary(recurrence, kind)["half_life"] in (2, 3)


def test_a_swapped_card_changes_the_values_by_two_and_the_best_action():
    """A = one-hot - 1/4, so that ‖A‖ = 3/2, and ‖A' - A‖ = 2 exactly where the action flips."""
    found = measured(linear(copy(0)))
    assert 0 < found["swap_flips"][:, 0].sum() < found["swap_pairs"][:, 0].sum()
    np.testing.assert_array_equal(found["swap_change"], 2 * found["swap_flips"])
    np.testing.assert_array_equal(found["swap_size"], 1.5 * found["swap_pairs"])
    assert not found["swap_near_tie_flips"].any()
    share = found["swap_flips"][:, 0].sum() / (EPISODES * STEPS)
    assert abs(share - 39 / 51) < 0.06  # standard error: 0.02
    np.testing.assert_allclose(summary(found, "swap")["effect"][0], share * 2 / 1.5)
    assert np.isnan(summary(found, "swap")["half_life"])


def test_flips_of_near_ties_are_counted_apart():
    found, close = measured(linear(copy(0))), measured(linear(copy(0), observed=5e-4))
    np.testing.assert_array_equal(close["swap_near_tie_flips"], found["swap_flips"])
    assert not close["swap_flips"].any()
    np.testing.assert_array_equal(
        measured(linear(copy(0), observed=5e-4), near_tie=1e-4)["swap_flips"], found["swap_flips"]
    )


def test_without_noise_nothing_changes_and_more_noise_changes_more():
    agent = linear(0.9 ** np.arange(STEPS))
    none, one, two = (measured(agent, sigma=sigma) for sigma in (0.0, 1.0, 2.0))
    assert not none["noise_change"].any() and not none["noise_flips"].any()
    np.testing.assert_array_equal(none["return_noise"], none["return_undisturbed"])
    np.testing.assert_allclose(two["noise_change"], 2 * one["noise_change"], rtol=1e-3, atol=1e-3)


def test_a_sum_of_observations_is_not_changed_by_a_shuffle():
    found = measured(linear(np.ones(STEPS), acted=1.0))
    assert not found["shuffle_change"].any() and not found["shuffle_moved_change"].any()
    assert found["shuffle_pairs"].any() and (found["swap_change"][:, 5] > 0).all()
    assert (measured(linear(copy(3)))["shuffle_change"][:, 1:4] > 0).any()


def test_a_shuffle_of_two_is_their_exchange_in_some_permutations():
    """Steps 1 and 2 reach a copy of 3 steps ago at steps 4 and 5: 2 and 3 after the end of the window."""
    window = {"shuffle_from": 1, "shuffle_to": 2, "permutations": 16}
    found = measured(linear(copy(3)), **window)
    exchanges = found["shuffle_change"][:, 2] / 2  # ‖A' - A‖ = 2 where the cards differ
    assert (exchanges == np.round(exchanges)).all() and 0 < exchanges.max() < 16
    np.testing.assert_array_equal(found["shuffle_change"][:, 3], 2 * exchanges)
    assert not np.delete(found["shuffle_change"], [2, 3], axis=1).any()
    for name in SUMS:  # this agent does not see its actions
        np.testing.assert_array_equal(found[f"shuffle_moved_{name}"], found[f"shuffle_{name}"])
    assert not found["shuffle_pairs"][:, 0].any() and (found["shuffle_pairs"][:, 1] == 16).all()


def test_previous_actions_move_with_their_observations_or_stay():
    """An agent that only sees its previous action, and takes the next one of four."""
    agent = linear([1, 0, 0, 0.5], observed=0.0)
    found = measured(agent.replace(acted=jnp.roll(jnp.eye(4), 1, axis=0)), shuffle_to=2, permutations=16)
    assert not found["shuffle_change"].any()
    exchanges = found["shuffle_moved_change"][:, 2]
    assert (exchanges == np.round(exchanges)).all() and 0 < exchanges.max() <= 16
    np.testing.assert_array_equal(found["shuffle_moved_change"][:, 3], exchanges)
    assert not np.delete(found["shuffle_moved_change"], [2, 3], axis=1).any()


def test_pairs_lie_inside_their_episode():
    """Of 31 steps that are played, some poles fall earlier; a window to step 20 needs an episode of 22."""
    agent = linear(0.5 ** np.arange(STEPS), POLES)
    found = measured(agent, episodes=32, length=31, shuffle_to=20)
    last, lag = found["last"][:, None], np.arange(31)
    assert len(np.unique(last)) > 3 and last.min() < 21 < last.max()
    for kind in ("noise", "swap"):
        np.testing.assert_array_equal(found[f"{kind}_pairs"], np.maximum(last + 1 - lag, 0))
    for kind in ("shuffle", "shuffle_moved"):
        np.testing.assert_array_equal(found[f"{kind}_pairs"], 4 * ((lag > 0) & (20 + lag <= last)))
    for kind in KINDS:
        for name in SUMS:
            assert not found[f"{kind}_{name}"][found[f"{kind}_pairs"] == 0].any()
    numbers = Contamination().summarise(found)
    assert numbers["noise"]["episodes"] == 32 and numbers["shuffle"]["episodes"] == np.sum(last >= 21)
    assert (found["disturbed"] >= 0).all() and (found["disturbed"] < 31).all()


def test_a_window_longer_than_the_game_is_not_shuffled():
    found = measured(linear(copy(0)), length=9)
    assert not found["shuffle_pairs"].any()
    numbers = Contamination().summarise(found)["shuffle"]
    assert numbers == {
        **{name: [None] * 5 for name in ("effect", "flips", "near_tie_flips")},
        **{"lags": [0, 1, 2, 4, 8], "half_life": None, "episodes": 0},
    }


@pytest.mark.parametrize(("decay", "expected"), [(0.7, 3), (0.9, 8), (0.4, 2), (1.0, None), (0.0, None)])
def test_the_half_life_is_the_first_lag_below_half_of_the_first(decay, expected):
    arrays = {"noise_change": 5 * decay ** np.arange(12.0), "noise_size": 10 * np.ones(12)}
    arrays |= {f"noise_{name}": np.ones(12) for name in ("flips", "near_tie_flips", "pairs")}
    found = summary({name: np.stack([values, 3 * values]) for name, values in arrays.items()}, "noise")
    np.testing.assert_allclose(found["effect"], decay ** np.arange(12.0) / 2)
    assert found["half_life"] == expected or (expected is None and np.isnan(found["half_life"]))


# The closed loop.


def test_one_disturbed_card_costs_one_answer():
    """A perfect agent names the card of 3 steps ago; a wrong one costs 2/48, unless nobody asks for it any more."""
    found = measured(linear(copy(3)), episodes=64)
    np.testing.assert_allclose(found["return_undisturbed"], 1, rtol=1e-5)
    asked = found["disturbed"] + 3 < STEPS
    for kind in ("noise", "swap"):
        wrong = (found["return_undisturbed"] - found[f"return_{kind}"]) * 24
        np.testing.assert_allclose(wrong, np.round(wrong), atol=1e-4)
        assert set(np.round(wrong[asked])) == {0, 1} and not np.round(wrong[~asked]).any()
        drop = Contamination().summarise(found)["closed_loop"][kind]
        assert drop["drop"] == pytest.approx(wrong.mean() / 24, abs=1e-5)
        assert drop["standard_error"] == pytest.approx(wrong.std(ddof=1) / 24 / 8, abs=1e-5)
    assert abs(found["disturbed"].mean() - 25) < 6  # uniform over 51 steps: standard error 1.8


# Noise.


def test_noisy_frames_are_frames():
    frames = jnp.asarray([0, 100, 255], jnp.uint8)[None]
    noise = jnp.asarray([-1.0, 0.302, 1.0])[None]
    assert add_noise(frames, noise, jnp.float32(10)).tolist() == [[0, 103, 255]]
    assert add_noise(frames, noise, jnp.float32(10)).dtype == jnp.uint8
    assert add_noise(frames, -noise, jnp.float32(25.5)).tolist() == [[26, 92, 230]]


def test_noise_is_in_units_of_the_spread_of_each_feature():
    played = play(linear(0.5 ** np.arange(STEPS), POLES), KEY, 32, 40)
    assert not played.inside.all()
    constant = played.timestep.observation.at[..., 1].set(3.0)
    played = played.replace(timestep=played.timestep.replace(observation=constant))
    seen = np.asarray(played.timestep.observation)[np.asarray(played.inside)]
    scale = np.asarray(noise_scale(played, 0.5))
    np.testing.assert_allclose(scale, seen.std(axis=0) / 2, rtol=1e-4)
    assert scale[1] == 0 and (scale[[0, 2, 3]] > 0).all()
    frames = played.replace(timestep=played.timestep.replace(observation=jnp.zeros((40, 32, 4, 4, 3), jnp.uint8)))
    assert noise_scale(frames, jnp.float32(0.1)) == pytest.approx(25.5)


def test_a_lane_is_never_its_own_other():
    other = np.asarray(other_lanes(KEY, 1000, 4))
    assert (other != np.arange(4)).all() and all(set(other[:, lane]) == {0, 1, 2, 3} - {lane} for lane in range(4))


def test_orders_permute_the_window_of_each_lane():
    orders = np.asarray(shuffled(KEY, (2, 5), (50, 8, 3)))
    assert (np.sort(orders, axis=1) == np.arange(8)[None, :, None]).all()
    assert (np.delete(orders, [2, 3, 4, 5], axis=1) == np.array([0, 1, 6, 7])[None, :, None]).all()
    assert len(np.unique(orders[:, 2:6].transpose(0, 2, 1).reshape(-1, 4), axis=0)) == 24


# Real networks.


def made(algorithm, environment, seed=0):
    params = algorithm.init(jax.random.key(seed), environment.reset(KEY)[1])
    return Agent(params, algorithm, environment, Origin(FrozenConfigDict({}), 0, 0))


@pytest.mark.parametrize("tail", [episodes.TAIL, 4], ids=["whole", "three tails"])
def test_replays_are_those_of_changed_observations(tail, monkeypatch):
    """Against a loop that encodes whole changed episodes and adds up what it finds, one step after another."""
    monkeypatch.setattr(episodes, "TAIL", tail)
    agent, length, lanes = made(ppo(memory="gru", num_actions=2), POLES), 14, 5
    played, unroll = play(agent, KEY, lanes, length), jax.jit(agent.unroll)
    scale, lane = noise_scale(played, 1.0), np.arange(lanes)
    orders, other = shuffled(KEY, (1, 3), (2, length, lanes)), other_lanes(KEY, length, lanes)
    pool = encode_with_noise(agent, played, KEY, scale)
    found = contamination._compare(agent, played, pool, sources(played, other, orders, 3), 0.0)
    seen, actions = np.asarray(played.timestep.observation), np.asarray(played.previous_action)
    last = np.asarray(played.last)
    expected = {name: np.zeros((lanes, length)) for name in found}

    def advantages(observation, actions):
        logits = unroll(played.memory, played.timestep.replace(observation=observation), actions)["logits"]
        return np.asarray(logits - logits.mean(axis=-1, keepdims=True))  # the normaliser of log π cancels

    def add(kind, values, origin, first):
        for n, b in np.argwhere((np.arange(length)[:, None] >= first) & (np.arange(length)[:, None] <= last)):
            flip = values[n, b].argmax() != reference[n, b].argmax()
            terms = np.abs(values[n, b] - reference[n, b]).sum(), np.abs(reference[n, b]).sum(), flip, 0, 1
            for name, term in zip(SUMS, terms, strict=True):
                expected[f"{kind}_{name}"][b, n - origin] += term

    reference = advantages(seen, actions)
    for k in range(length):
        noisy, swapped = seen.copy(), seen.copy()
        noisy[k] = add_noise(seen[k], jax.random.normal(jax.random.fold_in(KEY, k), seen[k].shape), scale)
        swapped[k] = seen[np.minimum(k, last[other[k]]), other[k]]
        add("noise", advantages(noisy, actions), k, k)
        add("swap", advantages(swapped, actions), k, k)
    for order in np.asarray(orders):
        add("shuffle", advantages(seen[order, lane], actions), 3, 4)
        add("shuffle_moved", advantages(seen[order, lane], actions[order, lane]), 3, 4)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=2e-5, err_msg=name)


def test_all_parameters_of_a_network_share_a_program():
    agents = [made(ppo(memory="gru", num_actions=4), CARDS, seed) for seed in (0, 1)]
    programs = contamination._measure._cache_size()
    one, other = (measured(agent, episodes=3, sigma=sigma) for agent, sigma in zip(agents, (0.0, 1.0), strict=True))
    assert contamination._measure._cache_size() == programs + 1
    for kind in KINDS:
        assert all(one[f"{kind}_{name}"].shape == (3, STEPS) for name in SUMS)
        assert np.isfinite(one[f"{kind}_change"]).all()
    assert not one["noise_change"].any() and (other["noise_change"][:, :3] > 0).all()
    np.testing.assert_array_equal(one["return_noise"], one["return_undisturbed"])
    assert (one["swap_change"][:, 1] > 0).all()


def test_frames_are_disturbed_too():
    agent = made(pqn(memory="none", num_actions=5), make("MineSweeperEasy"))
    none, some = (measured(agent, episodes=2, length=4, sigma=sigma, shuffle_to=2) for sigma in (0.0, 0.3))
    assert not none["noise_change"].any() and (some["noise_change"][:, 0] > 0).all()
    assert not some["noise_change"][:, 1:].any()  # without memory
    assert not some["shuffle_change"].any()


def test_continuous_actions_have_effects_but_no_flips():
    environment = make("PositionOnlyPendulumEasy", partial_obs=True)
    agent = made(ppo(memory="gru", actions=environment.game.actions), environment)
    found = measured(agent, episodes=2, length=16, sigma=0.5)
    numbers = Contamination().summarise(found)["noise"]
    assert numbers["flips"] == numbers["near_tie_flips"] == [None] * 5
    assert all(effect > 0 for effect in numbers["effect"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 1}, "episodes=1; expected a number >= 2"),
        ({"sigma": -0.5}, "sigma=-0.5; expected a number >= 0"),
        ({"sigma": float("nan")}, "sigma=nan; expected a number >= 0"),
        ({"permutations": 0}, "permutations=0; expected a number >= 1"),
        ({"shuffle_from": 3, "shuffle_to": 3}, "shuffle_from=3, shuffle_to=3; expected 0 <= shuffle_from < shuffle_to"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Contamination(**options)
