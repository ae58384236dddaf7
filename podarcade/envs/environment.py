"""Environment: a game, its twin, its clock and its restarts; one drawing per step."""

import dataclasses

import jax
import jax.numpy as jnp

from podarcade import plugins
from podarcade.envs.games import Game
from podarcade.types import EnvState, Latent, TimeStep


@dataclasses.dataclass(frozen=True)
class Environment:
    """A single environment of pure functions; batch it with `jax.vmap`.

    After an episode ends, its true last frame is returned; the NEXT step starts a
    new episode, ignores its action and pays nothing. So every step draws once, and
    a truncated return can be bootstrapped from a frame the agent has seen.

    Attributes:
      game: the rules and the picture.
      partial: which twin `reset` makes unless told otherwise.
      limit_is_terminal: the time limit ends an episode for good, instead of truncating it.
    """

    game: Game
    partial: bool = False
    limit_is_terminal: bool = False

    def reset(self, key: jax.Array, partial: jax.Array | None = None) -> tuple[EnvState, TimeStep]:
        """A new episode. `key` is uint32[2] key data or a typed key; `partial` may be traced."""
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            key = jax.random.key_data(key)
        seed = key
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
        time_step = self._time_step(state, jnp.float32(0), jnp.asarray(False), jnp.asarray(False), jnp.asarray(True))
        return _vary_like(seed, (state, time_step))

    def step(self, state: EnvState, action: jax.Array) -> tuple[EnvState, TimeStep]:
        """One step, or the start of a new episode if the last one was over."""
        key, step_key, reset_key = jax.random.split(jax.random.wrap_key_data(state.key), 3)
        start = state.over
        stepped, reward, terminal = self.game.step(state.latent.game, action, step_key)
        fresh = self.game.reset(reset_key)
        game = jax.tree.map(lambda new, old: jnp.where(start, new, old), fresh, stepped)
        reward = jnp.where(start, 0.0, reward).astype(jnp.float32)
        terminal = terminal & ~start
        at_limit = ~start & ~terminal & self._at_limit(game)
        terminal, truncated = (
            (terminal | at_limit, at_limit & False) if self.limit_is_terminal else (terminal, at_limit)
        )
        over, episode_return = terminal | truncated, jnp.where(start, 0.0, state.episode_return + reward)
        state = EnvState(
            latent=Latent(game, state.latent.partial),
            over=over,
            key=jax.random.key_data(key),
            episode_return=episode_return,
            episode_length=jnp.where(start, 0, state.episode_length + 1),
            last_return=jnp.where(over, episode_return, state.last_return),
        )
        return state, self._time_step(state, reward, terminal, truncated, start)

    def draw(self, latent: Latent) -> jax.Array:
        """The observation of a latent state; bit-equal to what `step` returned for it."""
        return self.game.draw(latent.game, latent.partial)

    def _at_limit(self, game) -> jax.Array:
        if self.game.time_limit is None:
            return jnp.asarray(False)
        return game.time >= self.game.time_limit

    def _time_step(self, state, reward, terminal, truncated, start) -> TimeStep:
        return TimeStep(self.draw(state.latent), reward, terminal, truncated, start)


def _vary_like(key, tree):
    """The same tree. Inside `jax.shard_map` its constants vary over devices as `key` does: a scan may carry them."""
    either = key[0] == 0
    return jax.tree.map(lambda leaf: jnp.where(either, leaf, leaf), tree)


def make(name: str, partial_obs: bool = False, obs_size: int = 128, rules: str = "strict") -> Environment:
    """An environment by name; `podarcade.make` describes the arguments.

    Raises:
      ValueError: there is no such name, size or rule set; says which there are.
    """
    known = environment_names()
    if name not in known:
        raise ValueError(f"no environment {name!r}; {plugins.did_you_mean(name, list(known))}")
    game, level = known[name]
    return Environment(game(obs_size=obs_size, rules=rules, **game.LEVELS[level]), partial=partial_obs)


def environment_names() -> dict[str, tuple[type[Game], str]]:
    """All environments: name -> (game, level)."""
    games = [plugins.find("games", module) for module in plugins.names("games")]
    return {game.__name__ + level.capitalize(): (game, level) for game in games for level in game.LEVELS}
