"""The adapters, each in the loop that it was made for."""

import functools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from playing import draw, fresh
from playing import make as make_game
from probes import Probe

import podarcade
from podarcade.envs.adapters.gymnasium import PodarcadeEnv
from podarcade.envs.environment import Environment, environment_names


def test_make_lists_what_is_expected():
    with pytest.raises(ValueError, match="api='gym'; expected one of: podarcade, gymnax, gymnax0, gymnasium"):
        podarcade.make("CartPoleEasy", api="gym")
    with pytest.raises(ValueError, match=r"did you mean '?CartPoleEasy"):
        podarcade.make("CartPolEasy", api="gymnax")
    with pytest.raises(TypeError, match="num_envs"):
        podarcade.make("CartPoleEasy", num_envs=4)
    with pytest.raises(ValueError, match="num_envs=0; expected an int >= 1"):
        podarcade.make("CartPoleEasy", api="gymnasium", num_envs=0)
    for api in ("podarcade", "gymnax", "gymnax0", "gymnasium"):
        with pytest.raises(ValueError, match=r"obs_size=128\.0; expected an int"):
            podarcade.make("CartPoleEasy", obs_size=128.0, api=api)
    assert isinstance(podarcade.make("CartPoleEasy"), Environment)


# gymnax ------------------------------------------------------------------------------------------------------


@functools.cache
def roller(environment):
    @jax.jit
    def run(key, params, action):
        def one(carry, key):
            outcome = environment.step(key, carry, action, params)
            return outcome[1], outcome

        observation, state = environment.reset(key, params)
        return observation, state, jax.lax.scan(one, state, jax.random.split(key, 40))[1]

    return run


def roll(environment, params, action=3):
    """Return the outcomes of forty steps of one environment with a constant action, stacked over time."""
    return jax.tree.map(np.asarray, roller(environment)(jax.random.key(0), params, jnp.int32(action)))


@pytest.mark.parametrize("partial", [False, True])
def test_gymnax_resets_in_the_step_that_ends(partial):
    environment = podarcade.make("CartPoleEasy", partial_obs=partial, api="gymnax")
    first, _, (frames, state, reward, terminated, truncated, info) = roll(environment, environment.default_params)
    assert terminated.sum() >= 3 and not truncated.any()
    game = make_game("cartpole")
    np.testing.assert_array_equal(draw(game, state.game, partial), frames)
    assert (state.time[terminated] == 0).all() and (np.diff(state.time)[~terminated[1:]] == 1).all()
    np.testing.assert_array_equal(info["terminated"], terminated)
    # The true last frame shows the step that ended the episode; between ends both are the same.
    last = info["final_observation"]
    np.testing.assert_array_equal((last == frames).all((1, 2, 3)), ~terminated)
    lengths = np.diff(np.flatnonzero(terminated), prepend=-1)
    scored = fresh(game, len(lengths)).replace(score=lengths.astype(np.int32), time=lengths.astype(np.int32))
    np.testing.assert_array_equal(last[terminated][:, :16], draw(game, scored, partial)[:, :16])
    np.testing.assert_array_equal(first[:16], frames[np.flatnonzero(terminated)[0]][:16])
    np.testing.assert_allclose(reward, 1 / 200)


def test_gymnax_truncates_by_its_parameters():
    environment = podarcade.make("CartPoleEasy", api="gymnax")
    assert environment.default_params.max_steps_in_episode == 200
    params = environment.default_params.replace(max_steps_in_episode=5)
    _, _, (_, state, _, terminated, truncated, info) = roll(environment, params, action=0)
    np.testing.assert_array_equal(np.flatnonzero(truncated), range(4, 40, 5))
    assert not terminated.any() and (state.time[truncated] == 0).all()
    np.testing.assert_array_equal(info["truncated"], truncated)


def test_gymnax_twins_can_be_switched_by_the_state():
    environment = podarcade.make("CartPoleEasy", api="gymnax")
    partial = podarcade.make("CartPoleEasy", partial_obs=True, api="gymnax")
    _, state = environment.reset(jax.random.key(0))
    switched = environment.step(jax.random.key(1), state.replace(partial=jnp.asarray(True)), 3)
    expected = partial.step(jax.random.key(1), partial.reset(jax.random.key(0))[1], 3)
    np.testing.assert_array_equal(switched[0], expected[0])
    assert (np.asarray(switched[0]) != np.asarray(environment.step(jax.random.key(1), state, 3)[0])).any()


@pytest.mark.parametrize("api", ["gymnax", "gymnax0"])
def test_gymnax_spaces(api):
    environment = podarcade.make("MineSweeperEasy", obs_size=256, api=api)
    environment = environment[0] if api == "gymnax0" else environment
    actions, frames = environment.action_space(), environment.observation_space(environment.default_params)
    assert actions.n == environment.num_actions == 5 and environment.name == "MineSweeperEasy"
    assert frames.shape == (256, 256, 3) and frames.dtype == np.uint8 and (frames.low, frames.high) == (0, 255)
    drawn = np.asarray(jax.vmap(actions.sample)(jax.random.split(jax.random.key(0), 200)))
    assert set(drawn) == set(range(5)) and actions.contains(drawn).all() and not actions.contains(5)
    sample = np.asarray(frames.sample(jax.random.key(0)))
    assert sample.shape == frames.shape and sample.dtype == np.uint8 and sample.min() == 0 and sample.max() == 255
    assert frames.contains(sample) and not frames.contains(sample.astype(int) + 1)


def test_gymnax_draws_the_final_observation_only_if_it_is_used():
    environment = podarcade.make("CartPoleEasy", api="gymnax")
    key = jax.random.key(0)
    _, state = environment.reset(key)

    def written(use):
        lowered = jax.jit(lambda key, state: use(environment.step(key, state, 3))).lower(key, state)
        return lowered.compile().cost_analysis()["bytes accessed"]

    assert written(lambda outcome: outcome[:5]) < 0.7 * written(lambda outcome: outcome)


def test_gymnax0_returns_five_values_and_make_a_pair():
    new = podarcade.make("CartPoleEasy", api="gymnax")
    environment, params = podarcade.make("CartPoleEasy", api="gymnax0")
    _, _, (frames, _, reward, done, info) = roll(environment, params)
    _, _, (new_frames, _, new_reward, terminated, *_) = roll(new, new.default_params)
    np.testing.assert_array_equal(frames, new_frames)
    np.testing.assert_array_equal(reward, new_reward)
    np.testing.assert_array_equal(done, terminated)
    np.testing.assert_array_equal(info["discount"], 1.0 - terminated)
    # Loops of this interface stack every info: there is no frame in it.
    assert all(value.shape == reward.shape for value in info.values())
    _, _, (*_, done, info) = roll(environment, params.replace(max_steps_in_episode=5), action=0)
    np.testing.assert_array_equal(np.flatnonzero(done), range(4, 40, 5))
    assert info["truncated"][4] and not info["terminated"][4] and info["discount"][4] == 1
    observation, state = environment.reset(jax.random.key(0), params)
    stepped = environment.step_env(jax.random.key(1), state, 3, params)
    assert len(stepped) == 5 and stepped[1].time == 1
    np.testing.assert_array_equal(environment.get_obs(state), observation)


@struct.dataclass
class LogState:
    env_state: object
    total: jax.Array
    length: jax.Array


class Log:
    """A wrapper as users of gymnax write them: it knows only the interface of what it wraps."""

    def __init__(self, env):
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)

    @functools.partial(jax.jit, static_argnums=0)
    def reset(self, key, params=None):
        obs, state = self._env.reset(key, params)
        return obs, LogState(state, jnp.float32(0), jnp.int32(0))

    @functools.partial(jax.jit, static_argnums=0)
    def step(self, key, state, action, params=None):
        obs, env_state, reward, done, info = self._env.step(key, state.env_state, action, params)
        total, length = state.total + reward, state.length + 1
        info |= {"returned": total, "length": length, "done": done}
        return obs, LogState(env_state, total * (1 - done), length * (1 - done)), reward, done, info


def test_a_training_loop_written_for_gymnax():
    """Vectorised with vmap, scanned, differentiated: a policy gradient learns to push the cart one way only."""
    env, params = podarcade.make("CartPoleEasy", api="gymnax0")
    env = Log(env)
    envs, steps = 8, 16
    features = lambda obs: obs.reshape(envs, 16, 8, 16, 8, 3).mean((2, 4)).reshape(envs, -1) / 255  # noqa: E731

    def loss(weights, obs, actions, targets):
        chosen = jnp.take_along_axis(jax.nn.log_softmax(obs @ weights), actions[..., None], -1)[..., 0]
        return -(chosen * targets).mean()

    def update(carry, _):
        def one(carry, key):
            weights, state, obs = carry
            action_key, step_key = jax.random.split(key)
            action = jax.random.categorical(action_key, features(obs) @ weights)
            keys = jax.random.split(step_key, envs)
            after, state, _, _, info = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, action, params)
            return (weights, state, after), (features(obs), action, info)

        weights, state, obs, key = carry
        key, roll_key = jax.random.split(key)
        (_, state, obs), (seen, actions, info) = jax.lax.scan(
            one, (weights, state, obs), jax.random.split(roll_key, steps)
        )
        gradient = jax.grad(loss)(weights, seen, actions, 1.0 * (actions == 3))
        return (weights - 0.3 * gradient, state, obs, key), (info, (actions == 3).mean())

    @jax.jit
    def train(key):
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, envs), params)
        weights = jnp.zeros((features(obs).shape[-1], env.action_space(params).n))
        return jax.lax.scan(update, (weights, state, obs, key), None, length=12)[1]

    info, pushes = jax.tree.map(np.asarray, train(jax.random.key(0)))
    done, returns = info["done"].reshape(-1, envs), info["returned"].reshape(-1, envs)
    assert pushes[0] < 0.4 and pushes[-2:].mean() > 0.9, "the loop does not learn"
    np.testing.assert_allclose(returns[done], info["length"].reshape(-1, envs)[done] / 200, rtol=1e-5)
    assert done.sum() > envs and 8 <= info["length"].reshape(-1, envs)[done][-envs:].mean() <= 14


# Gymnasium ---------------------------------------------------------------------------------------------------


def test_every_environment_is_registered_with_gymnasium():
    known = {name for name in gymnasium.registry if name.startswith("podarcade/")}
    assert known >= {f"podarcade/{name}-v0" for name in environment_names()}


@pytest.mark.parametrize("name", ["CartPoleEasy", "MineSweeperHard"])
def test_gymnasium_checks_the_single_environment(name):
    environment = gymnasium.make(f"podarcade/{name}-v0", partial_obs=True, render_mode="rgb_array")
    check_env(environment.unwrapped)
    first, _ = environment.reset(seed=1)
    np.testing.assert_array_equal(environment.render(), first)
    while True:
        *_, terminated, truncated, _ = environment.step(4)
        if terminated or truncated:
            break
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.unwrapped.step(0)


@pytest.fixture(scope="module")
def vectors():
    return gymnasium.make_vec("podarcade/CartPoleEasy-v0", num_envs=6)


def test_gymnasium_vector_keeps_the_contract(vectors):
    assert vectors.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP and vectors.num_envs == 6
    assert vectors.single_observation_space.shape == (128, 128, 3) and vectors.single_action_space.n == 5
    frames, infos = vectors.reset(seed=3)
    assert frames in vectors.observation_space and infos == {}
    for _ in range(12):
        outcome = vectors.step(vectors.action_space.sample())
        frames, rewards, terminations, truncations, _ = outcome
        assert frames in vectors.observation_space and frames.flags.writeable
        assert rewards.shape == (6,) and rewards.dtype == np.float64
        assert terminations.dtype == truncations.dtype == bool
    with pytest.raises(ValueError, match=r"int\[6\]"):
        vectors.step(np.zeros(5, int))
    with pytest.raises(ValueError, match="float64"):
        vectors.step(np.zeros(6))
    with pytest.raises(gymnasium.error.ResetNeeded):
        podarcade.make("CartPoleEasy", api="gymnasium", num_envs=6).step(np.zeros(6, int))


def test_gymnasium_seeds(vectors):
    def run(seed, actions):
        frames = [vectors.reset(seed=seed)[0], *(vectors.step(action)[0] for action in actions)]
        return np.stack(frames)

    actions = np.random.default_rng(0).integers(0, 5, (30, 6))
    one = run(1, actions)
    np.testing.assert_array_equal(one, run(1, actions))
    assert (one[0] != run(2, actions[:0])[0]).any((1, 2, 3)).all()
    assert len({frame.tobytes() for frame in one[0]}) == 6, "environments have the same start"
    again, _ = vectors.reset()
    assert (again != one[0]).any((1, 2, 3)).all(), "a reset without a seed repeats the episodes"


def test_gymnasium_loop_sees_every_final_observation(vectors):
    """Gymnasium's own statistics agree with ours, and the last frames carry the lengths of their episodes."""
    recorded = gymnasium.wrappers.vector.RecordEpisodeStatistics(vectors)
    first, _ = recorded.reset(seed=0)
    game, lengths, ended = make_game("cartpole"), np.zeros(6, int), 0
    for _ in range(40):
        frames, _, terminations, truncations, infos = recorded.step(np.full(6, 3))
        lengths += 1
        over = terminations | truncations
        np.testing.assert_array_equal(infos.get("_final_obs", np.zeros(6, bool)), over)
        if over.any():
            np.testing.assert_array_equal(infos["episode"]["l"][over], lengths[over])
            np.testing.assert_allclose(infos["episode"]["r"][over], lengths[over] / 200, rtol=1e-5)
            count = lengths[over].astype(np.int32)
            expected = draw(game, fresh(game, len(count)).replace(score=count, time=count), False)
            np.testing.assert_array_equal(np.stack(infos["final_obs"][over])[:, :16], expected[:, :16])
            np.testing.assert_array_equal(frames[over][:, :16], first[over][:, :16])
            assert all(infos["final_obs"][index] is None for index in np.flatnonzero(~over))
        lengths[over] = 0
        ended += over.sum()
    assert ended >= 18


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_gymnasium_truncates_at_the_limit_where_the_game_does_not_end_there(rules):
    vectors = podarcade.make("BattleShipEasy", rules=rules, api="gymnasium", num_envs=2)
    vectors.reset(seed=0)
    idle = np.full(2, 5)
    for _ in range(127):
        frames, _, terminations, truncations, infos = vectors.step(idle)
        assert not (terminations | truncations).any() and "final_obs" not in infos
    last = frames
    frames, _, terminations, truncations, infos = vectors.step(idle)
    assert (truncations if rules == "strict" else terminations).all()
    assert not (terminations if rules == "strict" else truncations).any()
    # The time of the last frame is one more than in the frame before, and starts again in the next.
    finals = np.stack(infos["final_obs"])
    assert (rules == "published" or (finals != last).any((1, 2, 3)).all()) and (frames != finals).any((1, 2, 3)).all()


def test_gymnasium_vector_plays_the_partial_twin_at_256():
    environment = podarcade.make("CartPoleEasy", partial_obs=True, obs_size=256, api="gymnasium", num_envs=2)
    first, _ = environment.reset(seed=0)
    second = environment.step(np.array([3, 3]))[0]
    assert second.shape == (2, 256, 256, 3)
    cart = slice(2 * 40, 2 * 80)
    assert (first[:, cart] != second[:, cart]).any() and (second[0, cart] == second[1, cart]).all()


def test_gymnasium_refuses_to_render_a_task_without_pixels():
    environment = PodarcadeEnv(Environment(Probe(length=3)))
    check_env(environment)
    assert environment.observation_space.shape == (3,) and environment.observation_space.dtype == np.float32
    with pytest.raises(ValueError, match="render_mode='rgb_array'; expected None: Probe draws a vector and has no pic"):
        PodarcadeEnv(Environment(Probe()), render_mode="rgb_array")
