"""The quirks of the released trainers, each behind a switch of its own; all are off unless asked for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Compat:
    """Which quirks of the released POPGym Arcade trainers are reproduced.

    The default learns without any of them. With all of them on, and the sizes of `configs/popgym_arcade/`, a run is what the
    released code does; each switched off by itself is one row of an ablation: what did the quirk cost?

    An algorithm refuses those that it does not have.

    Attributes:
      epsilon_horizon: ε falls M times slower than its hyper-parameters say, M the number of minibatches.
      window_loss: the W slots before a rollout are learnt from instead of warming the memory up, so W - 1 transitions
        are learnt from in two updates; the newest one waits for the next update.
      stale_carry: sequences begin with the memory that the actors had there, under parameters that are an update old:
        `carry` is "stored" then, instead of "recomputed".
      action_leak: the first step of an episode sees the last action of the episode before, and the first of all sees
        action 0; otherwise a first step sees none.
      limit_is_terminal: a time limit ends an episode for good, with no value beyond, instead of truncating it. By the
        published rules of the games it does so anyway: the switch tells under the strict ones alone.
      held_return: the published training metric is written too, as `train/return_held`: the return of the last
        finished episode, 0 before there is one, averaged over all slots. So an episode counts as often as the next one
        is long.
      off_by_one: λ-returns of the feed-forward trainers: `returns.misplaced_values`.
      feed_forward: targets are computed once per update, by the parameters that acted, and minibatches are of single
        transitions: how the released agent without memory is trained, so that it differs from the others in more than
        memory. Theirs are drawn from all environments and times at random; ours have as many of every environment, and
        one of every M steps in a row.
      frozen_targets: of DQN: there is no target network, and what a transition is learnt from is the return that the
        network gave when it was stored.
      no_action: of PPO: networks are not shown the action before.
    """

    epsilon_horizon: bool = False
    window_loss: bool = False
    stale_carry: bool = False
    action_leak: bool = False
    limit_is_terminal: bool = False
    held_return: bool = False
    off_by_one: bool = False
    feed_forward: bool = False
    frozen_targets: bool = False
    no_action: bool = False
