"""Gymnasium's interfaces, with NumPy arrays: a vector environment, and a single one for tools that want one.

Importing podarcade where Gymnasium is installed registers every environment:

    gymnasium.make_vec("podarcade/TetrisHard-v0", num_envs=64, partial_obs=True)
    gymnasium.make("podarcade/TetrisHard-v0")
"""

import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from podarcade.envs import environment as environments
from podarcade.envs.environment import Environment

NAMESPACE, VERSION = "podarcade", "v0"


@functools.partial(jax.jit, static_argnums=0)
def _reset(game, keys):
    """Game states of new episodes, and the keys that their environments go on with."""
    keys, reset_keys = jnp.moveaxis(_split(keys, 2), 1, 0)
    return jax.vmap(game.reset)(jax.random.wrap_key_data(reset_keys)), keys


@functools.partial(jax.jit, static_argnums=0)
def _step(game, state, keys, actions, partial):
    """A step of every environment: last frames and flags of ended episodes, states of the new ones."""
    keys, step_keys, reset_keys = (jax.random.wrap_key_data(part) for part in jnp.moveaxis(_split(keys, 3), 1, 0))
    stepped, reward, terminated = jax.vmap(game.step)(state, actions, step_keys)
    truncated = ~terminated & (False if game.time_limit is None else stepped.time >= game.time_limit)
    over, fresh = terminated | truncated, jax.vmap(game.reset)(reset_keys)
    choose = jax.vmap(lambda over, new, old: jax.tree.map(functools.partial(jnp.where, over), new, old))
    state = choose(over, fresh, stepped)
    return state, jax.random.key_data(keys), _draw(game, stepped, partial), reward, terminated, truncated


@functools.partial(jax.jit, static_argnums=0)
def _draw(game, state, partial):
    return jax.vmap(lambda state: game.draw(state, partial))(state)


@functools.partial(jax.jit, static_argnums=0)
def _draw_some(game, state, partial, index):
    """Frames of the environments with the given indices."""
    return _draw(game, jax.tree.map(lambda leaf: leaf[index], state), partial)


def _split(keys, count):
    return jax.vmap(lambda key: jax.random.key_data(jax.random.split(jax.random.wrap_key_data(key), count)))(keys)


class _Games:
    """A batch of games in step, as NumPy arrays; shared by both interfaces."""

    def __init__(self, environment: Environment):
        self.game, self.partial, self.started = environment.game, np.asarray(environment.partial), False
        self._state = self._keys = None

    def spaces(self) -> tuple[gymnasium.Space, gymnasium.Space]:
        """Those of one environment: observations and actions."""
        frame = jax.eval_shape(lambda: self.game.draw(self.game.reset(jax.random.key(0)), self.partial))
        low, high = (0, 255) if frame.dtype == np.uint8 else (-np.inf, np.inf)
        return (
            gymnasium.spaces.Box(low, high, frame.shape, frame.dtype),
            gymnasium.spaces.Discrete(self.game.NUM_ACTIONS),
        )

    def reset(self, words: np.ndarray) -> np.ndarray:
        """First frames; words, uint32[num_envs, 2], are the environments' keys."""
        self.started = True
        self._state, self._keys = _reset(self.game, words)
        return np.array(_draw(self.game, self._state, self.partial))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """(frames, rewards, terminations, truncations); the frames of episodes that ended are their last."""
        outcome = _step(self.game, self._state, self._keys, actions, self.partial)
        self._state, self._keys, *outcome = outcome
        frames, rewards, terminated, truncated = (np.array(leaf) for leaf in outcome)
        return frames, rewards.astype(np.float64), terminated, truncated

    def first_frames(self, index: np.ndarray) -> np.ndarray:
        """Frames of the given environments as they are now: new episodes."""
        # Filled up to a power of two, so that few programs are compiled.
        filled = np.resize(index, 1 << int(len(index) - 1).bit_length())
        return np.asarray(_draw_some(self.game, self._state, self.partial, filled))[: len(index)]


class PodarcadeVectorEnv(gymnasium.vector.VectorEnv):
    """Many environments of one name as a `gymnasium.vector.VectorEnv`, on jax's default device.

    A new episode starts in the step that ends one (SAME_STEP): the observation is then its first frame, and the true
    last frame of the old one is in `infos["final_obs"]`, an array of objects, where `infos["_final_obs"]` is true.
    Trajectories depend on the seed and on nothing else; environment i has a key of its own.
    """

    def __init__(self, environment: Environment, num_envs: int = 1):
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}; there must be at least 1")
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.num_envs, self._games = num_envs, _Games(environment)
        self.single_observation_space, self.single_action_space = self._games.spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """(observations uint8[num_envs, S, S, 3], {}). Without a seed the episodes are new ones."""
        super().reset(seed=seed)
        words = self.np_random.integers(0, 2**32, (self.num_envs, 2), dtype=np.uint32)
        return self._games.reset(words), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        """int[num_envs] -> (observations, rewards, terminations, truncations, infos).

        Raises:
          ValueError: there is not one integer action for each environment.
          gymnasium.error.ResetNeeded: there was no reset yet.
        """
        if not self._games.started:
            raise gymnasium.error.ResetNeeded("step before the first reset")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(f"actions are {actions.dtype}{list(actions.shape)}; there must be int[{self.num_envs}]")
        frames, rewards, terminated, truncated = self._games.step(actions.astype(np.int32))
        over, infos = terminated | truncated, {}
        if over.any():
            last = np.full(self.num_envs, None, object)
            for index in np.flatnonzero(over):
                last[index] = frames[index].copy()
            frames[over] = self._games.first_frames(np.flatnonzero(over))
            infos = {"final_obs": last, "_final_obs": over.copy(), "final_info": {}, "_final_info": over.copy()}
        return frames, rewards, terminated, truncated, infos


class PodarcadeEnv(gymnasium.Env):
    """A single environment as a `gymnasium.Env`. Convenient, not fast: use the vector environment to train."""

    def __init__(self, environment: Environment, render_mode: str | None = None):
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}; there are None and 'rgb_array'")
        self.render_mode, self._games, self._frame, self._over = render_mode, _Games(environment), None, True
        self.observation_space, self.action_space = self._games.spaces()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """(observation uint8[S, S, 3], {})."""
        super().reset(seed=seed)
        words = self.np_random.integers(0, 2**32, (1, 2), dtype=np.uint32)
        self._frame, self._over = self._games.reset(words)[0], False
        return self._frame.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """int -> (observation, reward, terminated, truncated, {}).

        Raises:
          gymnasium.error.ResetNeeded: there was no reset yet, or none since an episode ended.
        """
        if self._over:
            raise gymnasium.error.ResetNeeded("step before a reset")
        frames, rewards, terminated, truncated = self._games.step(np.full(1, action, np.int32))
        self._frame, self._over = frames[0], bool(terminated[0] | truncated[0])
        return self._frame.copy(), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> np.ndarray | None:
        """The frame, uint8[S, S, 3], if the render mode is "rgb_array"."""
        return None if self.render_mode is None or self._frame is None else self._frame.copy()


def face(environment: Environment, name: str, num_envs: int = 1) -> PodarcadeVectorEnv:
    """The environment as Gymnasium has vectors of them."""
    return PodarcadeVectorEnv(environment, num_envs)


def _vector(name: str, num_envs: int = 1, **options: Any) -> PodarcadeVectorEnv:
    return PodarcadeVectorEnv(environments.make(name, **options), num_envs)


def _single(name: str, render_mode: str | None = None, **options: Any) -> PodarcadeEnv:
    return PodarcadeEnv(environments.make(name, **options), render_mode)


def register() -> None:
    """Makes every environment known to Gymnasium, as in "podarcade/TetrisHard-v0"."""
    for name in environments.environment_names():
        gymnasium.register(
            f"{NAMESPACE}/{name}-{VERSION}",
            entry_point=f"{__name__}:_single",
            vector_entry_point=f"{__name__}:_vector",
            kwargs={"name": name},
        )
