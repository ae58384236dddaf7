"""Small algorithms and updaters on probe games, for tests."""

import jax
import jax.numpy as jnp
import numpy as np

from podarcade import plugins
from podarcade.actions import Discrete
from podarcade.algorithms.dqn import DQN
from podarcade.algorithms.ppo import PPO
from podarcade.algorithms.pqn import PQN
from podarcade.anakin import rollout, sharding
from podarcade.anakin.evaluate import Evaluator, by_twin
from podarcade.anakin.update import Updater
from podarcade.envs.environment import Environment
from podarcade.models.trunks import Trunk

OPTIONS = {"rollout_length": 16, "burn_in": 4, "num_epochs": 2, "num_minibatches": 2, "learning_rate": 2e-3}
REPLAY = {"capacity": 2048, "target_rate": 0.05}  # a small buffer and a fast target network


def make(kind, memory="lru", num_actions=2, width=16, actions=None, layers=1, encoder="patch", **options):
    """A small algorithm of a class; options are its fields."""
    trunk = Trunk(
        encoder=plugins.find("encoders", encoder),
        memory=plugins.find("memory", memory),
        actions=actions or Discrete(num_actions),
        width=width,
        layers=layers,
    )
    replay = REPLAY if issubclass(kind, DQN) else {}
    return kind(trunk=trunk, **(OPTIONS | replay | options))


def pqn(memory="lru", kind=PQN, **options):
    """A small PQN."""
    return make(kind, memory, **options)


def ppo(memory="lru", kind=PPO, **options):
    """A small PPO."""
    return make(kind, memory, **options)


def dqn(memory="lru", kind=DQN, **options):
    """A small DQN."""
    return make(kind, memory, **options)


def updater(game, algorithm, *, mesh=(1, 1), num_envs=16, updates=10, **environment):
    """An updater of a game on a mesh of the given shape."""
    return Updater(algorithm, Environment(game, **environment), sharding.make_mesh(*mesh), num_envs, updates)


def run(updater, updates, seeds=(0,)):
    """The state and the metrics after some updates from scratch."""
    state = updater.init(jnp.asarray(seeds, jnp.int32))
    return updater.compile(state, updates)(state)


def distance(one, other):
    """The greatest difference between two trees."""
    return max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def rolled_out(algorithm, environment, *, batch=4, exploration=1.0, rollouts=2):
    """Random parameters, and the trajectories of some rollouts one after the other, made by compiled programs."""
    keys = jax.random.key_data(jax.random.split(jax.random.key(0), batch))

    @jax.jit
    def begin(keys):
        _, timestep = environment.reset(jax.random.key(0))
        actors = rollout.init_actors(algorithm, environment, keys)
        params = algorithm.init(jax.random.key(1), timestep)
        return params, actors.replace(history=rollout.init_history(algorithm, actors, algorithm.history_length))

    params, actors = begin(keys)
    step = jax.jit(lambda actors: rollout.rollout(algorithm, environment, params, actors, jnp.float32(exploration)))
    trajectories = []
    for _ in range(rollouts):
        actors, trajectory, _ = step(actors)
        trajectories.append(trajectory)
    return params, trajectories


def drawn(environment, trajectory):
    """The batch as the learner sees it."""
    observation = jax.jit(jax.vmap(jax.vmap(environment.draw)))(trajectory.slots.latent)
    return trajectory.replace(slots=trajectory.slots.replace(latent=None, observation=observation))


def greedy(updater, state, episodes=32):
    """Mean greedy returns {"return_full": float64[S], ...} of a state."""
    evaluator = Evaluator(updater.algorithm, updater.environment, updater.mesh, episodes)
    key = jax.random.key_data(jax.random.key(9))
    params = state.learner.params
    first = np.zeros(len(jax.tree.leaves(params)[0]), np.uint32)
    found = by_twin(jax.device_get(evaluator.compile(params)(params, key, first, jnp.float32(0))))
    return {name: values.mean(axis=1) for name, values in found.items()}
