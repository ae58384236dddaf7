"""Episodes that a diagnostic looks at: played greedily once, then replayed with changed observations.

A replay is teacher-forced: actions, rewards and starts are those of the episode, whatever the changed observations
would have led to, so that a difference in the outputs is due to the observations alone.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.diagnostics import Agent
from podarcade.envs.games import Game
from podarcade.types import Latent, Pytree, TimeStep

LONGEST = 128  # steps, unless more are asked for
MAX_ENCODED_BYTES = 2**25  # of observations that are encoded at a time, 680 frames of 128 pixels
TAIL, MAX_TAILS = 32, 4  # steps that an episode has at least for each of its tails, and how many are compiled at most


@struct.dataclass
class Episodes:
    """The first episode of each of B environments, up to T steps that ask for an action."""

    latent: Latent  # [T, B]  states, which `environment.draw` takes
    timestep: TimeStep  # [T, B]  what the agent saw
    previous_action: jax.Array  # int32[T, B] or float32[T, B, A]  what it saw of its actions
    action: jax.Array  # likewise, what it did
    memory: Pytree  # [B, ...]  recurrent state before the first step
    memories: Pytree  # [T, B, ...]  recurrent state before each step; costs nothing where it is not used
    inside: jax.Array  # bool[T, B]  steps of the episode that ask for an action
    last: jax.Array  # int32[B]  the last of them
    complete: jax.Array  # bool[B]  whether the episode ended within T steps

    @property
    def lane(self) -> jax.Array:
        """Index of each environment, int32[B]."""
        return jnp.arange(len(self.last))


TIMED = ("latent", "timestep", "previous_action", "action", "memories", "inside")  # fields of `Episodes`, [T, B, ...]


def steps_of(game: Game, asked: int) -> int:
    """Return how many steps are played: `asked`, or if that is 0 those of the longest episode, up to `LONGEST`."""
    return asked or min(getattr(game, "max_steps", LONGEST), LONGEST)


def num_groups(agent: Agent, episodes: int, length: int) -> int:
    """Return the smallest number of equal groups of episodes, one at a time of which fits into `MAX_ENCODED_BYTES`."""
    _, timestep = jax.eval_shape(agent.environment.reset, jax.random.key(0))
    size = timestep.observation.size * timestep.observation.dtype.itemsize * length
    fits = [n for n in range(1, episodes + 1) if episodes % n == 0 and size * (episodes // n) <= MAX_ENCODED_BYTES]
    return (fits or [episodes])[0]


def join_groups(tree: Pytree) -> Pytree:
    """Return arrays [G, T, B, ...] of groups as [T, G B, ...]."""

    def join(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], x.shape[0] * x.shape[2], *x.shape[3:])

    return jax.tree.map(join, tree)


def play(agent: Agent, key: jax.Array, episodes: int, length: int, partial: jax.Array | None = None) -> Episodes:
    """Play greedily.

    Args:
      agent: the agent.
      key: a typed PRNG key.
      episodes: B.
      length: T.
      partial: bool[], whether the partial twin is seen; None for that of the agent's environment.
    """
    other = {} if partial is None else {"partial": partial}
    played = agent.rollout(length + 1, episodes, key, **other)  # a last step, to see an episode of `length` actions end
    first = jnp.cumsum(played.timestep.start.astype(jnp.int32), axis=0) == 1
    over = first & (played.timestep.terminal | played.timestep.truncated)
    seen, inside = jax.tree.map(lambda x: x[:length], played), (first & ~over)[:length]
    return Episodes(
        latent=seen.latent,
        timestep=seen.timestep,
        previous_action=seen.previous_action,
        action=seen.action,
        memory=agent.initial(episodes).memory,
        memories=seen.carry.memory,
        inside=inside,
        last=length - 1 - jnp.argmax(inside[::-1], axis=0),
        complete=over.any(axis=0),
    )


def replay(agent: Agent, episodes: Episodes, observation: Pytree | None = None) -> jax.Array:
    """Return what the decision at each step is made of, float32[T, B, A], teacher-forced.

    Args:
      agent: the agent.
      episodes: of B environments.
      observation: [T, B, ...] instead of what was seen: observations, or what `Agent.encode` made of them.
    """
    timestep = episodes.timestep
    if observation is not None:
        timestep = timestep.replace(observation=observation)
    return decision(agent.unroll(episodes.memory, timestep, episodes.previous_action))


def tails(agent: Agent, episodes: Episodes, features: Pytree) -> list[tuple[int, int, Episodes]]:
    """Return the ends of episodes from some times on, to replay what differs from a later step only.

    Replays of a disturbance at each of T steps take T / 2 steps on average instead of T, if they start there; with 4
    tails, which are as many programs, 5 T / 8. What is replayed from the start of a tail is to be compared with an
    undisturbed replay from the same start: by the same program it differs by no rounding.

    Args:
      agent: the agent.
      episodes: of B environments and T steps.
      features: of all observations, leaves [T, B, ...].

    Returns:
      A list of (begin, end, episodes from `begin` on), where [begin, end) are consecutive parts of [0, T). Times in
      these episodes count from `begin`: `last` is negative where an episode had ended.
    """
    length = len(episodes.inside)
    size = -(-length // max(1, min(MAX_TAILS, length // TAIL)))
    inputs = episodes.timestep.replace(observation=features), episodes.previous_action
    found, memory = [], episodes.memory
    for begin in range(0, length, size):
        end = min(begin + size, length)
        timed = {name: getattr(episodes, name) for name in TIMED}
        later = jax.tree.map(lambda x, begin=begin: x[begin:], timed)
        found.append((begin, end, episodes.replace(memory=memory, last=episodes.last - begin, **later)))
        if end < length:
            part = jax.tree.map(lambda x, begin=begin, end=end: x[begin:end], inputs)
            memory, _ = jax.lax.scan(lambda memory, now: (step(agent, memory, *now)[0], None), memory, part)
    return found


def map_steps(episodes: Episodes, function: Callable[..., Pytree], times: jax.Array, *others: jax.Array) -> Pytree:
    """Return function(time, ...) of each of n times, one after another, leaves [n, ...].

    It is zero, and nothing is computed, at times after the last decision of all episodes.

    Args:
      episodes: of B environments.
      function: called with a time int32[], and one of each of `others`.
      times: int32[n].
      *others: [n, ...].
    """
    longest, items = jnp.max(episodes.last), (times, *others)
    found = jax.eval_shape(function, *(x[0] for x in items))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), found)
    return jax.lax.map(lambda item: jax.lax.cond(item[0] <= longest, function, lambda *_: nothing, *item), items)


def encode_step(agent: Agent, episodes: Episodes, observation: jax.Array, time: jax.Array) -> Pytree:
    """Return the features of what all episodes show at one time, leaves [B, ...].

    Steps that are encoded one after another do not hold the activations of all frames at once.

    Args:
      agent: the agent.
      episodes: of B environments.
      observation: [B, ...], what they show.
      time: int32[].

    Raises:
      ValueError: the network sees no observations.
    """
    steps = jax.tree.map(lambda x: x[time][None], (episodes.timestep, episodes.previous_action))
    features = agent.encode(steps[0].replace(observation=observation[None]), steps[1])
    if not jax.tree.leaves(features):
        raise ValueError("the network sees no observation; this diagnostic needs network.inputs with o, such as oa")
    return jax.tree.map(lambda x: x[0], features)


def encode(agent: Agent, episodes: Episodes) -> Pytree:
    """Return the features of all observations of episodes, leaves [T, B, ...], which `replay` takes in their place."""
    times = jnp.arange(len(episodes.inside))
    return jax.lax.map(lambda time: encode_step(agent, episodes, episodes.timestep.observation[time], time), times)


def step(
    agent: Agent, memory: Pytree, timestep: TimeStep, previous_action: jax.Array
) -> tuple[Pytree, dict[str, jax.Array]]:
    """Return the recurrent state after one step of B environments, and the outputs, [B, ...].

    Scanned over an episode it gives what `replay` does, and the memory on the way, from whatever memory it is given.

    Args:
      agent: the agent.
      memory: recurrent state before the step, [B, ...].
      timestep: fields [B, ...]; the observation may be one step of what `Agent.encode` returned.
      previous_action: int32[B] or float32[B, A].
    """
    memory, outputs = agent.algorithm.apply_step(agent.params, memory, timestep, previous_action)
    return memory, agent.algorithm.named_outputs(outputs)


def decision(outputs: dict[str, jax.Array]) -> jax.Array:
    """Return what a greedy decision is made of, float32[..., A].

    These are action values; of a stochastic policy the log-probabilities, since logits are defined up to a constant
    only; of a Gaussian one its mean.
    """
    if "logits" in outputs:
        return jax.nn.log_softmax(outputs["logits"])
    for name in ("q", "mean"):
        if name in outputs:
            return outputs[name]
    raise ValueError(f"outputs {', '.join(outputs)}; expected logits, q or mean: override Algorithm.named_outputs")


def preferences(values: jax.Array, discrete: bool = True) -> jax.Array:
    """Return decisions without what all actions share, float32[..., A]: the mean over actions is subtracted.

    The continuous action of a Gaussian policy is returned as it is.
    """
    return values - jnp.mean(values, axis=-1, keepdims=True) if discrete else values
