"""The Task contract: games that show a vector instead of pixels, as two twins of one shape."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from podarcade.envs.games import OBS_SIZES, Game
from podarcade.envs.rendering import cells

TWINS = ("history", "oracle", "critic")
Fields = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Task(Game):
    """A game whose observation is a vector of named fields: visible ones, then a hidden block.

        draw = [visible fields | hidden block],  float32[D]

    The full twin shows both, the partial twin zeros in place of the hidden block after time 0; D is the same for both.
    Subclasses define `reset`, `step`, `visible` and `hidden`. A state is small (under 1 KB) and holds what is seen;
    what nobody has seen yet is drawn when it is first needed, with the same law.

    TWIN says what the hidden block is:

    - "history": a lossless summary of what an agent with perfect memory has seen. The best return is the same for both
      twins, so their difference is what memory is worth. At time 0 both twins show the block, which repeats what is
      visible.
    - "oracle": it shows what no history reveals, such as a goal. The best return on the full twin is higher, and the
      difference between the twins contains the price of information. The block is shown from time 1 on.
    - "critic": the policy needs no memory, only the value does: rewards are delayed.

    CHANNEL says whether a policy without memory that sees its previous action can use its actions as a memory:
    "closed", "small" or "open". Controls without memory therefore do not see it.

    Under strict rules the time limit `max_steps` truncates. Under published rules every end is terminal, as in the
    released benchmarks, and `time_limit` is None: `is_over` adds the limit to a task's own ends.

    Raises:
      ValueError: `obs_size` is set, a field that is an int is not, or unknown rules.
    """

    TWIN: ClassVar[str] = "history"
    CHANNEL: ClassVar[str] = "open"

    def __post_init__(self):
        super().__post_init__()
        if self.obs_size != OBS_SIZES[0]:
            raise ValueError(
                f"obs_size={self.obs_size}; {type(self).__name__} has no pixels, leave obs_size at {OBS_SIZES[0]}"
            )

    @property
    def hidden_at_start(self) -> bool:
        """Whether the hidden block is zero at time 0, in both twins."""
        return self.TWIN == "oracle"

    def visible(self, state: Any) -> Fields:
        """Return the fields that both twins show, name -> float32[n]. Names are words of letters and digits."""
        raise NotImplementedError

    def hidden(self, state: Any) -> Fields:
        """Return the fields of the hidden block, name -> float32[n]."""
        raise NotImplementedError

    def shown(self, state: Any, partial: jax.Array) -> jax.Array:
        """Return whether the hidden block is shown, bool[]: in the full twin, and at time 0 in both or neither."""
        return jnp.where(state.time == 0, not self.hidden_at_start, ~jnp.asarray(partial, bool))

    def draw(self, state: Any, partial: jax.Array) -> jax.Array:
        """Return the observation, float32[D]."""
        visible, hidden = self._fields(state, partial)
        return jnp.concatenate([*visible.values(), *hidden.values()])

    def render(self, state: Any, partial: jax.Array) -> jax.Array:
        """Return a picture of the observation, uint8[H, W, 3]: a labelled row of cells for each field."""
        visible, hidden = self._fields(state, partial)
        return cells.picture(type(self).__name__, visible, hidden)

    def is_over(self, state: Any, ended: jax.Array | bool = False) -> jax.Array:
        """Return the terminal flag bool[] of a state after a step: the task's own end, and the published limit."""
        at_limit = state.time >= self.max_steps if self.rules == "published" else False
        return jnp.asarray(ended | at_limit)

    def _fields(self, state: Any, partial: jax.Array) -> tuple[Fields, Fields]:
        visible = {name: jnp.asarray(value, jnp.float32) for name, value in self.visible(state).items()}
        shown = self.shown(state, partial)
        hidden = {
            name: jnp.where(shown, jnp.asarray(value, jnp.float32), 0.0) for name, value in self.hidden(state).items()
        }
        return visible, hidden
