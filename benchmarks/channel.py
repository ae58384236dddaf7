"""Measure how much a policy can write into its own actions for free, on every environment with discrete actions.

    python -m benchmarks.channel --json=benchmarks/results/channel.json

A network that sees its previous action can use it as a memory where actions are free: where several of them lead to the
same next state and the same reward. In the states of random play, the actions of a step fall into classes c of equal
outcome, for the same random key; the free bits of the step are

    b = Σ_c (|c| / n) log2 |c|

which is log2 n if no action matters, and 0 if each does something else. Bits are free only where one of the class is
worth taking: a good player of TMaze has none, though all moves but one are equally bad. Moves that can be taken back
later are not counted.
"""

import argparse
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import names
from podarcade.actions import Discrete
from podarcade.envs.environment import Environment, make
from podarcade.runtime import backend, provenance
from podarcade.runtime.run_files import write_json

BATCH, STEPS = 256, 60


def free_bits(environment: Environment) -> tuple[float, float]:
    """Return the mean of b over the states of random play, and the share of states in which b > 0."""
    game, number = environment.game, environment.game.actions.n

    def outcomes(state, key):
        state, reward, terminal = jax.vmap(lambda action: game.step(state, action, key))(jnp.arange(number))
        state = state.replace(time=jnp.zeros_like(state.time))
        leaves = [leaf.reshape(number, -1) for leaf in jax.tree.leaves((state, reward, terminal))]
        same = jnp.ones((number, number), bool)
        for leaf in leaves:
            same &= (leaf[:, None] == leaf[None]).all(-1)
        # XLA may compute a value twice, with different rounding: an action is like itself whatever it finds.
        return jnp.mean(jnp.log2((same | jnp.eye(number, dtype=bool)).sum(1)))

    def step(state, key):
        action_key, key = jax.random.split(key)
        bits = jax.vmap(outcomes)(state.latent.game, jax.random.split(key, BATCH))
        playing = ~state.over
        state, _ = jax.vmap(environment.step)(state, game.actions.sample(action_key, BATCH))
        return state, (bits, playing)

    state, _ = jax.jit(jax.vmap(environment.reset))(jax.random.split(jax.random.key(0), BATCH))
    _, (bits, playing) = jax.jit(lambda state, keys: jax.lax.scan(step, state, keys))(
        state, jax.random.split(jax.random.key(1), STEPS)
    )
    bits = np.asarray(bits)[np.asarray(playing)]
    return float(bits.mean()), float((bits > 0).mean())


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", default="", help="comma-separated names; empty: the first level of every one")
    parser.add_argument("--json", default="", help="file to write the result to; empty for none")
    options = parser.parse_args(arguments[1:])
    backend.configure(0)
    firsts = names.environments(tasks=False) + names.environments(tasks=True)
    rows = {}
    for name in options.games.split(",") if options.games else firsts:
        environment = make(name)
        if isinstance(environment.game.actions, Discrete):
            bits, share = free_bits(environment)
            rows[name] = {"bits": round(bits, 3), "share": round(share, 3), "actions": environment.game.actions.n}
            print(f"{name:32}{bits:8.3f} bits in {share:7.1%} of the states", flush=True)
    if options.json:
        write_json(pathlib.Path(options.json), provenance.collect(arguments) | {"rows": rows})


if __name__ == "__main__":
    main(sys.argv)
