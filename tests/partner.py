"""One of two processes, the second of which fails to save twice: python partner.py COORDINATOR INDEX WORKDIR.

Its share of the second checkpoint finds no room before it is written, and that of the third is too large while it is.
"""

import pathlib
import resource
import sys
import time

import jax

from podarcade.runtime import checkpoint, distributed, loop, supervisor
from podarcade.runtime.checkpoint import Checkpoints


def break_saves():
    """Makes the second and the third save fail in this process, and in no other."""
    save, check, count = Checkpoints.save, Checkpoints._check_space, 0

    def checked(self, size):
        if count == 2:
            raise OSError("no room here")
        check(self, size)

    def broken(*arguments):
        nonlocal count
        count += 1
        save(*arguments)
        time.sleep(0.5)  # in which it is written, or not
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 if count == 2 else -1, -1))

    Checkpoints.save, Checkpoints._check_space = broken, checked


if __name__ == "__main__":
    coordinator, index, workdir = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    jax.config.update("jax_num_cpu_devices", 1)
    distributed.join(distributed.detect(coordinator, 2, index, {}), peer_timeout=30)
    # Joining must precede the first use of a device, and these modules use devices.
    from builders import pqn, updater
    from probes import Probe
    from test_loop import Scores

    checkpoint.TIMEOUT, checkpoint.RETRY = (3.0, 1e9), (0.1, 1.0)
    if index == 1:
        break_saves()
    trainer = updater(Probe(length=4, pays="match"), pqn(), updates=8, mesh=(1, 2))
    run = loop.Run(trainer, Scores([]), (0,), updates_per_call=1, evaluate_every=99, save_every=2, keep=9, title="")
    outcome = loop.train(run, workdir)
    distributed.barrier("end")
    print("ended after", outcome.progress.updates, flush=True)
    supervisor.leave(0)
