"""TMazeActive: TMaze whose cue has to be fetched first."""

import dataclasses

from podarcade.envs.tasks.tmaze import TMaze


@dataclasses.dataclass(frozen=True)
class TMazeActive(TMaze):
    """TMaze that starts one cell beside its oracle (Ni et al. 2023): the agent has to look for the cue.

    Everything but `oracle_length` = 1 is TMaze's. Episodes have L + 3 actions; returns are in [-1 - 1/L, 1].

    - twin: history.
    - channel: closed. Without the oracle two actions are free, but nothing is worth storing in them. The best policy
      without memory walks right and guesses, 0.5; a random policy has -0.973 and -0.995 at the first two levels. The
      best one steps left and sees the cue, 1.
    """

    oracle_length: int = 1

    @property
    def RETURNS(self) -> tuple[float, float]:
        """Range of returns: L + 1 actions can be late, and the goal missed."""
        return -1.0 - self.oracle_length / self.corridor_length, 1.0
