"""Environments: game steps, time limits, auto-reset and observations as pure functions."""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp

from podarcade import plugins
from podarcade.envs import contract
from podarcade.envs.games import Game
from podarcade.tracebacks import describe
from podarcade.types import EnvState, Latent, TimeStep

KEY_WORDS = {2: "threefry2x32", 4: "rbg"}  # PRNG implementation of raw key data, by its number of uint32 words


def transition(
    game: Game, state: Any, action: jax.Array, key: jax.Array, time_limit: int | jax.Array | None
) -> tuple[Any, jax.Array, jax.Array, jax.Array]:
    """Step a game and flag the end of the episode.

    `Environment` and every adapter step their games here; they differ only in when they call `reset_where`: in the
    next step or in the same one. Where either flag is set, the returned state is the true last one of its episode,
    and drawing it gives the final observation.

    Args:
      game: the game.
      state: its state.
      action: int32[].
      key: a typed key, or raw key data of the default PRNG implementation.
      time_limit: the `time` from which the episode is truncated, or None for never.

    Returns:
      The next state, the reward float32[], and the flags terminal bool[] and truncated bool[], of which at most one
      is set: an episode that ends exactly at the limit is terminal.
    """
    state, reward, terminal = game.step(state, action, key)
    reward, terminal = jnp.asarray(reward, jnp.float32), jnp.asarray(terminal)
    at_limit = jnp.asarray(False) if time_limit is None else state.time >= time_limit
    return state, reward, terminal, at_limit & ~terminal


def reset_where(over: jax.Array, game: Game, state: Any, key: jax.Array) -> Any:
    """Return a fresh game state where `over`, bool[], is set, and `state` elsewhere."""
    return jax.tree.map(lambda fresh, old: jnp.where(over, fresh, old), game.reset(key), state)


@dataclasses.dataclass(frozen=True)
class Environment:
    """A single environment of pure functions; batch it with `jax.vmap`.

    The last step of an episode returns its true last observation. The NEXT step starts a new episode: its action is
    ignored and its reward is 0. So each step draws one frame, and a truncated return can be bootstrapped from an
    observation that the agent has seen.

    Attributes:
      game: the game.
      partial: whether `reset` makes the partially observable twin by default.
      limit_is_terminal: report the time limit as `terminal` instead of `truncated`.
    """

    game: Game
    partial: bool = False
    limit_is_terminal: bool = False

    @property
    def has_picture(self) -> bool:
        """Whether `render` returns pictures uint8[H, W, 3], as games with pixels and tasks do."""
        state = jax.eval_shape(lambda: self.game.reset(jax.random.key(0)))
        picture = jax.eval_shape(self.game.render, state, jax.ShapeDtypeStruct((), bool))
        return picture.dtype == jnp.uint8 and picture.shape[2:] == (3,)

    def reset(self, key: jax.Array, partial: jax.Array | None = None) -> tuple[EnvState, TimeStep]:
        """Start an episode.

        Args:
          key: a typed key of any PRNG implementation, or raw key data uint32[n].
          partial: bool[], may be traced: whether to draw the partial twin; None for `self.partial`.

        Returns:
          The state and the first time step, with `start` set and reward 0.
        """
        seed = _key_data(key)
        key, reset_key = jax.random.split(jax.random.wrap_key_data(seed))
        partial = jnp.asarray(self.partial if partial is None else partial, bool)
        state = EnvState(
            latent=Latent(self.game.reset(reset_key), partial),
            over=jnp.asarray(False),
            key=jax.random.key_data(key),
            episode_return=jnp.float32(0),
            episode_length=jnp.int32(0),
            last_return=jnp.float32(0),
        )
        timestep = self._timestep(state, jnp.float32(0), jnp.asarray(False), jnp.asarray(False), jnp.asarray(True))
        return _vary_like(seed, (state, timestep))

    def step(self, state: EnvState, action: jax.Array) -> tuple[EnvState, TimeStep]:
        """Step the episode, or start a new one if the last step ended it.

        Args:
          state: environment state, from `reset` or `step`.
          action: int32[]; ignored if a new episode starts.

        Returns:
          The next state and its time step.
        """
        key, step_key, reset_key = jax.random.split(jax.random.wrap_key_data(state.key), 3)
        start = state.over
        game, reward, terminal, truncated = transition(
            self.game, state.latent.game, action, step_key, self.game.time_limit
        )
        game = reset_where(start, self.game, game, reset_key)
        reward = jnp.where(start, 0.0, reward)
        terminal, truncated = terminal & ~start, truncated & ~start
        if self.limit_is_terminal:
            terminal, truncated = terminal | truncated, truncated & False
        over, episode_return = terminal | truncated, jnp.where(start, 0.0, state.episode_return + reward)
        state = EnvState(
            latent=Latent(game, state.latent.partial),
            over=over,
            key=jax.random.key_data(key),
            episode_return=episode_return,
            episode_length=jnp.where(start, 0, state.episode_length + 1),
            last_return=jnp.where(over, episode_return, state.last_return),
        )
        return state, self._timestep(state, reward, terminal, truncated, start)

    def draw(self, latent: Latent) -> jax.Array:
        """Draw the observation of a latent state, bit-equal to the one that `step` returned with it."""
        return self.game.draw(latent.game, latent.partial)

    def render(self, latent: Latent) -> jax.Array:
        """Return a picture of a latent state for display, uint8[H, W, 3]."""
        return self.game.render(latent.game, latent.partial)

    def _timestep(self, state, reward, terminal, truncated, start) -> TimeStep:
        return TimeStep(self.draw(state.latent), reward, terminal, truncated, start)


def split_keys(keys: jax.Array, number: int) -> tuple[jax.Array, ...]:
    """Split the key data of B environments, uint32[B, n], into a tuple of `number` arrays uint32[B, n]."""
    split = jax.vmap(lambda key: jax.random.key_data(jax.random.split(jax.random.wrap_key_data(key), number)))(keys)
    return tuple(jnp.moveaxis(split, 1, 0))


def _key_data(key: jax.Array) -> jax.Array:
    """Return raw key data of the default PRNG implementation, uint32[n], for a key of any implementation."""
    default = jax.eval_shape(lambda: jax.random.key(0)).dtype
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    size = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape[-1]
    if (typed and key.dtype == default) or (not typed and key.shape == (size,)):
        return jax.random.key_data(key)
    if not typed:
        if key.ndim != 1 or key.shape[0] not in KEY_WORDS:
            raise ValueError(f"key is {key.dtype}{list(key.shape)}; expected a typed key, or key data uint32[{size}]")
        key = jax.random.wrap_key_data(key, impl=KEY_WORDS[key.shape[0]])
    return jax.random.bits(key, (size,), jnp.uint32)


def _vary_like(key, tree):
    """Return the same tree, varying over devices as `key` does, so that a scan inside `jax.shard_map` may carry it."""
    either = key[0] == 0
    return jax.tree.map(lambda leaf: jnp.where(either, leaf, leaf), tree)


def make(name: str, partial_obs: bool = False, obs_size: int = 128, rules: str = "strict") -> Environment:
    """Return an environment by name; `podarcade.make` documents the arguments.

    Raises:
      ValueError: an unknown name, size or rule set, or a game that breaks the contract.
    """
    known = environment_names()
    if name not in known:
        raise ValueError(f"unknown environment {name!r}; {plugins.did_you_mean(name, list(known))}")
    game, level = known[name]
    return Environment(contract.make_game(game, level, obs_size=obs_size, rules=rules), partial=partial_obs)


def environment_names() -> dict[str, tuple[type[Game], str]]:
    """Return all environments: name -> (game class, level). Warns of a game file that fails to load and skips it."""
    known = {}
    for module in plugins.names("games"):
        try:
            game = plugins.find("games", module)
            contract.check_levels(game)
        except Exception as error:
            warnings.warn(f"skipped the game {module!r}: {describe(error)}", RuntimeWarning, stacklevel=2)
            continue
        known |= {game.__name__ + level.capitalize(): (game, level) for level in game.LEVELS}
    return known
