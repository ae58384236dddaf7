"""Gymnasium's interfaces, with NumPy arrays: a vector environment, and a single one.

Importing podarcade registers every environment if Gymnasium is installed:

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

from podarcade.actions import Continuous
from podarcade.envs.environment import Environment, environment_names, make, reset_where, split_keys, transition

NAMESPACE, VERSION = "podarcade", "v0"


@functools.partial(jax.jit, static_argnums=0)
def _reset(game, keys):
    """Return the game states of new episodes, and the key data that their environments carry on."""
    keys, reset_keys = split_keys(keys, 2)
    return jax.vmap(game.reset)(jax.random.wrap_key_data(reset_keys)), keys


@functools.partial(jax.jit, static_argnums=0)
def _step(game, state, keys, actions, partial):
    """Step every environment: final states, frames and flags of the old episodes, and states of the new ones."""
    keys, step_keys, reset_keys = (jax.random.wrap_key_data(part) for part in split_keys(keys, 3))
    step = functools.partial(transition, game, time_limit=game.time_limit)
    last, reward, terminated, truncated = jax.vmap(step)(state, actions, step_keys)
    reset = jax.vmap(lambda over, state, key: reset_where(over, game, state, key))
    state = reset(terminated | truncated, last, reset_keys)
    return state, jax.random.key_data(keys), last, _draw(game, last, partial), reward, terminated, truncated


@functools.partial(jax.jit, static_argnums=0)
def _draw(game, state, partial):
    return jax.vmap(lambda state: game.draw(state, partial))(state)


@functools.partial(jax.jit, static_argnums=0)
def _draw_some(game, state, partial, index):
    """Draw the environments with the given indices."""
    return _draw(game, jax.tree.map(lambda leaf: leaf[index], state), partial)


@functools.partial(jax.jit, static_argnums=0)
def _render_first(game, state, partial):
    """Return the picture of the first environment."""
    return game.render(jax.tree.map(lambda leaf: leaf[0], state), partial)


def _key_words() -> int:
    """Return the number of uint32 words in key data of jax's default PRNG implementation."""
    return jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape[-1]


class _Games:
    """A batch of games stepped in lockstep, with NumPy arrays; shared by both interfaces."""

    def __init__(self, environment: Environment):
        self.game, self.partial, self.started = environment.game, np.asarray(environment.partial), False
        self._state = self._keys = self._seen = None  # `_seen`: states of the observations returned last

    def spaces(self) -> tuple[gymnasium.Space, gymnasium.Space]:
        """Return the observation space and the action space of one environment."""
        frame = jax.eval_shape(lambda: self.game.draw(self.game.reset(jax.random.key(0)), self.partial))
        low, high = (0, 255) if frame.dtype == np.uint8 else (-np.inf, np.inf)
        space = self.game.actions
        return (
            gymnasium.spaces.Box(low, high, frame.shape, frame.dtype),
            gymnasium.spaces.Box(-1.0, 1.0, space.shape, np.float32)
            if isinstance(space, Continuous)
            else gymnasium.spaces.Discrete(space.n),
        )

    def reset(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Start `count` episodes with keys from a generator; return their first observations."""
        self.started = True
        keys = generator.integers(0, 2**32, (count, _key_words()), dtype=np.uint32)
        self._state, self._keys = _reset(self.game, keys)
        self._seen = self._state
        return np.array(_draw(self.game, self._state, self.partial))

    def step(self, actions: Any) -> tuple[np.ndarray, ...]:
        """Return (observations, rewards, terminations, truncations); an episode that ended shows its final one.

        Raises:
          ValueError: actions of another shape or kind of number.
        """
        actions, space = np.asarray(actions), self.game.actions
        shape, kind = (len(self._keys), *space.shape), np.integer if space.dtype == jnp.int32 else np.floating
        if actions.shape != shape or not np.issubdtype(actions.dtype, kind):
            expected = f"{'int' if kind is np.integer else 'float'}{list(shape)}"
            raise ValueError(f"actions are {actions.dtype}{list(actions.shape)}; expected {expected}")
        actions = actions.astype(space.dtype)
        self._state, self._keys, self._seen, *outcome = _step(self.game, self._state, self._keys, actions, self.partial)
        frames, rewards, terminated, truncated = (np.array(leaf) for leaf in outcome)
        return frames, rewards.astype(np.float64), terminated, truncated

    def picture(self) -> np.ndarray:
        """Return a picture of what the first environment showed last, uint8[H, W, 3]."""
        return np.array(_render_first(self.game, self._seen, self.partial))

    def first_frames(self, index: np.ndarray) -> np.ndarray:
        """Return the current observations of the given environments, which have just been reset."""
        # Padded to a power of two, so that few programs are compiled.
        padded = np.resize(index, 1 << int(len(index) - 1).bit_length())
        return np.asarray(_draw_some(self.game, self._state, self.partial, padded))[: len(index)]


class PodarcadeVectorEnv(gymnasium.vector.VectorEnv):
    """A batch of one environment as a `gymnasium.vector.VectorEnv`, on jax's default device.

    Autoreset mode is SAME_STEP: the step that ends an episode returns the first observation of the next one, and the
    final observation of the old one in `infos["final_obs"]`, an object array, where `infos["_final_obs"]` is true.
    Each environment has a PRNG key of its own, so that trajectories depend on the seed and the actions only.
    """

    def __init__(self, environment: Environment, num_envs: int = 1):
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}; expected an int >= 1")
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.num_envs, self._games = num_envs, _Games(environment)
        self.single_observation_space, self.single_action_space = self._games.spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start new episodes; return (observations uint8[num_envs, S, S, 3], {}). Without a seed they are new ones."""
        super().reset(seed=seed)
        return self._games.reset(self.np_random, self.num_envs), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Step every environment with actions int[num_envs], or float[num_envs, A].

        Returns:
          (observations, rewards float64[num_envs], terminations, truncations, infos).

        Raises:
          ValueError: actions of another shape or dtype.
          gymnasium.error.ResetNeeded: a step before the first reset.
        """
        if not self._games.started:
            raise gymnasium.error.ResetNeeded("step called before the first reset")
        frames, rewards, terminated, truncated = self._games.step(actions)
        over, infos = terminated | truncated, {}
        if over.any():
            last = np.full(self.num_envs, None, object)
            for index in np.flatnonzero(over):
                last[index] = frames[index].copy()
            frames[over] = self._games.first_frames(np.flatnonzero(over))
            infos = {"final_obs": last, "_final_obs": over.copy(), "final_info": {}, "_final_info": over.copy()}
        return frames, rewards, terminated, truncated, infos


class PodarcadeEnv(gymnasium.Env):
    """A single environment as a `gymnasium.Env`. Convenient but slow: train with the vector environment."""

    def __init__(self, environment: Environment, render_mode: str | None = None):
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}; expected None or 'rgb_array'")
        if render_mode is not None and not environment.has_picture:
            name = type(environment.game).__name__
            raise ValueError(f"render_mode={render_mode!r}; expected None: {name} draws a vector and has no picture")
        self.render_mode, self._games, self._frame, self._over = render_mode, _Games(environment), None, True
        self.observation_space, self.action_space = self._games.spaces()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode; return (observation uint8[S, S, 3], {})."""
        super().reset(seed=seed)
        self._frame, self._over = self._games.reset(self.np_random, 1)[0], False
        return self._frame.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Step with an int action, or float[A]; return (observation, reward, terminated, truncated, {}).

        Raises:
          ValueError: an action of another shape or kind of number.
          gymnasium.error.ResetNeeded: a step before the first reset, or after the end of an episode.
        """
        if self._over:
            raise gymnasium.error.ResetNeeded("step called before reset")
        frames, rewards, terminated, truncated = self._games.step(np.asarray(action)[None])
        self._frame, self._over = frames[0], bool(terminated[0] | truncated[0])
        return self._frame.copy(), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> np.ndarray | None:
        """Return a picture uint8[H, W, 3] if the render mode is "rgb_array": the frame, or that of a task's vector."""
        return None if self.render_mode is None or self._frame is None else self._games.picture()


def wrap(environment: Environment, name: str, num_envs: int = 1) -> PodarcadeVectorEnv:
    """Return the environment as a Gymnasium vector environment."""
    return PodarcadeVectorEnv(environment, num_envs)


def _vector(name: str, num_envs: int = 1, **options: Any) -> PodarcadeVectorEnv:
    return PodarcadeVectorEnv(make(name, **options), num_envs)


def _single(name: str, render_mode: str | None = None, **options: Any) -> PodarcadeEnv:
    return PodarcadeEnv(make(name, **options), render_mode)


def register() -> None:
    """Register every environment with Gymnasium, as in "podarcade/TetrisHard-v0"."""
    for name in environment_names():
        gymnasium.register(
            f"{NAMESPACE}/{name}-{VERSION}",
            entry_point=f"{__name__}:_single",
            vector_entry_point=f"{__name__}:_vector",
            kwargs={"name": name},
        )
