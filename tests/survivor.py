"""A small run for a process of its own that kills itself while it saves: python survivor.py WORKDIR SAVE MILLISECONDS.

With SAVE 0 it runs to the end, and prints the digests of its final state.
"""

import json
import os
import pathlib
import signal
import sys
import time

from builders import pqn, updater
from probes import Probe
from test_loop import Scores

from podarcade.runtime import loop
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.digests import digests
from podarcade.runtime.leaves import named_leaves

if __name__ == "__main__":
    workdir, last, milliseconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    trainer = updater(Probe(length=4, pays="match"), pqn(), updates=12)
    run = loop.Run(trainer, Scores([]), (0,), updates_per_call=1, evaluate_every=99, save_every=1, keep=3, title="")
    save, count = Checkpoints.save, 0

    def save_and_kill(*arguments):
        global count
        save(*arguments)
        count += 1
        if count == last:
            time.sleep(milliseconds / 1000)
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.save = save_and_kill
    state, *_ = loop.train(run, workdir)
    print("digests", json.dumps(digests(named_leaves(state))))
