"""MemorySize: MemoryChain with many bits and a short wait."""

import dataclasses
from typing import Any, ClassVar

from podarcade.envs.tasks.memory_chain import MemoryChain


@dataclasses.dataclass(frozen=True)
class MemorySize(MemoryChain):
    """MemoryChain that asks for one of many bits after two steps (bsuite's memory_size).

    Everything but the levels is MemoryChain's: n = `num_bits` is 3, 10 or 40, L = `memory_length` is 2.

    - twin: history.
    - channel: small. An action holds one bit: a policy without memory that sees its previous action repeats the
      majority of the bits, for 0.5, 0.246 and 0.125 at the three levels. Without it the return is 0, the best is 1.
    """

    memory_length: int = 2
    num_bits: int = 3

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"num_bits": 3},
        "medium": {"num_bits": 10},
        "hard": {"num_bits": 40},
    }
    CHANNEL: ClassVar[str] = "small"
