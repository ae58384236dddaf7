"""A trained agent, loaded from the folder of a run: it acts, is evaluated, and shows its outputs.

    agent = podarcade.load("runs/mine")
    returns = agent.evaluate(episodes=100)  # float64[100]

The methods are pure functions of the agent, which is a pytree of its parameters: `jax.jit`, `jax.vmap` and `jax.grad`
work through them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade import configuration, plugins
from podarcade.agents.fitting import abstract_params, check_fit
from podarcade.agents.records import Carry, Origin, Trajectory
from podarcade.algorithms import Algorithm, Params
from podarcade.anakin import sharding
from podarcade.anakin.evaluate import TWINS, Evaluator, by_twin
from podarcade.configuration import FrozenConfigDict
from podarcade.configuration.components import make_environment, title
from podarcade.envs.environment import Environment
from podarcade.runtime.evaluation import GREEDY, KEY_SEED
from podarcade.runtime.leaves import named_leaves, signatures
from podarcade.types import Batch, Pytree, Slots, TimeStep

PLAYERS = 1024  # episodes that are played at once, where there are more: bounds the memory of an evaluation


@struct.dataclass
class Agent:
    """The policy of one seed of a run, after some of its updates.

    Attributes:
      params: parameters by group.
      algorithm: how to act, and the network.
      environment: what it was trained on, on the twin that training ended with.
      origin: configuration of the run, seed and number of updates; see `config`, `seed` and `updates`.
    """

    params: Params
    algorithm: Algorithm = struct.field(pytree_node=False)
    environment: Environment = struct.field(pytree_node=False)
    origin: Origin = struct.field(pytree_node=False)

    @property
    def config(self) -> FrozenConfigDict:
        """The configuration of the run, with the environment that the agent is in."""
        return self.origin.config

    @property
    def seed(self) -> int:
        """The seed of the parameters, one of those of the run."""
        return self.origin.seed

    @property
    def updates(self) -> int:
        """Number of updates that made the parameters."""
        return self.origin.updates

    def __repr__(self) -> str:
        return f"<{title(self.config)}, seed {self.seed} after {self.updates} updates>"

    # Acting.

    def initial(self, batch: int) -> Carry:
        """Return the carry of `batch` environments before their first step."""
        none = self.algorithm.initial_action(batch)
        return Carry(memory=self.algorithm.initial(batch), previous_action=none, action=none)

    def timestep(self, observation: Any, start: Any, reward: Any = 0.0) -> TimeStep:
        """Return the time steps of B environments of another library, for `act`.

        Args:
          observation: [B, ...].
          start: bool[B], or one for all: whether these are first observations of an episode.
          reward: float32[B], or one for all, of the steps that led there; 0 at a start.
        """
        observation = jnp.asarray(observation)
        start, reward = (jnp.broadcast_to(jnp.asarray(x), observation.shape[:1]) for x in (start, reward))
        never = jnp.zeros_like(start, bool)
        return TimeStep(observation, reward.astype(jnp.float32), never, never, start.astype(bool))

    def act(
        self, carry: Carry, timestep: TimeStep, key: jax.Array | None = None, greedy: bool = True
    ) -> tuple[Carry, jax.Array]:
        """Choose actions for B environments.

        Args:
          carry: from `initial` or the last `act`.
          timestep: fields [B, ...], from `environment` or from `timestep`. A start resets the memory.
          key: a typed PRNG key; needed unless greedy.
          greedy: whether to take the best action. Otherwise a stochastic policy is sampled, and an ε-greedy one
            explores as at the end of training.

        Returns:
          The new carry, and actions int32[B] or float32[B, A].

        Raises:
          ValueError: not greedy, and no key.
        """
        if key is None and not greedy:
            raise ValueError("greedy=False without a key; expected key=jax.random.key(...)")
        batch = len(timestep.start)
        keys = jax.random.key_data(jax.random.split(jax.random.key(0) if key is None else key, batch))
        previous = self._previous_action(carry, timestep)
        memory, action, _ = self.algorithm.act(
            self.params, carry.memory, timestep, previous, keys, jnp.float32(self._exploration(greedy))
        )
        return Carry(memory=memory, previous_action=previous, action=action), action

    def outputs(self, carry: Carry, timestep: TimeStep) -> dict[str, jax.Array]:
        """Return the outputs of the network that `act` decides by, [B, ...].

        They are {"q": float32[B, n]} of PQN and DQN; of PPO {"value": float32[B]} with {"logits": float32[B, n]} or,
        for continuous actions, {"mean": float32[B, A], "log_std": float32[B, A]}. Values are discounted sums of
        rewards, whatever `reward_scale` was.
        """
        previous = self._previous_action(carry, timestep)
        return self.algorithm.named_outputs(self.algorithm.apply_step(self.params, carry.memory, timestep, previous)[1])

    def unroll(self, memory: Pytree, timestep: TimeStep, previous_action: jax.Array) -> dict[str, jax.Array]:
        """Return the outputs along T steps that were seen, [T, B, ...], by the memory's scan over time.

        Args:
          memory: recurrent state before the first step, [B, ...]: `Trajectory.carry.memory` at time 0.
          timestep: fields [T, B, ...].
          previous_action: int32[T, B] or float32[T, B, A], as in `Trajectory`.
        """
        batch = _batch(memory, timestep, previous_action)
        return self.algorithm.named_outputs(self.algorithm.apply(self.params, batch)[1])

    def encode(self, timestep: TimeStep, previous_action: jax.Array) -> Pytree:
        """Return the features of observations [T, B, ...], which `unroll` takes in place of the observations.

        Changing the features of one step replays an episode with another observation there, without encoding all the
        others again. Arguments as of `unroll`.
        """
        memory = self.algorithm.initial(previous_action.shape[1])
        return self.algorithm.encode(self.params, _batch(memory, timestep, previous_action))

    def attention(self, memory: Pytree, timestep: TimeStep, previous_action: jax.Array) -> list[jax.Array]:
        """Return the weights of each attention layer along steps that were seen, float32[T, B, T], means over heads.

        The list is empty for memories that do not attend to single steps. Arguments as of `unroll`.
        """
        return self.algorithm.attention(self.params, _batch(memory, timestep, previous_action))

    def rollout(
        self,
        length: int,
        batch: int = 1,
        key: jax.Array | None = None,
        partial: bool | jax.Array | None = None,
        greedy: bool = True,
    ) -> Trajectory:
        """Play `length` steps of `batch` environments, which start new episodes where one ends.

        Args:
          length: T.
          batch: B.
          key: a typed PRNG key of episodes and actions; None for `jax.random.key(0)`.
          partial: whether the partial twin is seen; None for that of `environment`.
          greedy: see `act`.
        """
        key = jax.random.key(0) if key is None else key
        partial = self.environment.partial if partial is None else partial
        return _rollout(self, key, jnp.asarray(partial), length, batch, greedy)

    def _previous_action(self, carry: Carry, timestep: TimeStep) -> jax.Array:
        return self.algorithm.next_previous_action(carry.previous_action, carry.action, timestep.start)

    def _exploration(self, greedy: bool) -> Any:
        return GREEDY if greedy else self.algorithm.exploration(jnp.float32(1.0))

    # Evaluation.

    def evaluate(
        self,
        episodes: int | None = None,
        partial: bool | None = None,
        seed: int | None = 0,
        greedy: bool = True,
        **other,
    ) -> np.ndarray:
        """Return the undiscounted return of each episode, float64[episodes].

        Args:
          episodes: number of whole episodes; None for that of the run's own evaluations.
          partial: whether the partial twin is played; None for that of `environment`.
          seed: which starts are played, by none of the run's evaluations and in none of its training. None plays
            those of the run's evaluations: with its number of episodes, the mean is the `eval/return_*` that the run
            recorded.
          greedy: see `act`.
          **other: see `on`.
        """
        partial = self.environment.partial if partial is None else partial
        return self.play(episodes, seed, greedy, **other)[f"return_{TWINS[int(partial)]}"]

    def play(
        self, episodes: int | None = None, seed: int | None = 0, greedy: bool = True, **other
    ) -> dict[str, np.ndarray]:
        """Return returns and lengths of whole episodes on both twins, from the same starts.

        Args: as those of `evaluate`.

        Returns:
          {"return_full": float64[episodes], "length_full": ..., "return_partial": ..., "length_partial": ...}.
        """
        agent = self.on(**other) if other else self
        episodes = self.config.evaluation.episodes if episodes is None else episodes
        key = jax.random.key(KEY_SEED) if seed is None else jax.random.fold_in(jax.random.key(KEY_SEED + 1), seed)
        params, exploration = jax.tree.map(lambda x: x[None], agent.params), np.float32(agent._exploration(greedy))
        program = _evaluation(agent.algorithm, agent.environment, episodes)
        lanes = program(params, jax.random.key_data(key), np.zeros(1, np.uint32), exploration)
        return {name: values[0] for name, values in by_twin(jax.device_get(lanes)).items()}

    # Other environments.

    def on(
        self,
        level: str | None = None,
        partial: bool | None = None,
        game: str | None = None,
        strict: bool = True,
        **options: Any,
    ) -> "Agent":
        """Return the agent in another environment.

        Args:
          level: of the game; None for that of the run, with its own fields where it changed them.
          partial: which twin `environment` shows; None for the current one.
          game: another game of the same shapes, with strict=False.
          strict: whether another game is refused.
          **options: `obs_size`, `rules`, `limit_is_terminal`, or fields of the game.

        Raises:
          ValueError: no such game, level or option, or the network does not fit.
        """
        section = self.config.environment
        if game is not None and strict and plugins.canonical(game) != section.name:
            raise ValueError(f"the agent was trained on {section.name}; game={game} is another one: give strict=False")
        config = configuration.ConfigDict(self.config.to_dict())
        if game is not None or level is not None:
            chosen = {"game": game or section.name, "level": level or section.level, "partial": True}
            configuration.check_level(chosen["game"], chosen["level"])
            config.environment = configuration.environment(configuration.ConfigDict(chosen))
            for name in ("obs_size", "rules", "limit_is_terminal"):
                config.environment[name] = section[name]
        known = set(config.environment) - {"name", "level", "observability"}
        for name, value in options.items():
            configuration.check_choice("option", name, known)
            try:
                config.environment[name] = value
            except TypeError:
                expected = type(config.environment[name]).__name__
                raise ValueError(f"{name}={value!r}; expected a value of type {expected}") from None
        partial = self.environment.partial if partial is None else partial
        config.environment.observability = TWINS[int(partial)]
        environment = make_environment(config)
        check_fit(self.algorithm, environment, signatures(named_leaves(self.params)), title(config))
        origin = dataclasses.replace(self.origin, config=FrozenConfigDict(config))
        return self.replace(environment=environment, origin=origin)


@functools.lru_cache(maxsize=32)
def _evaluation(algorithm: Algorithm, environment: Environment, episodes: int) -> Callable:
    """Return the compiled evaluation of one seed."""
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), abstract_params(algorithm, environment))
    players = PLAYERS if episodes > PLAYERS else 0
    return Evaluator(algorithm, environment, sharding.make_mesh(1, 1), episodes, players).compile(one)


def _batch(memory: Pytree, timestep: TimeStep, previous_action: jax.Array) -> Batch:
    slots = Slots(latent=None, action=previous_action, previous_action=previous_action, **vars(timestep))
    return Batch(slots=slots, carry=memory)


@functools.partial(jax.jit, static_argnames=("length", "batch", "greedy"))
def _rollout(agent: Agent, key: jax.Array, partial: jax.Array, length: int, batch: int, greedy: bool) -> Trajectory:
    environment = agent.environment
    start_key, act_key = jax.random.split(key)
    partial = jnp.broadcast_to(partial, batch)
    env, timestep = jax.vmap(environment.reset)(jax.random.split(start_key, batch), partial)

    def step(state, index):
        env, timestep, carry = state
        outputs = agent.outputs(carry, timestep)
        new_carry, action = agent.act(carry, timestep, jax.random.fold_in(act_key, index), greedy)
        seen = Trajectory(env.latent, timestep, new_carry.previous_action, action, outputs, carry)
        return (*jax.vmap(environment.step)(env, action), new_carry), seen

    _, trajectory = jax.lax.scan(step, (env, timestep, agent.initial(batch)), jnp.arange(length))
    return trajectory
