"""The Game contract: three pure functions of a small state."""

import dataclasses
import numbers
from typing import Any, ClassVar

import jax

from podarcade.actions import ActionSpace, Discrete

RULES = ("strict", "published")
OBS_SIZES = (128, 256)


@dataclasses.dataclass(frozen=True)
class Game:
    """A game: a frozen, hashable dataclass of plain numbers, so that compiled programs may close over it.

    A subclass lives in a file of its own. Its fields are its parameters, `LEVELS` sets them for each difficulty, and
    its docstring is its specification: frame, actions, reward, end, and what the partial twin hides. Its time limit is
    called `max_steps`: a field, a property or a constant.

    The state is a `flax.struct.dataclass` of small arrays with at least `time` (int32[], steps since reset) and
    `score` (int32[], the number on top of the frame). `step` returns a state of the same structure, shapes and
    dtypes that `reset` does. All visible noise is part of the state, so that a frame can be redrawn from it alone.

    `rules="strict"` is the game as the papers describe it: the time limit truncates, and the full frame shows all that
    decides future rewards. `rules="published"` reproduces the released benchmark's dynamics with their quirks: the time
    limit is terminal, and `time_limit` is None.

    `podarcade.envs.contract.check_game` checks signatures, shapes and dtypes before each run. The contract tests
    (tests/test_games.py) run every game file and also demand:

    - Levels "easy", "medium" and "hard", both rule sets, and five actions.
    - A state of less than 512 bytes. `time` is 0 after `reset` and counts every step.
    - Unknown actions (any int32 outside 0..4) never raise. From the first state, such an action changes `time` and
      nothing else, does not end the episode, and pays a finite reward.
    - Frames are bit-identical when drawn by another program, at another batch size or on several devices: draw with
      integers, or round once after an exact product.
    - The twins share states, rewards and ends. Their frames are identical at time 0, and differ in more than a fifth
      of the later steps of random play.
    - The 256 px frame is the 128 px frame with every pixel doubled. Games that shade edges (`SHADED` in the tests) may
      draw it finer, as long as its 2 x 2 means are within one grey level of the 128 px frame on average.
    - Under strict rules, random episodes end within `time_limit`, with returns within `RETURNS`; a step that reaches
      `time_limit` truncates and is not terminal.
    - New episodes differ: `reset` draws from its key.

    A game without pixels returns a float32[D] vector from `draw`; `podarcade.envs.tasks.Task` is the base class for
    those. It trains and evaluates like any other. `render` is the picture that people see: the frame itself here.
    """

    obs_size: int = 128  # side of the frame in pixels: 128 or 256
    rules: str = "strict"

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {}
    actions: ClassVar[ActionSpace] = Discrete(5)  # 0 up, 1 down, 2 left, 3 right, 4 confirm
    RETURNS: ClassVar[tuple[float, float]] = (0.0, 1.0)  # range of undiscounted returns under strict rules

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in (int, "int") and (not isinstance(value, numbers.Integral) or isinstance(value, bool)):
                raise ValueError(f"{field.name}={value!r}; expected an int")
        if self.obs_size not in OBS_SIZES:
            raise ValueError(f"obs_size={self.obs_size}; expected one of: 128, 256")
        if self.rules not in RULES:
            raise ValueError(f"rules={self.rules!r}; expected one of: {', '.join(RULES)}")

    @property
    def time_limit(self) -> int | None:
        """Steps after which the environment truncates the episode: `max_steps`, or None under published rules."""
        return self.max_steps if self.rules == "strict" else None

    def reset(self, key: jax.Array) -> Any:
        """Return the state at time 0. All randomness comes from `key`."""
        raise NotImplementedError

    def step(self, state: Any, action: jax.Array, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        """Return the next state, the reward float32[] and the terminal flag bool[].

        Args:
          state: as `reset` returns it.
          action: int32[], any value; float32[A], any finite values, where `actions` is `Continuous(A)`.
          key: the randomness of this step.
        """
        raise NotImplementedError

    def draw(self, state: Any, partial: jax.Array) -> jax.Array:
        """Return the observation: uint8[obs_size, obs_size, 3], or float32[D] for a task without pixels.

        The twins differ only here. `partial`, bool[], is traced, so that one batch may mix them; at time 0 both twins
        return the same.
        """
        raise NotImplementedError

    def needed_time(self, time: jax.Array) -> jax.Array | int:
        """Return when the partial twin last showed what the action at `time` needs, int32[]; -1 where none is known."""
        return -1

    def needed(self, state: Any) -> dict[str, jax.Array]:
        """Return what the partial twin showed at `needed_time`, name -> array; {} where it is not known.

        The values mean something in states whose `needed_time` is not -1.
        """
        return {}

    def render(self, state: Any, partial: jax.Array) -> jax.Array:
        """Return a picture of what `draw` shows, uint8[H, W, 3], for display only."""
        return self.draw(state, partial)
