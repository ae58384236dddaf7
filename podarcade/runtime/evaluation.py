"""Evaluations of a run: the learnt policy along the way and at the end, and a random policy to compare with."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from podarcade.anakin.evaluate import by_twin
from podarcade.runtime import distributed
from podarcade.runtime.metrics import by_seed
from podarcade.runtime.run import Run

# All evaluations of a run, and of runs that are compared, use the same key: start i is the same episode in all of them.
KEY_SEED = 1_000_003
GREEDY, SAMPLED, RANDOM = 0.0, 1.0, np.inf  # values of `exploration`


class Evaluation:
    """The compiled evaluation of a run.

    The methods take a state and return metrics, numbers for one seed and lists for several. A deterministic policy is
    played greedily. A stochastic one (`Algorithm.STOCHASTIC`) is also sampled; those metrics have "sampled_" before
    their name. The seconds that an evaluation took are metrics too.
    """

    def __init__(self, run: Run, state: Any, stop_requested: Callable[[], int] = lambda: 0):
        """Compile the evaluation for parameters like those of `state`; `stop_requested` cuts diagnostics short."""
        self._program = run.evaluator.compile(state.learner.params)
        self._key = np.asarray(jax.random.key_data(jax.random.key(KEY_SEED)))
        self._policies = {"": GREEDY, "sampled_": SAMPLED} if run.updater.algorithm.STOCHASTIC else {"": GREEDY}
        self._diagnose, self._stop_requested = run.diagnose, stop_requested
        self._shared = np.zeros(len(run.seeds), np.uint32)
        self._fresh = ((np.asarray(run.seeds, np.uint64) + 1) * run.evaluator.episodes).astype(np.uint32)

    def learnt(self, state: Any) -> dict[str, Any]:
        """Return `eval/*`, on the starts that all evaluations, seeds and runs share, and what `diagnose` finds.

        The returns rank checkpoints. Once the run is asked to stop, diagnostics that have not been made are left out.
        """
        return self._play(state, "eval", self._shared, self._policies) | self._diagnosed(state)

    def _diagnosed(self, state: Any) -> dict[str, Any]:
        if self._diagnose is None:
            return {}
        params, updates = distributed.fetch((state.learner.params, state.learner.updates))
        if not distributed.is_first_process():
            return {}
        began, found = time.monotonic(), self._diagnose(params, int(updates[0]), self._stop_requested)
        metrics = {name: by_seed(np.asarray(value, float)) for name, value in found.items()}
        return metrics | {"diagnostics/seconds": time.monotonic() - began}

    def random(self, state: Any) -> dict[str, Any]:
        """Return `random/*`: a uniformly random policy on the shared starts."""
        return self._play(state, "random", self._shared, {"": RANDOM})

    def final(self, state: Any) -> dict[str, Any]:
        """Return `final/*`, on starts that no other evaluation plays, and that differ by seed.

        They have not been used to select anything, and their sampling error is part of the spread over seeds.
        """
        return self._play(state, "final", self._fresh, self._policies)

    def _play(self, state: Any, kind: str, first: np.ndarray, policies: dict[str, float]) -> dict[str, Any]:
        began, metrics = time.monotonic(), {}
        for prefix, exploration in policies.items():
            lanes = distributed.fetch(self._program(state.learner.params, self._key, first, np.float32(exploration)))
            found = by_twin(lanes)
            metrics |= {f"{kind}/{prefix}{name}": by_seed(value.mean(axis=1)) for name, value in found.items()}
        return metrics | {f"{kind}/seconds": time.monotonic() - began}
