"""Peer that trains with PPO or PQN of rejax, which have no memory.

`train` continues from the state of the call before. Its evaluation runs inside of the same program: the initial one is
switched off by `skip_initial_evaluation`, later ones by an `eval_callback` that does nothing. Other options keep their
defaults.
"""

import jax
import rejax
from rejax.networks import DiscreteQNetwork, EpsilonGreedyPolicy

from benchmarks.peers import gymnax0_tasks, whole_program


def make(setting: whole_program.Setting) -> whole_program.Training:
    """Return the training of a network with two dense layers.

    Raises:
      ValueError: another algorithm or memory than it has.
    """
    if setting.algorithm not in ("ppo", "pqn") or setting.memory != "none":
        raise ValueError(f"{setting.algorithm}, {setting.memory}; rejax has ppo and pqn without memory")
    environment, parameters = gymnax0_tasks.make(setting.task)
    frames, layers = setting.frames, (setting.width, setting.width)
    options = {"agent_kwargs": {"hidden_layer_sizes": layers}} if setting.algorithm == "ppo" else {}
    trainer = getattr(rejax, setting.algorithm.upper()).create(
        env=environment, env_params=parameters, num_envs=setting.envs, num_steps=setting.rollout_length,
        num_epochs=setting.num_epochs, num_minibatches=setting.num_minibatches, total_timesteps=frames,
        eval_freq=frames, skip_initial_evaluation=True,
        **options,
    )  # fmt: skip
    trainer = trainer.replace(eval_callback=lambda trainer, state, key: ())
    if setting.algorithm == "pqn":  # `create` has no option for the sizes of its layers
        names = ("action_dim", "activation")
        network = EpsilonGreedyPolicy(DiscreteQNetwork)
        kept = {name: getattr(trainer.agent, name) for name in names}
        trainer = trainer.replace(agent=network(hidden_layer_sizes=layers, **kept))
    return whole_program.Training(
        train=lambda state: trainer.train(train_state=state),
        arguments=(jax.jit(trainer.init_state)(jax.random.PRNGKey(0)),),
        proceed=lambda results: results[:1],
        params=lambda results: [getattr(results[0], name).params for name in networks(setting.algorithm)],
    )


def networks(algorithm: str) -> tuple[str, ...]:
    """Return the fields of the training state that hold parameters."""
    return ("actor_ts", "critic_ts") if algorithm == "ppo" else ("q_ts",)


if __name__ == "__main__":
    whole_program.Server(make, "rejax", "gymnax", "distrax", "flax", "optax", "jax").serve()
