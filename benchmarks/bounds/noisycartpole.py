"""Players of NoisyCartPole."""

from benchmarks.bounds import cartpole
from podarcade.envs.games.cartpole import CartPoleState
from podarcade.envs.games.noisycartpole import NoisyCartPoleState


def seen(state: NoisyCartPoleState) -> cartpole.Seen:
    """What the frame of CartPole shows, of the noisy variables."""
    return cartpole.seen(CartPoleState(*state.seen, time=state.time, score=state.score))
