"""The Game contract: three pure functions of a small state."""

import dataclasses
from typing import Any, ClassVar

import jax

RULES = ("strict", "published")


@dataclasses.dataclass(frozen=True)
class Game:
    """One game. A frozen, hashable dataclass of plain numbers, so that it may be closed over.

    A subclass lives in a file of its own. Its fields are its parameters, its
    `LEVELS` give them for each difficulty, its docstring is its specification:
    frame, actions, reward, end, and what the partial twin hides. Its time limit is called
    `max_steps`: a field, a property or a constant.

    The state is a `flax.struct.dataclass` of small arrays, under a kilobyte, and has
    at least `time` (int32[], steps since reset) and `score` (int32[], the number
    drawn on top of the page). All noise that is seen is part of it, so
    that a frame can be drawn again from the state alone.

    `rules="strict"` is the game as described in the papers: the time limit only truncates, and
    the full frame shows all that decides future rewards. `rules="published"` repeats the
    released benchmark's dynamics, quirks included; there the time limit is an end
    like any other and `time_limit` is None.
    """

    obs_size: int = 128  # side of the frame in pixels: 128 or 256
    rules: str = "strict"

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {}
    NUM_ACTIONS: ClassVar[int] = 5  # 0 up, 1 down, 2 left, 3 right, 4 confirm
    RETURNS: ClassVar[tuple[float, float]] = (0.0, 1.0)  # range of strict undiscounted returns

    def __post_init__(self):
        if self.obs_size not in (128, 256):
            raise ValueError(f"obs_size={self.obs_size}; there are 128 and 256")
        if self.rules not in RULES:
            raise ValueError(f"rules={self.rules!r}; there are {', '.join(RULES)}")

    @property
    def time_limit(self) -> int | None:
        """Steps after which the environment truncates the episode: `max_steps`; None, for never, under published rules."""
        return self.max_steps if self.rules == "strict" else None

    def reset(self, key: jax.Array) -> Any:
        """key -> state at time 0."""
        raise NotImplementedError

    def step(self, state: Any, action: jax.Array, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        """(state, int32[], key) -> (state, reward float32[], terminal bool[])."""
        raise NotImplementedError

    def draw(self, state: Any, partial: jax.Array) -> jax.Array:
        """(state, bool[]) -> uint8[obs_size, obs_size, 3]. The twins differ only here.

        `partial` is traced: the twins may be mixed in one batch. The frame at time 0
        is the same for both. A task without pixels returns float32[D].
        """
        raise NotImplementedError
