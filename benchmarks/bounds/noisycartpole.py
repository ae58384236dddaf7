"""Players of NoisyCartPole."""

from benchmarks.bounds import Player, cartpole
from podarcade.envs.games.cartpole import CartPoleState
from podarcade.envs.games.noisycartpole import NoisyCartPole, NoisyCartPoleState


def seen(state: NoisyCartPoleState) -> cartpole.Seen:
    """What the frame of CartPole shows, of the noisy variables."""
    return cartpole.seen(CartPoleState(*state.seen, time=state.time, score=state.score))


def memoryless(game: NoisyCartPole) -> Player:
    """A table from both arrows to pushes, found by search."""
    return cartpole.table(game, seen)


def memory(game: NoisyCartPole) -> Player:
    """Balance by the estimate of a Kalman filter that takes each arrow for an interval of the speed."""
    return cartpole.filtering(seen, game.noise)
