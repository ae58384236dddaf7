"""Peer that plays Atari: EnvPool and the Arcade Learning Environment, each through its own vector interface."""

import importlib.metadata
import os
import time

import numpy as np

from benchmarks import peers

# Frame size, channels and emulated frames per step of each view.
VIEWS = {
    "grey 84x84x4, frame skip 4 (default)": {"height": 84, "width": 84, "grey": True, "stack": 4, "skip": 4},
    "RGB 210x160, frame skip 1": {"height": 210, "width": 160, "grey": False, "stack": 1, "skip": 1},
    "RGB 128x128, frame skip 1": {"height": 128, "width": 128, "grey": False, "stack": 1, "skip": 1},
}
_running = {}


def _envpool(game, batch, view):
    import envpool

    # Asynchronous, three times as many environments as a batch: what its authors recommend for throughput.
    environments = envpool.make(
        f"{game}-v5", env_type="gymnasium", num_envs=3 * batch, batch_size=batch, num_threads=os.cpu_count(),
        img_height=view["height"], img_width=view["width"], gray_scale=view["grey"], stack_num=view["stack"],
        frame_skip=view["skip"], seed=0,
    )  # fmt: skip
    environments.async_reset()
    actions = np.random.default_rng(0).integers(0, environments.action_space.n, (64, batch)).astype(np.int32)

    def step(index):
        frames, *_, info = environments.recv()
        environments.send(actions[index % 64], info["env_id"])
        return frames

    return step


def _ale(game, batch, view):
    from ale_py.vector_env import AtariVectorEnv

    environments = AtariVectorEnv(
        game.lower(), num_envs=batch, num_threads=os.cpu_count(), img_height=view["height"], img_width=view["width"],
        grayscale=view["grey"], stack_num=view["stack"], frameskip=view["skip"],
        **({} if view["skip"] > 1 else {"maxpool": False}),
    )  # fmt: skip
    environments.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, environments.single_action_space.n, (64, batch))
    return lambda index: environments.step(actions[index % 64])[0]


def prepare(library: str, game: str, batch: int, view: str) -> dict:
    """Create the environments and warm them up."""
    _running.clear()
    step = {"envpool": _envpool, "ale": _ale}[library](game, batch, VIEWS[view])
    _running.update(step=step, index=0, total=0)
    for _ in range(20):
        frames = _advance()
    version = importlib.metadata.version({"envpool": "envpool", "ale": "ale-py"}[library])
    return {"shape": list(frames.shape), "version": version}


def _advance():
    frames = _running["step"](_running["index"])
    _running["index"] += 1
    # A checksum over every byte, eight at a time.
    _running["total"] += int(np.ascontiguousarray(frames).reshape(-1).view(np.uint64).sum())
    return frames


def run(seconds: float) -> dict:
    """Play randomly for about `seconds`; return the frames received and the actual duration."""
    count, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        count += len(_advance())
    return {"frames": count, "seconds": spent, "checksum": _running["total"] % 2**64}


if __name__ == "__main__":
    peers.serve({"views": lambda: list(VIEWS), "prepare": prepare, "run": run})
