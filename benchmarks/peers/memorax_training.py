"""Peer that trains with the recurrent PPO or PQN of memorax.

`train` continues from the state of the call before and returns every transition without its observations; evaluation is
a program of its own, which is not called. The network is composed of the library's own blocks so that it has our size:
a dense layer, the memory in a gated pre-norm residual block, and a pre-norm residual block with a hidden layer of twice
the width. PPO has one such network for the actor and one for the critic. Options are those of the library's example.
"""

import jax
import optax
from flax import linen as nn
from memorax import networks
from memorax.algorithms import PPO, PQN, PPOConfig, PQNConfig
from memorax.networks import heads

from benchmarks.peers import gymnax0_tasks, whole_program


def network(memory: str, width: int, head: nn.Module) -> networks.Network:
    """Return a network with one memory layer, "gru" or "lru", and a head."""
    layers = {
        "gru": lambda: networks.RNN(cell=nn.GRUCell(features=width)),
        "lru": lambda: networks.Memoroid(cell=networks.LRUCell(features=width, hidden_dim=width)),
    }
    blocks = (
        networks.GatedResidual(networks.PreNorm(layers[memory]())),
        networks.Residual(networks.PreNorm(networks.FFN(features=width, expansion_factor=2))),
    )
    extractor = networks.FeatureExtractor(observation_extractor=networks.MLP(features=(width,)))
    return networks.Network(extractor, networks.Stack(blocks=blocks), head)


def make(setting: whole_program.Setting) -> whole_program.Training:
    """Return the training."""
    environment, parameters = gymnax0_tasks.make(setting.task)
    actions = environment.action_space(parameters).n
    schedule = {
        "name": setting.algorithm, "num_envs": setting.envs, "num_eval_envs": 1,
        "num_steps": setting.rollout_length, "gamma": 0.99, "num_minibatches": setting.num_minibatches,
        "update_epochs": setting.num_epochs,
    }  # fmt: skip
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-4))
    if setting.algorithm == "ppo":
        config = PPOConfig(
            gae_lambda=0.95, normalize_advantage=True, clip_coef=0.2, clip_vloss=True, ent_coef=0.01, vf_coef=0.5,
            **schedule,
        )  # fmt: skip
        actor, critic = (
            network(setting.memory, setting.width, head) for head in (heads.Categorical(actions), heads.VNetwork())
        )
        trainer = PPO(config, environment, parameters, actor, critic, optimiser, optimiser)
    else:
        config = PQNConfig(td_lambda=0.95, **schedule)
        values = network(setting.memory, setting.width, heads.DiscreteQNetwork(actions))
        trainer = PQN(config, environment, parameters, values, optimiser, optax.constant_schedule(0.1))
    return whole_program.Training(
        train=lambda key, state: trainer.train(key, state, setting.frames),
        arguments=trainer.init(jax.random.key(0)),
        proceed=lambda results: results[:2],
        params=lambda results: [getattr(results[1], name) for name in parameter_fields(setting.algorithm)],
    )


def parameter_fields(algorithm: str) -> tuple[str, ...]:
    """Return the fields of the training state that hold parameters."""
    return ("actor_params", "critic_params") if algorithm == "ppo" else ("params",)


if __name__ == "__main__":
    whole_program.Server(make, "memorax", "gymnax", "distrax", "flax", "optax", "jax").serve()
