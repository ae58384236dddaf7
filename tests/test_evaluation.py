"""Which policies and starts a run's evaluations play, and what they are called."""

import dataclasses

import numpy as np
import pytest
from builders import ppo, pqn, updater
from probes import Probe

from podarcade.runtime.evaluation import Evaluation
from podarcade.runtime.run import Run


@dataclasses.dataclass
class Asked:
    """An evaluator that returns what it was asked for as if it were returns, on a full and a partial lane."""

    episodes: int = 4

    def compile(self, params):
        return lambda params, key, first, exploration: {
            "return": np.stack([first.astype(np.float32), np.full(len(first), exploration)], axis=1)
        }


def evaluation(kind, seeds):
    trainer = updater(Probe(length=3), kind(memory="none"), updates=1)
    options = {"updates_per_call": 1, "evaluate_every": 1, "save_every": 1, "keep": 1, "title": ""}
    run = Run(trainer, Asked(), seeds, **options)
    return Evaluation(run, run.abstract_state()), run.abstract_state()


@pytest.mark.parametrize("kind", [pqn, ppo])
def test_a_stochastic_policy_is_evaluated_sampled_too(kind):
    found, state = evaluation(kind, (0, 7))
    sampled = kind is ppo
    for name, play in (("eval", found.learnt), ("final", found.final)):
        metrics = play(state)
        assert metrics[f"{name}/return_partial"] == [0.0, 0.0]
        assert metrics.get(f"{name}/sampled_return_partial") == ([1.0, 1.0] if sampled else None)
        assert metrics[f"{name}/seconds"] >= 0
    assert found.random(state)["random/return_partial"] == [np.inf, np.inf]
    assert not any("sampled" in name for name in found.random(state))


def test_final_evaluations_play_starts_that_no_other_plays():
    found, state = evaluation(pqn, (0, 7))
    shared, fresh = found.learnt(state)["eval/return_full"], found.final(state)["final/return_full"]
    assert shared == found.random(state)["random/return_full"] == [0.0, 0.0]
    played = [{*range(int(first), int(first) + Asked.episodes)} for first in (shared[0], *fresh)]
    assert len(set.union(*played)) == 3 * Asked.episodes


def test_the_largest_seed_has_starts():
    found, state = evaluation(pqn, (2**31 - 1,))
    assert np.isfinite(found.final(state)["final/return_full"])
