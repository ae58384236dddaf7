"""The loop: what it counts, and where it stops."""

import numpy as np
import pytest
from builders import pqn, updater
from probes import Probe

from podarcade.anakin import loop
from podarcade.anakin.rollout import Counts
from podarcade.anakin.update import Metrics


@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
def test_training_stops_at_a_number_that_is_none(name):
    """Of the last gradient step before a checkpoint, too, which no loss tells of."""
    trainer = updater(Probe(length=4), pqn("none"))
    run = loop.Run(trainer, None, (0,), updates_per_call=2, evaluate_every=1, save_every=1, keep=1, title="")
    one = np.ones((1, 2))
    metrics = Metrics(Counts(one, one, one, one, one), {"loss": one.copy(), "gradient_norm": one.copy()})
    progress = loop.Progress(0, np.zeros(1, np.int64), 0.0)
    loop._count(run, progress, metrics, began=0.0)
    metrics.means[name][0, 1] = np.nan
    with pytest.raises(FloatingPointError, match=f"the {name} is .* after 4 updates"):
        loop._count(run, progress, metrics, began=0.0)
